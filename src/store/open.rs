//! Opening a database: whose it is and which schema it has is found out before anything is touched.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::codec::Sql;
use super::error::StoreError;
use super::schema::{self, APPLICATION_ID, KNOWN};
use crate::target::foreign::harmless;

/// How long to wait for another process that is writing.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long between two attempts, where SQLite does not wait by itself.
const NAP: Duration = Duration::from_millis(10);
/// Pages of the write-ahead log after which it is copied into the database: 4 MiB.
const LOG_PAGES: u32 = 1000;
/// Bytes that the log keeps on disk once it has been copied.
const LOG_BYTES: u32 = 4 << 20;
/// Kibibytes of pages in memory.
const CACHE_KIB: i64 = 4096;
/// Statements that are kept prepared; there are fewer.
const STATEMENTS: usize = 100;
/// The first SQLite without the race of two processes that begin the write-ahead log anew, by which a database is
/// damaged (https://sqlite.org/wal.html, "The WAL-Reset Bug").
const LEAST_SQLITE: i32 = 3_051_003;

/// An open database.
#[derive(Debug)]
pub(super) struct Opened {
    // Closed first; only then may anybody look at the file.
    pub connection: Connection,
    pub file: String,
    path: PathBuf,
    registered: Registered,
}

impl Opened {
    /// Whether the file that is open is still the one at its path. Where nobody can tell, it is.
    pub fn is_in_place(&self) -> bool {
        match std::fs::metadata(&self.path) {
            Ok(metadata) => inode(&metadata) == self.registered.0,
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        }
    }
}

/// Opens a database in order to write, and makes it if there is none.
pub(super) fn for_writing(path: &Path) -> Result<Opened, StoreError> {
    let (path, file) = (absolute(path)?, shown(path));
    check_library(rusqlite::version_number(), rusqlite::version())?;
    make(&path, &file)?;
    let (connection, registered) = look_and_open(&path, &file, Mode::Write)?;
    let failed = |error: rusqlite::Error| StoreError::of("open it", &file, &error);
    let is_new = identify(&connection, &file)? == Whose::Nobodys;
    // SQLite takes what it gets; it would find out at the first transaction, and would never get more.
    if connection.is_readonly("main").map_err(failed)? {
        return Err(StoreError::ReadOnly { tried: "open it", file });
    }
    set_up(&connection, is_new).map_err(failed)?;
    let mode = begin_log(&connection).map_err(failed)?;
    if mode != "wal" {
        let what = "its file system cannot share memory, as write-ahead logging needs it; a local disk can";
        return Err(StoreError::Denied { tried: "open it", file, what: what.to_owned() });
    }
    schema::migrate(&connection, schema::STEPS)
        .map_err(|error| StoreError::of("bring its schema up to date", &file, &error))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(failed)?;
    Ok(Opened { connection, file, path, registered })
}

/// Opens a database in order to read.
pub(super) fn for_reading(path: &Path) -> Result<Opened, StoreError> {
    let (path, file) = (absolute(path)?, shown(path));
    check_library(rusqlite::version_number(), rusqlite::version())?;
    let open = |mode| {
        let (connection, registered) = look_and_open(&path, &file, mode)?;
        Ok((identify(&connection, &file)?, connection, registered))
    };
    let (whose, connection, registered) = match open(Mode::Read) {
        // A log can neither be found nor made in a directory that is read-only. Where there is none, nobody is writing,
        // and the database is whole without.
        Err(StoreError::Denied { .. } | StoreError::ReadOnly { .. }) if !has_log(&path) => {
            open(Mode::Frozen)?
        }
        opened => opened?,
    };
    let found = match whose {
        Whose::Ours(found) => found,
        Whose::Nobodys => 0,
    };
    if found < KNOWN {
        return Err(StoreError::Older { file, found, known: KNOWN });
    }
    let set_up = || -> Sql<()> {
        connection.busy_timeout(PATIENCE)?;
        harden(&connection)
    };
    set_up().map_err(|error| StoreError::of("open it", &file, &error))?;
    Ok(Opened { connection, file, path, registered })
}

