//! Messages that are still to be delivered, and the books of all that were.
//!
//! # Order
//! A row is the *head* if it is the first of its sink and its key. What stands behind one waits for it, however long
//! that takes, so that the end of an alert never overtakes its beginning. When a head has gone, delivered or given up,
//! the next of its key takes its place.
//!
//! [`Reader::due`] takes the heads whose time has come, those that have waited longest, and behind each the rows of its
//! key that wait for nothing but it; it offers as many of all these as fit, in the order of rows. A channel delivers in
//! that order and stops at the first failure, or goes on with other keys alone; what it has not tried stays as it is,
//! behind the one that failed. So a long queue of one key does not take a transaction for each of its rows.
//!
//! # Time
//! `due` and `enqueued` are by the clock as it is: when it has been stepped, [`Transaction::shift_due`] steps them too,
//! and nothing waits for a year or is given up for having waited for one. What was stepped while nobody was here is
//! found by [`Transaction::bound_due`].

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row as Columns, params};
use ulid::Ulid;

use super::codec::{Sql, count, optional_time, signed, time, to_json};
use super::error::StoreError;
use super::{Reader, Transaction};
use crate::sink::message::Message;

/// A row of the outbox.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Row(pub(super) i64);

/// A message on its way to a sink.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Its row.
    pub row: Row,
    /// The message; or why it cannot be read, in which case it will never be, and is for [`Transaction::dead`].
    pub message: Result<Message, String>,
    /// How often it has been tried.
    pub attempts: u32,
    /// Since when it has been here.
    pub enqueued: Timestamp,
}

/// The books of a sink.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SinkBooks {
    /// Its name.
    pub sink: String,
    /// Messages that were ever for it.
    pub raised: u64,
    /// Those that its receiver has.
    pub delivered: u64,
    /// Those that are on their way.
    pub pending: u64,
    /// Those that were given up.
    pub dead: u64,
}

impl SinkBooks {
    /// Whether no message has got lost, and none has come from nowhere.
    pub fn are_closed(&self) -> bool {
        self.delivered.checked_add(self.pending).and_then(|sum| sum.checked_add(self.dead))
            == Some(self.raised)
    }
}

/// What waits for a sink.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Backlog {
    /// How many messages.
    pub pending: u64,
    /// Since when the oldest has been waiting.
    pub oldest: Option<Timestamp>,
    /// When the next one is due.
    pub next_due: Option<Timestamp>,
}

