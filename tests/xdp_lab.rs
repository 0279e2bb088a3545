//! The XDP engine on a real wire, before a network that answers every SYN as fast as it comes. Needs root: nobody else
//! may load BPF programs.

mod lab;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Output};

use libtest_mimic::Arguments;
use serde_json::Value;

type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("every_target_has_its_state", every_target_has_its_state),
    ("every_target_has_its_state_over_ipv6", every_target_has_its_state_over_ipv6),
    ("nothing_is_left_behind", nothing_is_left_behind),
    ("whoever_may_not_is_told_what_is_missing", whoever_may_not_is_told_what_is_missing),
    ("doctor_says_what_would_be_done_and_does_nothing", doctor_says_what_would_be_done_and_does_nothing),
    ("a_device_that_takes_no_frames_is_refused", a_device_that_takes_no_frames_is_refused),
    ("a_device_that_is_taken_is_refused", a_device_that_is_taken_is_refused),
    ("a_rate_that_asks_for_it_is_told_of_it", a_rate_that_asks_for_it_is_told_of_it),
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
    let trial = |&(name, test): &Case| lab::trial(name, test, missing.as_deref());
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
    for (taken, says) in [
        ("bpf", "CAP_BPF is missing"),
        ("bpf,-perfmon", "CAP_BPF, CAP_PERFMON are missing"),
        ("net_admin", "CAP_NET_ADMIN is missing"),
    ] {
        let sets = format!("--bounding-set=-sys_admin,-{taken} --inh-caps=-sys_admin,-{taken}");
        let sweep =
            format!("setpriv {sets} \"$PORTREEVE\" sweep --authorization lab --engine xdp 198.18.0.0/24");
        let (status, said) = said_before_wire(&sweep);
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains(says) && said.contains("setcap") && said.contains("--engine packet"), "{said}");
        assert!(!said.contains("failed to"), "it is told before anything is tried: {said}");
        // The same words by the doctor, as a fault only if the engine is wanted.
        for (engine, mark, expected) in [("xdp", "FAULT", 2), ("auto", "info ", 0)] {
            let doctor = format!("setpriv {sets} \"$PORTREEVE\" doctor --engine {engine} 198.18.0.1");
            let (status, said) = said_before_wire(&doctor);
            let fact = format!("{mark} xdp          cannot run here: {says}");
            assert!(status == Some(expected) && said.contains(&fact), "{said}");
        }
    }
    let (status, said) =
        said_before_wire("unshare --user --map-root-user \"$PORTREEVE\" doctor --engine xdp 198.18.0.1");
    assert!(status == Some(2) && said.contains("cannot run here: this is a user namespace"), "{said}");
    // And the four that are asked for are enough, with nothing else of root's.
    let four = "-all,+net_raw,+bpf,+net_admin,+perfmon";
    let script = format!(
        "setpriv --bounding-set={four} --inh-caps={four} \"$PORTREEVE\" sweep --authorization lab --engine xdp \
         --no-verify --ports 80 198.18.0.0/24"
    );
    let (status, said) = said_before_wire(&script);
    assert!(matches!(status, Some(0 | 1)) && said.contains("complete:"), "{said}");
}

fn doctor_says_what_would_be_done_and_does_nothing() {
    // What the kernel says by itself over IPv6 is not the doctor's.
    let script = "sent() { cat /sys/class/net/wire/statistics/tx_packets; }
        mount -t sysfs none /sys
        echo 1 >/proc/sys/net/ipv6/conf/wire/disable_ipv6
        sleep 0.3
        before=$(sent)
        \"$PORTREEVE\" doctor --engine xdp 198.18.0.1
        echo \"status $?, sent $(($(sent) - before)), attached $(ip link show wire | grep -c prog/xdp)\"";
    let (_, said) = said_before_wire(script);
    for line in [
        "ok    xdp          can run here",
        "ok    xdp          wire, driver veth: takes frames from XDP (ndo_xdp_xmit)",
        "info  xdp          a sweep would attach a program to wire natively (if its MTU lets the driver); resets",
        "status 0, sent 0, attached 0",
    ] {
        assert!(said.contains(line), "no `{line}` in {said}");
    }
}

