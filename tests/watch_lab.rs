//! The daemon on real packets: what opens is told to the right people in time, and what closes is resolved; whatever
//! kills the daemon, no alert is lost.

#[path = "lab/mod.rs"]
mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::{ExitCode, Output};

use lab::{Lab, describe, missing_for_lab};
use libtest_mimic::Arguments;
use serde_json::Value;
use tempfile::TempDir;

type Case = (&'static str, fn());

const TOGETHER: &[Case] = &[
    ("what_opens_is_told_and_what_closes_is_resolved", what_opens_is_told_and_what_closes_is_resolved),
    (
        "three_failures_are_one_alert_and_a_restart_counts_on",
        three_failures_are_one_alert_and_a_restart_counts_on,
    ),
    ("whatever_kills_the_daemon_no_alert_is_lost", whatever_kills_the_daemon_no_alert_is_lost),
    ("a_bad_file_keeps_the_old_configuration", a_bad_file_keeps_the_old_configuration),
    ("a_blind_sweep_resolves_nothing_and_says_so", a_blind_sweep_resolves_nothing_and_says_so),
    ("one_pass_sweeps_what_is_due_and_delivers", one_pass_sweeps_what_is_due_and_delivers),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("listen") {
        return listen(&arguments.next().unwrap_or_default());
    }
    let missing = missing_for_lab();
    let trials = TOGETHER.iter().map(|&(name, test)| lab::trial(name, test, missing.as_deref())).collect();
    lab::run(Arguments::from_args(), [(lab::MANY, trials)])
}

/// Listens until it is killed: a service that somebody has opened.
fn listen(address: &str) -> ExitCode {
    let Ok(listener) = TcpListener::bind(address) else { return ExitCode::FAILURE };
    let mut kept = Vec::new();
    for stream in listener.incoming().flatten() {
        kept.push(stream);
        kept.truncate(16);
    }
    ExitCode::SUCCESS
}

/// What every script begins with: a configuration, and words to open, to close and to wait.
const PRELUDE: &str = r#"
set -u
cd "$LAB_DIR"
cat >watch.toml <<END
[scope]
networks = ["$LAB_NETWORK"]
exclude = ["198.18.7.16/28", "198.18.7.32/28"]
[sweep]
rate_max = 20000
engine = "packet"
canaries = ["198.18.7.1:22"]
[[watch]]
name = "risky"
interval = "2s"
[[expect]]
name = "orders"
hosts = ["198.18.7.200"]
ports = [5432]
[alerting]
second_look_after = "1s"
[store]
path = "alerts.db"
[[sink]]
name = "soc"
kind = "file"
path = "soc.jsonl"
[[sink]]
name = "ops"
kind = "file"
path = "ops.jsonl"
[[sink]]
name = "siem"
kind = "file"
path = "siem.jsonl"
[route]
security = ["soc"]
health = ["ops"]
events = ["siem"]
END
open() { ip netns exec fleet "$THIS" listen "$1" & listener=$!; }
close() { kill "$listener"; wait "$listener"; true; } 2>/dev/null
begin() { "$PORTREEVE" watch --config watch.toml --log info 2>>log & daemon=$!; }
end() { kill -TERM "$daemon"; wait "$daemon"; }
# Waits until a file has so many lines with a word.
has() {
    for _ in $(seq 300); do
        [[ $(grep -c "$2" "$1" 2>/dev/null) -ge $3 ]] && return
        sleep 0.1
    done
    echo "no $3 x $2 in $1"
    exit 9
}
transition() { echo "\"transition\":\"$1\""; }
"#;

/// What a script left behind.
struct Ran {
    output: Output,
    kept: TempDir,
}

impl Ran {
    fn new(script: &str) -> Self {
        let kept = tempfile::tempdir().expect("a directory");
        let this = std::env::current_exe().expect("this program has a path");
        let lab = Lab::new().network("198.18.7.0/24").open(0).dir(kept.path());
        let lab = lab.env("PORTREEVE", &lab::portreeve()).env("THIS", &this.to_string_lossy());
        let output = lab.run(&["bash", "-c", &format!("{PRELUDE}{script}")]);
        let ran = Ran { output, kept };
        assert_eq!(ran.output.status.code(), Some(0), "{}", ran.said());
        ran
    }

    fn said(&self) -> String {
        let log = std::fs::read_to_string(self.kept.path().join("log")).unwrap_or_default();
        format!("{}\n{log}", describe(&self.output))
    }

    fn events(&self, file: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.kept.path().join(file)).unwrap_or_default();
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        text.lines().map(parse).collect()
    }

    /// What a sink was told of alerts, each message once: a sink may be told twice, by the same identifier.
    fn told(&self, file: &str) -> Vec<String> {
        let mut ids = BTreeSet::new();
        let events = self.events(file).into_iter().filter(|event| event["event"] == "alert");
        let new = events.filter(|event| ids.insert(event["id"].as_str().expect("an id").to_owned()));
        new.map(|event| {
            let word = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            let port = event["port"].as_u64().map_or_else(|| word("about"), |port| port.to_string());
            format!("{} {} {port} {}", word("class"), word("kind"), word("transition"))
        })
        .collect()
    }

    /// For each sink: raised, delivered, pending, dead.
    fn books(&self) -> BTreeMap<String, [u64; 4]> {
        let store =
            portreeve::store::Store::open_reader(&self.kept.path().join("alerts.db")).expect("a store");
        let books = store.books().expect("books");
        assert!(books.iter().all(portreeve::store::outbox::SinkBooks::are_closed), "{books:?}");
        books.into_iter().map(|b| (b.sink, [b.raised, b.delivered, b.pending, b.dead])).collect()
    }
}

