//! The control run on real packets: whatever kills it, it comes to its end, looks at everything, looks at nothing twice
//! that was done, and says what is true.

#[path = "lab/mod.rs"]
mod lab;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{ExitCode, Output};
use std::time::Duration;

use lab::{Lab, Truth, counter, describe, missing_for_lab};
use libtest_mimic::Arguments;
use portreeve::evidence::journal::{Entry, What};
use portreeve::evidence::manifest::{Manifest, Verdict};
use portreeve::evidence::observation::Line;
use portreeve::evidence::verify::{Against, verify};
use portreeve::target::address::{AddressRange, address_of};
use portreeve::target::state::State;
use tempfile::TempDir;

type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("ten_kills_lose_nothing_and_repeat_nothing", ten_kills_lose_nothing_and_repeat_nothing),
    ("a_signal_stops_it_and_the_same_command_goes_on", a_signal_stops_it_and_the_same_command_goes_on),
    ("runs_beside_a_watch", runs_beside_a_watch),
    ("what_nobody_saw_makes_it_inconclusive", what_nobody_saw_makes_it_inconclusive),
];

fn main() -> ExitCode {
    let missing = missing_for_lab();
    let trials = CASES.iter().map(|&(name, test)| lab::trial(name, test, missing.as_deref())).collect();
    lab::run(Arguments::from_args(), [(lab::MANY, trials)])
}

/// What every script begins with: words to begin a run, and to wait for its end.
const PRELUDE: &str = r#"
set -u
cd "$LAB_DIR"
usual=(--out evidence --host-rate none --network-rate none --unsigned)
control() { "$PORTREEVE" control "$LAB_NETWORK" "${usual[@]}" --authorization lab "$@"; }
begin() { "$PORTREEVE" control "$LAB_NETWORK" "${usual[@]}" --authorization lab "$@" & run=$!; }
"#;

/// What a script left behind.
struct Ran {
    output: Output,
    kept: TempDir,
}

impl Ran {
    fn new(lab: Lab, script: &str) -> Self {
        let kept = tempfile::tempdir().expect("a directory");
        let lab = lab.dir(kept.path()).env("PORTREEVE", &lab::portreeve()).timeout(Duration::from_secs(150));
        let output = lab.run(&["bash", "-c", &format!("{PRELUDE}{script}")]);
        Ran { output, kept }
    }

    fn said(&self) -> String {
        describe(&self.output)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.kept.path().join(name)
    }

    /// The evidence, in which nothing is wrong.
    fn manifest(&self) -> Manifest {
        let sound = verify(&self.path("evidence"), &Against::default());
        sound.unwrap_or_else(|wrong| panic!("{wrong}\n{}", self.said())).manifest
    }

