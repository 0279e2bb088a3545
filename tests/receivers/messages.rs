//! Messages for receivers in tests.
//! Each test program uses its own part of this.
#![allow(dead_code)]

use jiff::Timestamp;
use portreeve::sink::channel::{Channel, Delivery, open};
use portreeve::sink::message::Message;
use portreeve::sink::options::{DEFAULT_GIVE_UP_AFTER, LineFormat, SinkKind, SinkOptions};
use serde_json::json;
use ulid::Ulid;

use std::time::Duration;

pub fn now() -> Timestamp {
    "2026-06-01T00:00:00.123Z".parse().expect("a time")
}

/// A word about an exposure: `firing`, `resolved` and so on.
pub fn alert(number: u128, transition: &str) -> Message {
    let state = if transition == "resolved" { "resolved" } else { "firing" };
    let notice = json!({
        "form": "alert", "id": Ulid::from_parts(1_780_000_000_000, number).to_string(), "time": now(),
        "transition": transition, "kind": "exposure", "fingerprint": "0123456789abcdef0123456789abcdef",
        "severity": "critical", "ip": "198.18.0.9", "port": 6379, "transport": "tcp", "service": "redis",
        "rule": "default-closed", "first_seen": now(), "last_seen": now(),
        "message": "198.18.0.9:6379/tcp (redis) is open, not allowed: \u{fc}bel \"]\\ [x]",
        "class": "security", "state": state, "since": now(),
        "episode": Ulid::from_parts(1_780_000_000_000, 77).to_string(),
    });
    serde_json::from_value(notice).expect("a notice")
}

pub fn channel(kind: SinkKind, timeout: Duration) -> Box<dyn Channel> {
    told_in(LineFormat::Jsonl, kind, timeout)
}

/// The same in another format.
pub fn told_in(format: LineFormat, kind: SinkKind, timeout: Duration) -> Box<dyn Channel> {
    open(&SinkOptions {
        name: "test".to_owned(),
        kind,
        timeout,
        give_up_after: DEFAULT_GIVE_UP_AFTER,
        tells_each: true,
        format,
        line: 1,
    })
}

/// Fails unless everything has been delivered.
pub fn deliver(channel: &mut dyn Channel, messages: &[Message]) {
    assert_eq!(channel.deliver(messages, now()), vec![Delivery::Delivered; messages.len()]);
}

/// Why a message was not delivered, and whether it never will be.
pub fn failure(channel: &mut dyn Channel, messages: &[Message]) -> (String, bool) {
    match channel.deliver(messages, now()).remove(0) {
        Delivery::Retry { why, .. } => (why, false),
        Delivery::Refused { why } => (why, true),
        Delivery::Delivered | Delivery::Untried => panic!("it counts as delivered or was not tried"),
    }
}
