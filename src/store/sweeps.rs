//! Sweeps with their ledgers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use ulid::Ulid;

use super::codec::{Sql, count, from_json, from_word, optional_time, signed, time, to_json, ulid};
use super::error::StoreError;
use super::{Reader, Transaction};
use crate::sweep::ledger::Ledger;
use crate::sweep::report::{Packets, Report, UnknownReason, Verdict};

/// A sweep as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepRow {
    /// Its identifier.
    pub sweep: Ulid,
    /// The name of its `[[watch]]`.
    pub name: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub completed: Timestamp,
    /// How long it took, by the monotonic clock, in milliseconds.
    pub duration_ms: u64,
    /// What it is worth.
    pub verdict: Verdict,
    /// The engine that ran.
    pub engine: String,
    /// How many findings it had.
    pub findings: u64,
    /// Counts of states.
    pub ledger: Ledger,
    /// Why targets are unknown, and how many for each reason.
    pub unknown_reasons: BTreeMap<UnknownReason, u64>,
    /// Counts of packets.
    pub packets: Packets,
}

/// The columns of [`SweepRow`], in its order.
const COLUMNS: &str = "sweeps.id, name, started, completed, duration_ms, verdict, engine, findings, \
     declared, open, closed, filtered, unreachable, conflict, unknown, unknown_reasons, packets_sent, \
     packets_canaries, packets_received, packets_foreign, packets_dropped, packets_refused";

impl Reader {
    /// The sweeps of this name, or of every name, the latest first, this many at most.
    ///
    /// # Errors
    /// When the database fails.
    pub fn sweeps(&self, name: Option<&str>, limit: usize) -> Result<Vec<SweepRow>, StoreError> {
        let limit = signed(limit as u64);
        self.run("read the sweeps", |sql| match name {
            Some(name) => {
                let mut statement = sql.prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM sweeps JOIN watches ON watches.id = sweeps.watch \
                     WHERE watch = (SELECT id FROM watches WHERE name = ?1) ORDER BY row DESC LIMIT ?2"
                ))?;
                statement.query_and_then(params![name, limit], sweep_row)?.collect()
            }
            None => {
                let mut statement = sql.prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM sweeps JOIN watches ON watches.id = sweeps.watch \
                     ORDER BY row DESC LIMIT ?1"
                ))?;
                statement.query_and_then([limit], sweep_row)?.collect()
            }
        })
    }
}

impl Reader {
    /// The sweeps that ended in this time, from its first moment to the last before its end; the latest first, this
    /// many at most.
    ///
    /// # Errors
    /// When the database fails.
    pub fn sweeps_between(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<SweepRow>, StoreError> {
        let since = since.map_or(i64::MIN, Timestamp::as_millisecond);
        let until = until.map_or(i64::MAX, Timestamp::as_millisecond);
        self.run("read the sweeps", |sql| {
            let mut statement = sql.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM sweeps JOIN watches ON watches.id = sweeps.watch \
                 WHERE completed >= ?1 AND completed < ?2 ORDER BY completed DESC, row DESC LIMIT ?3"
            ))?;
            statement.query_and_then(params![since, until, signed(limit as u64)], sweep_row)?.collect()
        })
    }

    /// Each watch that has ever swept, and when its last complete sweep ended, if one has; in the order of names.
    ///
    /// # Errors
    /// When the database fails.
    pub fn last_complete(&self) -> Result<Vec<(String, Option<Timestamp>)>, StoreError> {
        self.run("read the sweeps", |sql| {
            let mut statement =
                sql.prepare_cached("SELECT name, last_complete FROM watches ORDER BY name")?;
            statement.query_and_then([], |row| Ok((row.get(0)?, optional_time(row, 1)?)))?.collect()
        })
    }
}

impl Transaction<'_> {
    /// Keeps a sweep of the `[[watch]]` of this name.
    ///
    /// # Errors
    /// When the database fails, or when this very sweep has been kept before.
    pub fn sweep(&self, name: &str, report: &Report, findings: u64) -> Result<(), StoreError> {
        self.run("keep a sweep", |sql| {
            let watch = watch(sql, name)?;
            insert(sql, watch, report, findings)?;
            if report.verdict != Verdict::Complete {
                return Ok(());
            }
            let mut statement = sql.prepare_cached(
                "UPDATE watches SET complete_before = last_complete, last_complete = ?2, last_complete_sweep = ?3 \
                 WHERE id = ?1",
            )?;
            statement
                .execute(params![watch, report.completed.as_millisecond(), report.sweep.to_bytes()])
                .map(drop)
        })
    }
}

/// The number of the `[[watch]]` of this name, which gets one if it has none.
pub(super) fn watch(sql: &Connection, name: &str) -> Sql<i64> {
    let mut statement = sql.prepare_cached("SELECT id FROM watches WHERE name = ?1")?;
    if let Some(id) = statement.query_row([name], |row| row.get(0)).optional()? {
        return Ok(id);
    }
    sql.prepare_cached("INSERT INTO watches (name) VALUES (?1)")?.insert([name])
}

fn insert(sql: &Connection, watch: i64, report: &Report, findings: u64) -> Sql<()> {
    let mut statement = sql.prepare_cached(
        "INSERT INTO sweeps (id, watch, started, completed, duration_ms, verdict, engine, findings, \
         declared, open, closed, filtered, unreachable, conflict, unknown, unknown_reasons, packets_sent, \
         packets_canaries, packets_received, packets_foreign, packets_dropped, packets_refused) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)",
    )?;
    let Report { ledger, packets, unknown_reasons, .. } = report;
    let reasons = (!unknown_reasons.is_empty()).then(|| to_json(unknown_reasons)).transpose()?;
    statement
        .execute(params![
            report.sweep.to_bytes(),
            watch,
            report.started.as_millisecond(),
            report.completed.as_millisecond(),
            signed(report.duration_ms),
            report.verdict.to_string(),
            report.vantage.engine,
            signed(findings),
            signed(ledger.declared),
            signed(ledger.open),
            signed(ledger.closed),
            signed(ledger.filtered),
            signed(ledger.unreachable),
            signed(ledger.conflict),
            signed(ledger.unknown),
            reasons,
            signed(packets.sent),
            signed(packets.canaries),
            signed(packets.received),
            signed(packets.foreign),
            signed(packets.dropped),
            signed(packets.refused),
        ])
        .map(drop)
}

fn sweep_row(row: &Row<'_>) -> Sql<SweepRow> {
    let has_reasons = row.get::<_, Option<String>>(15)?.is_some();
    Ok(SweepRow {
        sweep: ulid(row, 0)?,
        name: row.get(1)?,
        started: time(row, 2)?,
        completed: time(row, 3)?,
        duration_ms: count(row, 4)?,
        verdict: from_word(row, 5)?,
        engine: row.get(6)?,
        findings: count(row, 7)?,
        ledger: Ledger {
            declared: count(row, 8)?,
            open: count(row, 9)?,
            closed: count(row, 10)?,
            filtered: count(row, 11)?,
            unreachable: count(row, 12)?,
            conflict: count(row, 13)?,
            unknown: count(row, 14)?,
        },
        unknown_reasons: if has_reasons { from_json(row, 15)? } else { BTreeMap::new() },
        packets: Packets {
            sent: count(row, 16)?,
            canaries: count(row, 17)?,
            received: count(row, 18)?,
            foreign: count(row, 19)?,
            dropped: count(row, 20)?,
            refused: count(row, 21)?,
        },
    })
}
