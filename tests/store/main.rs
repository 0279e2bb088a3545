//! The database: what is written is there, together or not at all, in its order, after whatever may happen to the
//! process, the disk or the file.

mod growth;
mod keep;
mod kill;
mod opening;
mod outbox;

use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use portreeve::alert::life::{Alert, Phase};
use portreeve::alert::notice::{Notice, SweepRef, Transition};
use portreeve::alert::record::Record;
use portreeve::policy::class::Class;
use portreeve::policy::finding::Finding;
use portreeve::sink::message::{Event, Message};
use portreeve::store::Store;
use portreeve::store::error::StoreError;
use portreeve::store::outbox::SinkBooks;
use portreeve::sweep::ledger::Ledger;
use portreeve::sweep::report::{Observation, Packets, Report, Vantage, Verdict};
use portreeve::sweep::verified::{Confirmation, Verification};
use portreeve::target::state::{Reason, State};
use portreeve::target::{Target, Transport};
use tempfile::TempDir;
use ulid::Ulid;

/// A directory of its own, and the path of a database in it.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("portreeve.db");
    (directory, path)
}

fn open(path: &Path) -> Store {
    Store::open(path).expect("a database")
}

/// So many milliseconds into the test.
fn at(ms: i64) -> Timestamp {
    let begin: Timestamp = "2026-06-01T00:00:00Z".parse().expect("a time");
    begin + SignedDuration::from_millis(ms)
}

fn target(n: u32) -> Target {
    let [_, a, b, c] = n.to_be_bytes();
    Target { ip: [10, a, b, c].into(), port: 6379, transport: Transport::Tcp }
}

fn seen(n: u32, reason: Reason) -> Observation {
    let state = reason.state();
    let target = target(n);
    Observation {
        target,
        state,
        reason: Some(reason),
        unknown: None,
        tries: 1,
        rtt_us: None,
        ttl: None,
        corrects: false,
    }
}

fn id(n: u64) -> Ulid {
    Ulid::from_parts(1_780_000_000_000 + n, u128::from(n))
}

/// The alert about the n-th target; `episode` tells its firings apart.
fn alert(n: u32, episode: u64, state: Phase, now: Timestamp) -> Alert {
    let known = Confirmation { verification: Verification::Verified, conduct: None, banner: None };
    Alert {
        finding: Finding::exposure(&target(n), State::Open, None, known, now),
        class: Class::security(),
        state,
        since: now,
        episode: id(episode),
        fired_at: Some(now),
        resolution: None,
        flapping: false,
        failures: 0,
        members: 0,
        annotation: None,
        acknowledged: None,
        muted: None,
    }
}

fn record(alert: Alert) -> Record {
    Record::new(alert)
}

fn notice(n: u64, transition: Transition, alert: Alert, now: Timestamp) -> Notice {
    let sweep = Some(SweepRef { id: id(n), name: "risky".to_owned() });
    Notice { id: id(n), time: now, transition, sweep, alert }
}

/// A small message of this key.
fn event(n: u64, key: &str, now: Timestamp) -> Message {
    Message::Event(Event { id: id(n), kind: key.to_owned(), time: now, body: serde_json::json!({ "n": n }) })
}

fn report(n: u64, verdict: Verdict, completed: Timestamp) -> Report {
    let ledger =
        Ledger { declared: 393_216, open: 4000, closed: 300_000, filtered: 89_216, ..Ledger::default() };
    let vantage = Vantage {
        host: "scanner-1".to_owned(),
        engine: "packet".to_owned(),
        engine_reason: "it may".to_owned(),
        interface: None,
        source: None,
        next_hop: None,
    };
    Report {
        sweep: id(n),
        shard: None,
        vantage,
        started: completed - SignedDuration::from_secs(20),
        completed,
        duration_ms: 20_000,
        verdict,
        ledger,
        unknown_reasons: Default::default(),
        packets: Packets {
            sent: 500_000,
            canaries: 12,
            received: 304_000,
            foreign: 3,
            dropped: 0,
            refused: 1,
        },
        paths: Vec::new(),
    }
}

/// The books of one sink.
fn books(store: &Store, sink: &str) -> SinkBooks {
    let books = store.books().expect("books");
    books.into_iter().find(|books| books.sink == sink).expect("the books of this sink")
}

/// Writes, with the store's own kind of error.
fn write<T>(
    store: &mut Store,
    change: impl FnOnce(&portreeve::store::Transaction<'_>) -> Result<T, StoreError>,
) -> T {
    store.write(change).expect("a transaction")
}

/// This program once more, as a process of its own that runs one test in the role that it is given.
fn child(test: &str, role: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env("STORE_TEST_PATH", path);
    command
}

const ROLE: &str = "STORE_TEST_ROLE";

/// The database that this process is to use, if it is the child for this role.
fn role(role: &str) -> Option<PathBuf> {
    (std::env::var(ROLE).ok()? == role).then(|| std::env::var_os("STORE_TEST_PATH").map(PathBuf::from))?
}
