//! What would be probed, in which order: exactly the scope, repeatable, split without gap or overlap.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::{Answer, Service, portreeve, run};

const SCOPE: &[&str] =
    &["sweep", "198.18.0.0/28", "--exclude", "198.18.0.3", "--ports", "22,80,6379", "--dry-run"];

fn targets(more: &[&str]) -> Vec<String> {
    let answer = run(&[SCOPE, more].concat());
    assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""), "{more:?}");
    answer.stdout.lines().map(str::to_owned).collect()
}

/// What the scope is, written down by other means.
fn expected() -> BTreeSet<String> {
    let hosts = (0..16).filter(|host| *host != 3);
    hosts.flat_map(|host| [22, 80, 6379].map(|port| format!("198.18.0.{host}:{port}/tcp"))).collect()
}

#[test]
fn prints_each_target_once() {
    let printed = targets(&[]);
    assert_eq!(printed.len(), 45);
    assert_eq!(printed.into_iter().collect::<BTreeSet<_>>(), expected());
}

#[test]
fn a_seed_repeats_the_order_exactly() {
    let seven = targets(&["--seed", "7"]);
    assert_eq!(seven, targets(&["--seed", "7"]));
    let eight = targets(&["--seed", "8"]);
    assert_ne!(seven, eight);
    assert_eq!(seven.iter().collect::<BTreeSet<_>>(), eight.iter().collect::<BTreeSet<_>>());
    assert_ne!(targets(&[]), targets(&[]), "without a seed, every run has its own");
}

#[test]
fn shards_are_a_partition() {
    for of in [1, 2, 3, 7, 15] {
        let parts: Vec<Vec<String>> =
            (1..=of).map(|number| targets(&["--shard", &format!("{number}/{of}")])).collect();
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 45, "no overlap in {of}");
        assert_eq!(parts.into_iter().flatten().collect::<BTreeSet<_>>(), expected(), "no gap in {of}");
    }
}

#[test]
fn writes_json_too_and_to_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("targets");
    let file = path.to_str().expect("a name");
    let text = targets(&["--seed", "7"]);
    assert_eq!(targets(&["--seed", "7", "--output", file]), Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(&path).expect("a file").lines().collect::<Vec<_>>(), text);
    targets(&["--seed", "7", "--output", file, "--format", "jsonl"]);
    let json = std::fs::read_to_string(&path).expect("a file");
    let answer = Answer { status: Some(0), stdout: json, stderr: String::new() };
    let as_text = |event: &serde_json::Value| {
        format!("{}:{}/{}", event["ip"].as_str().expect("an address"), event["port"], "tcp")
    };
    assert_eq!(answer.events().iter().map(as_text).collect::<Vec<_>>(), text);
}

#[test]
fn sends_nothing() {
    let service = Service::open("127.77.1.1");
    let answer = run(&["sweep", "127.77.1.1", "--ports", &service.port(), "--dry-run"]);
    assert_eq!(answer.stdout, format!("{}/tcp\n", service.at));
    assert!(!service.was_reached());
}

#[test]
fn a_reader_that_leaves_has_read_enough() {
    let mut child = portreeve(".".as_ref())
        .args(["sweep", "127.0.0.0/12", "--ports", "all", "--dry-run"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    // The reader is dropped behind its first line, as by `| head -1`.
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert!(line.ends_with("/tcp\n"), "{line}");
    let answer = Answer::of(&child.wait_with_output().expect("an end"));
    assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""), "it has read enough");
}
