//! `[alerting]`: how patient alerts are.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::alert::rules::{AlertRules, LONGEST_WINDOW};
use crate::config::document::Section;
use crate::config::value::{Key, Value};

static ALERTING: Key = Key { name: "alerting", example: "{ remind_every = \"4h\" }" };
static REMIND_EVERY: Key = Key { name: "remind_every", example: "\"4h\"" };
static STORM_ABOVE: Key = Key { name: "storm_above", example: "20" };
static FLAP_WINDOW: Key = Key { name: "flap_window", example: "20" };
static FLAP_FLIPS: Key = Key { name: "flap_flips", example: "5" };
static BLIND_AFTER: Key = Key { name: "blind_after", example: "1" };
static SECOND_LOOK_AFTER: Key = Key { name: "second_look_after", example: "\"5s\"" };

const REMINDERS: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(31 * 24 * 3600);
const SECOND_LOOKS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(300);

/// Reads `[alerting]`.
pub(in crate::config) fn read_rules(root: &mut Section<'_>) -> AlertRules {
    let usual = AlertRules::default();
    let Some(mut section) = root.table(&ALERTING) else { return usual };
    let remind_every = section.take(&REMIND_EVERY).and_then(read_reminder);
    let mut count = |key, range| read_count(&mut section, key, range);
    let storm_above = count(&STORM_ABOVE, 1..=1_000_000);
    let flap_window = count(&FLAP_WINDOW, 2..=u64::from(LONGEST_WINDOW));
    let flap_flips = count(&FLAP_FLIPS, 1..=u64::from(LONGEST_WINDOW) - 1);
    let blind_after = count(&BLIND_AFTER, 1..=1000);
    let second_look = section.take(&SECOND_LOOK_AFTER).and_then(|value| value.duration(SECOND_LOOKS));
    let narrow =
        |count: Option<u32>, usual: u8| count.and_then(|count| count.try_into().ok()).unwrap_or(usual);
    let rules = AlertRules {
        remind_every: remind_every.unwrap_or(usual.remind_every),
        storm_above: storm_above.unwrap_or(usual.storm_above),
        flap_window: narrow(flap_window, usual.flap_window),
        flap_flips: narrow(flap_flips, usual.flap_flips),
        blind_after: blind_after.unwrap_or(usual.blind_after),
        second_look_after: second_look
            .map_or(usual.second_look_after, |after| (!after.is_zero()).then_some(after)),
    };
    refuse_too_many_flips(&mut section, &rules);
    section.finish();
    rules
}

/// So many judgements have one change less between them.
fn refuse_too_many_flips(section: &mut Section<'_>, rules: &AlertRules) {
    let AlertRules { flap_flips, flap_window, .. } = rules;
    let blamed = if section.has(&FLAP_FLIPS) { &FLAP_FLIPS } else { &FLAP_WINDOW };
    if flap_flips >= flap_window {
        let message = format!("{flap_window} judgements cannot change {flap_flips} times");
        section.refuse(blamed.name, message, "write fewer flap_flips than flap_window");
    }
}

/// A length of time, or `never`.
fn read_reminder(value: Value<'_>) -> Option<Option<Duration>> {
    if value.as_text() == Some("never") {
        return Some(None);
    }
    value.duration_or(REMINDERS, "never").map(Some)
}

fn read_count(section: &mut Section<'_>, key: &'static Key, range: RangeInclusive<u64>) -> Option<u32> {
    section.take(key)?.integer(range).and_then(|count| count.try_into().ok())
}
