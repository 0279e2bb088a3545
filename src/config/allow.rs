//! The `[[allow]]` tables, and what two of them may not say at once.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::document::{Document, Section};
use super::value::{Key, Placed, Value};
use crate::policy::allowlist::{Allowance, Approval, DEFAULT_WARN_BEFORE};
use crate::target::address::AddressRange;

pub(super) static ALLOW: Key =
    Key { name: "allow", example: "[{ hosts = [\"198.18.0.10\"], ports = [22] }]" };
pub(super) static HOSTS: Key = Key { name: "hosts", example: "[\"198.18.0.10\"]" };
pub(super) static PORTS: Key = Key { name: "ports", example: "[22]" };
static REASON: Key = Key { name: "reason", example: "\"bastion\"" };
static OWNER: Key = Key { name: "owner", example: "\"netops\"" };
static ID: Key = Key { name: "id", example: "\"NET-42\"" };
static APPROVER: Key = Key { name: "approver", example: "\"ciso@example.com\"" };
static COMPENSATING: Key = Key { name: "compensating", example: "\"only from the office network\"" };
static EXPIRES: Key = Key { name: "expires", example: "2027-03-31" };
static WARN_BEFORE: Key = Key { name: "warn_before", example: "\"14d\"" };

/// How long before its end an allowance may be warned of; nothing for never.
const WARNINGS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(366 * 24 * 3600);

/// Reads every `[[allow]]` table of the file.
pub(super) fn read_allowances(root: &mut Section<'_>) -> Vec<Allowance> {
    let document = root.document();
    let tables = root.tables(&ALLOW).into_iter();
    let allowances: Vec<Placed<Allowance>> = tables.filter_map(read_allowance).collect();
    report_contradictions(document, &allowances);
    allowances.into_iter().map(|placed| placed.value).collect()
}

/// Reads `hosts`, which name at least one.
pub(super) fn read_hosts(section: &mut Section<'_>) -> Option<Vec<AddressRange>> {
    let hosts = section.list_some(&HOSTS, "host", Value::parsed::<AddressRange>)?;
    Some(hosts.into_iter().map(|host| host.value).collect())
}

fn read_allowance(mut section: Section<'_>) -> Option<Placed<Allowance>> {
    let at = section.at();
    let line = section.document().source().position(at).0;
    let hosts = read_hosts(&mut section);
    let ports = section.take(&PORTS).and_then(Value::ports);
    let reason = section.take(&REASON).and_then(Value::text);
    let owner = section.take(&OWNER).and_then(Value::text);
    let approval = Approval {
        id: section.take(&ID).and_then(Value::text),
        approver: section.take(&APPROVER).and_then(Value::text),
        compensating: section.take(&COMPENSATING).and_then(Value::text),
    };
    let expires = section.take(&EXPIRES).map(Value::expiry);
    let warn_before = section.take(&WARN_BEFORE).map(|value| value.duration(WARNINGS));
    section.need(&[&HOSTS, &PORTS, &REASON, &OWNER]);
    section.finish();
    let allowance = Allowance {
        hosts: hosts?,
        ports: ports?,
        reason: reason?,
        owner: owner?,
        approval,
        // An expiry that cannot be read is not the same as none.
        expires: expires.map_or(Some(None), |read| read.map(Some))?,
        warn_before: warn_before.map_or(Some(DEFAULT_WARN_BEFORE), |read| read)?,
        line: Some(line),
    };
    Some(Placed { at, value: allowance })
}

/// Notes every allowance that repeats an earlier one, or says of one of its targets that it ends at another time.
fn report_contradictions(document: &Document<'_>, allowances: &[Placed<Allowance>]) {
    for (later, (earlier, overlap)) in overlaps(allowances) {
        let (here, there) = (&allowances[later].value, &allowances[earlier].value);
        let line = there.line.unwrap_or(0);
        let until = |allowance: &Allowance| {
            allowance.expires.map_or("without end".to_owned(), |expiry| format!("until {expiry}"))
        };
        if here.expires == there.expires {
            let message = format!("the same hosts and ports are already allowed in line {line}");
            document.report(allowances[later].at, message, "remove one of the two");
        } else {
            let message =
                format!("{overlap} is allowed {} here, but {} in line {line}", until(here), until(there));
            document.report(allowances[later].at, message, "keep one of the two, or let both end together");
        }
    }
}

/// For each allowance that is at odds with an earlier one, the earliest such and the first target they share.
///
/// Walks all ranges by their first address and keeps those that are still open, so that only ranges that do overlap are
/// ever compared.
fn overlaps(allowances: &[Placed<Allowance>]) -> BTreeMap<usize, (usize, String)> {
    let mut ranges: Vec<(AddressRange, usize)> = allowances
        .iter()
        .enumerate()
        .flat_map(|(at, placed)| placed.value.hosts.iter().map(move |range| (*range, at)))
        .collect();
    ranges.sort_unstable();
    let mut found: BTreeMap<usize, (usize, String)> = BTreeMap::new();
    let mut open: Vec<(AddressRange, usize)> = Vec::new();
    for (range, at) in ranges {
        open.retain(|(earlier, _)| earlier.overlaps(&range));
        for (_, other) in open.iter().filter(|(_, other)| *other != at) {
            let (earlier, later) = (at.min(*other), at.max(*other));
            if found.get(&later).is_some_and(|(known, _)| *known <= earlier) {
                continue;
            }
            if let Some(port) = odds(&allowances[earlier].value, &allowances[later].value) {
                found.insert(later, (earlier, format!("port {port} of {}", range.first())));
            }
        }
        open.push((range, at));
    }
    found
}

/// The first port over which two allowances with a host in common are at odds.
fn odds(one: &Allowance, other: &Allowance) -> Option<u16> {
    if one.expires == other.expires {
        // Half an overlap with one and the same end is no mistake: groups of hosts often share some.
        return (one.hosts == other.hosts && one.ports == other.ports).then(|| one.ports.get(0));
    }
    let (few, many) = if one.ports.len() < other.ports.len() {
        (&one.ports, &other.ports)
    } else {
        (&other.ports, &one.ports)
    };
    few.iter().find(|port| many.slot_of(*port).is_some())
}
