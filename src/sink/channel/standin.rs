//! What is said of an alert, to machines and to people.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Channel, Delivery};
use crate::alert::notice::Notice;
use crate::sink::event::SCHEMA;
use crate::sink::message::Message;
use crate::target::foreign::harmless;

/// The whole event as machines read it.
pub fn event_json(message: &Message) -> Value {
    match message {
        Message::Event(event) => event.body.clone(),
        Message::Alert(notice) => {
            let mut event = Map::new();
            event.insert("schema".to_owned(), SCHEMA.into());
            event.insert("event".to_owned(), "alert".into());
            if let Ok(Value::Object(fields)) = serde_json::to_value(notice) {
                event.extend(fields);
            }
            Value::Object(event)
        }
    }
}

/// One short line.
pub fn title(notice: &Notice) -> String {
    let (severity, alert) = (notice.alert.finding.severity.as_str(), &notice.alert);
    let message = harmless(&alert.finding.message);
    format!("[{severity}] {}: {message}", notice.transition.as_str())
}

/// All that people need to know, a line for each part of it.
pub fn lines(notice: &Notice) -> Vec<String> {
    let alert = &notice.alert;
    let mut lines = vec![title(notice), String::new()];
    if let Some(resolution) = alert.resolution {
        lines.push(format!("resolved: {}", resolution.in_words()));
    }
    lines.push(format!("first seen: {:.0}", alert.finding.first_seen));
    lines.push(format!("fingerprint: {}", alert.finding.fingerprint));
    lines
}

/// A kind of sink that this program does not have yet.
pub struct Nowhere;

impl Channel for Nowhere {
    fn deliver(&mut self, _messages: &[Message], _now: Timestamp) -> Vec<Delivery> {
        vec![Delivery::not_now("this program does not have this kind of sink yet")]
    }
}
