//! The directory that a run works in, and that becomes its bundle: who may work there, and what was done there before.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::ControlError;
use super::keys::RunKey;
use crate::evidence::bundle::{JOURNAL, MANIFEST, PLAN, WORK, sync_dir, write};
use crate::evidence::digest::Digest;
use crate::evidence::journal::{Entry, Journal};
use crate::evidence::plan::Plan;

const LOCK: &str = "lock";
const KEY: &str = "key";

/// A directory that nobody else works in, as long as this lives.
#[derive(Debug)]
pub struct Workplace {
    dir: PathBuf,
    _lock: File,
}

/// What was found in a directory.
#[derive(Debug)]
pub enum Found {
    /// Nothing: a run may begin here.
    Nothing,
    /// A run that is not over.
    Unfinished(Box<Unfinished>),
}

/// A run that is not over.
#[derive(Debug)]
pub struct Unfinished {
    /// What was decided.
    pub plan: Plan,
    /// Its secret.
    pub key: RunKey,
}

impl Workplace {
    /// Takes a directory, which is made if it is not there, and says what is in it.
    ///
    /// # Errors
    /// When somebody works there, when it holds a bundle or somebody's files, or when it cannot be read or written.
    pub fn enter(dir: &Path) -> Result<(Self, Found), ControlError> {
        let manifest = dir.join(MANIFEST);
        let work = dir.join(WORK);
        if manifest.exists() && !work.exists() {
            return Err(ControlError::Finished { dir: dir.to_owned() });
        }
        refuse_others(dir)?;
        refuse_others(&work)?;
        if !work.exists() {
            refuse_strangers(dir)?;
        }
        let mut builder = DirBuilder::new();
        // The secret lies in here until the run is over.
        fs::create_dir_all(dir).map_err(|cause| failed("make", dir, cause))?;
        builder.recursive(true).mode(0o700);
        builder.create(&work).map_err(|cause| failed("make", &work, cause))?;
        let lock = work.join(LOCK);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&lock);
        let file = file.map_err(|cause| failed("open", &lock, cause))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ControlError::Locked { dir: dir.to_owned() }),
            Err(TryLockError::Error(cause)) => return Err(failed("lock", &lock, cause)),
        }
        let workplace = Workplace { dir: dir.to_owned(), _lock: file };
        if manifest.exists() {
            // The bundle was whole when somebody stopped whoever was tidying up.
            workplace.leave()?;
            return Err(ControlError::Finished { dir: dir.to_owned() });
        }
        let found = workplace.look()?;
        Ok((workplace, found))
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The journal, and what is in it.
    ///
    /// # Errors
    /// When it is not as it was written.
    pub fn journal(&self) -> Result<(Journal, Vec<Entry>), ControlError> {
        let opened = Journal::open(&self.dir.join(JOURNAL))?;
        // If it is new, its name has to be on the disk too.
        sync_dir(&self.dir).map_err(|cause| failed("write", &self.dir, cause))?;
        Ok(opened)
    }

    /// Begins a run: its secret first, then what was decided.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(&self, plan: &Plan, key: &RunKey) -> Result<(), ControlError> {
        let path = self.dir.join(WORK).join(KEY);
        let keep = || {
            match fs::remove_file(&path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            writeln!(file, "{}", key.reveal())?;
            file.sync_all()?;
            sync_dir(&self.dir.join(WORK))
        };
        keep().map_err(|cause| failed("write", &path, cause))?;
        self.write(
            PLAN,
            &serde_json::to_vec_pretty(plan).map_err(|cause| self.unwritable(PLAN, cause.into()))?,
        )
    }

    /// Writes a file of the bundle, as a whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ControlError> {
        write(&self.dir, name, |file| file.write_all(bytes)).map_err(|cause| self.unwritable(name, cause))
    }

    /// Removes a file of the bundle, if it is there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), ControlError> {
        let path = self.dir.join(name);
        match fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path, cause)),
            _ => Ok(()),
        }
    }

    /// The digest of a file of the bundle.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn digest(&self, name: &str) -> Result<Digest, ControlError> {
        let path = self.dir.join(name);
        Digest::of_file(&path).map(|(digest, _)| digest).map_err(|cause| failed("read", &path, cause))
    }

    /// That a file could not be written.
    pub fn unwritable(&self, name: &str, cause: io::Error) -> ControlError {
        failed("write", &self.dir.join(name), cause)
    }

    /// Where the lines of a tile lie until the run is over.
    pub fn tile(&self, tile: u64) -> PathBuf {
        self.dir.join(WORK).join(tile_name(tile))
    }

    /// Keeps the lines of a tile, compressed.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep_tile(&self, tile: u64, bytes: &[u8]) -> Result<(), ControlError> {
        let work = self.dir.join(WORK);
        let kept = write(&work, &tile_name(tile), |file| file.write_all(bytes));
        kept.map_err(|cause| failed("write", &self.tile(tile), cause))
    }

    /// Ends the run: nothing is left but the bundle.
    ///
    /// # Errors
    /// When the files that it worked with cannot be removed.
    pub fn leave(self) -> Result<(), ControlError> {
        let work = self.dir.join(WORK);
        let removed = fs::remove_dir_all(&work).and_then(|()| sync_dir(&self.dir));
        removed.map_err(|cause| failed("remove", &work, cause))
    }

    fn look(&self) -> Result<Found, ControlError> {
        let path = self.dir.join(PLAN);
        if !path.exists() {
            return Ok(Found::Nothing);
        }
        let read = |path: &Path| fs::read(path).map_err(|cause| failed("read", path, cause));
        let damaged = |path: &Path, why: &dyn std::fmt::Display| {
            failed("read", path, io::Error::new(io::ErrorKind::InvalidData, why.to_string()))
        };
        let plan: Plan = serde_json::from_slice(&read(&path)?).map_err(|cause| damaged(&path, &cause))?;
        let path = self.dir.join(WORK).join(KEY);
        let key = String::from_utf8(read(&path)?).ok().and_then(|text| RunKey::parse(&text));
        let key = key.filter(|key| key.commitment() == plan.key_commitment);
        let key = key.ok_or_else(|| damaged(&path, &"it is not the secret that the plan promises"))?;
        Ok(Found::Unfinished(Box::new(Unfinished { plan, key })))
    }
}

/// A directory that others own or may write to, if it is there at all.
fn refuse_others(path: &Path) -> Result<(), ControlError> {
    let refuse = |why| Err(ControlError::NotOurs { path: path.to_owned(), why });
    match fs::symlink_metadata(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(failed("read", path, cause)),
        Ok(found) if !found.is_dir() => refuse("is no directory"),
        Ok(found) if found.uid() != rustix::process::geteuid().as_raw() => refuse("belongs to somebody else"),
        Ok(found) if found.mode() & 0o022 != 0 => refuse("can be written to by others"),
        Ok(_) => Ok(()),
    }
}

/// A directory in which somebody else's files lie is no place for a bundle.
fn refuse_strangers(dir: &Path) -> Result<(), ControlError> {
    let listed = match fs::read_dir(dir) {
        Ok(mut listed) => listed.next().transpose(),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause),
    };
    match listed.map_err(|cause| failed("read", dir, cause))? {
        None => Ok(()),
        Some(entry) => Err(ControlError::Foreign { dir: dir.to_owned(), name: entry.file_name().into() }),
    }
}

fn tile_name(tile: u64) -> String {
    format!("tile-{tile:08}.jsonl.zst")
}

pub(super) fn failed(doing: &'static str, path: &Path, cause: io::Error) -> ControlError {
    ControlError::Io { doing, path: path.to_owned(), cause }
}
