//! What is kept of an alert from one sweep to the next: the alert itself, and what nobody outside needs to see.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::life::Alert;
use crate::target::ports::Severity;

/// An alert as the store has it, one for each fingerprint.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// What everybody may see.
    pub alert: Alert,
    /// What has been counted.
    #[serde(default)]
    pub tally: Tally,
    /// Whether people have been told that it fires, and not yet that it no longer does.
    #[serde(default)]
    pub told: Told,
    /// When they are to be told again, if nothing happens until then.
    #[serde(default)]
    pub remind_at: Option<Timestamp>,
    /// The sinks of people that have heard that it fires, and not yet that it no longer does. Routes may lead elsewhere
    /// by then, because the alert or the configuration has become another.
    #[serde(default)]
    pub heard: BTreeSet<String>,
    /// The worst that it has been since it began to fire.
    #[serde(default)]
    pub worst: Option<Severity>,
}

impl Record {
    /// An alert of which nobody knows yet.
    pub fn new(alert: Alert) -> Self {
        let (tally, told) = (Tally::default(), Told::No);
        Record { alert, tally, told, remind_at: None, heard: BTreeSet::new(), worst: None }
    }
}

/// What has been counted of a target that must be open.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tally {
    /// Successes in a row.
    pub recoveries: u32,
    /// The last judgements, the newest in the lowest bit; 1 is a failure.
    pub history: u32,
    /// How many of them there are.
    pub judged: u8,
}

/// Whether people have been told that an alert fires.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Told {
    /// They have not: it does not fire, or they were not to be disturbed.
    #[default]
    No,
    /// They have, by a message of its own.
    Each,
    /// They have, by the one message about a storm; sinks that want to be told of each have been told by their own.
    Storm,
}
