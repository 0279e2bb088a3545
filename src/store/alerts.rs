//! Alerts as they are now, one row for each fingerprint.
//!
//! What [`crate::alert`] has to know of in order to go on is *needed*: whatever is not resolved, and whatever is but
//! has something left to remember, as failures that count towards flapping or a firing that people have been told of.
//! The others are kept for a while for whoever asks what has been resolved, and are not loaded.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::codec::{bytes_of, digits, from_json, to_json, unreadable};
use super::error::StoreError;
use super::{Reader, Transaction};
use crate::alert::life::{Acknowledgement, Alert, Phase};
use crate::alert::record::{Record, Told};
use crate::alert::silence::Matcher;
use crate::policy::finding::Fingerprint;

/// Which alerts are meant. Nothing said means all.
#[derive(Clone, Debug, Default)]
pub struct AlertFilter {
    /// Alerts in any of these phases.
    pub phases: Vec<Phase>,
    /// Alerts that are what they are since then, or later.
    pub since: Option<Timestamp>,
    /// Alerts that fit.
    pub matcher: Matcher,
}

impl Reader {
    /// Every record that is needed, in the order of fingerprints.
    ///
    /// # Errors
    /// When the database fails.
    pub fn records(&self) -> Result<Vec<Record>, StoreError> {
        self.run("read the alerts", |sql| {
            let mut statement =
                sql.prepare_cached("SELECT body FROM alerts WHERE needed = 1 ORDER BY fingerprint")?;
            statement.query_and_then([], |row| from_json(row, 0))?.collect()
        })
    }

    /// The record of this alert, whether it is needed or only still there.
    ///
    /// # Errors
    /// When the database fails.
    pub fn record(&self, fingerprint: &Fingerprint) -> Result<Option<Record>, StoreError> {
        self.run("read an alert", |sql| {
            let mut statement = sql.prepare_cached("SELECT body FROM alerts WHERE fingerprint = ?1")?;
            statement.query_row([bytes_of(fingerprint)], |row| from_json(row, 0)).optional()
        })
    }

    /// The fingerprints that begin with these digits, of alerts that are there and of those that anything is still
    /// known of, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub fn fingerprints(&self, prefix: &str) -> Result<Vec<Fingerprint>, StoreError> {
        let Some((first, last)) = range_of(prefix) else { return Ok(Vec::new()) };
        self.run("look for an alert", |sql| {
            let mut statement = sql.prepare_cached(
                "SELECT fingerprint FROM alerts WHERE fingerprint BETWEEN ?1 AND ?2 \
                 UNION SELECT fingerprint FROM episodes WHERE fingerprint BETWEEN ?1 AND ?2 ORDER BY 1",
            )?;
            let found = statement.query_and_then([first, last], |row| {
                Fingerprint::try_from(digits(row, 0)?).map_err(|error| unreadable(0, error))
            })?;
            found.collect()
        })
    }

    /// The alerts that are meant, the latest change first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn alerts(&self, filter: &AlertFilter) -> Result<Vec<Alert>, StoreError> {
        let since = filter.since.map_or(i64::MIN, Timestamp::as_millisecond);
        self.run("read the alerts", |sql| {
            let mut statement = sql.prepare_cached(
                "SELECT body FROM alerts WHERE since >= ?1 ORDER BY since DESC, fingerprint",
            )?;
            let mut rows = statement.query([since])?;
            let mut alerts = Vec::new();
            while let Some(row) = rows.next()? {
                let Record { alert, .. } = from_json(row, 0)?;
                if (filter.phases.is_empty() || filter.phases.contains(&alert.state))
                    && filter.matcher.fits(&alert)
                {
                    alerts.push(alert);
                }
            }
            Ok(alerts)
        })
    }
}

impl Transaction<'_> {
    /// Keeps a record, in the place of the one of the same alert.
    ///
    /// # Errors
    /// When the database fails.
    pub fn save(&self, record: &Record) -> Result<(), StoreError> {
        let Record { alert, .. } = record;
        self.run("save an alert", |sql| {
            let mut statement = sql.prepare_cached(
                "INSERT INTO alerts (fingerprint, state, since, needed, body) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (fingerprint) DO UPDATE \
                 SET state = excluded.state, since = excluded.since, needed = excluded.needed, body = excluded.body",
            )?;
            let (fingerprint, since) = (bytes_of(&alert.finding.fingerprint), alert.since.as_millisecond());
            let values =
                params![fingerprint, alert.state.as_str(), since, is_needed(record), to_json(record)?];
            statement.execute(values).map(drop)
        })
    }

    /// Somebody takes an alert on. Gives the record as it is from now on, for the word about it; nothing, where there
    /// is no such alert.
    ///
    /// # Errors
    /// When the database fails.
    pub fn acknowledge(
        &self,
        fingerprint: &Fingerprint,
        acknowledgement: &Acknowledgement,
    ) -> Result<Option<Record>, StoreError> {
        let Some(mut record) = self.record(fingerprint)? else { return Ok(None) };
        record.alert.acknowledged = Some(acknowledgement.clone());
        self.save(&record)?;
        Ok(Some(record))
    }
}

/// The first and the last fingerprint that begins with these digits, as they lie in columns.
fn range_of(prefix: &str) -> Option<([u8; 16], [u8; 16])> {
    let end = |fill: &str| {
        let rest = fill.repeat(32_usize.checked_sub(prefix.len())?);
        u128::from_str_radix(&format!("{prefix}{rest}"), 16).ok().map(u128::to_be_bytes)
    };
    Some((end("0")?, end("f")?))
}

/// Whether an alert's next step depends on this record.
fn is_needed(record: &Record) -> bool {
    let Record { alert, tally, told, .. } = record;
    let judged = u32::MAX.checked_shr(32 - u32::from(tally.judged).min(32)).unwrap_or(0);
    alert.state != Phase::Resolved || alert.flapping || *told != Told::No || tally.history & judged != 0
}
