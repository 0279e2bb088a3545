//! What a run states: worked out from its plan, its journal, its observations and the allowlist, and from nothing else.
//! Whoever concludes a run writes it down, and whoever verifies the evidence works it out again and compares.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::exceptions::exceptions;
use super::journal::{ClockState, Entry, Performer, What, active, tiles_done};
use super::judge::judge;
use super::manifest::{Completeness, Integrity, Manifest, Pause, Times, UnwatchedPort};
use super::plan::{Plan, SCHEMA};
use super::recount::Recount;
use crate::policy::allowlist::Allowlist;
use crate::policy::evaluate::evaluate;
use crate::sweep::report::{CanaryCount, Packets, Report, Vantage};
use crate::target::ports::{PortSet, service};
use crate::target::scope::Scope;

/// What a statement rests on.
#[derive(Clone, Copy, Debug)]
pub struct Grounds<'a> {
    /// What was decided.
    pub plan: &'a Plan,
    /// What that covers.
    pub scope: &'a Scope,
    /// What happened.
    pub entries: &'a [Entry],
    /// What was seen.
    pub recount: &'a Recount,
    /// What may be open.
    pub allowlist: &'a Allowlist,
}

/// All that a bundle says but comparisons, which need another bundle.
pub fn statement(grounds: &Grounds<'_>, integrity: Integrity) -> Manifest {
    let Grounds { plan, scope, entries, recount, allowlist } = *grounds;
    let time = times(entries);
    let known = recount.verifications.clone();
    let complete = recount.ledger.unknown == 0;
    let names = recount.names();
    let findings = evaluate(&recount.opens, allowlist, known, scope, complete, time.completed);
    let findings: Vec<_> = findings.with_names(&names).iter().collect();
    let exceptions = exceptions(allowlist, &recount.opens, scope, time.completed);
    let (reasons, unresolved) = (&recount.unknown_reasons, &plan.scope.unresolved);
    let conclusion = judge(&recount.ledger, reasons, unresolved, &findings, &exceptions);
    Manifest {
        schema: SCHEMA.to_owned(),
        plan: plan.clone(),
        conclusion,
        time,
        vantages: vantages(entries),
        completeness: completeness(entries, recount, scope.hosts()),
        findings,
        exceptions,
        comparison: None,
        rescan: None,
        unwatched_ports: unwatched(recount, &plan.watched_ports),
        integrity,
    }
}

fn reports(entries: &[Entry]) -> impl Iterator<Item = &Report> {
    entries.iter().filter_map(|entry| match &entry.what {
        What::TileSwept { report, .. } => Some(&**report),
        _ => None,
    })
}

/// Where it was looked from, each place once, in the order in which they came up.
fn vantages(entries: &[Entry]) -> Vec<Vantage> {
    let mut vantages: Vec<Vantage> = Vec::new();
    for report in reports(entries) {
        if !vantages.contains(&report.vantage) {
            vantages.push(report.vantage.clone());
        }
    }
    vantages
}

fn completeness(entries: &[Entry], recount: &Recount, hosts: u64) -> Completeness {
    let (mut packets, mut canaries) = (Packets::default(), CanaryCount::default());
    for report in reports(entries) {
        add(&mut packets.sent, report.packets.sent);
        add(&mut packets.canaries, report.packets.canaries);
        add(&mut packets.received, report.packets.received);
        add(&mut packets.foreign, report.packets.foreign);
        add(&mut packets.dropped, report.packets.dropped);
        add(&mut packets.refused, report.packets.refused);
        for path in &report.paths {
            add(&mut canaries.asked, path.canaries.asked);
            add(&mut canaries.lost, path.canaries.lost);
        }
    }
    Completeness {
        ledger: recount.ledger,
        unknown_reasons: recount.unknown_reasons.clone(),
        tiles: tiles_done(entries),
        packets,
        canaries,
        hosts_without_open_ports: hosts.saturating_sub(recount.hosts_with_open_ports.len() as u64),
    }
}

/// Saturating, because a journal may also be made up.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

fn times(entries: &[Entry]) -> Times {
    let performers: Vec<Performer> = entries
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Begun { performer, .. } | What::Resumed { performer, .. } => Some(performer.clone()),
            _ => None,
        })
        .collect();
    let at = |entry: Option<&Entry>| entry.map_or(Timestamp::UNIX_EPOCH, |entry| entry.time);
    // Whoever concludes has written entries.
    let (started, completed) = (at(entries.first()), at(entries.last()));
    let clock_at_end = match entries.last().map(|entry| &entry.what) {
        Some(What::Concluded { clock, .. }) => *clock,
        _ => ClockState::default(),
    };
    let active_ms = u64::try_from(active(entries).as_millis()).unwrap_or(u64::MAX);
    Times { started, completed, active_ms, performers, pauses: pauses(entries), clock_at_end }
}

/// The times that nothing was sent: outside of the hours, and between the end of one process and the beginning of the
/// next, whether it was stopped or killed.
fn pauses(entries: &[Entry]) -> Vec<Pause> {
    let pairs = entries.windows(2).filter_map(|pair| {
        let why = match (&pair[0].what, &pair[1].what) {
            (What::Paused { .. }, _) => "outside of the hours".to_owned(),
            (What::Stopped { why }, What::Resumed { .. }) => format!("stopped: {why}"),
            (_, What::Resumed { .. }) => "killed, or the machine went down".to_owned(),
            _ => return None,
        };
        Some(Pause { from: pair[0].time, until: pair[1].time, why })
    });
    pairs.collect()
}

/// The ports that are open somewhere, and that nobody would hear of before the next run.
fn unwatched(recount: &Recount, watched: &PortSet) -> Vec<UnwatchedPort> {
    let mut hosts: BTreeMap<u16, u64> = BTreeMap::new();
    for seen in recount.opens.iter().filter(|seen| recount.verifications.folds(&seen.target).is_none()) {
        if watched.slot_of(seen.target.port).is_none() {
            *hosts.entry(seen.target.port).or_default() += 1;
        }
    }
    let named = |port| service(port).map(|service| service.name.to_owned());
    hosts.into_iter().map(|(port, hosts)| UnwatchedPort { port, service: named(port), hosts }).collect()
}
