//! What is probed, and what is not.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::harness::{Ran, Target};
use crate::lab::Lab;
use crate::watch::packets;

const PORTS: [u16; 6] = [22, 3306, 5432, 6379, 9200, 27017];

/// Three parts of a sweep make the whole, and no target is in two of them.
pub fn shards_partition_the_scope() {
    let script = "for n in 1 2 3; do sweep $LAB_NETWORK --engine packet --states all --shard $n/3 --seed 7 \
                  --output $LAB_DIR/part-$n; done; true";
    let ran = Ran::new(Lab::new().network("198.18.7.0/24").seed(3), script);
    let mut all: BTreeSet<Target> = BTreeSet::new();
    for n in 1..=3 {
        let events = ran.events(&format!("part-{n}"));
        assert_eq!(events.wrong(&ran.truth()), (0, String::new()));
        assert_eq!(events.number("ledger", "declared"), events.ports.len() as u64);
        assert_eq!((events.number("shard", "number"), events.number("shard", "of")), (n, 3));
        assert!(events.ports.len() >= 1536 / 4, "shard {n} has {} targets", events.ports.len());
        let before = all.len();
        all.extend(events.ports.keys());
        assert_eq!(all.len(), before + events.ports.len(), "shard {n} has targets of another");
    }
    assert_eq!(all.len(), 1536);
}

/// Three senders share one order: watched from outside, every target is probed by one of them, once, and what they find
/// between them is the truth.
pub fn senders_share_the_sweep() {
    let script = "ip netns exec router \"$WATCH\" list-packets >$LAB_DIR/packets & watch=$!; \
                  until grep -q ready $LAB_DIR/packets; do sleep 0.02; done; \
                  sweep $LAB_NETWORK --engine packet --states all --rate 2000 --senders 3 --tries 1 --no-verify \
                  --output $LAB_DIR/events; status=$?; sleep 0.2; kill $watch; exit $status";
    let ran = Ran::new(Lab::new().network("198.18.7.0/24").seed(3), script);
    assert!(ran.status() < 2, "{}", ran.said());
    let events = ran.events("events");
    events.check_books();
    assert_eq!(events.wrong(&ran.truth()), (0, String::new()));
    let seen = packets(&ran.file("packets"));
    let probed: Vec<Target> = seen.iter().filter(|p| p.is_syn).map(|p| (p.ip, p.port)).collect();
    assert_eq!(probed.iter().copied().collect::<BTreeSet<_>>(), events.ports.keys().copied().collect());
    // A target that two of them take at once, or none, shows here.
    assert_eq!((events.ports.len(), events.number("packets", "sent")), (1536, 1536));
    assert_eq!(probed.len() as u64, 1536 + events.number("packets", "canaries"));
}

/// Networks, ranges and single addresses, overlapping, with excludes of every shape: watched from outside, the probes
/// go to exactly what is left.
pub fn nothing_leaves_the_scope() {
    let script = "ip netns exec router \"$WATCH\" list-packets >$LAB_DIR/packets & watch=$!; \
                  until grep -q ready $LAB_DIR/packets; do sleep 0.02; done; \
                  sweep 198.18.7.0/26 198.18.7.50-198.18.7.100 198.18.7.200 --engine packet --states all --rate 2000 \
                  --no-verify --exclude 198.18.7.8/29 --exclude 198.18.7.60-198.18.7.70,198.18.7.90 \
                  --output $LAB_DIR/events; status=$?; sleep 0.2; kill $watch; exit $status";
    let ran = Ran::new(Lab::new().network("198.18.7.0/24").seed(3), script);
    assert!(ran.status() < 2, "{}", ran.said());
    let within = |host: u8| {
        let included = host <= 100 || host == 200;
        included && !(8..16).contains(&host) && !(60..=70).contains(&host) && host != 90
    };
    let scope: BTreeSet<Target> = (0..=255)
        .filter(|&host| within(host))
        .flat_map(|host| PORTS.map(|port| (IpAddr::from([198, 18, 7, host]), port)))
        .collect();
    let seen = packets(&ran.file("packets"));
    let probed: BTreeSet<Target> = seen.iter().filter(|p| p.is_syn).map(|p| (p.ip, p.port)).collect();
    assert_eq!(probed.difference(&scope).collect::<Vec<_>>(), Vec::<&Target>::new(), "outside the scope");
    assert_eq!(scope.difference(&probed).collect::<Vec<_>>(), Vec::<&Target>::new(), "never probed");
    // What else leaves is this host's own stack refusing SYN-ACKs that it did not ask for.
    let strays: Vec<_> = seen.iter().filter(|p| !scope.contains(&(p.ip, p.port))).collect();
    assert!(strays.is_empty(), "{strays:?}");
    let listed: BTreeSet<Target> = ran.events("events").ports.into_keys().collect();
    assert_eq!(listed, scope);
}
