//! Makes a bundle of a run whose tiles are all done: counts everything again from the disk, judges, and signs.
//!
//! Whoever is killed here does it again; nothing of the run is lost until the bundle is whole.

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
use crate::evidence::exceptions::{as_toml, without_lines};
use crate::evidence::journal::{self, ClockState, What, tiles_done};
use crate::evidence::list;
use crate::evidence::manifest::{Integrity, Manifest};
use crate::evidence::plan::RunReference;
use crate::evidence::recount::Recount;
use crate::evidence::report;
use crate::evidence::sign::Signer;
use crate::evidence::statement::{Grounds, statement};
use crate::evidence::surveyed;
use crate::sink::nmap;
use crate::sweep::ledger::Ledger;

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
    if !run.is_concluded() {
        let mut ledger = Ledger::default();
        tiles_done(run.entries()).iter().for_each(|done| ledger.add(&done.ledger));
        run.enter_journal(listener, now, What::Concluded { ledger, clock })?;
    }
    let recount = gather(&run)?;
    let manifest = state(&run, &recount, signer)?;
    write_contents(&run, &recount, &manifest)?;
    seal(run, manifest, signer)
}

/// All that the bundle says, but for the digests of files that are not there yet.
fn state(run: &Run<'_>, recount: &Recount, signer: Option<&Signer>) -> Result<Manifest, ControlError> {
    let (request, workplace, plan, key, scope) = run.parts();
    let integrity = Integrity {
        // The report is one of them, and says what stands here.
        files: Vec::new(),
        merkle_root: recount.tree.root(),
        lines: recount.tree.leaves(),
        journal_head: journal_head(workplace)?,
        key: key.reveal().to_owned(),
        signer: signer.map(Signer::fingerprint),
    };
    let (entries, allowlist) = (run.entries(), &without_lines(request.allowlist.allowances()));
    let mut manifest = statement(&Grounds { plan, scope, entries, recount, allowlist }, integrity);
    let against = |earlier: &Option<(Manifest, RunReference)>| {
        let (older, reference) = earlier.as_ref()?;
        Some(compare(reference.clone(), &older.findings, &manifest.findings, scope, recount))
    };
    (manifest.comparison, manifest.rescan) = (against(&request.previous), against(&request.rescan_of));
    Ok(manifest)
}

/// Writes the files that are made of what was counted.
fn write_contents(run: &Run<'_>, recount: &Recount, manifest: &Manifest) -> Result<(), ControlError> {
    let (request, workplace, ..) = run.parts();
    workplace.write(ALLOWLIST, as_toml(request.allowlist.allowances()).as_bytes())?;
    let listed = list::csv(recount, &manifest.findings);
    workplace.write(LIST, &listed.map_err(|cause| workplace.unwritable(LIST, cause))?)?;
    write_nmap(workplace, manifest, recount)?;
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
    match signer {
        Some(signer) => workplace.write(SIGNATURE, signer.sign(&bytes)?.as_bytes())?,
        // An earlier conclusion may have come as far as signing.
        None => workplace.remove(SIGNATURE)?,
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
fn write_nmap(workplace: &Workplace, manifest: &Manifest, recount: &Recount) -> Result<(), ControlError> {
    let path = workplace.dir().join(OBSERVATIONS);
    let file = File::open(&path).map_err(|cause| failed("read", &path, cause))?;
    let survey = surveyed::survey(manifest, recount, BufReader::new(file))
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
