//! Checks a bundle, offline, and names the first thing that is wrong with it.
//!
//! Nothing that the bundle says of itself is believed: digests, the tree, the books and the findings are worked out
//! again from what lies below them, down to the lines of the observations.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::bundle::{
    CONTENTS, JOURNAL, MANIFEST, OBSERVATIONS, PLAN, SIGN_OFFS, SIGNATURE, SUMS, WORK, digests, sums,
};
use super::claims::{check_comparisons, check_derived, check_statement};
use super::digest::Digest;
use super::journal::{self, Entry, TileDone, What};
use super::manifest::Manifest;
use super::plan::{Plan, RunReference, SCHEMA};
use super::recount::Recount;
use super::sign;
use super::sign_off::{Signed, read_sign_offs};
use crate::sweep::ledger::Ledger;

/// The largest manifest that is read: some hundred thousand findings.
const LARGEST: u64 = 256 << 20;

/// What a bundle is held against.
#[derive(Clone, Debug, Default)]
pub struct Against {
    /// Who may sign: principals and fingerprints. Without it, whoever has signed is only named.
    pub signers: Option<Vec<(String, String)>>,
    /// Who may sign off. Without it, anybody may, and is named.
    pub reviewers: Option<Vec<(String, String)>>,
    /// The bundle of the run before, or of the run whose findings this one is to show closed.
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
    pub sign_offs: Vec<Signed>,
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
    // What is not written as it was made has something in it that nobody reads: a key twice, or one that is not known.
    if serde_json::to_vec_pretty(&manifest).ok().as_ref() != Some(&bytes) {
        return Err(Wrong::with(MANIFEST, "it is not written as it was made"));
    }
    let principals = check_signature(dir, &manifest, &bytes, against)?;
    check_files(dir, &manifest, &digest)?;
    let plan = check_plan(dir, &manifest)?;
    let entries = check_journal(dir, &manifest, &plan)?;
    let recount = count_again(dir, &manifest, &plan)?;
    check_statement(dir, &manifest, &entries, &recount)?;
    check_comparisons(&manifest, against, &recount)?;
    check_derived(dir, &manifest, &entries, &recount)?;
    let sign_offs = read_sign_offs(dir, &manifest, &digest, against)?;
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
        let why = if names.contains(MANIFEST) {
            "the run is concluded, and what it worked with is still there; the command that began it removes it"
        } else {
            "this run is not concluded; the command that began it goes on with it"
        };
        return Err(Wrong::with(WORK, why));
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
    if plan.networks_as_written().is_some_and(|networks| networks != plan.scope.networks) {
        return Err(Wrong::with(PLAN, "its networks are not what was written, without what was left out"));
    }
    if Digest::of(manifest.integrity.key.as_bytes()) != plan.key_commitment {
        return Err(Wrong::with(MANIFEST, "its key is not the one that was promised before the run"));
    }
    Ok(plan)
}

fn check_journal(dir: &Path, manifest: &Manifest, plan: &Plan) -> Result<Vec<Entry>, Wrong> {
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
        Some(What::Concluded { ledger, .. }) => *ledger,
        _ => return wrong("it does not end with the end of the run"),
    };
    if head != manifest.integrity.journal_head {
        return wrong("its last line is not the one that the manifest names");
    }
    let done = journal::tiles_done(&entries);
    let unswept =
        |tile: &&TileDone| journal::times_swept(&entries, tile.tile) < u64::from(tile.attempts.max(1));
    if let Some(tile) = done.iter().find(unswept) {
        return wrong(&format!("tile {} is done, and was not swept as often as that says", tile.tile));
    }
    let mut sum = Ledger::default();
    done.iter().for_each(|tile| sum.add(&tile.ledger));
    if sum != ledger || sum.declared != plan.scope.declared {
        return wrong("the books of its tiles do not add up to those of the run");
    }
    sum.check().map_err(|cause| Wrong::with(JOURNAL, cause.to_string()))?;
    Ok(entries)
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
    Ok(recount)
}
