//! The events: the program's contract with whatever reads its JSON.
//!
//! # Wire format
//! One JSON object a line, UTF-8, ended by a newline. Every event has `schema` (`portreeve/1`), `event` (its kind) and
//! `time` (RFC 3339, UTC, milliseconds); every event of a sweep has `sweep` (a ULID). If the run was authorised by
//! text, every event of it carries that text as `authorization`. Addresses and identifiers are strings, counts are
//! numbers. A field that does not apply is absent or, where its absence says something, null. New fields may be added
//! under the same schema; a change of meaning gets a new one.
//!
//! A sweep is `sweep.started`, then any number of `port` and `finding`, then `sweep.completed`. A target may have two
//! `port` events; the later one is right. A file without `sweep.completed` is of a run that was killed.
//!
//! The daemon says `alert` ([`super::message::AlertEvent`]) whenever one changes, `sweep.completed`, `heartbeat`,
//! `watch.started`, `watch.stopped` and `config.loaded`; each is a message with an `id` of its own. What the commands
//! answer that only look is in [`super::listing`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;
use ulid::Ulid;

use crate::policy::finding::{Finding, milliseconds};
use crate::sweep::banner::Banner;
use crate::sweep::ledger::Ledger;
use crate::sweep::report::{Observation, Packets, PathReport, Report, UnknownReason, Vantage, Verdict};
use crate::sweep::verified::LookReport;
use crate::target::Transport;
use crate::target::names::Names;
use crate::target::ports;
use crate::target::scope::Shard;
use crate::target::state::State;

/// The version of the events.
pub const SCHEMA: &str = "portreeve/1";

/// The events as a JSON Schema, draft 2020-12. It describes exactly what this version of the program writes.
pub const JSON_SCHEMA: &str = include_str!("event.schema.json");

/// What every event begins with.
#[derive(Clone, Debug, Serialize)]
pub struct Head<'a> {
    schema: &'static str,
    event: &'static str,
    #[serde(serialize_with = "milliseconds")]
    time: Timestamp,
    sweep: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: Option<&'a str>,
}

/// What all events of one run have in common.
#[derive(Clone, Debug)]
pub struct Run {
    sweep: String,
    authorization: Option<String>,
    names: Names,
}

impl Run {
    /// The run of this sweep.
    pub fn new(sweep: Ulid, authorization: Option<&str>) -> Self {
        let authorization = authorization.map(str::to_owned);
        Run { sweep: sweep.to_string(), authorization, names: Names::default() }
    }

    /// The run in which addresses have these names.
    #[must_use]
    pub fn with_names(self, names: Names) -> Self {
        Run { names, ..self }
    }

    /// What addresses are called in this run.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The sweep's identifier, as every event has it.
    pub fn sweep(&self) -> &str {
        &self.sweep
    }

    fn head(&self, event: &'static str, time: Timestamp) -> Head<'_> {
        Head { schema: SCHEMA, event, time, sweep: &self.sweep, authorization: self.authorization.as_deref() }
    }

    /// `sweep.started`.
    pub fn started<'a>(&'a self, time: Timestamp, announced: &'a Announcement) -> SweepStarted<'a> {
        SweepStarted { head: self.head("sweep.started", time), announced }
    }

    /// `port`. `verified` says whether a whole handshake was made.
    pub fn port(&self, time: Timestamp, observation: &Observation, verified: bool) -> PortEvent<'_> {
        let target = observation.target;
        PortEvent {
            head: self.head("port", time),
            ip: target.ip,
            names: self.names.of(target.ip),
            port: target.port,
            transport: target.transport,
            service: ports::service(target.port).map(|service| service.name),
            state: observation.state,
            reason: reason_of(observation),
            tries: observation.tries,
            rtt_us: observation.rtt_us,
            ttl: observation.ttl,
            verified: verified && observation.state == State::Open,
            banner: None,
        }
    }

