//! Whatever is wrong ends with status 2, a message that names the thing, the place and the fix, and nothing sent.
//!
//! The messages stand in snapshots, one for each group, as the user sees them.

use std::fmt::Write;
use std::fs;

use tempfile::TempDir;

use crate::{Answer, Service, run_in};

/// A directory with files that have mistakes, and a listener that would notice a probe.
struct Bench {
    directory: TempDir,
    bait: Service,
}

const FILES: &[(&str, &str)] = &[
    ("unclosed.toml", "[[allow]]\nhosts = [\"127.0.0.1\"]\nports = [22\n"),
    ("port.toml", "[[allow]]\nhosts = [\"127.0.0.1\"]\nports = [70000]\nreason = \"x\"\nowner = \"y\"\n"),
    ("key.toml", "[[allow]]\nhosts = [\"127.0.0.1\"]\nport = [22]\nreason = \"x\"\nowner = \"y\"\n"),
    ("huge.toml", "[scope]\nnetworks = [\"2001:db8::/90\"]\n"),
    ("endless.toml", "[scope]\nnetworks = [\"2001:db8::/80\"]\n"),
    ("narrow.toml", "[scope]\nnetworks = [\"127.0.0.0/30\"]\n"),
    ("mistakes.txt", "127.0.0.1 # fine\n  127.0.0.0/33, 127.0.0.300\n\x1b[2J\n"),
    ("empty.txt", "# nothing left\n"),
    ("names.txt", "127.0.0.2\ndb.example.net\n"),
    ("fleet.json", "[{\"ip\": \"127.0.0.300\"}, {\"ip\": 5}, {\"address\": null, \"ip\": \"127.0.0.1\"}]"),
    ("slow.toml", "[sweep]\nrate_max = 10_000\n"),
    ("canary.toml", "[scope]\nnetworks = [\"127.0.0.0/30\"]\n\n[sweep]\ncanaries = [\"127.0.0.9:22\"]\n"),
    ("sweep-key.toml", "[scope]\nnetworks = [\"127.0.0.0/30\"]\n\n[sweep]\nrate_maxx = 5\n"),
];

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in FILES {
            fs::write(directory.path().join(name), text).expect("a file");
        }
        Bench { directory, bait: Service::open("127.0.0.1") }
    }

    /// Runs a sweep that would reach the bait if it were not refused. `BAIT` stands for its port.
    fn refused(&self, line: &[&str]) -> Answer {
        let port = self.bait.port();
        let args: Vec<&str> =
            line.iter().map(|arg| if *arg == "BAIT" { port.as_str() } else { arg }).collect();
        let answer = run_in(self.directory.path(), &args);
        assert_eq!(answer.status, Some(2), "{line:?}: {answer:?}");
        assert_eq!(answer.stdout, "", "{line:?}");
        assert!(!self.bait.was_reached(), "{line:?} sent something");
        assert!(!answer.stderr.contains("panicked"), "{line:?}: {}", answer.stderr);
        answer
    }

    /// Refused sweeps of 127.0.0.1, each with what it says.
    fn transcript(&self, lines: &[&[&str]]) -> String {
        let mut transcript = String::new();
        for line in lines {
            let whole = [&["sweep", "127.0.0.1"], *line].concat();
            let ports: &[&str] = if line.contains(&"--ports") { &[] } else { &["--ports", "BAIT"] };
            let answer = self.refused(&[&whole, ports].concat());
            writeln!(transcript, "$ portreeve {}\n{}", whole.join(" "), answer.stderr).expect("memory");
        }
        transcript
    }
}

#[test]
fn the_bait_notices_a_sweep() {
    let bench = Bench::new();
    assert!(!bench.bait.was_reached());
    let port = bench.bait.port();
    run_in(bench.directory.path(), &["sweep", "127.0.0.1", "--ports", &port]);
    assert!(bench.bait.was_reached(), "so its silence elsewhere means something");
}

#[test]
fn targets() {
    insta::assert_snapshot!(Bench::new().transcript(&[
        &["198.18.0.0/33"],
        &["198.18.0.0/x"],
        &["198.18.3.4/16"],
        &["127.0.0.9-127.0.0.1"],
        &["127.0.0.1-::1"],
        &["300.1.1.1"],
        &["127.0.0.10-5"],
        &["127.0.0.1-300"],
        &["local_host!"],
        &["0x7f000001"],
        &["fe80::1"],
        &["fe80::1%lo"],
        &["@"],
        &["@none.txt"],
        &["@mistakes.txt"],
        &["@empty.txt"],
        &["@narrow.toml"],
        &["-", "-"],
        &["-"],
        &["--exclude", "localhost"],
        &["--exclude-file", "none.txt"],
        &["--exclude-file", "mistakes.txt"],
        &["--exclude-file", "names.txt"],
        &["--exclude", "198.18.3.4/16"],
        &["--exclude", "127.0.0.0/8"],
        &["224.0.0.1"],
        &["255.255.255.255"],
        &["0.0.0.1"],
        &["ff02::1"],
        &["--config", "narrow.toml", "127.0.0.5"],
    ]));
}

#[test]
fn inventories() {
    insta::assert_snapshot!(Bench::new().transcript(&[
        &["--inventory", "fleet.json"],
        &["--inventory", "none.json", "--inventory-address", "ip"],
        &["--inventory", "fleet.json", "--inventory-address", "ip"],
        &["--inventory", "fleet.json", "--inventory-address", "adress"],
        &["--inventory", "fleet.json", "--inventory-address", "a..b"],
        &["--inventory", "mistakes.txt", "--inventory-address", "ip"],
        &["--inventory-name", "name"],
    ]));
}

