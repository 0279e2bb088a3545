//! `elasticsearch` and `opensearch`: the bulk API, which both have.
//!
//! An event is created under its own identifier, so that one that is told twice is there once: the server says that it
//! is there already (409), and that is as good as having it. Where the index is a data stream, which begins a new index
//! now and then, that holds for events that are told twice within the same one.
//!
//! The server judges each event by itself. So an answer is read event by event, and no two events of one key are in the
//! same request ([`super::batch`]).

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use ureq::http::{HeaderMap, header};

use super::batch::{Became, LINGER, MOST, Part, Plan};
use super::form::Form;
use super::http::{Client, Reply, later, never};
use super::{Channel, Delivery};
use crate::sink::message::Message;
use crate::sink::options::{BulkAccess, BulkOptions, LineFormat};

/// The most bytes of an answer that are read: of each event, its status and why it was not taken.
const LONGEST_ANSWER: usize = 4 << 20;

/// The parts of an answer that are asked for.
const PARTS: &str = "filter_path=items.*.status,items.*.error.type,items.*.error.reason";

/// Errors that the server calls the event's own, and its operator can repair: a closed index, too many shards.
const REPAIRABLE: [&str; 2] = ["index_closed_exception", "validation_exception"];

/// The channel.
#[derive(Clone, Debug)]
pub struct Bulk {
    options: BulkOptions,
    form: Form,
    timeout: Duration,
}

impl Bulk {
    /// A server as it is configured.
    pub fn new(options: BulkOptions, timeout: Duration) -> Self {
        Bulk { options, form: Form::new(LineFormat::Ecs), timeout }
    }

    /// The same with documents in this format.
    #[must_use]
    pub fn told_in(self, format: LineFormat) -> Self {
        Bulk { form: Form::new(format), ..self }
    }

    fn begin(&self) -> Result<(Client, HeaderMap), Delivery> {
        let below = format!("/{}/_bulk?{PARTS}", self.options.index);
        let mut client = Client::open(&self.options.http, &below, self.timeout)?;
        let authorization = match &self.options.access {
            BulkAccess::Open => None,
            BulkAccess::Basic { user, password } => Some(client.basic(user, password)?),
            BulkAccess::ApiKey(key) => Some(client.authorization("ApiKey", key)?),
            BulkAccess::Bearer(token) => Some(client.authorization("Bearer", token)?),
        };
        let authorization = authorization.map(|value| (header::AUTHORIZATION, value));
        Ok((client, authorization.into_iter().collect()))
    }

    /// The line that says what to do with an event, and the event.
    fn lines(&self, message: &Message) -> Result<Vec<u8>, Delivery> {
        let document = self.form.line(message)?;
        if document.is_empty() {
            return Ok(document);
        }
        let mut lines = format!("{{\"create\":{{\"_id\":\"{}\"}}}}\n", message.id()).into_bytes();
        lines.extend(document);
        Ok(lines)
    }
}

impl Channel for Bulk {
    fn batch(&self) -> usize {
        MOST
    }

    fn linger(&self) -> Duration {
        LINGER
    }

    fn deliver(&mut self, messages: &[Message], now: Timestamp) -> Vec<Delivery> {
        let (client, headers) = match self.begin() {
            Ok(begun) => begun,
            Err(delivery) => return messages.first().map(|_| delivery).into_iter().collect(),
        };
        let forms = messages.iter().map(|message| self.lines(message)).collect();
        Plan { apart: true, timeout: self.timeout }.deliver(messages, forms, |parts| {
            let body: Vec<u8> = parts.iter().flat_map(|part| &part.bytes).copied().collect();
            match client.ask("", "application/x-ndjson", &headers, &body, LONGEST_ANSWER, self.timeout) {
                Ok(reply) => judge(&client, &reply, parts, now),
                Err(delivery) => Became::All(delivery),
            }
        })
    }
}

/// An answer, as far as it is asked for.
#[derive(Deserialize)]
struct Answer {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    error: Option<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    #[serde(rename = "type")]
    kind: Option<String>,
    reason: Option<String>,
}

fn judge(client: &Client, reply: &Reply, parts: &[Part], now: Timestamp) -> Became {
    match client.judge(reply, now) {
        Delivery::Delivered => {}
        // One of them may be what it does not take, such as an event that is larger than all that it takes.
        refused @ Delivery::Refused { .. } => return Became::TooMuch(refused),
        delivery => return Became::All(delivery),
    }
    match serde_json::from_slice::<Answer>(&reply.body) {
        Ok(answer) if answer.items.len() == parts.len() => {
            Became::Each(answer.items.iter().map(|item| of_each(client, &item.create)).collect())
        }
        Ok(answer) => Became::All(later(client.reason(&format!(
            "it was told of {} events and answered for {}; see whether its address is that of a bulk API",
            parts.len(),
            answer.items.len()
        )))),
        Err(error) => {
            let is_json = serde_json::from_slice::<IgnoredAny>(&reply.body).is_ok();
            let why = if is_json { String::new() } else { format!(": {error}") };
            Became::All(later(
                client.reason(&format!(
                    "its answer is none of a bulk API{why}; see whether its address is right"
                )),
            ))
        }
    }
}

/// What became of one event. As for whole requests, what somebody can repair is tried again.
fn of_each(client: &Client, outcome: &Outcome) -> Delivery {
    let kind = outcome.error.as_ref().and_then(|fault| fault.kind.as_deref()).unwrap_or_default();
    let reason = outcome.error.as_ref().and_then(|fault| fault.reason.as_deref()).unwrap_or_default();
    let why = |remedy| {
        client.reason(&format!("it answered {} for this event: {kind}: {reason}{remedy}", outcome.status))
    };
    match outcome.status {
        200..=299 | 409 => Delivery::Delivered,
        400 | 413 | 422 if !REPAIRABLE.contains(&kind) => never(why("")),
        401 | 403 => later(why("; let this user create documents in this index")),
        404 => later(why("; make this index, or let it be made")),
        _ => later(why("")),
    }
}
