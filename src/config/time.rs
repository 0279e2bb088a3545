//! Times that come again: cron expressions, and the clock on whose wall they are read.

use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::document::did_you_mean;
use super::value::{Key, Value};

pub(super) static CRON: Key = Key { name: "cron", example: "\"15 3 * * MON\"" };
pub(super) static TIMEZONE: Key = Key { name: "timezone", example: "\"Europe/Berlin\"" };

const FIELDS: [&str; 6] = ["second", "minute", "hour", "day of the month", "month", "day of the week"];

const CRON_HELP: &str = "write minute, hour, day of the month, month and day of the week, such as 15 3 * * MON, and in \
                         front of them the second if you like";

/// A cron expression of five fields, or of six with the seconds in front, that comes to pass at all.
pub(super) fn read_cron(value: Value<'_>) -> Option<Cron> {
    let text = value.text()?;
    match parse_cron(&text) {
        Ok(cron) => Some(cron),
        Err((message, help)) => {
            value.report(message, help);
            None
        }
    }
}

/// A time zone by its name in the IANA database.
pub(super) fn read_zone(value: Value<'_>) -> Option<TimeZone> {
    let text = value.text()?;
    let database = jiff::tz::db();
    if let Ok(zone) = database.get(&text) {
        return Some(zone);
    }
    let known: Vec<String> = database.available().map(|name| name.to_string()).collect();
    let hint = did_you_mean(&text, known.iter().map(String::as_str));
    let message = format!("`{text}` is no time zone that this system knows");
    value.report(message, format!("{hint}write the name of a place, such as Europe/Berlin, or UTC"));
    None
}

fn parse_cron(text: &str) -> Result<Cron, (String, &'static str)> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let cron = parser().parse(text).map_err(|error| {
        // Its first words are about the library's own parts.
        let said = error.to_string();
        let said = said.split_once(": ").map_or(said.as_str(), |(_, said)| said);
        let said = said.trim_end_matches('.');
        let message = match wrong_field(&fields) {
            Some((name, field)) => {
                format!("`{text}` is no cron expression, because of the {name} `{field}`: {said}")
            }
            None => format!("`{text}` is no cron expression: {said}"),
        };
        (message, CRON_HELP)
    })?;
    // Any moment serves, because no year stands in an expression; all that may come does within some years of it.
    let begin = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    match cron.find_next_occurrence(&begin, false) {
        Ok(_) => Ok(cron),
        Err(_) => Err((format!("`{text}` never comes: no year has such a day"), "name a day that there is")),
    }
}

/// The shortest and the longest time between two due times, as far as a walk over the first thousand of them shows. By
/// the clock of UTC: where summer time moves one closer to the next, that is twice a year and no reason to refuse
/// anything.
pub(super) fn gaps(cron: &Cron) -> Option<(Duration, Duration)> {
    let mut at = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    let mut last: Option<Timestamp> = None;
    let mut found: Option<(Duration, Duration)> = None;
    // Whatever comes so rarely that a year holds fewer shows its gaps within that.
    let end = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 366);
    for _ in 0..1000 {
        at = cron.find_next_occurrence(&at, false).ok()?;
        let now = at.timestamp();
        if let Some(last) = last {
            let gap = now.duration_since(last).unsigned_abs();
            found = Some(found.map_or((gap, gap), |(least, most)| (least.min(gap), most.max(gap))));
        }
        if now > end {
            break;
        }
        last = Some(now);
    }
    found
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build()
}

/// The first field that is wrong by itself, and what it is called.
fn wrong_field<'t>(fields: &[&'t str]) -> Option<(&'static str, &'t str)> {
    let names = match fields.len() {
        5 => &FIELDS[1..],
        6 => &FIELDS[..],
        _ => return None,
    };
    let is_wrong = |at: usize| {
        let alone = (0..fields.len()).map(|place| if place == at { fields[at] } else { "*" });
        parser().parse(&alone.collect::<Vec<_>>().join(" ")).is_err()
    };
    let at = (0..fields.len()).find(|at| is_wrong(*at))?;
    Some((names[at], fields[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_expressions_with_and_without_seconds() {
        for text in [
            "15 3 * * MON",
            "*/5 * * * *",
            "30 15 3 1 JAN *",
            "0 0 29 2 *",
            "0 3 * * 1-5",
            "@daily",
            "0 0 L * *",
        ] {
            assert!(parse_cron(text).is_ok(), "{text}: {:?}", parse_cron(text));
        }
    }

    #[test]
    fn the_shortest_and_the_longest_gap_are_found_wherever_they_lie() {
        let day = 86_400;
        for (text, least, most) in [
            ("* * * * *", 60, 60),
            ("0,5 * * * *", 300, 3300),
            ("*/50 * * * *", 600, 3000),
            ("*/7 * * * * *", 4, 7),
            ("0 0,23 * * *", 3600, 23 * 3600),
            ("0 0,23 * * MON,TUE", 3600, 6 * day - 23 * 3600),
            ("15 3 * * MON", 7 * day, 7 * day),
            ("0 0 1 1 *", 365 * day, 365 * day),
        ] {
            let cron = parse_cron(text).expect(text);
            let seconds = gaps(&cron).map(|(least, most)| (least.as_secs(), most.as_secs()));
            assert_eq!(seconds, Some((least, most)), "{text}");
        }
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        for (text, says) in [
            ("61 3 * * *", "because of the minute `61`"),
            ("15 24 * * *", "because of the hour `24`"),
            ("15 3 0 * *", "because of the day of the month `0`"),
            ("15 3 * 13 *", "because of the month `13`"),
            ("15 3 * * MOO", "because of the day of the week `MOO`"),
            ("61 15 3 * * *", "because of the second `61`"),
            ("15 3 * *", "`15 3 * *` is no cron expression: "),
            ("0 15 3 * * * 2027", "`0 15 3 * * * 2027` is no cron expression: "),
            ("0 0 30 2 *", "never comes"),
            ("@sometimes", "is no cron expression"),
        ] {
            let (message, help) = parse_cron(text).expect_err(text);
            assert!(message.contains(says) && !help.is_empty(), "{text}: {message}");
        }
    }
}
