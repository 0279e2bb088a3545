//! Hosts that mean it, hosts that do not, and devices that answer for others.

use std::net::IpAddr;

use crate::harness::{Ran, of, targets};

/// Why no SYN proxy can be had on this machine, if none can.
pub fn missing_for_proxy() -> Option<String> {
    let ran = Ran::new(0, "proxy 198.18.7.8/29 2>&1");
    (!ran.output.status.success()).then(|| {
        let said = String::from_utf8_lossy(&ran.output.stdout);
        format!("a SYN proxy (nft synproxy): {}", said.lines().next().unwrap_or("no reason given"))
    })
}

/// Every exposure of real listeners has a whole handshake behind it, and their events say so in the end.
pub fn open_ports_are_verified() {
    let script = "sweep $LAB_NETWORK --engine packet --format jsonl --output $LAB_DIR/events";
    let ran = Ran::new(9, script);
    assert_eq!(ran.status(), 1, "{}", ran.said());
    let events = ran.events("events");
    let canaries = events[0]["scope"]["canary_ports"].as_array().expect("canary ports");
    assert_eq!(canaries.len(), 3);
    let exposures = of(&events, "kind", "exposure");
    assert_eq!(exposures.len(), ran.truth().opens().count());
    assert_eq!(events.iter().filter(|event| event["event"] == "finding").count(), 9);
    for exposure in &exposures {
        assert_eq!((&exposure["verified"], &exposure["verification"]), (&true.into(), &"verified".into()));
        assert!(exposure.get("banner").is_none(), "nobody asked for it: {exposure}");
    }
    let ports = of(&events, "event", "port");
    let (seen, again) = ports.split_at(9);
    assert!(seen.iter().all(|event| event["verified"] == false));
    assert!(again.iter().all(|event| event["verified"] == true));
    assert_eq!(targets(seen), targets(again));
}

/// The router lets probes through and whatever the kernel itself sends not: once with a reset, once without a word.
pub fn a_refused_handshake_is_no_alert_on_one_packet() {
    for (rule, verification, says) in [
        ("reject with tcp reset", "refused", "answered a probe but refused the handshake twice"),
        ("drop", "silent", "answered a probe but no handshake, twice"),
    ] {
        let script = format!(
            "ip netns exec router nft add rule ip lab forward tcp sport 32768-60999 {rule}; \
             sweep $LAB_NETWORK --ports 6379 --engine packet --format jsonl --output $LAB_DIR/events"
        );
        let ran = Ran::new(16, &script.replace("$LAB_NETWORK", "198.18.7.0/29"));
        assert_eq!(ran.status(), 1, "{}", ran.said());
        let events = ran.events("events");
        let exposures = of(&events, "kind", "exposure");
        let opens = ran
            .truth()
            .opens()
            .filter(|(ip, port)| *ip < IpAddr::from([198, 18, 7, 8]) && *port == 6379)
            .count();
        assert!(opens > 0 && exposures.len() == opens, "{exposures:?}");
        for exposure in exposures {
            assert_eq!(exposure["verification"], verification, "{exposure}");
            assert_eq!((&exposure["verified"], &exposure["severity"]), (&false.into(), &"high".into()));
            assert!(exposure["message"].as_str().is_some_and(|text| text.contains(says)), "{exposure}");
        }
        assert!(of(&events, "event", "port").iter().all(|event| event["verified"] == false));
    }
}

/// The router counts what goes to the ports where canaries are taken from.
pub fn without_verifying_nothing_else_is_probed() {
    for (flag, is_probed) in [("", true), ("--no-verify", false)] {
        let script = format!(
            "ip netns exec router nft add rule ip lab forward ip daddr 198.18.0.0/15 tcp dport 49152-65535 counter; \
             sweep $LAB_NETWORK --engine packet --format jsonl --output $LAB_DIR/events {flag}; status=$?; \
             ip netns exec router nft list chain ip lab forward >$LAB_DIR/rules; exit $status"
        );
        let ran = Ran::new(9, &script);
        assert_eq!(ran.status(), 1, "{}", ran.said());
        let rules = ran.file("rules");
        assert!(rules.contains("counter packets"), "{rules}");
        assert_eq!(!rules.contains("counter packets 0 "), is_probed, "{rules}");
        let events = ran.events("events");
        assert_eq!(events[0]["scope"].get("canary_ports").is_some(), is_probed);
        let verifications = of(&events, "verification", if is_probed { "verified" } else { "skipped" });
        assert_eq!(verifications.len(), 9);
    }
}