#[test]
fn ports() {
    insta::assert_snapshot!(Bench::new().transcript(&[
        &["--ports", "0"],
        &["--ports", "70000"],
        &["--ports", "90-80"],
        &["--ports", "rediss"],
        &["--ports", "nothing-like-it"],
        &["--ports", ""],
    ]));
}

#[test]
fn files() {
    insta::assert_snapshot!(Bench::new().transcript(&[
        &["--allowlist", "none.toml"],
        &["--allowlist", "."],
        &["--allowlist", "unclosed.toml"],
        &["--allowlist", "port.toml"],
        &["--allowlist", "key.toml"],
        &["--config", "none.toml"],
        &["--config", "sweep-key.toml"],
        &["--output", "missing/out.txt"],
        &["--output", "."],
    ]));
}

#[test]
fn options() {
    insta::assert_snapshot!(Bench::new().transcript(&[
        &["--shard", "3/2"],
        &["--shard", "0/2"],
        &["--shard", "1/2"],
        &["--engine", "raw"],
        &["--tries", "0"],
        &["--rate", "0"],
        &["--rate", "fast"],
        &["--rate", "-5"],
        &["--host-rate", "0"],
        &["--host-rate", "off"],
        &["--network-rate", "off"],
        &["--rate", "20k", "--rate-max", "10k"],
        &["--rate-max", "auto"],
        &["--config", "slow.toml", "--rate", "20k"],
        &["--config", "slow.toml", "--rate-max", "20k"],
        &["--canary", "127.0.0.1"],
        &["--canary", "127.0.0.9:22"],
        &["--canary", "127.0.0.1:9"],
        &["--config", "canary.toml"],
        &["--interface", "nosuch0"],
        &["--states", "opne"],
        &["--format", "xml"],
        &["--seed", "x"],
        &["--ouput", "x"],
    ]));
}

#[test]
fn authorisation() {
    insta::assert_snapshot!(Bench::new().transcript(&[
        &["198.18.0.1"],
        &["198.18.0.0/16"],
        &["2001:db8::1"],
        &["198.18.0.1", "--authorization", ""],
        &["198.18.0.1", "--authorization", "  "],
        &["198.0.0.0/7", "--authorization", "TICKET-1"],
        &["10.0.0.0/8", "11.0.0.0/8", "--authorization", "TICKET-1"],
        &["2001:db8::/96", "--authorization", "TICKET-1"],
    ]));
}

#[test]
fn nothing_to_sweep() {
    let answer = Bench::new().refused(&["sweep"]);
    assert_eq!(answer.stderr, "error: the scope names no network; name one, such as 198.18.0.0/24\n");
}

#[test]
fn a_whole_network_of_nothing_but_broadcast() {
    let answer = Bench::new().refused(&["sweep", "127.255.255.255", "--ports", "BAIT"]);
    let says = "error: the scope is empty: 127.255.255.255 is the broadcast address of a network that this host is on; \
                name other addresses\n";
    assert_eq!(answer.stderr, says);
}

/// Refused before any route is looked up: 2001:db8::/32 is documentation, and leads nowhere on any host.
#[test]
fn more_targets_than_anybody_can_wait_for() {
    let bench = Bench::new();
    let answer = bench.refused(&["sweep", "--config", "huge.toml", "--ports", "all"]);
    let says = "error: 18014123631575040 targets take 57122 years at 10000 packets a second; sweep fewer, or let it go \
                faster by --rate-max\n";
    assert_eq!(answer.stderr, says);

    let answer = bench.refused(&["sweep", "--config", "endless.toml", "--ports", "all"]);
    let says = "error: the scope has more than 2^63 targets; name smaller networks or fewer ports\n";
    assert_eq!(answer.stderr, says);
}

/// A full disk shows only when something is written to it.
#[test]
fn a_full_disk_is_named() {
    let says = "error: cannot write to /dev/full: No space left on device (os error 28); make room there, or choose \
                another --output file\n";
    let bench = Bench::new();
    let answer = bench.refused(&[
        "sweep",
        "127.0.0.1",
        "--ports",
        "BAIT",
        "--format",
        "jsonl",
        "--output",
        "/dev/full",
    ]);
    assert_eq!(answer.stderr, says);
    for format in ["text", "jsonl", "csv"] {
        let dry = ["sweep", "127.0.0.1", "--dry-run", "--format", format, "--output", "/dev/full"];
        assert_eq!(bench.refused(&dry).stderr, says);
    }
    // The text is written when the sweep is over.
    let port = bench.bait.port();
    let args = ["sweep", "127.0.0.1", "--ports", &port, "--output", "/dev/full"];
    let answer = run_in(bench.directory.path(), &args);
    assert_eq!(answer.status, Some(2));
    assert!(answer.stderr.ends_with(says), "{}", answer.stderr);
}

#[test]
fn commands() {
    let bench = Bench::new();
    for (line, says) in [
        (&["swep"][..], "a similar subcommand exists: 'sweep'"),
        (&["ports", "rediss"], "did you mean `redis`?"),
        (&["completions", "bsh"], "[possible values: bash, elvish, fish, powershell, zsh]"),
        (&["config", "check"], "<FILE>"),
        (&["doctor", "198.18.3.4/16"], "write 198.18.0.0/16"),
        (&[], "Usage: portreeve <COMMAND>"),
    ] {
        let answer = bench.refused(line);
        assert!(answer.stderr.contains(says), "{line:?}: {}", answer.stderr);
    }
}
