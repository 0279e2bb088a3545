//! What the daemon does beside sweeping and telling: reminders, the clock, the database, signs of life.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::cycle::event;
use super::desk::Change;
use super::shared::Shared;
use super::time::Step;
use crate::alert::advance::Mint;
use crate::alert::book::Book;
use crate::alert::judge::{retire, target_of};
use crate::alert::record::Record;
use crate::config::file::Config;
use crate::job::vitals::hostname;
use crate::policy::finding::{Finding, milliseconds};
use crate::policy::kind::FindingKind;
use crate::store::retention::Retention;

/// How often alerts are looked through for reminders and for silences that have ended.
pub const TICK: Duration = Duration::from_secs(10);

/// How often the database gives back what is too old.
pub const RETENTION: Duration = Duration::from_secs(600);

/// Looks through the alerts: ends those that nobody looks after any longer, reminds of the others.
pub fn tick(shared: &Shared) {
    let config = shared.config();
    let now = shared.time.now();
    let is_swept = |record: &Record| {
        let target = target_of(&record.alert.finding);
        target.and_then(|target| shared.is_swept(&target)).unwrap_or(true)
    };
    let is_kept = |record: &Record| is_swept(record) && is_kept(record, &config, &shared.file);
    let step = |book: &mut Book, mint: Mint<'_>| retire(book, &is_kept, &config.alerting, now, mint);
    shared.desk.make(&Change::of(&step), now);
}

/// Whether what an alert is about is still in the configuration.
fn is_kept(record: &Record, config: &Config, file: &Path) -> bool {
    let finding = &record.alert.finding;
    let about = finding.about.as_deref();
    match finding.kind {
        FindingKind::VantageBlind | FindingKind::SweepMissed => {
            config.watches.iter().any(|watch| Some(watch.name.as_str()) == about)
        }
        FindingKind::DeliveryFailed => config.sinks.iter().any(|sink| Some(sink.name.as_str()) == about),
        FindingKind::Outage => {
            let is_expected = |target| config.expect.iter().any(|expectation| expectation.names(&target));
            target_of(finding).is_some_and(is_expected)
        }
        FindingKind::ConfigRejected => {
            let allowlist = config.settings.allowlist.as_ref().map(|path| path.display().to_string());
            about == allowlist.as_deref() || about == Some(file.display().to_string().as_str())
        }
        _ => true,
    }
}

/// Looks whether the clock has jumped, and says so.
pub fn look_at_clock(shared: &Shared) {
    let Some(step) = shared.time.look() else { return };
    let now = shared.time.now();
    let (message, holds) = match step {
        Step::Jumped(by) => (
            format!(
                "the clock has jumped by {by:#}; reminders, retries and expiries go by the old time for an hour"
            ),
            true,
        ),
        Step::Mended => ("the clock is back where it belongs".to_owned(), false),
        Step::Believed(by) => {
            shared.desk.shift(by, now);
            (format!("the clock has been another for so long that it is believed: {by:#}"), false)
        }
    };
    tracing::warn!("{message}");
    shared.desk.report(Finding::clock_stepped(&hostname(), message, now), holds, None, now);
}

/// Lets the database forget what is too old; gives up those messages whose sink is gone.
pub fn keep_house(shared: &Shared) {
    let config = shared.config();
    let now = shared.time.now();
    let sinks: BTreeSet<&str> = config.sinks.iter().map(|sink| sink.name.as_str()).collect();
    let sinks: Vec<&str> = sinks.into_iter().collect();
    let retention = Retention {
        sweeps: config.store.keep_sweeps,
        deliveries: config.store.keep_deliveries,
        history: config.store.keep_history,
        observations: config.store.keep_observations,
        ..Retention::default()
    };
    match shared.desk.with_store(|store| store.write(|tx| tx.orphans(&sinks, now))) {
        Ok(given_up) => given_up.iter().for_each(|(sink, count)| {
            tracing::warn!(%sink, count, "messages given up: their sink is no longer configured");
        }),
        Err(error) => tracing::warn!(%error, "messages without a sink were not looked for"),
    }
    // Bite by bite, so that nobody waits for it.
    loop {
        match shared.desk.with_store(|store| store.retain(&retention, now)) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                tracing::warn!(%error, "the database was not tidied up");
                break;
            }
        }
    }
}

/// Something that has happened to the daemon, and of which there is nothing more to say.
#[derive(Serialize)]
pub struct Note<'a> {
    schema: &'static str,
    event: &'a str,
    #[serde(serialize_with = "milliseconds")]
    time: Timestamp,
    host: String,
    version: &'static str,
}

impl<'a> Note<'a> {
    /// That this has happened.
    pub fn new(event: &'a str, time: Timestamp) -> Self {
        let schema = crate::sink::event::SCHEMA;
        Note { schema, event, time, host: hostname(), version: env!("CARGO_PKG_VERSION") }
    }
}

/// Sweeps that were due and were not made.
#[derive(Serialize)]
pub struct Skip<'a> {
    schema: &'static str,
    event: &'static str,
    #[serde(serialize_with = "milliseconds")]
    time: Timestamp,
    watch: &'a str,
    skipped: u32,
    why: &'a str,
}

impl<'a> Skip<'a> {
    /// So many of this watch, for this reason.
    pub fn new(watch: &'a str, skipped: u32, why: &'a str, time: Timestamp) -> Self {
        let (schema, event) = (crate::sink::event::SCHEMA, "sweep.skipped");
        Skip { schema, event, time, watch, skipped, why }
    }
}

/// A sign of life, as those who hear of everything get it.
#[derive(Serialize)]
struct Heartbeat<'a> {
    schema: &'static str,
    event: &'static str,
    #[serde(serialize_with = "milliseconds")]
    time: Timestamp,
    host: &'a str,
    version: &'static str,
    /// How many alerts fire.
    firing: u64,
    /// What was raised for each sink, and what became of it.
    books: Vec<Books>,
}

#[derive(Serialize)]
struct Books {
    sink: String,
    raised: u64,
    delivered: u64,
    pending: u64,
    dead: u64,
}

/// Says that the daemon is alive, to those who hear of everything.
pub fn heartbeat(shared: &Shared) {
    let now = shared.time.now();
    let books = shared.desk.with_store(|store| store.books()).unwrap_or_default();
    let books = books.into_iter().map(|books| Books {
        sink: books.sink,
        raised: books.raised,
        delivered: books.delivered,
        pending: books.pending,
        dead: books.dead,
    });
    let heartbeat = Heartbeat {
        schema: crate::sink::event::SCHEMA,
        event: "heartbeat",
        time: now,
        host: &hostname(),
        version: env!("CARGO_PKG_VERSION"),
        firing: shared.desk.firing(),
        books: books.collect(),
    };
    shared.desk.announce(event("heartbeat", now, &heartbeat, None), now);
}
