//! Round trips: how long answers take, so that nobody waits longer than the network needs.
//!
//! A histogram by powers of two, because one late answer must not stretch every wait: where a packet is lost, a
//! listener repeats its SYN-ACK after a second (RFC 6298), and such answers say nothing of the network's own delay.

use std::time::Duration;

use super::plan::defaults;

/// The share of answers that a wait must cover before its safety factor, in thousandths.
const COVERED_PER_MILLE: u64 = 999;

/// How much longer than that is waited.
const SAFETY: u32 = 3;

/// Round-trip times of one sweep.
#[derive(Clone, Debug)]
pub struct Trips {
    /// `counts[n]` trips took less than 2^n ns, and not less than half of that.
    counts: [u64; 64],
    total: u64,
}

impl Trips {
    /// None yet.
    #[expect(clippy::new_without_default, reason = "belongs to one sweep; a default would hide that")]
    pub fn new() -> Self {
        Trips { counts: [0; 64], total: 0 }
    }

    /// Notes one.
    #[inline]
    pub fn note(&mut self, trip: Duration) {
        let nanos = u64::try_from(trip.as_nanos()).unwrap_or(u64::MAX >> 1);
        self.counts[(64 - nanos.leading_zeros()).min(63) as usize] += 1;
        self.total += 1;
    }

    /// How long an answer may take, by what the answers so far have taken.
    pub fn patience(&self) -> Duration {
        if self.total == 0 {
            return defaults::FIRST_PATIENCE;
        }
        let mut left_out = self.total - (self.total * COVERED_PER_MILLE).div_ceil(1000);
        let mut longest = 63;
        while self.counts[longest] <= left_out && longest > 0 {
            left_out -= self.counts[longest];
            longest -= 1;
        }
        (Duration::from_nanos(1 << longest) * SAFETY)
            .clamp(*defaults::PATIENCE.start(), *defaults::PATIENCE.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_what_answers_take_and_not_for_the_odd_one() {
        let mut trips = Trips::new();
        assert_eq!(trips.patience(), defaults::FIRST_PATIENCE);
        trips.note(Duration::from_millis(2));
        assert_eq!(trips.patience(), *defaults::PATIENCE.start());
        (0..5000).for_each(|_| trips.note(Duration::from_millis(120)));
        let usual = trips.patience();
        assert!((Duration::from_millis(360)..Duration::from_millis(720)).contains(&usual), "{usual:?}");
        (0..4).for_each(|_| trips.note(Duration::from_secs(1)));
        assert_eq!(trips.patience(), usual, "four of five thousand are the odd ones");
        (0..40).for_each(|_| trips.note(Duration::from_secs(1)));
        assert_eq!(trips.patience(), *defaults::PATIENCE.end());
    }

    #[test]
    fn a_single_slow_answer_counts_while_it_is_the_only_one() {
        let mut trips = Trips::new();
        trips.note(Duration::from_millis(500));
        assert!(trips.patience() >= Duration::from_millis(1500));
        trips.note(Duration::ZERO);
        trips.note(Duration::MAX);
        assert_eq!(trips.patience(), *defaults::PATIENCE.end());
    }
}
