//! Host names against a real resolver that knows nothing but a file, and no network to ask: names become probes, are
//! looked up again in each sweep, and come back in every output.

mod lab;

use std::process::{ExitCode, Output};

use lab::{Lab, describe, missing_for_lab, portreeve};
use libtest_mimic::Arguments;
use serde_json::{Value, json};
use tempfile::TempDir;

type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("names_are_looked_up_anew_in_each_sweep", names_are_looked_up_anew_in_each_sweep),
    ("what_does_not_resolve_is_refused_or_degrades_the_sweep", what_does_not_resolve),
];

/// `hosts` fills the only file that names are looked up in. Both files are the lab's own, seen by nobody else.
const PRELUDE: &str = "set -u; hosts() { printf '%s\\n' \"127.0.0.1 localhost\" \"$@\" >$LAB_DIR/hosts; }; hosts; \
    echo 'hosts: files' >$LAB_DIR/nsswitch; mount --bind $LAB_DIR/hosts /etc/hosts; \
    mount --bind $LAB_DIR/nsswitch /etc/nsswitch.conf; \
    sweep() { \"$PORTREEVE\" sweep --authorization lab --ports 22 --states all \"$@\"; }; ";

struct Ran {
    output: Output,
    kept: TempDir,
}

impl Ran {
    fn new(script: &str) -> Self {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let lab = Lab::new().network("198.18.7.0/24").seed(3).dir(kept.path());
        let lab = lab.env("PORTREEVE", &portreeve());
        let output = lab.run(&["bash", "-c", &format!("{PRELUDE}{script}")]);
        Ran { output, kept }
    }

    fn said(&self) -> String {
        describe(&self.output)
    }

    fn text(&self, name: &str) -> String {
        let path = self.kept.path().join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}\n{}", path.display(), self.said()))
    }

    fn events(&self, name: &str) -> Vec<Value> {
        self.text(name).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

/// The address and the names of each `port` event, sorted.
fn named(events: &[Value]) -> Vec<(String, Value)> {
    let ports = events.iter().filter(|event| event["event"] == "port");
    let mut named: Vec<(String, Value)> = ports
        .map(|event| (event["ip"].as_str().expect("an address").to_owned(), event["names"].clone()))
        .collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    named
}

fn names_are_looked_up_anew_in_each_sweep() {
    let ran = Ran::new(
        "hosts '198.18.7.9 db.example.net' '198.18.7.10 db.example.net orders.example.net'; \
         sweep DB.example.net 198.18.7.11 --format jsonl --output $LAB_DIR/first; \
         hosts '198.18.7.12 db.example.net'; \
         sweep db.example.net --format jsonl --output $LAB_DIR/second; \
         sweep db.example.net --output $LAB_DIR/third; true",
    );
    let both = json!(["db.example.net"]);
    let first = named(&ran.events("first"));
    let expected = [
        ("198.18.7.10".to_owned(), both.clone()),
        ("198.18.7.11".to_owned(), Value::Null),
        ("198.18.7.9".to_owned(), both.clone()),
    ];
    assert_eq!(first, expected, "{}", ran.said());
    assert_eq!(ran.events("first")[0]["scope"]["networks"], json!(["db.example.net", "198.18.7.11"]));
    assert_eq!(named(&ran.events("second")), [("198.18.7.12".to_owned(), both)]);
    assert!(ran.text("third").contains("198.18.7.12 [db.example.net]"), "{}", ran.text("third"));
}

fn what_does_not_resolve() {
    let ran = Ran::new(
        "hosts '198.18.7.9 db.example.net' '224.0.0.5 group.example.net'; \
         printf 'db.example.net\\ngone.example.net\\n' >$LAB_DIR/fleet; \
         sweep @$LAB_DIR/fleet --format jsonl >$LAB_DIR/refused 2>$LAB_DIR/why; echo $? >>$LAB_DIR/why; \
         sweep group.example.net >>$LAB_DIR/refused 2>$LAB_DIR/group; echo $? >>$LAB_DIR/group; \
         sweep @$LAB_DIR/fleet --skip-unresolved --format jsonl --output $LAB_DIR/rest; echo $? >$LAB_DIR/status; \
         sweep @$LAB_DIR/fleet --skip-unresolved 2>$LAB_DIR/warned >$LAB_DIR/text; echo $? >>$LAB_DIR/status; \
         sweep @$LAB_DIR/fleet --skip-unresolved --dry-run >$LAB_DIR/dry 2>$LAB_DIR/aside; \
         echo $? >>$LAB_DIR/status; true",
    );
    assert_eq!(ran.text("refused"), "", "nothing was swept: {}", ran.said());
    let why = ran.text("why");
    assert!(why.starts_with("error: gone.example.net does not resolve: ") && why.ends_with("\n2\n"), "{why}");
    let group = ran.text("group");
    let says = "error: group.example.net resolves to 224.0.0.5, which is never probed";
    assert!(group.starts_with(says) && group.ends_with("\n2\n"), "{group}");

    assert_eq!(ran.text("status"), "3\n3\n3\n", "{}", ran.said());
    let rest = ran.events("rest");
    assert_eq!(rest[0]["scope"]["unresolved"], json!(["gone.example.net"]));
    assert_eq!(named(&rest), [("198.18.7.9".to_owned(), json!(["db.example.net"]))]);
    assert_eq!(rest.last().expect("events")["verdict"], "degraded");
    assert!(
        ran.text("warned").contains("not swept: gone.example.net does not resolve"),
        "{}",
        ran.text("warned")
    );
    assert!(ran.text("text").contains("degraded: "), "{}", ran.text("text"));
    assert_eq!(ran.text("dry"), "198.18.7.9:22/tcp\n");
    assert_eq!(ran.text("aside"), "not swept: gone.example.net does not resolve\n");
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let missing = missing_for_lab();
    let trial = |&(name, test): &Case| lab::trial(name, test, missing.as_deref());
    libtest_mimic::run(&arguments, CASES.iter().map(trial).collect()).exit_code()
}
