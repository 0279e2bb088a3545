//! What people are told of each kind of alert and each transition, and what machines are.

use portreeve::sink::message::{Event, Message};
use portreeve::sink::plain;
use portreeve::sink::wording::{lines, standing, title, title_of};
use serde_json::{Value, json};

#[path = "receivers/notices.rs"]
mod notices;

use notices::{message, notice, now};

#[test]
fn each_transition_has_its_title() {
    let acknowledged = json!({"who": "anna", "at": "2026-06-01T00:00:00Z"});
    for (with, expected) in [
        (json!({}), "[critical] exposure: 198.18.3.4:6379/tcp (redis) is open"),
        (
            json!({"transition": "escalated"}),
            "escalated: [critical] exposure: 198.18.3.4:6379/tcp (redis) is open",
        ),
        (
            json!({"transition": "annotated", "annotation": "transient"}),
            "second look: [critical] exposure: 198.18.3.4:6379/tcp (redis) is open, did not answer a second look",
        ),
        (
            json!({"transition": "annotated"}),
            "second look: [critical] exposure: 198.18.3.4:6379/tcp (redis) is open",
        ),
        (
            json!({"transition": "reminder"}),
            "reminder: [critical] exposure: 198.18.3.4:6379/tcp (redis) is open",
        ),
        (
            json!({"transition": "acknowledged", "acknowledged": acknowledged}),
            "acknowledged by anna: [critical] exposure: 198.18.3.4:6379/tcp (redis) is open",
        ),
        (
            json!({"transition": "acknowledged"}),
            "acknowledged: [critical] exposure: 198.18.3.4:6379/tcp (redis) is open",
        ),
        (
            json!({"transition": "unacknowledged"}),
            "given back: [critical] exposure: 198.18.3.4:6379/tcp (redis) is open",
        ),
        (
            json!({"transition": "flapping-started", "flapping": true}),
            "flapping: [critical] exposure: 198.18.3.4:6379/tcp (redis)",
        ),
        (
            json!({"transition": "flapping-ended"}),
            "no longer flapping: [critical] exposure: 198.18.3.4:6379/tcp (redis) is open",
        ),
        (
            json!({"transition": "flapping-ended", "state": "resolved", "resolution": "seen"}),
            "no longer flapping, and resolved: exposure: 198.18.3.4:6379/tcp (redis)",
        ),
        (
            json!({"transition": "resolved", "state": "resolved", "resolution": "seen"}),
            "resolved: exposure: 198.18.3.4:6379/tcp (redis)",
        ),
        (
            json!({"transition": "resolved", "state": "resolved", "resolution": "out-of-scope"}),
            "resolved: exposure: 198.18.3.4:6379/tcp (redis); no sweep looks at it any longer",
        ),
    ] {
        assert_eq!(title(&message(with)), expected);
    }
}

#[test]
fn each_kind_has_its_title() {
    let bare = |kind: &str, with: Value| {
        let mut fields = json!({"kind": kind, "ip": null, "port": null, "transport": null, "service": null,
            "severity": "high", "verified": null, "verification": null});
        fields.as_object_mut().expect("an object").extend(with.as_object().expect("an object").clone());
        message(fields)
    };
    for (message, expected) in [
        (
            bare(
                "exposure",
                json!({"ip": "2001:db8::1", "port": 7, "transport": "tcp", "verification": "silent"}),
            ),
            "[high] exposure: [2001:db8::1]:7/tcp answered a probe, but no handshake",
        ),
        (
            bare(
                "outage",
                json!({"ip": "198.18.0.20", "port": 5432, "transport": "tcp",
                "service": "postgresql", "expectation": "orders database"}),
            ),
            "[high] outage: 198.18.0.20:5432/tcp (orders database) is not open",
        ),
        (
            bare("answers-all", json!({"ip": "198.18.0.20"})),
            "[high] answers-all: 198.18.0.20 accepts every port",
        ),
        (
            bare("allowance-expiring", json!({"message": "the allowance of port 22 will expire"})),
            "[high] allowance-expiring: the allowance of port 22 will expire",
        ),
        (
            bare("vantage-blind", json!({"about": "risky"})),
            "[high] vantage-blind: sweep risky did not see everything",
        ),
        (
            bare("sweep-missed", json!({"about": "risky"})),
            "[high] sweep-missed: sweep risky did not begin when it was due",
        ),
        (
            bare("delivery-failed", json!({"about": "soc"})),
            "[high] delivery-failed: sink soc does not get its messages",
        ),
        (
            bare("clock-stepped", json!({"message": "the clock went back"})),
            "[high] clock-stepped: the clock went back",
        ),
        (bare("storm", json!({"members": 4000})), "[high] storm: 4000 security alerts at once"),
        (bare("drill", json!({"severity": "info"})), "[info] drill: only a test, nothing is wrong"),
    ] {
        assert_eq!(title(&message), expected);
        assert!(!lines(&message).is_empty());
    }
}

