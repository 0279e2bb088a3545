//! Real sweeps of this host's own addresses: what is printed, in which form, with which exit status.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::{Answer, Service, portreeve, run, schema};

fn sweep(service: &Service, more: &[&str]) -> Answer {
    let (ip, port) = (service.at.ip().to_string(), service.port());
    run(&[&["sweep", &ip, "--ports", &port], more].concat())
}

/// An allowlist with this listener in it.
fn allowlist(service: &Service, expires: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let (ip, port) = (service.at.ip(), service.at.port());
    let text = format!(
        "[[allow]]\nhosts = [\"{ip}\"]\nports = [{port}]\nreason = \"a test\"\nowner = \"tests\"\n{expires}\n"
    );
    fs::write(file.path(), text).expect("a file");
    file
}

#[test]
fn an_open_port_is_an_exposure() {
    let service = Service::open("127.77.2.1");
    let answer = sweep(&service, &["--engine", "connect"]);
    assert_eq!(answer.status, Some(1), "{answer:?}");
    assert!(service.was_reached());
    let at = service.at;
    assert!(answer.stdout.starts_with("exposures: 1\n"), "findings come first: {}", answer.stdout);
    assert!(answer.stdout.contains(&format!(" {at}/tcp is open, not allowed: ")), "{}", answer.stdout);
    assert!(
        answer
            .stdout
            .contains("1 open + 0 closed + 0 filtered + 0 unreachable + 0 conflict + 0 unknown = 1 declared")
    );
    assert!(answer.stdout.ends_with("complete: 1 exposed\n"), "{}", answer.stdout);
    assert!(answer.stderr.contains("connect engine"), "{}", answer.stderr);
}

#[test]
fn an_allowed_port_is_none_until_its_allowance_expires() {
    let service = Service::open("127.77.2.2");
    let holds = allowlist(&service, "");
    let answer = sweep(&service, &["--allowlist", holds.path().to_str().expect("a name")]);
    assert_eq!(answer.status, Some(0), "{answer:?}");
    assert!(answer.stdout.ends_with("complete: nothing is exposed\n"), "{}", answer.stdout);
    let expired = allowlist(&service, "expires = 2020-01-31");
    let answer = sweep(&service, &["--allowlist", expired.path().to_str().expect("a name")]);
    assert_eq!(answer.status, Some(1), "{answer:?}");
    assert!(answer.stdout.contains("was allowed until 2020-01-31"), "{}", answer.stdout);
}

#[test]
fn a_closed_port_is_nothing_to_report() {
    let service = Service::open("127.77.2.3");
    let (ip, port) = (service.at.ip().to_string(), service.port());
    drop(service);
    let answer = run(&["sweep", &ip, "--ports", &port, "--format", "jsonl"]);
    assert_eq!(answer.status, Some(0), "{answer:?}");
    let events = answer.events();
    let kinds: Vec<_> = events.iter().map(|event| event["event"].as_str().expect("a kind")).collect();
    assert_eq!(kinds, ["sweep.started", "sweep.completed"], "nothing found is still two lines");
    assert_eq!(events[1]["ledger"]["closed"], 1);
}

#[test]
fn events_of_a_sweep_match_the_schema_that_the_program_prints() {
    let service = Service::open("127.77.2.4");
    let idle = TcpListener::bind("127.77.2.5:0").expect("a free port").local_addr().expect("an address");
    let used = allowlist(&service, "expires = 2020-01-31");
    let ports = format!("{},{}", service.at.port(), idle.port());
    let answer = run(&[
        "sweep",
        "127.77.2.4-127.77.2.6",
        "--ports",
        &ports,
        "--allowlist",
        used.path().to_str().expect("a name"),
        "--format",
        "jsonl",
        "--states",
        "all",
        "--authorization",
        "TICKET-1",
        "--engine",
        "connect",
        "--seed",
        "7",
        "--shard",
        "1/1",
    ]);
    assert_eq!(answer.status, Some(1), "{answer:?}");
    let printed = run(&["schema"]);
    assert_eq!(printed.status, Some(0));
    let schema = schema::Schema::parse(&printed.stdout);
    let events = answer.events();
    for event in &events {
        schema.check(event).unwrap_or_else(|mistake| panic!("{mistake}: {event}"));
        assert_eq!(event["authorization"], "TICKET-1");
    }
    let count = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert_eq!(
        (count("sweep.started"), count("port"), count("finding"), count("sweep.completed")),
        (1, 6, 1, 1)
    );
    assert_eq!(events[0]["seed"], "7");
    assert_in_order(&events);
}

