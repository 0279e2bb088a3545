//! Notices to deliver.

#![allow(dead_code, reason = "each test uses its part of it")]

use jiff::Timestamp;
use portreeve::alert::notice::Notice;
use portreeve::sink::message::Message;
use serde_json::{Value, json};

/// A time.
pub fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// The time of the notices.
pub fn now() -> Timestamp {
    at("2026-06-01T00:00:00Z")
}

/// What an exposure's first notice is, with these fields instead or besides.
#[expect(clippy::needless_pass_by_value, reason = "it is written at the place of the call")]
pub fn notice(with: Value) -> Notice {
    let mut notice = json!({
        "id": "01JX0000000000000000000001",
        "time": "2026-06-01T00:00:00.123Z",
        "transition": "firing",
        "sweep": {"id": "01JX0000000000000000000002", "name": "risky"},
        "kind": "exposure",
        "fingerprint": "c7f9d4be7f56ab39151510a68a616d91",
        "severity": "critical",
        "ip": "198.18.3.4",
        "port": 6379,
        "transport": "tcp",
        "service": "redis",
        "rule": "default-closed",
        "verified": true,
        "verification": "verified",
        "first_seen": "2026-06-01T00:00:00.100Z",
        "last_seen": "2026-06-01T00:00:00.100Z",
        "message": "198.18.3.4:6379/tcp (redis) is open, not allowed: no password by default",
        "class": "security",
        "state": "firing",
        "since": "2026-06-01T00:00:00.100Z",
        "episode": "01JX0000000000000000000003",
        "fired_at": "2026-06-01T00:00:00.100Z",
    });
    let fields = notice.as_object_mut().expect("an object");
    fields.extend(with.as_object().cloned().expect("an object"));
    fields.retain(|_, value| !value.is_null());
    serde_json::from_value(notice).expect("a notice")
}

/// The same, as a message.
pub fn message(with: Value) -> Message {
    Message::Alert(Box::new(notice(with)))
}
