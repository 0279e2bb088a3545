//! `ecs`: the Elastic Common Schema, version 9.4.0.
//!
//! A finding is an `alert`, what a target said is a `state`. `event.outcome` is that of our own probe, and no verdict:
//! an open port that must be closed is a probe that succeeded. What ECS has no field for is in `labels`, where it is a
//! word, and under `portreeve`, where it is a number.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::view::{Kind, View, stamp};
use super::{Origin, told};
use crate::policy::kind::FindingKind;
use crate::target::ports::Severity;
use crate::target::state::State;

/// The version of the schema.
pub const VERSION: &str = "9.4.0";

/// An event.
pub fn encode(view: &View<'_>, origin: &Origin) -> Value {
    let kind = kind_of(view);
    let vantage = view.vantage.as_ref();
    let source = vantage.and_then(|vantage| vantage.source).or(origin.source);
    let host = vantage.map_or(origin.host.as_str(), |vantage| &vantage.host);
    let mut fields = json!({
        "@timestamp": stamp(view.time),
        "ecs": {"version": VERSION},
        "message": view.sentence(),
        "event": event(view, &kind),
        "rule": view.rule.map(|rule| json!({"id": rule, "name": view.name(), "ruleset": "portreeve"})),
        "observer": {
            "type": "scanner", "vendor": "portreeve", "product": "portreeve", "version": env!("CARGO_PKG_VERSION"),
            "name": host, "ip": source.into_iter().collect::<Vec<_>>(),
        },
        "labels": labels(view),
        "portreeve": numbers(view),
        "tags": view.class.map(|class| [format!("{class}-channel")]),
    });
    if let (Some(ip), Some(fields)) = (view.ip, fields.as_object_mut()) {
        let about = about(view, ip, source);
        fields.extend(about.as_object().cloned().unwrap_or_default());
    }
    told(fields)
}

/// How an event is categorised.
struct Categories {
    kind: &'static str,
    category: &'static [&'static str],
    kinds: &'static [&'static str],
    dataset: &'static str,
}

fn kind_of(view: &View<'_>) -> Categories {
    let kind = |kind, category, kinds, dataset| Categories { kind, category, kinds, dataset };
    match view.event {
        Kind::SweepStarted => kind("event", &["network"], &["start"], "portreeve.sweep"),
        Kind::SweepCompleted => kind("event", &["network"], &["end"], "portreeve.sweep"),
        Kind::SweepSkipped => kind("event", &["network"], &["info"], "portreeve.sweep"),
        Kind::ControlStarted => kind("event", &["network"], &["start"], "portreeve.control"),
        Kind::ControlTile | Kind::ControlPaused => {
            kind("event", &["network"], &["info"], "portreeve.control")
        }
        Kind::ControlStopped | Kind::ControlCompleted => {
            kind("event", &["network"], &["end"], "portreeve.control")
        }
        Kind::Port => kind("state", &["network"], &["info"], "portreeve.port"),
        Kind::Finding | Kind::Alert if view.is_security() => {
            kind("alert", &["network", "vulnerability"], &["info"], "portreeve.exposure")
        }
        Kind::Finding | Kind::Alert if view.kind == Some(FindingKind::Outage) => {
            kind("alert", &["network"], &["info"], "portreeve.health")
        }
        Kind::Finding | Kind::Alert => kind("alert", &["process"], &["info"], "portreeve.own"),
        Kind::Heartbeat => kind("metric", &["process"], &["info"], "portreeve.watch"),
        Kind::WatchStarted => kind("event", &["process"], &["start"], "portreeve.watch"),
        Kind::WatchStopped => kind("event", &["process"], &["end"], "portreeve.watch"),
        Kind::ConfigLoaded => kind("event", &["configuration"], &["change"], "portreeve.watch"),
    }
}

fn event(view: &View<'_>, kind: &Categories) -> Value {
    let Categories { kind, category, kinds, dataset } = kind;
    let is_finding = matches!(view.event, Kind::Finding | Kind::Alert);
    let score = is_finding.then(|| score(view.severity()));
    json!({
        "kind": kind, "category": category, "type": kinds, "dataset": dataset, "module": "portreeve",
        "action": action(view), "code": view.code(), "id": view.uid(), "outcome": outcome(view),
        "severity": score, "risk_score": score.map(f64::from),
        "reason": is_finding.then(|| view.found_state().map(|state| format!("observed {state}"))),
        "duration": view.duration_ms.map(|ms| ms.saturating_mul(1_000_000))
            .or(view.rtt_us.map(|us| u64::from(us) * 1000)),
        "start": view.first_seen.map(stamp),
        "end": view.last_seen.map(stamp),
    })
}

