//! CSV: a list of targets for spreadsheets, one line each, quoted as RFC 4180 has it; lines end with a line feed alone.
//!
//! A list proves nothing: it has no ledger and no verdict, and looks the same whether it is whole or not. So it is
//! written when the sweep is over, and how that went is said elsewhere. A spreadsheet takes a cell for a formula by its
//! first character, and half of these cells were written by whoever runs the servers: no cell begins like a formula,
//! and none has a control character in it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};

use csv::{ErrorKind, Writer};
use jiff::Timestamp;

use super::event::{Run, reason_of};
use crate::policy::finding::Finding;
use crate::policy::findings::Findings;
use crate::sweep::banner::Banner;
use crate::sweep::report::Observation;
use crate::target::foreign;
use crate::target::state::State;
use crate::target::{Target, ports};

/// The columns, in their order. New ones are added at the end.
pub const COLUMNS: [&str; 18] = [
    "time",
    "sweep",
    "ip",
    "names",
    "port",
    "transport",
    "service",
    "state",
    "reason",
    "tries",
    "rtt_us",
    "ttl",
    "verified",
    "severity",
    "finding",
    "message",
    "banner_protocol",
    "banner",
];

/// What was said of targets so far. Of two words on one target the later one is right.
#[derive(Debug, Default)]
pub struct List {
    seen: Vec<Seen>,
    banners: HashMap<Target, Banner>,
}

/// One word on one target.
#[derive(Clone, Copy, Debug)]
struct Seen {
    time: Timestamp,
    observation: Observation,
    verified: bool,
}

impl List {
    /// Keeps what one target said. `verified` says whether a whole handshake was made.
    pub fn observe(&mut self, time: Timestamp, observation: &Observation, verified: bool) {
        let verified = verified && observation.state == State::Open;
        self.seen.push(Seen { time, observation: *observation, verified });
    }

    /// Keeps that a target finished a whole handshake after the sweep, and what it said then.
    pub fn confirm(&mut self, time: Timestamp, observation: &Observation, banner: Option<&Banner>) {
        self.seen.push(Seen { time, observation: *observation, verified: true });
        if let Some(banner) = banner {
            self.banners.insert(one_spelling(observation.target), banner.clone());
        }
    }

    /// Writes everything: the header, a line for each target in the order of addresses and ports, and a line for each
    /// finding that has no target in the list. A finding is never left out because its target is not listed.
    ///
    /// # Errors
    /// When the output fails.
    pub fn write(
        &mut self,
        out: &mut dyn Write,
        run: &Run,
        completed: Timestamp,
        findings: &Findings<'_>,
    ) -> io::Result<()> {
        let mut writer = Writer::from_writer(out);
        writer.write_record(COLUMNS).map_err(failed)?;
        // Sorting keeps the order of the words on one target, and is many times smaller than a map of them.
        self.seen.sort_by_key(|seen| one_spelling(seen.observation.target));
        let words = self
            .seen
            .chunk_by(|a, b| one_spelling(a.observation.target) == one_spelling(b.observation.target));
        for seen in words.filter_map(|words| words.last()) {
            let target = one_spelling(seen.observation.target);
            let finding = findings.on(&target);
            let banner = self.banners.get(&target).or_else(|| finding.as_ref()?.banner.as_ref());
            line_of_target(run, seen, finding.as_ref(), banner).write(&mut writer)?;
        }
        let spelt = |seen: &Seen| one_spelling(seen.observation.target);
        let is_told = |target: &Target| self.seen.binary_search_by_key(target, spelt).is_ok();
        for finding in findings.except(is_told) {
            line_of_finding(run, completed, &finding).write(&mut writer)?;
        }
        writer.flush()
    }
}

/// Writes targets that nothing is known of: the header, and a line for each.
///
/// # Errors
/// When the output fails.
pub fn write_targets(out: impl Write, targets: impl Iterator<Item = Target>) -> io::Result<()> {
    let mut writer = Writer::from_writer(out);
    writer.write_record(["ip", "port", "transport"]).map_err(failed)?;
    for target in targets {
        let line = [target.ip.to_string(), target.port.to_string(), target.transport.to_string()];
        writer.write_record(line).map_err(failed)?;
    }
    writer.flush()
}