#[test]
fn an_alert_that_is_told_again_stands_as_it_is() {
    let alert = |with: Value| notice(with).alert;
    let firing = "[critical] exposure: 198.18.3.4:6379/tcp (redis) is open";
    assert_eq!(standing(&alert(json!({}))), firing);
    assert_eq!(standing(&alert(json!({"state": "resolved", "flapping": true}))), firing);
    assert!(standing(&alert(json!({"state": "resolved"}))).starts_with("resolved: exposure"));
}

#[test]
fn the_lines_say_what_is_known_and_nothing_else() {
    let text = |with: Value| -> Vec<String> {
        lines(&message(with)).iter().map(|line| format!("{}: {}", line.label, line.text)).collect()
    };
    assert_eq!(
        text(json!({})),
        [
            "what: 198.18.3.4:6379/tcp (redis) is open, not allowed: no password by default",
            "severity: critical",
            "class: security",
            "first seen: 2026-06-01T00:00:00Z",
            "firing: since 2026-06-01T00:00:00Z",
            "rule: default-closed",
            "fingerprint: c7f9d4be7f56ab39151510a68a616d91",
            "sweep: risky",
        ]
    );
    let names: Vec<String> = (0..15).map(|n| format!("n{n}")).collect();
    let all = text(json!({
        "names": names, "owner": "data", "expectation": "orders", "failures": 3, "members": 40,
        "annotation": "confirmed", "banner": {"protocol": "redis", "text": "+PONG"},
        "acknowledged": {"who": "anna", "note": "on it", "at": "2026-06-01T01:00:00Z"},
        "state": "resolved", "resolution": "allowed", "muted": "maintenance", "sweep": null,
    }));
    for line in [
        "names: n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11 and 3 more",
        "owner: data",
        "expectation: orders",
        "failures in a row: 3",
        "targets: 40",
        "second look: confirmed by a second look",
        "says: (redis) +PONG",
        "acknowledged: by anna at 2026-06-01T01:00:00Z: on it",
        "resolved: since 2026-06-01T00:00:00Z",
        "why resolved: it is allowed now",
        "muted by: maintenance",
    ] {
        assert!(all.iter().any(|said| said == line), "{line} in {all:#?}");
    }
    assert!(!all.iter().any(|line| line.starts_with("sweep")));
}

/// Taken out of `fit`, the spelling out lets these through.
#[test]
fn what_others_wrote_is_spelt_out_and_cut() {
    let odd = "a\u{1b}[2J\n\u{202e}b";
    let long = "x".repeat(100_000);
    let told = message(json!({
        "names": [odd, long], "owner": odd, "service": odd, "message": format!("{odd}{long}"),
        "transition": "acknowledged", "muted": odd,
        "acknowledged": {"who": odd, "note": long, "at": "2026-06-01T01:00:00Z"},
    }));
    let mut all = vec![title(&told)];
    all.extend(lines(&told).into_iter().map(|line| line.text));
    for text in all {
        assert!(text.len() < 1100, "{}", text.len());
        assert!(!text.contains(['\u{1b}', '\n', '\u{202e}']), "{text}");
    }
    let long = message(json!({"service": "y".repeat(500)}));
    assert_eq!(title(&long).chars().count(), 203);
}

