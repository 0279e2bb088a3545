//! Runs the program in a lab and reads what it says.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::Output;

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{Lab, Truth, describe, portreeve};

/// A target, as tests name it.
pub type Target = (IpAddr, u16);

/// How a script begins that ends with the status of a sweep: `sweep` is the program with what every case wants.
const PRELUDE: &str = "set -u; sweep() { \"$PORTREEVE\" sweep --authorization lab --format jsonl \"$@\"; }; ";

/// A measured figure for whoever reads the log.
pub fn note(figure: &str) {
    // With standard error gone, there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "{figure}");
}

/// What a lab left behind.
pub struct Ran {
    pub output: Output,
    kept: TempDir,
}

impl Ran {
    /// Runs a script in a lab, in `bash`, with the function `sweep`, and `$WATCH` for this very program.
    pub fn new(lab: Lab, script: &str) -> Self {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let this = std::env::current_exe().expect("this program has a path");
        let lab = lab.dir(kept.path()).env("PORTREEVE", &portreeve());
        let lab = lab.env("WATCH", &this.to_string_lossy());
        let output = lab.run(&["bash", "-c", &format!("{PRELUDE}{script}")]);
        Ran { output, kept }
    }

    /// The exit status of the script.
    pub fn status(&self) -> i32 {
        self.output.status.code().unwrap_or_else(|| panic!("no exit status\n{}", self.said()))
    }

    /// Everything that was said, for the message of a failed assertion.
    pub fn said(&self) -> String {
        describe(&self.output)
    }

    /// What the program said on standard error.
    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// A file that the script left in `$LAB_DIR`.
    pub fn file(&self, name: &str) -> String {
        let path = self.kept.path().join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}\n{}", path.display(), self.said()))
    }

    /// The truth of the lab.
    pub fn truth(&self) -> Truth {
        Truth::load(Path::join(self.kept.path(), "truth"))
    }

    /// The events in a file that the script left in `$LAB_DIR`.
    pub fn events(&self, name: &str) -> Events {
        Events::parse(&self.file(name))
    }
}

/// The events of one sweep.
#[derive(Debug, Default)]
pub struct Events {
    /// State and reason of each target that was listed.
    pub ports: HashMap<Target, (String, String)>,
    pub findings: Vec<Value>,
    /// `sweep.completed`, if the sweep got so far.
    pub completed: Option<Value>,
}

/// A `port` event, of which there are hundreds of thousands.
#[derive(Deserialize)]
struct Port<'a> {
    ip: IpAddr,
    port: u16,
    state: &'a str,
    reason: &'a str,
}

impl Events {
    /// Understands events: each line whole JSON, in the order that the format promises.
    pub fn parse(text: &str) -> Self {
        let mut events = Events::default();
        for (number, line) in text.lines().enumerate() {
            assert!(events.completed.is_none(), "something follows sweep.completed: {line}");
            if line.contains("\"event\":\"port\"") {
                let port: Port<'_> = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
                events.ports.insert((port.ip, port.port), (port.state.to_owned(), port.reason.to_owned()));
                continue;
            }
            let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert_eq!(event["schema"], "portreeve/1", "{line}");
            assert_eq!(event["authorization"], "lab", "{line}");
            assert_eq!(event["event"] == "sweep.started", number == 0, "{line}");
            match event["event"].as_str() {
                Some("sweep.started") => {}
                Some("finding") => events.findings.push(event),
                Some("sweep.completed") => events.completed = Some(event),
                other => panic!("no event is {other:?}: {line}"),
            }
        }
        events
    }

    /// `sweep.completed` of a sweep that must have got so far.
    pub fn completed(&self) -> &Value {
        self.completed.as_ref().expect("the events end with sweep.completed")
    }

    /// A number in `sweep.completed`.
    pub fn number(&self, group: &str, name: &str) -> u64 {
        let number = self.completed()[group][name].as_u64();
        number.unwrap_or_else(|| panic!("no {group}.{name} in {}", self.completed()))
    }

    /// Checks that the ledger sums, and that it counts what the events list; they must list every state. What a sweep
    /// did not get to because it was cut short is counted, not listed.
    pub fn check_books(&self) {
        let states = ["open", "closed", "filtered", "unreachable", "conflict", "unknown"];
        let counted: Vec<u64> = states.iter().map(|state| self.number("ledger", state)).collect();
        assert_eq!(counted.iter().sum::<u64>(), self.number("ledger", "declared"), "the ledger sums");
        let mut listed: BTreeMap<&str, u64> = BTreeMap::new();
        for (state, _) in self.ports.values() {
            *listed.entry(state).or_default() += 1;
        }
        for (state, count) in states.iter().zip(counted) {
            let listed = listed.remove(state).unwrap_or(0);
            let is_unheard = *state == "unknown" && self.cut_short();
            assert_eq!(listed, if is_unheard { 0 } else { count }, "targets listed and counted as {state}");
        }
        assert!(listed.is_empty(), "states that no ledger has: {listed:?}");
        let unknown = self.completed()["unknown_reasons"].as_object().expect("reasons");
        let unknown: u64 = unknown.values().filter_map(Value::as_u64).sum();
        assert_eq!(unknown, self.number("ledger", "unknown"), "every unknown target has its reason");
    }

    /// Whether the sweep was ended before it was done.
    fn cut_short(&self) -> bool {
        let unknown = &self.completed()["unknown_reasons"];
        ["interrupted", "send-refused", "link-failed"].iter().any(|reason| !unknown[reason].is_null())
    }

    /// Targets that are not what the truth says, with both sides, at most ten of them, and how many there are.
    pub fn wrong(&self, truth: &Truth) -> (usize, String) {
        let wrong = self.ports.iter().filter(|((ip, port), (state, reason))| {
            truth.state(*ip, *port) != (state.as_str(), reason.as_str())
        });
        let lines: Vec<String> = wrong
            .map(|((ip, port), seen)| {
                format!("{ip}:{port} is {:?}, {seen:?} was seen", truth.state(*ip, *port))
            })
            .collect();
        (lines.len(), lines.iter().take(10).cloned().collect::<Vec<_>>().join("\n"))
    }

    /// The targets of the findings of a kind, sorted.
    pub fn found(&self, kind: &str) -> Vec<Target> {
        let of_kind = self.findings.iter().filter(|finding| finding["kind"] == kind);
        let mut targets: Vec<Target> = of_kind
            .map(|finding| {
                let ip = finding["ip"].as_str().and_then(|ip| ip.parse().ok()).expect("an address");
                (ip, finding["port"].as_u64().expect("a port") as u16)
            })
            .collect();
        targets.sort_unstable();
        targets
    }
}
