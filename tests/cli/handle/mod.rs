//! The commands of those who handle alerts, on a database that the library has written as the daemon would.

mod alerts;
mod db;
mod history;
mod orders;
mod trouble;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use jiff::{SignedDuration, Timestamp, Unit};
use portreeve::alert::notice::{Notice, SweepRef};
use portreeve::alert::record::{Record, Told};
use portreeve::sink::event::JSON_SCHEMA;
use portreeve::sink::message::Message;
use portreeve::store::Store;
use portreeve::store::error::StoreError;
use portreeve::sweep::ledger::Ledger;
use portreeve::sweep::report::{Packets, Report, UnknownReason, Vantage, Verdict};
use serde_json::{Value, json};
use tempfile::TempDir;
use ulid::Ulid;

use crate::notices::notice;
use crate::schema::Schema;
use crate::{Answer, portreeve};

/// What nobody should have to see on a terminal.
const HOSTILE: &str = "\u{1b}[2J\u{202e}x\n";

/// The fingerprints of the alerts, and the first digits that are shown of them.
const EXPOSURE: &str = "c7f9d4be7f56ab39151510a68a616d91";
const OUTAGE: &str = "0a000000000000000000000000000001";
const DEVICE: &str = "0b000000000000000000000000000002";
const PENDING: &str = "0c000000000000000000000000000003";
const RESOLVED: &str = "0d000000000000000000000000000004";
const NEVER: &str = "0e000000000000000000000000000005";

/// A database that a daemon has left, and the time to which everything in it is relative.
struct Bench {
    directory: TempDir,
    now: Timestamp,
}

