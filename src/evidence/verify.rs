//! Checks a bundle, offline, and names the first thing that is wrong with it.
//!
//! Nothing that the bundle says of itself is believed: digests, the tree, the books and the findings are worked out
//! again from what lies below them, down to the lines of the observations.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::bundle::{
    ALLOWLIST, CONTENTS, JOURNAL, MANIFEST, OBSERVATIONS, PLAN, SIGN_OFFS, SIGNATURE, SUMS, WORK, digests,
    sums,
};
use super::compare::compare;
use super::digest::Digest;
use super::exceptions::exceptions;
use super::journal::{self, TileDone, What};
use super::judge::judge;
use super::manifest::Manifest;
use super::plan::{Plan, RunReference, SCHEMA};
use super::recount::Recount;
use super::sign;
use super::sign_off::{SignOff, read_sign_offs};
use crate::config::diagnostic::Source;
use crate::config::file::parse_allowlist;
use crate::policy::allowlist::Allowlist;
use crate::policy::evaluate::evaluate;
use crate::policy::finding::Finding;

/// The largest manifest that is read: some hundred thousand findings.
const LARGEST: u64 = 256 << 20;

/// What a bundle is held against.
#[derive(Clone, Debug, Default)]
pub struct Against {
    /// Who may sign: principals and fingerprints. Without it, whoever has signed is only named.
    pub signers: Option<Vec<(String, String)>>,
    /// The bundle of the run before.
    pub previous: Option<PathBuf>,
    /// The digest of the manifest, as somebody noted it when it was made.
    pub manifest: Option<Digest>,
}

/// A bundle in which nothing is wrong.
#[derive(Debug)]
pub struct Sound {
    /// What it says.
    pub manifest: Manifest,
    /// The digest of the manifest, by which others refer to it.
    pub digest: Digest,
    /// Who has signed it, as the file of signers calls them; nothing without such a file.
    pub principals: Option<String>,
    /// Who has signed it off.
    pub sign_offs: Vec<SignOff>,
}

/// The first thing that is wrong with a bundle.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{file}: {why}")]
pub struct Wrong {
    /// The file, by its name in the bundle.
    pub file: String,
    /// What is wrong with it.
    pub why: String,
}

impl Wrong {
    /// Something is wrong with a file.
    pub fn with(file: &str, why: impl Into<String>) -> Self {
        Wrong { file: file.to_owned(), why: why.into() }
    }
}

/// Checks a bundle.
///
/// # Errors
/// With the first thing that is wrong.
pub fn verify(dir: &Path, against: &Against) -> Result<Sound, Wrong> {
    check_names(dir)?;
    let bytes = read(dir, MANIFEST)?;
    let digest = Digest::of(&bytes);
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|cause| Wrong::with(MANIFEST, cause.to_string()))?;
    if manifest.schema != SCHEMA {
        let why = format!("it is of the schema `{}`, and this program knows {SCHEMA}", manifest.schema);
        return Err(Wrong::with(MANIFEST, why));
    }
    if against.manifest.is_some_and(|noted| noted != digest) {
        return Err(Wrong::with(MANIFEST, format!("its digest is {digest}, and not the one that was noted")));
    }
    let principals = check_signature(dir, &manifest, &bytes, against)?;
    check_files(dir, &manifest, &digest)?;
    let plan = check_plan(dir, &manifest)?;
    check_journal(dir, &manifest, &plan)?;
    let recount = count_again(dir, &manifest, &plan)?;
    check_findings(dir, &manifest, &recount)?;
    if let Some(previous) = &against.previous {
        check_previous(previous, &manifest, &recount)?;
    }
    let sign_offs = read_sign_offs(dir, &digest, against.signers.as_deref())?;
    Ok(Sound { manifest, digest, principals, sign_offs })
}

