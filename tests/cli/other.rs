//! The commands beside `sweep`.

use std::fs;
use std::process::Command;

use crate::{Answer, run, run_in};

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
    let directory = tempfile::tempdir().expect("a directory");
    fs::copy("tests/data/config/example.toml", directory.path().join("example.toml")).expect("a copy");
    // A secret that is named must be there.
    let answer = run_in(directory.path(), &["config", "check", "example.toml"]);
    assert_eq!(answer.status, Some(2));
    assert!(answer.stderr.contains("`url_file` names no file that can be read"), "{}", answer.stderr);
    fs::create_dir(directory.path().join("secrets")).expect("a directory");
    fs::write(directory.path().join("secrets/soc-url"), "https://hook.example.net/1").expect("a secret");
    let answer = run_in(directory.path(), &["config", "check", "example.toml"]);
    assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""));
    let says = "example.toml: no mistakes; allowances 1, expectations 1, watches 1, sinks 3, routes 2\n\
                watch sweep: 65536 addresses x 6 ports\n";
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

/// What `config check` says of a configuration, beside a broken allowlist and a broken file of excludes.
fn check(text: &str) -> Answer {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("a.toml"), text).expect("a file");
    fs::write(directory.path().join("allow.toml"), "[[allow]]\nhosts = [\"198.18.0.1\"]\n").expect("a file");
    fs::write(directory.path().join("never.txt"), "198.18.0.0/33\nx y\n").expect("a file");
    run_in(directory.path(), &["config", "check", "a.toml"])
}

#[test]
fn config_check_tells_the_mistakes_of_all_files_at_once() {
    let answer = check(
        "[scope]\nnetworks = [\"198.18.0.0/24\"]\nexclude_files = [\"never.txt\"]\n[sweep]\nallowlist = \
         \"allow.toml\"\n",
    );
    assert_eq!((answer.status, answer.stdout.as_str()), (Some(2), ""));
    for says in ["allow.toml:1:1: `ports` is missing", "never.txt:1:1: `198.18.0.0/33`", "never.txt:2:3: `y`"]
    {
        assert!(answer.stderr.contains(says), "{says}: {}", answer.stderr);
    }
}

#[test]
fn config_check_never_says_two_things() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("all.txt"), "198.18.0.0/24\n").expect("a file");
    fs::write(directory.path().join("fleet.txt"), "198.18.0.7\n").expect("a file");
    let text = "[scope]\nfiles = [\"fleet.txt\"]\nexclude_files = [\"all.txt\"]\n";
    fs::write(directory.path().join("a.toml"), text).expect("a file");
    let answer = run_in(directory.path(), &["config", "check", "a.toml"]);
    assert_eq!((answer.status, answer.stdout.as_str()), (Some(2), ""), "{}", answer.stderr);
    assert!(answer.stderr.contains("the scope is empty"), "{}", answer.stderr);
    // The name is still to come, and may lead anywhere.
    let answer =
        check("[scope]\nnetworks = [\"198.18.0.0/30\", \"localhost\"]\nexclude = [\"198.18.0.0/30\"]\n");
    assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""));
    assert!(answer.stdout.contains("no mistakes; host names 1 (not looked up), "), "{}", answer.stdout);
}

/// A configuration with these watches, sinks and routes.
fn watching(watches: &str, sinks: &[&str], routes: &str) -> String {
    let sink =
        |name: &&str| format!("[[sink]]\nname = \"{name}\"\nkind = \"file\"\npath = \"{name}.jsonl\"\n");
    let sinks: String = sinks.iter().map(sink).collect();
    format!(
        "[scope]\nnetworks = [\"198.18.0.0/24\"]\n{watches}{sinks}[store]\npath = \"a.db\"\n[route]\n{routes}"
    )
}

