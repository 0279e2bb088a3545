//! When a message is tried again, and when its sink is.
//!
//! One message that its receiver does not take waits by itself. Where one after the other fails, it is the receiver,
//! and all of them wait: ten thousand messages are not tried one by one against somebody who is not there.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Between the first attempt and the second.
const FIRST: Duration = Duration::from_secs(1);

/// Between two attempts, at most.
pub const LONGEST: Duration = Duration::from_secs(300);

/// What a receiver may ask for, at most.
pub const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);

/// So many failures of one message after the other are the receiver's.
const RECEIVERS_FAULT: u32 = 3;

/// A message is not given up before it has been tried so often, whatever the clock says.
pub const FEWEST_ATTEMPTS: u32 = 10;

/// How long to wait after so many failed attempts. `chance`, from 0 to 1, spreads what failed together.
pub fn pause(attempts: u32, asked: Option<Duration>, chance: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(LONGEST);
    let spread = doubled.mul_f64(0.8 + 0.4 * chance.clamp(0.0, 1.0));
    asked.map_or(spread, |asked| asked.min(LONGEST_ASKED).max(spread))
}

/// When a pause that begins now is over.
pub fn after(now: Timestamp, pause: Duration) -> Timestamp {
    SignedDuration::try_from(pause)
        .ok()
        .and_then(|pause| now.checked_add(pause).ok())
        .unwrap_or(Timestamp::MAX)
}

/// Whether a sink is left alone. It goes by the time since boot, which nobody sets: a clock that has been set neither
/// keeps a sink from being tried for a year, nor has all of them tried at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Breaker {
    failures: u32,
    /// Since boot.
    until: Option<Duration>,
}

impl Breaker {
    /// How long the sink is still left alone, if it is.
    pub fn wait(&self, since_boot: Duration) -> Option<Duration> {
        self.until?.checked_sub(since_boot).filter(|left| !left.is_zero())
    }

    /// It has taken a message.
    pub fn succeed(&mut self) {
        *self = Breaker::default();
    }

    /// It has not.
    pub fn fail(&mut self, since_boot: Duration, asked: Option<Duration>, chance: f64) {
        self.failures = self.failures.saturating_add(1);
        let beyond = self.failures.saturating_sub(RECEIVERS_FAULT - 1);
        if beyond > 0 || asked.is_some() {
            self.until = Some(since_boot.saturating_add(pause(beyond.max(1), asked, chance)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let pauses: Vec<u64> = (1..=12).map(|attempts| pause(attempts, None, 0.5).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(pause(1, None, 0.0), Duration::from_millis(800));
        assert_eq!(pause(u32::MAX, None, 1.0), LONGEST.mul_f64(1.2));
    }

    #[test]
    fn a_receiver_gets_the_time_that_it_asks_for_up_to_a_day() {
        let asked = |seconds| pause(1, Some(Duration::from_secs(seconds)), 0.5).as_secs();
        assert_eq!([asked(0), asked(90), asked(1 << 40)], [1, 90, 86_400]);
    }

    #[test]
    fn a_sink_is_left_alone_when_one_message_after_the_other_fails() {
        let (now, seconds) = (Duration::from_secs(1000), |seconds| Some(Duration::from_secs(seconds)));
        let mut breaker = Breaker::default();
        breaker.fail(now, None, 0.5);
        breaker.fail(now, None, 0.5);
        assert_eq!(breaker.wait(now), None);
        breaker.fail(now, None, 0.5);
        assert_eq!(breaker.wait(now), seconds(1));
        breaker.fail(now, None, 0.5);
        assert_eq!(breaker.wait(now), seconds(2));
        assert_eq!(breaker.wait(Duration::from_secs(1002)), None);
        breaker.succeed();
        assert_eq!(breaker.wait(now), None);
        breaker.fail(now, seconds(30), 0.5);
        assert_eq!(breaker.wait(now), seconds(30), "it has asked to be left alone");
    }
}