/// A line, in the order of [`COLUMNS`].
struct Line<'a> {
    head: [Cow<'a, str>; 7],
    seen: [Cow<'a, str>; 5],
    judged: [Cow<'a, str>; 4],
    banner: [Cow<'a, str>; 2],
}

impl Line<'_> {
    /// The one way out, so that no cell gets by unharmed.
    fn write<W: Write>(&self, writer: &mut Writer<W>) -> io::Result<()> {
        let cells = [&self.head[..], &self.seen, &self.judged, &self.banner].concat();
        writer.write_record(cells.iter().map(|text| cell(text).into_owned())).map_err(failed)
    }
}

const NOTHING: Cow<'static, str> = Cow::Borrowed("");

fn line_of_target<'a>(
    run: &'a Run,
    seen: &Seen,
    finding: Option<&'a Finding>,
    banner: Option<&'a Banner>,
) -> Line<'a> {
    let Observation { target, state, tries, rtt_us, ttl, .. } = seen.observation;
    let number = |number: Option<u32>| number.map_or(NOTHING, |number| number.to_string().into());
    let verified = seen.verified || finding.is_some_and(|finding| finding.verified == Some(true));
    Line {
        head: [
            time_of(seen.time),
            run.sweep().into(),
            target.ip.to_string().into(),
            joined(run.names().of(target.ip).into_iter()),
            target.port.to_string().into(),
            target.transport.to_string().into(),
            ports::service(target.port).map_or("", |service| service.name).into(),
        ],
        seen: [
            state.as_str().into(),
            reason_of(&seen.observation).into(),
            tries.to_string().into(),
            number(rtt_us),
            number(ttl.map(u32::from)),
        ],
        judged: judged(Some(verified), finding),
        banner: said(banner),
    }
}

fn line_of_finding<'a>(run: &'a Run, completed: Timestamp, finding: &'a Finding) -> Line<'a> {
    Line {
        head: [
            time_of(completed),
            run.sweep().into(),
            finding.ip.map_or(NOTHING, |ip| ip.to_string().into()),
            joined(finding.names.iter().map(String::as_str)),
            finding.port.map_or(NOTHING, |port| port.to_string().into()),
            finding.transport.map_or(NOTHING, |transport| transport.to_string().into()),
            finding.service.as_deref().unwrap_or_default().into(),
        ],
        seen: [NOTHING; 5],
        judged: judged(finding.verified, Some(finding)),
        banner: said(finding.banner.as_ref()),
    }
}

fn judged(verified: Option<bool>, finding: Option<&Finding>) -> [Cow<'_, str>; 4] {
    let exposure = finding.filter(|finding| finding.is_exposure());
    [
        verified.map_or(NOTHING, |verified| verified.to_string().into()),
        exposure.map_or(NOTHING, |finding| finding.severity.to_string().into()),
        finding.map_or("", |finding| finding.kind.as_str()).into(),
        finding.map_or("", |finding| finding.message.as_str()).into(),
    ]
}

fn said(banner: Option<&Banner>) -> [Cow<'_, str>; 2] {
    let Some(banner) = banner else { return [NOTHING; 2] };
    [banner.protocol.as_str().into(), String::from(banner.text.clone()).into()]
}

fn time_of<'a>(time: Timestamp) -> Cow<'a, str> {
    format!("{time:.3}").into()
}

fn joined<'a>(names: impl Iterator<Item = &'a str>) -> Cow<'a, str> {
    names.map(foreign::printable).collect::<Vec<_>>().join(" ").into()
}

/// Findings have addresses in one spelling, and what they are about must be found by it.
fn one_spelling(target: Target) -> Target {
    Target { ip: target.ip.to_canonical(), ..target }
}

/// A text that no spreadsheet executes and no terminal obeys. Names and banners come here spelt out already; messages
/// hold what people wrote into the allowlist, and are never cut.
pub fn cell(text: &str) -> Cow<'_, str> {
    let shown = foreign::harmless(text);
    match text.chars().next() {
        Some(first) if begins_formula(first) => format!("'{shown}").into(),
        _ => shown,
    }
}

/// Characters that make a cell more than text in one program or another, and the wide ones that some take for them.
fn begins_formula(first: char) -> bool {
    matches!(
        first,
        '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}'
    )
}

/// The error of the output itself, which says which output it was.
fn failed(error: csv::Error) -> io::Error {
    match error.into_kind() {
        ErrorKind::Io(cause) => cause,
        other => io::Error::other(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formulas_become_text() {
        for (text, expected) in [
            ("=HYPERLINK(\"http://x\")", "'=HYPERLINK(\"http://x\")"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(1)", "'@SUM(1)"),
            ("\t=1", "'\\t=1"),
            ("\r=1", "'\\r=1"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("a=1", "a=1"),
            ("'=1", "'=1"),
            ("", ""),
        ] {
            assert_eq!(cell(text), expected);
        }
        let long = "x".repeat(5000);
        assert_eq!(cell(&long), long.as_str(), "nothing is cut");
    }

    proptest! {
        #[test]
        fn no_cell_begins_a_formula_or_controls(text in "[=+@\\-\\t\\r\\n\\x1b]{0,2}.{0,40}") {
            let cell = cell(&text);
            prop_assert!(!cell.chars().next().is_some_and(begins_formula));
            prop_assert!(foreign::is_printable(&cell));
        }
    }
}