#[test]
fn config_check_says_what_each_watch_sweeps() {
    let watches = "[[watch]]\nname = \"one\"\nhosts = [\"198.18.0.9\"]\nports = [22]\n[[watch]]\nname = \"two\"\n\
                   hosts = [\"localhost\", \"198.18.0.0/30\"]\n";
    let routes = "security = [\"soc\"]\nhealth = [\"ops\"]\n";
    let answer = check(&watching(watches, &["soc", "ops"], routes));
    let says = "a.toml: no mistakes; allowances 0, expectations 0, watches 2, sinks 2, routes 2\n\
                watch one: 1 addresses x 1 ports\n\
                watch two: 4 addresses x 6 ports, host names 1 (not looked up)\n";
    assert_eq!((answer.status, answer.stdout.as_str(), answer.stderr.as_str()), (Some(0), says, ""));
    // A file that is good for sweeps only, whatever is in it, says so.
    for text in ["", "[scope]\nnetworks = [\"198.18.0.0/24\"]\n"] {
        let answer = check(text);
        assert_eq!(answer.status, Some(0), "{}", answer.stderr);
        assert!(
            answer.stdout.contains("\nthis is for `portreeve sweep`; `portreeve watch` needs"),
            "{answer:?}"
        );
    }
}

#[test]
fn config_check_notes_that_nobody_hears_of_the_only_sink() {
    let answer = check(&watching("", &["soc"], "security = [\"soc\"]\nhealth = [\"soc\"]\n"));
    assert_eq!(answer.status, Some(0), "{}", answer.stderr);
    let note = "note: `soc` is the only sink, so nobody is told when messages to it are given up";
    assert!(answer.stderr.contains(note), "{}", answer.stderr);
    let two = "security = [\"soc\"]\nhealth = [\"ops\"]\n";
    assert_eq!(check(&watching("", &["soc", "ops"], two)).stderr, "");
}

#[test]
fn a_drill_tries_every_route() {
    let directory = tempfile::tempdir().expect("a directory");
    let routes = "security = [\"soc\"]\nhealth = [\"ops\"]\n[[route.match]]\nclasses = [\"own\"]\n\
                  hosts = [\"198.18.0.9\"]\nto = [\"pager\"]\n[[route.match]]\nseverity = \"critical\"\n\
                  to = [\"boss\"]\nalso = true\n";
    let text = watching("", &["soc", "ops", "pager", "boss"], routes) + "[alerting]\nstorm_above = 1\n";
    fs::write(directory.path().join("a.toml"), &text).expect("a file");
    let drill = ["drill", "--config", "a.toml", "--wait", "5"];
    let answer = run_in(directory.path(), &drill);
    assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""), "{}", answer.stdout);
    for sink in ["soc", "ops", "pager", "boss"] {
        for transition in ["firing", "resolved"] {
            assert!(
                answer.stdout.contains(&format!("-> {sink}: {transition} delivered")),
                "{}",
                answer.stdout
            );
        }
        let told = fs::read_to_string(directory.path().join(format!("{sink}.jsonl"))).expect(sink);
        assert_eq!(told.lines().count(), 2, "{sink}: {told}");
    }
    let at = text.lines().position(|line| line == "[[route.match]]").expect("a line") + 1;
    let says = format!("[[route.match]] in line {at} -> pager: firing delivered");
    assert!(answer.stdout.contains(&says), "{}", answer.stdout);
    // One that can be told nothing fails the drill.
    let broken = text.replace("\"pager.jsonl\"", "\"no/such/pager.jsonl\"");
    fs::write(directory.path().join("a.toml"), broken).expect("a file");
    assert_eq!(run_in(directory.path(), &["drill", "--config", "a.toml", "--wait", "1"]).status, Some(2));
}

