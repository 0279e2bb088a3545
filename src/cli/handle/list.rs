//! Alerts as a list: a line for each, and under it what does not fit into columns.

use std::cmp::Reverse;
use std::io::{self, Write};

use anstyle::Style;
use jiff::Timestamp;

use super::super::{Failure, output};
use super::short;
use super::when::at;
use crate::alert::life::{Alert, Annotation, Phase};
use crate::sink::columns;
use crate::sink::jsonl::JsonLines;
use crate::sink::message::AlertEvent;
use crate::sink::text::style_of_severity;
use crate::sink::wording::subject_of;
use crate::target::foreign::{Harmless, harmless, printable};

/// Alerts that are shown to people; the rest is counted.
const MOST: usize = 200;

/// Names of one address that are shown; JSON has them all.
const MOST_NAMES: usize = 12;

/// Sorts alerts for whoever has to do something: what fires before what does not, the worst first, then what nobody
/// has taken on, then the latest.
pub fn sort(alerts: &mut [Alert]) {
    let place = |phase| match phase {
        Phase::Firing => 0,
        Phase::Pending => 1,
        Phase::Resolved => 2,
    };
    alerts.sort_by_cached_key(|alert| {
        let is_quiet = alert.acknowledged.is_some() || alert.muted.is_some();
        let finding = &alert.finding;
        let worst_first = Reverse(finding.severity);
        (place(alert.state), worst_first, is_quiet, Reverse(alert.since), finding.fingerprint.clone())
    });
}

/// Writes alerts for machines.
pub fn write_lines(alerts: &[Alert], now: Timestamp) -> Result<(), Failure> {
    let mut lines = JsonLines::new(output::raw_stdout()?);
    alerts.iter().try_for_each(|alert| lines.write(&AlertEvent::standing(alert, now)))?;
    Ok(lines.flush()?)
}

/// Writes a list. `width` is how many digits of a fingerprint are shown.
pub fn write(out: &mut dyn Write, alerts: &[Alert], width: usize, now: Timestamp) -> io::Result<()> {
    if alerts.is_empty() {
        return Ok(());
    }
    let shown = &alerts[..alerts.len().min(MOST)];
    let mut table = columns::table(["severity", "state", "what", "since", "owner", "fingerprint"]);
    for alert in shown {
        let finding = &alert.finding;
        table.add_row([
            finding.severity.as_str(),
            &state_of(alert),
            &format!("{}: {}", finding.kind, subject_of(alert)),
            &at(alert.since, now),
            &finding.owner.as_deref().map(printable).unwrap_or_default(),
            short::first(&finding.fingerprint, width),
        ]);
    }
    let mut lines = table.lines();
    if let Some(header) = lines.next() {
        writeln!(out, "{}", header.trim_end())?;
    }
    for (line, alert) in lines.zip(shown) {
        write_line(out, &line, alert)?;
        for (about, says) in details(alert, now) {
            writeln!(out, "    {about}{says}")?;
        }
    }
    match alerts.len() - shown.len() {
        0 => Ok(()),
        more => writeln!(out, "and {more} more; --format jsonl lists every one"),
    }
}

/// One line of the table, which begins with the severity.
fn write_line(out: &mut dyn Write, line: &str, alert: &Alert) -> io::Result<()> {
    let severity = alert.finding.severity;
    let style =
        if alert.state == Phase::Firing { style_of_severity(severity) } else { Style::new().dimmed() };
    match line.split_once(severity.as_str()) {
        Some((before, rest)) => {
            writeln!(out, "{before}{style}{severity}{style:#}{}", rest.trim_end())
        }
        None => writeln!(out, "{}", line.trim_end()),
    }
}

fn state_of(alert: &Alert) -> String {
    let mut words = vec![alert.state.as_str()];
    let marks = [
        (alert.flapping, "flapping"),
        (alert.acknowledged.is_some(), "acknowledged"),
        (alert.muted.is_some(), "silenced"),
    ];
    words.extend(marks.iter().filter(|(is_so, _)| *is_so).map(|(_, word)| *word));
    words.join(", ")
}

/// What is known of an alert beside its line. All of it was written by others.
fn details(alert: &Alert, now: Timestamp) -> Vec<(&'static str, String)> {
    let finding = &alert.finding;
    let mut details = Vec::new();
    let message = harmless(&finding.message);
    if message != subject_of(alert) {
        details.push(("", message.into_owned()));
    }
    if !finding.names.is_empty() {
        let shown: Vec<_> = finding.names.iter().take(MOST_NAMES).map(|name| printable(name)).collect();
        let more = match finding.names.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        details.push(("names: ", shown.join(", ") + &more));
    }
    if let Some(banner) = &finding.banner {
        let said = format!("({}) {}", banner.protocol.as_str(), banner.text.for_terminal());
        details.push(("says: ", said));
    }
    details.extend(alert.annotation.map(|shown| ("second look: ", Annotation::in_words(shown).to_owned())));
    if let Some(taken) = &alert.acknowledged {
        let note = taken.note.as_deref().map(|note| format!(": {}", Harmless(note))).unwrap_or_default();
        details
            .push(("acknowledged by ", format!("{} at {}{note}", printable(&taken.who), at(taken.at, now))));
    }
    details.extend(alert.muted.as_deref().map(|why| ("silenced: ", harmless(why).into_owned())));
    details.extend(alert.resolution.map(|why| ("resolved: ", why.in_words().to_owned())));
    details
}
