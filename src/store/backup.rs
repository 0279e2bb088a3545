//! A copy of a database, whole and checked, while others write to it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::Store;
use super::error::StoreError;
use super::open::{absolute, shown};

/// Copies the database at `path` as it is at one moment into the new file `to`, for nobody else to read. The file has
/// its name when it is whole, checked and on disk, and not before.
///
/// # Errors
/// When `to` exists, when the database cannot be read or is damaged, or when the copy cannot be written.
pub fn backup(path: &Path, to: &Path) -> Result<(), StoreError> {
    let to = absolute(to)?;
    if to.symlink_metadata().is_ok() {
        return Err(StoreError::Exists { file: shown(&to) });
    }
    let reader = Store::open_reader(path)?;
    let partial = beside(&to, &format!(".{}.partial", std::process::id()));
    let written = copy(&reader.opened.connection, &partial).and_then(|()| {
        name(&partial, &to).map_err(|error| StoreError::of_file("write the backup", &shown(&to), &error))
    });
    for leftover in ["", "-wal", "-shm", "-journal"] {
        let _ = fs::remove_file(beside(&partial, leftover));
    }
    written
}

/// Copies a database into a new file, and checks the copy.
fn copy(from: &Connection, partial: &Path) -> Result<(), StoreError> {
    let file = shown(partial);
    let failed = |error: io::Error| StoreError::of_file("write the backup", &file, &error);
    // Nobody else writes to a file of this name; one that was left behind is of no use.
    match fs::remove_file(partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(partial).map_err(failed)?;
    let sql = |error: rusqlite::Error| StoreError::of("write the backup", &file, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(partial, flags).map_err(sql)?;
    // In one step, so that nobody's writing makes it begin anew; with a log, a reader keeps nobody from writing.
    match Backup::new(from, &mut copy).and_then(|backup| backup.step(-1)).map_err(sql)? {
        StepResult::Done => {}
        _ => return Err(StoreError::Busy { tried: "read it for a backup", file }),
    }
    // One file, which can be read wherever it lies.
    copy.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(())).map_err(sql)?;
    let said: String = copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(sql)?;
    if said != "ok" {
        return Err(StoreError::Corrupt { tried: "back it up", file, what: said });
    }
    copy.close().map_err(|(_, error)| sql(error))?;
    File::open(partial).and_then(|file| file.sync_all()).map_err(failed)
}

/// Gives the copy its name, and never the name of a file that is there.
fn name(partial: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(partial, to) {
        // Some file systems have no links.
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            if to.symlink_metadata().is_ok() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            fs::rename(partial, to)?;
        }
        linked => linked?,
    }
    File::open(to.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut beside = OsString::from(path);
    beside.push(suffix);
    beside.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody else may have made it while the copy was written.
    #[test]
    fn a_copy_never_takes_the_name_of_a_file_that_is_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let [partial, to] = ["partial", "to"].map(|name| directory.path().join(name));
        fs::write(&partial, "new").expect("a file");
        fs::write(&to, "old").expect("a file");
        assert_eq!(name(&partial, &to).expect_err("it is there").kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&to).expect("a file"), "old");
    }
}
