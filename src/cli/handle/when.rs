//! Times as they are typed and as they are shown.

use std::str::FromStr;

use jiff::civil::Date;
use jiff::fmt::temporal::Pieces;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// A time as it is typed: itself, a day, or how far away it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum When {
    /// This very time.
    At(Timestamp),
    /// So far from now; whether back or ahead is for the flag to say.
    Away(SignedDuration),
}

impl When {
    /// The time, where what is typed as a duration means the future.
    pub fn ahead(self, now: Timestamp) -> Timestamp {
        match self {
            When::At(time) => time,
            When::Away(duration) => now.checked_add(duration).unwrap_or(Timestamp::MAX),
        }
    }

    /// The time, where what is typed as a duration means the past.
    pub fn back(self, now: Timestamp) -> Timestamp {
        match self {
            When::At(time) => time,
            When::Away(duration) => now.checked_sub(duration).unwrap_or(Timestamp::MIN),
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(When::At(time));
        }
        let is_day = text.len() == "2026-06-01".len();
        let day = text.parse::<Date>().ok().filter(|_| is_day);
        // Everything that is shown is in UTC, so a day is one of UTC too.
        let midnight = day.and_then(|day| day.in_tz("UTC").ok());
        if let Some(midnight) = midnight {
            return Ok(When::At(midnight.timestamp()));
        }
        let length = length_of(text);
        if let Ok(duration) = &length
            && duration.is_positive()
        {
            return Ok(When::Away(*duration));
        }
        // What is well written and still no time lies beyond all times that can be kept.
        let is_moment =
            Pieces::parse(text).is_ok_and(|pieces| pieces.time().is_some() && pieces.offset().is_some());
        let is_length =
            length.is_err() && length_of(&with_ones(text)).is_ok_and(|duration| duration.is_positive());
        if day.is_some() || is_moment || is_length {
            return Err(format!("`{text}` is too far away; times end with the year 9999"));
        }
        Err(format!(
            "`{text}` is no time; write 30m, 2h, 7d, a day in UTC such as 2026-06-01, or 2026-06-01T12:00:00Z"
        ))
    }
}

fn length_of(text: &str) -> Result<SignedDuration, jiff::Error> {
    text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
}

/// The same text with the number one for each number in it.
fn with_ones(text: &str) -> String {
    let mut ones = text.replace(|letter: char| letter.is_ascii_digit(), "1");
    while ones.contains("11") {
        ones = ones.replace("11", "1");
    }
    ones
}

/// A time to the second, and how long ago it was or how far ahead it is.
pub fn at(time: Timestamp, now: Timestamp) -> String {
    let away = time.duration_since(now);
    let length = length(away.abs());
    if away.is_positive() { format!("{time:.0} (in {length})") } else { format!("{time:.0} ({length} ago)") }
}

/// A duration in its largest unit of which there are two at least.
fn length(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "min")];
    let largest = units.into_iter().find(|(unit, _)| seconds >= 2 * unit);
    let (unit, name) = largest.unwrap_or((1, "s"));
    format!("{} {name}", seconds / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> Timestamp {
        "2026-06-01T12:00:00Z".parse().expect("a time")
    }

    #[test]
    fn a_time_is_itself_a_day_or_a_distance() {
        for (text, ahead, back) in [
            ("2h", "2026-06-01T14:00:00Z", "2026-06-01T10:00:00Z"),
            ("90m", "2026-06-01T13:30:00Z", "2026-06-01T10:30:00Z"),
            ("1d 12h", "2026-06-03T00:00:00Z", "2026-05-31T00:00:00Z"),
            ("1w", "2026-06-08T12:00:00Z", "2026-05-25T12:00:00Z"),
            ("PT5M", "2026-06-01T12:05:00Z", "2026-06-01T11:55:00Z"),
            ("2026-07-01T00:00:00Z", "2026-07-01T00:00:00Z", "2026-07-01T00:00:00Z"),
            ("2026-07-01T02:00:00+02:00", "2026-07-01T00:00:00Z", "2026-07-01T00:00:00Z"),
            ("2026-07-01", "2026-07-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        ] {
            let when: When = text.parse().expect(text);
            assert_eq!(when.ahead(noon()).to_string(), ahead, "{text}");
            assert_eq!(when.back(noon()).to_string(), back, "{text}");
        }
    }

    #[test]
    fn what_could_mean_two_times_is_refused() {
        // Without a zone, nobody knows which noon; a month has no length; and nothing lies behind a duration.
        for text in ["", "2", "tomorrow", "2026-06-01T12:00:00", "1mo", "0s", "-2h", "2h ago", "2026-02-30"] {
            let error = text.parse::<When>().expect_err(text);
            assert!(error.contains("is no time; write 30m, 2h, 7d"), "{error}");
        }
    }

    #[test]
    fn what_lies_beyond_all_times_is_called_too_far() {
        for text in ["9999999d", "9999-12-31", "9999-12-31T23:59:59Z"] {
            let error = text.parse::<When>().expect_err(text);
            assert!(error.contains("is too far away"), "{error}");
        }
    }

    #[test]
    fn no_distance_is_too_far() {
        let far: When = "170000h".parse().expect("a duration");
        assert!(far.ahead(Timestamp::MAX) == Timestamp::MAX && far.back(Timestamp::MIN) == Timestamp::MIN);
    }

    #[test]
    fn ages_are_in_the_largest_unit_that_says_enough() {
        for (seconds, says) in [
            (0, "(0 s ago)"),
            (119, "(119 s ago)"),
            (120, "(2 min ago)"),
            (7199, "(119 min ago)"),
            (7200, "(2 h ago)"),
            (172_799, "(47 h ago)"),
            (172_800, "(2 d ago)"),
            (-5, "(in 5 s)"),
            (-7200, "(in 2 h)"),
        ] {
            let told = at(noon() - SignedDuration::from_secs(seconds), noon());
            assert!(told.ends_with(says), "{seconds}: {told}");
        }
        assert_eq!(at(noon(), noon()), "2026-06-01T12:00:00Z (0 s ago)");
    }
}
