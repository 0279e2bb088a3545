//! When a sweep is due.
//!
//! Intervals are multiples of one length of time since the first sweep, so that they do not drift by how long sweeps
//! take. Cron expressions name times of day. Either way each due time has one run: one that passed while nobody could
//! run is made up for once, and one that passed while the last run was still busy is skipped and said.

use std::time::Duration;

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// How far ahead a remembered due time may be of the clock. Beyond that the clock was wrong when it was remembered.
const MOST_AHEAD: SignedDuration = SignedDuration::from_hours(26);

/// How many skipped times are counted one by one.
const MOST_COUNTED: u32 = 1000;

/// A sweep every so often.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    interval: Duration,
    /// The due time that comes next, since boot.
    next: Duration,
}

impl Beat {
    /// A beat whose first sweep is due at this time since boot.
    pub fn new(interval: Duration, first: Duration) -> Self {
        Beat { interval: interval.max(Duration::from_millis(1)), next: first }
    }

    /// The due time that comes next.
    pub fn next(&self) -> Duration {
        self.next
    }

    /// A sweep has begun, for the last due time that has passed; says how many passed before that. The next is due one
    /// interval after the due time of this one.
    pub fn begin(&mut self, now: Duration) -> u32 {
        let passed = now.saturating_sub(self.next).as_nanos() / self.interval.as_nanos();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        self.next = self.next.saturating_add(self.interval.saturating_mul(passed.saturating_add(1)));
        passed
    }

    /// Leaves out the due times that have passed, and says how many those were.
    pub fn skip(&mut self, now: Duration) -> u32 {
        let late = now.saturating_sub(self.next);
        if now <= self.next {
            return 0;
        }
        let passed = late.as_nanos().div_ceil(self.interval.as_nanos());
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        self.next = self.next.saturating_add(self.interval.saturating_mul(passed));
        passed
    }
}

/// Sweeps at times of day.
#[derive(Clone, Debug)]
pub struct Calendar {
    cron: Cron,
    zone: TimeZone,
    /// The due time of the last run, or when there has been none, the time from which on they count.
    last: Timestamp,
    /// Since when a sweep is owed that no due time stands for.
    owed: Option<Timestamp>,
}

/// What a calendar says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Due {
    /// A sweep is due now: the one of `at`. So many earlier ones have passed without one.
    Now {
        /// Since when there is one to make: the first due time after the last run.
        since: Timestamp,
        /// Its due time.
        at: Timestamp,
        /// Due times before it that have passed.
        missed: u32,
    },
    /// The next is due later.
    Later(Timestamp),
    /// None is due, ever.
    Never,
}

impl Calendar {
    /// A calendar, and the due time of its last run, if there was one. Without one, what was due before `now` is not
    /// made up for. One that is still to come says only that the clock has gone back: nobody knows what was due since
    /// then, so one sweep is due at once, as it is where intervals are kept. To wait for that time could take a year.
    pub fn new(cron: Cron, zone: TimeZone, last: Option<Timestamp>, now: Timestamp) -> Self {
        let owed = last.filter(|last| *last > now).map(|_| now);
        Calendar { cron, zone, last: last.unwrap_or(now).min(now), owed }
    }

    /// What is due.
    pub fn due(&mut self, now: Timestamp) -> Due {
        if let Some(owed) = self.owed {
            let at = owed.min(now);
            self.owed = Some(at);
            return Due::Now { since: at, at, missed: 0 };
        }
        if self.last.duration_since(now) > MOST_AHEAD {
            // The clock has gone back to long before: what is due by it is another day's.
            self.last = now;
        }
        let Some(first) = self.next_after(self.last) else { return Due::Never };
        if first > now {
            return Due::Later(first);
        }
        let (mut at, mut missed) = (first, 0);
        while let Some(later) = self.next_after(at).filter(|later| *later <= now) {
            missed += 1;
            at = later;
            if missed == MOST_COUNTED {
                at = self.latest_until(now).unwrap_or(at);
                break;
            }
        }
        Due::Now { since: first, at, missed }
    }

    /// The run of this due time has begun.
    pub fn begin(&mut self, at: Timestamp) {
        self.last = at;
        self.owed = None;
    }

    fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let zoned = time.to_zoned(self.zone.clone());
        self.cron.find_next_occurrence(&zoned, false).ok().map(|found| found.timestamp())
    }

    fn latest_until(&self, time: Timestamp) -> Option<Timestamp> {
        let zoned = time.to_zoned(self.zone.clone());
        self.cron.find_previous_occurrence(&zoned, true).ok().map(|found| found.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn intervals_do_not_drift_and_never_stack() {
        let mut beat = Beat::new(seconds(60), seconds(1000));
        assert_eq!((beat.begin(seconds(1000)), beat.next()), (0, seconds(1060)));
        // However long the sweep took, the next is due a minute after this one was.
        assert_eq!((beat.skip(seconds(1042)), beat.next()), (0, seconds(1060)));
        assert_eq!(
            (beat.begin(seconds(1063)), beat.next()),
            (0, seconds(1120)),
            "begun late, by jitter or load"
        );
        assert_eq!((beat.skip(seconds(1121)), beat.next()), (1, seconds(1180)));
        // A night's suspension: one run, for the last due time, and the others are missed.
        assert_eq!((beat.begin(seconds(1180 + 28_800)), beat.next()), (480, seconds(1240 + 28_800)));
    }

    fn time(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    fn calendar(pattern: &str, zone: &str, from: &str) -> Calendar {
        let cron = pattern.parse().expect(pattern);
        Calendar::new(cron, TimeZone::get(zone).expect(zone), None, time(from))
    }

    /// The due times that are run if somebody looks every second from `from` to `to`, by a clock that goes on evenly.
    fn runs(calendar: &mut Calendar, from: &str, to: &str) -> Vec<String> {
        let (mut now, to) = (time(from), time(to));
        let mut runs = Vec::new();
        while now < to {
            match calendar.due(now) {
                Due::Now { at, .. } => {
                    calendar.begin(at);
                    runs.push(at.to_string());
                }
                Due::Later(at) => now = at.min(to),
                Due::Never => break,
            }
        }
        runs
    }

    #[test]
    fn a_fixed_time_runs_once_on_the_days_that_summer_time_begins_and_ends() {
        // Berlin: 02:00 becomes 03:00 on 29 March 2026, and 03:00 becomes 02:00 on 25 October.
        let mut spring = calendar("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z");
        assert_eq!(
            runs(&mut spring, "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z"),
            ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        let mut autumn = calendar("30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z");
        assert_eq!(
            runs(&mut autumn, "2026-10-24T00:00:00Z", "2026-10-27T00:00:00Z"),
            ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn every_quarter_of_an_hour_goes_on_through_the_change() {
        for (from, to) in [
            ("2026-03-29T00:00:00Z", "2026-03-29T04:00:00Z"),
            ("2026-10-25T00:00:00Z", "2026-10-25T04:00:00Z"),
        ] {
            let mut quarters = calendar("*/15 * * * *", "Europe/Berlin", from);
            let runs = runs(&mut quarters, from, to);
            assert_eq!(runs.len(), 15, "{runs:?}");
        }
    }

    #[test]
    fn what_was_due_while_nobody_could_run_is_made_up_for_once() {
        let mut daily = calendar("0 3 * * *", "UTC", "2026-06-01T00:00:00Z");
        let due = daily.due(time("2026-06-05T12:00:00Z"));
        let since = time("2026-06-01T03:00:00Z");
        assert_eq!(due, Due::Now { since, at: time("2026-06-05T03:00:00Z"), missed: 4 });
        daily.begin(time("2026-06-05T03:00:00Z"));
        assert_eq!(daily.due(time("2026-06-05T12:00:01Z")), Due::Later(time("2026-06-06T03:00:00Z")));
    }

    #[test]
    fn a_clock_that_goes_back_runs_no_due_time_twice() {
        let mut hourly = calendar("0 * * * *", "UTC", "2026-06-01T02:30:00Z");
        let three = time("2026-06-01T03:00:00Z");
        assert_eq!(hourly.due(three), Due::Now { since: three, at: three, missed: 0 });
        hourly.begin(three);
        for back in ["2026-06-01T02:59:59Z", "2026-06-01T02:00:01Z", "2026-06-01T03:00:00Z"] {
            assert_eq!(hourly.due(time(back)), Due::Later(time("2026-06-01T04:00:00Z")), "{back}");
        }
    }

    #[test]
    fn a_year_in_either_direction_is_one_run_at_most() {
        let mut hourly = calendar("0 * * * *", "UTC", "2026-06-01T02:30:00Z");
        let Due::Now { at, missed, .. } = hourly.due(time("2027-06-01T02:30:00Z")) else {
            panic!("a year later something is due");
        };
        assert_eq!((at, missed), (time("2027-06-01T02:00:00Z"), MOST_COUNTED));
        hourly.begin(at);
        // And back again: the next hour is due as if nothing had happened.
        assert_eq!(hourly.due(time("2026-06-01T02:31:00Z")), Due::Later(time("2026-06-01T03:00:00Z")));
    }

    #[test]
    fn a_last_run_that_is_still_to_come_is_no_reason_to_wait() {
        let now = time("2026-06-01T02:30:00Z");
        for ahead in
            [SignedDuration::from_secs(1), SignedDuration::from_hours(3), SignedDuration::from_hours(9000)]
        {
            let begin =
                |last| Calendar::new("0 * * * *".parse().expect("hourly"), TimeZone::UTC, Some(last), now);
            // Passes that each begin anew, as cron makes them, come to the same.
            assert_eq!(begin(now + ahead).due(now), Due::Now { since: now, at: now, missed: 0 }, "{ahead:#}");
            let mut hourly = begin(now + ahead);
            let second = now + SignedDuration::from_secs(1);
            assert_eq!(hourly.due(second), Due::Now { since: now, at: now, missed: 0 }, "until it has begun");
            hourly.begin(now);
            assert_eq!(hourly.due(second), Due::Later(time("2026-06-01T03:00:00Z")), "once");
        }
    }

    #[test]
    fn what_never_comes_is_never_due() {
        assert_eq!(
            calendar("0 0 30 2 *", "UTC", "2026-06-01T00:00:00Z").due(time("2026-06-02T00:00:00Z")),
            Due::Never
        );
    }
}