#[test]
fn shards_sweep_a_partition() {
    let mut probed = Vec::new();
    for shard in ["1/3", "2/3", "3/3"] {
        let answer = run(&[
            "sweep",
            "127.255.255.240/28",
            "--ports",
            "9",
            "--format",
            "jsonl",
            "--states",
            "all",
            "--shard",
            shard,
        ]);
        assert!(matches!(answer.status, Some(0 | 1)), "{answer:?}");
        let ports = answer.events().into_iter().filter(|event| event["event"] == "port");
        probed.extend(ports.map(|event| event["ip"].as_str().expect("an address").to_owned()));
    }
    let all: BTreeSet<String> = (240..255).map(|host| format!("127.255.255.{host}")).collect();
    assert_eq!(probed.len(), all.len(), "no overlap");
    assert_eq!(probed.into_iter().collect::<BTreeSet<_>>(), all, "no gap");
    // The last address, a broadcast address of this host, is left out. On a host that has another network it is not; so
    // that both split alike, the border of the halves must not depend on it.
    let half = ["sweep", "127.255.255.240/28", "--ports", "9", "--format", "jsonl", "--shard", "1/2"];
    assert_eq!(run(&half).events()[0]["scope"]["declared"], 8);
}

#[test]
fn colours_are_for_eyes_only() {
    let service = Service::open("127.77.2.7");
    let directory = tempfile::tempdir().expect("a directory");
    let (ip, port) = (service.at.ip().to_string(), service.port());
    let sweep = |environment: &[(&str, &str)], more: &[&str]| {
        let mut command = portreeve(directory.path());
        command.args(["sweep", &ip, "--ports", &port]).args(more).envs(environment.iter().copied());
        Answer::of(&command.output().expect("the program starts"))
    };
    let escape = |text: &str| text.contains('\x1b');
    let force = ("CLICOLOR_FORCE", "1");
    assert!(escape(&sweep(&[force], &[]).stdout), "so their absence elsewhere means something");
    for environment in [&[][..], &[("NO_COLOR", "1")], &[("NO_COLOR", "1"), force]] {
        let answer = sweep(environment, &[]);
        assert!(!escape(&answer.stdout) && !escape(&answer.stderr), "{environment:?}: {answer:?}");
    }
    let answer = sweep(&[force], &["--output", "out.txt"]);
    assert_eq!(answer.stdout, "");
    let written = fs::read_to_string(directory.path().join("out.txt")).expect("a file");
    assert!(written.starts_with("exposures: 1\n") && !escape(&written), "{written}");
    let json = sweep(&[force], &["--format", "jsonl"]);
    assert!(!escape(&json.stdout) && json.events().iter().all(Value::is_object));
}

#[test]
fn a_list_is_for_spreadsheets_and_its_worth_is_said_beside_it() {
    let service = Service::open("127.77.2.8");
    let idle = TcpListener::bind("127.77.2.8:0").expect("a free port").local_addr().expect("an address");
    let (at, ports) = (service.at, format!("{},{}", service.at.port(), idle.port()));
    let sweep = |more: &[&str]| {
        let all = ["sweep", "127.77.2.8", "--ports", &ports, "--format", "csv"];
        run(&[&all, more].concat())
    };
    let answer = sweep(&["--engine", "connect", "--states", "all", "--banner"]);
    assert_eq!(answer.status, Some(1), "{answer:?}");
    let mut reader = csv::Reader::from_reader(answer.stdout.as_bytes());
    let rows: Vec<HashMap<String, String>> =
        reader.deserialize().map(|row| row.expect("as many cells as columns")).collect();
    assert_eq!(rows.len(), 2, "{}", answer.stdout);
    for row in &rows {
        let cells =
            ["ip", "transport", "state", "verified", "severity", "finding"].map(|name| &row[name][..]);
        if row["port"] == service.port() {
            assert_eq!(cells, ["127.77.2.8", "tcp", "open", "true", "medium", "exposure"]);
            assert!(row["message"].starts_with(&format!("{at}/tcp is open, not allowed")), "{row:?}");
        } else {
            assert_eq!(cells, ["127.77.2.8", "tcp", "closed", "false", "", ""]);
        }
    }
    let worth = "complete: 1 exposed; 1 open + 1 closed + 0 filtered + 0 unreachable + 0 conflict + 0 unknown = 2 \
                 declared\n";
    assert!(answer.stderr.starts_with("sweeping 127.77.2.8, ports "), "{}", answer.stderr);
    assert!(answer.stderr.ends_with(worth), "{}", answer.stderr);
    let dry = sweep(&["--dry-run"]);
    assert_eq!((dry.status, dry.stdout.lines().count()), (Some(0), 3));
    assert!(dry.stdout.starts_with("ip,port,transport\n127.77.2.8,"), "{}", dry.stdout);
}