impl Bench {
    /// A database with nothing in it.
    fn empty() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let now = Timestamp::now().round(Unit::Second).expect("a time") - SignedDuration::from_secs(1);
        let bench = Bench { directory, now };
        drop(bench.store());
        fs::write(bench.directory.path().join("portreeve.toml"), CONFIG).expect("a file");
        bench
    }

    /// One with alerts in every state, by the hands of people who did not mean well.
    fn new() -> Self {
        let bench = Bench::empty();
        bench.write(|tx| {
            for (notice, told) in bench.alerts() {
                tx.save(&Record { told, ..Record::new(notice.alert) })?;
            }
            tx.sweep("risky", &bench.report(1, Verdict::Complete, -600), 2)?;
            tx.sweep("risky", &bench.report(2, Verdict::Degraded, -420), 2)?;
            tx.sweep("slow", &bench.report(3, Verdict::Blind, -240), 0)
        });
        bench
    }

    /// The alerts that are in it.
    fn alerts(&self) -> Vec<(Notice, Told)> {
        let hour = 3600;
        let outage = json!({
            "kind": "outage", "fingerprint": OUTAGE, "severity": "high", "ip": "198.18.0.20", "port": 5432,
            "service": "postgresql", "rule": "must-be-open", "expectation": "orders database", "class": "health",
            "owner": "dba", "message": "198.18.0.20:5432/tcp (orders database) is not open", "flapping": true,
            "verified": null, "verification": null, "acknowledged": {"who": "kim", "note": format!("on it{HOSTILE}"),
            "at": self.at(-hour)}, "since": self.at(-2 * hour), "failures": 3,
        });
        let device = json!({
            "kind": "answers-all", "fingerprint": DEVICE, "severity": "medium", "ip": "2001:db8::7", "port": null,
            "transport": null, "service": null, "verified": null, "verification": null, "owner": format!("ops{HOSTILE}"),
            "names": [format!("fw{HOSTILE}"), "fw.example.net"], "message": format!("it accepts every port{HOSTILE}"),
            "banner": {"protocol": "ssh", "text": "SSH-2.0-x"}, "annotation": "answers-all",
            "muted": "maintenance: firewall upgrade", "since": self.at(-48 * hour),
        });
        let pending = json!({
            "kind": "outage", "fingerprint": PENDING, "severity": "critical", "state": "pending", "class": "health",
            "fired_at": null, "since": self.at(-20 * 60), "failures": 1, "message": "198.18.3.4:6379/tcp is not open",
        });
        let resolved = json!({
            "fingerprint": RESOLVED, "ip": "198.18.3.5", "state": "resolved", "resolution": "seen",
            "since": self.at(-5 * hour), "message": "198.18.3.5:6379/tcp (redis) is open, not allowed",
        });
        let never = json!({
            "fingerprint": NEVER, "state": "resolved", "fired_at": null, "since": self.at(-hour),
        });
        let exposure = json!({"since": self.at(-3 * hour), "owner": "netops"});
        [
            (exposure, Told::Each),
            (outage, Told::Each),
            (device, Told::No),
            (pending, Told::No),
            (resolved, Told::No),
            (never, Told::No),
        ]
        .map(|(with, told)| (notice(with), told))
        .into()
    }

    fn report(&self, n: u64, verdict: Verdict, completed: i64) -> Report {
        let unknown = match verdict {
            Verdict::Complete => 0,
            Verdict::Degraded => 6,
            Verdict::Blind => 393_216,
        };
        let open = if unknown > 6 { 0 } else { 2 };
        let closed = 393_216 - unknown - open;
        Report {
            sweep: Ulid::from_parts(n, 0),
            shard: None,
            vantage: Vantage {
                host: "scan".into(),
                engine: "packet".into(),
                engine_reason: "asked for".into(),
                interface: None,
                source: None,
                next_hop: None,
            },
            started: self.at(completed - 20),
            completed: self.at(completed),
            duration_ms: 20_123,
            verdict,
            ledger: Ledger { declared: 393_216, open, closed, unknown, ..Ledger::default() },
            unknown_reasons: [(UnknownReason::LinkDown, unknown)]
                .into_iter()
                .filter(|(_, n)| *n > 0)
                .collect(),
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

    /// So many seconds from now.
    fn at(&self, seconds: i64) -> Timestamp {
        self.now + SignedDuration::from_secs(seconds)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("portreeve.db")
    }

    fn store(&self) -> Store {
        Store::open(&self.path()).expect("a database")
    }

    fn write<T>(
        &self,
        change: impl FnOnce(&portreeve::store::Transaction<'_>) -> Result<T, StoreError>,
    ) -> T {
        self.store().write(change).expect("a transaction")
    }

    /// Keeps what was said of an alert at some time, and sends it to the sink `soc`.
    fn say(&self, n: u64, seconds: i64, with: Value) -> Message {
        let mut notice = notice(with);
        notice.id = Ulid::from_parts(n, 0);
        notice.time = self.at(seconds);
        notice.sweep = Some(SweepRef { id: Ulid::from_parts(1, 0), name: "risky".to_owned() });
        let message = Message::Alert(Box::new(notice.clone()));
        self.write(|tx| {
            tx.note(&notice)?;
            tx.enqueue(&message, &["soc"])
        });
        message
    }

    /// The program, with the words of this line, where `kim` is at work.
    fn command(&self, line: &[&str]) -> Command {
        let mut command = portreeve(self.directory.path());
        command.args(line).env_remove("SUDO_USER").env("USER", "kim");
        command
    }

    /// What a command gives that is told of the database alone.
    fn run(&self, line: &[&str]) -> Answer {
        self.answer(&[line, &["--database", "portreeve.db"]].concat())
    }

    /// What a command gives that is told of the configuration.
    fn run_configured(&self, line: &[&str]) -> Answer {
        self.answer(&[line, &["--config", "portreeve.toml"]].concat())
    }

    fn answer(&self, line: &[&str]) -> Answer {
        let answer = Answer::of(&self.command(line).output().expect("the program starts"));
        // In JSON, what is no control character is as it was written.
        let texts =
            if line.contains(&"jsonl") { [&answer.stderr; 2] } else { [&answer.stdout, &answer.stderr] };
        for said in texts {
            assert!(!said.contains(['\u{1b}', '\u{202e}']), "{line:?}: {said:?}");
        }
        answer
    }

    /// The events that a command gives, each of which the schema must know.
    fn events(&self, line: &[&str]) -> Vec<Value> {
        checked(&self.run(&[line, &["--format", "jsonl"]].concat()))
    }

    /// A text, with its times as if it had been noon.
    fn at_noon(&self, text: &str) -> String {
        let mut rest = text;
        let mut told = String::new();
        while let Some(first) = rest.chars().next() {
            let seconds =
                rest.get(..20).filter(|text| text.ends_with('Z') && text.parse::<Timestamp>().is_ok());
            match seconds.map(|text| text.parse::<Timestamp>().expect(text)) {
                Some(time) => {
                    // What is relative to the moment of the command is a little later than it was meant to be.
                    let away = time.duration_since(self.now).as_secs();
                    let away = if away > 0 { away - away % 60 } else { away };
                    let noon: Timestamp = "2026-06-01T12:00:00Z".parse().expect("a time");
                    told += &(noon + SignedDuration::from_secs(away)).to_string();
                    rest = &rest[20..];
                }
                None => {
                    told.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        told
    }
}

/// The events of an answer, each of which the schema must know.
fn checked(answer: &Answer) -> Vec<Value> {
    let schema = Schema::parse(JSON_SCHEMA);
    let events = answer.events();
    for event in &events {
        schema.check(event).unwrap_or_else(|mistake| panic!("{mistake}: {event}"));
    }
    events
}

/// The values of one field.
fn field<'e>(events: &'e [Value], name: &str) -> Vec<&'e str> {
    events.iter().map(|event| event[name].as_str().unwrap_or_default()).collect()
}

/// A daemon's configuration: one sink of people, one of events, and a window that is always open.
const CONFIG: &str = r#"
[scope]
networks = ["198.18.0.0/24"]

[store]
path = "portreeve.db"

[[sink]]
name = "soc"
kind = "file"
path = "soc.jsonl"

[[sink]]
name = "siem"
kind = "file"
path = "siem.jsonl"

[route]
security = ["soc"]
health   = ["soc"]
events   = ["siem"]

[[maintenance]]
name  = "firewall upgrade"
kinds = ["answers-all"]
from  = 2020-01-01T00:00:00Z
until = 2120-01-01T00:00:00Z
"#;
