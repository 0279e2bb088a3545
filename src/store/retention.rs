//! What is forgotten, and when. Alerts that are needed, messages that are on their way and the books are never.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::codec::Sql;
use super::error::StoreError;
use super::{Reader, Store};

/// How long what is over is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retention {
    /// Sweeps.
    pub sweeps: Duration,
    /// What was open, from the moment that it no longer was.
    pub observations: Duration,
    /// What was said of alerts, and silences that are over.
    pub history: Duration,
    /// What became of messages.
    pub deliveries: Duration,
    /// Alerts that are over, for whoever asks what has been resolved. What was said of them is in the history.
    pub resolved: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Default for Retention {
    /// Longer than a year for what auditors ask for.
    fn default() -> Self {
        Retention {
            sweeps: DAY * 30,
            observations: DAY * 400,
            history: DAY * 400,
            deliveries: DAY * 30,
            resolved: DAY * 3,
        }
    }
}

/// Rows of one table that are deleted at once, and pages that are given back at once: a few milliseconds' work, so that
/// nobody waits for it.
const BITE: i64 = 1000;
/// Rows that are looked at, where the oldest are among the first.
const FIRST: i64 = 10 * BITE;

impl Store {
    /// Forgets a bite of what is older than it need be, and gives back a bite of the space. Says whether there is more;
    /// whoever has time calls again. After a step of the clock, let it settle first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn retain(&mut self, retention: &Retention, now: Timestamp) -> Result<bool, StoreError> {
        let more = self.write(|tx| tx.run("forget what is old", |sql| forget(sql, retention, now)))?;
        let free = self.reader.give_back()?;
        Ok(more || free)
    }
}

impl Reader {
    /// Gives pages that nothing is in back to the file system, and says whether there are more.
    fn give_back(&self) -> Result<bool, StoreError> {
        self.run("give space back", |sql| {
            // Each step gives back one page.
            let mut statement = sql.prepare_cached(&format!("PRAGMA incremental_vacuum({BITE})"))?;
            let mut pages = statement.query([])?;
            while pages.next()?.is_some() {}
            drop(pages);
            sql.pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0)).map(|free| free > 0)
        })
    }
}

/// Deletes a bite of each table, and says whether any had more than that.
fn forget(sql: &Connection, retention: &Retention, now: Timestamp) -> Sql<bool> {
    let before = |kept: Duration| {
        let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        now.as_millisecond().saturating_sub(kept)
    };
    // What is in the order of its time by itself has no index for this: the oldest are among the first.
    let sweeps = format!("SELECT row, completed AS time FROM sweeps ORDER BY row LIMIT {FIRST}");
    let deliveries =
        format!("SELECT id, sink, finished AS time FROM deliveries ORDER BY id, sink LIMIT {FIRST}");
    let old = [
        ("sweeps", "row", &*sweeps, retention.sweeps),
        ("deliveries", "id, sink", &*deliveries, retention.deliveries),
        ("observations", "row", "SELECT row, ended AS time FROM observations", retention.observations),
        ("silences", "id", "SELECT id, until AS time FROM silences", retention.history),
    ];
    let mut more = forget_words(sql, before(retention.history))?;
    for (table, key, all, kept) in old {
        let mut statement = sql.prepare_cached(&format!(
            "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM ({all}) WHERE time < ?1 ORDER BY time LIMIT {BITE})"
        ))?;
        more |= statement.execute(params![before(kept)])? as i64 == BITE;
    }
    let mut statement = sql.prepare_cached(&format!(
        "DELETE FROM alerts WHERE fingerprint IN \
         (SELECT fingerprint FROM alerts WHERE needed = 0 AND since < ?1 ORDER BY since LIMIT {BITE})"
    ))?;
    more |= statement.execute(params![before(retention.resolved)])? as i64 == BITE;
    Ok(more)
}

/// Deletes a bite of what was said, and the first words that nothing refers to any longer.
fn forget_words(sql: &Connection, before: i64) -> Sql<bool> {
    let mut statement = sql.prepare_cached(&format!(
        "DELETE FROM history WHERE row IN (SELECT row FROM history WHERE time < ?1 ORDER BY time LIMIT {BITE}) \
         RETURNING episode"
    ))?;
    let episodes: Vec<i64> = statement.query_map([before], |row| row.get(0))?.collect::<Sql<_>>()?;
    let mut unused = sql.prepare_cached(
        "DELETE FROM episodes WHERE row = ?1 AND NOT EXISTS (SELECT 1 FROM history WHERE episode = ?1)",
    )?;
    for episode in &episodes {
        unused.execute([episode])?;
    }
    Ok(episodes.len() as i64 == BITE)
}