/// Reads the manifest of a bundle that is referred to, and its digest. Nothing of it is checked.
///
/// # Errors
/// When it cannot be read.
pub fn read_manifest(dir: &Path) -> Result<(Manifest, RunReference), Wrong> {
    let bytes = read(dir, MANIFEST)?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|cause| Wrong::with(MANIFEST, cause.to_string()))?;
    let reference = RunReference { run: manifest.plan.run, manifest: Digest::of(&bytes) };
    Ok((manifest, reference))
}

/// Reads a file of a bundle, if it is one and not too large.
pub(super) fn read(dir: &Path, name: &str) -> Result<Vec<u8>, Wrong> {
    let path = dir.join(name);
    let unreadable = |cause: std::io::Error| Wrong::with(name, format!("it cannot be read: {cause}"));
    let found = fs::symlink_metadata(&path).map_err(unreadable)?;
    if !found.is_file() {
        return Err(Wrong::with(name, "it is no plain file"));
    }
    if found.len() > LARGEST {
        return Err(Wrong::with(name, format!("it is larger than {LARGEST} bytes")));
    }
    fs::read(&path).map_err(unreadable)
}

/// A bundle has its files and no others.
fn check_names(dir: &Path) -> Result<(), Wrong> {
    let here = || dir.display().to_string();
    let listed = fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let listed = listed.map_err(|cause| Wrong::with(&here(), format!("it cannot be read: {cause}")))?;
    let names: BTreeSet<String> =
        listed.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    if names.contains(WORK) {
        return Err(Wrong::with(
            WORK,
            "this run is not concluded; the command that began it goes on with it",
        ));
    }
    let known: BTreeSet<&str> = CONTENTS.into_iter().chain([MANIFEST, SIGNATURE, SUMS, SIGN_OFFS]).collect();
    match names.iter().find(|name| !known.contains(name.as_str())) {
        Some(stranger) => Err(Wrong::with(stranger, "it is no file of a bundle")),
        None => Ok(()),
    }
}

fn check_signature(
    dir: &Path,
    manifest: &Manifest,
    bytes: &[u8],
    against: &Against,
) -> Result<Option<String>, Wrong> {
    let signature = dir.join(SIGNATURE);
    let Some(named) = &manifest.integrity.signer else {
        return match (signature.exists(), &against.signers) {
            (true, _) => Err(Wrong::with(SIGNATURE, "the manifest says that it is not signed")),
            (false, Some(_)) => Err(Wrong::with(MANIFEST, "it is not signed, so nobody vouches for it")),
            (false, None) => Ok(None),
        };
    };
    let by = sign::check(bytes, &read(dir, SIGNATURE)?)
        .map_err(|cause| Wrong::with(SIGNATURE, format!("over {MANIFEST}: {cause}")))?;
    if by != *named {
        return Err(Wrong::with(SIGNATURE, format!("it was made by {by}, and {MANIFEST} names {named}")));
    }
    let Some(signers) = &against.signers else { return Ok(None) };
    let known = signers.iter().find(|(_, fingerprint)| *fingerprint == by);
    let stranger = || Wrong::with(SIGNATURE, format!("it was made by {by}, who is not among the signers"));
    known.map(|(principals, _)| Some(principals.clone())).ok_or_else(stranger)
}

fn check_files(dir: &Path, manifest: &Manifest, digest: &Digest) -> Result<(), Wrong> {
    for name in CONTENTS {
        let found = fs::symlink_metadata(dir.join(name));
        if !found.map_err(|cause| Wrong::with(name, format!("it cannot be read: {cause}")))?.is_file() {
            return Err(Wrong::with(name, "it is no plain file"));
        }
    }
    let found =
        digests(dir).map_err(|(path, cause)| Wrong::with(&path.display().to_string(), cause.to_string()))?;
    let listed = &manifest.integrity.files;
    for file in &found {
        let Some(listed) = listed.iter().find(|listed| listed.name == file.name) else {
            return Err(Wrong::with(MANIFEST, format!("it does not name {}", file.name)));
        };
        if listed.bytes != file.bytes || listed.sha256 != file.sha256 {
            let why = format!(
                "it has {} bytes and the digest {}, where the manifest has {} and {}: it was changed, or is another run's",
                file.bytes, file.sha256, listed.bytes, listed.sha256
            );
            return Err(Wrong::with(&file.name, why));
        }
    }
    if listed != &found {
        return Err(Wrong::with(MANIFEST, "it names files that no bundle has"));
    }
    match read(dir, SUMS)? == sums(&found, digest).into_bytes() {
        true => Ok(()),
        false => Err(Wrong::with(SUMS, "it does not have the digests of these files")),
    }
}