impl Reader {
    /// What is to be delivered to this sink now, this many at most, in the order in which it must be.
    ///
    /// # Errors
    /// When the database fails.
    pub fn due(&self, sink: &str, now: Timestamp, limit: usize) -> Result<Vec<Outgoing>, StoreError> {
        self.look("read what is to be delivered", |sql| {
            let Some(sink) = known(sql, sink)? else { return Ok(Vec::new()) };
            let (now, limit) = (now.as_millisecond(), signed(limit as u64));
            let mut statement = sql.prepare_cached(
                "SELECT row, key FROM outbox WHERE sink = ?1 AND head = 1 AND due <= ?2 ORDER BY due, row LIMIT ?3",
            )?;
            let heads = statement.query_map(params![sink, now, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let mut rows: Vec<i64> = Vec::new();
            for head in heads {
                let (head, key): (i64, String) = head?;
                rows.push(head);
                followers(sql, sink, &key, head, now, limit, &mut rows)?;
            }
            // The first rows of each key are the first of these, so what is cut off was behind what is not.
            rows.sort_unstable();
            rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            let mut statement =
                sql.prepare_cached("SELECT row, body, attempts, enqueued FROM outbox WHERE row = ?1")?;
            rows.into_iter().map(|row| statement.query_row([row], outgoing)).collect()
        })
    }

    /// When something will be due for this sink.
    ///
    /// # Errors
    /// When the database fails.
    pub fn next_due(&self, sink: &str) -> Result<Option<Timestamp>, StoreError> {
        self.run("read what is to be delivered", |sql| {
            let mut statement = sql.prepare_cached(
                "SELECT min(due) FROM outbox WHERE sink = (SELECT id FROM sinks WHERE name = ?1) AND head = 1",
            )?;
            statement.query_row([sink], |row| optional_time(row, 0))
        })
    }

    /// What waits for this sink.
    ///
    /// # Errors
    /// When the database fails.
    pub fn backlog(&self, sink: &str) -> Result<Backlog, StoreError> {
        self.run("read what is to be delivered", |sql| {
            let mut statement = sql.prepare_cached(
                "SELECT (SELECT count(*) FROM outbox WHERE sink = sinks.id), \
                 (SELECT min(enqueued) FROM outbox WHERE sink = sinks.id AND head = 1), \
                 (SELECT min(due) FROM outbox WHERE sink = sinks.id AND head = 1) FROM sinks WHERE name = ?1",
            )?;
            let backlog = statement.query_row([sink], |row| {
                let (oldest, next_due) = (optional_time(row, 1)?, optional_time(row, 2)?);
                Ok(Backlog { pending: count(row, 0)?, oldest, next_due })
            });
            Ok(backlog.optional()?.unwrap_or_default())
        })
    }

    /// Why the last attempt failed of what waits for this sink: of several, of the one that is tried again last.
    ///
    /// # Errors
    /// When the database fails.
    pub fn last_failure(&self, sink: &str) -> Result<Option<String>, StoreError> {
        self.run("read what is to be delivered", |sql| {
            let mut statement = sql.prepare_cached(
                "SELECT why FROM outbox WHERE sink = (SELECT id FROM sinks WHERE name = ?1) \
                 AND head = 1 AND why IS NOT NULL ORDER BY due DESC LIMIT 1",
            )?;
            statement.query_row([sink], |row| row.get(0)).optional()
        })
    }

    /// Where a message is on its way to a sink, if it is.
    ///
    /// # Errors
    /// When the database fails.
    pub fn row_of(&self, sink: &str, id: Ulid) -> Result<Option<Row>, StoreError> {
        self.run("look for a message", |sql| {
            let mut statement = sql.prepare_cached(
                "SELECT row FROM outbox WHERE id = ?1 AND sink = (SELECT id FROM sinks WHERE name = ?2)",
            )?;
            statement.query_row(params![id.to_bytes(), sink], |row| row.get(0).map(Row)).optional()
        })
    }

    /// The rows of one key that are on their way to a sink.
    ///
    /// # Errors
    /// When the database fails.
    pub fn rows_of_key(&self, sink: &str, key: &str) -> Result<Vec<Row>, StoreError> {
        self.run("look for messages", |sql| {
            let mut statement = sql.prepare_cached(
                "SELECT row FROM outbox WHERE key = ?1 AND sink = (SELECT id FROM sinks WHERE name = ?2)",
            )?;
            statement.query_map(params![key, sink], |row| row.get(0).map(Row))?.collect()
        })
    }

    /// The books of every sink that ever was, in the order of names.
    ///
    /// # Errors
    /// When the database fails.
    pub fn books(&self) -> Result<Vec<SinkBooks>, StoreError> {
        self.run("read the books", books)
    }
}

impl Transaction<'_> {
    /// Puts a message on its way to these sinks. One that is on its way to a sink, or has been, is not for it again.
    /// Gives the number of sinks that it is new to.
    ///
    /// # Errors
    /// When the database fails.
    pub fn enqueue(&self, message: &Message, sinks: &[&str]) -> Result<usize, StoreError> {
        self.run("put a message into the outbox", |sql| {
            let (id, body) = (message.id().to_bytes(), to_json(message)?);
            let at = message.time().as_millisecond();
            let mut insert = sql.prepare_cached(
                "INSERT INTO outbox (sink, key, id, head, enqueued, due, body) \
                 SELECT ?1, ?2, ?3, NOT EXISTS (SELECT 1 FROM outbox WHERE sink = ?1 AND key = ?2), ?4, ?4, ?5 \
                 WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE id = ?3 AND sink = ?1) \
                 ON CONFLICT (id, sink) DO NOTHING",
            )?;
            let mut raise = sql.prepare_cached("UPDATE sinks SET raised = raised + 1 WHERE id = ?1")?;
            let mut new = 0;
            for name in sinks {
                let sink = registered(sql, name)?;
                if insert.execute(params![sink, message.key(), id, at, body])? > 0 {
                    raise.execute([sink])?;
                    new += 1;
                }
            }
            Ok(new)
        })
    }

    /// The receiver has these.
    ///
    /// # Errors
    /// When the database fails.
    pub fn delivered(&self, rows: &[Row], now: Timestamp) -> Result<(), StoreError> {
        self.run("book a delivery", |sql| {
            rows.iter().try_for_each(|row| leave(sql, *row, Leaving::Delivered, now))
        })
    }

    /// This one could not be delivered, and is to be tried again at this time.
    ///
    /// # Errors
    /// When the database fails.
    pub fn retry(&self, row: Row, why: &str, due: Timestamp) -> Result<(), StoreError> {
        self.run("book a failed attempt", |sql| {
            let mut statement = sql.prepare_cached(
                "UPDATE outbox SET attempts = attempts + 1, why = ?2, due = ?3 WHERE row = ?1",
            )?;
            statement.execute(params![row.0, why, due.as_millisecond()]).map(drop)
        })
    }

    /// This one is given up, for this reason.
    ///
    /// # Errors
    /// When the database fails.
    pub fn dead(&self, row: Row, why: &str, now: Timestamp) -> Result<(), StoreError> {
        self.run("book a dead letter", |sql| leave(sql, row, Leaving::Dead(why), now))
    }

    /// The clock has been stepped by this much: whatever waits, waits for as long as it was to.
    ///
    /// # Errors
    /// When the database fails.
    pub fn shift_due(&self, delta: SignedDuration) -> Result<(), StoreError> {
        let delta = i64::try_from(delta.as_millis()).unwrap_or_default();
        self.run("shift what is to be delivered", |sql| {
            let mut statement =
                sql.prepare_cached("UPDATE outbox SET due = due + ?1, enqueued = enqueued + ?1")?;
            statement.execute([delta]).map(drop)
        })
    }

    /// Whatever is said to have been put here after now, or waits for longer than anything waits, was put here or put
    /// off by a clock that has been set back since then: it is due now.
    ///
    /// # Errors
    /// When the database fails.
    pub fn bound_due(&self, now: Timestamp, longest: Duration) -> Result<(), StoreError> {
        let longest = i64::try_from(longest.as_millis()).unwrap_or(i64::MAX);
        let now = now.as_millisecond();
        self.run("look for what waits for too long", |sql| {
            let mut statement = sql.prepare_cached(
                "UPDATE outbox SET due = min(due, ?1), enqueued = min(enqueued, ?1) WHERE due > ?2 OR enqueued > ?1",
            )?;
            statement.execute([now, now.saturating_add(longest)]).map(drop)
        })
    }
}

/// How a row leaves the outbox.
#[derive(Clone, Copy)]
enum Leaving<'w> {
    Delivered,
    Dead(&'w str),
}

/// Moves a row from the outbox to the deliveries. One that is not there has gone before, and is not counted again.
fn leave(sql: &Connection, Row(row): Row, how: Leaving<'_>, now: Timestamp) -> Sql<()> {
    let (dead, why) = match how {
        Leaving::Delivered => (false, None),
        Leaving::Dead(why) => (true, Some(why)),
    };
    let mut read = sql.prepare_cached("SELECT sink, key, head FROM outbox WHERE row = ?1")?;
    let known = read.query_row([row], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    let Some((sink, key, is_head)) = known else { return Ok(()) };
    let (sink, key, is_head): (i64, String, bool) = (sink, key, is_head);
    // The reason of a failure that was overcome is kept as well.
    let mut write = sql.prepare_cached(
        "INSERT INTO deliveries (id, sink, dead, attempts, finished, why, row, key, body) \
         SELECT id, sink, ?2, attempts + 1, ?3, coalesce(?4, why), \
         iif(?2, row, NULL), iif(?2, key, NULL), iif(?2, body, NULL) FROM outbox WHERE row = ?1",
    )?;
    write.execute(params![row, dead, now.as_millisecond(), why])?;
    sql.prepare_cached("DELETE FROM outbox WHERE row = ?1")?.execute([row])?;
    let mut book = sql
        .prepare_cached("UPDATE sinks SET delivered = delivered + NOT ?2, dead = dead + ?2 WHERE id = ?1")?;
    book.execute(params![sink, dead])?;
    if is_head {
        promote(sql, sink, &key)?;
    }
    if dead { Ok(()) } else { super::letters::overtake(sql, sink, &key, row) }
}

/// The first of this key becomes its head.
fn promote(sql: &Connection, sink: i64, key: &str) -> Sql<()> {
    let mut statement = sql.prepare_cached(
        "UPDATE outbox SET head = 1 WHERE row = (SELECT min(row) FROM outbox WHERE sink = ?1 AND key = ?2)",
    )?;
    statement.execute(params![sink, key]).map(drop)
}

/// The rows behind a head that wait for nothing but it, without a break.
fn followers(
    sql: &Connection,
    sink: i64,
    key: &str,
    head: i64,
    now: i64,
    limit: i64,
    rows: &mut Vec<i64>,
) -> Sql<()> {
    let mut statement = sql.prepare_cached(
        "SELECT row, due FROM outbox WHERE sink = ?1 AND key = ?2 AND row > ?3 ORDER BY row LIMIT ?4",
    )?;
    let mut behind = statement.query(params![sink, key, head, limit - 1])?;
    while let Some(row) = behind.next()? {
        if row.get::<_, i64>(1)? > now {
            break;
        }
        rows.push(row.get(0)?);
    }
    Ok(())
}

/// The books, all as of one moment.
pub(super) fn books(sql: &Connection) -> Sql<Vec<SinkBooks>> {
    let mut statement = sql.prepare_cached(
        "SELECT name, raised, delivered, (SELECT count(*) FROM outbox WHERE sink = sinks.id), dead \
         FROM sinks ORDER BY name",
    )?;
    let books = statement.query_map([], |row| {
        let (raised, delivered) = (count(row, 1)?, count(row, 2)?);
        Ok(SinkBooks { sink: row.get(0)?, raised, delivered, pending: count(row, 3)?, dead: count(row, 4)? })
    })?;
    books.collect()
}

/// The number of this sink, if anything was ever for it.
pub(super) fn known(sql: &Connection, name: &str) -> Sql<Option<i64>> {
    let mut statement = sql.prepare_cached("SELECT id FROM sinks WHERE name = ?1")?;
    statement.query_row([name], |row| row.get(0)).optional()
}

fn registered(sql: &Connection, name: &str) -> Sql<i64> {
    match known(sql, name)? {
        Some(id) => Ok(id),
        None => sql.prepare_cached("INSERT INTO sinks (name) VALUES (?1)")?.insert([name]),
    }
}

fn outgoing(row: &Columns<'_>) -> Sql<Outgoing> {
    let message = serde_json::from_str(row.get_ref(1)?.as_str()?).map_err(|error| error.to_string());
    Ok(Outgoing { row: Row(row.get(0)?), message, attempts: row.get(2)?, enqueued: time(row, 3)? })
}