pub fn a_syn_proxy_is_one_finding() {
    a_syn_proxy_is_one_finding_with("packet");
}

pub fn a_syn_proxy_is_one_finding_by_connect_too() {
    a_syn_proxy_is_one_finding_with("connect");
}

/// Behind the proxy, what is no listener is silent: a proxy in front of nothing.
const PROXY_OF_NOTHING: &str = "ip netns exec fleet nft 'table ip nothing { chain out { type filter hook output \
     priority 0; ip saddr 198.18.7.8/29 tcp flags & rst == rst drop; }; }'";

/// Eight addresses behind a SYN proxy, with nothing behind it but one server on one of them, and what the lab has.
fn a_syn_proxy_is_one_finding_with(engine: &str) {
    let script = format!(
        "proxy 198.18.7.8/29 || exit 9; serve serve-ssh; {PROXY_OF_NOTHING} || exit 9; \
         sweep 198.18.7.8/29 --engine {engine} --banner --format jsonl --output $LAB_DIR/events; status=$?; \
         sweep 198.18.7.8/29 --engine {engine} --output $LAB_DIR/text; exit $status"
    );
    let ran = Ran::new(0, &script);
    assert_eq!(ran.status(), 1, "{}", ran.said());
    let events = ran.events("events");
    let completed = events.last().expect("an end");
    assert_eq!(completed["ledger"]["open"], 48, "everything is accepted: {completed}");
    let exposures = of(&events, "kind", "exposure");
    assert_eq!(targets(&exposures), [("198.18.7.9".to_owned(), 22)], "{exposures:?}");
    assert_eq!(exposures[0]["banner"]["text"], "SSH-2.0-OpenSSH_9.2");
    assert_eq!((&exposures[0]["verified"], &exposures[0]["conduct"]), (&true.into(), &"spoke".into()));
    let devices = of(&events, "kind", "answers-all");
    let hosts: Vec<String> = targets(&devices).into_iter().map(|(ip, _)| ip).collect();
    let mut all: Vec<String> = (8..16).map(|host| format!("198.18.7.{host}")).collect();
    all.sort();
    assert_eq!(hosts, all);
    for device in devices {
        let ports = if device["ip"] == "198.18.7.9" { 5 } else { 6 };
        assert_eq!(device["answers_all"]["ports"], ports, "{device}");
        assert_eq!(device["answers_all"]["listened_to"], ports, "{device}");
        assert!(
            device["message"].as_str().is_some_and(|text| text.contains("never speaks on them: a SYN proxy")),
            "{device}"
        );
    }
    let text = ran.file("text");
    assert!(
        text.contains("hosts that answer everything: 8") && text.contains("complete: 1 exposed"),
        "{text}"
    );
}

/// One real server behind a proxy that accepts thousands of ports, and somebody who does not wait for the end: the port
/// that matters has been listened to, and of the others the finding says how many were not.
pub fn what_was_not_listened_to_is_said() {
    let script = format!(
        "proxy 198.18.7.8/29 || exit 9; serve serve-ssh; {PROXY_OF_NOTHING} || exit 9; \
         timeout --foreground --preserve-status -s INT 14 \"$PORTREEVE\" sweep --authorization lab \
         198.18.7.9 --ports 1-4000 --engine packet --rate 4000 --host-rate none --network-rate none \
         --format jsonl --output $LAB_DIR/events"
    );
    let ran = Ran::new(0, &script);
    assert_eq!(ran.status(), 3, "{}", ran.said());
    let events = ran.events("events");
    let completed = events.last().expect("an end");
    assert_eq!(
        (&completed["verdict"], &completed["second_look"]["ended"]),
        (&"degraded".into(), &"stopped".into())
    );
    assert_eq!(completed["ledger"]["open"], 4000, "{completed}");
    let exposures = targets(&of(&events, "kind", "exposure"));
    assert!(exposures.contains(&("198.18.7.9".to_owned(), 22)), "{exposures:?}");
    let devices = of(&events, "kind", "answers-all");
    assert_eq!(devices.len(), 1, "{devices:?}");
    let note = &devices[0]["answers_all"];
    let count = |field: &str| note[field].as_u64().expect("a number");
    assert_eq!(count("ports") + exposures.len() as u64, 4000);
    assert!((50..3900).contains(&count("listened_to")), "{note}");
    let says =
        format!("{} of {} could not be listened to", count("ports") - count("listened_to"), count("ports"));
    assert!(devices[0]["message"].as_str().is_some_and(|text| text.contains(&says)), "{}", devices[0]);
}
