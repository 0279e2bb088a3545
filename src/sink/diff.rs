//! What differs between two surveys: as text for people, and as events.

use std::io::{self, Write};
use std::net::IpAddr;

use anstyle::{AnsiColor, Color, Style};
use jiff::Timestamp;
use serde::Serialize;
use ulid::Ulid;

use super::event::SCHEMA;
use super::jsonl::JsonLines;
use crate::diff::{Change, Difference, HostChange, Kind, NotSeen, Seen};
use crate::policy::finding::milliseconds;
use crate::survey::host::{Protocol, Sight};
use crate::survey::runs::PortRuns;
use crate::survey::{Ending, Source, Survey};
use crate::target::ports;
use crate::target::state::Reason;

/// Lines of one kind that are printed; the rest is counted. Who has more of them reads JSON.
const MOST_LINES: usize = 100;

const BOLD: Style = Style::new().bold();
const GOOD: Style = Style::new().bold().fg_color(Some(Color::Ansi(AnsiColor::Green)));
const WARN: Style = Style::new().bold().fg_color(Some(Color::Ansi(AnsiColor::Yellow)));
const BAD: Style = Style::new().bold().fg_color(Some(Color::Ansi(AnsiColor::Red)));

/// Two surveys, and what differs.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    /// The older one.
    pub old: &'a Survey,
    /// The newer one.
    pub new: &'a Survey,
    /// What differs.
    pub difference: &'a Difference,
}

/// Writes what people read.
///
/// # Errors
/// When the output fails.
pub fn write_text(out: &mut dyn Write, compared: &Compared<'_>) -> io::Result<()> {
    let Compared { old, new, difference } = *compared;
    write_source(out, "older", old)?;
    write_source(out, "newer", new)?;
    for (kind, style) in [(Kind::Opened, BAD), (Kind::Closed, GOOD), (Kind::Changed, WARN)] {
        let changes: Vec<&Change> = difference.changes.iter().filter(|change| change.kind == kind).collect();
        if !changes.is_empty() {
            writeln!(out, "{style}{}: {}{style:#}", kind.as_str(), difference.count(kind))?;
        }
        for change in changes.iter().take(MOST_LINES) {
            let Change { ip, protocol, ports, before, after, .. } = change;
            writeln!(out, "  {}  {before} -> {after}", in_words(*ip, *protocol, ports))?;
        }
        write_rest(out, changes.len())?;
    }
    write_hosts(out, "new hosts", &difference.new_hosts)?;
    write_hosts(out, "gone hosts", &difference.gone_hosts)?;
    write_not_seen(out, difference)?;
    let (style, word) = if difference.is_empty() { (GOOD, "nothing differs") } else { (WARN, "they differ") };
    write!(out, "{style}{word}{style:#}: ")?;
    for kind in [Kind::Opened, Kind::Closed, Kind::Changed] {
        write!(out, "{} {}, ", difference.count(kind), kind.as_str())?;
    }
    writeln!(out, "{} not seen, {} the same", difference.count_not_seen(), difference.same)
}

fn write_source(out: &mut dyn Write, which: &str, survey: &Survey) -> io::Result<()> {
    let Source { tool, version, file, started, .. } = &survey.source;
    let version = version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
    write!(out, "{which}: {}, {tool}{version}", file.as_deref().unwrap_or("a file"))?;
    if let Some(started) = started {
        write!(out, ", of {started:.0}")?;
    }
    writeln!(out, ", {} targets listed", survey.listed())?;
    if let Ending::Incomplete(why) = &survey.ending {
        writeln!(out, "{WARN}  incomplete: {why}{WARN:#}")?;
    }
    survey.notes.iter().take(MOST_LINES).try_for_each(|note| writeln!(out, "  {note}"))
}

fn in_words(ip: IpAddr, protocol: Protocol, ports: &PortRuns) -> String {
    let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
    let known = match ports.runs() {
        [(first, last)] if first == last && protocol == Protocol::Tcp => ports::service(*first),
        _ => None,
    };
    let name = known.map_or_else(String::new, |service| format!(" {}", service.name));
    format!("{host}:{ports}/{protocol}{name}")
}

fn write_hosts(out: &mut dyn Write, heading: &str, hosts: &[HostChange]) -> io::Result<()> {
    if !hosts.is_empty() {
        writeln!(out, "{BOLD}{heading}: {}{BOLD:#}", hosts.len())?;
    }
    for host in hosts.iter().take(MOST_LINES) {
        let before = if host.was_seen { "" } else { "  not seen before" };
        writeln!(out, "  {}{before}", host.ip)?;
    }
    write_rest(out, hosts.len())
}

fn write_not_seen(out: &mut dyn Write, difference: &Difference) -> io::Result<()> {
    let count = difference.count_not_seen();
    if count == 0 {
        return Ok(());
    }
    let what = "targets of the older run that the newer one did not see, and of which nothing is said";
    writeln!(out, "{WARN}not seen: {count}{WARN:#} {what}")?;
    for NotSeen { ip, protocol, ports, before } in difference.not_seen.iter().take(MOST_LINES) {
        writeln!(out, "  {}  was {before}", in_words(*ip, *protocol, ports))?;
    }
    write_rest(out, difference.not_seen.len())?;
    if difference.not_seen_unlisted > 0 {
        writeln!(out, "  and {} that are not listed one by one", difference.not_seen_unlisted)?;
    }
    Ok(())
}

