//! Targets as users have them: files, standard input, inventories and names, from the command line to the output.

use std::fs;

use tempfile::TempDir;

use crate::{Answer, Service, run_fed, run_in, schema};

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        fs::write(directory.path().join(name), text).expect("a file");
    }
    directory
}

/// The targets of a dry run, sorted.
fn targets(answer: &Answer) -> Vec<&str> {
    assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
    let mut targets: Vec<&str> = answer.stdout.lines().collect();
    targets.sort_unstable();
    targets
}

#[test]
fn every_form_of_a_target_is_swept() {
    let directory = directory(&[
        ("fleet.txt", "\u{feff}198.18.1.1, 198.18.1.2 # two\r\n"),
        ("never.txt", "198.18.1.2\n198.18.0.11-12\n"),
        ("none.txt", "# nothing\n"),
        ("fleet.json", r#"{"Instances": [{"Net": {"Ip": "198.18.3.0/31"}}, {"Net": {"Ip": null}}]}"#),
    ]);
    let line = [
        "sweep",
        "198.18.0.10-13",
        "@fleet.txt",
        "-",
        "--exclude-file",
        "never.txt",
        "--exclude-file",
        "none.txt",
        "--inventory",
        "fleet.json",
        "--inventory-address",
        "Net.Ip",
        "--ports",
        "22",
        "--dry-run",
    ];
    let answer = run_fed(directory.path(), &line, "198.18.2.1\n198.18.2.1\n");
    let expected = ["198.18.0.10", "198.18.0.13", "198.18.1.1", "198.18.2.1", "198.18.3.0", "198.18.3.1"];
    assert_eq!(targets(&answer), expected.map(|ip| format!("{ip}:22/tcp")));
    // An inventory comes through a pipe as well.
    let line = ["sweep", "--inventory", "-", "--inventory-address", "ip", "--ports", "22", "--dry-run"];
    let answer = run_fed(directory.path(), &line, "{\"ip\": \"198.18.4.1\"}\n{\"ip\": \"198.18.4.2\"}\n");
    assert_eq!(targets(&answer), ["198.18.4.1:22/tcp", "198.18.4.2:22/tcp"]);
}

/// This host's name is in its own hosts file, so that nobody else is asked.
#[test]
fn a_host_name_is_all_its_addresses() {
    let directory = directory(&[("fleet.txt", "localhost\n")]);
    for target in ["localhost", "LOCALHOST.", "@fleet.txt"] {
        let answer = run_in(directory.path(), &["sweep", target, "--ports", "22", "--dry-run"]);
        let targets = targets(&answer);
        assert!(targets.contains(&"127.0.0.1:22/tcp"), "{targets:?}");
        assert!(targets.iter().all(|t| ["127.0.0.1:22/tcp", "[::1]:22/tcp"].contains(t)), "{targets:?}");
    }
}

#[test]
fn names_travel_into_every_output() {
    let service = Service::open("127.77.4.1");
    let port = service.port();
    let inventory = "[{\"ip\": \"127.77.4.1\", \"name\": \"cache \\u001b[2J\\r\\n7\"}, \
         {\"ip\": \"127.77.4.2\"}, {\"ip\": \"\"}]";
    let directory = directory(&[("fleet.json", inventory)]);
    let line = [
        "sweep",
        "--inventory",
        "fleet.json",
        "--inventory-address",
        "ip",
        "--inventory-name",
        "name",
        "--ports",
        &port,
        "--states",
        "all",
    ];
    let answer = run_in(directory.path(), &line);
    assert_eq!(answer.status, Some(1), "{answer:?}");
    let shown = "[cache \\x1b[2J\\r\\n7]";
    let finding = format!(" {}/tcp {shown} is open, not allowed", service.at);
    assert!(answer.stdout.contains(&finding), "beside the address, and harmless: {}", answer.stdout);
    assert!(answer.stdout.contains(&format!("127.77.4.1 {shown}")), "in the table: {}", answer.stdout);
    assert!(!answer.stdout.contains('\x1b') && !answer.stderr.contains('\x1b'), "{answer:?}");
    assert!(answer.stderr.contains("sweeping fleet.json (2 targets), ports"), "{}", answer.stderr);
    assert!(
        answer.stderr.contains("1 of the addresses in fleet.json are null or empty"),
        "{}",
        answer.stderr
    );

    let answer = run_in(directory.path(), &[&line[..], &["--format", "jsonl"]].concat());
    let events = answer.events();
    let schema = schema::Schema::parse(&run_in(directory.path(), &["schema"]).stdout);
    for event in &events {
        schema.check(event).unwrap_or_else(|mistake| panic!("{mistake}: {event}"));
    }
    let sources = serde_json::json!([{"file": "fleet.json", "targets": 2, "skipped": 1}]);
    assert_eq!(
        (&events[0]["scope"]["sources"], &events[0]["scope"]["networks"]),
        (&sources, &serde_json::json!([]))
    );
    for event in
        events.iter().filter(|event| ["port", "finding"].contains(&event["event"].as_str().unwrap_or("")))
    {
        let expected = match event["ip"].as_str() {
            Some("127.77.4.1") => serde_json::json!(["cache \u{1b}[2J\r\n7"]),
            _ => serde_json::Value::Null,
        };
        assert_eq!(event.get("names").cloned().unwrap_or_default(), expected, "{event}");
    }
    assert_eq!(events.iter().filter(|event| event["event"] == "finding").count(), 1);
    assert!(!answer.stdout.contains('\x1b'), "JSON escapes it");
}

#[test]
fn authorisation_does_not_depend_on_where_targets_come_from() {
    let directory = directory(&[
        ("foreign.txt", "198.18.0.1\n"),
        ("fleet.json", "{\"ip\": \"198.18.0.1\"}"),
        ("wide.txt", "10.0.0.0/8\n11.0.0.0/8\n"),
        ("narrow.toml", "[scope]\nnetworks = [\"127.0.0.0/30\"]\n"),
    ]);
    let refused = |line: &[&str], input: &str| {
        let answer = run_fed(directory.path(), &[&["sweep", "--ports", "22"], line].concat(), input);
        assert_eq!((answer.status, answer.stdout.as_str()), (Some(2), ""), "{line:?}: {answer:?}");
        answer.stderr
    };
    for (line, input) in [
        (&["@foreign.txt"][..], ""),
        (&["-"], "198.18.0.1"),
        (&["--inventory", "fleet.json", "--inventory-address", "ip"], ""),
    ] {
        let told = refused(line, input);
        assert!(told.starts_with("error: 198.18.0.1 is beyond this host"), "{told}");
        let told = refused(&[line, &["--config", "narrow.toml"]].concat(), input);
        assert!(told.starts_with("error: 198.18.0.1 is not in the declared scope"), "{told}");
    }
    let told = refused(&["@wide.txt", "--authorization", "TICKET-1"], "");
    assert!(told.contains("has more than 16777216 addresses (an IPv4 /8)"), "{told}");
}

#[test]
fn an_output_that_is_a_list_of_targets_is_left_alone() {
    let directory = directory(&[("fleet.txt", "127.77.4.9\n"), ("never.txt", "198.18.0.1\n")]);
    for file in ["fleet.txt", "never.txt"] {
        let line = ["sweep", "@fleet.txt", "--exclude-file", "never.txt", "--ports", "1", "--output", file];
        let answer = run_in(directory.path(), &line);
        assert_eq!(answer.status, Some(2), "{answer:?}");
        assert!(answer.stderr.contains(&format!("--output {file} is {file} itself")), "{}", answer.stderr);
    }
    assert_eq!(fs::read_to_string(directory.path().join("fleet.txt")).expect("a file"), "127.77.4.9\n");
}

#[test]
fn config_check_reads_every_file_and_looks_no_name_up() {
    let config = "[scope]\nnetworks = [\"198.18.0.0/24\", \"x.invalid\"]\nfiles = [\"fleet.txt\"]\n\
                  exclude_files = [\"never.txt\"]\n\
                  [[scope.inventory]]\nfile = \"fleet.json\"\naddress = \"ip\"\n";
    let good = directory(&[
        ("c.toml", config),
        ("fleet.txt", "198.18.1.1\n"),
        ("never.txt", "198.18.0.0\n"),
        ("fleet.json", "{\"ip\": \"198.18.1.2\"}"),
    ]);
    let answer = run_in(good.path(), &["config", "check", "c.toml"]);
    let says = "c.toml: no mistakes; 257 addresses x 6 ports, host names 1 (not looked up), allowances 0, expectations \
                0, sinks 0\nthis is for `portreeve sweep`; `portreeve watch` needs a [[sink]] and a [route] too\n";
    assert_eq!((answer.status, answer.stdout.as_str(), answer.stderr.as_str()), (Some(0), says, ""));
    let bad = directory(&[
        ("c.toml", config),
        ("fleet.txt", "198.18.1.300\n"),
        ("never.txt", "\n198.18.0.0/77\n"),
        ("fleet.json", "{\"ip\": \"198.18.1\"}"),
    ]);
    let answer = run_in(bad.path(), &["config", "check", "c.toml"]);
    assert_eq!((answer.status, answer.stdout.as_str()), (Some(2), ""));
    for begins in ["fleet.txt:1:1: ", "never.txt:2:1: ", "fleet.json: $.ip: "] {
        assert!(answer.stderr.contains(begins), "{begins}: {}", answer.stderr);
    }
}