#[test]
fn other_events_are_told_by_their_plain_fields() {
    let body = json!({"schema": "portreeve/1", "event": "sweep.completed", "time": "2026-06-01T00:00:00Z",
        "verdict": "complete", "ledger": {"open": 1}, "findings": 3});
    let event = Event {
        id: "01JX0000000000000000000009".parse().expect("a ULID"),
        kind: "sweep.completed".to_owned(),
        time: now(),
        body,
    };
    let told = Message::Event(event);
    assert_eq!(title(&told), "sweep.completed: complete");
    let said: Vec<String> =
        lines(&told).iter().map(|line| format!("{}: {}", line.label, line.text)).collect();
    assert_eq!(said, ["at: 2026-06-01T00:00:00Z", "findings: 3", "verdict: complete"]);
}

#[test]
fn machines_get_an_alert_as_an_event() {
    let told = message(json!({"names": ["db.example.net"]}));
    let json = String::from_utf8(plain::to_vec(&told.event()).expect("JSON")).expect("text");
    let begins = "{\"schema\":\"portreeve/1\",\"event\":\"alert\",\"time\":\"2026-06-01T00:00:00.123Z\",\
        \"id\":\"01JX0000000000000000000001\",\"transition\":\"firing\",\"sweep\":\"01JX0000000000000000000002\",\
        \"sweep_name\":\"risky\",\"kind\":\"exposure\"";
    assert!(json.starts_with(begins), "{json}");
    let event: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(event["fingerprint"], "c7f9d4be7f56ab39151510a68a616d91");
    assert_eq!(event["fired_at"], "2026-06-01T00:00:00.100Z");
    assert_eq!(event["names"], json!(["db.example.net"]));
    let body = json!({"event": "heartbeat", "n": 1});
    let event = Event { id: told.id(), kind: "heartbeat".to_owned(), time: now(), body: body.clone() };
    assert_eq!(serde_json::to_value(Message::Event(event).event()).expect("JSON"), body);
    assert_eq!(title_of(&notice(json!({}))), title(&told));
}

/// What the checks of templates take for an alert with everything, and for one with nothing, is what alerts are.
#[test]
fn the_samples_of_templates_are_alerts() {
    let keys = |text: &str| -> Vec<String> {
        let event: Value = serde_json::from_str(text).expect("JSON");
        event.as_object().expect("an object").keys().cloned().collect()
    };
    let full = include_str!("../src/sink/channel/webhook/full.json");
    let bare = include_str!("../src/sink/channel/webhook/bare.json");
    for sample in [full, bare] {
        let mut event: Value = serde_json::from_str(sample).expect("JSON");
        let fields = event.as_object_mut().expect("an object");
        let name = fields.remove("sweep_name");
        let sweep = fields.remove("sweep").map(|id| json!({"id": id, "name": name}));
        fields.extend(sweep.map(|sweep| ("sweep".to_owned(), sweep)));
        let told = Message::Alert(serde_json::from_value(event).expect("a notice"));
        let event = serde_json::to_string(&told.event()).expect("JSON");
        assert_eq!(keys(&event), keys(sample), "what a sample has is what an alert has");
    }
    let source = concat!(include_str!("../src/alert/life.rs"), include_str!("../src/policy/finding.rs"));
    let of = |name: &str| {
        let body = source
            .split_once(&format!("pub struct {name} {{"))
            .expect(name)
            .1
            .split_once("\n}")
            .expect(name)
            .0;
        let fields = body.lines().filter_map(|line| line.trim().strip_prefix("pub "));
        fields.map(|field| field.split(':').next().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    let all = of("Alert").into_iter().chain(of("Finding")).filter(|field| field != "finding");
    for field in all {
        assert!(keys(full).contains(&field), "full.json has no {field}");
    }
}
