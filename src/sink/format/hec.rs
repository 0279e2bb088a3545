//! `hec`: the envelope of Splunk's HTTP Event Collector, with the fields of its Common Information Model.
//!
//! | source type | model | told by |
//! |---|---|---|
//! | `portreeve:exposure` | Alerts, Vulnerabilities | findings and alerts for those who guard the networks |
//! | `portreeve:port` | Endpoint.Ports, where the state is open | `port` |
//! | `portreeve:health`, `portreeve:own` | none: Splunk wants none but security alerts in Alerts | other alerts |
//! | `portreeve:sweep`, `portreeve:control`, `portreeve:watch` | none | all else |
//!
//! Tags are given when somebody searches, by the add-on in packaging/splunk. Splunk may get an event twice, with the
//! same `id`.

use serde_json::{Value, json};

use super::view::{Kind, View, epoch_ms};
use super::{Origin, told};
use crate::policy::kind::FindingKind;
use crate::target::ports::Severity;
use crate::target::state::State;

/// An event.
pub fn encode(view: &View<'_>, origin: &Origin) -> Value {
    let host = view.vantage.as_ref().map_or(origin.host.as_str(), |vantage| &vantage.host);
    let source_type = match view.event {
        Kind::Finding | Kind::Alert if view.is_security() => "exposure",
        Kind::Finding | Kind::Alert if view.kind == Some(FindingKind::Outage) => "health",
        Kind::Finding | Kind::Alert => "own",
        Kind::Port => "port",
        Kind::SweepStarted | Kind::SweepCompleted | Kind::SweepSkipped => "sweep",
        Kind::Heartbeat | Kind::WatchStarted | Kind::WatchStopped | Kind::ConfigLoaded => "watch",
        Kind::ControlStarted
        | Kind::ControlTile
        | Kind::ControlPaused
        | Kind::ControlStopped
        | Kind::ControlCompleted => "control",
    };
    let mut event = common(view, host);
    let more = match source_type {
        "exposure" => [about(view, origin, host), exposure(view)],
        "health" | "own" => [about(view, origin, host), json!({"type": "event"})],
        "port" => [about(view, origin, host), port(view)],
        _ => [of_sweep(view), json!({"type": "event"})],
    };
    if let Some(event) = event.as_object_mut() {
        event.extend(more.iter().filter_map(Value::as_object).flat_map(Clone::clone));
    }
    told(json!({
        // Seconds with three decimals have room in a double until long after all clocks have ended.
        "time": epoch_ms(view.time) as f64 / 1000.0,
        "host": host, "source": "portreeve", "sourcetype": format!("portreeve:{source_type}"),
        "event": event,
        "fields": {"rule": view.rule, "code": view.code()},
    }))
}

/// What all events have.
fn common(view: &View<'_>, host: &str) -> Value {
    json!({
        "id": view.uid(), "event": view.event.as_str(), "code": view.code(), "description": view.sentence(),
        "severity": severity(view.severity()), "severity_id": view.severity() as u8, "dvc": host,
        "vendor_product": "portreeve", "app": "portreeve", "sweep": view.sweep, "watch": view.watch,
        "authorization": view.authorization,
    })
}

/// What is about one target, or one finding.
fn about(view: &View<'_>, origin: &Origin, host: &str) -> Value {
    let source = origin.source.map_or_else(|| host.to_owned(), |source| source.to_string());
    // A finding about no address is about where it was found.
    let dest = view.ip.map_or_else(|| host.to_owned(), |ip| ip.to_string());
    let both = view.port.map(|port| format!("tcp/{port}"));
    let said = view.banner.as_ref();
    json!({
        "dest": dest, "dest_port": view.port, "dest_name": view.names.first(), "dest_names": view.names,
        "transport": view.transport, "transport_dest_port": both, "src": source,
        "port_state": view.found_state(), "reason": view.reason, "service": view.service, "rtt_us": view.rtt_us,
        "verified": view.verified, "banner": said.map(|banner| banner.text),
        "banner_protocol": said.map(|banner| banner.protocol),
        "signature": view.rule.map(|_| view.name()), "signature_id": view.rule, "fingerprint": view.fingerprint,
        "category": view.kind.map(FindingKind::as_str), "class": view.class, "owner": view.owner,
        "transition": view.transition, "alert_state": view.transition.and(view.state), "episode": view.episode,
        "resolution": view.resolution, "annotation": view.annotation, "muted": view.muted,
        "acknowledged_by": view.acknowledged.map(|taken| taken.who), "expectation": view.expectation,
        "about": view.about, "members": view.members,
        "allowance_reason": view.allowance.map(|allowance| allowance.reason),
        "allowance_owner": view.allowance.map(|allowance| allowance.owner),
    })
}

/// What the model of ports wants besides. It knows no state but one; `port_state` has ours. Probes come from many
/// ports.
fn port(view: &View<'_>) -> Value {
    let is_open = view.target_state() == Some(State::Open);
    json!({"type": "event", "src_port": 0, "state": is_open.then_some("listening")})
}

/// What the models of alerts and vulnerabilities want besides. An open port has no number in a list of weaknesses.
fn exposure(view: &View<'_>) -> Value {
    json!({
        "type": "alert", "user": "unknown", "cve": "", "cvss": 0,
        "first_seen": view.first_seen.map(epoch_ms), "last_seen": view.last_seen.map(epoch_ms),
    })
}

fn of_sweep(view: &View<'_>) -> Value {
    json!({
        "verdict": view.verdict, "ledger": view.ledger, "unknown_reasons": view.unknown_reasons,
        "findings": view.findings, "duration_ms": view.duration_ms, "skipped": view.skipped, "why": view.why,
        "declared": view.targets(), "control": view.control, "title": view.title, "frameworks": view.frameworks,
        "manifest": view.manifest, "tile": view.tile, "tiles": view.tiles, "until": view.until.map(epoch_ms),
        "assessments": view.assessments.iter().map(|asked| {
            json!({"name": asked.name, "met": asked.met, "statement": asked.statement})
        }).collect::<Vec<_>>(),
        "firing": view.firing,
        "books": view.books.iter().map(|books| {
            json!({"sink": books.sink, "pending": books.pending, "dead": books.dead})
        }).collect::<Vec<_>>(),
    })
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "informational",
        other => other.as_str(),
    }
}
