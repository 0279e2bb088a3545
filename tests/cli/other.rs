//! The commands beside `sweep`.

use std::fs;

use crate::{run, run_in};

#[test]
fn help_and_version_are_no_errors() {
    for line in
        [&["--help"][..], &["-h"], &["help"], &["sweep", "-h"], &["config", "--help"], &["doctor", "--help"]]
    {
        let answer = run(line);
        assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""), "{line:?}");
        assert!(answer.stdout.contains("Usage: portreeve"), "{line:?}: {}", answer.stdout);
    }
    let version = run(&["--version"]);
    assert_eq!(version.status, Some(0));
    assert_eq!(version.stdout, concat!("portreeve ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn the_help_of_sweep() {
    insta::assert_snapshot!(run(&["sweep", "--help"]).stdout);
}

#[test]
fn config_check_passes_the_documented_example() {
    let answer = run(&["config", "check", "tests/data/config/example.toml"]);
    assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""));
    let says = "tests/data/config/example.toml: no mistakes; 65536 addresses x 6 ports, allowances 1, expectations 1, \
                sinks 1\n";
    assert_eq!(answer.stdout, says);
}

#[test]
fn config_check_tells_every_mistake() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = "[scope]\nnetworks = [\"198.18.3.4/16\"]\nowners = \"netops\"\n\n[sweep]\nports = \"rediss\"\n\
                rate_max = 0\n\n\
                [[allow]]\nhosts = [\"198.18.0.10\"]\nports = [22]\nreason = \"bastion\"\n";
    fs::write(directory.path().join("five.toml"), text).expect("a file");
    let answer = run_in(directory.path(), &["config", "check", "five.toml"]);
    assert_eq!((answer.status, answer.stdout.as_str()), (Some(2), ""));
    assert_eq!(answer.stderr.lines().count(), 5);
    insta::assert_snapshot!(answer.stderr);
}

#[test]
fn ports_lists_the_catalogue() {
    let answer = run(&["ports", "risky"]);
    assert_eq!(answer.status, Some(0));
    assert_eq!(answer.stdout.lines().count(), 7, "a header and the six: {}", answer.stdout);
    let events = run(&["ports", "--json"]).events();
    assert!(events.len() > 20);
    let redis = events.iter().find(|line| line["service"] == "redis").expect("redis");
    assert_eq!((&redis["port"], &redis["risky"]), (&6379.into(), &true.into()));
    assert_eq!(run(&["ports", "redis,22", "--json"]).events().len(), 2);
}

#[test]
fn completions_and_the_manual_know_every_command() {
    let commands = ["sweep", "config", "check", "doctor", "ports", "completions", "man", "schema"];
    for shell in ["bash", "zsh", "fish"] {
        let answer = run(&["completions", shell]);
        assert_eq!(answer.status, Some(0));
        for command in commands {
            assert!(answer.stdout.contains(command), "{shell} does not know {command}");
        }
    }
    let manual = run(&["man"]);
    assert_eq!(manual.status, Some(0));
    assert!(manual.stdout.contains(".TH portreeve 1"));
    for command in ["SWEEP", "CONFIG", "CONFIG CHECK", "DOCTOR", "PORTS", "COMPLETIONS", "MAN", "SCHEMA"] {
        let heading = format!("\n.SH \"PORTREEVE {command}\"\n");
        let bare = format!("\n.SH PORTREEVE {command}\n");
        assert!(
            manual.stdout.contains(&heading) || manual.stdout.contains(&bare),
            "the manual has no {command}"
        );
    }
}

#[test]
fn doctor_names_the_engine_and_why() {
    let answer = run(&["doctor", "127.0.0.1"]);
    assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""), "{}", answer.stdout);
    let engine = answer
        .stdout
        .lines()
        .find(|line| line.split_whitespace().nth(1) == Some("engine"))
        .expect("the engine");
    let packet = engine.ends_with("packet: the fastest that this host can run");
    assert!(
        packet || engine.ends_with("connect: this user may not open packet sockets (CAP_NET_RAW)"),
        "{engine}"
    );
    let answer = run(&["doctor", "127.0.0.1", "--engine", "connect"]);
    assert!(answer.stdout.contains("connect: asked for"), "{}", answer.stdout);
    let answer = run(&["doctor", "127.0.0.1", "--interface", "no-such0"]);
    assert_eq!(answer.status, Some(2), "an interface that is not there is a fault: {}", answer.stdout);
    assert!(answer.stdout.contains("FAULT route"), "{}", answer.stdout);
}

#[test]
fn the_schema_is_json() {
    let answer = run(&["schema"]);
    assert_eq!(answer.status, Some(0));
    let schema: serde_json::Value = serde_json::from_str(&answer.stdout).expect("json");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}