fn a_device_that_takes_no_frames_is_refused() {
    // The far end of this one has no program, so it does not poll; and an ifb has no XDP at all.
    let script = "ip link add left type veth peer name right netns responder
        ip addr add 192.0.2.9/30 dev left && ip link set left up
        ip -n responder addr add 192.0.2.10/30 dev right && ip -n responder link set right up
        ip route add 198.19.0.0/24 via 192.0.2.10
        ip link add short type ifb && ip link set short arp on up && ip addr add 192.0.2.13/30 dev short
        ip route add 198.19.1.0/24 via 192.0.2.14
        for _ in $(seq 50); do ip link show left | grep -q LOWER_UP && break; sleep 0.1; done
        \"$PORTREEVE\" doctor --engine xdp 198.19.0.1
        \"$PORTREEVE\" doctor --engine xdp 198.19.1.1
        timeout 20 \"$PORTREEVE\" sweep --authorization lab --engine xdp 198.19.0.0/24
        echo \"status $?, attached $(ip link show left | grep -c prog/xdp)\"";
    let (_, said) = said_before_wire(script);
    for line in [
        "note  xdp          left, driver veth: takes no frames from XDP now",
        "FAULT xdp          short: its driver (ifb) takes no frames from XDP",
        "error: the xdp engine cannot run on left: its driver (veth) takes no frames from XDP",
        "ethtool -K",
        "status 2, attached 0",
    ] {
        assert!(said.contains(line), "no `{line}` in {said}");
    }
}

fn a_device_that_is_taken_is_refused() {
    let script = "sweep() {
            timeout 20 \"$PORTREEVE\" sweep --authorization lab --engine xdp --no-verify $1 198.18.0.0/16
        }
        sweep '--rate 1k' >/dev/null 2>&1 &
        for _ in $(seq 100); do ip link show wire | grep -q prog/xdp && break; sleep 0.05; done
        id=$(ip link show wire | sed -n 's/.*prog.xdp id \\([0-9]*\\).*/\\1/p')
        \"$PORTREEVE\" doctor --engine xdp 198.18.0.1 | sed \"s/id $id/id THIS/\"
        sweep '' 2>&1 | sed \"s/id $id/id THIS/\"
        kill $!; wait";
    let (_, said) = said_before_wire(script);
    let why = "an XDP program (id THIS) is attached to it natively";
    for line in [
        format!("FAULT xdp          wire: {why}"),
        format!("error: the xdp engine cannot run on wire: {why}"),
    ] {
        assert!(said.contains(&line), "no `{line}` in {said}");
    }
}

fn a_rate_that_asks_for_it_is_told_of_it() {
    let open = "--host-rate none --network-rate none";
    let scope = "--authorization lab --no-verify --ports 80 198.18.0.0/24";
    for (what, is_told) in [
        (format!("sweep --rate 1M {open} {scope}"), true),
        (format!("sweep --rate 1M {open} --dry-run {scope}"), true),
        (format!("doctor --rate 1M {open} 198.18.0.0/24"), true),
        (format!("doctor --rate 200k {open} 198.18.0.0/24"), false),
        (format!("sweep --rate 200k {open} {scope}"), false),
        (format!("sweep --rate 1M {scope}"), false),
        (format!("sweep --rate 1M {open} --engine packet {scope}"), false),
        (format!("sweep --rate 1M {open} --engine xdp {scope}"), false),
        (format!("sweep --rate 1M {open} --format jsonl {scope}"), false),
    ] {
        let (status, said) = said_before_wire(&format!("\"$PORTREEVE\" {what}"));
        // The wire answers no packet socket, so those sweeps see nothing.
        assert!(matches!(status, Some(0 | 1 | 3)), "{what}: {said}");
        assert_eq!(said.contains("this host may be able to run the xdp engine"), is_told, "{what}: {said}");
    }
    // Where it could not run, nothing is said of it.
    let sets = "--bounding-set=-bpf,-sys_admin --inh-caps=-bpf,-sys_admin";
    let script = format!("setpriv {sets} \"$PORTREEVE\" sweep --rate 1M {open} {scope}");
    let (_, said) = said_before_wire(&script);
    assert!(said.contains("packet engine") && !said.contains("xdp engine"), "{said}");
}

/// How a script ends before a wire, and all that it says.
fn said_before_wire(script: &str) -> (Option<i32>, String) {
    let output = before_wire("198.18.0.0/16", script);
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code(), said.concat())
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
    Command::new(lab::script("lab-wire.sh"))
        .args([&responder().to_string_lossy(), network, "timeout", "60", "bash", "-c", script])
        .env("PORTREEVE", lab::portreeve())
        .env("THIS", std::env::current_exe().expect("this program has a path"))
        .output()
        .expect("the lab starts")
}

fn missing() -> Option<String> {
    let output = Command::new(lab::script("lab-wire.sh")).arg("check").output();
    match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// Built beside the program, as every example is.
fn responder() -> PathBuf {
    PathBuf::from(lab::portreeve()).with_file_name("examples").join("lab-responder")
}
