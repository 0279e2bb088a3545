//! An event as the formats read it: the fields of the contract, typed, and what can be said of all kinds alike.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::policy::class::Class;
use crate::policy::kind::FindingKind;
use crate::sweep::ledger::Ledger;
use crate::sweep::report::{UnknownReason, Verdict};
use crate::sweep::verified::Verification;
use crate::target::Transport;
use crate::target::ports::Severity;
use crate::target::state::State;

/// The kinds of events.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq)]
pub enum Kind {
    /// A sweep begins.
    #[serde(rename = "sweep.started")]
    SweepStarted,
    /// What one target said.
    #[serde(rename = "port")]
    Port,
    /// Something that policy objects to.
    #[serde(rename = "finding")]
    Finding,
    /// A sweep is over.
    #[serde(rename = "sweep.completed")]
    SweepCompleted,
    /// A sweep was due, and was not made.
    #[serde(rename = "sweep.skipped")]
    SweepSkipped,
    /// An alert has changed.
    #[serde(rename = "alert")]
    Alert,
    /// The daemon is alive.
    #[serde(rename = "heartbeat")]
    Heartbeat,
    /// The daemon has begun.
    #[serde(rename = "watch.started")]
    WatchStarted,
    /// The daemon ends.
    #[serde(rename = "watch.stopped")]
    WatchStopped,
    /// The daemon has taken up a changed configuration.
    #[serde(rename = "config.loaded")]
    ConfigLoaded,
    /// What a command answers that only looks.
    #[serde(other)]
    Listing,
}

impl Kind {
    /// The word for it, as in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::SweepStarted => "sweep.started",
            Kind::Port => "port",
            Kind::Finding => "finding",
            Kind::SweepCompleted => "sweep.completed",
            Kind::SweepSkipped => "sweep.skipped",
            Kind::Alert => "alert",
            Kind::Heartbeat => "heartbeat",
            Kind::WatchStarted => "watch.started",
            Kind::WatchStopped => "watch.stopped",
            Kind::ConfigLoaded => "config.loaded",
            Kind::Listing => "listing",
        }
    }
}

/// The most characters of a text that others wrote. Elasticsearch does not index longer ones, and CEF allows no
/// longer message. The events themselves have all of them.
const LONGEST: usize = 1023;

/// A text that others may have written, cut where it is too long for those who gather events.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Text<'e>(&'e str);

impl<'e> Text<'e> {
    /// As much of a text as is told.
    pub fn new(text: &'e str) -> Self {
        Text(text.char_indices().nth(LONGEST).map_or(text, |(end, _)| &text[..end]))
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        self.0
    }
}

impl<'de: 'e, 'e> Deserialize<'de> for Text<'e> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&str>::deserialize(deserializer).map(Text::new)
    }
}

/// What a server said of itself.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Banner<'e> {
    /// What it speaks.
    pub protocol: &'e str,
    /// What it said.
    #[serde(borrow)]
    pub text: Text<'e>,
}

/// An allowance that once held, or that is not used.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Allowance<'e> {
    /// Why the ports may or might be open.
    #[serde(borrow)]
    pub reason: Text<'e>,
    /// Who answers for it.
    #[serde(borrow)]
    pub owner: Text<'e>,
    /// Until when.
    pub expires: Option<&'e str>,
}

/// Where a sweep looks from.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Vantage<'e> {
    /// Name of the host.
    #[serde(borrow)]
    pub host: Text<'e>,
    /// What sends.
    pub engine: &'e str,
    /// The address that probes come from.
    pub source: Option<IpAddr>,
}

/// A scope, as far as formats tell of it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Scope {
    /// Targets.
    pub declared: u64,
}

/// Who has taken an alert on.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Acknowledgement<'e> {
    /// Who.
    #[serde(borrow)]
    pub who: Text<'e>,
}

