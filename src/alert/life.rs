//! One alert: a finding, and what has become of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::policy::class::Class;
use crate::policy::finding::{Finding, milliseconds};

/// An alert as everybody may see it: in events, in messages, in listings.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Alert {
    /// What was found, at the last sight of it.
    #[serde(flatten)]
    pub finding: Finding,
    /// Who is to hear of it.
    pub class: Class,
    /// Where it is in its life.
    pub state: Phase,
    /// Since when.
    #[serde(serialize_with = "milliseconds")]
    pub since: Timestamp,
    /// The identifier of this firing, from its first notice to its last; a later firing of the same alert has another.
    pub episode: Ulid,
    /// When it began to fire, if it does or did.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "optional_milliseconds")]
    pub fired_at: Option<Timestamp>,
    /// Why it has been resolved, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// Whether it changes too often for each change to be told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flapping: bool,
    /// How often in a row it has failed, for what must be open.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// How many targets it is about, where it stands for several.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub members: u32,
    /// What a second look at an exposure has shown, some seconds after the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotation: Option<Annotation>,
    /// Who has taken it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledgement>,
    /// Why nobody is disturbed by it: a silence, or a maintenance window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted: Option<String>,
}

impl Alert {
    /// An alert that has just been seen for the first time, and not yet often enough.
    pub fn pending(finding: Finding, class: Class, episode: Ulid, now: Timestamp) -> Self {
        Alert {
            finding: Finding { first_seen: now, last_seen: now, ..finding },
            class,
            state: Phase::Pending,
            since: now,
            episode,
            fired_at: None,
            resolution: None,
            flapping: false,
            failures: 0,
            members: 0,
            annotation: None,
            acknowledged: None,
            muted: None,
        }
    }
}

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Seen, and not often enough.
    Pending,
    /// It holds, and somebody should do something.
    Firing,
    /// It no longer holds.
    Resolved,
}

impl Phase {
    /// The word for it, as in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Pending => "pending",
            Phase::Firing => "firing",
            Phase::Resolved => "resolved",
        }
    }
}

/// Why an alert has been resolved.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolution {
    /// A complete sweep has found that it no longer holds.
    Seen,
    /// It still is as it was, and the allowlist has come to allow it.
    Allowed,
    /// No sweep looks at it any longer, so that nobody will ever know.
    OutOfScope,
}

impl Resolution {
    /// What to say of it.
    pub fn in_words(self) -> &'static str {
        match self {
            Resolution::Seen => "a complete sweep has found it gone",
            Resolution::Allowed => "it is allowed now",
            Resolution::OutOfScope => "no sweep looks at it any longer",
        }
    }
}

/// What a second look has shown.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Annotation {
    /// It was still open, to another source port.
    Confirmed,
    /// It no longer answered.
    Transient,
    /// Its host accepts every port.
    AnswersAll,
}

impl Annotation {
    /// What to say of it.
    pub fn in_words(self) -> &'static str {
        match self {
            Annotation::Confirmed => "confirmed by a second look",
            Annotation::Transient => "did not answer a second look",
            Annotation::AnswersAll => "its host accepts every port",
        }
    }
}

/// Somebody has taken an alert on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Acknowledgement {
    /// Who.
    pub who: String,
    /// Why, or what is being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When.
    #[serde(serialize_with = "milliseconds")]
    pub at: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over like this")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn optional_milliseconds<S: serde::Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => milliseconds(time, serializer),
        None => serializer.serialize_none(),
    }
}