#[test]
fn config_check_refuses_a_canary_that_a_sweep_refuses() {
    let canary = "[sweep]\ncanaries = [\"198.18.9.9:22\"]\n";
    let answer = check(&format!("[scope]\nnetworks = [\"198.18.0.0/24\"]\n{canary}"));
    assert_eq!((answer.status, answer.stdout.as_str()), (Some(2), ""));
    assert!(answer.stderr.contains("the canary 198.18.9.9:22 is not in the scope"), "{}", answer.stderr);
    let answer = check(&format!("[scope]\nnetworks = [\"198.18.0.0/24\", \"localhost\"]\n{canary}"));
    assert_eq!(answer.status, Some(0), "{}", answer.stderr);
}

#[test]
fn a_reader_of_a_list_may_leave() {
    for line in ["ports", "man", "schema", "completions bash", "sweep 198.18.0.0/16 --ports all --dry-run"] {
        let script =
            format!("set -o pipefail; '{}' {line} | head -c 1 >/dev/null", env!("CARGO_BIN_EXE_portreeve"));
        let answer = Answer::of(&Command::new("bash").args(["-c", &script]).output().expect("bash"));
        assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""), "{line}");
    }
}

#[test]
fn results_that_would_go_nowhere_are_an_error() {
    for line in [
        "ports",
        "man",
        "schema",
        "completions bash",
        "doctor",
        "sweep 127.0.0.1",
        "sweep 127.0.0.1 --dry-run",
    ] {
        let script = format!("'{}' {line} >&-", env!("CARGO_BIN_EXE_portreeve"));
        let answer = Answer::of(&Command::new("bash").args(["-c", &script]).output().expect("bash"));
        assert_eq!(answer.status, Some(2), "{line}");
        assert!(answer.stderr.contains("error: standard output is closed"), "{line}: {}", answer.stderr);
    }
    // Somebody who wants none says so, in either way of opening it; and a file is as good as standard output.
    let directory = tempfile::tempdir().expect("a directory");
    for line in ["ports >/dev/null", "ports 1<>/dev/null", "sweep 127.0.0.1 --dry-run --output out >&-"] {
        let script = format!("'{}' {line}", env!("CARGO_BIN_EXE_portreeve"));
        let mut command = Command::new("bash");
        let answer = command.args(["-c", &script]).current_dir(directory.path()).output().expect("bash");
        assert_eq!(answer.status.code(), Some(0), "{line}");
    }
}

#[test]
fn nothing_that_was_typed_works_on_the_terminal() {
    let directory = tempfile::tempdir().expect("a directory");
    for line in [
        &["sweep", "127.0.0.1", "--ports", "\x1b[2J\u{202e}"][..],
        &["sweep", "127.0.0.1", "--\x1b[2J\u{202e}"],
        &["sweep", "\x1b[2J\u{202e}"],
        &["\x1b[2J\u{202e}"],
        &["sweep", "127.0.0.1", "--allowlist", "\x1b[2J\u{202e}"],
        &["sweep", "127.0.0.1", "--ports", "1", "--output", "\x1b[2J\u{202e}/x"],
        &["config", "check", "\x1b[2J\u{202e}"],
        &["doctor", "127.0.0.1", "--interface", "\x1b[2J\u{202e}"],
    ] {
        let answer = run_in(directory.path(), line);
        assert_eq!(answer.status, Some(2), "{line:?}: {answer:?}");
        for said in [&answer.stdout, &answer.stderr] {
            assert!(!said.contains(['\x1b', '\u{202e}']), "{line:?}: {said:?}");
        }
    }
}