#[test]
fn the_first_command_of_the_readme_works() {
    let answer = run(&["sweep", "127.0.0.1"]);
    assert!(matches!(answer.status, Some(0 | 1)), "{answer:?}");
    assert!(answer.stdout.contains(" = 6 declared"), "{}", answer.stdout);
}

#[test]
fn a_standard_error_that_takes_nothing_ends_no_sweep() {
    let service = Service::open("127.77.2.10");
    for (format, error) in
        [("text", "2>/dev/full"), ("csv", "2>/dev/full"), ("text", "2>&-"), ("jsonl", "2>&-")]
    {
        let program = env!("CARGO_BIN_EXE_portreeve");
        let script =
            format!("'{program}' sweep 127.77.2.10 --ports {} --format {format} {error}", service.port());
        let answer = Answer::of(&Command::new("bash").args(["-c", &script]).output().expect("bash"));
        assert_eq!(answer.status, Some(1), "{format} {error}: {answer:?}");
        assert!(answer.stdout.contains(" is open, not allowed"), "{format} {error}: {answer:?}");
    }
}

#[test]
fn canaries_that_were_named_are_in_the_record() {
    let service = Service::open("127.77.2.11");
    let answer = sweep(&service, &["--canary", &service.at.to_string(), "--format", "jsonl"]);
    assert_eq!(answer.status, Some(1), "{answer:?}");
    let started = &answer.events()[0];
    assert_eq!(started["scope"]["canaries"], serde_json::json!([service.at.to_string()]), "{started}");
    let answer = sweep(&service, &["--format", "jsonl"]);
    assert!(answer.events()[0]["scope"].get("canaries").is_none());
}

/// Names would take long, and nobody need wait for them to learn of a mistake that has nothing to do with them.
#[test]
fn what_needs_no_names_is_told_before_they_are_looked_up() {
    for wrong in [&["--allowlist", "none.toml"][..], &["--rate", "10", "--rate-max", "5"]] {
        let answer = run(&[&["sweep", "x.invalid", "--ports", "1"], wrong].concat());
        assert_eq!(answer.status, Some(2));
        assert!(!answer.stderr.contains("x.invalid"), "{}", answer.stderr);
    }
}

#[test]
fn a_sweep_without_some_of_its_names_says_so_in_the_end() {
    let service = Service::open("127.77.2.12");
    for format in ["text", "csv"] {
        let answer = sweep(&service, &["x.invalid", "y.invalid", "--skip-unresolved", "--format", format]);
        assert_eq!(answer.status, Some(3), "{answer:?}");
        let end = "degraded: 1 exposed, and 2 names that do not resolve were not swept";
        let told = if format == "text" { &answer.stdout } else { &answer.stderr };
        assert!(told.lines().last().is_some_and(|line| line.starts_with(end)), "{told}");
    }
}

