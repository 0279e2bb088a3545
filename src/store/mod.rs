//! What is kept from one sweep to the next, in one SQLite database: the only SQL of this program.
//!
//! # What is in it
//! - `alerts`: each alert as it is now ([`alerts`]); `history`, `episodes`: every word that was ever said of one
//!   ([`history`]).
//! - `outbox`: messages that are still to be delivered, one row for each sink; `deliveries`: what became of the
//!   others; `sinks`: the books of both ([`outbox`], [`letters`]).
//! - `sweeps`: each sweep with its ledger ([`sweeps`]); `observations`: what was open from when until when
//!   ([`observations`]).
//! - `silences` ([`silences`]), and `meta`, a few values by name ([`meta`]).
//!
//! # What always holds
//! - **All or nothing.** Whatever is written is written by [`Store::write`] in one transaction, on disk when it
//!   returns. An alert that has changed, the word about it and its rows in the outbox are never apart.
//! - **Closed books.** `raised = delivered + pending + dead` for each sink, and still after retention: raised,
//!   delivered and dead are counted as it happens, pending is counted when somebody asks ([`outbox::SinkBooks`]).
//! - **No overtaking.** Messages with one key reach a sink in their order ([`outbox`]).
//! - **No surprise.** A database with a later schema, or of another program, is left as it is ([`open`]).
//! - **No secret.** Messages hold none ([`crate::sink::message`]), and nothing else is kept of a sink than its name.
//!
//! # Who may do what
//! One process is the daemon, by its [`lock::Lock`]. Others may read at any time ([`Reader`]), and may write an
//! acknowledgement or a silence: SQLite lets one transaction write at a time, and the others wait for up to five
//! seconds. A full or failing disk is an error of that one transaction ([`error::StoreError::may_pass`]); the same
//! [`Store`] works again as soon as the disk does.
//!
//! Nothing here reads a clock. Times are kept to the millisecond, as events have them.

pub mod alerts;
pub mod backup;
pub mod check;
mod codec;
pub mod error;
pub mod history;
pub mod letters;
pub mod lock;
pub mod meta;
pub mod observations;
mod open;
pub mod outbox;
pub mod retention;
mod schema;
pub mod silences;
pub mod sweeps;

use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction as Began, TransactionBehavior};

use codec::Sql;
use error::StoreError;
use open::Opened;

/// An open database, for reading.
#[derive(Debug)]
pub struct Reader {
    opened: Opened,
}

/// An open database, for reading and for writing.
#[derive(Debug)]
pub struct Store {
    reader: Reader,
}

/// What is written together. It sees what it has written; nobody else does before its end.
#[derive(Debug)]
pub struct Transaction<'s> {
    reader: &'s Reader,
}

impl Store {
    /// Opens the database at this path, makes it if there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// When it is not ours, is damaged, has a later schema, or when the disk does not do its part.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Store { reader: Reader { opened: open::for_writing(path)? } })
    }

    /// How long a transaction waits for one of somebody else before it fails; five seconds where nobody says.
    ///
    /// # Errors
    /// Not for any database that is open; SQLite could say otherwise.
    pub fn wait_at_most(&mut self, patience: Duration) -> Result<(), StoreError> {
        self.reader.run("set its patience", |connection| connection.busy_timeout(patience))
    }

    /// Opens the database at this path for reading: beside a daemon that writes to it, and in a directory where nothing
    /// may be written.
    ///
    /// # Errors
    /// When there is none, when it is not ours or damaged, or when its schema is not the one of this version.
    pub fn open_reader(path: &Path) -> Result<Reader, StoreError> {
        Ok(Reader { opened: open::for_reading(path)? })
    }

    /// Writes everything that `change` writes, or nothing of it when it gives an error. When this has returned without
    /// one, it is on disk.
    ///
    /// # Errors
    /// That of `change`, or when the transaction cannot be begun or committed.
    pub fn write<T, E: From<StoreError>>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let began = self.reader.run("begin a transaction", |connection| {
            // One is left over where even the way back has failed.
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK")?;
            }
            Began::new_unchecked(connection, TransactionBehavior::Immediate)
        })?;
        // Dropped on the way out, it takes everything back.
        let written = change(&Transaction { reader: &self.reader })?;
        self.reader.run("commit a transaction", |_| began.commit())?;
        Ok(written)
    }
}

