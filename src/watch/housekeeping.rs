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
use crate::alert::tell::tell_anew;
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
        let finding = &record.alert.finding;
        let is_swept = match (finding.kind, finding.ip) {
            // It is about all ports of a host, and so has none.
            (FindingKind::AnswersAll, Some(ip)) => shared.is_host_swept(ip),
            _ => target_of(finding).and_then(|target| shared.is_swept(&target)),
        };
        is_swept.unwrap_or(true)
    };
    let is_kept = |record: &Record| is_swept(record) && is_kept(record, &config, &shared.file);
    let is_sink = |name: &str| config.sinks.iter().any(|sink| sink.name == name);
    let step = |book: &mut Book, mint: Mint<'_>| {
        tell_anew(book, &is_sink);
        retire(book, &is_kept, &config.alerting, now, mint)
    };
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
        // Where the sink is gone, nothing will ever arrive there again: somebody takes note that messages were lost.
        FindingKind::DeliveryFailed => {
            record.alert.acknowledged.is_none()
                || config.sinks.iter().any(|sink| Some(sink.name.as_str()) == about)
        }
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

/// Ends what a start has mended: the file has been taken up, or there would be none; and the clock is believed.
pub fn begin(shared: &Shared) {
    let now = shared.time.now();
    let name = shared.file.display().to_string();
    shared.desk.report(Finding::config_rejected(&name, "", now), false, None, now);
    let clock = Finding::clock_stepped(&hostname(), "the watch has begun anew".to_owned(), now);
    shared.desk.report(clock, false, None, now);
    look_at_store(shared);
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

/// Looks whether the database is still where it was, and says so. Nothing fails while it is not: the file is there
/// until the last one closes it, so that this can still be told, and everything is gone by the next start.
pub fn look_at_store(shared: &Shared) {
    let now = shared.time.now();
    let is_lost = shared.desk.with_store(|store| Ok(!store.is_in_place())).unwrap_or_default();
    let file = shared.config().store.path.display().to_string();
    if is_lost {
        tracing::error!(%file, "the database has been removed or replaced");
    }
    if is_lost != shared.desk.fires(FindingKind::StoreFailed) {
        shared.desk.report(Finding::store_lost(&file, now), is_lost, None, now);
    }
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
            let why = "the sink is no longer configured";
            tracing::error!(%sink, count, %why, "messages given up");
            shared.desk.report(Finding::delivery_failed(sink, *count, why, now), true, None, now);
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
