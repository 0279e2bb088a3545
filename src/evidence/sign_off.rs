//! Sign-offs: that a person has read a bundle, and what they say of it. They come after the manifest, which therefore
//! does not know of them; each names the manifest's digest, and is signed by its own key.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::bundle::{SIGN_OFFS, sync_dir, write};
use super::digest::Digest;
use super::manifest::Manifest;
use super::plan::SCHEMA;
use super::sign::{self, Signer};
use super::verify::{Against, Wrong, read};
use crate::policy::finding::milliseconds;

/// The largest sign-off.
const MOST: usize = 10_000;

/// What a person says of a bundle.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SignOff {
    /// The version, [`SCHEMA`].
    pub schema: String,
    /// The run.
    pub run: Ulid,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// When.
    #[serde(serialize_with = "milliseconds")]
    pub time: Timestamp,
    /// Who.
    pub name: String,
    /// As what: reviewer, owner, auditor.
    pub role: String,
    /// Whether they accept it.
    pub decision: Decision,
    /// What they say.
    pub statement: String,
    /// The fingerprint of the key that signs this.
    pub signer: String,
}

/// Whether a bundle is accepted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It is.
    Accepted,
    /// It is not.
    Rejected,
}

/// Adds a sign-off to a bundle, and says by which name it stands there.
///
/// # Errors
/// When it cannot be signed or written.
pub fn add(dir: &Path, sign_off: &SignOff, signer: &Signer) -> Result<String, Wrong> {
    let failed =
        |cause: &dyn std::fmt::Display| Wrong::with(SIGN_OFFS, format!("cannot be written: {cause}"));
    let text = serde_json::to_vec_pretty(sign_off).map_err(|cause| failed(&cause))?;
    let signature = signer.sign(&text).map_err(|cause| failed(&cause))?;
    let place = dir.join(SIGN_OFFS);
    fs::create_dir_all(&place).and_then(|()| sync_dir(dir)).map_err(|cause| failed(&cause))?;
    let name = format!("{}.json", Ulid::generate());
    // The signature first: one without its file is nothing, and a file without its signature would be wrong.
    let fill = |bytes: Vec<u8>| move |file: &mut fs::File| std::io::Write::write_all(file, &bytes);
    write(&place, &format!("{name}.sig"), fill(signature.into_bytes())).map_err(|cause| failed(&cause))?;
    write(&place, &name, fill(text)).map_err(|cause| failed(&cause))?;
    Ok(format!("{SIGN_OFFS}/{name}"))
}

/// A sign-off, and what is known of whoever has signed it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signed {
    /// What it says.
    pub sign_off: SignOff,
    /// Whose key that is, by the file of reviewers or of signers; nothing where neither knows it.
    pub principals: Option<String>,
    /// Whether it is the key that the evidence itself is signed with.
    pub is_by_own_key: bool,
}

/// The sign-offs of a bundle, the oldest first.
///
/// # Errors
/// With the first that is not one over this manifest, or by none of the reviewers, where these are known.
pub fn read_sign_offs(
    dir: &Path,
    manifest: &Manifest,
    digest: &Digest,
    against: &Against,
) -> Result<Vec<Signed>, Wrong> {
    let place = dir.join(SIGN_OFFS);
    if !place.exists() {
        return Ok(Vec::new());
    }
    let listed = fs::read_dir(&place).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let listed = listed.map_err(|cause| Wrong::with(SIGN_OFFS, format!("it cannot be read: {cause}")))?;
    let names = listed.iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
    // What somebody was writing when they were stopped is no sign-off yet.
    let names = names.filter(|name| !(name.starts_with('.') && name.ends_with(".new")));
    let mut names: Vec<String> = names.map(|name| format!("{SIGN_OFFS}/{name}")).collect();
    names.sort_unstable();
    if names.len() > MOST {
        return Err(Wrong::with(SIGN_OFFS, format!("it holds more than {MOST} files")));
    }
    let mut sign_offs = Vec::new();
    for name in &names {
        match name.strip_suffix(".sig") {
            Some(of) if of.ends_with(".json") => {}
            None if name.ends_with(".json") => {
                sign_offs.push(read_one(dir, name, manifest, digest, against)?);
            }
            _ => return Err(Wrong::with(name, "it is no file of a bundle")),
        }
    }
    Ok(sign_offs)
}

fn read_one(
    dir: &Path,
    name: &str,
    manifest: &Manifest,
    digest: &Digest,
    against: &Against,
) -> Result<Signed, Wrong> {
    let bytes = read(dir, name)?;
    let signature = format!("{name}.sig");
    let by = sign::check(&bytes, &read(dir, &signature)?)
        .map_err(|cause| Wrong::with(&signature, format!("over {name}: {cause}")))?;
    let sign_off: SignOff =
        serde_json::from_slice(&bytes).map_err(|cause| Wrong::with(name, cause.to_string()))?;
    if sign_off.schema != SCHEMA || sign_off.manifest != *digest || sign_off.run != manifest.plan.run {
        return Err(Wrong::with(name, "it is about another manifest"));
    }
    if sign_off.signer != by {
        return Err(Wrong::with(name, format!("it was signed by {by}, and names {}", sign_off.signer)));
    }
    let find = |known: &Option<Vec<(String, String)>>| {
        let found = known.iter().flatten().find(|(_, fingerprint)| *fingerprint == by);
        found.map(|(principals, _)| principals.clone())
    };
    if against.reviewers.is_some() && find(&against.reviewers).is_none() {
        return Err(Wrong::with(name, format!("it was signed by {by}, who is not among the reviewers")));
    }
    let principals = find(&against.reviewers).or_else(|| find(&against.signers));
    let is_by_own_key = manifest.integrity.signer.as_ref() == Some(&by);
    Ok(Signed { sign_off, principals, is_by_own_key })
}
