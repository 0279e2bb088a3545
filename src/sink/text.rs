//! The text that people read: findings first, then a table by host, then the ledger.
//!
//! Colours are written as ANSI sequences; whoever opens the output strips them where nobody can see them. Nothing in
//! here comes from the network but numbers and addresses.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;

use anstyle::{AnsiColor, Style};

use super::columns;
use super::event::Announcement;
use crate::policy::finding::{Finding, FindingKind};
use crate::sweep::report::{Observation, Report, Verdict};
use crate::target::ports::{PortSet, Severity, service};
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
    /// What policy objects to.
    pub findings: &'a [Finding],
    /// The targets to list, in any order, the last word on each last.
    pub listed: &'a [Observation],
}

/// Writes the whole text.
///
/// # Errors
/// When the output fails.
pub fn write(out: &mut dyn Write, summary: &Summary<'_>) -> io::Result<()> {
    write_findings(out, summary.findings)?;
    write_hosts(out, summary.listed)?;
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
    write!(out, "sweeping {}", in_short(&scope.networks))?;
    if !scope.exclude.is_empty() {
        write!(out, " without {}", in_short(&scope.exclude))?;
    }
    write!(out, ", ports {}: {} targets", in_short(&scope.ports), scope.declared)?;
    if let Some(shard) = announced.shard {
        write!(out, " (shard {shard})")?;
    }
    write!(out, ", {} engine", announced.engine)?;
    if let (Some(interface), Some(source)) = (&vantage.interface, &vantage.source) {
        write!(out, ", from {source} on {interface}")?;
    }
    if let Some(next_hop) = &vantage.next_hop {
        write!(out, " via {next_hop}")?;
    }
    writeln!(out, " ({}); seed {}", vantage.engine_reason, announced.seed)?;
    for left_out in &scope.left_out {
        writeln!(out, "leaving out {}: {}", left_out.ip, left_out.why)?;
    }
    Ok(())
}

fn in_short(parts: &[String]) -> String {
    match parts {
        [first, second, third, _, ..] if parts.len() > 8 => {
            format!("{first}, {second}, {third} and {} more", parts.len() - 3)
        }
        _ => parts.join(", "),
    }
}

fn write_findings(out: &mut dyn Write, findings: &[Finding]) -> io::Result<()> {
    let (exposures, notes): (Vec<_>, Vec<_>) = findings.iter().partition(|finding| finding.is_exposure());
    for (heading, group) in [("exposures", &exposures), ("notes on the allowlist", &notes)] {
        if group.is_empty() {
            continue;
        }
        writeln!(out, "{BOLD}{heading}: {}{BOLD:#}", group.len())?;
        for finding in group.iter().take(MOST_LINES) {
            let style = style_of(finding);
            writeln!(out, "  {style}{:<8}{style:#} {}", finding.severity.to_string(), finding.message)?;
        }
        write_rest(out, group.len())?;
        writeln!(out)?;
    }
    Ok(())
}

fn write_hosts(out: &mut dyn Write, listed: &[Observation]) -> io::Result<()> {
    let mut hosts: BTreeMap<IpAddr, BTreeMap<u16, State>> = BTreeMap::new();
    for observation in listed {
        hosts.entry(observation.target.ip).or_default().insert(observation.target.port, observation.state);
    }
    if hosts.is_empty() {
        return Ok(());
    }
    let shown: Vec<State> =
        State::ALL.into_iter().filter(|state| listed.iter().any(|seen| seen.state == *state)).collect();
    let header: Vec<String> =
        std::iter::once("host".to_owned()).chain(shown.iter().map(ToString::to_string)).collect();
    let mut table = columns::table(header);
    for (ip, ports) in hosts.iter().take(MOST_LINES) {
        let cell = |state: &State| {
            let these = ports.iter().filter(|(_, is)| *is == state).map(|(port, _)| *port);
            if *state == State::Open { with_names(these) } else { as_ranges(these) }
        };
        table.add_row(std::iter::once(ip.to_string()).chain(shown.iter().map(cell)).collect::<Vec<_>>());
    }
    columns::write(out, &table)?;
    write_rest(out, hosts.len())?;
    writeln!(out)
}

fn with_names(ports: impl Iterator<Item = u16>) -> String {
    let named =
        |port| service(port).map_or_else(|| format!("{port}"), |known| format!("{port} {}", known.name));
    ports.map(named).collect::<Vec<_>>().join(", ")
}

fn as_ranges(ports: impl Iterator<Item = u16>) -> String {
    PortSet::new(ports).map_or_else(String::new, |set| set.to_string())
}

fn write_rest(out: &mut dyn Write, all: usize) -> io::Result<()> {
    if all > MOST_LINES {
        writeln!(out, "  and {} more; --format jsonl lists every one", all - MOST_LINES)?;
    }
    Ok(())
}

fn write_ledger(out: &mut dyn Write, summary: &Summary<'_>) -> io::Result<()> {
    let ledger = &summary.report.ledger;
    let counts: Vec<String> =
        State::ALL.iter().map(|state| format!("{} {state}", ledger.count(*state))).collect();
    writeln!(out, "{} = {} declared", counts.join(" + "), ledger.declared)?;
    for (reason, count) in &summary.report.unknown_reasons {
        writeln!(out, "{WARN}{count} unknown because {}{WARN:#}", why_unknown(reason.as_str()))?;
    }
    let packets = &summary.report.packets;
    if packets.received == 0 && packets.sent > 0 {
        let advice = "if anything in there should, look at the way to it (portreeve doctor TARGET)";
        writeln!(out, "{WARN}not one target answered; {advice}{WARN:#}")?;
    }
    writeln!(
        out,
        "{} probes sent, {} answers, {} foreign frames, {} dropped, {} refusals, {:.1} s",
        packets.sent,
        packets.received,
        packets.foreign,
        packets.dropped,
        packets.refused,
        summary.report.duration_ms as f64 / 1000.0
    )
}

fn why_unknown(reason: &str) -> &str {
    match reason {
        "interrupted" => "the sweep was interrupted",
        "receiver-dropped" => "this host lost frames while their answers were due; sweep slower (--rate)",
        "send-refused" => {
            "the network device took no more probes; look at its queue and at local firewall rules"
        }
        "link-failed" => "the link broke",
        other => other,
    }
}

fn write_verdict(out: &mut dyn Write, summary: &Summary<'_>) -> io::Result<()> {
    let exposures = summary.findings.iter().filter(|finding| finding.is_exposure()).count();
    let (style, verdict) = match summary.report.verdict {
        Verdict::Complete if exposures == 0 => (GOOD, "complete: nothing is exposed".to_owned()),
        Verdict::Complete => (BAD, format!("complete: {exposures} exposed")),
        Verdict::Degraded => (WARN, format!("degraded: {exposures} exposed, and not every target is known")),
        Verdict::Blind => (WARN, "blind: not one target is known".to_owned()),
    };
    writeln!(out, "{style}{verdict}{style:#}")
}

const BOLD: Style = Style::new().bold();
const GOOD: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
const WARN: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));
const BAD: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));

fn style_of(finding: &Finding) -> Style {
    match finding.severity {
        _ if finding.kind != FindingKind::Exposure => Style::new().dimmed(),
        Severity::Critical => BAD,
        Severity::High => Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red))),
        Severity::Medium => Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow))),
        Severity::Low | Severity::Info => Style::new(),
    }
}
