//! Makes a bundle of a run whose tiles are all done: counts everything again from the disk, judges, and signs.
//!
//! Whoever is killed here does it again; nothing of the run is lost until the bundle is whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write as _};

use jiff::Timestamp;

use super::ControlError;
use super::run::{Listener, Run};
use super::workplace::{Workplace, failed};
use crate::evidence::bundle::{
    ALLOWLIST, JOURNAL, LIST, MANIFEST, NMAP, OBSERVATIONS, REPORT, SIGNATURE, SUMS, digests, sums, write,
};
use crate::evidence::compare::compare;
use crate::evidence::digest::Digest;
use crate::evidence::exceptions::{as_toml, exceptions};
use crate::evidence::journal::{self, ClockState, Entry, Performer, What, active, tiles_done};
use crate::evidence::judge::judge;
use crate::evidence::list;
use crate::evidence::manifest::{Completeness, Integrity, Manifest, Pause, Times, UnwatchedPort};
use crate::evidence::plan::{RunReference, SCHEMA};
use crate::evidence::recount::Recount;
use crate::evidence::report;
use crate::evidence::sign::Signer;
use crate::evidence::surveyed;
use crate::policy::evaluate::evaluate;
use crate::sink::nmap;
use crate::sweep::ledger::Ledger;
use crate::sweep::report::{CanaryCount, Packets, Report, Vantage};
use crate::target::ports::{PortSet, service};

/// Makes the bundle, and says what it says.
///
/// # Errors
/// When something cannot be written, or what is on the disk does not add up.
pub fn conclude(
    mut run: Run<'_>,
    signer: Option<&Signer>,
    clock: ClockState,
    listener: &mut dyn Listener,
    now: Timestamp,
) -> Result<(Manifest, Digest), ControlError> {
    if !matches!(run.entries().last().map(|entry| &entry.what), Some(What::Concluded { .. })) {
        let mut ledger = Ledger::default();
        tiles_done(run.entries()).iter().for_each(|done| ledger.add(&done.ledger));
        run.enter_journal(listener, now, What::Concluded { ledger })?;
    }
    let recount = gather(&run)?;
    let manifest = state(&run, &recount, signer, clock)?;
    write_contents(&run, &recount, &manifest)?;
    seal(run, manifest, signer)
}

/// All that the bundle says, but for the digests of files that are not there yet.
fn state(
    run: &Run<'_>,
    recount: &Recount,
    signer: Option<&Signer>,
    clock: ClockState,
) -> Result<Manifest, ControlError> {
    let (request, workplace, plan, key, scope) = run.parts();
    let entries = run.entries();
    let time = times(entries, clock);
    let known = recount.verifications.clone();
    let complete = recount.ledger.unknown == 0;
    let findings = evaluate(&recount.opens, request.allowlist, known, scope, complete, time.completed);
    let findings: Vec<_> = findings.with_names(&request.gathered.names).iter().collect();
    let exceptions = exceptions(request.allowlist, &recount.opens, scope, time.completed);
    let (reasons, unresolved) = (&recount.unknown_reasons, &plan.scope.unresolved);
    let conclusion = judge(&recount.ledger, reasons, unresolved, &findings, &exceptions);
    let against = |(older, reference): &(Manifest, RunReference)| {
        compare(reference.clone(), &older.findings, &findings, scope, recount)
    };
    Ok(Manifest {
        schema: SCHEMA.to_owned(),
        plan: plan.clone(),
        conclusion,
        time,
        vantages: vantages(entries),
        completeness: completeness(entries, recount, scope.hosts()),
        comparison: request.previous.as_ref().map(against),
        findings,
        exceptions,
        unwatched_ports: unwatched(recount, &request.watched_ports),
        integrity: Integrity {
            // The report is one of them, and says what stands here.
            files: Vec::new(),
            merkle_root: recount.tree.root(),
            lines: recount.tree.leaves(),
            journal_head: journal_head(workplace)?,
            key: key.reveal().to_owned(),
            signer: signer.map(Signer::fingerprint),
        },
    })
}

