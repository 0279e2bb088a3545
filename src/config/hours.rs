//! Hours of the day in which something may be done, such as `22:00-05:00`, by the clock on somebody's wall.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// From one time of day to another; over midnight, where the second is not behind the first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hours {
    from: Time,
    until: Time,
}

/// Hours, and on whose wall they are read. No hours at all are all hours.
#[derive(Clone, Debug, PartialEq)]
pub struct OpeningHours {
    /// The hours of every day.
    pub hours: Vec<Hours>,
    /// Whose wall.
    pub zone: TimeZone,
}

impl Default for OpeningHours {
    fn default() -> Self {
        OpeningHours { hours: Vec::new(), zone: TimeZone::UTC }
    }
}

impl OpeningHours {
    /// Until when it is open now; `None` where it is closed. What never closes is open until the end of time.
    pub fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        if self.hours.is_empty() {
            return Some(Timestamp::MAX);
        }
        let mut until = None;
        // Where one window ends as another begins, it is open throughout.
        while let Some(end) = self.spans(until.unwrap_or(now)).filter(|end| Some(*end) > until).max() {
            until = Some(end);
            // Nobody asks what comes after two days.
            if end.duration_since(now) > jiff::SignedDuration::from_hours(48) {
                break;
            }
        }
        until
    }

    /// When it is open next: now, if it is; at the end of time, if never.
    pub fn opens(&self, now: Timestamp) -> Timestamp {
        if self.open_until(now).is_some() {
            return now;
        }
        let today = now.to_zoned(self.zone.clone()).date();
        // On a day on which the clocks are put forward a window may have no length, so that more than one day counts.
        let days = (0..=7).filter_map(|days| today.checked_add(days.days()).ok());
        let windows =
            days.flat_map(|day| self.hours.iter().filter_map(move |hours| self.window(*hours, day)));
        windows.map(|(start, _)| start).filter(|start| *start > now).min().unwrap_or(Timestamp::MAX)
    }

    /// How long the shortest of the hours is, on a day on which nobody sets the clocks; nothing for all hours.
    pub fn shortest(&self) -> Option<Duration> {
        let lengths = self.hours.iter().map(|hours| {
            let seconds = hours.from.duration_until(hours.until).as_secs();
            Duration::from_secs(seconds.rem_euclid(24 * 3600).unsigned_abs())
        });
        lengths.min()
    }

    /// The window of a day, if it has any length on that day.
    fn window(&self, hours: Hours, day: Date) -> Option<(Timestamp, Timestamp)> {
        let last = if hours.until > hours.from { day } else { day.checked_add(1.day()).ok()? };
        let (start, end) = (self.moment(day, hours.from)?, self.moment(last, hours.until)?);
        (start < end).then_some((start, end))
    }

    /// The ends of the windows that are open at a moment.
    fn spans(&self, at: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        let today = at.to_zoned(self.zone.clone()).date();
        let days = [today.checked_sub(1.day()).ok(), Some(today)].into_iter().flatten();
        days.flat_map(move |day| {
            self.hours.iter().filter_map(move |hours| {
                let (start, end) = self.window(*hours, day)?;
                (start <= at && at < end).then_some(end)
            })
        })
    }

    /// A time of a day on the wall. One that the clocks skip is as much later as they are put forward.
    fn moment(&self, day: Date, time: Time) -> Option<Timestamp> {
        Some(day.to_datetime(time).to_zoned(self.zone.clone()).ok()?.timestamp())
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hours { from, until } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from.hour(), from.minute(), until.hour(), until.minute())
    }
}

/// A text that names no hours.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` names no hours of the day; write 22:00-05:00")]
pub struct HoursError {
    text: String,
}

impl FromStr for Hours {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let parse = || {
            let (from, until) = text.split_once('-')?;
            Some(Hours { from: time(from.trim())?, until: time(until.trim())? })
        };
        parse().filter(|hours| hours.from != hours.until).ok_or_else(|| HoursError { text: text.to_owned() })
    }
}

