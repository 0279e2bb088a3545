//! Every word that was ever said of an alert.
//!
//! The words about one firing of one alert are nearly the same. The first is kept as it is, in `episodes`; each row of
//! `history` has what only that word has (its identifier, its time, its transition, its sweep), and the members that
//! are not as in the first. So a long history takes half the space, and any of its rows can go without the others.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use serde_json::{Map, Value};
use ulid::Ulid;

use super::codec::{Sql, bytes_of, digits, from_json, octets, optional_time, signed, time, ulid, unreadable};
use super::error::StoreError;
use super::sweeps::watch;
use super::{Reader, Transaction};
use crate::alert::notice::Notice;
use crate::policy::finding::{Fingerprint, milliseconds};
use crate::target::address::AddressRange;

/// Which words are meant. Nothing said means all.
#[derive(Clone, Debug, Default)]
pub struct HistoryFilter {
    /// Those from this time on.
    pub since: Option<Timestamp>,
    /// Those before this time.
    pub until: Option<Timestamp>,
    /// Those about this alert.
    pub fingerprint: Option<Fingerprint>,
    /// Those about an address in this range.
    pub hosts: Option<AddressRange>,
}

/// What became of a word at one sink.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fate {
    /// The name of the sink.
    pub sink: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Where that has led.
    pub outcome: Outcome,
    /// Why it failed, the last time that it did.
    pub why: Option<String>,
}

/// Where the attempts at a delivery have led.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Nowhere yet.
    Pending,
    /// The receiver has it.
    Delivered {
        /// Since when.
        at: Timestamp,
    },
    /// It was given up.
    Dead {
        /// When.
        at: Timestamp,
    },
}

impl Reader {
    /// The words that are meant, the latest first, this many at most.
    ///
    /// # Errors
    /// When the database fails.
    pub fn history(&self, filter: &HistoryFilter, limit: usize) -> Result<Vec<Notice>, StoreError> {
        let mut wanted = vec!["h.time >= ?1", "h.time < ?2"];
        let since = filter.since.map_or(i64::MIN, Timestamp::as_millisecond);
        let until = filter.until.map_or(i64::MAX, Timestamp::as_millisecond);
        let limit = signed(limit as u64);
        let fingerprint = filter.fingerprint.as_ref().map(bytes_of);
        let hosts = filter.hosts.map(|range| (octets(range.first()), octets(range.last())));
        let mut values: Vec<&dyn ToSql> = vec![&since, &until, &limit];
        if let Some(fingerprint) = &fingerprint {
            wanted.push("e.fingerprint = ?4");
            values.push(fingerprint);
        }
        let in_range = match values.len() {
            3 => "e.ip BETWEEN ?4 AND ?5 AND length(e.ip) = length(?4)",
            _ => "e.ip BETWEEN ?5 AND ?6 AND length(e.ip) = length(?5)",
        };
        if let Some((first, last)) = &hosts {
            wanted.push(in_range);
            values.extend([first as &dyn ToSql, last]);
        }
        let query = format!(
            "SELECT h.id, h.time, h.transition, h.sweep, w.name, e.fingerprint, e.episode, e.body, h.changes \
             FROM history h JOIN episodes e ON e.row = h.episode LEFT JOIN watches w ON w.id = h.watch \
             WHERE {} ORDER BY h.time DESC, h.row DESC LIMIT ?3",
            wanted.join(" AND ")
        );
        self.run("read the history", |sql| {
            let mut statement = sql.prepare_cached(&query)?;
            statement.query_and_then(&values[..], notice)?.collect()
        })
    }

    /// What became of a word or of another message, sink by sink, as far as that is still known.
    ///
    /// # Errors
    /// When the database fails.
    pub fn fates(&self, id: Ulid) -> Result<Vec<Fate>, StoreError> {
        self.run("read what became of a message", |sql| {
            let mut statement = sql.prepare_cached(
                "SELECT name, attempts, deliveries.dead, finished, why FROM deliveries JOIN sinks ON sinks.id = sink \
                 WHERE deliveries.id = ?1 \
                 UNION ALL SELECT name, attempts, NULL, NULL, why FROM outbox JOIN sinks ON sinks.id = sink \
                 WHERE outbox.id = ?1 ORDER BY name",
            )?;
            statement.query_and_then([id.to_bytes()], fate)?.collect()
        })
    }
}

