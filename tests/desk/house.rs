//! What the daemon does beside sweeping and telling, by real configurations.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use portreeve::alert::advance::{Judgement, Mint, Patience};
use portreeve::alert::book::Book;
use portreeve::alert::judge;
use portreeve::alert::life::Acknowledgement;
use portreeve::alert::rules::AlertRules;
use portreeve::alert::tell::acknowledge;
use portreeve::policy::finding::Finding;
use portreeve::policy::kind::FindingKind;
use portreeve::sweep::verified::Confirmation;
use portreeve::target::state::State;
use portreeve::target::{Target, Transport};
use portreeve::watch::daemon::{self, Signals};
use portreeve::watch::desk::Change;
use portreeve::watch::housekeeping::{begin, keep_house, look_at_store, tick};
use portreeve::watch::once;
use portreeve::watch::shared::Shared;
use tempfile::TempDir;

/// Two watches, of which one sweeps once a year.
const WATCHES: &str = r#"
[[watch]]
name = "fast"
interval = "1h"
hosts = ["198.18.0.0/28"]
ports = [6379]

[[watch]]
name = "yearly"
cron = "0 0 1 1 *"
ports = [22]
"#;

const REST: &str = r#"
[store]
path = "alerts.db"

[[sink]]
name = "soc"
kind = "file"
path = "soc.jsonl"

[[sink]]
name = "ops"
kind = "file"
path = "ops.jsonl"

[route]
security = ["soc"]
health = ["ops"]
"#;

const SCOPE: &str = "[scope]\nnetworks = [\"198.18.0.0/24\"]\n";

fn text() -> String {
    [SCOPE, WATCHES, REST].concat()
}

/// What a start by this configuration sets up.
fn start(kept: &TempDir, text: &str) -> Shared {
    let file = kept.path().join("watch.toml");
    fs::write(&file, text).expect("a file");
    let config = daemon::load(&file).unwrap_or_else(|error| panic!("{error}"));
    daemon::set_up(&file, config).expect("a database")
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// Something is found.
fn find(shared: &Shared, finding: Finding) {
    let now = shared.time.now();
    let class = finding.kind.class();
    let judgement = Judgement { finding, class, holds: Ok(()), patience: Patience::NONE };
    let step = |book: &mut Book, mint: Mint<'_>| {
        judge::step(book, std::slice::from_ref(&judgement), &AlertRules::default(), now, mint)
    };
    shared.desk.make(&Change::of(&step), now);
}

fn exposure(ip: [u8; 4], port: u16) -> Finding {
    let target = Target { ip: ip.into(), port, transport: Transport::Tcp };
    Finding::exposure(&target, State::Open, None, Confirmation::default(), Timestamp::now())
}

fn answers_all(ip: [u8; 4]) -> Finding {
    Finding { kind: FindingKind::AnswersAll, port: None, transport: None, ..exposure(ip, 1) }
}

#[test]
fn what_no_watch_will_sweep_is_over_though_one_has_not_swept_since_the_start() {
    let kept = directory();
    let shared = start(&kept, &text());
    find(&shared, exposure([198, 18, 0, 99], 6379));
    shared.plan();
    tick(&shared);
    assert_eq!(shared.desk.firing(), 0, "fast looks at other hosts, and yearly at another port");
    find(&shared, exposure([198, 18, 0, 99], 22));
    find(&shared, exposure([198, 18, 0, 9], 6379));
    tick(&shared);
    assert_eq!(shared.desk.firing(), 2, "these are still to be looked at");
    // The watch that has not swept follows its settings.
    fs::write(&shared.file, text().replace("ports = [22]", "ports = [23]")).expect("a file");
    daemon::reload(&shared);
    shared.plan();
    tick(&shared);
    assert_eq!(shared.desk.firing(), 1);
}

#[test]
fn while_it_cannot_be_told_what_a_watch_will_sweep_nothing_is_out_of_scope() {
    let kept = directory();
    let hosts = kept.path().join("hosts.txt");
    let shared = start(&kept, &text().replace("networks =", "files = [\"hosts.txt\"]\nnetworks ="));
    find(&shared, exposure([198, 18, 0, 99], 6379));
    shared.plan();
    tick(&shared);
    assert_eq!(shared.desk.firing(), 1, "the file is not there");
    fs::write(&hosts, "198.18.1.0/24\n").expect("a file");
    shared.plan();
    tick(&shared);
    assert_eq!(shared.desk.firing(), 0);
}

#[test]
fn a_host_that_answers_all_ports_and_leaves_the_scope_is_over() {
    let kept = directory();
    let shared = start(&kept, &text());
    find(&shared, answers_all([198, 18, 9, 9]));
    find(&shared, answers_all([198, 18, 0, 9]));
    shared.plan();
    tick(&shared);
    assert_eq!(shared.desk.firing(), 1, "the other one is still looked at");
}

#[test]
fn a_start_ends_what_it_has_mended() {
    let kept = directory();
    let shared = start(&kept, &text());
    let (file, now) = (shared.file.display().to_string(), Timestamp::now());
    find(&shared, Finding::config_rejected(&file, "nonsense", now));
    let host = portreeve::job::vitals::hostname();
    find(&shared, Finding::clock_stepped(&host, "it has jumped".to_owned(), now));
    find(&shared, Finding::store_lost("alerts.db", now));
    drop(shared);
    let shared = start(&kept, &text());
    assert_eq!(shared.desk.firing(), 3);
    begin(&shared);
    assert_eq!(shared.desk.firing(), 0);
}