#[test]
fn nothing_that_a_file_says_or_is_called_works_on_the_terminal() {
    let directory = tempfile::tempdir().expect("a directory");
    let name = "\x1b[2J.txt";
    fs::write(directory.path().join(name), "127.0.0.1\n").expect("a file");
    let answer = run_in(directory.path(), &["sweep", &format!("@{name}"), "--ports", "1"]);
    assert!(answer.stderr.contains("\\x1b[2J.txt (1 targets)"), "{}", answer.stderr);
    assert!(!answer.stderr.contains('\x1b'), "{:?}", answer.stderr);
    let text = "[scope]\nnetworks = [\"\\u001b[2J\"]\n\"\\u001b[3J\" = 1\n[sweep]\nports = \"\\u202e\"\n";
    fs::write(directory.path().join("a.toml"), text).expect("a file");
    let answer = run_in(directory.path(), &["config", "check", "a.toml"]);
    assert_eq!((answer.status, answer.stderr.lines().count()), (Some(2), 3), "{}", answer.stderr);
    assert!(!answer.stderr.contains(['\x1b', '\u{202e}']), "{:?}", answer.stderr);
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
    let commands = [
        "sweep",
        "alerts",
        "ack",
        "silence",
        "history",
        "db",
        "backup",
        "retry",
        "config",
        "check",
        "doctor",
        "ports",
        "completions",
        "man",
        "schema",
    ];
    for shell in ["bash", "zsh", "fish"] {
        let answer = run(&["completions", shell]);
        assert_eq!(answer.status, Some(0));
        for command in commands {
            assert!(answer.stdout.contains(command), "{shell} does not know {command}");
        }
    }
    let manual = run(&["man"]);
    assert_eq!(manual.status, Some(0));
    for page in ["portreeve\\-sweep", "portreeve-sweep", "portreeve\\-help"] {
        assert!(!manual.stdout.contains(page), "there is no page {page}");
    }
    assert!(manual.stdout.contains("Exit status: 0 complete"), "{}", &manual.stdout[..2000]);
    assert!(manual.stdout.contains(".TH portreeve 1"));
    for command in [
        "SWEEP",
        "ALERTS",
        "ACK",
        "SILENCE",
        "SILENCE ADD",
        "SILENCE LIST",
        "SILENCE END",
        "HISTORY",
        "DB",
        "DB CHECK",
        "DB BACKUP",
        "DB RETRY",
        "CONFIG",
        "CONFIG CHECK",
        "DOCTOR",
        "PORTS",
        "COMPLETIONS",
        "MAN",
        "SCHEMA",
    ] {
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
    let answer = run(&["doctor", "127.255.255.240/28"]);
    let says = "is never probed (the broadcast address of a network that this host is on)";
    assert!(answer.stdout.contains(says), "{}", answer.stdout);
    let answer = run(&["doctor", "127.0.0.1", "--interface", "no-such0"]);
    assert_eq!(answer.status, Some(2), "an interface that is not there is a fault: {}", answer.stdout);
    assert!(answer.stdout.contains("FAULT route"), "{}", answer.stdout);
}

#[test]
fn doctor_says_whether_the_xdp_engine_could_run() {
    let about_xdp = |line: &[&str]| {
        let answer = run(line);
        let is_about_it = |line: &&str| line.split_whitespace().nth(1) == Some("xdp");
        (answer.status, answer.stdout.lines().filter(is_about_it).map(str::to_owned).collect::<Vec<_>>())
    };
    // Where nobody wants it, it is no fault of the host's that it cannot run.
    for line in [&["doctor"][..], &["doctor", "127.0.0.1"]] {
        let (status, said) = about_xdp(line);
        assert_eq!(status, Some(0), "{said:?}");
        let is_told =
            said.iter().any(|fact| fact.contains("can run here: ") || fact.contains("cannot run here: "));
        assert!(is_told && said.iter().all(|fact| !fact.starts_with("FAULT")), "{said:?}");
    }
    let (status, said) = about_xdp(&["doctor", "127.0.0.1", "--engine", "xdp"]);
    let faults = said.iter().filter(|fact| fact.starts_with("FAULT")).count();
    assert_eq!(status, Some(if faults > 0 { 2 } else { 0 }), "{said:?}");
    assert!(said.iter().any(|fact| fact.contains("has no part in it")), "{said:?}");
}

#[test]
fn the_schema_is_json() {
    let answer = run(&["schema"]);
    assert_eq!(answer.status, Some(0));
    let schema: serde_json::Value = serde_json::from_str(&answer.stdout).expect("json");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}
