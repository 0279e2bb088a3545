//! What can be wrong with a database, and what to do about it.

use rusqlite::ErrorCode;
use thiserror::Error;

/// Why something could not be read from a database or written into it. No value that was to be written is in any of
/// these.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No space left.
    #[error("{file}: cannot {tried}: the disk is full; free some space there, and it goes on by itself")]
    Full {
        /// What was tried.
        tried: &'static str,
        /// The database.
        file: String,
    },
    /// Nobody may write.
    #[error(
        "{file}: cannot {tried}: it is read-only; let this user write to the file and its directory, and it goes on by itself"
    )]
    ReadOnly {
        /// What was tried.
        tried: &'static str,
        /// The database.
        file: String,
    },
    /// The disk, or the system below it, has failed.
    #[error("{file}: cannot {tried}: {what}; look at the disk and at the messages of the kernel (dmesg)")]
    Io {
        /// What was tried.
        tried: &'static str,
        /// The database.
        file: String,
        /// What is said of it.
        what: String,
    },
    /// Somebody else has been writing for too long.
    #[error("{file}: cannot {tried}: another process has been writing to it for too long; try again")]
    Busy {
        /// What was tried.
        tried: &'static str,
        /// The database.
        file: String,
    },
    /// It is not as it was written.
    #[error(
        "{file}: cannot {tried}: the database is damaged ({what}); run `portreeve db check`, and restore the latest backup"
    )]
    Corrupt {
        /// What was tried.
        tried: &'static str,
        /// The database.
        file: String,
        /// What was noticed.
        what: String,
    },
    /// A later version of this program has been here.
    #[error(
        "{file} has schema {found}, and this version of portreeve knows none after {known}; nothing was touched: use the version that wrote it, or restore a backup from before"
    )]
    Newer {
        /// The database.
        file: String,
        /// The schema that it has.
        found: i64,
        /// The latest schema that is known.
        known: i64,
    },
    /// It has to be brought up to date, and this was to be a mere reading.
    #[error(
        "{file} has schema {found}, and schema {known} is needed; start `portreeve watch`, which brings it up to date"
    )]
    Older {
        /// The database.
        file: String,
        /// The schema that it has.
        found: i64,
        /// The schema that is needed.
        known: i64,
    },
    /// It is no database of ours.
    #[error("{file} {what}; nothing was touched: name another file")]
    Foreign {
        /// The file.
        file: String,
        /// What it is.
        what: String,
    },
    /// There is none.
    #[error("there is no database {file}; `portreeve watch` makes it when it first starts")]
    Missing {
        /// Where it should be.
        file: String,
    },
    /// It could not be opened or made.
    #[error("{file}: cannot {tried}: {what}; look at the path and at who may use it")]
    Denied {
        /// What was tried.
        tried: &'static str,
        /// The file.
        file: String,
        /// What the system says.
        what: String,
    },
    /// Another daemon has it.
    #[error("{file} belongs to a running portreeve{}; stop that one first", holder(*.pid))]
    Locked {
        /// The database.
        file: String,
        /// The process that holds it, where it says.
        pid: Option<u32>,
    },
    /// A backup would have overwritten something.
    #[error("{file} exists, and a backup overwrites nothing; name a new file")]
    Exists {
        /// The file.
        file: String,
    },
    /// The SQLite that this program was built with is not to be trusted.
    #[error(
        "this portreeve was built with SQLite {found}, which can damage a database when two processes use it; build it with 3.51.3 or later"
    )]
    Library {
        /// Its version.
        found: String,
    },
    /// Anything else: most likely our own fault.
    #[error("{file}: cannot {tried}: {what}; this may be a bug, please report it")]
    Other {
        /// What was tried.
        tried: &'static str,
        /// The database.
        file: String,
        /// What SQLite says.
        what: String,
    },
}

impl StoreError {
    /// What SQLite says, in our words.
    pub(super) fn of(tried: &'static str, file: &str, error: &rusqlite::Error) -> Self {
        let file = file.to_owned();
        let what = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full { tried, file },
            Some(ErrorCode::ReadOnly) => StoreError::ReadOnly { tried, file },
            Some(ErrorCode::SystemIoFailure) => {
                let code = error.sqlite_error().map_or(0, |error| error.extended_code);
                StoreError::Io { tried, file, what: format!("{what} (SQLite code {code})") }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { tried, file },
            Some(ErrorCode::DatabaseCorrupt) => StoreError::Corrupt { tried, file, what },
            Some(ErrorCode::NotADatabase) => {
                StoreError::Foreign { file, what: "is no SQLite database".to_owned() }
            }
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                StoreError::Denied { tried, file, what }
            }
            Some(_) => StoreError::Other { tried, file, what },
            None if is_unreadable(error) => StoreError::Corrupt { tried, file, what },
            None => StoreError::Other { tried, file, what },
        }
    }

    /// What the system says of a file.
    pub(super) fn of_file(tried: &'static str, file: &str, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let file = file.to_owned();
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full { tried, file },
            ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly { tried, file },
            ErrorKind::AlreadyExists => StoreError::Exists { file },
            ErrorKind::PermissionDenied | ErrorKind::NotFound | ErrorKind::NotADirectory => {
                StoreError::Denied { tried, file, what: error.to_string() }
            }
            _ => StoreError::Io { tried, file, what: error.to_string() },
        }
    }

    /// Whether it may go away by itself, so that whoever waits and tries again does right.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            StoreError::Full { .. }
                | StoreError::ReadOnly { .. }
                | StoreError::Io { .. }
                | StoreError::Busy { .. }
        )
    }
}

/// Whether a stored value was not what it should be.
fn is_unreadable(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn every_kind_of_trouble_has_its_name_and_its_remedy() {
        for (code, name, passes, remedy) in [
            (ffi::SQLITE_FULL, "Full", true, "free some space"),
            (ffi::SQLITE_READONLY, "ReadOnly", true, "let this user write"),
            (ffi::SQLITE_READONLY_DIRECTORY, "ReadOnly", true, "let this user write"),
            (ffi::SQLITE_IOERR_FSYNC, "Io", true, "look at the disk"),
            (ffi::SQLITE_BUSY, "Busy", true, "try again"),
            (ffi::SQLITE_BUSY_SNAPSHOT, "Busy", true, "try again"),
            (ffi::SQLITE_CORRUPT, "Corrupt", false, "`portreeve db check`, and restore the latest backup"),
            (ffi::SQLITE_CORRUPT_INDEX, "Corrupt", false, "`portreeve db check`"),
            (ffi::SQLITE_NOTADB, "Foreign", false, "name another file"),
            (ffi::SQLITE_CANTOPEN, "Denied", false, "look at the path"),
            (ffi::SQLITE_CONSTRAINT, "Other", false, "please report it"),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let error = StoreError::of("save an alert", "/x/db", &error);
            assert!(format!("{error:?}").starts_with(name), "{code}: {error:?}");
            assert_eq!(error.may_pass(), passes, "{error}");
            let says = error.to_string();
            assert!(says.starts_with("/x/db") && says.contains(remedy) && says.contains("; "), "{says}");
        }
    }
}