impl Transaction<'_> {
    /// Keeps a word about an alert.
    ///
    /// # Errors
    /// When the database fails.
    pub fn note(&self, notice: &Notice) -> Result<(), StoreError> {
        self.run("keep a word about an alert", |sql| {
            let members = members(notice)?;
            let (episode, changes) = episode(sql, notice, &members)?;
            let (sweep, watch) = match &notice.sweep {
                Some(sweep) => (Some(sweep.id.to_bytes()), Some(watch(sql, &sweep.name)?)),
                None => (None, None),
            };
            let mut statement = sql.prepare_cached(
                "INSERT INTO history (episode, id, time, transition, sweep, watch, changes) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            let (id, time) = (notice.id.to_bytes(), notice.time.as_millisecond());
            statement
                .execute(params![episode, id, time, notice.transition.as_str(), sweep, watch, changes])
                .map(drop)
        })
    }
}

/// The members of a notice that have no column of their own.
const COLUMNS: [&str; 6] = ["id", "time", "transition", "sweep", "fingerprint", "episode"];

fn members(notice: &Notice) -> Sql<Map<String, Value>> {
    let failed = |error: serde_json::Error| rusqlite::Error::ToSqlConversionFailure(error.into());
    let Value::Object(mut members) = serde_json::to_value(notice).map_err(failed)? else {
        return Err(rusqlite::Error::ToSqlConversionFailure("a notice is no object".into()));
    };
    for column in COLUMNS {
        members.remove(column);
    }
    Ok(members)
}

/// The row of the episode that a notice belongs to, and how the notice differs from it.
fn episode(sql: &Connection, notice: &Notice, members: &Map<String, Value>) -> Sql<(i64, Option<String>)> {
    let finding = &notice.alert.finding;
    let (fingerprint, episode) = (bytes_of(&finding.fingerprint), notice.alert.episode.to_bytes());
    let mut statement =
        sql.prepare_cached("SELECT row, body FROM episodes WHERE fingerprint = ?1 AND episode = ?2")?;
    let known = statement
        .query_row(params![fingerprint, episode], |row| Ok((row.get(0)?, from_json::<Map<_, _>>(row, 1)?)))
        .optional()?;
    let in_json = |members: &Map<String, Value>| super::codec::to_json(members);
    if let Some((row, first)) = known {
        let changes = difference(&first, members);
        return Ok((row, (!changes.is_empty()).then(|| in_json(&changes)).transpose()?));
    }
    let mut statement =
        sql.prepare_cached("INSERT INTO episodes (fingerprint, episode, ip, body) VALUES (?1, ?2, ?3, ?4)")?;
    let row = statement.insert(params![fingerprint, episode, finding.ip.map(octets), in_json(members)?])?;
    Ok((row, None))
}

/// The members of `now` that are not as in `first`, and null for those that `now` does not have.
fn difference(first: &Map<String, Value>, now: &Map<String, Value>) -> Map<String, Value> {
    let gone = first.keys().filter(|name| !now.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let changed = now.iter().filter(|(name, value)| first.get(*name) != Some(value));
    changed.map(|(name, value)| (name.clone(), value.clone())).chain(gone).collect()
}

fn notice(row: &Row<'_>) -> Sql<Notice> {
    let mut members: Map<String, Value> = from_json(row, 7)?;
    if row.get::<_, Option<String>>(8)?.is_some() {
        for (name, value) in from_json::<Map<String, Value>>(row, 8)? {
            match value {
                Value::Null => members.remove(&name),
                value => members.insert(name, value),
            };
        }
    }
    let time = milliseconds(&time(row, 1)?, serde_json::value::Serializer);
    let columns = [
        ("id", ulid(row, 0)?.to_string().into()),
        ("time", time.map_err(|error| unreadable(1, error))?),
        ("transition", row.get::<_, String>(2)?.into()),
        ("fingerprint", digits(row, 5)?.into()),
        ("episode", ulid(row, 6)?.to_string().into()),
    ];
    members.extend(columns.map(|(name, value)| (name.to_owned(), value)));
    if let Some(name) = row.get::<_, Option<String>>(4)? {
        let id = ulid(row, 3)?.to_string();
        members.insert("sweep".to_owned(), serde_json::json!({ "id": id, "name": name }));
    }
    serde_json::from_value(Value::Object(members)).map_err(|error| unreadable(7, error))
}

fn fate(row: &Row<'_>) -> Sql<Fate> {
    let outcome = match (optional_time(row, 3)?, row.get::<_, Option<bool>>(2)?) {
        (Some(at), Some(true)) => Outcome::Dead { at },
        (Some(at), _) => Outcome::Delivered { at },
        (None, _) => Outcome::Pending,
    };
    Ok(Fate { sink: row.get(0)?, attempts: row.get(1)?, outcome, why: row.get(4)? })
}