fn check_plan(dir: &Path, manifest: &Manifest) -> Result<Plan, Wrong> {
    let plan: Plan =
        serde_json::from_slice(&read(dir, PLAN)?).map_err(|cause| Wrong::with(PLAN, cause.to_string()))?;
    if plan != manifest.plan {
        return Err(Wrong::with(PLAN, "it is not the plan that the manifest has"));
    }
    let scope = plan.targets().map_err(|cause| Wrong::with(PLAN, cause.to_string()))?;
    if scope.len() != plan.scope.declared || scope.hosts() != plan.scope.hosts {
        let why = format!("its networks and ports are {} targets, not {}", scope.len(), plan.scope.declared);
        return Err(Wrong::with(PLAN, why));
    }
    if Digest::of(manifest.integrity.key.as_bytes()) != plan.key_commitment {
        return Err(Wrong::with(MANIFEST, "its key is not the one that was promised before the run"));
    }
    Ok(plan)
}

fn check_journal(dir: &Path, manifest: &Manifest, plan: &Plan) -> Result<(), Wrong> {
    let wrong = |why: &str| Err(Wrong::with(JOURNAL, why));
    let text = read(dir, JOURNAL)?;
    let (entries, head) =
        journal::parse(Path::new(JOURNAL), &text).map_err(|cause| Wrong::with(JOURNAL, cause.to_string()))?;
    let plan_digest = Digest::of(&read(dir, PLAN)?);
    match entries.first().map(|entry| &entry.what) {
        Some(What::Begun { plan: begun, .. }) if *begun == plan_digest => {}
        Some(What::Begun { .. }) => return wrong("it is the journal of another plan"),
        _ => return wrong("it does not begin at the beginning"),
    }
    let ledger = match entries.last().map(|entry| &entry.what) {
        Some(What::Concluded { ledger }) => *ledger,
        _ => return wrong("it does not end with the end of the run"),
    };
    if head != manifest.integrity.journal_head {
        return wrong("its last line is not the one that the manifest names");
    }
    if journal::tiles_done(&entries) != manifest.completeness.tiles {
        return wrong("its tiles are not those of the manifest");
    }
    let tiles = &manifest.completeness.tiles;
    let mut sum = crate::sweep::ledger::Ledger::default();
    tiles.iter().for_each(|tile: &TileDone| sum.add(&tile.ledger));
    if sum != ledger || sum != manifest.completeness.ledger || sum.declared != plan.scope.declared {
        return wrong("the books of its tiles do not add up to those of the run");
    }
    sum.check().map_err(|cause| Wrong::with(JOURNAL, cause.to_string()))
}

fn count_again(dir: &Path, manifest: &Manifest, plan: &Plan) -> Result<Recount, Wrong> {
    let file = File::open(dir.join(OBSERVATIONS));
    let file = file.map_err(|cause| Wrong::with(OBSERVATIONS, format!("it cannot be read: {cause}")))?;
    let recount = Recount::of(plan, &manifest.completeness.tiles, BufReader::new(file))
        .map_err(|cause| Wrong::with(OBSERVATIONS, cause.to_string()))?;
    let integrity = &manifest.integrity;
    if recount.tree.root() != integrity.merkle_root || recount.tree.leaves() != integrity.lines {
        let why = format!(
            "the tree over its {} lines has the root {}, and not the one of the manifest",
            recount.tree.leaves(),
            recount.tree.root()
        );
        return Err(Wrong::with(OBSERVATIONS, why));
    }
    if recount.unknown_reasons != manifest.completeness.unknown_reasons {
        return Err(Wrong::with(
            MANIFEST,
            "its reasons for what is unknown are not those of the observations",
        ));
    }
    Ok(recount)
}

