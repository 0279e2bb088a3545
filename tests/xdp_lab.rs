//! The XDP engine on a real wire, before a network that answers every SYN as fast as it comes. Needs root: nobody else
//! may load BPF programs.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("every_target_has_its_state", every_target_has_its_state),
    ("every_target_has_its_state_over_ipv6", every_target_has_its_state_over_ipv6),
    ("nothing_is_left_behind", nothing_is_left_behind),
    ("whoever_may_not_is_told_what_is_missing", whoever_may_not_is_told_what_is_missing),
];

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("list-bpf") {
        list_bpf();
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::from_args();
    // Each takes a whole processor for itself.
    arguments.test_threads = Some(1);
    let missing = missing();
    let trial = |&(name, test): &Case| {
        let trial = Trial::test(name, move || {
            test();
            Ok::<(), Failed>(())
        });
        match &missing {
            Some(what) => trial.with_kind(format!("missing: {what}")).with_ignored_flag(true),
            None => trial,
        }
    };
    libtest_mimic::run(&arguments, CASES.iter().map(trial).collect()).exit_code()
}

fn every_target_has_its_state() {
    // As fast as can be, and with one try each: nothing may get lost.
    let events = swept("198.18.0.0/16", "22,80-95", "--rate 4000k --tries 1");
    let completed = completed(&events);
    assert_eq!(completed["verdict"], "complete", "{completed}");
    assert_eq!(completed["vantage"]["engine"], "xdp");
    let declared = 65_536 * 17;
    let open = 256 * 17;
    let ledger = &completed["ledger"];
    assert_eq!(ledger["declared"], declared);
    assert_eq!((&ledger["open"], &ledger["closed"]), (&open.into(), &(declared - open).into()), "{ledger}");
    let found: BTreeSet<(IpAddr, u64)> =
        events.iter().filter(|event| event["event"] == "port").map(target).collect();
    assert_eq!(found.len(), open);
    let is_right = |(ip, port): &(IpAddr, u64)| match ip {
        IpAddr::V4(ip) => u64::from(ip.octets()[3]) == port % 251,
        IpAddr::V6(_) => false,
    };
    assert!(found.iter().all(is_right));
}

fn every_target_has_its_state_over_ipv6() {
    let events = swept("2001:db8:18::/112", "22,443", "--rate 500k");
    let completed = completed(&events);
    assert_eq!(completed["verdict"], "complete", "{completed}");
    let ledger = &completed["ledger"];
    assert_eq!(ledger["declared"], 65_536 * 2);
    assert_eq!((&ledger["open"], &ledger["closed"]), (&512.into(), &(65_536 * 2 - 512).into()), "{ledger}");
}

/// However a sweep ends, the device is as it was, and of all that the process had in the kernel nothing remains.
fn nothing_is_left_behind() {
    let script = "is_there() { ip link show \"$LAB_DEVICE\" | grep -c prog/xdp; }
        there() { \"$THIS\" list-bpf | grep -c -x -F -f /run/ours; }
        filters() { tc qdisc show dev \"$LAB_DEVICE\"; tc filter show dev \"$LAB_DEVICE\" ingress; } 2>/dev/null
        filters >/run/filters
        \"$PORTREEVE\" sweep --authorization lab --engine xdp --rate 10k --host-rate none --network-rate none \
            --no-verify 198.18.0.0/16 >/dev/null 2>&1 &
        for at in $(seq 100); do [ \"$(is_there)\" = 0 ] || break; sleep 0.05; done
        sed -n 's/^\\(prog\\|map\\|link\\)_id:[[:space:]]*/\\1 /p' /proc/$!/fdinfo/* | sort -u >/run/ours
        echo \"during $(is_there) $(cut -d ' ' -f 1 /run/ours | uniq -c | xargs)\"
        [ \"$(there)\" = \"$(wc -l </run/ours)\" ] || echo 'not all are listed'
        kill -\"$SIGNAL\" $!
        wait $! || true
        for at in $(seq 100); do [ \"$(is_there) $(there)\" != '0 0' ] || break; sleep 0.05; done
        echo \"after $(is_there) $(there)\"
        filters | cmp - /run/filters";
    for signal in ["KILL", "INT"] {
        let output = before_wire("198.18.0.0/16", &format!("SIGNAL={signal}; {script}"));
        let said = String::from_utf8_lossy(&output.stdout);
        let expected = "during 1 3 link 8 map 5 prog\nafter 0 0\n";
        assert_eq!(said, expected, "{signal}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Every BPF program, map and link of the machine, one a line, for the script above.
fn list_bpf() {
    let mut all = Vec::new();
    all.extend(aya::programs::loaded_programs().flatten().map(|program| format!("prog {}", program.id())));
    all.extend(aya::maps::loaded_maps().flatten().map(|map| format!("map {}", map.id())));
    all.extend(aya::programs::loaded_links().flatten().map(|link| format!("link {}", link.id())));
    // Whoever reads it has ended only if the test has.
    let _ = writeln!(std::io::stdout(), "{}", all.join("\n"));
}

fn whoever_may_not_is_told_what_is_missing() {
    let script = "setpriv --bounding-set=-bpf,-sys_admin --inh-caps=-bpf,-sys_admin \"$PORTREEVE\" sweep \
        --authorization lab --engine xdp 198.18.0.0/24";
    let output = before_wire("198.18.0.0/16", script);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for word in ["CAP_BPF", "CAP_PERFMON", "5.18", "--engine packet"] {
        assert!(said.contains(word), "{said}");
    }
}

/// What a sweep of the network says, an event a line.
fn swept(network: &str, ports: &str, options: &str) -> Vec<Value> {
    let script = format!(
        "\"$PORTREEVE\" sweep --authorization lab --engine xdp --format jsonl --states open --host-rate none \
         --network-rate none --no-verify --ports {ports} {options} {network}"
    );
    let output = before_wire(network, &script);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{said}");
    let events = String::from_utf8(output.stdout).expect("text");
    events.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn completed(events: &[Value]) -> &Value {
    events.iter().find(|event| event["event"] == "sweep.completed").expect("an end")
}

fn target(event: &Value) -> (IpAddr, u64) {
    let ip = event["ip"].as_str().and_then(|ip| ip.parse().ok());
    (ip.expect("an address"), event["port"].as_u64().expect("a port"))
}

/// Runs a script before a wire to this network.
fn before_wire(network: &str, script: &str) -> Output {
    Command::new(scripts().join("lab-wire.sh"))
        .args([&responder().to_string_lossy(), network, "timeout", "60", "bash", "-c", script])
        .env("PORTREEVE", program())
        .env("THIS", std::env::current_exe().expect("this program has a path"))
        .output()
        .expect("the lab starts")
}

fn missing() -> Option<String> {
    let output = Command::new(scripts().join("lab-wire.sh")).arg("check").output();
    match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

fn scripts() -> PathBuf {
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    Path::new(&root).join("scripts")
}

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_portreeve").into()
}

/// Built beside the program, as every example is.
fn responder() -> PathBuf {
    program().with_file_name("examples").join("lab-responder")
}
