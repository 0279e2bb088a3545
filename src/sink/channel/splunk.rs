//! `splunk`: Splunk's HTTP Event Collector.
//!
//! A request has many envelopes, one behind the other, and is taken as a whole or not at all; where one is wrong, the
//! answer has its number. That it was taken does not say that it will be found: an indexer may still lose it. Who wants
//! to know asks for acknowledgements, where the token has them switched on. Then the next request goes when the last
//! has been acknowledged, and what has been taken and is not acknowledged in time is asked for again instead of being
//! sent again, for as long as a collector remembers.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use ulid::Ulid;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::batch::{Became, LINGER, MOST, Part, Plan};
use super::deadline::Deadline;
use super::form::Form;
use super::http::{Client, Reply, later, never};
use super::{Channel, Delivery};
use crate::sink::message::Message;
use crate::sink::options::{LineFormat, SplunkOptions};
use crate::sink::plain;

/// Where it takes events.
const EVENTS: &str = "/services/collector/event";

/// Where it says what has been acknowledged.
const ACKS: &str = "/services/collector/ack";

/// What is said to it.
const JSON: &str = "application/json";

/// Whose acknowledgements are asked for.
const CHANNEL: &str = "x-splunk-request-channel";

/// The most bytes of an answer that are read.
const LONGEST_ANSWER: usize = 64 << 10;

/// How long what was taken is asked for before it is sent again. A collector forgets what it was asked about last ten
/// minutes ago.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(8);

/// Between two questions for an acknowledgement, at first and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// The channel.
#[derive(Clone, Debug)]
pub struct Splunk {
    options: SplunkOptions,
    form: Form,
    timeout: Duration,
    /// The name under which acknowledgements are asked for; made when it is first needed.
    channel: Option<HeaderValue>,
    accepted: Vec<Accepted>,
}

/// Messages that were taken by one request, and are not known to have been acknowledged.
#[derive(Clone, Debug)]
struct Accepted {
    number: u64,
    ids: HashSet<Ulid>,
    since: Timestamp,
    is_acknowledged: bool,
}

impl Splunk {
    /// A collector as it is configured.
    pub fn new(options: SplunkOptions, timeout: Duration) -> Self {
        let form = Form::new(LineFormat::Hec);
        Splunk { options, form, timeout, channel: None, accepted: Vec::new() }
    }