/// A time of day as people write it; 24:00 is the midnight that ends the day.
fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |text: &str| (text.len() == 2).then(|| text.parse::<i8>().ok()).flatten();
    let (hour, minute) = (digits(hour)?, digits(minute)?);
    Time::new(if (hour, minute) == (24, 0) { 0 } else { hour }, minute, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    fn opening(hours: &[&str], zone: &str) -> OpeningHours {
        let zone = jiff::tz::db().get(zone).expect(zone);
        OpeningHours { hours: hours.iter().map(|text| text.parse().expect(text)).collect(), zone }
    }

    #[test]
    fn is_open_over_midnight() {
        let night = opening(&["22:00-05:00"], "UTC");
        let open = |now| night.open_until(at(now));
        assert_eq!(open("2026-11-26T21:59:59Z"), None);
        assert_eq!(open("2026-11-26T22:00:00Z"), Some(at("2026-11-27T05:00:00Z")));
        assert_eq!(open("2026-11-27T04:59:59Z"), Some(at("2026-11-27T05:00:00Z")));
        assert_eq!(open("2026-11-27T05:00:00Z"), None);
        assert_eq!(night.opens(at("2026-11-27T05:00:00Z")), at("2026-11-27T22:00:00Z"));
        assert_eq!(night.opens(at("2026-11-27T23:00:00Z")), at("2026-11-27T23:00:00Z"));
    }

    #[test]
    fn windows_that_meet_are_one() {
        let two = opening(&["01:00-02:00", "02:00-03:00", "10:00-11:00"], "UTC");
        assert_eq!(two.open_until(at("2026-11-26T01:30:00Z")), Some(at("2026-11-26T03:00:00Z")));
        assert_eq!(two.opens(at("2026-11-26T03:00:00Z")), at("2026-11-26T10:00:00Z"));
        assert_eq!(opening(&[], "UTC").open_until(at("2026-11-26T03:00:00Z")), Some(Timestamp::MAX));
        assert!(
            opening(&["00:00-12:00", "12:00-24:00"], "UTC").open_until(at("2026-11-26T03:00:00Z")).is_some()
        );
    }

    /// The clocks of Berlin are put back on 25 October 2026, and forward on 28 March 2027.
    #[test]
    fn goes_by_the_clock_on_the_wall() {
        let night = opening(&["22:00-05:00"], "Europe/Berlin");
        assert_eq!(night.open_until(at("2026-10-24T20:00:00Z")), Some(at("2026-10-25T04:00:00Z")));
        assert_eq!(night.open_until(at("2027-03-27T21:00:00Z")), Some(at("2027-03-28T03:00:00Z")));
        let skipped = opening(&["02:30-02:45"], "Europe/Berlin");
        assert_eq!(skipped.opens(at("2027-03-27T23:30:00Z")), at("2027-03-28T01:30:00Z"));
    }

    /// At two in the morning of 28 March 2027 the clocks of Berlin show three: that day the window has no length.
    #[test]
    fn a_window_that_the_clocks_skip_is_none() {
        let skipped = opening(&["02:00-03:00"], "Europe/Berlin");
        assert_eq!(skipped.opens(at("2027-03-27T23:30:00Z")), at("2027-03-29T00:00:00Z"));
        assert_eq!(skipped.open_until(at("2027-03-28T01:00:00Z")), None);
        assert_eq!(skipped.shortest(), Some(Duration::from_secs(3600)));
        let night = opening(&["22:00-05:00", "12:00-12:10"], "UTC");
        assert_eq!(night.shortest(), Some(Duration::from_secs(600)));
    }

    #[test]
    fn refuses_what_names_no_hours() {
        for text in
            ["", "22:00", "22:00-22:00", "25:00-05:00", "22-05", "2:00-3:00", "22:00-05:60", "-1:00-05:00"]
        {
            assert!(text.parse::<Hours>().is_err(), "{text}");
        }
        assert_eq!("22:00-24:00".parse::<Hours>().expect("hours").to_string(), "22:00-00:00");
    }
}
