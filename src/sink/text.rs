//! The text that people read: findings first, then a table by host, then the ledger.
//!
//! Colours are written as ANSI sequences; whoever opens the output strips them where nobody can see them. What comes
//! from the network is numbers, addresses, and banners, which are text of a type that can do a terminal no harm; names
//! come from inventories, and are made printable.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::columns;
use super::doubt::{not_confirmed, why_unknown, write_outages};
use super::event::Announcement;
use crate::policy::finding::Finding;
use crate::policy::findings::Findings;
use crate::sweep::report::{Report, UnknownReason, Verdict};
use crate::sweep::verified::{Ending, LookReport, Verification};
use crate::target::Target;
use crate::target::foreign::{Harmless, printable};
use crate::target::names::Names;
use crate::target::ports::{Severity, service};
use crate::target::state::State;

/// Findings and hosts that are printed; the rest is counted. Who has more of them reads JSON.
const MOST_LINES: usize = 30;

/// Everything that the text says.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a> {
    /// What was swept.
    pub announced: &'a Announcement,
    /// How it went.
    pub report: &'a Report,
    /// How the second look went.
    pub second_look: &'a LookReport,
    /// What policy objects to.
    pub findings: &'a Findings<'a>,
    /// The targets to list, in any order, the last word on each last.
    pub listed: &'a [(Target, State)],
    /// What addresses are called.
    pub names: &'a Names,
}

/// Writes the whole text.
///
/// # Errors
/// When the output fails.
pub fn write(out: &mut dyn Write, summary: &Summary<'_>) -> io::Result<()> {
    write_findings(out, summary.findings)?;
    write_hosts(out, summary.listed, summary.names)?;
    write_ledger(out, summary)?;
    write_verdict(out, summary)
}

/// Writes what is about to be swept, for those who wait.
///
/// # Errors
/// When the output fails.
pub fn write_announcement(out: &mut dyn Write, announced: &Announcement) -> io::Result<()> {
    let scope = &announced.scope;
    let vantage = &announced.vantage;
    let files = scope.sources.iter();
    let files = files.map(|source| format!("{} ({} targets)", Harmless(&source.file), source.targets));
    write!(out, "sweeping {}", in_short(&scope.networks.iter().cloned().chain(files).collect::<Vec<_>>()))?;
    if !scope.exclude.is_empty() {
        write!(out, " without {}", in_short(&scope.exclude))?;
    }
    write!(out, ", ports {}: {} targets", in_short(&scope.ports), scope.declared)?;
    if let Some(shard) = announced.shard {
        write!(out, " (shard {shard})")?;
    }
    write!(out, ", {} engine", announced.engine)?;
    if let (Some(interface), Some(source)) = (&vantage.interface, &vantage.source) {
        write!(out, ", from {source} on {}", Harmless(interface))?;
    }
    if let Some(next_hop) = &vantage.next_hop {
        write!(out, " via {next_hop}")?;
    }
    writeln!(out, " ({}); seed {}", vantage.engine_reason, announced.seed)?;
    for left_out in &scope.left_out {
        writeln!(out, "leaving out {}: {}", left_out.ip, left_out.why)?;
    }
    for source in scope.sources.iter().filter(|source| source.skipped > 0) {
        let (skipped, file) = (source.skipped, Harmless(&source.file));
        writeln!(out, "{skipped} of the addresses in {file} are null or empty")?;
    }
    write_unresolved(out, scope.unresolved.iter().map(String::as_str))
}

/// Names that are told one by one; a list with more of them that do not resolve is not this host's.
const MOST_UNRESOLVED: usize = 100;

/// Writes which names are not swept, because they have no address.
///
/// # Errors
/// When the output fails.
pub fn write_unresolved<'n>(
    out: &mut dyn Write,
    names: impl ExactSizeIterator<Item = &'n str>,
) -> io::Result<()> {
    let more = names.len().saturating_sub(MOST_UNRESOLVED);
    for name in names.take(MOST_UNRESOLVED) {
        writeln!(out, "{WARN}not swept: {name} does not resolve{WARN:#}")?;
    }
    if more > 0 {
        writeln!(out, "{WARN}not swept: {more} more names that do not resolve{WARN:#}")?;
    }
    Ok(())
}

/// Writes how it went in one line, for those who get the results as a list that cannot say it.
///
/// # Errors
/// When the output fails.
pub fn write_conclusion(out: &mut dyn Write, summary: &Summary<'_>) -> io::Result<()> {
    let (style, verdict) = verdict_of(summary);
    write!(out, "{style}{verdict}{style:#}; {}", counts_of(summary.report))?;
    for (number, (reason, count)) in summary.report.unknown_reasons.iter().enumerate() {
        let before = if number == 0 { "; unknown: " } else { ", " };
        write!(out, "{before}{count} {}", reason.as_str())?;
    }
    writeln!(out)
}

fn in_short(parts: &[String]) -> String {
    match parts {
        [first, second, third, _, ..] if parts.len() > 8 => {
            format!("{first}, {second}, {third} and {} more", parts.len() - 3)
        }
        _ => parts.join(", "),
    }
}

