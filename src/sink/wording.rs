//! What people are told: a title for a pager or a subject, and a few lines below it. Every sink that people read from
//! says the same, and escapes it for its own format.
//!
//! Names, owners, reasons and banners were written by others. Whatever a terminal obeys or hides is spelt out here, and
//! what is too long is cut, so that a sink is left with plain visible text.

use std::borrow::Cow;

use jiff::Timestamp;

use super::message::{Event, Message};
use crate::alert::life::{Alert, Annotation, Phase, Resolution};
use crate::alert::notice::{Notice, Transition};
use crate::policy::finding::{Finding, FindingKind};
use crate::sweep::verified::Verification;
use crate::target::Target;
use crate::target::foreign::harmless;

/// The most characters of a title, before any of them is spelt out.
const LONGEST_TITLE: usize = 200;

/// The most characters of a line, likewise.
const LONGEST_LINE: usize = 1000;

/// The most names of a host, and the most fields of an event.
const MOST: usize = 12;

/// One line of the body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// What it is about.
    pub label: Cow<'static, str>,
    /// What is said of that.
    pub text: String,
}

/// The title of a message: what has happened, how bad it is, and where.
pub fn title(message: &Message) -> String {
    match message {
        Message::Alert(notice) => title_of(notice),
        Message::Event(event) => event_title(event),
    }
}

/// The lines below the title.
pub fn lines(message: &Message) -> Vec<Line> {
    match message {
        Message::Alert(notice) => lines_of_notice(notice),
        Message::Event(event) => event_lines(event),
    }
}

/// As [`title`], of an alert that has changed.
pub fn title_of(notice: &Notice) -> String {
    let alert = &notice.alert;
    let stands = firing(alert);
    let title = match notice.transition {
        Transition::Firing => stands,
        Transition::Escalated => format!("escalated: {stands}"),
        Transition::Annotated => match alert.annotation {
            Some(annotation) => format!("second look: {stands}, {}", annotation.in_words()),
            None => format!("second look: {stands}"),
        },
        Transition::Reminder => format!("reminder: {stands}"),
        Transition::Acknowledged => match &alert.acknowledged {
            Some(taken) => format!("acknowledged by {}: {stands}", taken.who),
            None => format!("acknowledged: {stands}"),
        },
        Transition::Unacknowledged => format!("given back: {stands}"),
        Transition::FlappingStarted => {
            let finding = &alert.finding;
            format!("flapping: [{}] {}: {}", finding.severity, finding.kind, subject(alert))
        }
        Transition::FlappingEnded if alert.state == Phase::Resolved => {
            format!("no longer flapping, and {}", resolved(alert))
        }
        Transition::FlappingEnded => format!("no longer flapping: {stands}"),
        Transition::Resolved => resolved(alert),
    };
    fit(&title, LONGEST_TITLE)
}

/// As [`title`], of an alert as it is, whatever has happened to it last.
pub fn standing(alert: &Alert) -> String {
    let is_over = alert.state == Phase::Resolved && !alert.flapping;
    fit(&if is_over { resolved(alert) } else { firing(alert) }, LONGEST_TITLE)
}

/// What an alert is about, as a noun.
pub fn subject_of(alert: &Alert) -> String {
    fit(&subject(alert), LONGEST_TITLE)
}

/// As [`lines`], of an alert.
pub fn lines_of(alert: &Alert) -> Vec<Line> {
    let (finding, mut lines) = (&alert.finding, Lines::default());
    lines.add("what", Some(&finding.message));
    lines.add("names", names(finding).as_deref());
    lines.add("expectation", finding.expectation.as_deref());
    lines.add("owner", finding.owner.as_deref());
    lines.add("severity", Some(finding.severity.as_str()));
    lines.add("class", Some(alert.class.as_str()));
    lines.add("failures in a row", count(alert.failures).as_deref());
    lines.add("targets", count(alert.members).as_deref());
    lines.add("first seen", Some(&seconds(finding.first_seen)));
    lines.add(alert.state.as_str(), Some(&format!("since {}", seconds(alert.since))));
    lines.add("second look", alert.annotation.map(Annotation::in_words));
    let banner = finding.banner.as_ref();
    let said = banner.map(|banner| format!("({}) {}", banner.protocol.as_str(), banner.text.for_terminal()));
    lines.add("says", said.as_deref());
    let taken = alert.acknowledged.as_ref().map(|taken| {
        let note = taken.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        format!("by {} at {}{note}", taken.who, seconds(taken.at))
    });
    lines.add("acknowledged", taken.as_deref());
    lines.add("why resolved", alert.resolution.map(Resolution::in_words));
    lines.add("muted by", alert.muted.as_deref());
    lines.add("rule", Some(finding.rule.as_str()));
    lines.add("fingerprint", Some(finding.fingerprint.as_str()));
    lines.0
}

fn lines_of_notice(notice: &Notice) -> Vec<Line> {
    let mut lines = Lines(lines_of(&notice.alert));
    lines.add("sweep", notice.sweep.as_ref().map(|sweep| sweep.name.as_str()));
    lines.0
}

