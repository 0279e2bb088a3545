//! The languages of those who gather events: each is one file, and a translation of the events that [`super::event`]
//! and [`super::message`] define, which stay the record. A new one is a file here and its row in [`LineFormat`].
//!
//! # Two kinds
//! A *line format* tells one event at a time, so that a sweep streams it and a sink of the daemon sends it: [`ecs`],
//! [`ocsf`], [`hec`], [`cef`]. A *document* tells a whole sweep when it is over, and whether it was whole:
//! [`defectdojo`], [`prometheus`].
//!
//! # What holds for all
//! - They read an event by [`view`], and whatever others wrote into it is cut there to what SIEMs index.
//! - Each escapes for its own grammar in one place: what is JSON, by [`super::plain`]; [`cef`] and [`prometheus`] by a
//!   function each; [`defectdojo`] what would be Markdown.
//! - Every event that the daemon sends and a sweep writes has a form in every line format. What the commands answer
//!   that only look ([`super::listing`]) is sent to nobody, and has none.
//! - Of silence nothing better is said than that nothing was heard.

pub mod cef;
pub mod defectdojo;
pub mod ecs;
pub mod hec;
pub mod ocsf;
pub mod parts;
pub mod prometheus;
pub mod view;
mod words;

use std::net::IpAddr;

use serde_json::Value;

use self::view::View;
pub use super::options::LineFormat;
use super::plain;
use super::syslog;

/// Who tells events.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Origin {
    /// The name of this host.
    pub host: String,
    /// The number of this process.
    pub process: u32,
    /// The address that probes come from, where one is known.
    pub source: Option<IpAddr>,
}

/// The facility of lines that no syslog server has got yet: log audit.
const FACILITY: u8 = 13;

impl LineFormat {
    /// An event, without the end of its line; nothing where this format has no form for it.
    ///
    /// # Errors
    /// When it is no event that this version of the program knows, with the reason.
    pub fn line(self, event: &Value, origin: &Origin) -> Result<Option<Vec<u8>>, String> {
        if self != LineFormat::Cef {
            return self.payload(event, origin);
        }
        let Some(view) = View::of(event)? else { return Ok(None) };
        let head = syslog::head_of(&view, &syslog::Origin::new(&origin.host, origin.process), FACILITY);
        Ok(Some((head + &cef::encode(&view, origin)).into_bytes()))
    }

    /// As [`LineFormat::line`], without what syslog puts before it.
    ///
    /// # Errors
    /// As above.
    pub fn payload(self, event: &Value, origin: &Origin) -> Result<Option<Vec<u8>>, String> {
        let Some(view) = View::of(event)? else { return Ok(None) };
        let json = match self {
            LineFormat::Jsonl => event.clone(),
            LineFormat::Ecs => ecs::encode(&view, origin),
            LineFormat::Ocsf => ocsf::encode(&view, origin),
            LineFormat::Hec => hec::encode(&view, origin),
            LineFormat::Cef => return Ok(Some(cef::encode(&view, origin).into_bytes())),
        };
        plain::to_vec(&json).map(Some).map_err(|error| error.to_string())
    }
}

/// A value without the fields that do not apply: those that are null or have nothing in them.
fn told(mut value: Value) -> Value {
    prune(&mut value);
    value
}

/// In place: most of what is written in a large sweep goes through here.
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.retain(|_, value| {
            prune(value);
            says_something(value)
        }),
        Value::Array(items) => items.retain_mut(|value| {
            prune(value);
            says_something(value)
        }),
        _ => {}
    }
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_apply_is_left_out() {
        let value = json!({"a": null, "b": {"c": null}, "d": [null, 0, ""], "e": [], "f": false});
        assert_eq!(told(value), json!({"d": [0, ""], "f": false}));
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for event in [json!(null), json!({}), json!({"event": "port"}), json!({"event": "port", "time": 3})] {
            for (word, format) in LineFormat::ALL.into_iter().skip(1) {
                assert!(format.line(&event, &Origin::default()).is_err(), "{word}: {event}");
            }
        }
    }
}