/// An event. What its kind does not have, or this one has not, is `None` or empty.
#[derive(Clone, Debug, Deserialize)]
pub struct View<'e> {
    /// Its kind.
    #[serde(rename = "event")]
    pub event: Kind,
    /// When it happened.
    pub time: Timestamp,
    id: Option<&'e str>,
    /// The sweep that it is of.
    pub sweep: Option<&'e str>,
    /// What the daemon calls that sweep.
    #[serde(borrow, alias = "sweep_name")]
    pub watch: Option<Text<'e>>,
    /// By which text the sweep was allowed.
    #[serde(borrow)]
    pub authorization: Option<Text<'e>>,
    /// What was found.
    pub kind: Option<FindingKind>,
    /// The same for the same thing in every sweep.
    pub fingerprint: Option<&'e str>,
    severity: Option<Severity>,
    /// The address that it is about.
    pub ip: Option<IpAddr>,
    /// What that is called.
    #[serde(borrow, default)]
    pub names: Vec<Text<'e>>,
    /// The port that it is about.
    pub port: Option<u16>,
    /// The transport that it is about.
    pub transport: Option<Transport>,
    /// The service that usually listens there.
    pub service: Option<&'e str>,
    /// The state of a target, or where an alert is in its life.
    pub state: Option<&'e str>,
    /// What the state of a target rests on.
    pub reason: Option<&'e str>,
    /// From probe to answer.
    pub rtt_us: Option<u32>,
    /// Whether the target finished a whole handshake.
    pub verified: Option<bool>,
    /// How that was tried.
    pub verification: Option<Verification>,
    /// What the target said.
    #[serde(borrow)]
    pub banner: Option<Banner<'e>>,
    /// The rule that is broken.
    pub rule: Option<&'e str>,
    /// The allowance that once held, or that is not used.
    #[serde(borrow)]
    pub allowance: Option<Allowance<'e>>,
    /// Who answers for it.
    #[serde(borrow)]
    pub owner: Option<Text<'e>>,
    /// The expectation that is not met.
    #[serde(borrow)]
    pub expectation: Option<Text<'e>>,
    /// The sweep or the sink that it is about.
    #[serde(borrow)]
    pub about: Option<Text<'e>>,
    /// When it was first seen.
    pub first_seen: Option<Timestamp>,
    /// When it was last seen.
    pub last_seen: Option<Timestamp>,
    /// One plain sentence of ours, with what others wrote in it.
    #[serde(borrow)]
    pub(super) message: Option<Text<'e>>,
    /// Who is to hear of it.
    pub class: Option<&'e str>,
    /// What has happened to an alert.
    pub transition: Option<&'e str>,
    /// This firing of an alert.
    pub episode: Option<&'e str>,
    /// When it began to fire.
    pub fired_at: Option<Timestamp>,
    /// Why an alert has been resolved.
    pub resolution: Option<&'e str>,
    /// What a second look has shown.
    pub annotation: Option<&'e str>,
    /// Who has taken it on.
    #[serde(borrow)]
    pub acknowledged: Option<Acknowledgement<'e>>,
    /// Why nobody is disturbed by it.
    #[serde(borrow)]
    pub muted: Option<Text<'e>>,
    /// How many targets it stands for.
    pub members: Option<u64>,
    /// What is swept.
    pub scope: Option<Scope>,
    /// Where from.
    #[serde(borrow)]
    pub vantage: Option<Vantage<'e>>,
    /// What a sweep is worth.
    pub verdict: Option<Verdict>,
    /// How many targets are in each state.
    pub ledger: Option<Ledger>,
    /// Why targets are unknown.
    #[serde(default)]
    pub unknown_reasons: BTreeMap<UnknownReason, u64>,
    /// How many findings a sweep has.
    pub findings: Option<u64>,
    /// How long it took.
    pub duration_ms: Option<u64>,
    /// How many sweeps were not made.
    pub skipped: Option<u64>,
    /// Why not.
    #[serde(borrow)]
    pub why: Option<Text<'e>>,
    /// How many alerts fire.
    pub firing: Option<u64>,
    /// What was raised for each sink, and what became of it.
    #[serde(borrow, default)]
    pub books: Vec<Books<'e>>,
}

/// What was raised for one sink, and what became of it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Books<'e> {
    /// The sink.
    #[serde(borrow)]
    pub sink: Text<'e>,
    /// Messages that are still to be delivered.
    pub pending: u64,
    /// Messages that were given up.
    pub dead: u64,
}

/// What becomes of a finding at those who keep a list of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// It is new.
    Created,
    /// More is known of it.
    Updated,
    /// It is over.
    Closed,
}

impl<'e> View<'e> {
    /// Reads an event.
    ///
    /// # Errors
    /// Why it is none of this version's.
    pub fn of(event: &'e Value) -> Result<Self, String> {
        View::deserialize(event)
            .map_err(|error| format!("no event that can be told in another format: {error}"))
    }

