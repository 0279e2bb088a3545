//! Class 2004: a finding, from its creation to its end. Its `uid` is the fingerprint, the same in all of them.

use serde_json::{Value, json};

use super::super::view::{Change, View, epoch_ms};
use super::{Origin, base, connection, endpoint, observables, source, with};
use crate::policy::kind::FindingKind;

/// The fields of an event of this class.
pub(super) fn fields(view: &View<'_>, origin: &Origin) -> Value {
    let change = view.change();
    let activity = match change {
        Change::Created => (1, "Create"),
        Change::Updated => (2, "Update"),
        Change::Closed => (3, "Close"),
    };
    let (confidence_id, confidence) = confidence(view);
    let modified = (change != Change::Created).then(|| epoch_ms(view.time));
    let more = json!({
        "status_id": (change == Change::Created).then_some(1),
        "status_detail": view.resolution.or(view.annotation),
        "is_alert": view.is_security(),
        "confidence_id": confidence_id, "confidence": confidence,
        "finding_info": {
            "uid": view.fingerprint, "title": view.title(), "desc": view.sentence(), "types": [kind(view)],
            "first_seen_time": view.first_seen.map(epoch_ms), "last_seen_time": view.last_seen.map(epoch_ms),
            "created_time": view.fired_at.map(epoch_ms), "modified_time": modified,
            "analytic": {"type_id": 1, "type": "Rule", "uid": view.rule, "name": view.name()},
        },
        "resources": view.ip.map(|ip| json!([{
            "uid": ip, "ip": ip, "name": view.names.first(), "type": "host",
            "owner": view.owner.map(|owner| json!({"name": owner})),
        }])),
        "evidences": view.ip.map(|_| json!([{
            "src_endpoint": source(origin), "dst_endpoint": endpoint(view), "connection_info": connection(),
            "data": {
                "state": view.found_state(), "verification": view.verification, "rule": view.rule,
                "banner": view.banner.map(|banner| json!({"protocol": banner.protocol, "text": banner.text})),
            },
        }])),
        "observables": observables(view, "evidences[0].dst_endpoint"),
        "unmapped": unmapped(view),
    });
    with(base(view, 2004, activity, view.severity()), &more)
}

/// How sure it is that the finding is what it seems.
fn confidence(view: &View<'_>) -> (u32, &'static str) {
    match view.verification {
        Some(tried) if tried.has_failed() => (1, "Low"),
        _ if view.verified == Some(true) => (3, "High"),
        _ => (2, "Medium"),
    }
}

/// A health finding must be told from an exposure by whoever filters by types.
fn kind(view: &View<'_>) -> &'static str {
    match view.kind {
        Some(FindingKind::Outage) => "Availability",
        Some(FindingKind::Drill) => "Drill",
        Some(
            FindingKind::AllowanceExpired | FindingKind::AllowanceUnused | FindingKind::AllowanceExpiring,
        ) => "Allowlist",
        _ if view.is_security() => "Exposure",
        _ => "Monitoring",
    }
}

fn unmapped(view: &View<'_>) -> Value {
    json!({
        "class": view.class, "transition": view.transition, "alert_state": view.transition.and(view.state),
        "episode": view.episode, "expectation": view.expectation, "about": view.about, "muted": view.muted,
        "acknowledged_by": view.acknowledged.map(|taken| taken.who), "members": view.members,
        "sweep": view.sweep, "watch": view.watch, "authorization": view.authorization, "names": view.names,
        "allowance": view.allowance.map(|allowance| json!({
            "reason": allowance.reason, "owner": allowance.owner, "expires": allowance.expires,
        })),
    })
}
