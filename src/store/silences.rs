//! Who is not to be disturbed.

use jiff::Timestamp;
use rusqlite::{Row, params};

use super::codec::{Sql, from_json, time, to_json};
use super::error::StoreError;
use super::{Reader, Transaction};
use crate::alert::silence::Silence;

impl Reader {
    /// The silences that are not over: those that hold, and those that will.
    ///
    /// # Errors
    /// When the database fails.
    pub fn silences(&self, now: Timestamp) -> Result<Vec<Silence>, StoreError> {
        self.run("read the silences", |sql| {
            let mut statement = sql.prepare_cached(
                "SELECT id, matcher, starts, until, reason, who FROM silences WHERE until > ?1 ORDER BY id",
            )?;
            statement.query_and_then([now.as_millisecond()], silence)?.collect()
        })
    }
}

impl Reader {
    /// Every silence that is still known, whether it is over or not, and who ended it before its time.
    ///
    /// # Errors
    /// When the database fails.
    pub fn all_silences(&self) -> Result<Vec<(Silence, Option<String>)>, StoreError> {
        self.run("read the silences", |sql| {
            let mut statement = sql.prepare_cached(
                "SELECT id, matcher, starts, until, reason, who, ended_by FROM silences ORDER BY id",
            )?;
            statement.query_and_then([], |row| Ok((silence(row)?, row.get(6)?)))?.collect()
        })
    }
}

impl Transaction<'_> {
    /// Keeps a silence, and gives its number; the one that it comes with is not looked at.
    ///
    /// # Errors
    /// When the database fails.
    pub fn add_silence(&self, silence: &Silence) -> Result<i64, StoreError> {
        self.run("add a silence", |sql| {
            let mut statement = sql.prepare_cached(
                "INSERT INTO silences (matcher, starts, until, reason, who) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            let (from, until) = (silence.from.as_millisecond(), silence.until.as_millisecond());
            let values = params![to_json(&silence.matcher)?, from, until, silence.reason, silence.who];
            statement.insert(values)
        })
    }

    /// Ends a silence now. Says whether there was anything to end.
    ///
    /// # Errors
    /// When the database fails.
    pub fn end_silence(&self, id: i64, who: &str, now: Timestamp) -> Result<bool, StoreError> {
        self.run("end a silence", |sql| {
            let mut statement = sql.prepare_cached(
                "UPDATE silences SET until = ?3, ended_by = ?2 WHERE id = ?1 AND until > ?3",
            )?;
            Ok(statement.execute(params![id, who, now.as_millisecond()])? > 0)
        })
    }
}

fn silence(row: &Row<'_>) -> Sql<Silence> {
    Ok(Silence {
        id: row.get(0)?,
        matcher: from_json(row, 1)?,
        from: time(row, 2)?,
        until: time(row, 3)?,
        reason: row.get(4)?,
        who: row.get(5)?,
    })
}