fn action(view: &View<'_>) -> String {
    match view.event {
        Kind::Port => "port-observed".to_owned(),
        _ => view.code().replace('.', "-"),
    }
}

/// How our probe went; nothing where there was none.
fn outcome(view: &View<'_>) -> Option<&'static str> {
    match (view.event, view.kind) {
        (Kind::Port, _) => Some(match (view.target_state()?, view.reason) {
            (State::Unknown, _) => "unknown",
            (_, Some("no-response" | "no-neighbour")) => "failure",
            _ => "success",
        }),
        // A control that fails has been looked at all the same.
        (Kind::SweepCompleted | Kind::ControlCompleted, _) => Some(match view.verdict? {
            "complete" | "pass" | "fail" => "success",
            "blind" => "failure",
            _ => "unknown",
        }),
        (Kind::SweepSkipped, _) => Some("failure"),
        (_, Some(FindingKind::Outage)) => {
            Some(if view.found_state() == Some("open") { "success" } else { "failure" })
        }
        (_, Some(FindingKind::Exposure | FindingKind::AnswersAll)) => Some(match view.verification {
            Some(tried) if tried.has_failed() => "failure",
            _ => "success",
        }),
        _ => None,
    }
}

/// The scores of Elastic's own rules.
fn score(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 99,
        Severity::High => 73,
        Severity::Medium => 47,
        Severity::Low => 21,
        Severity::Info => 0,
    }
}

/// What is about one address.
fn about(view: &View<'_>, ip: IpAddr, source: Option<IpAddr>) -> Value {
    let mut related = vec![ip];
    related.extend(source.filter(|source| *source != ip));
    let is_vulnerability = matches!(view.event, Kind::Finding | Kind::Alert) && view.is_security();
    let severity = view.severity().as_str();
    let severity: String = severity[..1].to_ascii_uppercase() + &severity[1..];
    let vulnerability = json!({
        "category": ["Exposure"], "id": view.fingerprint, "severity": severity, "report_id": view.sweep,
        "scanner": {"vendor": "portreeve"},
    });
    json!({
        "host": {"ip": [ip], "name": view.names.first()},
        "source": {"ip": source},
        "destination": {"address": ip, "ip": ip, "port": view.port},
        "network": {"transport": view.transport, "type": if ip.is_ipv4() { "ipv4" } else { "ipv6" }},
        "related": {"ip": related, "hosts": view.names},
        "vulnerability": is_vulnerability.then_some(vulnerability),
        "error": (view.kind == Some(FindingKind::Outage)).then(|| json!({"code": "service-down"})),
    })
}

/// Words that ECS has no field for.
fn labels(view: &View<'_>) -> Value {
    json!({
        "sweep": view.sweep, "watch": view.watch, "verdict": view.verdict, "fingerprint": view.fingerprint,
        "port_state": view.found_state(), "port_reason": view.reason, "service": view.service,
        "verified": view.verified.map(|verified| verified.to_string()),
        "expectation": view.expectation, "owner": view.owner, "about": view.about, "class": view.class,
        "alert_state": view.transition.and(view.state), "transition": view.transition, "episode": view.episode,
        "resolution": view.resolution, "annotation": view.annotation, "muted": view.muted,
        "acknowledged_by": view.acknowledged.map(|taken| taken.who),
        "allowance_reason": view.allowance.map(|allowance| allowance.reason),
        "allowance_owner": view.allowance.map(|allowance| allowance.owner),
        "allowance_expires": view.allowance.and_then(|allowance| allowance.expires),
        "banner": view.banner.map(|banner| banner.text),
        "banner_protocol": view.banner.map(|banner| banner.protocol),
        "authorization": view.authorization, "why": view.why, "control": view.control, "title": view.title,
        "manifest": view.manifest,
    })
}

/// Numbers and lists that ECS has no field for, in a field set of our own.
fn numbers(view: &View<'_>) -> Value {
    json!({
        "ledger": view.ledger, "findings": view.findings, "unknown_reasons": view.unknown_reasons,
        "declared": view.declared.or(view.scope.map(|scope| scope.declared)), "tile": view.tile, "tiles": view.tiles,
        "frameworks": view.frameworks, "members": view.members, "skipped": view.skipped,
        "firing": view.firing,
        "pending": (view.event == Kind::Heartbeat).then(|| view.books.iter().map(|books| books.pending).sum::<u64>()),
        "dead": (view.event == Kind::Heartbeat).then(|| view.books.iter().map(|books| books.dead).sum::<u64>()),
    })
}