    /// The identifier by which receivers recognise duplicates. The events of a sweep have none of their own, and get
    /// one from what they are about.
    pub fn uid(&self) -> String {
        let sweep = self.sweep.unwrap_or("none");
        match (self.id, self.event) {
            (Some(id), _) => id.to_owned(),
            (None, Kind::Port) => {
                let seen =
                    if self.verified == Some(true) { "verified" } else { self.state.unwrap_or("none") };
                format!("{sweep}/{}/{seen}", self.endpoint().unwrap_or_default())
            }
            (None, Kind::Finding | Kind::Alert) => format!("{sweep}/{}", self.fingerprint.unwrap_or("none")),
            (None, other) => format!("{sweep}/{}", other.as_str()),
        }
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        let blind = if self.verdict == Some(Verdict::Blind) { Severity::Medium } else { Severity::Info };
        let verdict = if self.verdict == Some(Verdict::Degraded) { Severity::Low } else { blind };
        self.severity.unwrap_or(verdict)
    }

    /// Whether it is for those who guard the networks, and not for those who run services or this program.
    pub fn is_security(&self) -> bool {
        match self.class {
            Some("security") => true,
            Some("health" | "own") => false,
            _ => self.kind.is_some_and(|kind| kind.class() == Class::security()),
        }
    }

    /// What becomes of the finding.
    pub fn change(&self) -> Change {
        match (self.event, self.transition, self.state) {
            (Kind::Finding, ..) | (_, Some("firing"), _) => Change::Created,
            (_, Some("resolved"), _) | (_, Some("flapping-ended"), Some("resolved")) => Change::Closed,
            _ => Change::Updated,
        }
    }

    /// The state of a target.
    pub fn target_state(&self) -> Option<State> {
        let word = self.state.filter(|_| self.event == Kind::Port)?;
        State::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// The state that a finding says its target has, where it says one: that nobody looks any longer says nothing.
    pub fn found_state(&self) -> Option<&'e str> {
        let (bad, good) = match self.kind {
            _ if self.event == Kind::Port => return self.state,
            Some(FindingKind::Exposure | FindingKind::AnswersAll) => ("open", "not-open"),
            Some(FindingKind::Outage) => ("not-open", "open"),
            _ => return None,
        };
        match (self.change(), self.resolution) {
            (Change::Closed, Some("seen")) => Some(good),
            (Change::Closed, Some("allowed")) => Some(bad),
            (Change::Closed, _) => None,
            _ => Some(bad),
        }
    }

    /// Address and port, or the address alone.
    pub fn endpoint(&self) -> Option<String> {
        let ip = self.ip?;
        Some(match (self.port, ip) {
            (Some(port), IpAddr::V6(ip)) => format!("[{ip}]:{port}/tcp"),
            (Some(port), IpAddr::V4(ip)) => format!("{ip}:{port}/tcp"),
            (None, ip) => ip.to_string(),
        })
    }

    /// The verdict as a word.
    pub fn verdict_word(&self) -> Option<String> {
        self.verdict.map(|verdict| verdict.to_string())
    }

    /// Whether somebody stopped the sweep.
    pub fn is_interrupted(&self) -> bool {
        self.unknown_reasons.contains_key(&UnknownReason::Interrupted)
    }
}

/// A time in milliseconds since 1970.
pub fn epoch_ms(time: Timestamp) -> i64 {
    time.as_millisecond()
}

/// A time as RFC 3339 has it, in UTC with three decimals.
pub fn stamp(time: Timestamp) -> String {
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "\u{1f600}".repeat(5000);
        assert_eq!(Text::new(&long).chars().count(), LONGEST);
        assert_eq!(&*Text::new("short"), "short");
        let event = json!({"event": "port", "time": "2026-06-01T00:00:00Z", "names": [long]});
        assert_eq!(View::of(&event).expect("an event").names[0].chars().count(), LONGEST);
    }

    #[test]
    fn classes_say_whom_a_finding_is_for() {
        for (kind, class, is_security) in [
            ("exposure", json!(null), true),
            ("exposure", json!("health"), false),
            ("exposure", json!("network"), true),
            ("outage", json!("health"), false),
            ("outage", json!("orders"), false),
            ("outage", json!("security"), true),
            ("delivery-failed", json!("own"), false),
            ("drill", json!("security"), true),
        ] {
            let event =
                json!({"event": "alert", "time": "2026-06-01T00:00:00Z", "kind": kind, "class": class});
            assert_eq!(View::of(&event).expect("an event").is_security(), is_security, "{kind} {class}");
        }
    }
}