impl Deref for Store {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl Deref for Transaction<'_> {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        self.reader
    }
}

impl Reader {
    /// Whether the file that is open is still the one at its path: what is written to one that has been removed is lost
    /// with the end of this process.
    pub fn is_in_place(&self) -> bool {
        self.opened.is_in_place()
    }

    /// Does something by SQL, and says what was tried and where when it fails.
    fn run<'c, T>(
        &'c self,
        tried: &'static str,
        sql: impl FnOnce(&'c Connection) -> Sql<T>,
    ) -> Result<T, StoreError> {
        sql(&self.opened.connection).map_err(|error| StoreError::of(tried, &self.opened.file, &error))
    }

    /// As [`Reader::run`], for several statements that must see the same: within a transaction they do, and otherwise
    /// they get one.
    fn look<T>(&self, tried: &'static str, sql: impl FnOnce(&Connection) -> Sql<T>) -> Result<T, StoreError> {
        self.run(tried, |connection| {
            let snapshot =
                connection.is_autocommit().then(|| connection.unchecked_transaction()).transpose()?;
            let seen = sql(connection);
            drop(snapshot);
            seen
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(&directory.path().join("db")).expect("a database");
        (directory, store)
    }

    fn pragma(store: &Store, name: &str) -> i64 {
        store.opened.connection.pragma_query_value(None, name, |row| row.get(0)).expect(name)
    }

    fn set(store: &Store, name: &str, value: i64) {
        let done = store.opened.connection.pragma_update_and_check(None, name, value, |_| Ok(()));
        if let Err(error) = done {
            assert_eq!(error, rusqlite::Error::QueryReturnedNoRows, "{name}");
        }
    }

    #[test]
    fn what_is_committed_is_on_disk_and_the_log_stays_small() {
        let (_directory, store) = store();
        for (name, value) in [
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("wal_autocheckpoint", 1000),
            ("journal_size_limit", 4 << 20),
            ("busy_timeout", 5000),
            ("trusted_schema", 0),
            ("temp_store", 2),
        ] {
            assert_eq!(pragma(&store, name), value, "{name}");
        }
    }

    /// Writes two values, or neither, and says what went wrong.
    fn write_both(store: &mut Store, round: usize) -> Result<(), StoreError> {
        store.write(|tx| {
            tx.put(&format!("first {round}"), &"x".repeat(3000))?;
            tx.put(&format!("second {round}"), &"x".repeat(3000))
        })
    }

    /// How many of them there are; always both of each.
    fn pairs(store: &Store) -> usize {
        let count = |name: &str| {
            (0..1000)
                .filter(|round| store.get(&format!("{name} {round}")).expect("a value").is_some())
                .count()
        };
        assert_eq!(count("first"), count("second"));
        count("first")
    }

    #[test]
    fn a_full_disk_takes_nothing_and_is_forgotten_when_there_is_room() {
        let (_directory, mut store) = store();
        set(&store, "max_page_count", pragma(&store, "page_count") + 20);
        let mut written = 0;
        let error = loop {
            match write_both(&mut store, written) {
                Ok(()) => written += 1,
                Err(error) => break error,
            }
            assert!(written < 20, "it is never full");
        };
        assert!(matches!(error, StoreError::Full { .. }) && error.may_pass(), "{error}");
        assert!(error.to_string().contains("free some space"), "{error}");
        assert!(written > 3 && pairs(&store) == written);
        for _ in 0..3 {
            assert!(matches!(write_both(&mut store, written), Err(StoreError::Full { .. })));
        }
        assert_eq!(pairs(&store), written, "and can be read all the time");
        set(&store, "max_page_count", 1 << 20);
        write_both(&mut store, written).expect("there is room");
        assert_eq!(pairs(&store), written + 1);
    }

    #[test]
    fn what_is_read_only_takes_nothing_until_it_no_longer_is() {
        let (_directory, mut store) = store();
        write_both(&mut store, 0).expect("written");
        set(&store, "query_only", 1);
        let error = write_both(&mut store, 1).expect_err("read-only");
        assert!(matches!(error, StoreError::ReadOnly { .. }) && error.may_pass(), "{error}");
        assert_eq!(pairs(&store), 1);
        set(&store, "query_only", 0);
        write_both(&mut store, 1).expect("written");
        assert_eq!(pairs(&store), 2);
    }
}
