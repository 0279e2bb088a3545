//! Ways to the targets that are cold, silent, down or missing.

use crate::harness::Ran;
use crate::lab::{Lab, counter};

fn small() -> Lab {
    Lab::new().network("198.18.7.0/24").seed(3)
}

/// Sweeps after having broken something; returns the complaint, which must come before anything is sent.
fn refused(breakage: &str, options: &str) -> String {
    let script = format!(
        "{breakage}; sweep $LAB_NETWORK --engine packet {options} --output $LAB_DIR/events; status=$?; \
         ip netns exec router nft list ruleset >$LAB_DIR/rules; exit $status"
    );
    let ran = Ran::new(small(), &script);
    assert_eq!(ran.status(), 2, "{}", ran.said());
    assert_eq!(counter(&ran.file("rules"), "seen_out"), 0, "nothing is sent\n{}", ran.said());
    ran.complaint()
}

/// That nobody has talked to the gateway yet is the usual case on a fresh machine, and no error.
pub fn cold_cache() {
    let script = "ip neigh flush dev scan0; ip neigh show dev scan0 >$LAB_DIR/cold; \
                  sweep $LAB_NETWORK --engine packet --states all --output $LAB_DIR/events";
    let ran = Ran::new(small(), script);
    assert_eq!(ran.file("cold"), "", "the cache is cold");
    assert_eq!(ran.status(), 1, "{}", ran.said());
    let events = ran.events("events");
    assert_eq!(events.ports.len(), 1536);
    assert_eq!(events.wrong(&ran.truth()), (0, String::new()));
    assert_eq!(events.completed()["vantage"]["next_hop"], "192.0.2.1");
}

pub fn silent_gateway() {
    let said = refused("ip -n router link set to-scan arp off; ip neigh flush dev scan0", "");
    assert!(said.contains("no way to 192.0.2.1") && said.contains("scan0"), "{said}");
}

pub fn interface_down() {
    let said = refused("ip link set scan0 down", "--interface scan0");
    assert!(said.contains("scan0 is down") && said.contains("ip link set scan0 up"), "{said}");
}

pub fn no_route() {
    let said = refused("ip route del 198.18.0.0/15", "");
    assert!(said.contains("no way to 198.18.7.0") && said.contains("no route"), "{said}");
}
