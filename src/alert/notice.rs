//! What is said of an alert when it changes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::life::Alert;
use crate::policy::finding::milliseconds;

/// One word about one alert. Everything a sink needs in order to tell it, without secrets and without layout.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Notice {
    /// Its identifier, the same however often and by whichever sink it is told: receivers recognise duplicates by it.
    pub id: Ulid,
    /// When it was said.
    #[serde(serialize_with = "milliseconds")]
    pub time: Timestamp,
    /// What has happened.
    pub transition: Transition,
    /// The sweep that has shown it, where one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<SweepRef>,
    /// The alert as it is from now on.
    #[serde(flatten)]
    pub alert: Alert,
}

/// A sweep, by its identifier and by what it is called.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SweepRef {
    /// Its identifier.
    pub id: Ulid,
    /// The name of its `[[watch]]`.
    pub name: String,
}

/// What has happened to an alert.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transition {
    /// It has begun to fire.
    Firing,
    /// It is worse than it was.
    Escalated,
    /// A second look has shown more.
    Annotated,
    /// It goes on, and nobody has taken it on.
    Reminder,
    /// Somebody has taken it on.
    Acknowledged,
    /// Whoever had taken it on has given it back.
    Unacknowledged,
    /// It has begun to change too often for each change to be told.
    FlappingStarted,
    /// It has become steady again.
    FlappingEnded,
    /// It no longer holds.
    Resolved,
}

impl Transition {
    /// The word for it, as in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Transition::Firing => "firing",
            Transition::Escalated => "escalated",
            Transition::Annotated => "annotated",
            Transition::Reminder => "reminder",
            Transition::Acknowledged => "acknowledged",
            Transition::Unacknowledged => "unacknowledged",
            Transition::FlappingStarted => "flapping-started",
            Transition::FlappingEnded => "flapping-ended",
            Transition::Resolved => "resolved",
        }
    }
}
