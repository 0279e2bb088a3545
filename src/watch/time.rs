//! Which time it is, when the clock itself cannot be trusted.
//!
//! Intervals are measured by the time since the machine was started, which goes on through suspension and which nobody
//! sets. Allowances, reminders and retries depend on the time of day; if that jumps, they would all be due at once. So
//! a jump is not believed before it has lasted for an hour; until then the time goes on as before, and the jump is an
//! alert of its own.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// What is believed at once: what time servers and people set right.
pub const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// How long a jump must have lasted before it is believed.
pub const PROBATION: Duration = Duration::from_secs(3600);

/// No clock is right that shows an earlier time than this: machines without a battery begin in 1970.
pub const EARLIEST: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// Where the time comes from.
pub trait TimeSource: Send + Sync {
    /// The time of day, as the machine has it.
    fn wall(&self) -> Timestamp;

    /// Time since the machine was started, suspension included.
    fn since_boot(&self) -> Duration;
}

/// The machine's own clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineTime;

impl TimeSource for MachineTime {
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn since_boot(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
    }
}

/// The time that is believed.
#[derive(Clone, Copy, Debug)]
pub struct TrustedTime {
    /// A moment at which the clock was believed, and the time since boot then.
    believed: (Timestamp, Duration),
    /// Since when the clock has shown something else.
    doubted: Option<Duration>,
}

/// What has become of a jump.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// The clock has jumped by this much, and is not believed for now.
    Jumped(SignedDuration),
    /// It has gone back to where it belongs.
    Mended,
    /// It has stayed so long where it is that it is believed: the time has changed by this much.
    Believed(SignedDuration),
}

impl TrustedTime {
    /// Believes the clock as it is now.
    pub fn new(wall: Timestamp, since_boot: Duration) -> Self {
        TrustedTime { believed: (wall, since_boot), doubted: None }
    }

    /// The time that is believed, without looking at the clock.
    pub fn at(&self, since_boot: Duration) -> Timestamp {
        let (wall, then) = self.believed;
        let passed = SignedDuration::try_from(since_boot.saturating_sub(then)).unwrap_or(SignedDuration::MAX);
        wall.checked_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// Looks at the clock; says whether it has jumped since the last look.
    pub fn look(&mut self, wall: Timestamp, since_boot: Duration) -> Option<Step> {
        let expected = self.at(since_boot);
        let off = wall.duration_since(expected);
        if off.abs() <= TOLERANCE {
            self.believed = (wall, since_boot);
            return self.doubted.take().map(|_| Step::Mended);
        }
        let has_begun_wrong = expected < EARLIEST && wall >= EARLIEST;
        match self.doubted {
            Some(since) if since_boot.saturating_sub(since) >= PROBATION => {}
            _ if has_begun_wrong => {}
            Some(_) => return None,
            None => {
                self.doubted = Some(since_boot);
                return Some(Step::Jumped(off));
            }
        }
        *self = TrustedTime::new(wall, since_boot);
        Some(Step::Believed(off))
    }
}

/// The one clock of the daemon, which all of its threads ask.
pub struct Time {
    source: Box<dyn TimeSource>,
    trusted: Mutex<TrustedTime>,
}

impl Time {
    /// A clock that believes its source as it is now.
    pub fn new(source: Box<dyn TimeSource>) -> Self {
        let trusted = Mutex::new(TrustedTime::new(source.wall(), source.since_boot()));
        Time { source, trusted }
    }

    /// The time that is believed.
    pub fn now(&self) -> Timestamp {
        self.lock().at(self.source.since_boot())
    }

    /// The time of day, as the machine has it: for schedules, and for nothing else.
    pub fn wall(&self) -> Timestamp {
        self.source.wall()
    }

    /// Time since the machine was started.
    pub fn since_boot(&self) -> Duration {
        self.source.since_boot()
    }

    /// Looks whether the clock has jumped since the last look.
    pub fn look(&self) -> Option<Step> {
        self.lock().look(self.source.wall(), self.source.since_boot())
    }

    fn lock(&self) -> MutexGuard<'_, TrustedTime> {
        self.trusted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: Duration = Duration::from_secs(1000);

    fn noon() -> Timestamp {
        "2026-06-01T12:00:00Z".parse().expect("a time")
    }

    fn after(seconds: i64) -> Timestamp {
        noon() + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn small_steps_are_believed_at_once() {
        let mut time = TrustedTime::new(noon(), BOOT);
        for (passed, shown) in [(10, 10), (20, 19), (30, 329), (40, 300)] {
            let since_boot = BOOT + Duration::from_secs(passed);
            assert_eq!(time.look(after(shown), since_boot), None);
            assert_eq!(time.at(since_boot), after(shown));
        }
    }

    #[test]
    fn a_jump_is_said_once_and_believed_when_it_has_lasted() {
        for jump in [3600, -3600, 365 * 86_400, -365 * 86_400] {
            let mut time = TrustedTime::new(noon(), BOOT);
            let mut said = Vec::new();
            for minute in 1..=70_u32 {
                let since_boot = BOOT + Duration::from_secs(60) * minute;
                let real = 60 * i64::from(minute);
                said.extend(time.look(after(real + jump), since_boot));
                let is_believed = minute > 60;
                assert_eq!(
                    time.at(since_boot),
                    after(if is_believed { real + jump } else { real }),
                    "{minute}"
                );
            }
            let off = SignedDuration::from_secs(jump);
            assert_eq!(said, [Step::Jumped(off), Step::Believed(off)]);
        }
    }

    #[test]
    fn a_jump_that_is_taken_back_has_changed_nothing() {
        let mut time = TrustedTime::new(noon(), BOOT);
        let off = SignedDuration::from_hours(1);
        assert_eq!(time.look(after(3610), BOOT + Duration::from_secs(10)), Some(Step::Jumped(off)));
        assert_eq!(time.look(after(20), BOOT + Duration::from_secs(20)), Some(Step::Mended));
        assert_eq!(time.look(after(30), BOOT + Duration::from_secs(30)), None);
    }

    #[test]
    fn suspension_is_no_jump() {
        let mut time = TrustedTime::new(noon(), BOOT);
        let night = Duration::from_secs(8 * 3600);
        assert_eq!(time.look(after(8 * 3600), BOOT + night), None);
    }

    #[test]
    fn a_clock_that_began_in_1970_is_set_right_at_once() {
        let mut time = TrustedTime::new(Timestamp::UNIX_EPOCH, BOOT);
        assert!(matches!(time.look(noon(), BOOT + Duration::from_secs(9)), Some(Step::Believed(_))));
        assert_eq!(time.at(BOOT + Duration::from_secs(10)), after(1));
    }
}