fn write_rest(out: &mut dyn Write, all: usize) -> io::Result<()> {
    match all.saturating_sub(MOST_LINES) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more; --format jsonl lists every one"),
    }
}

/// A line of JSON about a difference.
#[derive(Clone, Debug, Serialize)]
pub struct DiffEvent<T> {
    schema: &'static str,
    event: &'static str,
    #[serde(serialize_with = "milliseconds")]
    time: Timestamp,
    #[serde(flatten)]
    body: T,
}

impl<T> DiffEvent<T> {
    fn new(event: &'static str, time: Timestamp, body: T) -> Self {
        DiffEvent { schema: SCHEMA, event, time, body }
    }
}

/// `diff.port`: what happened to ports of a host.
#[derive(Clone, Debug, Serialize)]
pub struct PortDiff {
    change: &'static str,
    ip: IpAddr,
    transport: &'static str,
    ports: String,
    before: SeenText,
    after: SeenText,
}

/// `diff.host`: a host that is new, or gone.
#[derive(Clone, Debug, Serialize)]
pub struct HostDiff {
    change: &'static str,
    ip: IpAddr,
    was_seen: bool,
}

/// `diff.not-seen`: ports of a host that the newer run did not see.
#[derive(Clone, Debug, Serialize)]
pub struct NotSeenDiff {
    ip: IpAddr,
    transport: &'static str,
    ports: String,
    before: SeenText,
}

/// `diff.completed`: the counts of all that.
#[derive(Clone, Debug, Serialize)]
pub struct DiffCompleted<'a> {
    old: RunText<'a>,
    new: RunText<'a>,
    opened: u64,
    closed: u64,
    changed: u64,
    new_hosts: usize,
    gone_hosts: usize,
    not_seen: u64,
    same: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct SeenText {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl From<Sight> for SeenText {
    fn from(sight: Sight) -> Self {
        SeenText { state: sight.state.as_str(), reason: sight.reason.map(Reason::as_str) }
    }
}

impl From<Seen> for SeenText {
    fn from(seen: Seen) -> Self {
        match seen {
            Seen::Listed(sight) => sight.into(),
            Seen::NotOpen(_) => SeenText { state: "not-open", reason: None },
            Seen::NotSeen => SeenText { state: "not-seen", reason: None },
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct RunText<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    tool: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sweep: Option<Ulid>,
    listed: u64,
    /// Whether it is known to have looked at all that it was to look at.
    complete: bool,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
}

impl<'a> RunText<'a> {
    fn of(survey: &'a Survey) -> Self {
        let Source { file, tool, version, sweep, .. } = &survey.source;
        RunText {
            file: file.as_deref(),
            tool,
            version: version.as_deref(),
            sweep: *sweep,
            listed: survey.listed(),
            complete: survey.is_whole(),
            notes: &survey.notes,
        }
    }
}

/// Writes what machines read, event by event.
///
/// # Errors
/// When the writer fails.
pub fn write_events<W: Write>(
    lines: &mut JsonLines<W>,
    compared: &Compared<'_>,
    now: Timestamp,
) -> io::Result<()> {
    let Compared { old, new, difference } = *compared;
    for change in &difference.changes {
        let Change { kind, ip, protocol, ports, before, after } = change;
        let (transport, ports) = (protocol.as_str(), ports.to_string());
        let (before, after) = ((*before).into(), (*after).into());
        let body = PortDiff { change: kind.as_str(), ip: *ip, transport, ports, before, after };
        lines.write(&DiffEvent::new("diff.port", now, body))?;
    }
    for (change, hosts) in [("new", &difference.new_hosts), ("gone", &difference.gone_hosts)] {
        for HostChange { ip, was_seen } in hosts.iter().copied() {
            lines.write(&DiffEvent::new("diff.host", now, HostDiff { change, ip, was_seen }))?;
        }
    }
    for NotSeen { ip, protocol, ports, before } in &difference.not_seen {
        let (transport, ports) = (protocol.as_str(), ports.to_string());
        let body = NotSeenDiff { ip: *ip, transport, ports, before: (*before).into() };
        lines.write(&DiffEvent::new("diff.not-seen", now, body))?;
    }
    let body = DiffCompleted {
        old: RunText::of(old),
        new: RunText::of(new),
        opened: difference.count(Kind::Opened),
        closed: difference.count(Kind::Closed),
        changed: difference.count(Kind::Changed),
        new_hosts: difference.new_hosts.len(),
        gone_hosts: difference.gone_hosts.len(),
        not_seen: difference.count_not_seen(),
        same: difference.same,
    };
    lines.write(&DiffEvent::new("diff.completed", now, body))?;
    lines.flush()
}
