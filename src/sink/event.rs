//! The events: the program's contract with whatever reads its JSON.
//!
//! # Wire format
//! One JSON object a line, UTF-8, ended by a newline. Every event has `schema` (`portreeve/1`), `event` (its kind),
//! `time` (RFC 3339, UTC, milliseconds) and `sweep` (a ULID). If the run was authorised by text, every event carries
//! that text as `authorization`. Addresses and identifiers are strings, counts are numbers. A field that does not apply
//! is absent or, where its absence says something, null. New fields may be added under the same schema; a change of
//! meaning gets a new one.
//!
//! A sweep is `sweep.started`, then any number of `port` and `finding`, then `sweep.completed`. A target may have two
//! `port` events; the later one is right. A file without `sweep.completed` is of a run that was killed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;
use ulid::Ulid;

use crate::policy::finding::{Finding, milliseconds};
use crate::sweep::ledger::Ledger;
use crate::sweep::report::{Observation, Packets, Report, UnknownReason, Vantage, Verdict};
use crate::target::Transport;
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
}

impl Run {
    /// The run of this sweep.
    pub fn new(sweep: Ulid, authorization: Option<&str>) -> Self {
        Run { sweep: sweep.to_string(), authorization: authorization.map(str::to_owned) }
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
            port: target.port,
            transport: target.transport,
            service: ports::service(target.port).map(|service| service.name),
            state: observation.state,
            reason: observation.reason.map_or(UnknownReason::ReceiverDropped.as_str(), |r| r.as_str()),
            tries: observation.tries,
            rtt_us: observation.rtt_us,
            ttl: observation.ttl,
            verified: verified && observation.state == State::Open,
        }
    }

    /// `finding`.
    pub fn finding<'a>(&'a self, time: Timestamp, finding: &'a Finding) -> FindingEvent<'a> {
        FindingEvent { head: self.head("finding", time), finding }
    }

    /// `sweep.completed`.
    pub fn completed<'a>(&'a self, report: &'a Report, findings: u64) -> SweepCompleted<'a> {
        SweepCompleted {
            head: self.head("sweep.completed", report.completed),
            verdict: report.verdict,
            shard: report.shard,
            ledger: &report.ledger,
            unknown_reasons: &report.unknown_reasons,
            packets: &report.packets,
            findings,
            vantage: &report.vantage,
            duration_ms: report.duration_ms,
        }
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
    /// What sends: packet, connect.
    pub engine: String,
    /// Where from, and why this engine.
    pub vantage: Vantage,
    /// Which part of the scope this is, if it was split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// Tries before silence is called filtered.
    pub tries: u8,
    /// Probes a second over all; null for no limit.
    pub rate_max_pps: Option<u32>,
    /// Probes a second at one host; null for no limit.
    pub host_rate_max_pps: Option<u32>,
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
    /// Networks in.
    pub networks: Vec<String>,
    /// Networks out.
    pub exclude: Vec<String>,
    /// Addresses that were left out without being asked for, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Ports, as numbers and ranges.
    pub ports: Vec<String>,
    /// Targets.
    pub declared: u64,
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
    port: u16,
    transport: Transport,
    service: Option<&'static str>,
    state: State,
    reason: &'static str,
    tries: u8,
    rtt_us: Option<u32>,
    ttl: Option<u8>,
    verified: bool,
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
    findings: u64,
    vantage: &'a Vantage,
    duration_ms: u64,
}
