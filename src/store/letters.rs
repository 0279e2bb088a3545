//! Dead letters: messages that were given up, and may be tried again when the sink has been mended.
//!
//! A dead letter can come back until a later message of its key has arrived. From then on it would tell the receiver
//! yesterday's news as today's, as that a port is open that has been closed since; so it stays dead. One that comes
//! back has its old place in the order.

use jiff::Timestamp;
use rusqlite::{Connection, params};
use ulid::Ulid;

use super::codec::{Sql, signed, time, ulid};
use super::error::StoreError;
use super::outbox::known;
use super::{Reader, Transaction};

/// A message that was given up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Letter {
    /// The name of the sink that it was for.
    pub sink: String,
    /// Its identifier.
    pub id: Ulid,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up.
    pub at: Timestamp,
    /// Why.
    pub why: String,
    /// Whether it can be tried again.
    pub can_return: bool,
}

impl Reader {
    /// The dead letters, the latest first, this many at most.
    ///
    /// # Errors
    /// When the database fails.
    pub fn letters(&self, limit: usize) -> Result<Vec<Letter>, StoreError> {
        self.run("read the dead letters", |sql| {
            let mut statement = sql.prepare_cached(
                "SELECT name, deliveries.id, attempts, finished, why, body IS NOT NULL \
                 FROM deliveries JOIN sinks ON sinks.id = sink \
                 WHERE deliveries.dead = 1 ORDER BY finished DESC, deliveries.id DESC LIMIT ?1",
            )?;
            let letters = statement.query_and_then([signed(limit as u64)], |row| {
                Ok(Letter {
                    sink: row.get(0)?,
                    id: ulid(row, 1)?,
                    attempts: row.get(2)?,
                    at: time(row, 3)?,
                    why: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
                    can_return: row.get(5)?,
                })
            })?;
            letters.collect()
        })
    }
}

impl Transaction<'_> {
    /// Gives up whatever waits for sinks that are none of these. Gives the names of those sinks, and how many messages
    /// of each were given up.
    ///
    /// # Errors
    /// When the database fails.
    pub fn orphans(&self, configured: &[&str], now: Timestamp) -> Result<Vec<(String, u64)>, StoreError> {
        self.run("give up messages for sinks that are gone", |sql| {
            let waiting: Vec<(i64, String)> = sql
                .prepare_cached(
                    "SELECT id, name FROM sinks \
                     WHERE EXISTS (SELECT 1 FROM outbox WHERE sink = sinks.id) ORDER BY name",
                )?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Sql<_>>()?;
            let gone = waiting.into_iter().filter(|(_, name)| !configured.contains(&name.as_str()));
            gone.map(|(sink, name)| Ok((name, bury(sql, sink, now)?))).collect()
        })
    }

    /// Tries the dead letters of this sink again that can be, as if they were new. Gives their number.
    ///
    /// # Errors
    /// When the database fails.
    pub fn revive(&self, sink: &str, now: Timestamp) -> Result<u64, StoreError> {
        self.run("try dead letters again", |sql| {
            let Some(sink) = known(sql, sink)? else { return Ok(0) };
            let mut back = sql.prepare_cached(
                "INSERT INTO outbox (row, sink, key, id, head, enqueued, due, attempts, why, body) \
                 SELECT row, sink, key, id, 0, ?2, ?2, 0, why, body FROM deliveries \
                 WHERE sink = ?1 AND body IS NOT NULL",
            )?;
            let letters = back.execute(params![sink, now.as_millisecond()])?;
            sql.prepare_cached("DELETE FROM deliveries WHERE sink = ?1 AND body IS NOT NULL")?.execute([sink])?;
            let letters = signed(letters as u64);
            let mut book = sql.prepare_cached("UPDATE sinks SET dead = dead - ?2 WHERE id = ?1")?;
            book.execute(params![sink, letters])?;
            // They may stand before what has been the first of its key.
            let mut heads = sql.prepare_cached(
                "UPDATE outbox SET head = (row = (SELECT min(row) FROM outbox o WHERE o.sink = ?1 AND o.key = outbox.key)) \
                 WHERE sink = ?1",
            )?;
            heads.execute([sink])?;
            Ok(letters.unsigned_abs())
        })
    }
}

/// A later message of this key has arrived: dead letters before it never can.
pub(super) fn overtake(sql: &Connection, sink: i64, key: &str, row: i64) -> Sql<()> {
    let mut statement = sql.prepare_cached(
        "UPDATE deliveries SET row = NULL, key = NULL, body = NULL \
         WHERE sink = ?1 AND key = ?2 AND body IS NOT NULL AND row < ?3",
    )?;
    statement.execute(params![sink, key, row]).map(drop)
}

/// Gives up everything that waits for one sink.
fn bury(sql: &Connection, sink: i64, now: Timestamp) -> Sql<u64> {
    let mut dead = sql.prepare_cached(
        "INSERT INTO deliveries (id, sink, dead, attempts, finished, why, row, key, body) \
         SELECT id, sink, 1, attempts, ?2, 'the sink is no longer configured', row, key, body \
         FROM outbox WHERE sink = ?1",
    )?;
    let letters = signed(dead.execute(params![sink, now.as_millisecond()])? as u64);
    sql.prepare_cached("DELETE FROM outbox WHERE sink = ?1")?.execute([sink])?;
    sql.prepare_cached("UPDATE sinks SET dead = dead + ?2 WHERE id = ?1")?.execute([sink, letters])?;
    Ok(letters.unsigned_abs())
}