/// A path as it may be shown.
pub(super) fn shown(path: &Path) -> String {
    harmless(&path.display().to_string()).into_owned()
}

/// A path that means a file, whatever it is called: SQLite knows names such as `:memory:`, and addresses.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    std::path::absolute(path).map_err(|error| StoreError::of_file("open it", &shown(path), &error))
}

/// A database as an address that says that nobody will ever write to it.
fn frozen(path: &Path) -> PathBuf {
    let mut address = OsString::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                address.push(OsStr::from_bytes(&[*byte]));
            }
            _ => address.push(format!("%{byte:02X}")),
        }
    }
    address.push("?immutable=1");
    address.into()
}

fn check_library(number: i32, name: &str) -> Result<(), StoreError> {
    if number < LEAST_SQLITE { Err(StoreError::Library { found: name.to_owned() }) } else { Ok(()) }
}

/// Makes the file, for nobody else to read: SQLite would make it for everybody, and gives the files beside it the
/// permissions that it has.
fn make(path: &Path, file: &str) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(StoreError::of_file("make it", file, &error))
        }
        _ => Ok(()),
    }
}

fn has_log(path: &Path) -> bool {
    let mut log = OsString::from(path);
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// What holds for every connection that writes. The mode of vacuuming can be chosen only before anything is written.
fn set_up(connection: &Connection, is_new: bool) -> Sql<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(PATIENCE)?;
    harden(connection)?;
    if is_new {
        connection.pragma_update(None, "auto_vacuum", "incremental")?;
    }
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", LOG_PAGES, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(()))?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)
}

/// Turns write-ahead logging on, and gives the mode that there is now. SQLite does not wait here for others that do the
/// same at that moment, so it is asked again.
fn begin_log(connection: &Connection) -> Sql<String> {
    let mut left = PATIENCE;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && !left.is_zero() => {
                std::thread::sleep(NAP);
                left = left.saturating_sub(NAP);
            }
            mode => return mode,
        }
    }
}

/// What a file of somebody else's making must not bring about.
fn harden(connection: &Connection) -> Sql<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "temp_store", "memory")
}

// --- whose it is -------------------------------------------------------------------------------------------------

/// Whose a database is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Whose {
    /// Ours, with this schema.
    Ours(i64),
    /// Nobody's yet: there is nothing in it.
    Nobodys,
}

/// The databases that this process has open, by device and inode, and how often.
///
/// A process that closes any descriptor of a file loses all its POSIX locks on it, SQLite's among them, and then
/// nothing but SQLite's second look keeps another process from taking the log away from under us
/// (https://sqlite.org/howtocorrupt.html, section 2.2). So a file is looked at past SQLite only while it is not open
/// here.
static OPEN: Mutex<BTreeMap<(u64, u64), usize>> = Mutex::new(BTreeMap::new());

#[derive(Debug)]
struct Registered((u64, u64));

impl Drop for Registered {
    fn drop(&mut self) {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = open.get_mut(&self.0) {
            *times -= 1;
            if *times == 0 {
                open.remove(&self.0);
            }
        }
    }
}

/// How a database is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    Write,
    Read,
    /// Without locks and without the log, because nobody can be writing.
    Frozen,
}

/// What names a file, whatever it is called.
fn inode(metadata: &std::fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Looks at a file, and opens it if it may be ours.
fn look_and_open(path: &Path, file: &str, mode: Mode) -> Result<(Connection, Registered), StoreError> {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(StoreError::Missing { file: file.to_owned() });
        }
        Err(error) => return Err(StoreError::of_file("open it", file, &error)),
    };
    if !metadata.is_file() {
        return Err(StoreError::Foreign { file: file.to_owned(), what: "is no file".to_owned() });
    }
    let inode = inode(&metadata);
    if !open.contains_key(&inode) {
        look(path, file)?;
    } else if mode == Mode::Frozen {
        return Err(StoreError::ReadOnly { tried: "open it", file: file.to_owned() });
    }
    let no_mutex = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = match mode {
        Mode::Write => Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | no_mutex),
        Mode::Read => Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | no_mutex),
        Mode::Frozen => {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | no_mutex;
            Connection::open_with_flags(frozen(path), flags)
        }
    };
    let connection = opened.map_err(|error| StoreError::of("open it", file, &error))?;
    *open.entry(inode).or_default() += 1;
    Ok((connection, Registered(inode)))
}

