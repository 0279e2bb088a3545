//! A few values by name: when each sweep was last due, and such.

use rusqlite::OptionalExtension;

use super::error::StoreError;
use super::{Reader, Transaction};

impl Reader {
    /// A number that is another as soon as somebody else has written into the database (`PRAGMA data_version`).
    ///
    /// # Errors
    /// When the database fails.
    pub fn foreign_writes(&self) -> Result<i64, StoreError> {
        self.run("look whether somebody else has written", |sql| {
            sql.query_row("PRAGMA data_version", [], |row| row.get(0))
        })
    }

    /// The value of this name.
    ///
    /// # Errors
    /// When the database fails.
    pub fn get(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.run("read a value", |sql| {
            let mut statement = sql.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
            statement.query_row([key], |row| row.get(0)).optional()
        })
    }
}

impl Transaction<'_> {
    /// Gives a name a value.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put(&self, key: &str, value: &str) -> Result<(), StoreError> {
        self.run("write a value", |sql| {
            let mut statement =
                sql.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?;
            statement.execute([key, value]).map(drop)
        })
    }

    /// Forgets a name.
    ///
    /// # Errors
    /// When the database fails.
    pub fn forget(&self, key: &str) -> Result<(), StoreError> {
        self.run("forget a value", |sql| {
            sql.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([key]).map(drop)
        })
    }
}