    fn entries(&self) -> Vec<Entry> {
        let text = std::fs::read_to_string(self.path("evidence/journal.jsonl")).expect("a journal");
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// Holds every target of the evidence against what the lab knows, and says how many there are.
    fn hold_against_truth(&self) -> u64 {
        let truth = Truth::load(self.path("truth"));
        let file = File::open(self.path("evidence/observations.jsonl.zst")).expect("observations");
        let lines = BufReader::new(zstd::Decoder::new(file).expect("compressed")).lines();
        let mut targets = 0;
        let mut compare = |ip: IpAddr, port: u16, state: State| {
            assert_eq!(state.as_str(), truth.state(ip, port).0, "{ip} port {port}");
            targets += 1;
        };
        for line in lines.map(|line| line.expect("text")) {
            match serde_json::from_str(&line).expect(&line) {
                Line::Host(_) => {}
                Line::Target(line) => {
                    let seen = line.observation;
                    compare(seen.target.ip, seen.target.port, seen.state);
                }
                Line::Block(block) => {
                    for (first, last) in block.hosts.iter().map(AddressRange::numbers) {
                        for ip in (first..=last).map(address_of) {
                            block.ports.iter().for_each(|port| compare(ip, port, block.state));
                        }
                    }
                }
            }
        }
        targets
    }
}

/// Killed at ten random moments, the run comes to its end. A tile that is done is never begun again, and what left
/// beside the attempts that came to their end is no more than the tiles in flight.
fn ten_kills_lose_nothing_and_repeat_nothing() {
    let script = r#"
        wanted=(--ports 1-6000 --rate 40k --tile 12000)
        RANDOM=$SEED
        for kill in $(seq 10); do
            begin "${wanted[@]}" >>said 2>&1
            sleep "$((RANDOM % 5)).$((RANDOM % 10))"
            kill -KILL "$run" 2>/dev/null
            wait "$run" 2>/dev/null
            status=$?
            # It may have been over before.
            [[ -d evidence/work ]] || break
        done
        echo "$kill kills"
        if [[ -d evidence/work ]]; then
            control "${wanted[@]}" --format jsonl
            status=$?
        fi
        ip netns exec router nft list ruleset >counted
        exit $status
    "#;
    let seed = std::process::id().to_string();
    let lab = Lab::new().network("198.18.7.0/28").open(12).env("SEED", &seed);
    let lab = lab.option("--ports", "22,3306,5432,6379,9200,27017,80,443,8080");
    let ran = Ran::new(lab, script);
    assert_eq!(ran.output.status.code(), Some(1), "seed {seed}: {}", ran.said());
    let manifest = ran.manifest();
    assert_eq!(ran.hold_against_truth(), 16 * 6000);
    assert_eq!(manifest.completeness.ledger.unknown, 0, "{:?}", manifest.completeness);
    let (mut begun, mut swept, mut done) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut resumed = 0;
    for entry in ran.entries() {
        match entry.what {
            What::Resumed { .. } => resumed += 1,
            What::TileBegun { tile, attempt } => {
                assert!(!done.contains_key(&tile), "seed {seed}: tile {tile} was done, and begun again");
                *begun.entry(tile).or_insert(0) = attempt;
            }
            What::TileSwept { tile, report, .. } => {
                *swept.entry(tile).or_insert(0) += report.packets.sent + report.packets.canaries;
            }
            What::TileDone(tile) => {
                done.insert(tile.tile, tile.ledger.declared);
            }
            _ => {}
        }
    }
    assert!(resumed >= 5, "seed {seed}: only {resumed} kills came before the end");
    let tiles = manifest.plan.grid.tiles();
    assert_eq!(done.len() as u64, tiles, "every tile is done");
    let killed: u64 = begun.iter().map(|(tile, attempts)| u64::from(attempts - 1) * done[tile]).sum();
    let accounted: u64 = swept.values().sum();
    let ruleset = std::fs::read_to_string(ran.path("counted")).expect("the counters of the router");
    let left = counter(&ruleset, "syn_out");
    // Beside probes, the second look shakes hands; and an attempt that was killed may have tried silent targets again
    // and asked canaries.
    let most = accounted + killed * 4 + 2000;
    assert!(
        (accounted..=most).contains(&left),
        "seed {seed}: {left} SYNs left, {accounted} are accounted for, {killed} targets were in flight at kills"
    );
}

fn a_signal_stops_it_and_the_same_command_goes_on() {
    let script = r#"
        wanted=(--ports 1-3000 --tile 8000)
        begin "${wanted[@]}" --rate 4k
        sleep 3
        control "${wanted[@]}"; echo "beside it: $?"
        kill -INT "$run"; wait "$run"; echo "stopped: $?"
        control --ports 1-2999 --tile 8000; echo "other ports: $?"
        control "${wanted[@]}" --rate 20k; echo "in the end: $?"
        control "${wanted[@]}"; echo "over: $?"
    "#;
    let ran = Ran::new(Lab::new().network("198.18.7.0/29").open(0).option("--drop", "none"), script);
    let said = ran.said();
    for line in ["beside it: 2", "stopped: 3", "other ports: 2", "in the end: 0", "over: 2"] {
        assert!(said.contains(line), "no `{line}` in\n{said}");
    }
    for word in
        ["another process is at work", "the same command goes on from there", "--ports 1-3000", "is over"]
    {
        assert!(said.contains(word), "no `{word}` in\n{said}");
    }
    let manifest = ran.manifest();
    assert_eq!(ran.hold_against_truth(), 8 * 3000);
    assert_eq!(manifest.time.performers.len(), 2);
    assert_eq!(manifest.time.pauses.len(), 1, "{:?}", manifest.time.pauses);
    assert_eq!(manifest.conclusion.verdict, Verdict::Pass);
}

/// Both probe the same hosts at the same time, and neither takes the other's answers for its own.
fn runs_beside_a_watch() {
    let script = r#"
        cat >watch.toml <<END
[scope]
networks = ["$LAB_NETWORK"]
[sweep]
interval = "1s"
rate_max = 5000
host_rate = "none"
[store]
path = "watch.db"
[[sink]]
name = "siem"
kind = "file"
path = "siem.jsonl"
[route]
security = ["siem"]
health = ["siem"]
events = ["siem"]
END
        "$PORTREEVE" watch --config watch.toml 2>log & daemon=$!
        control --ports 1-2000 --rate 5k --tile 8000; echo "control: $?"
        kill -TERM "$daemon"; wait "$daemon"
    "#;
    let ran = Ran::new(Lab::new().network("198.18.7.0/28").open(5), script);
    assert!(ran.said().contains("control: 1"), "{}", ran.said());
    ran.manifest();
    assert_eq!(ran.hold_against_truth(), 16 * 2000);
    let events = std::fs::read_to_string(ran.path("siem.jsonl")).expect("events");
    let sweeps: Vec<&str> = events.lines().filter(|line| line.contains("\"sweep.completed\"")).collect();
    assert!(sweeps.len() >= 3, "{} sweeps of the watch\n{events}", sweeps.len());
    for sweep in sweeps {
        assert!(sweep.contains("\"verdict\":\"complete\""), "{sweep}");
    }
}

/// So much is lost that silence proves nothing, and the run is not patient: nothing passes of which anything is
/// unknown.
fn what_nobody_saw_makes_it_inconclusive() {
    let script = r#"
        cat >control.toml <<END
[scope]
networks = ["$LAB_NETWORK"]
[control]
id = "NET-01"
attempts = 1
tries = 2
END
        "$PORTREEVE" control --config control.toml "${usual[@]}" --ports 1-500 --rate 10k; echo "control: $?"
    "#;
    let ran = Ran::new(Lab::new().network("198.18.7.0/28").open(0).loss(30.0, 30.0), script);
    assert!(ran.said().contains("control: 3"), "{}", ran.said());
    let manifest = ran.manifest();
    assert_eq!(manifest.conclusion.verdict, Verdict::Inconclusive);
    let coverage = &manifest.conclusion.assessments[0];
    assert!(!coverage.met && coverage.statement.contains("are unknown"), "{coverage:?}");
    let ledger = manifest.completeness.ledger;
    assert!(ledger.unknown > 0 && ledger.unknown < ledger.declared, "{ledger:?}");
}
