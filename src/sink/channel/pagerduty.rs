//! `pagerduty`: PagerDuty's Events API, version 2.
//!
//! An alert's fingerprint is the `dedup_key`, so that whatever is told twice is one incident, and the resolve finds it.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Map, Value};
use ureq::http::HeaderMap;

use super::http::{Client, each_by, never};
use super::{Channel, Delivery};
use crate::alert::life::Phase;
use crate::alert::notice::{Notice, Transition};
use crate::sink::message::{AlertEvent, Message};
use crate::sink::options::PagerDutyOptions;
use crate::sink::plain;
use crate::sink::wording::{lines_of, title_of};
use crate::target::ports::Severity;

/// How many messages go by one connection.
const BATCH: usize = 16;

/// The most characters of a summary.
const LONGEST_SUMMARY: usize = 1024;

/// The most bytes of an event. PagerDuty takes 512 kB of them.
const LARGEST: usize = 500_000;

/// The channel.
#[derive(Clone, Debug)]
pub struct PagerDuty {
    options: PagerDutyOptions,
    timeout: Duration,
}

impl PagerDuty {
    /// A service as it is configured.
    pub fn new(options: PagerDutyOptions, timeout: Duration) -> Self {
        PagerDuty { options, timeout }
    }

    fn begin(&self) -> Result<(Client, SecretString), Delivery> {
        let mut client = Client::open(&self.options.http, "", self.timeout)?;
        let key = client.secret(&self.options.routing_key)?;
        Ok((client, key))
    }
}

impl Channel for PagerDuty {
    fn batch(&self) -> usize {
        BATCH
    }

    fn deliver(&mut self, messages: &[Message], now: Timestamp) -> Vec<Delivery> {
        each_by(self.begin(), messages, self.timeout, |(client, key), message| {
            let Message::Alert(notice) = message else {
                return never("PagerDuty takes alerts and no other events; route these elsewhere");
            };
            match body(notice, key) {
                Ok(body) => client.post("application/json", &HeaderMap::new(), &body, now),
                Err(error) => never(error.to_string()),
            }
        })
    }
}

fn body(notice: &Notice, key: &SecretString) -> serde_json::Result<Vec<u8>> {
    let action = action(notice);
    let is_trigger = action == Action::Trigger;
    let whole = is_trigger.then(|| serde_json::to_value(AlertEvent::from(notice))).transpose()?;
    let mut event = Event {
        routing_key: key.expose_secret(),
        event_action: action,
        dedup_key: notice.alert.finding.fingerprint.as_str(),
        client: "portreeve",
        payload: whole.map(|details| Payload::new(notice, details)),
    };
    let bytes = plain::to_vec(&event)?;
    if bytes.len() <= LARGEST {
        return Ok(bytes);
    }
    // Thousands of names, most likely. The lines that people read are never as long.
    let lines =
        lines_of(&notice.alert).into_iter().map(|line| (line.label.into_owned(), Value::from(line.text)));
    event.payload = Some(Payload::new(notice, Value::Object(Map::from_iter(lines))));
    plain::to_vec(&event)
}

#[derive(Serialize)]
struct Event<'a> {
    routing_key: &'a str,
    event_action: Action,
    dedup_key: &'a str,
    client: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Trigger,
    Acknowledge,
    Resolve,
}

/// What an incident does. One that flaps is one incident, whatever the alert is in just then.
fn action(notice: &Notice) -> Action {
    let is_over = notice.alert.state == Phase::Resolved;
    match notice.transition {
        Transition::FlappingStarted => Action::Trigger,
        Transition::Resolved => Action::Resolve,
        _ if is_over => Action::Resolve,
        Transition::Acknowledged => Action::Acknowledge,
        Transition::Firing
        | Transition::Escalated
        | Transition::Annotated
        | Transition::Reminder
        | Transition::Unacknowledged
        | Transition::FlappingEnded => Action::Trigger,
    }
}

#[derive(Serialize)]
struct Payload {
    summary: String,
    source: String,
    severity: &'static str,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<String>,
    group: String,
    class: &'static str,
    custom_details: Value,
}

impl Payload {
    fn new(notice: &Notice, custom_details: Value) -> Self {
        let finding = &notice.alert.finding;
        let about = finding.about.clone().unwrap_or_else(|| "portreeve".to_owned());
        Payload {
            summary: title_of(notice).chars().take(LONGEST_SUMMARY).collect(),
            source: finding.ip.map_or(about, |ip| ip.to_string()),
            severity: severity(finding.severity),
            timestamp: format!("{:.3}", notice.time),
            component: finding.service.clone(),
            group: notice.alert.class.to_string(),
            class: finding.kind.as_str(),
            custom_details,
        }
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "info",
    }
}
