//! When each target was probed last: for round-trip times, for the space between tries, and to know what was in flight
//! while we did not see.
//!
//! Indexed by position, so that the sender writes front to back. Small sweeps keep one time a target. Large ones share
//! one among a block of neighbours in the order, which are sent within microseconds of each other at the rates that
//! large sweeps run at, so that the whole never takes more than 4 MiB.

use std::ops::Range;
use std::time::Duration;

use crate::link::clock::Tick;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The most times that are kept.
const MOST: u64 = 1 << 20;

/// How far apart the times of one shared block may lie: what two probes to one host are kept apart by the host cap, and
/// then some.
const BLOCK_SPREAD: Duration = Duration::from_millis(250);

/// Times of last sending, in wrapping microseconds: they repeat after 71 minutes, which is longer than any answer
/// takes.
#[derive(Debug)]
pub struct SendTimes {
    micros: Box<[AtomicU32]>,
    block_shift: u32,
    /// The position that the first time is of.
    first: AtomicU64,
}

impl SendTimes {
    /// Times for this many targets.
    pub fn new(len: u64) -> Self {
        let mut block_shift = 0;
        while len.div_ceil(1 << block_shift) > MOST {
            block_shift += 1;
        }
        let blocks = len.div_ceil(1 << block_shift) as usize;
        let micros = (0..blocks).map(|_| AtomicU32::new(0)).collect();
        SendTimes { micros, block_shift, first: AtomicU64::new(0) }
    }

    /// Keeps the times of as many targets from this position on. Those of before remain until they are overwritten:
    /// nobody asks for the time of a probe that was not sent.
    pub fn turn_to(&self, first: u64) {
        self.first.store(first, Ordering::Relaxed);
    }

    /// Which of the times is the one of this position.
    #[inline]
    pub fn block_of(&self, position: u64) -> usize {
        ((position - self.first.load(Ordering::Relaxed)) >> self.block_shift) as usize
    }

    /// Sender: a probe leaves now. `Relaxed`, for the same reason as in `target::table`: whoever reads the time of a
    /// probe's sending holds an answer to that probe.
    #[inline]
    pub fn note(&self, position: u64, now: Tick) {
        self.micros[self.block_of(position)].store(micros(now), Ordering::Relaxed);
    }

    /// How long ago the target was probed last; wraps at 71 minutes.
    #[inline]
    pub fn elapsed(&self, position: u64, now: Tick) -> Duration {
        let then = self.micros[self.block_of(position)].load(Ordering::Relaxed);
        Duration::from_micros(u64::from(micros(now).wrapping_sub(then)))
    }

    /// Calls `each` with every position of the stretch that may have been sent last between `from` and `to`.
    pub fn sent_between(&self, stretch: Range<u64>, from: Tick, to: Tick, mut each: impl FnMut(u64)) {
        let spread = if self.block_shift == 0 { Duration::ZERO } else { BLOCK_SPREAD };
        if (to + spread).since(from).as_micros() > u128::from(u32::MAX) {
            // Longer ago than the times reach: it may be any of them.
            return stretch.for_each(each);
        }
        let (from, to) = (micros(from), micros(to + spread));
        let span = to.wrapping_sub(from);
        let first = self.first.load(Ordering::Relaxed);
        let mut position = stretch.start;
        while position < stretch.end {
            let block = self.block_of(position);
            let block_end = (first + ((block as u64 + 1) << self.block_shift)).min(stretch.end);
            if self.micros[block].load(Ordering::Relaxed).wrapping_sub(from) <= span {
                (position..block_end).for_each(&mut each);
            }
            position = block_end;
        }
    }
}

#[inline]
fn micros(at: Tick) -> u32 {
    (at.as_nanos() / 1000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Tick {
        Tick::from_nanos(n * 1_000_000)
    }

    #[test]
    fn knows_what_was_in_flight() {
        let times = SendTimes::new(100);
        (0..100).for_each(|position| times.note(position, ms(position * 10)));
        let mut hit = Vec::new();
        times.sent_between(0..100, ms(200), ms(240), |position| hit.push(position));
        assert_eq!(hit, [20, 21, 22, 23, 24]);
        assert_eq!(times.elapsed(50, ms(600)), Duration::from_millis(100));
    }

    #[test]
    fn wraps_without_harm() {
        let times = SendTimes::new(1);
        let wrap = 1_u64 << 32;
        times.note(0, Tick::from_nanos((wrap - 10) * 1000));
        assert_eq!(times.elapsed(0, Tick::from_nanos((wrap + 10) * 1000)), Duration::from_micros(20));
    }

    #[test]
    fn shares_times_in_large_sweeps_and_misses_nothing() {
        let len = MOST * 3 + 5;
        let times = SendTimes::new(len);
        assert!(times.micros.len() as u64 <= MOST);
        (0..len).for_each(|position| times.note(position, Tick::from_nanos(position * 1000)));
        let mut hit = std::collections::HashSet::new();
        times.sent_between(0..len, Tick::from_nanos(5_000_000), Tick::from_nanos(6_000_000), |p| {
            hit.insert(p);
        });
        assert!((5000..=6000).all(|position| hit.contains(&position)));
    }
}