fn what_opens_is_told_and_what_closes_is_resolved() {
    let ran = Ran::new(
        r#"
        open 198.18.7.200:5432; orders=$listener
        begin
        has siem.jsonl sweep.completed 1
        for n in 1 2 3; do
            sleep 0.$((RANDOM % 10))
            open "198.18.7.$((100 + n)):6379"; date +%s%3N >>opened
            has soc.jsonl "$(transition firing)" $n
            date +%s%3N >>told
            has siem.jsonl "$(transition annotated)" $n
            close
            has soc.jsonl "$(transition resolved)" $n
        done
        kill $orders
        end"#,
    );
    let turn = ["security exposure 6379 firing", "security exposure 6379 resolved"];
    assert_eq!(ran.told("soc.jsonl"), turn.repeat(3), "{}", ran.said());
    assert_eq!(ran.told("ops.jsonl"), [""; 0], "{}", ran.said());
    let moments = |file: &str| -> Vec<i64> {
        let text = std::fs::read_to_string(ran.kept.path().join(file)).expect(file);
        text.lines().map(|line| line.parse().expect("a time")).collect()
    };
    for (opened, told) in moments("opened").into_iter().zip(moments("told")) {
        assert!(told - opened < 7000, "told after {} ms\n{}", told - opened, ran.said());
    }
    assert_eq!(ran.books()["soc"], [6, 6, 0, 0]);
}

fn three_failures_are_one_alert_and_a_restart_counts_on() {
    let ran = Ran::new(
        r#"
        sed -i 's/interval = "2s"/interval = "3s"/; s/engine = "packet"/engine = "connect"/' watch.toml
        once() { "$PORTREEVE" watch --config watch.toml --once 2>>log; [[ $? -le 1 ]] || exit 8; sleep 3; }
        open 198.18.7.200:5432; once
        close; once; once
        open 198.18.7.200:5432; once
        close; once; once; once; once
        open 198.18.7.200:5432; once; once
        close"#,
    );
    let told = ["health outage 5432 firing", "health outage 5432 resolved"];
    assert_eq!(ran.told("ops.jsonl"), told, "{}", ran.said());
    assert_eq!(ran.told("soc.jsonl"), [""; 0], "{}", ran.said());
}