#[test]
fn messages_whose_sink_is_gone_are_an_alert_until_somebody_takes_note() {
    let kept = directory();
    let shared = start(&kept, &text());
    find(&shared, exposure([198, 18, 0, 9], 6379));
    drop(shared);
    let shared = start(&kept, &text().replace("\"soc\"", "\"desk\""));
    keep_house(&shared);
    tick(&shared);
    assert!(shared.desk.fires(FindingKind::DeliveryFailed));
    let now = shared.time.now();
    let told = shared.desk.parcels("ops", now, 10);
    let says = |parcel: &portreeve::watch::desk::Parcel| {
        let message = parcel.message.as_ref().expect("a message");
        serde_json::to_string(message).expect("JSON").contains("1 message for sink soc is given up")
    };
    assert!(told.iter().any(says), "{told:?}");
    let fingerprint = Finding::delivery_failed("soc", 0, "", now).fingerprint;
    let by = Acknowledgement { who: "ann".to_owned(), note: None, at: now };
    let step = |book: &mut Book, _: Mint<'_>| {
        acknowledge(book, &fingerprint, by.clone()).expect("an alert that fires")
    };
    shared.desk.make(&Change::of(&step), now);
    tick(&shared);
    assert!(!shared.desk.fires(FindingKind::DeliveryFailed));
}

#[test]
fn a_database_that_is_gone_is_an_alert_until_it_is_back() {
    let kept = directory();
    let shared = start(&kept, &text());
    look_at_store(&shared);
    assert!(shared.is_well());
    let (here, there) = (kept.path().join("alerts.db"), kept.path().join("moved.db"));
    fs::rename(&here, &there).expect("it moves");
    look_at_store(&shared);
    assert!(!shared.is_well(), "systemd and the heartbeat are told");
    assert_eq!(shared.desk.parcels("ops", shared.time.now(), 10).len(), 1, "messengers still carry it");
    look_at_store(&shared);
    fs::write(&here, "another file").expect("a file");
    look_at_store(&shared);
    assert!(!shared.is_well());
    assert_eq!(shared.desk.parcels("ops", shared.time.now(), 10).len(), 1, "and it is told once");
    fs::rename(&there, &here).expect("it comes back");
    look_at_store(&shared);
    assert!(shared.is_well());
}

#[test]
fn one_pass_does_all_of_it() {
    let kept = directory();
    let scope = "[scope]\nnetworks = [\"127.77.9.0/24\"]\n[sweep]\nengine = \"connect\"\n";
    let text = [scope, WATCHES, REST].concat().replace("198.18.0.0/28", "127.77.9.9");
    let shared = start(&kept, &text);
    let (file, now) = (shared.file.display().to_string(), Timestamp::now());
    find(&shared, Finding::config_rejected(&file, "nonsense", now));
    find(&shared, exposure([127, 77, 9, 99], 6379));
    let started = |tx: &portreeve::store::Transaction<'_>| tx.put("started:yearly", &now.to_string());
    shared.desk.with_store(|store| store.write(started)).expect("written");
    drop(shared);
    let shared = start(&kept, &text.replace("\"soc\"", "\"desk\""));
    let passed = once::run(&shared, &false.into()).expect("a pass");
    assert_eq!((passed.unmade, passed.firing), (0, 1), "what is lost is all that fires");
    let ops = fs::read_to_string(kept.path().join("ops.jsonl")).expect("a file");
    assert!(ops.contains("1 message for sink soc is given up"), "{ops}");
}

/// Waits until this file says so.
fn says(file: &Path, word: &str) -> bool {
    let looks = 0..300;
    looks.into_iter().any(|_| {
        thread::sleep(Duration::from_millis(100));
        fs::read_to_string(file).is_ok_and(|text| text.contains(word))
    })
}

#[test]
fn the_daemon_does_all_of_it() {
    let kept = directory();
    // Neither watch is due.
    let text = text().replace("interval = \"1h\"", "cron = \"0 0 1 1 *\"");
    let shared = Arc::new(start(&kept, &text));
    find(&shared, exposure([198, 18, 0, 99], 6379));
    let file = shared.file.display().to_string();
    find(&shared, Finding::config_rejected(&file, "nonsense", Timestamp::now()));
    let signals = Signals::default();
    let daemon = {
        let (shared, signals) = (Arc::clone(&shared), signals.clone());
        thread::spawn(move || daemon::run(&shared, &signals))
    };
    let (soc, ops) = (kept.path().join("soc.jsonl"), kept.path().join("ops.jsonl"));
    let resolved = "\"transition\":\"resolved\"";
    assert!(says(&ops, resolved), "the start ends what the file said before");
    assert!(says(&soc, resolved), "what no watch looks at is over");
    fs::remove_file(kept.path().join("alerts.db")).expect("it is gone");
    assert!(says(&ops, "store-failed"), "and that is told");
    signals.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    daemon.join().expect("an end").expect("no error");
}
