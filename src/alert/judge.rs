//! What a sweep says of alerts: of those that are known, and of those that begin with it.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use jiff::Timestamp;

use super::advance::{Judgement, Mint, Patience};
use super::book::Book;
use super::life::{Annotation, Phase, Resolution};
use super::record::Record;
use super::rules::AlertRules;
use super::tell::Happened;
use crate::policy::class::Class;
use crate::policy::finding::{Finding, Fingerprint};
use crate::policy::kind::FindingKind;
use crate::policy::outage::Check;
use crate::target::{Target, Transport};

/// What a sweep has come to, as far as alerts are concerned.
pub struct Seen<'a> {
    /// Whether it has seen everything: only then does it resolve anything, or count what failed.
    pub complete: bool,
    /// What policy objects to, and who is to hear of it.
    pub findings: Vec<(Finding, Class)>,
    /// What has accepted a handshake, allowed or not.
    pub open: &'a HashSet<Target>,
    /// Whether a target was to be looked at.
    pub covers: &'a dyn Fn(&Target) -> bool,
    /// What must be open, and whether it was.
    pub checks: &'a [Check<'a>],
    /// Whether the program saw what it was to see, as a finding about itself.
    pub sight: (Finding, Class),
}

/// Takes every alert that the sweep has something to say of one step further.
pub fn judge(
    book: &mut Book,
    seen: &Seen<'_>,
    rules: &AlertRules,
    now: Timestamp,
    mint: Mint<'_>,
) -> Happened {
    let folded = folded_hosts(seen);
    let mut judgements = exposures(book, seen, &folded);
    if seen.complete {
        judgements.extend(seen.checks.iter().map(outage));
    }
    let (sight, class) = seen.sight.clone();
    let holds = if seen.complete { Err(Resolution::Seen) } else { Ok(()) };
    let patience = Patience { failures: rules.blind_after, ..Patience::NONE };
    judgements.push(Judgement { finding: sight, class, holds, patience });
    let mut happened = step(book, &judgements, rules, now, mint);
    happened.extend(note_folded(book, &folded));
    happened
}

/// Ends the alerts that nobody looks after any longer: those for which `is_kept` says so.
pub fn retire(
    book: &mut Book,
    is_kept: &dyn Fn(&Record) -> bool,
    rules: &AlertRules,
    now: Timestamp,
    mint: Mint<'_>,
) -> Happened {
    let is_live = |record: &&Record| record.alert.state != Phase::Resolved && !is_kept(record);
    let over: Vec<Judgement> =
        book.records().filter(is_live).map(|record| not_any_longer(record, Resolution::OutOfScope)).collect();
    step(book, &over, rules, now, mint)
}

/// Takes alerts one step further that no sweep is asked about.
pub fn step(
    book: &mut Book,
    judgements: &[Judgement],
    rules: &AlertRules,
    now: Timestamp,
    mint: Mint<'_>,
) -> Happened {
    let mut happened = Happened::new();
    for judgement in judgements {
        let transition = book.advance(judgement, rules, now, &mut *mint);
        let fingerprint = &judgement.finding.fingerprint;
        happened.extend(transition.map(|transition| (fingerprint.clone(), transition)));
    }
    happened
}

/// What is found, and what is no longer found where the sweep would have found it.
fn exposures(book: &Book, seen: &Seen<'_>, folded: &HashSet<IpAddr>) -> Vec<Judgement> {
    let alerting = || seen.findings.iter().filter(|(finding, _)| finding.kind.alerts());
    let found: BTreeSet<&Fingerprint> = alerting().map(|(finding, _)| &finding.fingerprint).collect();
    let holding = alerting().map(|(finding, class)| Judgement {
        finding: finding.clone(),
        class: class.clone(),
        holds: Ok(()),
        patience: Patience::NONE,
    });
    let mut judgements: Vec<Judgement> = holding.collect();
    let is_live = |record: &&Record| record.alert.state != Phase::Resolved;
    let missing =
        book.records().filter(is_live).filter(|record| !found.contains(&record.alert.finding.fingerprint));
    let gone = missing.filter_map(|record| Some((record, gone(&record.alert.finding, seen, folded)?)));
    judgements.extend(gone.map(|(record, why)| not_any_longer(record, why)));
    judgements
}

/// Why a finding that the sweep has not made no longer holds; `None` if that cannot be told.
fn gone(finding: &Finding, seen: &Seen<'_>, folded: &HashSet<IpAddr>) -> Option<Resolution> {
    match finding.kind {
        FindingKind::Exposure if seen.complete => {
            let target = target_of(finding).filter(|target| (seen.covers)(target))?;
            match seen.open.contains(&target) {
                // It is still open, as one of the ports of a host that accepts all of them.
                true if folded.contains(&target.ip) => None,
                true => Some(Resolution::Allowed),
                false => Some(Resolution::Seen),
            }
        }
        FindingKind::AnswersAll if seen.complete => {
            let ip = finding.ip?;
            is_looked_at(seen, ip).then_some(Resolution::Seen)
        }
        // That depends on the allowlist and the time, and on no sweep.
        FindingKind::AllowanceExpiring => Some(Resolution::Seen),
        _ => None,
    }
}

/// Whether anything of a host was looked at: it answers all ports, so that any of them would do.
fn is_looked_at(seen: &Seen<'_>, ip: IpAddr) -> bool {
    (1..=u16::MAX).any(|port| (seen.covers)(&Target { ip, port, transport: Transport::Tcp }))
}

/// The hosts of this sweep that accept every port.
fn folded_hosts(seen: &Seen<'_>) -> HashSet<IpAddr> {
    let is_it = |finding: &&(Finding, Class)| finding.0.kind == FindingKind::AnswersAll;
    seen.findings.iter().filter(is_it).filter_map(|(finding, _)| finding.ip).collect()
}

/// Notes on exposures that go on that their host has come to accept every port.
fn note_folded(book: &mut Book, hosts: &HashSet<IpAddr>) -> Happened {
    let is_folded = |record: &&Record| {
        record.alert.finding.kind == FindingKind::Exposure
            && record.alert.finding.ip.is_some_and(|ip| hosts.contains(&ip))
    };
    let folded = book.records().filter(is_folded).map(|record| record.alert.finding.fingerprint.clone());
    let folded: Vec<Fingerprint> = folded.collect();
    let note = |fingerprint| super::tell::annotate(book, fingerprint, Annotation::AnswersAll);
    folded.iter().flat_map(note).collect()
}

fn outage(check: &Check<'_>) -> Judgement {
    let expectation = check.expectation;
    Judgement {
        finding: check.finding.clone(),
        class: check.class.clone(),
        holds: if check.is_up { Err(Resolution::Seen) } else { Ok(()) },
        patience: Patience {
            failures: expectation.failures,
            recoveries: expectation.recoveries,
            flaps: true,
        },
    }
}

fn not_any_longer(record: &Record, why: Resolution) -> Judgement {
    Judgement {
        finding: record.alert.finding.clone(),
        class: record.alert.class.clone(),
        holds: Err(why),
        patience: Patience { flaps: record.alert.flapping, ..Patience::NONE },
    }
}

/// The target that a finding is about, if it is about one.
pub fn target_of(finding: &Finding) -> Option<Target> {
    Some(Target { ip: finding.ip?, port: finding.port?, transport: finding.transport? })
}
