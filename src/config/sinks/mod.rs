//! `[[sink]]`: where messages go. What each kind wants is in [`kinds`].

mod gatherers;
mod keys;
mod kinds;
pub(super) mod secret;
pub(super) mod web;

use std::ops::RangeInclusive;
use std::time::Duration;

use keys::{FORMAT, GIVE_UP_AFTER, KIND, NAME, SINK, STORM, TIMEOUT, foreign};

use super::document::Section;
use super::names::parse_name;
use super::value::{Placed, Value};
use crate::sink::options::{DEFAULT_GIVE_UP_AFTER, DEFAULT_TIMEOUT, LineFormat, SinkKind, SinkOptions};

const TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);
const GIVE_UPS: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(31 * 24 * 3600);

/// Kinds that people read. A storm of messages helps none of them.
const READ_BY_PEOPLE: [&str; 5] = ["webhook", "slack", "pagerduty", "email", "exec"];

/// What the file says of sinks.
#[derive(Default)]
pub(super) struct Sinks {
    /// Those that can be used.
    pub(super) options: Vec<SinkOptions>,
    /// The names of all, usable or not.
    pub(super) names: Vec<Placed<String>>,
    /// Whether each has a name that can be read.
    pub(super) all_named: bool,
}

/// Reads every `[[sink]]` table.
pub(super) fn read_sinks(root: &mut Section<'_>) -> Sinks {
    let mut sinks = Sinks { all_named: true, ..Sinks::default() };
    for section in root.tables(&SINK) {
        let (name, options) = read_sink(section);
        sinks.all_named &= name.is_some();
        sinks.names.extend(name);
        sinks.options.extend(options);
    }
    sinks
}

fn read_sink(mut section: Section<'_>) -> (Option<Placed<String>>, Option<SinkOptions>) {
    let line = section.line();
    let name = section.take(&NAME).and_then(|value| {
        let at = value.at();
        parse_name(value).map(|value| Placed { at, value })
    });
    let word = section.take(&KIND);
    let word = word.and_then(read_kind);
    section.need(&[&NAME, &KIND]);
    let timeout = section.take(&TIMEOUT).map(|value| value.duration(TIMEOUTS));
    let give_up_after = section.take(&GIVE_UP_AFTER).map(|value| value.duration(GIVE_UPS));
    let storm = section
        .take(&STORM)
        .map(|value| value.choice("way to tell a storm", &[("each", true), ("digest", false)]));
    let Some(word) = word else {
        // Which of these keys it may have is not known.
        keys::all().for_each(|key| section.excuse(key));
        section.finish();
        return (name, None);
    };
    secret::refuse_written(&mut section, word);
    let kind = kinds::read_kind(&mut section, word);
    let format = read_format(&mut section, word);
    refuse_foreign(&mut section, word);
    section.finish();
    let options = SinkOptions {
        name: name.as_ref().map(|name| name.value.clone()).unwrap_or_default(),
        kind: match kind {
            Some(kind) => kind,
            None => return (name, None),
        },
        timeout: timeout.flatten().unwrap_or(DEFAULT_TIMEOUT),
        give_up_after: give_up_after.flatten().unwrap_or(DEFAULT_GIVE_UP_AFTER),
        format: format.unwrap_or_else(|| LineFormat::usual_of_kind(word)),
        tells_each: storm.flatten().unwrap_or(!READ_BY_PEOPLE.contains(&word)),
        line,
    };
    (name, Some(options))
}

fn read_kind(value: Value<'_>) -> Option<&'static str> {
    let words = SinkKind::WORDS.map(|word| (word, word));
    value.choice("kind of sink", &words)
}

/// The format of a kind that leaves a choice.
fn read_format(section: &mut Section<'_>, kind: &str) -> Option<LineFormat> {
    let formats = LineFormat::of_kind(kind);
    if formats.is_empty() {
        return None;
    }
    let value = section.take(&FORMAT)?;
    let format = value.choice(&format!("format for sinks of the kind {kind}"), formats);
    if section.has_name("template") || section.has_name("template_file") {
        let message = "a template and `format` exclude each other: both say what the body is";
        section.refuse(FORMAT.name, message, "keep one of the two");
    }
    format
}

/// Notes every key that only other kinds have.
fn refuse_foreign(section: &mut Section<'_>, kind: &str) {
    for (key, kinds) in foreign(kind) {
        let kinds = kinds.join(" or ");
        let message = format!("`{key}` is no key of a sink of the kind {kind}");
        section.refuse(key, message, format!("remove it; sinks of the kind {kinds} have it"));
    }
}