/// The first 100 bytes say whose it is, unless it is so young that they are only in its log
/// (https://sqlite.org/fileformat2.html, section 1.3).
fn look(path: &Path, file: &str) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| StoreError::of_file("open it", file, &error);
    let opened = File::open(path).map_err(failed)?;
    let length = opened.metadata().map_err(failed)?.len();
    let mut header = Vec::new();
    opened.take(100).read_to_end(&mut header).map_err(failed)?;
    if header.is_empty() {
        return Ok(());
    }
    let foreign = |what: &str| Err(StoreError::Foreign { file: file.to_owned(), what: what.to_owned() });
    if header.len() < 100 || !header.starts_with(b"SQLite format 3\0") {
        return foreign("is no SQLite database");
    }
    let number = |at: usize| i64::from(u32::from_be_bytes([0, 1, 2, 3].map(|byte| header[at + byte])));
    let (version, application) = (number(60), number(68));
    let page = u64::from(u16::from_be_bytes([header[16], header[17]]));
    match application {
        APPLICATION_ID if version > KNOWN => {
            Err(StoreError::Newer { file: file.to_owned(), found: version, known: KNOWN })
        }
        APPLICATION_ID => Ok(()),
        // One page holds no table.
        0 if version == 0 && length <= page => Ok(()),
        _ => foreign("is the database of another program"),
    }
}

/// Asks SQLite whose it is, which knows what is in the log. Until that is known to be us, nothing is written, and the
/// log not copied when the connection is closed.
fn identify(connection: &Connection, file: &str) -> Result<Whose, StoreError> {
    let ask = || -> Sql<(i64, i64, i64)> {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.query_row(
            "SELECT (SELECT application_id FROM pragma_application_id), \
                    (SELECT user_version FROM pragma_user_version), \
                    (SELECT count(*) FROM sqlite_schema)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
    };
    match ask().map_err(|error| StoreError::of("open it", file, &error))? {
        (APPLICATION_ID, version, _) if version > KNOWN => {
            Err(StoreError::Newer { file: file.to_owned(), found: version, known: KNOWN })
        }
        (APPLICATION_ID, version, _) => Ok(Whose::Ours(version)),
        (0, 0, 0) => Ok(Whose::Nobodys),
        _ => {
            let what = "is the database of another program".to_owned();
            Err(StoreError::Foreign { file: file.to_owned(), what })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sqlite_with_the_race_of_logs_is_refused() {
        for (number, is_good) in
            [(3_051_002, false), (3_051_003, true), (3_054_000, true), (3_050_007, false)]
        {
            assert_eq!(check_library(number, "3").is_ok(), is_good, "{number}");
        }
        check_library(rusqlite::version_number(), rusqlite::version()).expect("the one that is built in");
    }

    #[test]
    fn any_path_can_be_an_address() {
        assert_eq!(frozen(Path::new("/a b/50%?#.db")), Path::new("file:/a%20b/50%25%3F%23.db?immutable=1"));
    }

    #[test]
    fn a_log_begins_when_others_are_done_with_the_file() {
        for held in ["BEGIN; SELECT * FROM sqlite_schema", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"] {
            let directory = tempfile::tempdir().expect("a directory");
            let open = || Connection::open(directory.path().join("db")).expect("a database");
            let (first, second) = (open(), open());
            first.execute_batch("CREATE TABLE t (a)").expect("a table");
            first.execute_batch(held).expect(held);
            let waiting = std::thread::spawn(move || begin_log(&second));
            std::thread::sleep(Duration::from_millis(200));
            first.execute_batch("COMMIT").expect("committed");
            assert_eq!(waiting.join().expect("an end").expect("a mode"), "wal", "{held}");
        }
    }
}