fn firing(alert: &Alert) -> String {
    let finding = &alert.finding;
    format!("[{}] {}: {}{}", finding.severity, finding.kind, subject(alert), claim(finding))
}

/// Whoever reads no more than this must not take for mended what nobody looks at any longer.
fn resolved(alert: &Alert) -> String {
    let plain = format!("resolved: {}: {}", alert.finding.kind, subject(alert));
    match alert.resolution {
        Some(why) if why != Resolution::Seen => format!("{plain}; {}", why.in_words()),
        _ => plain,
    }
}

#[derive(Default)]
struct Lines(Vec<Line>);

impl Lines {
    fn add(&mut self, label: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.0.push(Line { label: label.into(), text: fit(text, LONGEST_LINE) });
        }
    }
}

/// What an alert is about, as a noun.
fn subject(alert: &Alert) -> String {
    let finding = &alert.finding;
    let about = finding.about.as_deref().unwrap_or("?");
    match finding.kind {
        FindingKind::Exposure | FindingKind::Outage => match target(finding) {
            Some(target) => {
                let called = finding.expectation.as_ref().or(finding.service.as_ref());
                called.map_or_else(|| target.clone(), |called| format!("{target} ({called})"))
            }
            None => finding.message.clone(),
        },
        FindingKind::AnswersAll => finding.ip.map_or_else(|| finding.message.clone(), |ip| ip.to_string()),
        FindingKind::AllowanceExpired
        | FindingKind::AllowanceUnused
        | FindingKind::AllowanceExpiring
        | FindingKind::ClockStepped => finding.message.clone(),
        FindingKind::VantageBlind | FindingKind::SweepMissed => format!("sweep {about}"),
        FindingKind::DeliveryFailed => format!("sink {about}"),
        FindingKind::StoreFailed => "the database".to_owned(),
        FindingKind::ConfigRejected => about.to_owned(),
        FindingKind::Storm => format!("{} {} alerts at once", alert.members, alert.class),
        FindingKind::Drill => "only a test".to_owned(),
    }
}

/// What is said of it, as a verb.
fn claim(finding: &Finding) -> &'static str {
    match finding.kind {
        FindingKind::Exposure if finding.verification.is_some_and(Verification::has_failed) => {
            " answered a probe, but no handshake"
        }
        FindingKind::Exposure => " is open",
        FindingKind::AnswersAll => " accepts every port",
        FindingKind::Outage => " is not open",
        FindingKind::VantageBlind => " did not see everything",
        FindingKind::SweepMissed => " did not begin when it was due",
        FindingKind::DeliveryFailed => " does not get its messages",
        FindingKind::StoreFailed => " cannot be written",
        FindingKind::ConfigRejected => " has mistakes and is not taken up",
        FindingKind::Drill => ", nothing is wrong",
        FindingKind::AllowanceExpired
        | FindingKind::AllowanceUnused
        | FindingKind::AllowanceExpiring
        | FindingKind::ClockStepped
        | FindingKind::Storm => "",
    }
}

fn target(finding: &Finding) -> Option<String> {
    let (ip, port, transport) = (finding.ip?, finding.port?, finding.transport?);
    Some(Target { ip, port, transport }.to_string())
}

fn names(finding: &Finding) -> Option<String> {
    let (shown, more) = (finding.names.iter().take(MOST), finding.names.len().saturating_sub(MOST));
    let shown: Vec<&str> = shown.map(String::as_str).collect();
    match (shown.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(shown.join(", ")),
        (false, more) => Some(format!("{} and {more} more", shown.join(", "))),
    }
}

fn count(number: u32) -> Option<String> {
    (number > 0).then(|| number.to_string())
}

fn seconds(time: Timestamp) -> String {
    format!("{time:.0}")
}

fn event_title(event: &Event) -> String {
    let result = event.body.get("verdict").and_then(serde_json::Value::as_str);
    let result = result.map(|verdict| format!(": {verdict}")).unwrap_or_default();
    fit(&format!("{}{result}", event.kind), LONGEST_TITLE)
}

/// The event's fields that are no structures, but those that every event has.
fn event_lines(event: &Event) -> Vec<Line> {
    let Some(body) = event.body.as_object() else { return Vec::new() };
    let fields = body.iter().filter(|(key, _)| !["schema", "event", "time"].contains(&key.as_str()));
    let fields = fields.filter_map(|(key, value)| {
        let text = match value {
            serde_json::Value::String(text) => Cow::Borrowed(text.as_str()),
            serde_json::Value::Number(_) | serde_json::Value::Bool(_) => Cow::Owned(value.to_string()),
            _ => return None,
        };
        Some(Line { label: fit(key, LONGEST_TITLE).into(), text: fit(&text, LONGEST_LINE) })
    });
    let at = Line { label: "at".into(), text: seconds(event.time) };
    std::iter::once(at).chain(fields.take(MOST)).collect()
}

/// A text with so many characters at most, and everything spelt out that is no plain visible one.
fn fit(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => harmless(text).into_owned(),
        Some((end, _)) => format!("{}...", harmless(&text[..end])),
    }
}
