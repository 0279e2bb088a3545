//! The pacer: how many probes may leave now.
//!
//! A virtual-scheduling leaky bucket (the generic cell rate algorithm, ITU-T I.371): each probe moves a theoretical
//! time of departure on by one gap, and a probe may leave while that time is at most one tolerance ahead of now. So the
//! long-run rate is exact whatever the sender's sleeps are like, and a stall is made good only as far as the tolerance.
//!
//! The bound that people ask for is "never more than R in any second". A window of one second holds at most
//! `floor((1 s + tolerance) / gap) + 1` probes; with a gap of 1.01 s / R and a tolerance of just under 1 % of a second,
//! that is never more than R. The price is that the rate is held at 99 % of R.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::link::clock::Tick;

/// What is given up of the rate, in percent, to be able to make good a stall without ever exceeding it in any second.
const HEADROOM_PERCENT: u64 = 1;

/// The longest stall that is made good: just under the headroom's share of a second.
const TOLERANCE: Duration = Duration::from_nanos(10_000_000 - 1);

/// Parts that a nanosecond is counted in, so that the gap is exact at millions a second.
const PARTS: u64 = 1024;

/// Paces one sender. Pure: it is told the time.
#[derive(Clone, Debug)]
pub struct Pacer {
    /// Parts of a nanosecond between two probes; 0 for no limit.
    gap: u64,
    tolerance: u64,
    /// The theoretical departure of the next probe, in parts of a nanosecond.
    next: u64,
}

impl Pacer {
    /// A pacer of this many probes a second, or of as many as the sender can make.
    pub fn new(rate_pps: Option<NonZeroU32>) -> Self {
        Pacer { gap: gap_of(rate_pps), tolerance: TOLERANCE.as_nanos() as u64 * PARTS, next: 0 }
    }

    /// Changes the rate from now on.
    pub fn set_rate(&mut self, rate_pps: Option<NonZeroU32>) {
        self.gap = gap_of(rate_pps);
    }

    /// How many probes may leave now, at most `most`.
    #[inline]
    pub fn allowance(&self, now: Tick, most: usize) -> usize {
        if self.gap == 0 {
            return most;
        }
        let now = now.as_nanos() * PARTS;
        match (now + self.tolerance).checked_sub(self.next.max(now)) {
            Some(room) => most.min((room / self.gap + 1) as usize),
            None => 0,
        }
    }

    /// Notes that this many probes left.
    #[inline]
    pub fn spend(&mut self, now: Tick, probes: usize) {
        let now = now.as_nanos() * PARTS;
        self.next = self.next.max(now) + self.gap * probes as u64;
    }

    /// When the next probe may leave; a moment in the past where it may leave at once.
    #[inline]
    pub fn next_departure(&self) -> Tick {
        Tick::from_nanos(self.next.saturating_sub(self.tolerance).div_ceil(PARTS))
    }
}

/// Parts of a nanosecond between two probes at this rate.
fn gap_of(rate_pps: Option<NonZeroU32>) -> u64 {
    rate_pps.map_or(0, |rate| {
        let second = 1_000_000_000 * PARTS;
        (second + second * HEADROOM_PERCENT / 100).div_ceil(u64::from(rate.get()))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// Sends for five seconds with a sender that sleeps until the pacer lets it, wakes `late(n)` nanoseconds too late,
    /// and sends batches of 256; returns the probes sent and the fullest second.
    fn drive(rate: u32, mut late: impl FnMut(u64) -> u64) -> (u64, u64) {
        let mut pacer = Pacer::new(NonZeroU32::new(rate));
        let start = 1_000_000_000_u64;
        let (mut now, mut sent, mut wakes) = (start, 0_u64, 0);
        let mut window: VecDeque<(u64, u64)> = VecDeque::new();
        let (mut in_window, mut fullest) = (0_u64, 0_u64);
        while now < start + 5_000_000_000 {
            let tick = Tick::from_nanos(now);
            let n = pacer.allowance(tick, 256);
            if n == 0 {
                wakes += 1;
                now = pacer.next_departure().as_nanos().max(now + 1) + late(wakes);
                continue;
            }
            pacer.spend(tick, n);
            sent += n as u64;
            in_window += n as u64;
            window.push_back((now, n as u64));
            while window.front().is_some_and(|(at, _)| now - at >= 1_000_000_000) {
                in_window -= window.pop_front().map_or(0, |(_, n)| n);
            }
            fullest = fullest.max(in_window);
        }
        (sent, fullest)
    }

    #[test]
    fn holds_slow_and_fast_rates_and_never_exceeds_them() {
        for rate in [1, 7, 100, 10_000, 200_000, 1_000_000, 5_000_000] {
            for late in [0_u64, 60_000, 1_000_000, 5_000_000] {
                let (sent, fullest) = drive(rate, |n| late * (n % 3) / 2);
                assert!(fullest <= u64::from(rate), "{rate} pps, {late} ns late: {fullest} in a second");
                let share = sent as f64 / (5.0 * f64::from(rate));
                assert!(share > 0.98 || rate < 100, "{rate} pps, {late} ns late: {share}");
            }
        }
    }

    #[test]
    fn does_not_make_good_a_long_stall() {
        let (sent, fullest) = drive(10_000, |n| if n == 100 { 2_000_000_000 } else { 0 });
        assert!(fullest <= 10_000);
        assert!((28_000..=30_400).contains(&sent), "{sent}");
    }

    #[test]
    fn has_no_limit_if_there_is_none() {
        let mut pacer = Pacer::new(None);
        pacer.spend(Tick::from_nanos(5), 1 << 40);
        assert_eq!(pacer.allowance(Tick::from_nanos(6), 256), 256);
    }

    proptest! {
        #[test]
        fn never_exceeds_the_rate_in_any_second(rate in 1_u32..3_000_000, seed: u64) {
            let mut state = seed | 1;
            let (_, fullest) = drive(rate, |_| {
                state ^= state << 13; state ^= state >> 7; state ^= state << 17;
                if state % 50 == 0 { state % 300_000_000 } else { state % 200_000 }
            });
            prop_assert!(fullest <= u64::from(rate));
        }
    }
}