/// Judges again, by the allowlist as it was used.
fn check_findings(dir: &Path, manifest: &Manifest, recount: &Recount) -> Result<(), Wrong> {
    let wrong = |why: &str| Err(Wrong::with(MANIFEST, why));
    let text = read(dir, ALLOWLIST)?;
    let text = String::from_utf8(text).map_err(|cause| Wrong::with(ALLOWLIST, cause.to_string()))?;
    let allowances = parse_allowlist(&Source::new(ALLOWLIST, text))
        .map_err(|cause| Wrong::with(ALLOWLIST, cause.to_string()))?;
    let allowlist = Allowlist::new(allowances);
    let scope = manifest.plan.targets().map_err(|cause| Wrong::with(PLAN, cause.to_string()))?;
    let now = manifest.time.completed;
    let complete = recount.ledger.unknown == 0;
    let known = recount.verifications.clone();
    let findings = evaluate(&recount.opens, &allowlist, known, &scope, complete, now);
    let is_same = |told: &Finding, found: &Finding| {
        told.fingerprint == found.fingerprint
            && told.kind == found.kind
            && told.severity == found.severity
            && told.verified == found.verified
            && told.ip == found.ip
            && told.port == found.port
    };
    let found: Vec<Finding> = findings.iter().collect();
    if found.len() != manifest.findings.len()
        || !found.iter().zip(&manifest.findings).all(|(found, told)| is_same(told, found))
    {
        return wrong("its findings are not those that the observations and the allowlist make");
    }
    let exceptions = exceptions(&allowlist, &recount.opens, &scope, now);
    if exceptions != manifest.exceptions {
        return wrong("its exceptions are not those of the allowlist");
    }
    let unresolved = &manifest.plan.scope.unresolved;
    let reasons = &recount.unknown_reasons;
    let conclusion = judge(&recount.ledger, reasons, unresolved, &manifest.findings, &exceptions);
    if conclusion != manifest.conclusion {
        return wrong("its verdict is not the one that follows from what was found");
    }
    let without = scope.hosts().saturating_sub(recount.hosts_with_open_ports.len() as u64);
    if without != manifest.completeness.hosts_without_open_ports {
        return wrong("its hosts without open ports are not as many as in the observations");
    }
    Ok(())
}

/// Whether this is the run that came after the other one.
fn check_previous(previous: &Path, manifest: &Manifest, recount: &Recount) -> Result<(), Wrong> {
    let wrong = |why: String| Err(Wrong::with(MANIFEST, why));
    let (older, reference) = read_manifest(previous)
        .map_err(|cause| Wrong::with(&previous.join(&cause.file).display().to_string(), cause.why))?;
    match &manifest.plan.previous {
        None => return wrong("it names no run before it".to_owned()),
        Some(named) if *named != reference => {
            return wrong(format!(
                "the run before it is {} (manifest {}), and not {} (manifest {})",
                named.run, named.manifest, reference.run, reference.manifest
            ));
        }
        Some(_) => {}
    }
    let scope = manifest.plan.targets().map_err(|cause| Wrong::with(PLAN, cause.to_string()))?;
    let comparison = compare(reference, &older.findings, &manifest.findings, &scope, recount);
    if manifest.comparison.as_ref() != Some(&comparison) {
        return wrong("its comparison with the run before is not the one that the two make".to_owned());
    }
    Ok(())
}
