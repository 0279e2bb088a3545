//! Whether a database is as it should be.

use std::path::Path;

use rusqlite::Connection;
use serde::de::DeserializeOwned;

use super::codec::{Sql, from_json};
use super::error::StoreError;
use super::{Reader, Store, schema};
use crate::alert::record::Record;
use crate::sink::message::Message;

/// What was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Findings {
    /// The schema that it has.
    pub schema: i64,
    /// All that is wrong, in words; empty where nothing is.
    pub problems: Vec<String>,
}

/// The most complaints of SQLite that are told.
const MOST: usize = 20;

/// Looks at everything in a database, beside a daemon that writes to it if there is one. Nothing is changed.
///
/// # Errors
/// When it cannot be looked at: what is wrong *in* it is told by [`Findings`].
pub fn check(path: &Path) -> Result<Findings, StoreError> {
    let reader = match Store::open_reader(path) {
        Ok(reader) => reader,
        Err(StoreError::Corrupt { what, .. }) => {
            return Ok(Findings { schema: 0, problems: vec![format!("it cannot be opened: {what}")] });
        }
        Err(error) => return Err(error),
    };
    let looks: [(&str, Look); 6] = [
        ("its pages and indices", pages),
        ("its references", references),
        ("its books", books),
        ("its outbox", heads),
        ("its alerts", |sql| unreadable::<Record>(sql, "SELECT body FROM alerts", "alerts")),
        ("its messages", |sql| unreadable::<Message>(sql, "SELECT body FROM outbox", "messages")),
    ];
    let mut findings = Findings { schema: reader.look("check it", schema::version)?, problems: Vec::new() };
    for (what, look) in looks {
        findings.problems.extend(found(&reader, what, look)?);
    }
    Ok(findings)
}

type Look = fn(&Connection) -> Sql<Vec<String>>;

/// What one look finds. Damage may keep it from its end, and is found by that.
fn found(reader: &Reader, what: &str, look: Look) -> Result<Vec<String>, StoreError> {
    match reader.look("check it", look) {
        Err(StoreError::Corrupt { what: why, .. }) => Ok(vec![format!("{what} cannot be read: {why}")]),
        found => found,
    }
}

fn pages(sql: &Connection) -> Sql<Vec<String>> {
    let mut statement = sql.prepare(&format!("PRAGMA integrity_check({MOST})"))?;
    let said: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Sql<_>>()?;
    Ok(said.into_iter().filter(|said| said != "ok").collect())
}

fn references(sql: &Connection) -> Sql<Vec<String>> {
    let mut statement = sql.prepare(&format!(
        "SELECT 'a row of ' || \"table\" || ' refers to a row of ' || parent || ' that is not there' \
         FROM pragma_foreign_key_check LIMIT {MOST}"
    ))?;
    statement.query_map([], |row| row.get(0))?.collect()
}

fn books(sql: &Connection) -> Sql<Vec<String>> {
    let books = super::outbox::books(sql)?;
    let open = books.into_iter().filter(|books| !books.are_closed());
    Ok(open
        .map(|books| {
            format!(
                "the books of the sink {} do not close: {} raised, {} delivered, {} pending, {} dead",
                books.sink, books.raised, books.delivered, books.pending, books.dead
            )
        })
        .collect())
}

fn heads(sql: &Connection) -> Sql<Vec<String>> {
    let wrong: i64 = sql.query_row(
        "SELECT count(*) FROM outbox AS o \
         WHERE head <> (row = (SELECT min(row) FROM outbox WHERE sink = o.sink AND key = o.key))",
        [],
        |row| row.get(0),
    )?;
    Ok((wrong > 0)
        .then(|| format!("{wrong} messages in the outbox have the wrong place in their queue"))
        .into_iter()
        .collect())
}

/// Whether every row of a kind can be read.
fn unreadable<T: DeserializeOwned>(sql: &Connection, query: &str, what: &str) -> Sql<Vec<String>> {
    let mut statement = sql.prepare(query)?;
    let mut rows = statement.query([])?;
    let (mut number, mut first) = (0, None);
    while let Some(row) = rows.next()? {
        if let Err(error) = from_json::<T>(row, 0) {
            number += 1;
            first.get_or_insert_with(|| error.to_string());
        }
    }
    Ok(first
        .map(|first| format!("{number} {what} cannot be read, the first because: {first}"))
        .into_iter()
        .collect())
}
