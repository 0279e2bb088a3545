//! What a bundle of evidence consists of: a directory with these files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::digest::Digest;
use super::manifest::FileDigest;

/// The manifest, on which all others hang.
pub const MANIFEST: &str = "manifest.json";
/// The signature over it.
pub const SIGNATURE: &str = "manifest.json.sig";
/// The digests of all files but the signature, as `sha256sum -c` reads them.
pub const SUMS: &str = "SHA256SUMS";
/// What was decided before the first probe.
pub const PLAN: &str = "plan.json";
/// What happened.
pub const JOURNAL: &str = "journal.jsonl";
/// What was seen: lines, compressed, a frame for each tile.
pub const OBSERVATIONS: &str = "observations.jsonl.zst";
/// What may be open, as it was used.
pub const ALLOWLIST: &str = "allowlist.toml";
/// What was found open, for spreadsheets.
pub const LIST: &str = "open.csv";
/// What was seen, as nmap would tell it.
pub const NMAP: &str = "scan.xml";
/// What people read.
pub const REPORT: &str = "report.html";
/// Signatures of reviewers, which come afterwards.
pub const SIGN_OFFS: &str = "signoff";
/// What a run needs while it is not over.
pub const WORK: &str = "work";

/// The files whose digests stand in the manifest.
pub const CONTENTS: [&str; 7] = [ALLOWLIST, JOURNAL, OBSERVATIONS, LIST, PLAN, REPORT, NMAP];

/// The digests of the contents, sorted by name.
///
/// # Errors
/// With the file that cannot be read.
pub fn digests(dir: &Path) -> Result<Vec<FileDigest>, (PathBuf, io::Error)> {
    let mut names = CONTENTS.to_vec();
    names.sort_unstable();
    names
        .into_iter()
        .map(|name| {
            let path = dir.join(name);
            let (sha256, bytes) = Digest::of_file(&path).map_err(|cause| (path, cause))?;
            Ok(FileDigest { name: name.to_owned(), bytes, sha256 })
        })
        .collect()
}

/// The text of [`SUMS`] for these contents and this manifest.
pub fn sums(contents: &[FileDigest], manifest: &Digest) -> String {
    let line = |name: &str, digest: &Digest| format!("{digest}  {name}\n");
    let contents = contents.iter().map(|file| line(&file.name, &file.sha256));
    contents.chain([line(MANIFEST, manifest)]).collect()
}

/// Writes a file as a whole or not at all: whoever looks sees the old one or the new one, and after a power cut too.
///
/// # Errors
/// When it cannot be written.
pub fn write(dir: &Path, name: &str, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let temporary = dir.join(format!(".{name}.new"));
    let written = write_new(&temporary, fill).and_then(|()| fs::rename(&temporary, dir.join(name)));
    if written.is_err() {
        // Nobody needs half a file; if it cannot be removed either, the next attempt does it.
        let _ = fs::remove_file(&temporary);
    }
    written.and_then(|()| sync_dir(dir))
}

/// A file that nobody else has made, nor led elsewhere.
fn write_new(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    fill(&mut file)?;
    file.flush()?;
    file.sync_all()
}

/// Has the names in a directory on the disk.
///
/// # Errors
/// When the system cannot.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
