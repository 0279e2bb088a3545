//! Networks of every kind, with nmap as the judge, and the kinds of device that not every kernel has.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Ran, note};
use crate::lab::{Engine, Lab, describe, portreeve, script};
use crate::weather::{Ending, check, small, sweep_in, sweep_with};

/// Seconds that the whole comparison may take.
const LIMIT: &str = "240";

/// What is missing for tunnels: `None` where there can be some.
pub fn missing_tunnels() -> Option<String> {
    let tunnel = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    tunnel.err().map(|error| format!("tunnels (/dev/net/tun: {error})"))
}

/// What is missing for the judge: `None` where it can judge.
pub fn missing_for_judge() -> Option<String> {
    if let Some(missing) = missing_tunnels() {
        return Some(missing);
    }
    let nmap = Command::new("nmap").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if nmap.is_ok_and(|status| status.success()) { None } else { Some("the program nmap".to_owned()) }
}

fn fleet() -> PathBuf {
    let this = std::env::current_exe().expect("this program has a path");
    let target = this.parent().and_then(Path::parent).expect("a target directory");
    target.join("examples/lab-fleet")
}

fn judge(options: &[&str]) {
    let mut command = Command::new("timeout");
    command.arg(LIMIT).arg(script("judge.sh")).args(options).args(["--portreeve", &portreeve()]);
    // Without it, the judge would build its own.
    if fleet().is_file() {
        command.arg("--fleet").arg(fleet());
    }
    let output = command.stdin(Stdio::null()).output().expect("scripts/judge.sh can be started");
    assert!(output.status.success(), "{}", describe(&output));
    note(&String::from_utf8_lossy(&output.stdout));
}

/// The lab tested by itself, and the judge's own figure.
pub fn nmap_agrees_with_the_truth() {
    judge(&["--nmap-only"]);
}

/// Every target of every kind of network, in one sweep over several interfaces.
pub fn nmap_and_portreeve_agree() {
    judge(&[]);
}

/// Each kind by itself, with the engine that is meant for it.
pub fn nmap_and_portreeve_agree_on_each() {
    judge(&["--each"]);
}

/// What is missing for a device of this kind: `None` where the kernel can make one.
pub fn missing_device(kind: &str) -> Option<String> {
    let make = match kind {
        "vlan" => "ip link add link scan0 name other type vlan id 5",
        _ => "ip link add other type vrf table 10",
    };
    let output = Lab::new().network("198.18.7.0/24").run(&["sh", "-c", make]);
    if output.status.success() { None } else { Some(format!("{kind} devices in this kernel")) }
}

/// All networks of every kind in one sweep: by each device in the way that it can carry.
pub fn every_kind(engine: Engine) {
    let lab = Lab::new().flag("--kinds").seed(5).timeout(Duration::from_secs(90));
    let targets = "$(cut -d\" \" -f3 $LAB_KINDS) --ports \"$LAB_PORTS\"";
    let ran = sweep_with(engine, lab, ":", &format!("{targets} --no-verify --network-rate none"));
    let events = check(&ran, Ending::Complete, "");
    assert_eq!(events.completed()["vantage"]["engine"], engine.name(), "{}", events.completed());
    assert!(events.number("ledger", "declared") > 20_000, "{}", events.completed());
}

/// The scanner's wires are ports of its own bridge.
const BRIDGE: &str = "ip link add br0 type bridge; ip link set scan0 master br0; ip address flush dev scan0; \
                      ip address add 192.0.2.2/30 dev br0; ip link set br0 up; \
                      ip route replace 198.18.0.0/15 via 192.0.2.1";

/// A bridge takes no frames from XDP: what was asked for is refused by name, and nothing is sent.
pub fn bridge(engine: Engine) {
    let ran = sweep_in(engine, small(), BRIDGE, "--rate 2k");
    if engine == Engine::Xdp {
        check_refused(&ran, "br0");
        return;
    }
    check(&ran, Ending::Complete, "");
}

/// Nor does a tunnel, which carries no frames at all.
pub fn tunnel(engine: Engine) {
    let lab = Lab::new().flag("--kinds").seed(5).timeout(Duration::from_secs(90));
    let ran = sweep_with(engine, lab, ":", "198.19.64.0/24 --ports \"$LAB_PORTS\" --network-rate none");
    if engine == Engine::Xdp {
        check_refused(&ran, "tun0");
        return;
    }
    check(&ran, Ending::Complete, "");
}

/// Beside one that does, such a device is served as ever, and it is said how.
pub fn bridge_beside(engine: Engine) {
    let lab = Lab::new().flag("--kinds").seed(5).timeout(Duration::from_secs(90));
    let targets = "198.18.0.0/24 198.19.32.0/24 --ports \"$LAB_PORTS\" --network-rate none";
    let ran = sweep_with(engine, lab, BRIDGE, targets);
    let events = check(&ran, Ending::Complete, "");
    let vantage = &events.completed()["vantage"];
    assert_eq!(vantage["engine"], engine.name(), "{vantage}");
    let reason = vantage["engine_reason"].as_str().expect("a reason");
    assert_eq!(reason.contains("packet sockets on br0"), engine == Engine::Xdp, "{vantage}");
}

/// Nor does a veth whose other end does not poll.
pub fn veth_whose_end_does_not_poll(engine: Engine) {
    let ran = sweep_in(engine, small(), "ip netns exec router ethtool -K to-scan gro off", "--rate 2k");
    check_refused(&ran, "scan0");
}

/// The device is named, and what to do; and nothing has been listed.
fn check_refused(ran: &Ran, device: &str) {
    assert_eq!(ran.status(), 2, "{}", ran.said());
    for word in [device, "takes no frames from XDP", "--engine packet"] {
        assert!(ran.complaint().contains(word), "{}", ran.said());
    }
}

/// The way to the fleet is a VLAN on the wire to the router, which takes no frames from XDP.
pub fn vlan(engine: Engine) {
    let weather = "ip link add link scan0 name scan0.5 type vlan id 5; \
                  ip -n router link add link to-scan name to-scan.5 type vlan id 5; \
                  ip address add 192.0.2.18/30 dev scan0.5; ip link set scan0.5 up; \
                  ip -n router address add 192.0.2.17/30 dev to-scan.5; ip -n router link set to-scan.5 up; \
                  ip -n fleet route add 192.0.2.16/30 via 192.0.2.5; \
                  ip route replace 198.18.0.0/15 via 192.0.2.17";
    let ran = sweep_in(engine, small().timeout(Duration::from_secs(60)), weather, "");
    if engine == Engine::Xdp {
        check_refused(&ran, "scan0.5");
        return;
    }
    check(&ran, Ending::Complete, "");
}

/// An interface in a VRF: swept rightly, or refused by name before anything is sent.
pub fn vrf(engine: Engine) {
    let weather = "ip link add red type vrf table 10; ip link set red up; ip link set scan0 master red; \
                  ip route add 198.18.0.0/15 via 192.0.2.1 vrf red";
    let ran = sweep_in(engine, small(), weather, "--interface scan0");
    if ran.status() == 2 {
        assert!(ran.complaint().to_lowercase().contains("vrf"), "{}", ran.said());
        return;
    }
    check(&ran, Ending::Complete, "");
}
