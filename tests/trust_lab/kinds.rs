//! Networks of every kind, with nmap as the judge, and the kinds of device that not every kernel has.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Ran, note};
use crate::lab::{Lab, describe, portreeve, script};
use crate::weather::{Ending, check, small};

/// Seconds that the whole comparison may take.
const LIMIT: &str = "240";

/// What is missing for the judge: `None` where it can judge.
pub fn missing_for_judge() -> Option<String> {
    let tunnel = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    if let Err(error) = tunnel {
        return Some(format!("tunnels (/dev/net/tun: {error})"));
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

/// The way to the fleet is a VLAN on the wire to the router.
pub fn vlan() {
    let script = "ip link add link scan0 name scan0.5 type vlan id 5; \
                  ip -n router link add link to-scan name to-scan.5 type vlan id 5; \
                  ip address add 192.0.2.18/30 dev scan0.5; ip link set scan0.5 up; \
                  ip -n router address add 192.0.2.17/30 dev to-scan.5; ip -n router link set to-scan.5 up; \
                  ip -n fleet route add 192.0.2.16/30 via 192.0.2.5; \
                  ip route replace 198.18.0.0/15 via 192.0.2.17; \
                  sweep $LAB_NETWORK --engine packet --states all --output $LAB_DIR/events";
    let ran = Ran::new(small().timeout(Duration::from_secs(60)), script);
    check(&ran, Ending::Complete, "");
}

/// An interface in a VRF: swept rightly, or refused by name before anything is sent.
pub fn vrf() {
    let script = "ip link add red type vrf table 10; ip link set red up; ip link set scan0 master red; \
                  ip route add 198.18.0.0/15 via 192.0.2.1 vrf red; \
                  sweep $LAB_NETWORK --engine packet --states all --interface scan0 --output $LAB_DIR/events";
    let ran = Ran::new(small(), script);
    if ran.status() == 2 {
        assert!(ran.complaint().to_lowercase().contains("vrf"), "{}", ran.said());
        return;
    }
    check(&ran, Ending::Complete, "");
}
