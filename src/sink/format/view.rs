//! An event as the formats read it: the fields of the contract, typed, and what can be said of all kinds alike.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::parts::{Acknowledgement, Allowance, Asked, Banner, Books, Scope, Text, Vantage};
use crate::policy::class::Class;
use crate::policy::kind::FindingKind;
use crate::sweep::ledger::Ledger;
use crate::sweep::report::UnknownReason;
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
    /// A control run begins, or goes on.
    #[serde(rename = "control.started")]
    ControlStarted,
    /// A tile of a control run is done.
    #[serde(rename = "control.tile")]
    ControlTile,
    /// The hours in which a control run may send are over.
    #[serde(rename = "control.paused")]
    ControlPaused,
    /// A control run was stopped, and can be resumed.
    #[serde(rename = "control.stopped")]
    ControlStopped,
    /// The evidence of a control run is made.
    #[serde(rename = "control.completed")]
    ControlCompleted,
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
            Kind::ControlStarted => "control.started",
            Kind::ControlTile => "control.tile",
            Kind::ControlPaused => "control.paused",
            Kind::ControlStopped => "control.stopped",
            Kind::ControlCompleted => "control.completed",
            Kind::Heartbeat => "heartbeat",
            Kind::WatchStarted => "watch.started",
            Kind::WatchStopped => "watch.stopped",
            Kind::ConfigLoaded => "config.loaded",
        }
    }
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
    /// The sweep or the control run that it is of.
    #[serde(alias = "run")]
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
    /// What a sweep is worth, or what a control run comes to.
    pub verdict: Option<&'e str>,
    /// How many targets are in each state.
    pub ledger: Option<Ledger>,
    /// Why targets are unknown.
    #[serde(default)]
    pub unknown_reasons: BTreeMap<UnknownReason, u64>,
    /// The control that a run is evidence for.
    #[serde(borrow)]
    pub control: Option<Text<'e>>,
    /// What that is called.
    #[serde(borrow)]
    pub title: Option<Text<'e>>,
    /// What it is evidence for, in other people's catalogues.
    #[serde(borrow, default)]
    pub frameworks: Vec<Text<'e>>,
    /// What was asked of it.
    #[serde(borrow, default)]
    pub assessments: Vec<Asked<'e>>,
    /// The digest by which the evidence is recognised.
    pub manifest: Option<&'e str>,
    /// Targets of a control run.
    pub declared: Option<u64>,
    /// The tile that is done.
    pub tile: Option<u64>,
    /// How many there are.
    pub tiles: Option<u64>,
    /// Whether a run goes on where it was.
    #[serde(default)]
    pub resumed: bool,
    /// When a run goes on.
    pub until: Option<Timestamp>,
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
    /// Reads an event; nothing where it is of another kind, as what a command answers that only looks.
    ///
    /// # Errors
    /// Why it is no event, or none of this version's.
    pub fn of(event: &'e Value) -> Result<Option<Self>, String> {
        let wrong = |error: &dyn Display| format!("no event that can be told in another format: {error}");
        let kind =
            event.get("event").filter(|kind| kind.is_string()).ok_or_else(|| wrong(&"it has no kind"))?;
        if Kind::deserialize(kind).is_err() {
            return Ok(None);
        }
        View::deserialize(event).map(Some).map_err(|error| wrong(&error))
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
            // A run may be paused, stopped and resumed more than once.
            (None, Kind::ControlTile) => format!("{sweep}/tile/{}", self.tile.unwrap_or(0)),
            (None, other) if self.control_run() => {
                format!("{sweep}/{}/{}", other.as_str(), epoch_ms(self.time))
            }
            (None, other) => format!("{sweep}/{}", other.as_str()),
        }
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        let by_verdict = match self.verdict {
            Some("fail") => Severity::High,
            Some("blind" | "inconclusive") => Severity::Medium,
            Some("degraded") => Severity::Low,
            _ => Severity::Info,
        };
        self.severity.unwrap_or(by_verdict)
    }

    /// Whether it is for those who guard the networks, and not for those who run services or this program.
    pub fn is_security(&self) -> bool {
        match self.class {
            Some("security") => true,
            Some("health" | "own") => false,
            _ => self.kind.is_some_and(|kind| kind.class() == Class::security()),
        }
    }

    /// Whether it is about a control run.
    pub fn control_run(&self) -> bool {
        self.event.as_str().starts_with("control.")
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

    /// How many targets there are, where the event says.
    pub fn targets(&self) -> Option<u64> {
        let ledger = self.ledger.map(|ledger| ledger.declared);
        ledger.or(self.declared).or(self.scope.map(|scope| scope.declared))
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
            assert_eq!(
                View::of(&event).expect("an event").expect("a kind").is_security(),
                is_security,
                "{kind} {class}"
            );
        }
    }
}
