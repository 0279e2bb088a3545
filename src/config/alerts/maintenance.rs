//! `[[maintenance]]`: when nobody is to be disturbed.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::Classes;
use super::matcher::read_matcher;
use crate::alert::maintenance::{Maintenance, Window};
use crate::config::document::Section;
use crate::config::time::{CRON, TIMEZONE, read_cron, read_zone};
use crate::config::value::{Key, Value};

static MAINTENANCE: Key =
    Key { name: "maintenance", example: "[{ cron = \"0 22 * * SAT\", duration = \"4h\" }]" };
static NAME: Key = Key { name: "name", example: "\"saturday patching\"" };
static FROM: Key = Key { name: "from", example: "2026-06-06T22:00:00+02:00" };
static UNTIL: Key = Key { name: "until", example: "2026-06-07T02:00:00+02:00" };
static DURATION: Key = Key { name: "duration", example: "\"4h\"" };

const DURATIONS: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(31 * 24 * 3600);

/// Reads every `[[maintenance]]` table.
pub(in crate::config) fn read_maintenance(root: &mut Section<'_>, classes: &mut Classes) -> Vec<Maintenance> {
    root.tables(&MAINTENANCE).into_iter().filter_map(|section| read_window(section, classes)).collect()
}

fn read_window(mut section: Section<'_>, classes: &mut Classes) -> Option<Maintenance> {
    let line = section.line();
    let name = section.take(&NAME).and_then(Value::text);
    let matcher = read_matcher(&mut section, classes);
    section.need(&[&NAME]);
    let once = read_once(&mut section);
    let recurring = read_recurring(&mut section);
    let is_once = section.has(&FROM) || section.has(&UNTIL);
    let is_recurring = section.has(&CRON) || section.has(&DURATION) || section.has(&TIMEZONE);
    match (is_once, is_recurring) {
        (true, true) => {
            let message =
                "a window that opens once, from and until, cannot recur, by cron and duration, as well";
            section.report(message, "keep one of the two, or write a [[maintenance]] for each");
        }
        (true, false) => section.need(&[&FROM, &UNTIL]),
        (false, true) => section.need(&[&CRON, &DURATION]),
        (false, false) => section.report(
            "this [[maintenance]] says not when it is",
            "add from and until, or cron = \"0 22 * * SAT\" and duration = \"4h\"",
        ),
    }
    section.finish();
    Some(Maintenance { name: name?, matcher, window: once.or(recurring)?, line })
}

fn read_once(section: &mut Section<'_>) -> Option<Window> {
    let from = section.take(&FROM).and_then(Value::moment);
    let end = section.take(&UNTIL);
    let until = end.and_then(Value::moment);
    let (from, until) = (from?, until?);
    if until <= from {
        end?.report("this is not later than `from`", "let the window end behind its beginning");
        return None;
    }
    Some(Window::Once { from, until })
}

fn read_recurring(section: &mut Section<'_>) -> Option<Window> {
    let cron = section.take(&CRON).and_then(read_cron);
    let duration = section.take(&DURATION).and_then(|value| value.duration(DURATIONS));
    let zone = section.take(&TIMEZONE).map(read_zone);
    let zone = zone.map_or(Some(TimeZone::UTC), |zone| zone)?;
    Some(Window::Recurring { cron: Box::new(cron?), duration: duration?, zone })
}