    /// `port` of a target that finished a whole handshake after the sweep, and what it said then.
    pub fn verified_port<'a>(
        &'a self,
        time: Timestamp,
        observation: &Observation,
        banner: Option<&'a Banner>,
    ) -> PortEvent<'a> {
        PortEvent { verified: true, banner, ..self.port(time, observation, true) }
    }

    /// `finding`.
    pub fn finding<'a>(&'a self, time: Timestamp, finding: &'a Finding) -> FindingEvent<'a> {
        FindingEvent { head: self.head("finding", time), finding }
    }

    /// `sweep.completed`, which comes when the second look is over too.
    pub fn completed<'a>(
        &'a self,
        time: Timestamp,
        report: &'a Report,
        second_look: &'a LookReport,
        findings: u64,
    ) -> SweepCompleted<'a> {
        SweepCompleted {
            head: self.head("sweep.completed", time),
            verdict: report.verdict,
            shard: report.shard,
            ledger: &report.ledger,
            unknown_reasons: &report.unknown_reasons,
            packets: &report.packets,
            paths: &report.paths,
            findings,
            vantage: &report.vantage,
            duration_ms: report.duration_ms,
            second_look,
        }
    }
}

/// What a state rests on, in one word; for an unknown one, why it is unknown.
pub(super) fn reason_of(observation: &Observation) -> &'static str {
    match (observation.reason, observation.unknown) {
        (Some(reason), _) => reason.as_str(),
        (None, Some(unknown)) => unknown.as_str(),
        (None, None) => UnknownReason::TriesSpent.as_str(),
    }
}

/// A sweep begins.
#[derive(Clone, Debug, Serialize)]
pub struct SweepStarted<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    #[serde(flatten)]
    announced: &'a Announcement,
}

/// What a sweep says of itself before it begins.
#[derive(Clone, Debug, Serialize)]
pub struct Announcement {
    /// What is swept.
    pub scope: ScopeText,
    /// What sends: packet, xdp, connect.
    pub engine: String,
    /// Where from, and why this engine.
    pub vantage: Vantage,
    /// Which part of the scope this is, if it was split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// Tries before silence is called filtered.
    pub tries: u8,
    /// Whether the sweep finds its own rate, up to the next.
    pub governed: bool,
    /// Probes a second over all; null for no limit.
    pub rate_max_pps: Option<u32>,
    /// Probes a second at one host; null for no limit.
    pub host_rate_max_pps: Option<u32>,
    /// Probes a second at one network, an IPv4 /24 or an IPv6 /64; null for no limit.
    pub network_rate_max_pps: Option<u32>,
    /// The seed of the order, as text, because JSON numbers lose bits beyond 2^53.
    pub seed: String,
    /// The program's version.
    pub version: &'static str,
    /// Who owns the scope, where the configuration says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// A scope as people wrote it, and what it comes down to.
#[derive(Clone, Debug, Serialize)]
pub struct ScopeText {
    /// Networks and hosts in, as they were written.
    pub networks: Vec<String>,
    /// The files that more of them came from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceText>,
    /// Host names that were to be swept and have no address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unresolved: Vec<String>,
    /// Networks out.
    pub exclude: Vec<String>,
    /// Addresses that were left out without being asked for, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Ports, as numbers and ranges.
    pub ports: Vec<String>,
    /// Targets that are known to answer, as somebody named them, and that are asked again and again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub canaries: Vec<String>,
    /// Ports beside them that hosts with something to report are asked on too, to see whether they accept everything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub canary_ports: Vec<u16>,
    /// Targets.
    pub declared: u64,
}

/// A file of targets, or an inventory.
#[derive(Clone, Debug, Serialize)]
pub struct SourceText {
    /// Its name, as it was given.
    pub file: String,
    /// How many targets it names.
    pub targets: u64,
    /// How many of its addresses are null or empty.
    pub skipped: u64,
}

/// An address that is left out although a network of the scope covers it.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// The address.
    pub ip: IpAddr,
    /// Why.
    pub why: &'static str,
}

/// What one target said.
#[derive(Clone, Debug, Serialize)]
pub struct PortEvent<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    ip: IpAddr,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<&'a str>,
    port: u16,
    transport: Transport,
    service: Option<&'static str>,
    state: State,
    reason: &'static str,
    tries: u8,
    rtt_us: Option<u32>,
    ttl: Option<u8>,
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    banner: Option<&'a Banner>,
}

/// Something that policy objects to.
#[derive(Clone, Debug, Serialize)]
pub struct FindingEvent<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    #[serde(flatten)]
    finding: &'a Finding,
}

/// A sweep is over.
#[derive(Clone, Debug, Serialize)]
pub struct SweepCompleted<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<Shard>,
    ledger: &'a Ledger,
    unknown_reasons: &'a BTreeMap<UnknownReason, u64>,
    packets: &'a Packets,
    paths: &'a [PathReport],
    findings: u64,
    vantage: &'a Vantage,
    duration_ms: u64,
    second_look: &'a LookReport,
}
