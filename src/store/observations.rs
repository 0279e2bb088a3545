//! What was open, from when until when: one row for the whole time that a target was, so that a network where nothing
//! changes takes no space.
//!
//! A target that is newly open begins a row. One that is still open touches nothing on disk: it was last seen by the
//! last complete sweep of its `[[watch]]`, for in a complete sweep every target has its state, and had it been any
//! other the row would have ended. One that is gone ends its row, with what it is now.

use std::net::IpAddr;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use ulid::Ulid;

use super::codec::{self, Sql, number, octets, optional_time, protocol, signed, time};
use super::error::StoreError;
use super::sweeps::watch;
use super::{Reader, Transaction};
use crate::sweep::report::Observation;
use crate::target::Target;
use crate::target::state::{Reason, State};

/// The time that a target was open, or answered as open and as closed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Span {
    /// The name of the `[[watch]]` that saw it.
    pub name: String,
    /// The target.
    pub target: Target,
    /// What it was.
    pub state: State,
    /// What that rests on.
    pub reason: Option<Reason>,
    /// When it was first seen so.
    pub first_seen: Timestamp,
    /// When it was last seen so: by a complete sweep, or the first time if there has been none since.
    pub last_seen: Timestamp,
    /// How it ended, if it did.
    pub ended: Option<End>,
}

/// How the time of a target ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct End {
    /// When something else was seen.
    pub at: Timestamp,
    /// What: unknown, if nobody looks any longer.
    pub state: State,
    /// What that rests on.
    pub reason: Option<Reason>,
}

/// Which of them are meant. Nothing said means all.
#[derive(Clone, Debug, Default)]
pub struct SpanFilter {
    /// Those of this `[[watch]]`.
    pub name: Option<String>,
    /// Those of this address.
    pub ip: Option<IpAddr>,
    /// Those that have not ended.
    pub open_only: bool,
}

impl Reader {
    /// The targets that this `[[watch]]` has seen open and not gone since.
    ///
    /// # Errors
    /// When the database fails.
    pub fn open_targets(&self, name: &str) -> Result<Vec<Target>, StoreError> {
        self.run("read what is open", |sql| {
            let mut statement = sql.prepare_cached(
                "SELECT ip, port, transport FROM observations \
                 WHERE watch = (SELECT id FROM watches WHERE name = ?1) AND ended IS NULL ORDER BY ip, port",
            )?;
            statement.query_and_then([name], |row| codec::target(row, 0))?.collect()
        })
    }

    /// The times that are meant, the latest to begin first, this many at most.
    ///
    /// # Errors
    /// When the database fails.
    pub fn observations(&self, filter: &SpanFilter, limit: usize) -> Result<Vec<Span>, StoreError> {
        let ip = if filter.ip.is_some() { "ip = ?2" } else { "?2 IS NULL" };
        let ended = if filter.open_only { "ended IS NULL" } else { "true" };
        let query = format!(
            "SELECT name, ip, port, transport, state, reason, first_seen, \
             coalesce(last_seen, max(first_seen, coalesce(last_complete, first_seen))), \
             ended, ended_state, ended_reason \
             FROM observations JOIN watches ON watches.id = watch \
             WHERE (?1 IS NULL OR name = ?1) AND {ip} AND {ended} ORDER BY row DESC LIMIT ?3"
        );
        self.run("read what was open", |sql| {
            let mut statement = sql.prepare_cached(&query)?;
            let values = params![filter.name, filter.ip.map(octets), signed(limit as u64)];
            statement.query_and_then(values, span)?.collect()
        })
    }
}

impl Transaction<'_> {
    /// Keeps what a sweep of the `[[watch]]` of this name has seen: what is open now, whether or not it was before, and
    /// what no longer is, with what it is instead. It may stand before or after [`Transaction::sweep`].
    ///
    /// # Errors
    /// When the database fails.
    pub fn observe(
        &self,
        name: &str,
        sweep: Ulid,
        now: Timestamp,
        open: &[Observation],
        gone: &[(Target, State, Option<Reason>)],
    ) -> Result<(), StoreError> {
        self.run("keep what is open", |sql| {
            let watch = watch(sql, name)?;
            let before = last_complete_before(sql, watch, sweep)?;
            let spans = Spans { sql, watch, before, now: now.as_millisecond() };
            for (target, state, reason) in gone {
                spans.end(target, *state, *reason)?;
            }
            open.iter().try_for_each(|seen| spans.begin(seen))
        })
    }
}

/// The rows of one `[[watch]]`, for one sweep.
struct Spans<'c> {
    sql: &'c Connection,
    watch: i64,
    /// When the last complete sweep before this one ended.
    before: Option<i64>,
    now: i64,
}

impl Spans<'_> {
    fn begin(&self, seen: &Observation) -> Sql<()> {
        let Observation { target, state, reason, .. } = seen;
        let mut statement = self.sql.prepare_cached(
            "SELECT state FROM observations \
             WHERE watch = ?1 AND ip = ?2 AND port = ?3 AND transport = ?4 AND ended IS NULL",
        )?;
        let ip = octets(target.ip);
        let key = params![self.watch, ip, target.port, protocol(target.transport)];
        match statement.query_row(key, |row| codec::state(row, 0)).optional()? {
            Some(before) if before == *state => return Ok(()),
            Some(_) => self.end(target, *state, *reason)?,
            None => {}
        }
        let mut statement = self.sql.prepare_cached(
            "INSERT INTO observations (watch, ip, port, transport, state, reason, first_seen) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        let transport = protocol(target.transport);
        let reason = reason.map(|reason| reason as u8);
        statement
            .execute(params![self.watch, ip, target.port, transport, number(*state), reason, self.now])
            .map(drop)
    }

    fn end(&self, target: &Target, state: State, reason: Option<Reason>) -> Sql<()> {
        let mut statement = self.sql.prepare_cached(
            "UPDATE observations SET ended = ?5, ended_state = ?6, ended_reason = ?7, \
             last_seen = max(first_seen, coalesce(?8, first_seen)) \
             WHERE watch = ?1 AND ip = ?2 AND port = ?3 AND transport = ?4 AND ended IS NULL",
        )?;
        let (ip, transport) = (octets(target.ip), protocol(target.transport));
        let reason = reason.map(|reason| reason as u8);
        let (port, state) = (target.port, number(state));
        statement
            .execute(params![self.watch, ip, port, transport, self.now, state, reason, self.before])
            .map(drop)
    }
}

fn last_complete_before(sql: &Connection, watch: i64, sweep: Ulid) -> Sql<Option<i64>> {
    let mut statement = sql.prepare_cached(
        "SELECT iif(last_complete_sweep = ?2, complete_before, last_complete) FROM watches WHERE id = ?1",
    )?;
    statement.query_row(params![watch, sweep.to_bytes()], |row| row.get(0))
}

fn span(row: &Row<'_>) -> Sql<Span> {
    let ended = match optional_time(row, 8)? {
        Some(at) => Some(End { at, state: codec::state(row, 9)?, reason: codec::reason(row, 10)? }),
        None => None,
    };
    Ok(Span {
        name: row.get(0)?,
        target: codec::target(row, 1)?,
        state: codec::state(row, 4)?,
        reason: codec::reason(row, 5)?,
        first_seen: time(row, 6)?,
        last_seen: time(row, 7)?,
        ended,
    })
}
