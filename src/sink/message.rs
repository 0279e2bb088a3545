//! What is put into the outbox for a sink: the same for every kind of sink, which gives it its own form when it sends.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::event::SCHEMA;
use crate::alert::life::Alert;
use crate::alert::notice::{Notice, Transition};
use crate::policy::finding::milliseconds;

/// One message for one sink. It holds no secret and no layout, so that it may lie in a database for days and be sent by
/// whatever the sink is configured to be by then.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "form", rename_all = "lowercase")]
pub enum Message {
    /// An alert has changed.
    Alert(Box<Notice>),
    /// Anything else that has happened, for those who want to hear of everything.
    Event(Event),
}

/// An event that is about no alert: a sweep that has begun or ended, a sign of life, a configuration taken up.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Event {
    /// Its identifier; receivers recognise duplicates by it.
    pub id: Ulid,
    /// Its kind, such as `sweep.completed`.
    pub kind: String,
    /// When it happened.
    pub time: Timestamp,
    /// The whole event as a JSON object of the contract in [`super::event`], `schema`, `event` and `time` included.
    pub body: serde_json::Value,
}

impl Message {
    /// The identifier by which receivers recognise duplicates.
    pub fn id(&self) -> Ulid {
        match self {
            Message::Alert(notice) => notice.id,
            Message::Event(event) => event.id,
        }
    }

    /// Messages of the same key reach a sink in the order in which they were made: an alert's, by its fingerprint.
    pub fn key(&self) -> &str {
        match self {
            Message::Alert(notice) => notice.alert.finding.fingerprint.as_str(),
            Message::Event(event) => &event.kind,
        }
    }

    /// When it was made.
    pub fn time(&self) -> Timestamp {
        match self {
            Message::Alert(notice) => notice.time,
            Message::Event(event) => event.time,
        }
    }

    /// The event that machines read, as a value.
    pub fn json(&self) -> serde_json::Value {
        // What has been read from JSON, or could be, can be written as JSON.
        serde_json::to_value(self.event()).unwrap_or_default()
    }

    /// The event that machines read.
    pub fn event(&self) -> EventJson<'_> {
        match self {
            Message::Alert(notice) => EventJson::Alert(Box::new(AlertEvent::from(&**notice))),
            Message::Event(event) => EventJson::Other(&event.body),
        }
    }
}

/// A message as an event of the contract in [`super::event`].
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum EventJson<'a> {
    /// An alert has changed.
    Alert(Box<AlertEvent<'a>>),
    /// Anything else, as it was written.
    Other(&'a serde_json::Value),
}

/// `alert`: an alert has changed. Beside what every event begins with, it has its own identifier, the transition, the
/// sweep that has shown it, and everything that is known of the alert. Where somebody asks what fires, nothing has
/// happened: then it has neither an identifier nor a transition, and `time` is when it was asked.
#[derive(Clone, Debug, Serialize)]
pub struct AlertEvent<'a> {
    schema: &'static str,
    event: &'static str,
    #[serde(serialize_with = "milliseconds")]
    time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Ulid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transition: Option<Transition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sweep: Option<Ulid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sweep_name: Option<&'a str>,
    #[serde(flatten)]
    alert: &'a Alert,
}

impl<'a> AlertEvent<'a> {
    /// An alert as it is at this time, whatever has happened to it last.
    pub fn standing(alert: &'a Alert, time: Timestamp) -> Self {
        AlertEvent {
            schema: SCHEMA,
            event: "alert",
            time,
            id: None,
            transition: None,
            sweep: None,
            sweep_name: None,
            alert,
        }
    }
}

impl<'a> From<&'a Notice> for AlertEvent<'a> {
    fn from(notice: &'a Notice) -> Self {
        let sweep = notice.sweep.as_ref();
        AlertEvent {
            schema: SCHEMA,
            event: "alert",
            time: notice.time,
            id: Some(notice.id),
            transition: Some(notice.transition),
            sweep: sweep.map(|sweep| sweep.id),
            sweep_name: sweep.map(|sweep| sweep.name.as_str()),
            alert: &notice.alert,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::life::{Alert, Phase};
    use crate::alert::notice::{SweepRef, Transition};
    use crate::policy::allowlist::Allowlist;
    use crate::policy::class::Class;
    use crate::policy::evaluate::evaluate;
    use crate::policy::finding::Finding;
    use crate::sweep::report::Observation;
    use crate::sweep::verified::Verifications;
    use crate::target::scope::Scope;
    use crate::target::state::Reason;
    use crate::target::{Target, Transport};

    #[test]
    fn a_message_comes_back_from_the_outbox_as_it_went_in() {
        let now: Timestamp = "2026-06-01T00:00:00.123Z".parse().expect("a time");
        let target = Target { ip: [198, 18, 0, 9].into(), port: 6379, transport: Transport::Tcp };
        let seen = Observation {
            target,
            state: Reason::SynAck.state(),
            reason: Some(Reason::SynAck),
            unknown: None,
            tries: 1,
            rtt_us: None,
            ttl: None,
            corrects: false,
        };
        let scope =
            Scope::new(&["198.18.0.0/24".parse().expect("a network")], &[], "6379".parse().expect("a port"));
        let (scope, known) = (scope.expect("a scope"), Verifications::default());
        let list = Allowlist::default();
        let finding = evaluate(&[seen], &list, known, &scope, true, now).iter().next().expect("an exposure");
        let pending = Alert::pending(finding, Class::security(), Ulid::from_parts(1, 2), now);
        let alert = Alert { state: Phase::Firing, fired_at: Some(now), ..pending };
        let sweep = Some(SweepRef { id: Ulid::from_parts(5, 6), name: "risky".to_owned() });
        let notice =
            Notice { id: Ulid::from_parts(3, 4), time: now, transition: Transition::Firing, sweep, alert };
        // One that has as many fields as possible, and one about the program itself.
        let about = Finding { about: Some("soc".to_owned()), ..notice.alert.finding.clone() };
        let own = Notice { alert: Alert { finding: about, ..notice.alert.clone() }, ..notice.clone() };
        let body = serde_json::json!({"event": "heartbeat", "n": 1});
        let event = Event { id: Ulid::from_parts(7, 8), kind: "heartbeat".to_owned(), time: now, body };
        let alerts = [notice, own].map(|notice| Message::Alert(Box::new(notice)));
        for message in alerts.into_iter().chain([Message::Event(event)]) {
            let kept = serde_json::to_string(&message).expect("JSON");
            assert_eq!(serde_json::from_str::<Message>(&kept).expect("a message"), message, "{kept}");
        }
    }
}
