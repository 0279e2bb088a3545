//! What a bundle claims, worked out again from what it holds: its statements, its comparisons, and the files that were
//! made of the observations.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::bundle::{ALLOWLIST, LIST, MANIFEST, NMAP, OBSERVATIONS, PLAN};
use super::compare::compare;
use super::digest::{Digest, Hasher};
use super::exceptions::without_lines;
use super::journal::{Entry, last_version};
use super::list;
use super::manifest::Manifest;
use super::recount::Recount;
use super::statement::{Grounds, statement};
use super::surveyed::survey;
use super::verify::{Against, Wrong, read, read_manifest};
use crate::config::diagnostic::Source;
use crate::config::file::parse_allowlist;
use crate::sink::nmap;

/// Works out again what the run states, by the allowlist as it was used.
///
/// # Errors
/// With the part of the manifest that does not follow.
pub fn check_statement(
    dir: &Path,
    manifest: &Manifest,
    entries: &[Entry],
    recount: &Recount,
) -> Result<(), Wrong> {
    let text = read(dir, ALLOWLIST)?;
    let text = String::from_utf8(text).map_err(|cause| Wrong::with(ALLOWLIST, cause.to_string()))?;
    let allowances = parse_allowlist(&Source::new(ALLOWLIST, text))
        .map_err(|cause| Wrong::with(ALLOWLIST, cause.to_string()))?;
    let allowlist = without_lines(&allowances);
    let scope = manifest.plan.targets().map_err(|cause| Wrong::with(PLAN, cause.to_string()))?;
    let grounds = Grounds { plan: &manifest.plan, scope: &scope, entries, recount, allowlist: &allowlist };
    let again = Manifest {
        comparison: manifest.comparison.clone(),
        rescan: manifest.rescan.clone(),
        ..statement(&grounds, manifest.integrity.clone())
    };
    let value = |manifest: &Manifest| serde_json::to_value(manifest).unwrap_or_default();
    let (told, again) = (value(manifest), value(&again));
    let mut parts = told.as_object().into_iter().flatten();
    match parts.find(|(name, part)| again.get(name.as_str()) != Some(part)) {
        Some((name, _)) => {
            let why = "does not follow from the plan, the journal, the observations and the allowlist";
            Err(Wrong::with(MANIFEST, format!("its `{name}` {why}")))
        }
        None => Ok(()),
    }
}

/// Comparisons are with the runs that the plan names; and with the other bundle at hand, they say what the two make.
///
/// # Errors
/// With what they say instead.
pub fn check_comparisons(manifest: &Manifest, against: &Against, recount: &Recount) -> Result<(), Wrong> {
    let wrong = |why: String| Err(Wrong::with(MANIFEST, why));
    let pairs =
        [(&manifest.comparison, &manifest.plan.previous), (&manifest.rescan, &manifest.plan.rescan_of)];
    let with_another = pairs
        .iter()
        .any(|(comparison, named)| comparison.as_ref().map(|comparison| &comparison.with) != named.as_ref());
    if with_another {
        return wrong("it is compared with another run than the plan names".to_owned());
    }
    let Some(earlier) = &against.previous else { return Ok(()) };
    let (older, reference) = read_manifest(earlier)
        .map_err(|cause| Wrong::with(&earlier.join(&cause.file).display().to_string(), cause.why))?;
    let Some((comparison, _)) = pairs.into_iter().find(|(_, named)| named.as_ref() == Some(&reference))
    else {
        let named = manifest.plan.previous.as_ref();
        let named = named.map_or("none".to_owned(), |run| format!("{} (manifest {})", run.run, run.manifest));
        let found = format!("{} (manifest {})", reference.run, reference.manifest);
        return wrong(format!("the run before it is {named}, and not {found}"));
    };
    let scope = manifest.plan.targets().map_err(|cause| Wrong::with(PLAN, cause.to_string()))?;
    let again = compare(reference, &older.findings, &manifest.findings, &scope, recount);
    if comparison.as_ref() != Some(&again) {
        return wrong("its comparison with that run is not the one that the two make".to_owned());
    }
    Ok(())
}

/// The files that were made of the observations are made again, if it was this version of the program that made them:
/// another may write the same otherwise.
///
/// # Errors
/// With the file that says something else.
pub fn check_derived(
    dir: &Path,
    manifest: &Manifest,
    entries: &[Entry],
    recount: &Recount,
) -> Result<(), Wrong> {
    if last_version(entries) != Some(env!("CARGO_PKG_VERSION")) {
        return Ok(());
    }
    let listed =
        list::csv(recount, &manifest.findings).map_err(|cause| Wrong::with(LIST, cause.to_string()))?;
    if listed != read(dir, LIST)? {
        return Err(Wrong::with(LIST, "it does not list what the observations have"));
    }
    let unreadable = |cause: std::io::Error| Wrong::with(OBSERVATIONS, cause.to_string());
    let file = File::open(dir.join(OBSERVATIONS)).map_err(unreadable)?;
    let survey = survey(manifest, recount, BufReader::new(file))
        .map_err(|cause| Wrong::with(OBSERVATIONS, cause.to_string()))?;
    let mut again = Hasher::default();
    nmap::write(&mut again, &survey).map_err(|cause| Wrong::with(NMAP, cause.to_string()))?;
    let (found, _) =
        Digest::of_file(&dir.join(NMAP)).map_err(|cause| Wrong::with(NMAP, cause.to_string()))?;
    match again.finish() == found {
        true => Ok(()),
        false => Err(Wrong::with(NMAP, "it does not say what the observations have")),
    }
}
