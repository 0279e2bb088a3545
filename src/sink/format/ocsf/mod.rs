//! `ocsf`: the Open Cybersecurity Schema Framework, version 1.8.0.
//!
//! | events | class | activity |
//! |---|---|---|
//! | `finding`, `alert` | 2004 Detection Finding | 1 Create, 2 Update, 3 Close |
//! | `sweep.*` | 6007 Scan Activity | 1 Started, 2 Completed, 3 Cancelled, 6 Error, 99 skipped |
//! | `port` | 4001 Network Activity | 1 Open, 4 Fail, 5 Refuse, 99 for a conflict, 0 for an unknown state |
//! | `watch.*`, `config.loaded`, `heartbeat` | 6002 Application Lifecycle | 3 Start, 4 Stop, 99 |
//! | `control.completed` | 2003 Compliance Finding | 1 Create |
//! | `control.*` else | 6007 Scan Activity | 1 Started, 8 Resumed, 7 Paused, 3 Cancelled, 99 a tile |
//!
//! Times are in milliseconds. `status_id` of a finding belongs to its consumer: it is 1, New, at its creation, and
//! never said again.

pub mod control;
mod finding;

use std::net::IpAddr;

use serde_json::{Value, json};

use super::parts::Text;
use super::view::{Kind, View, epoch_ms};
use super::{Origin, told};
use crate::target::ports::Severity;
use crate::target::state::State;

/// The version of the schema.
pub const VERSION: &str = "1.8.0";

/// An event.
pub fn encode(view: &View<'_>, origin: &Origin) -> Value {
    let fields = match view.event {
        Kind::Finding | Kind::Alert => finding::fields(view, origin),
        Kind::SweepStarted | Kind::SweepCompleted | Kind::SweepSkipped => scan(view),
        Kind::ControlCompleted => control::of(view),
        Kind::ControlStarted | Kind::ControlTile | Kind::ControlPaused | Kind::ControlStopped => scan(view),
        Kind::Port => observation(view, origin),
        Kind::WatchStarted | Kind::WatchStopped | Kind::ConfigLoaded | Kind::Heartbeat => life(view, origin),
    };
    told(fields)
}

/// What every event has. `activity` is its number and its word.
fn base(view: &View<'_>, class: u32, activity: (u32, &str), severity: Severity) -> Value {
    let (activity_id, activity_name) = activity;
    json!({
        "class_uid": class, "category_uid": class / 1000, "activity_id": activity_id, "activity_name": activity_name,
        "type_uid": class * 100 + activity_id, "time": epoch_ms(view.time), "severity_id": severity_id(severity),
        "severity": severity_name(severity), "message": view.sentence(),
        "metadata": {
            "version": VERSION, "uid": view.uid(), "event_code": view.code(),
            "correlation_uid": view.sweep.or(view.episode), "product": product(),
        },
    })
}

fn product() -> Value {
    json!({"name": "portreeve", "vendor_name": "portreeve", "version": env!("CARGO_PKG_VERSION")})
}

/// An event and what it has besides.
fn with(mut base: Value, more: &Value) -> Value {
    if let (Some(base), Some(more)) = (base.as_object_mut(), more.as_object()) {
        base.extend(more.clone());
    }
    base
}

fn scan(view: &View<'_>) -> Value {
    let (activity, status) = match (view.event, view.verdict) {
        (Kind::ControlStarted, _) if view.resumed => ((8, "Resumed"), None),
        (Kind::SweepStarted | Kind::ControlStarted, _) => ((1, "Started"), None),
        (Kind::ControlTile, _) => ((99, "Tile done"), None),
        (Kind::ControlPaused, _) => ((7, "Paused"), None),
        (Kind::ControlStopped, _) => ((3, "Cancelled"), Some((2, "Failure"))),
        (Kind::SweepCompleted, _) if view.is_interrupted() => ((3, "Cancelled"), Some((2, "Failure"))),
        (Kind::SweepCompleted, Some("complete")) => ((2, "Completed"), Some((1, "Success"))),
        // Neither is it a success nor has all of it failed: what is unknown is in `num_skipped_items`.
        (Kind::SweepCompleted, Some("degraded")) => ((2, "Completed"), Some((99, "Degraded"))),
        (Kind::SweepCompleted, _) => ((6, "Error"), Some((2, "Failure"))),
        _ => ((99, "Skipped"), Some((2, "Failure"))),
    };
    let declared = view.targets();
    let (kind_id, kind) = if view.watch.is_some() { (2, "Scheduled") } else { (1, "Manual") };
    let name = view.watch.or(view.control).unwrap_or(Text::new("sweep"));
    let more = json!({
        "status_id": status.map(|(id, _)| id), "status": status.map(|(_, name)| name),
        "status_code": view.verdict, "status_detail": view.why,
        "scan": {"uid": view.sweep, "name": name, "type_id": kind_id, "type": kind},
        "schedule_uid": view.watch, "total": declared, "num_network_items": declared,
        "num_detections": view.findings, "num_skipped_items": view.ledger.map(|ledger| ledger.unknown),
        "duration": view.duration_ms, "count": view.skipped,
        "end_time": (view.event == Kind::SweepCompleted).then(|| epoch_ms(view.time)),
        "unmapped": {
            "ledger": view.ledger, "unknown_reasons": view.unknown_reasons, "authorization": view.authorization,
            "control": view.control, "tile": view.tile, "tiles": view.tiles, "until": view.until.map(epoch_ms),
            "vantage": view.vantage.map(|vantage| json!({"host": vantage.host, "engine": vantage.engine})),
        },
    });
    with(base(view, 6007, activity, view.severity()), &more)
}