    fn begin(&mut self) -> Result<(Client, HeaderMap), Delivery> {
        let mut client = Client::open(&self.options.http, "", self.timeout)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, client.authorization("Splunk", &self.options.token)?);
        if self.options.acknowledge {
            let channel = match self.channel.take() {
                Some(channel) => channel,
                None => new_channel()?,
            };
            headers.insert(HeaderName::from_static(CHANNEL), channel.clone());
            self.channel = Some(channel);
        }
        Ok((client, headers))
    }

    /// The envelope, with what the configuration has to say on it.
    fn envelope(&self, message: &Message) -> Result<Vec<u8>, Delivery> {
        let envelope = self.form.line(message)?;
        let options = &self.options;
        let said = [
            ("index", &options.index),
            ("source", &options.source),
            ("sourcetype", &options.source_type),
            ("host", &options.host),
        ];
        let mut said = said.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).peekable();
        if envelope.is_empty() || said.peek().is_none() {
            return Ok(envelope);
        }
        let mut fields: Value = serde_json::from_slice(&envelope).map_err(Delivery::never)?;
        said.for_each(|(name, value)| fields[name] = json!(value));
        let mut envelope = plain::to_vec(&fields).map_err(Delivery::never)?;
        envelope.push(b'\n');
        Ok(envelope)
    }

    /// What became of messages that were taken before, as far as that is known now.
    fn ask_again(
        &mut self,
        begun: &(Client, HeaderMap),
        messages: &[Message],
        deadline: Deadline,
        now: Timestamp,
    ) -> Result<Vec<Option<Delivery>>, Delivery> {
        self.accepted.retain(|accepted| {
            let age = now.duration_since(accepted.since);
            !accepted.ids.is_empty() && (SignedDuration::ZERO..REMEMBERED).contains(&age)
        });
        if self.accepted.is_empty() {
            return Ok(vec![None; messages.len()]);
        }
        let asked = self.accepted.iter().filter(|accepted| !accepted.is_acknowledged);
        let asked: Vec<u64> = asked.map(|accepted| accepted.number).collect();
        let acknowledged = acknowledged(begun, &asked, deadline, now)?;
        for accepted in &mut self.accepted {
            accepted.is_acknowledged |= acknowledged.contains(&accepted.number);
        }
        let became = messages.iter().map(|message| {
            let id = message.id();
            let accepted = self.accepted.iter_mut().find(|accepted| accepted.ids.contains(&id))?;
            if !accepted.is_acknowledged {
                return Some(unacknowledged(&begun.0));
            }
            accepted.ids.remove(&id);
            Some(Delivery::Delivered)
        });
        Ok(became.collect())
    }

    fn post(
        &mut self,
        begun: &(Client, HeaderMap),
        messages: &[Message],
        parts: &[Part],
        now: Timestamp,
    ) -> Became {
        let (client, headers) = begun;
        let body: Vec<u8> = parts.iter().flat_map(|part| &part.bytes).copied().collect();
        let deadline = Deadline::after(self.timeout);
        let reply = match client.ask(EVENTS, JSON, headers, &body, LONGEST_ANSWER, self.timeout) {
            Ok(reply) => reply,
            Err(delivery) => return Became::All(delivery),
        };
        let number = match judge(client, &reply, now) {
            Ok(answer) => answer.ack_id,
            Err(became) => return became,
        };
        if !self.options.acknowledge {
            return Became::All(Delivery::Delivered);
        }
        let Some(number) = number else {
            return Became::All(later(client.reason(
                "it has taken events and will not acknowledge them; switch indexer acknowledgement on for its token, \
                 or remove acknowledge",
            )));
        };
        let [mut pause, longest] = PAUSES;
        while let Ok(left) = deadline.left() {
            match acknowledged(begun, &[number], deadline, now) {
                Ok(numbers) if numbers.contains(&number) => return Became::All(Delivery::Delivered),
                Ok(_) => {}
                // It has taken them all the same, and is asked for them later.
                Err(_) => break,
            }
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(longest);
        }
        let ids = parts.iter().map(|part| messages[part.place].id()).collect();
        self.accepted.push(Accepted { number, ids, since: now, is_acknowledged: false });
        Became::All(unacknowledged(client))
    }
}

impl Channel for Splunk {
    fn batch(&self) -> usize {
        MOST
    }

    fn linger(&self) -> Duration {
        LINGER
    }

    fn deliver(&mut self, messages: &[Message], now: Timestamp) -> Vec<Delivery> {
        let deadline = Deadline::after(self.timeout);
        let begun =
            self.begin().and_then(|begun| Ok((self.ask_again(&begun, messages, deadline, now)?, begun)));
        let (before, begun) = match begun {
            Ok(begun) => begun,
            Err(delivery) => return messages.first().map(|_| delivery).into_iter().collect(),
        };
        // What is not acknowledged may be lost: whatever comes after it has to wait.
        let waits = |became: &Option<Delivery>| matches!(became, Some(Delivery::Retry { .. }));
        let unsure = messages.iter().zip(&before).filter(|(_, became)| waits(became));
        let held: HashSet<&str> = unsure.map(|(message, _)| message.key()).collect();
        let forms = messages.iter().zip(before).map(|(message, became)| match became {
            Some(became) => Err(became),
            None if held.contains(message.key()) => Err(Delivery::Untried),
            None => self.envelope(message),
        });
        let forms = forms.collect();
        let plan = Plan { apart: false, timeout: deadline.left().unwrap_or_default() };
        plan.deliver(messages, forms, |parts| self.post(&begun, messages, parts, now))
    }
}

/// What a collector answers.
#[derive(Deserialize)]
struct Answer {
    code: u16,
    #[serde(default)]
    text: String,
    #[serde(rename = "ackId")]
    ack_id: Option<u64>,
    #[serde(rename = "invalid-event-number")]
    invalid: Option<usize>,
}

