//! Messages for the tests of channels.

use jiff::Timestamp;
use serde_json::json;
use ulid::Ulid;

use crate::sink::message::{Event, Message};

/// The time of all of them.
pub fn now() -> Timestamp {
    "2026-06-01T00:00:00.123Z".parse().expect("a time")
}

/// An exposure that has begun to fire.
pub fn firing(number: u128) -> Message {
    alert(number, "firing", "198.18.0.9:6379/tcp (redis) is open, not allowed")
}

/// An alert in any words.
pub fn alert(number: u128, transition: &str, message: &str) -> Message {
    let notice = json!({
        "form": "alert", "id": Ulid::from_parts(1_780_000_000_000, number).to_string(), "time": now(),
        "transition": transition, "kind": "exposure", "fingerprint": "0123456789abcdef0123456789abcdef",
        "severity": "critical", "ip": "198.18.0.9", "port": 6379, "transport": "tcp", "service": "redis",
        "rule": "default-closed", "first_seen": now(), "last_seen": now(), "message": message,
        "class": "security", "state": if transition == "resolved" { "resolved" } else { "firing" }, "since": now(),
        "episode": Ulid::from_parts(1_780_000_000_000, 77).to_string(),
    });
    serde_json::from_value(notice).expect("a notice")
}

/// An event that is about no alert.
pub fn event(number: u128, kind: &str) -> Message {
    let id = Ulid::from_parts(1_780_000_000_000, number);
    let body = json!({"schema": "portreeve/1", "event": kind, "time": now(), "id": id.to_string()});
    Message::Event(Event { id, kind: kind.to_owned(), time: now(), body })
}

/// An event whose JSON is about as long as that.
pub fn long_event(number: u128, length: usize) -> Message {
    match event(number, "sweep.started") {
        Message::Event(mut event) => {
            event.body["scope"] = "x".repeat(length).into();
            Message::Event(event)
        }
        alert => alert,
    }
}