/// A listener that says nothing is listened to for 1.7 seconds, and a host has eight at a time.
#[test]
fn an_interrupted_second_look_is_no_whole_one() {
    let services: Vec<TcpListener> =
        (0..64).map(|_| TcpListener::bind("127.77.2.9:0").expect("a free port")).collect();
    let port = |service: &TcpListener| service.local_addr().expect("an address").port().to_string();
    let ports: Vec<String> = services.iter().map(port).collect();
    for format in ["jsonl", "text"] {
        let mut command = portreeve(".".as_ref());
        command.args(["sweep", "127.77.2.9", "--ports", &ports.join(","), "--engine", "connect", "--banner"]);
        command.args(["--format", format]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("the program starts");
        std::thread::sleep(Duration::from_secs(3));
        let kill = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status();
        assert!(kill.expect("kill").success());
        let answer = Answer::of(&child.wait_with_output().expect("an end"));
        assert_eq!(answer.status, Some(3), "{answer:?}");
        let says =
            " of 64 open ports that are not allowed were not confirmed: the second look was stopped; sweep";
        assert!(answer.stderr.contains(says), "{}", answer.stderr);
        if format == "text" {
            assert!(answer.stdout.contains(says), "{}", answer.stdout);
            let end = "degraded: 64 exposed, and the second look was stopped\n";
            assert!(answer.stdout.ends_with(end), "{}", answer.stdout);
            continue;
        }
        let events = answer.events();
        let (end, before) = events.split_last().expect("events");
        let look = &end["second_look"];
        assert_eq!((&end["verdict"], &end["ledger"]["open"]), (&"degraded".into(), &64.into()));
        assert_eq!((&look["ended"], &look["targets"]), (&"stopped".into(), &64.into()), "{end}");
        assert!(look["duration_ms"].as_u64().is_some_and(|ms| ms > 1000), "{end}");
        assert_eq!(before.iter().filter(|event| event["event"] == "finding").count(), 64);
        assert_in_order(&events);
    }
}

#[test]
fn findings_come_after_what_they_rest_on() {
    let listener = TcpListener::bind("127.77.2.13:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Whoever only wanted to know whether the port is open is gone by now.
            let _ = stream.write_all(b"SSH-2.0-x\r\n");
        }
    });
    let answer = run(&["sweep", "127.77.2.13", "--ports", &port, "--banner", "--format", "jsonl"]);
    assert_eq!(answer.status, Some(1), "{answer:?}");
    let events = answer.events();
    assert_eq!(events.iter().filter(|event| event["event"] == "port").count(), 2, "{answer:?}");
    assert_in_order(&events);
    let look = &events.last().expect("an end")["second_look"];
    assert_eq!(
        (&look["ended"], &look["targets"], &look["skipped"]),
        (&"complete".into(), &1.into(), &0.into())
    );
}

/// Nobody is left to wonder what a terminal without a word is waiting for.
#[test]
fn a_second_look_that_takes_long_shows_itself() {
    let services: Vec<TcpListener> =
        (0..16).map(|_| TcpListener::bind("127.77.2.14:0").expect("a free port")).collect();
    let port = |service: &TcpListener| service.local_addr().expect("an address").port().to_string();
    let ports: Vec<String> = services.iter().map(port).collect();
    let program = env!("CARGO_BIN_EXE_portreeve");
    let line = format!("'{program}' sweep 127.77.2.14 --ports {} --engine connect --banner", ports.join(","));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null());
    let answer = Answer::of(&command.output().expect("script"));
    assert_eq!(answer.status, Some(1), "{answer:?}");
    assert!(answer.stdout.contains("confirming 16 open ports that are not allowed: "), "{}", answer.stdout);
}

/// Standard input, output and error, and two that the engine cannot do without.
#[test]
fn a_connect_engine_without_descriptors_says_what_it_lacks() {
    let script = format!(
        "ulimit -n 5; '{}' sweep 127.77.2.15 --ports 1-9 --engine connect",
        env!("CARGO_BIN_EXE_portreeve")
    );
    let answer = Answer::of(&Command::new("bash").args(["-c", &script]).output().expect("bash"));
    assert_eq!(answer.status, Some(3), "{answer:?}");
    assert!(answer.stderr.contains("raise the limit of open files"), "{}", answer.stderr);
    assert!(!answer.stdout.contains("network device"), "{}", answer.stdout);
}

/// No event is older than one before it.
fn assert_in_order(events: &[Value]) {
    let time = |event: &Value| event["time"].as_str().expect("a time").to_owned();
    for pair in events.windows(2) {
        assert!(time(&pair[0]) <= time(&pair[1]), "{} before {}", pair[0], pair[1]);
    }
}