fn observation(view: &View<'_>, origin: &Origin) -> Value {
    let activity = match (view.target_state().unwrap_or(State::Unknown), view.reason) {
        (State::Open, _) => (1, "Open"),
        (State::Closed, _) => (5, "Refuse"),
        (State::Filtered | State::Unreachable, _) => (4, "Fail"),
        (State::Conflict, _) => (99, "Conflict"),
        (State::Unknown, _) => (0, "Unknown"),
    };
    let more = json!({
        "src_endpoint": source(origin), "dst_endpoint": endpoint(view), "connection_info": connection(),
        "status_code": view.state, "status_detail": view.reason,
        "app_protocol_name": view.banner.map(|banner| banner.protocol),
        "observables": observables(view, "dst_endpoint"),
        "unmapped": {
            "verified": view.verified, "rtt_us": view.rtt_us, "service": view.service,
            "banner": view.banner.map(|banner| banner.text), "authorization": view.authorization,
        },
    });
    with(base(view, 4001, activity, Severity::Info), &more)
}

fn life(view: &View<'_>, origin: &Origin) -> Value {
    let activity = match view.event {
        Kind::WatchStarted => (3, "Start"),
        Kind::WatchStopped => (4, "Stop"),
        Kind::ConfigLoaded => (99, "Configuration loaded"),
        _ => (99, "Heartbeat"),
    };
    let books = view
        .books
        .iter()
        .map(|books| json!({"sink": books.sink, "pending": books.pending, "dead": books.dead}));
    let more = json!({
        "app": product(),
        "unmapped": {"host": origin.host, "firing": view.firing, "books": books.collect::<Vec<_>>()},
    });
    with(base(view, 6002, activity, Severity::Info), &more)
}

fn source(origin: &Origin) -> Value {
    json!({"ip": origin.source, "hostname": origin.host})
}

fn endpoint(view: &View<'_>) -> Value {
    json!({"ip": view.ip, "port": view.port, "hostname": view.names.first(), "svc_name": view.service})
}

/// Our probes are inbound at those who get them.
fn connection() -> Value {
    json!({"direction_id": 1, "direction": "Inbound", "protocol_name": "tcp", "protocol_num": 6})
}

/// What an analyst may search for, and where it stands.
fn observables(view: &View<'_>, place: &str) -> Value {
    let observable = |name: &str, type_id: u32, kind: &str, value: String| {
        let name = format!("{place}.{name}");
        json!({"name": name, "type_id": type_id, "type": kind, "value": value})
    };
    let ip = view.ip.map(|ip: IpAddr| observable("ip", 2, "IP Address", ip.to_string()));
    let port = view.port.map(|port| observable("port", 11, "Port", port.to_string()));
    let name = view.names.first().map(|name| observable("hostname", 1, "Hostname", name.to_string()));
    [ip, port, name].into_iter().flatten().collect()
}

fn severity_id(severity: Severity) -> u32 {
    match severity {
        Severity::Info => 1,
        Severity::Low => 2,
        Severity::Medium => 3,
        Severity::High => 4,
        Severity::Critical => 5,
    }
}

fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "Informational",
        Severity::Low => "Low",
        Severity::Medium => "Medium",
        Severity::High => "High",
        Severity::Critical => "Critical",
    }
}
