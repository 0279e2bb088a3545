//! In which form a channel tells its messages, where its kind leaves a choice.

use super::{Delivery, host_name};
use crate::sink::format::{LineFormat, Origin};
use crate::sink::message::Message;
use crate::sink::plain;

/// A format, and who tells.
#[derive(Clone, Debug)]
pub(super) struct Form {
    format: LineFormat,
    origin: Origin,
}

impl Default for Form {
    fn default() -> Self {
        Form::new(LineFormat::default())
    }
}

impl Form {
    /// Messages of this host, in this format.
    pub(super) fn new(format: LineFormat) -> Self {
        let origin = Origin { host: host_name(), process: std::process::id(), source: None };
        Form { format, origin }
    }

    /// A message as a line; nothing at all where the format has no form for it.
    ///
    /// # Errors
    /// When the message is none that this format can tell, which it never will be.
    pub(super) fn line(&self, message: &Message) -> Result<Vec<u8>, Delivery> {
        if self.format != LineFormat::Cef {
            let mut line = self.payload(message)?;
            if !line.is_empty() {
                line.push(b'\n');
            }
            return Ok(line);
        }
        let line = self.format.line(&message.json(), &self.origin).map_err(|why| self.never(why))?;
        Ok(line
            .map(|mut line| {
                line.push(b'\n');
                line
            })
            .unwrap_or_default())
    }

    /// As [`Form::line`], for channels that have an envelope of their own.
    ///
    /// # Errors
    /// As above.
    pub(super) fn payload(&self, message: &Message) -> Result<Vec<u8>, Delivery> {
        if self.format == LineFormat::Jsonl {
            // The event itself, with its fields in their order. What is a message can be written.
            return Ok(plain::to_vec(&message.event()).unwrap_or_default());
        }
        let payload = self.format.payload(&message.json(), &self.origin);
        payload.map(Option::unwrap_or_default).map_err(|why| self.never(why))
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is what an error holds")]
    fn never(&self, why: String) -> Delivery {
        Delivery::never(format!("it cannot be told as {}: {why}", self.format.as_str()))
    }
}

/// What became of messages that have left together, each of which had a form or can have none.
pub(super) fn each<T>(forms: Vec<Result<T, Delivery>>, became: &Delivery) -> Vec<Delivery> {
    forms.into_iter().map(|form| form.err().unwrap_or_else(|| became.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::sink::channel::samples::{event, firing};

    #[test]
    fn a_message_is_told_in_the_format_that_is_asked_for() {
        let line = |format, message: &Message| {
            String::from_utf8(Form::new(format).line(message).expect("a form")).expect("text")
        };
        let native: Value = serde_json::from_str(&line(LineFormat::Jsonl, &firing(1))).expect("JSON");
        assert_eq!(native, firing(1).json());
        let ecs: Value = serde_json::from_str(&line(LineFormat::Ecs, &firing(1))).expect("JSON");
        assert_eq!(ecs["event"]["id"], firing(1).id().to_string());
        let cef = line(LineFormat::Cef, &firing(1));
        assert!(cef.starts_with("<106>1 2026-06-01T00:00:00.123Z ") && cef.ends_with('\n'), "{cef}");
        assert!(cef.contains("] CEF:0|portreeve|portreeve|"), "{cef}");
        let payload = Form::new(LineFormat::Cef).payload(&firing(1)).expect("a form");
        assert!(payload.starts_with(b"CEF:0|"));
    }

    #[test]
    fn what_has_no_form_is_left_out_and_what_is_no_event_is_refused() {
        for (word, format) in LineFormat::ALL.into_iter().skip(1) {
            // What commands answer goes to no sink; should a later version send it, no sink is held up by it.
            assert_eq!(Form::new(format).line(&event(1, "sink.books")), Ok(Vec::new()), "{word}");
            let Message::Event(mut broken) = event(1, "heartbeat") else { unreachable!("an event") };
            broken.body = Value::Null;
            let refused = Form::new(format).line(&Message::Event(broken)).expect_err("no event");
            assert!(matches!(refused, Delivery::Refused { ref why } if why.contains(word)), "{refused:?}");
        }
    }
}
