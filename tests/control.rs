//! The control run as a library, on this host's own loopback: when it may send, and when it rests.

#[path = "evidence/made.rs"]
#[allow(dead_code)]
mod made;

use std::num::NonZeroU64;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use made::{Nobody, gathered, performer};
use portreeve::config::control::ControlConfig;
use portreeve::config::hours::OpeningHours;
use portreeve::config::options::EngineChoice;
use portreeve::control::ControlError;
use portreeve::control::plan::Request;
use portreeve::control::run::{Ended, Run};
use portreeve::evidence::journal::{Entry, What};
use portreeve::link::packet::RECEIVE_RING_BYTES;
use portreeve::policy::allowlist::Allowlist;
use portreeve::sync::SignalFlag;
use portreeve::target::ports::PortSet;
use tempfile::TempDir;

fn at(text: &str) -> Timestamp {
    text.parse().expect(text)
}

fn night() -> ControlConfig {
    let hours = vec!["22:00-05:00".parse().expect("hours")];
    ControlConfig {
        tile: NonZeroU64::new(400),
        opening: OpeningHours { hours, ..OpeningHours::default() },
        ..ControlConfig::default()
    }
}

/// What is asked of each run: 800 targets of this host, by the kernel's own connections.
fn request<'a>(control: &'a ControlConfig, nothing: &'a Allowlist, ports: &str) -> Request<'a> {
    let mut gathered = gathered();
    gathered.settings.networks = vec!["127.0.0.0-127.0.0.7".parse().expect("a range")];
    gathered.written = vec!["127.0.0.0-127.0.0.7".to_owned()];
    gathered.settings.ports = Some(ports.parse().expect(ports));
    gathered.settings.engine = Some(EngineChoice::Connect);
    gathered.settings.rate = Some("400".parse().expect("a rate"));
    Request {
        gathered,
        control,
        config: None,
        allowlist: nothing,
        watched_ports: PortSet::risky(),
        verify: false,
        senders: None,
        receive_ring_bytes: RECEIVE_RING_BYTES,
        previous: None,
        rescan_of: None,
    }
}

/// Sweeps all of it by a clock that shows what it is told to at each moment of the test.
fn sweep(dir: &Path, clock: &(dyn Fn(Duration) -> Timestamp + Sync)) -> Vec<Entry> {
    let (control, nothing) = (night(), Allowlist::new(Vec::new()));
    let request = request(&control, &nothing, "40001-40100");
    let begun = Instant::now();
    let now = move || clock(begun.elapsed());
    let run = Run::enter(&request, dir, performer(), now()).expect("a place");
    let never = SignalFlag::new(false);
    let Ended::Swept(run) = run.sweep(&never, &mut Nobody, &now).expect("loopback can be swept") else {
        panic!("nobody stopped it");
    };
    run.entries().to_vec()
}

fn words(entries: &[Entry]) -> Vec<String> {
    let word = |entry: &Entry| match &entry.what {
        What::TileBegun { tile, attempt } => format!("{tile}.{attempt}"),
        What::TileSwept { tile, .. } => format!("{tile} swept"),
        What::TileDone(done) => format!("{} done", done.tile),
        What::Paused { until } => format!("until {until}"),
        What::Continued => "on".to_owned(),
        What::Begun { .. } => "begun".to_owned(),
        other => format!("{other:?}"),
    };
    entries.iter().map(word).collect()
}

#[test]
fn does_not_begin_before_its_hours() {
    let dir = TempDir::new().expect("a directory");
    let entries = sweep(&dir.path().join("evidence"), &|passed| match passed.as_millis() {
        0..600 => at("2026-11-26T21:59:00Z"),
        _ => at("2026-11-26T22:00:00Z"),
    });
    let expected =
        ["begun", "until 2026-11-26T22:00:00Z", "on", "1.1", "1 swept", "1 done", "2.1", "2 swept", "2 done"];
    assert_eq!(words(&entries), expected);
}

/// A tile in flight when the hours end is stopped, counts for nothing, and is begun again when they return.
#[test]
fn rests_in_the_middle_of_a_tile() {
    let dir = TempDir::new().expect("a directory");
    let entries = sweep(&dir.path().join("evidence"), &|passed| match passed.as_millis() {
        0..400 => at("2026-11-27T04:59:00Z"),
        400..900 => at("2026-11-27T05:00:00Z"),
        _ => at("2026-11-27T22:00:00Z"),
    });
    let words = words(&entries);
    let rested = ["begun", "1.1", "until 2026-11-27T22:00:00Z", "on", "1.2", "1 swept", "1 done"];
    assert_eq!(words[..7], rested, "{words:?}");
    assert_eq!(words[7..], ["2.1", "2 swept", "2 done"]);
}

#[test]
fn a_run_is_finished_as_it_was_begun() {
    let dir = TempDir::new().expect("a directory");
    let place = dir.path().join("evidence");
    let (control, nothing) = (night(), Allowlist::new(Vec::new()));
    let enter = |ports: &str, control: &ControlConfig| {
        let request = request(control, &nothing, ports);
        Run::enter(&request, &place, performer(), at("2026-11-26T22:00:00Z")).map(|_| ())
    };
    enter("40001-40100", &control).expect("it begins");
    enter("40001-40100", &control).expect("it goes on");
    let differs = enter("40001-40099", &control).expect_err("other ports");
    assert!(
        matches!(&differs, ControlError::Differs { what, .. } if what.contains("40001-40100")),
        "{differs}"
    );
    let other = ControlConfig { id: "NET-02".to_owned(), ..night() };
    assert!(matches!(enter("40001-40100", &other), Err(ControlError::Differs { .. })));
    std::fs::write(place.join("work/key"), "0".repeat(64)).expect("room");
    let damaged = enter("40001-40100", &control).expect_err("another secret");
    assert!(damaged.to_string().contains("not the secret that the plan promises"), "{damaged}");
}

#[test]
fn works_in_no_directory_of_somebody_else() {
    let dir = TempDir::new().expect("a directory");
    std::fs::write(dir.path().join("thesis.tex"), "mine").expect("room");
    let (control, nothing) = (night(), Allowlist::new(Vec::new()));
    let request = request(&control, &nothing, "1");
    let refused =
        Run::enter(&request, dir.path(), performer(), at("2026-11-26T22:00:00Z")).expect_err("no place");
    assert!(refused.to_string().contains("it holds thesis.tex"), "{refused}");
    assert!(!dir.path().join("work").exists());
}
