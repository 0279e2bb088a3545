//! What the commands answer that only look: as events, so that whoever reads one line of this program can read all.
//!
//! Nothing has happened when one of these is written. Their `time` is when it was asked, or, where a line is about
//! something that has its own time, that.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use ulid::Ulid;

use super::event::SCHEMA;
use crate::alert::silence::Matcher;
use crate::policy::finding::milliseconds;
use crate::sweep::ledger::Ledger;
use crate::sweep::report::{Packets, UnknownReason, Verdict};

/// One line of an answer.
#[derive(Clone, Debug, Serialize)]
pub struct Listing<T> {
    schema: &'static str,
    event: &'static str,
    #[serde(serialize_with = "milliseconds")]
    time: Timestamp,
    #[serde(flatten)]
    body: T,
}

impl<T: Serialize> Listing<T> {
    /// A line of this kind.
    pub fn new(event: &'static str, time: Timestamp, body: T) -> Self {
        Listing { schema: SCHEMA, event, time, body }
    }
}

/// `sink.books`: what was raised for a sink, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct SinkState<'a> {
    /// The name of the sink.
    pub sink: &'a str,
    /// Messages that were ever for it.
    pub raised: u64,
    /// Those that its receiver has.
    pub delivered: u64,
    /// Those that are on their way.
    pub pending: u64,
    /// Those that were given up.
    pub dead: u64,
    /// Since when the oldest has been waiting.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_milliseconds")]
    pub oldest_pending: Option<Timestamp>,
    /// When the next is tried.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_milliseconds")]
    pub next_attempt: Option<Timestamp>,
    /// Why the last attempt failed of what waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<&'a str>,
}

/// `letter.dead`: a message that was given up; `time` is when.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetter<'a> {
    /// The name of the sink that it was for.
    pub sink: &'a str,
    /// The identifier of the message: `id` of an `alert` event, for instance.
    pub message: Ulid,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was given up.
    pub why: &'a str,
    /// Whether it can be tried again.
    pub can_return: bool,
}

/// `letters.revived`: dead letters of a sink are tried again.
#[derive(Clone, Debug, Serialize)]
pub struct Revived<'a> {
    /// The name of the sink.
    pub sink: &'a str,
    /// How many.
    pub letters: u64,
}

/// `silence`: who is not to be disturbed.
#[derive(Clone, Debug, Serialize)]
pub struct SilenceState<'a> {
    /// Its number.
    pub id: i64,
    /// Which alerts are meant; nothing said means all.
    pub matcher: &'a Matcher,
    /// From when.
    #[serde(serialize_with = "milliseconds")]
    pub from: Timestamp,
    /// Until when.
    #[serde(serialize_with = "milliseconds")]
    pub until: Timestamp,
    /// Why.
    pub reason: &'a str,
    /// Who has said so.
    pub who: &'a str,
    /// Whether it holds now.
    pub holds: bool,
    /// Who ended it before its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<&'a str>,
    /// How many alerts that fire now are meant.
    pub firing: u64,
}

/// `sweep.kept`: a sweep as the database has it; `time` is when it ended.
#[derive(Clone, Debug, Serialize)]
pub struct SweepKept<'a> {
    /// Its identifier.
    pub sweep: Ulid,
    /// The name of its `[[watch]]`.
    pub watch: &'a str,
    /// When it began.
    #[serde(serialize_with = "milliseconds")]
    pub started: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What it is worth.
    pub verdict: Verdict,
    /// The engine that ran.
    pub engine: &'a str,
    /// How many findings it had.
    pub findings: u64,
    /// Counts of states.
    pub ledger: &'a Ledger,
    /// Why targets are unknown.
    pub unknown_reasons: &'a BTreeMap<UnknownReason, u64>,
    /// Counts of packets.
    pub packets: &'a Packets,
}

/// `store.checked`: whether a database is as it should be.
#[derive(Clone, Debug, Serialize)]
pub struct StoreChecked<'a> {
    /// The database.
    pub file: &'a str,
    /// The schema that it has.
    pub schema_version: i64,
    /// Whether nothing is wrong.
    pub sound: bool,
    /// All that is wrong, in words.
    pub problems: &'a [String],
}

/// `store.copied`: a database was copied.
#[derive(Clone, Debug, Serialize)]
pub struct StoreCopied<'a> {
    /// The database.
    pub file: &'a str,
    /// The copy.
    pub copy: &'a str,
    /// How large that is.
    pub bytes: u64,
}

fn optional_milliseconds<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => milliseconds(time, serializer),
        None => serializer.serialize_none(),
    }
}