/// Everything has been taken.
const SUCCESS: u16 = 0;

/// No data; data that cannot be read; an event without `event`, or with an empty one; fields that cannot be indexed.
/// All other codes are about the collector, its token or how it is asked, which somebody can repair.
const BAD_DATA: [u16; 5] = [5, 6, 12, 13, 15];

/// The answer of a collector that has taken everything.
fn judge(client: &Client, reply: &Reply, now: Timestamp) -> Result<Answer, Became> {
    let by_status = client.judge(reply, now);
    let answer = match (serde_json::from_slice::<Answer>(&reply.body), by_status) {
        (Ok(answer), Delivery::Delivered) if answer.code == SUCCESS => return Ok(answer),
        (Ok(answer), Delivery::Delivered | Delivery::Refused { .. }) if reply.status() != 413 => answer,
        (Err(_), Delivery::Delivered) => {
            let why = "its answer is none of an HTTP Event Collector; see whether its address is right";
            return Err(Became::All(later(client.reason(why))));
        }
        // Somebody between us and the collector, or it has found the request too large.
        (_, refused @ Delivery::Refused { .. }) => return Err(Became::TooMuch(refused)),
        (_, delivery) => return Err(Became::All(delivery)),
    };
    let remedy = match answer.code {
        7 => "; name an index that its token may write to",
        10 | 11 => "; its token asks for acknowledgements: write acknowledge = true",
        14 => "; its token has no acknowledgements: switch them on, or remove acknowledge",
        _ => "",
    };
    let why = client.reason(&format!(
        "it answered {} with code {} and said \"{}\"{remedy}",
        reply.status(),
        answer.code,
        answer.text
    ));
    if !BAD_DATA.contains(&answer.code) {
        return Err(Became::All(later(why)));
    }
    let refused = never(why);
    Err(match answer.invalid {
        Some(which) => Became::Without(which, refused),
        None => Became::TooMuch(refused),
    })
}

/// What a collector answers when it is asked for acknowledgements.
#[derive(Deserialize)]
struct Acks {
    acks: BTreeMap<String, bool>,
}

/// Those of these requests that have been acknowledged. A collector says so once, and forgets them.
fn acknowledged(
    (client, headers): &(Client, HeaderMap),
    numbers: &[u64],
    deadline: Deadline,
    now: Timestamp,
) -> Result<HashSet<u64>, Delivery> {
    if numbers.is_empty() {
        return Ok(HashSet::new());
    }
    let body = json!({"acks": numbers}).to_string();
    let within = deadline.left().map_err(|_| later(client.reason("it did not acknowledge in time")))?;
    let reply = client.ask(ACKS, JSON, headers, body.as_bytes(), LONGEST_ANSWER, within)?;
    match client.judge(&reply, now) {
        Delivery::Delivered => {}
        // Whatever it has against the question, it has nothing against the events.
        Delivery::Refused { why } => return Err(later(why)),
        delivery => return Err(delivery),
    }
    let acks: Acks = serde_json::from_slice(&reply.body).map_err(|error| {
        later(client.reason(&format!("its answer is none about acknowledgements: {error}")))
    })?;
    let yes = acks.acks.iter().filter(|(_, is_acknowledged)| **is_acknowledged);
    Ok(yes.filter_map(|(number, _)| number.parse().ok()).collect())
}

fn unacknowledged(client: &Client) -> Delivery {
    later(client.reason("it has accepted this, and no indexer has acknowledged it yet"))
}

/// The name of a channel is a GUID, and nobody else's.
fn new_channel() -> Result<HeaderValue, Delivery> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| later(format!("no random number is to be had: {error}")))?;
    // RFC 9562, version 4.
    let number = u128::from_be_bytes(bytes) & !(0xf << 76 | 0b11 << 62) | 0x4 << 76 | 0b10 << 62;
    let digits = format!("{number:032x}");
    let guid = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-");
    HeaderValue::try_from(guid).map_err(|error| later(error.to_string()))
}
