//! The manifest: what a bundle says, in one file, which is signed. Everything else in the bundle hangs on the digests
//! in it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::journal::{Performer, TileDone};
use super::plan::{Plan, RunReference};
use crate::policy::allowlist::Expiry;
use crate::policy::finding::{Finding, milliseconds};
use crate::policy::fingerprint::Fingerprint;
use crate::sweep::ledger::Ledger;
use crate::sweep::report::{CanaryCount, Packets, UnknownReason, Vantage};
use crate::target::address::AddressRange;
use crate::target::ports::PortSet;

/// All that a bundle says.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Manifest {
    /// The version, [`super::plan::SCHEMA`].
    pub schema: String,
    /// What was decided before the first probe.
    pub plan: Plan,
    /// What it all comes to.
    pub conclusion: Conclusion,
    /// When it was done, by whom.
    pub time: Times,
    /// Where it was looked from, each place once.
    pub vantages: Vec<Vantage>,
    /// Whether all of it was looked at.
    pub completeness: Completeness,
    /// What policy objects to, the worst first.
    pub findings: Vec<Finding>,
    /// What may be open, and who has said so.
    pub exceptions: Vec<Exception>,
    /// What has changed since the run before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// What has become of the findings of the run that this one is to show closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescan: Option<Comparison>,
    /// Ports that are open somewhere and that the interval's sweeps do not look at.
    pub unwatched_ports: Vec<UnwatchedPort>,
    /// By what all this can be checked.
    pub integrity: Integrity,
}

/// What a run comes to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything was looked at, and nothing is open that may not be.
    Pass,
    /// Something is open that may not be, or an exception has run out.
    Fail,
    /// Not everything is known, and nothing that is known speaks against it.
    Inconclusive,
}

impl Verdict {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

/// The verdict, and what it rests on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Conclusion {
    /// What the run comes to.
    pub verdict: Verdict,
    /// What was asked of it, one by one.
    pub assessments: Vec<Assessment>,
}

/// One thing that is asked of a run.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Assessment {
    /// Its name, in one word.
    pub name: String,
    /// Whether it is so.
    pub met: bool,
    /// What was found, in one sentence.
    pub statement: String,
}

/// When a run was performed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Times {
    /// When it began.
    #[serde(serialize_with = "milliseconds")]
    pub started: Timestamp,
    /// When it was concluded, with the last tile done.
    #[serde(serialize_with = "milliseconds")]
    pub completed: Timestamp,
    /// How long it was at work in between, in milliseconds.
    pub active_ms: u64,
    /// Who has performed it, and what the clock was then: at the beginning, and at each resumption.
    pub performers: Vec<Performer>,
    /// The times that it did not send in between.
    pub pauses: Vec<Pause>,
    /// What the clock was at the end.
    pub clock_at_end: super::journal::ClockState,
}

/// A time that a run did not send.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Pause {
    /// Since when.
    #[serde(serialize_with = "milliseconds")]
    pub from: Timestamp,
    /// Until when.
    #[serde(serialize_with = "milliseconds")]
    pub until: Timestamp,
    /// Why.
    pub why: String,
}

/// Whether everything was looked at.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Completeness {
    /// Counts of states over all tiles.
    pub ledger: Ledger,
    /// Why targets are unknown. Which ones they are stands in the observations.
    pub unknown_reasons: BTreeMap<UnknownReason, u64>,
    /// The books of each tile.
    pub tiles: Vec<TileDone>,
    /// Packets of all attempts together.
    pub packets: Packets,
    /// Questions to canaries, and how many of them were lost.
    pub canaries: CanaryCount,
    /// Hosts on which nothing is open, so that nobody takes them for hosts that were forgotten.
    pub hosts_without_open_ports: u64,
}

/// What may be open, and who has said so.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Exception {
    /// What the operator calls it, where it has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The hosts.
    pub hosts: Vec<AddressRange>,
    /// The ports.
    pub ports: PortSet,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// Who has approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approver: Option<String>,
    /// What makes up for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensating: Option<String>,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Expiry>,
    /// Whether it had run out when the run was concluded.
    pub expired: bool,
    /// Open targets that it names.
    pub used_by: u64,
}

/// What has changed since an earlier run, by fingerprint.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Comparison {
    /// The earlier run.
    pub with: RunReference,
    /// Found now, and not then.
    pub new: Vec<Change>,
    /// Found then, looked at now, and not open.
    pub fixed: Vec<Change>,
    /// Found then, and still open: an exception names it now, or its host accepts every port.
    pub excepted: Vec<Change>,
    /// Found both times.
    pub persisting: Vec<Change>,
    /// Found then, and not looked at now, or not seen: nobody knows.
    pub not_seen: Vec<Change>,
}

/// One finding in a comparison.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Change {
    /// The finding.
    pub fingerprint: Fingerprint,
    /// Its address, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Its port, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What it says.
    pub message: String,
}

/// A port that is open somewhere, and not looked at at every interval.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UnwatchedPort {
    /// The port.
    pub port: u16,
    /// The service that usually listens there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// On how many hosts it is open.
    pub hosts: u64,
}

/// By what a bundle can be checked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Integrity {
    /// The other files of the bundle, sorted by name.
    pub files: Vec<FileDigest>,
    /// The root of the Merkle tree over the lines of the observations (RFC 6962, section 2.1).
    pub merkle_root: Digest,
    /// How many lines they have.
    pub lines: u64,
    /// The digest of the journal's last line.
    pub journal_head: Digest,
    /// The key that probes were made with, in hexadecimal digits.
    pub key: String,
    /// The fingerprint of the key that the manifest is signed with, as `ssh-keygen -l` shows it; nothing for a bundle
    /// that is not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
}

/// One file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FileDigest {
    /// Its name in the bundle.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}