fn whatever_kills_the_daemon_no_alert_is_lost() {
    let ran = Ran::new(
        r#"
        open 198.18.7.200:5432; orders=$listener
        for n in $(seq 12); do
            open "198.18.7.$((100 + n)):6379"
            begin
            sleep 0.$((RANDOM % 9 + 1))$((RANDOM % 10))
            kill -KILL $daemon; wait $daemon
        done 2>/dev/null
        begin
        has soc.jsonl "$(transition firing)" 12
        has siem.jsonl sweep.completed 2
        end
        "$PORTREEVE" db check --database alerts.db >>checked || exit 7
        jobs -p | xargs kill
        wait"#,
    );
    let mut told = ran.events("soc.jsonl");
    // Told twice, if at all, by the same identifier, and each of them once at least.
    told.sort_by_key(|event| event["id"].as_str().map(str::to_owned));
    told.dedup_by_key(|event| event["id"].as_str().map(str::to_owned));
    let hosts: BTreeSet<&str> = told.iter().filter_map(|event| event["ip"].as_str()).collect();
    assert_eq!((told.len(), hosts.len()), (12, 12), "{}", ran.said());
    let books = ran.books();
    assert_eq!(books["soc"], [12, 12, 0, 0], "{}", ran.said());
}

fn a_bad_file_keeps_the_old_configuration() {
    let ran = Ran::new(
        r#"
        open 198.18.7.200:5432; orders=$listener
        begin
        has siem.jsonl sweep.completed 1
        cp watch.toml good.toml
        echo 'nonsense = 1' >>watch.toml
        kill -HUP $daemon
        has ops.jsonl config-rejected 1
        open 198.18.7.101:6379
        has soc.jsonl "$(transition firing)" 1
        cp good.toml watch.toml
        kill -HUP $daemon
        has ops.jsonl "$(transition resolved)" 1
        kill $orders $listener
        end"#,
    );
    let told = ran.told("ops.jsonl");
    assert_eq!(told.len(), 2, "{told:?}\n{}", ran.said());
    assert!(told[0].starts_with("own config-rejected") && told[0].ends_with("firing"), "{told:?}");
    let message = ran.events("ops.jsonl")[0]["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("nonsense"), "{message}");
}

fn a_blind_sweep_resolves_nothing_and_says_so() {
    let ran = Ran::new(
        r#"
        open 198.18.7.200:5432; orders=$listener
        open 198.18.7.101:6379
        begin
        has siem.jsonl '"annotation":"confirmed"' 1
        ip netns exec router ip link set to-fleet down
        has ops.jsonl vantage-blind 1
        sleep 3
        cp soc.jsonl soc-blind.jsonl
        ip netns exec router ip link set to-fleet up
        ip netns exec router ip route replace "$LAB_NETWORK" via 192.0.2.6 2>/dev/null
        has ops.jsonl "$(transition resolved)" 1
        sleep 2
        kill $orders $listener
        end"#,
    );
    assert_eq!(ran.told("soc-blind.jsonl"), ["security exposure 6379 firing"], "{}", ran.said());
    let told = ran.told("ops.jsonl");
    assert_eq!(
        told,
        ["own vantage-blind risky firing", "own vantage-blind risky resolved"],
        "{}",
        ran.said()
    );
}

fn one_pass_sweeps_what_is_due_and_delivers() {
    let ran = Ran::new(
        r#"
        open 198.18.7.200:5432; orders=$listener
        sed -i 's/interval = "2s"/interval = "60s"/' watch.toml
        open 198.18.7.101:6379
        "$PORTREEVE" watch --config watch.toml --once 2>>log; echo "first $?" >>status
        "$PORTREEVE" watch --config watch.toml --once 2>>log; echo "second $?" >>status
        kill $orders $listener"#,
    );
    let status = std::fs::read_to_string(ran.kept.path().join("status")).expect("status");
    assert_eq!(status, "first 1\nsecond 1\n", "{}", ran.said());
    let sweeps = ran.events("siem.jsonl").iter().filter(|event| event["event"] == "sweep.completed").count();
    assert_eq!(sweeps, 1, "the second pass finds nothing due");
    assert_eq!(ran.told("soc.jsonl"), ["security exposure 6379 firing"], "{}", ran.said());
}
