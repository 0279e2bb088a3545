//! Maintenance windows: when nobody is to be disturbed, as the configuration says it ahead.

use std::time::Duration;

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::life::Alert;
use super::silence::Matcher;

/// One `[[maintenance]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Maintenance {
    /// What is going on.
    pub name: String,
    /// Which alerts disturb nobody.
    pub matcher: Matcher,
    /// When.
    pub window: Window,
    /// The line of the file where its table begins.
    pub line: u32,
}

/// When a maintenance window is open.
#[derive(Clone, Debug, PartialEq)]
pub enum Window {
    /// Once.
    Once {
        /// The first moment.
        from: Timestamp,
        /// The first moment behind it.
        until: Timestamp,
    },
    /// Again and again.
    Recurring {
        /// When it opens, by the clock on the wall of `zone`.
        cron: Box<Cron>,
        /// For how long, by a stopwatch: a night on which the clocks change makes it neither longer nor shorter.
        duration: Duration,
        /// Whose wall.
        zone: TimeZone,
    },
}

impl Maintenance {
    /// Whether the window is open.
    pub fn holds(&self, now: Timestamp) -> bool {
        match &self.window {
            Window::Once { from, until } => *from <= now && now < *until,
            Window::Recurring { cron, duration, zone } => {
                last_begin(cron, zone, now).is_some_and(|begin| is_within(begin, *duration, now))
            }
        }
    }

    /// Whether this alert disturbs nobody now.
    pub fn mutes(&self, alert: &Alert, now: Timestamp) -> bool {
        self.matcher.fits(alert) && self.holds(now)
    }
}

/// When the window has last opened. All windows are equally long, so if that one is over, all earlier ones are.
fn last_begin(cron: &Cron, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    let begin = cron.find_previous_occurrence(&now.to_zoned(zone.clone()), true).ok()?.timestamp();
    (begin <= now).then_some(begin)
}

fn is_within(begin: Timestamp, duration: Duration, now: Timestamp) -> bool {
    let elapsed = now.duration_since(begin);
    SignedDuration::try_from(duration).is_ok_and(|duration| elapsed < duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    fn window(window: Window) -> Maintenance {
        Maintenance { name: "patching".to_owned(), matcher: Matcher::default(), window, line: 1 }
    }

    fn recurring(cron: &str, minutes: u64, zone: &str) -> Maintenance {
        let zone = TimeZone::get(zone).expect(zone);
        let (cron, duration) = (Box::new(cron.parse().expect(cron)), Duration::from_secs(60 * minutes));
        window(Window::Recurring { cron, duration, zone })
    }

    #[track_caller]
    fn check(maintenance: &Maintenance, held: &[(&str, bool)]) {
        for (now, holds) in held {
            assert_eq!(maintenance.holds(time(now)), *holds, "{now}");
        }
    }

    #[test]
    fn a_window_that_opens_once_holds_from_its_first_moment_to_the_last_before_its_end() {
        let (from, until) = (time("2026-06-06T22:00:00Z"), time("2026-06-07T02:00:00Z"));
        check(
            &window(Window::Once { from, until }),
            &[
                ("2026-06-06T21:59:59.999Z", false),
                ("2026-06-06T22:00:00Z", true),
                ("2026-06-07T01:59:59.999Z", true),
                ("2026-06-07T02:00:00Z", false),
            ],
        );
    }

    #[test]
    fn a_window_that_recurs_holds_as_long_as_it_says() {
        // Saturdays at 22:00 in Berlin, which is 20:00 UTC in summer and 21:00 UTC in winter, over midnight.
        check(
            &recurring("0 22 * * SAT", 240, "Europe/Berlin"),
            &[
                ("2026-06-06T19:59:59.999Z", false),
                ("2026-06-06T20:00:00Z", true),
                ("2026-06-06T20:00:00.5Z", true),
                ("2026-06-06T23:59:59.999Z", true),
                ("2026-06-07T00:00:00Z", false),
                ("2026-06-10T20:30:00Z", false),
                ("2026-12-05T20:30:00Z", false),
                ("2026-12-05T21:00:00Z", true),
                ("2026-12-06T00:59:59Z", true),
                ("2026-12-06T01:00:00Z", false),
            ],
        );
    }

    #[test]
    fn a_window_that_would_open_in_the_hour_that_is_left_out_opens_behind_it() {
        // On 29 March 2026 Berlin goes from 02:00 to 03:00, at 01:00 UTC.
        check(
            &recurring("30 2 * * *", 60, "Europe/Berlin"),
            &[
                ("2026-03-28T01:29:59Z", false),
                ("2026-03-28T01:30:00Z", true),
                ("2026-03-28T02:30:00Z", false),
                ("2026-03-29T00:59:59Z", false),
                ("2026-03-29T01:00:00Z", true),
                ("2026-03-29T01:59:59Z", true),
                ("2026-03-29T02:00:00Z", false),
                ("2026-03-30T00:30:00Z", true),
            ],
        );
    }

    #[test]
    fn a_window_in_the_hour_that_comes_twice_opens_once() {
        // On 25 October 2026 Berlin goes from 03:00 back to 02:00, at 01:00 UTC: 02:30 is at 00:30 and at 01:30 UTC.
        check(
            &recurring("30 2 * * *", 30, "Europe/Berlin"),
            &[
                ("2026-10-25T00:29:59Z", false),
                ("2026-10-25T00:30:00Z", true),
                ("2026-10-25T00:59:59Z", true),
                ("2026-10-25T01:00:00Z", false),
                ("2026-10-25T01:30:00Z", false),
                ("2026-10-25T01:45:00Z", false),
                ("2026-10-26T01:30:00Z", true),
            ],
        );
        // It began before the clocks changed, and is as long as it says all the same.
        check(
            &recurring("0 1 * * SUN", 180, "Europe/Berlin"),
            &[
                ("2026-10-24T22:59:59Z", false),
                ("2026-10-24T23:00:00Z", true),
                ("2026-10-25T01:59:59Z", true),
                ("2026-10-25T02:00:00Z", false),
            ],
        );
    }

    #[test]
    fn a_window_that_is_longer_than_its_period_is_always_open() {
        let always = recurring("0 0 * * *", 60 * 48, "UTC");
        check(&always, &[("2026-01-01T00:00:00Z", true), ("2026-01-01T23:59:59Z", true)]);
    }

    #[test]
    fn a_day_that_comes_every_four_years_is_found() {
        let leap = recurring("0 12 29 2 *", 60, "UTC");
        check(&leap, &[("2028-02-29T12:30:00Z", true), ("2027-02-28T12:30:00Z", false)]);
        // A day that never comes, and the end of all calendars, open no window.
        check(&recurring("0 12 30 2 *", 60, "UTC"), &[("2028-02-29T12:30:00Z", false)]);
        assert!(!leap.holds(Timestamp::MIN) && !leap.holds(Timestamp::MAX));
    }
}
