//! One daemon for one database. Several processes may write to it, one transaction each; only one may decide.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::error::StoreError;
use super::open;

/// The right to be the daemon of a database, until this is dropped or the process ends, in whatever way it does.
///
/// A `flock` on a file beside the database, not on the database itself: SQLite has its own locks there, and a process
/// that closes any descriptor of that file loses all of them. The file stays when the lock is given up, for whoever
/// deletes such a file may delete it under the next holder.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the database at this path, which need not exist yet.
    ///
    /// # Errors
    /// When another process has it, or when its file cannot be made.
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        let mut beside = OsString::from(path);
        beside.push(".lock");
        let shown = open::shown(Path::new(&beside));
        let failed = |error: &std::io::Error| StoreError::of_file("take the lock", &shown, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&beside).map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { file: open::shown(path), pid: written_in(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
        // Only for people. A full disk must not keep the daemon from starting.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Lock { _file: file })
    }
}

/// The process that holds the lock, as it has written there.
fn written_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