pub(super) fn write_findings(out: &mut dyn Write, findings: &Findings<'_>) -> io::Result<()> {
    write_group(out, "exposures", findings.count_exposures(), findings.exposures())?;
    let hosts = findings.answers_all();
    write_group(out, "hosts that answer everything", findings.count_answers_all(), hosts)?;
    write_group(out, "notes on the allowlist", findings.count_notes(), findings.notes())
}

fn write_group(
    out: &mut dyn Write,
    heading: &str,
    count: usize,
    group: impl Iterator<Item = Finding>,
) -> io::Result<()> {
    if count == 0 {
        return Ok(());
    }
    writeln!(out, "{BOLD}{heading}: {count}{BOLD:#}")?;
    for finding in group.take(MOST_LINES) {
        let style = style_of(&finding);
        let severity = finding.severity.to_string();
        writeln!(out, "  {style}{severity:<8}{style:#} {}{}", with_host(&finding), how_sure(&finding))?;
        if let Some(banner) = &finding.banner {
            let (protocol, said) = (banner.protocol.as_str(), banner.text.for_terminal());
            writeln!(out, "           says ({protocol}): {said}")?;
        }
    }
    write_rest(out, count)?;
    writeln!(out)
}

/// Whether a whole handshake stands behind it. Where one failed, the message says so itself.
fn how_sure(finding: &Finding) -> &'static str {
    match finding.verification {
        Some(Verification::Verified) => " [verified]",
        Some(Verification::Skipped) => " [not verified: not tried]",
        Some(_) => " [not verified]",
        None => "",
    }
}

/// The message of a finding, with the names of its address behind the address.
fn with_host(finding: &Finding) -> String {
    let message = &finding.message;
    if finding.names.is_empty() {
        return message.clone();
    }
    let names = in_brackets(finding.names.iter().map(String::as_str));
    let address = finding.ip.map_or_else(String::new, |ip| ip.to_string());
    match message.split_once(' ') {
        Some((first, rest)) if first.contains(&address) => format!("{first} {names} {rest}"),
        _ => format!("{message} {names}"),
    }
}

/// Names that are shown of one address; JSON has them all.
const MOST_NAMES: usize = 3;

fn in_brackets<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let more = names.len().saturating_sub(MOST_NAMES);
    let shown = names.take(MOST_NAMES).map(printable).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("[{shown} and {more} more]") } else { format!("[{shown}]") }
}

pub(super) fn write_hosts(out: &mut dyn Write, listed: &[(Target, State)], names: &Names) -> io::Result<()> {
    if listed.is_empty() {
        return Ok(());
    }
    // Sorting keeps the order of the words on one target, and is many times smaller than a map of them.
    let mut sorted: Vec<&(Target, State)> = listed.iter().collect();
    sorted.sort_by_key(|(target, _)| (target.ip, target.port));
    let hosts = || sorted.chunk_by(|(a, _), (b, _)| a.ip == b.ip);
    let shown: Vec<State> =
        State::ALL.into_iter().filter(|state| listed.iter().any(|(_, is)| is == state)).collect();
    let header: Vec<String> =
        std::iter::once("host".to_owned()).chain(shown.iter().map(ToString::to_string)).collect();
    let mut table = columns::table(header);
    for words in hosts().take(MOST_LINES) {
        let Some((Target { ip, .. }, _)) = words.first() else { continue };
        let ports: BTreeMap<u16, State> = words.iter().map(|(target, state)| (target.port, *state)).collect();
        let cell = |state: &State| {
            let these = ports.iter().filter(|(_, is)| *is == state).map(|(port, _)| *port);
            in_cell(these, *state == State::Open)
        };
        let host = match names.of(*ip) {
            known if known.is_empty() => ip.to_string(),
            known => format!("{ip} {}", in_brackets(known.into_iter())),
        };
        table.add_row(std::iter::once(host).chain(shown.iter().map(cell)).collect::<Vec<_>>());
    }
    columns::write(out, &table)?;
    write_rest(out, hosts().count())?;
    writeln!(out)
}

/// Ports and runs of ports that are shown of one host in one state; JSON has them all.
const MOST_PORTS: usize = 24;

/// Sorted ports as runs, and by themselves those whose service is known, where that is wanted.
fn in_cell(ports: impl Iterator<Item = u16>, is_named: bool) -> String {
    let name = |port| service(port).filter(|_| is_named).map(|known| known.name);
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match runs.last_mut() {
            Some((_, last)) if port - *last == 1 && name(*last).is_none() && name(port).is_none() => {
                *last = port;
            }
            _ => runs.push((port, port)),
        }
    }
    let in_words = |(first, last): &(u16, u16)| match name(*first) {
        Some(name) => format!("{first} {name}"),
        None if first == last => first.to_string(),
        None => format!("{first}-{last}"),
    };
    let cell = runs.iter().take(MOST_PORTS).map(in_words).collect::<Vec<_>>().join(", ");
    let more: usize = runs.iter().skip(MOST_PORTS).map(|(first, last)| usize::from(last - first) + 1).sum();
    if more > 0 { format!("{cell} and {more} more") } else { cell }
}