/// Writes the files that are made of what was counted.
fn write_contents(run: &Run<'_>, recount: &Recount, manifest: &Manifest) -> Result<(), ControlError> {
    let (request, workplace, plan, ..) = run.parts();
    let names = &request.gathered.names;
    workplace.write(ALLOWLIST, as_toml(request.allowlist.allowances()).as_bytes())?;
    let listed = list::csv(recount, &manifest.findings, names);
    workplace.write(LIST, &listed.map_err(|cause| workplace.unwritable(LIST, cause))?)?;
    let times = (manifest.time.started, manifest.time.completed);
    let tiles = &manifest.completeness.tiles;
    write_nmap(workplace, &surveyed::About { plan, tiles, recount, times, names })?;
    write_report(workplace, manifest, recount)
}

/// Signs, and ends the run. From the moment that the manifest is there, the bundle is whole.
fn seal(
    run: Run<'_>,
    mut manifest: Manifest,
    signer: Option<&Signer>,
) -> Result<(Manifest, Digest), ControlError> {
    let workplace = run.into_workplace();
    let files = digests(workplace.dir()).map_err(|(path, cause)| failed("read", &path, cause))?;
    manifest.integrity.files.clone_from(&files);
    let bytes =
        serde_json::to_vec_pretty(&manifest).map_err(|cause| workplace.unwritable(MANIFEST, cause.into()))?;
    let digest = Digest::of(&bytes);
    workplace.write(SUMS, sums(&files, &digest).as_bytes())?;
    if let Some(signer) = signer {
        workplace.write(SIGNATURE, signer.sign(&bytes)?.as_bytes())?;
    }
    workplace.write(MANIFEST, &bytes)?;
    workplace.leave()?;
    Ok((manifest, digest))
}

/// Puts the lines of all tiles into one file, and counts what is in it then.
fn gather(run: &Run<'_>) -> Result<Recount, ControlError> {
    let (_, workplace, plan, ..) = run.parts();
    let tiles = tiles_done(run.entries());
    let gathered = write(workplace.dir(), OBSERVATIONS, |file| {
        tiles.iter().try_for_each(|done| {
            io::copy(&mut File::open(workplace.tile(done.tile))?, file)?;
            Ok(())
        })
    });
    gathered.map_err(|cause| workplace.unwritable(OBSERVATIONS, cause))?;
    let path = workplace.dir().join(OBSERVATIONS);
    let file = File::open(&path).map_err(|cause| failed("read", &path, cause))?;
    Recount::of(plan, &tiles, BufReader::new(file))
        .map_err(|cause| ControlError::Recount { dir: workplace.dir().to_owned(), cause })
}

/// What was seen, as nmap would tell it.
fn write_nmap(workplace: &Workplace, about: &surveyed::About<'_>) -> Result<(), ControlError> {
    let path = workplace.dir().join(OBSERVATIONS);
    let file = File::open(&path).map_err(|cause| failed("read", &path, cause))?;
    let survey = surveyed::survey(about, BufReader::new(file))
        .map_err(|cause| ControlError::Recount { dir: workplace.dir().to_owned(), cause })?;
    let written = write(workplace.dir(), NMAP, |file| {
        let mut out = BufWriter::new(file);
        nmap::write(&mut out, &survey)?;
        out.flush()
    });
    written.map_err(|cause| workplace.unwritable(NMAP, cause))
}

fn journal_head(workplace: &Workplace) -> Result<Digest, ControlError> {
    let path = workplace.dir().join(JOURNAL);
    let text = fs::read(&path).map_err(|cause| failed("read", &path, cause))?;
    Ok(journal::parse(&path, &text)?.1)
}

/// Writes what people read.
fn write_report(workplace: &Workplace, manifest: &Manifest, recount: &Recount) -> Result<(), ControlError> {
    let written = write(workplace.dir(), REPORT, |file| {
        let mut out = BufWriter::new(file);
        report::write(manifest, recount, &mut out)?;
        out.flush()
    });
    written.map_err(|cause| workplace.unwritable(REPORT, cause))
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
        packets.sent += report.packets.sent;
        packets.canaries += report.packets.canaries;
        packets.received += report.packets.received;
        packets.foreign += report.packets.foreign;
        packets.dropped += report.packets.dropped;
        packets.refused += report.packets.refused;
        for path in &report.paths {
            canaries.asked += path.canaries.asked;
            canaries.lost += path.canaries.lost;
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

fn times(entries: &[Entry], clock_at_end: ClockState) -> Times {
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
