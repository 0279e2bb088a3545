//! The long lists of the page, in parts: findings, and what has changed.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::Serialize;

use super::words::moment;
use crate::evidence::manifest::{Change, Comparison, Manifest};
use crate::evidence::recount::Recount;
use crate::policy::finding::Finding;
use crate::sweep::verified::Verification;
use crate::target::ports::Severity;

/// Rows of one part. A browser lays out a part when somebody looks at it.
const PART: usize = 100;

/// Names of one host that are shown.
const MOST_NAMES: usize = 8;

/// A part of a list.
#[derive(Debug, Serialize)]
pub(super) struct Part<R> {
    /// What it is a list of.
    list: &'static str,
    rows: Vec<R>,
    /// The numbers of its rows, from 1, and how many there are in all parts.
    first: usize,
    last: usize,
    total: usize,
}

/// A finding as the page has it.
#[derive(Debug, Serialize)]
pub(super) struct FindingRow<'a> {
    /// The address and the port, as they are written together; nothing for findings about something else.
    target: Option<String>,
    names: &'a [String],
    names_left_out: usize,
    kind: &'static str,
    is_objection: bool,
    service: Option<&'a str>,
    message: &'a str,
    owner: Option<&'a str>,
    verification: &'static str,
    protocol: Option<&'static str>,
    banner: Option<String>,
    first_seen: String,
}

/// Hands out all findings in parts, the worst first.
pub(super) fn findings(
    manifest: &Manifest,
    recount: &Recount,
    put: &mut dyn FnMut(Part<FindingRow<'_>>) -> io::Result<()>,
) -> io::Result<()> {
    // The findings of one run bear the time of its end. When each was seen stands in the observations.
    let seen: HashMap<(IpAddr, u16), Timestamp> = recount
        .lines
        .iter()
        .map(|line| ((line.observation.target.ip.to_canonical(), line.observation.target.port), line.time))
        .collect();
    for severity in Severity::ALL.into_iter().rev() {
        let of_it: Vec<&Finding> =
            manifest.findings.iter().filter(|finding| finding.severity == severity).collect();
        in_parts(severity.as_str(), &of_it, |finding| finding_row(finding, &seen), put)?;
    }
    Ok(())
}

/// Hands out what has changed, in parts.
pub(super) fn changes<'a>(
    comparison: &'a Comparison,
    put: &mut dyn FnMut(Part<&'a Change>) -> io::Result<()>,
) -> io::Result<()> {
    let lists = [
        ("new", &comparison.new),
        ("fixed", &comparison.fixed),
        ("excepted", &comparison.excepted),
        ("not seen", &comparison.not_seen),
        ("persisting", &comparison.persisting),
    ];
    lists.into_iter().try_for_each(|(list, changes)| in_parts(list, changes, |change| change, put))
}

fn in_parts<'a, T, R>(
    list: &'static str,
    all: &'a [T],
    row: impl Fn(&'a T) -> R,
    put: &mut dyn FnMut(Part<R>) -> io::Result<()>,
) -> io::Result<()> {
    all.chunks(PART).zip(0..).try_for_each(|(part, number)| {
        let first = number * PART + 1;
        let rows: Vec<R> = part.iter().map(&row).collect();
        put(Part { list, first, last: first + rows.len() - 1, total: all.len(), rows })
    })
}

fn finding_row<'a>(finding: &&'a Finding, seen: &HashMap<(IpAddr, u16), Timestamp>) -> FindingRow<'a> {
    let finding = *finding;
    let target = match (finding.ip, finding.port) {
        (Some(ip), Some(port)) => Some(SocketAddr::new(ip, port).to_string()),
        (Some(ip), None) => Some(ip.to_string()),
        (None, _) => None,
    };
    let time = finding.ip.zip(finding.port).and_then(|target| seen.get(&target)).copied();
    let names = &finding.names[..finding.names.len().min(MOST_NAMES)];
    FindingRow {
        message: without_target(finding, target.as_deref()),
        target,
        names,
        names_left_out: finding.names.len() - names.len(),
        kind: finding.kind.as_str(),
        is_objection: finding.is_objection(),
        service: finding.service.as_deref(),
        owner: finding.owner.as_deref(),
        verification: finding.verification.map_or("", in_words),
        protocol: finding.banner.as_ref().map(|banner| banner.protocol.as_str()),
        banner: finding.banner.as_ref().map(|banner| String::from(banner.text.clone())),
        first_seen: moment(time.unwrap_or(finding.first_seen)).trim_end_matches(" UTC").to_owned(),
    }
}

/// What a finding says, without the target and the service, which stand beside it.
fn without_target<'a>(finding: &'a Finding, target: Option<&str>) -> &'a str {
    let rest = target.and_then(|target| finding.message.strip_prefix(target));
    let rest = rest.map(|rest| rest.strip_prefix("/tcp").unwrap_or(rest));
    let rest = rest.map(|rest| {
        let service = finding.service.as_deref().unwrap_or_default();
        rest.strip_prefix(" (")
            .and_then(|rest| rest.strip_prefix(service))
            .and_then(|rest| rest.strip_prefix(')'))
            .unwrap_or(rest)
    });
    rest.map_or(finding.message.as_str(), str::trim_start)
}

fn in_words(verification: Verification) -> &'static str {
    match verification {
        Verification::Verified => "full handshake",
        Verification::Refused => "refused a handshake twice",
        Verification::Silent => "left a handshake unanswered twice",
        Verification::Unreachable => "could not be reached again",
        Verification::Skipped => "not tried",
    }
}