fn write_rest(out: &mut dyn Write, all: usize) -> io::Result<()> {
    if all > MOST_LINES {
        writeln!(out, "  and {} more; --format jsonl lists every one", all - MOST_LINES)?;
    }
    Ok(())
}

fn write_ledger(out: &mut dyn Write, summary: &Summary<'_>) -> io::Result<()> {
    writeln!(out, "{}", counts_of(summary.report))?;
    for (reason, count) in &summary.report.unknown_reasons {
        writeln!(out, "{WARN}{count} unknown because {}{WARN:#}", why_unknown(*reason))?;
    }
    write_outages(out, &summary.report.paths, WARN, MOST_LINES)?;
    if let Some(told) = not_confirmed(summary.second_look) {
        writeln!(out, "{WARN}{told}{WARN:#}")?;
    }
    let packets = &summary.report.packets;
    // Where that makes them unknown, it has been said.
    let is_said = summary.report.unknown_reasons.contains_key(&UnknownReason::NothingHeard);
    if packets.received == 0 && packets.sent > 0 && !is_said {
        let advice = "if anything in there should, look at the way to it (portreeve doctor TARGET)";
        writeln!(out, "{WARN}not one target answered; {advice}{WARN:#}")?;
    }
    let seconds = |ms: u64| ms as f64 / 1000.0;
    write!(
        out,
        "{} probes sent, {} answers, {} foreign frames, {} dropped, {} refusals, {:.1} s",
        packets.sent,
        packets.received,
        packets.foreign,
        packets.dropped,
        packets.refused,
        seconds(summary.report.duration_ms)
    )?;
    if summary.second_look.duration_ms > 0 {
        write!(out, ", and {:.1} s for the second look", seconds(summary.second_look.duration_ms))?;
    }
    writeln!(out)
}

pub(super) fn counts_of(report: &Report) -> String {
    let ledger = &report.ledger;
    let counts: Vec<String> =
        State::ALL.iter().map(|state| format!("{} {state}", ledger.count(*state))).collect();
    format!("{} = {} declared", counts.join(" + "), ledger.declared)
}

pub(super) fn write_verdict(out: &mut dyn Write, summary: &Summary<'_>) -> io::Result<()> {
    let (style, verdict) = verdict_of(summary);
    writeln!(out, "{style}{verdict}{style:#}")
}

fn verdict_of(summary: &Summary<'_>) -> (Style, String) {
    let exposures = summary.findings.count_exposures();
    let devices = summary.findings.count_answers_all();
    match summary.report.verdict {
        Verdict::Complete if exposures == 0 && devices > 0 => {
            (WARN, format!("complete: nothing is known to be exposed, but {devices} answer everything"))
        }
        Verdict::Complete if exposures == 0 => (GOOD, "complete: nothing is exposed".to_owned()),
        Verdict::Complete => (BAD, format!("complete: {exposures} exposed")),
        Verdict::Degraded => (WARN, format!("degraded: {exposures} exposed, and {}", shortfalls(summary))),
        Verdict::Blind => (WARN, "blind: not one target is known".to_owned()),
    }
}

/// What a degraded sweep lacks.
fn shortfalls(summary: &Summary<'_>) -> String {
    let mut lacks = Vec::new();
    if summary.report.ledger.count(State::Unknown) > 0 {
        lacks.push("not every target is known".to_owned());
    }
    match summary.announced.scope.unresolved.len() {
        0 => {}
        1 => lacks.push("1 name that does not resolve was not swept".to_owned()),
        names => lacks.push(format!("{names} names that do not resolve were not swept")),
    }
    if summary.second_look.ended == Ending::Stopped {
        lacks.push("the second look was stopped".to_owned());
    }
    if lacks.is_empty() { "not all of it can be vouched for".to_owned() } else { lacks.join(", and ") }
}

const BOLD: Style = Style::new().bold();
const GOOD: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
const WARN: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));
const BAD: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));

fn style_of(finding: &Finding) -> Style {
    if finding.is_objection() { style_of_severity(finding.severity) } else { Style::new().dimmed() }
}

/// How bad something is, as a colour.
pub fn style_of_severity(severity: Severity) -> Style {
    match severity {
        Severity::Critical => BAD,
        Severity::High => Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red))),
        Severity::Medium => Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow))),
        Severity::Low | Severity::Info => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_runs_and_an_end() {
        assert_eq!(
            in_cell([22, 80, 81, 82, 6379, 6380].into_iter(), true),
            "22 ssh, 80-82, 6379 redis, 6380"
        );
        assert_eq!(in_cell([22, 23, 24, 80].into_iter(), false), "22-24, 80");
        assert_eq!(in_cell([].into_iter(), true), "");
        for is_named in [true, false] {
            let all = in_cell(1..=65_535, is_named);
            assert!(all.len() < 400, "{all}");
        }
        assert_eq!(in_cell(1..=65_535, false), "1-65535");
        let odd = in_cell((0..1000).map(|n| 2 * n + 1), false);
        assert!(odd.ends_with(", 45, 47 and 976 more"), "{odd}");
    }
}
