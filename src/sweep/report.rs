//! What a sweep found out: an observation for each target worth one, and a report on the whole.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::ledger::Ledger;
use crate::link::guard::Trouble;
use crate::target::Target;
use crate::target::scope::Shard;
use crate::target::state::{Reason, State};

/// What one target said.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Observation {
    /// The target.
    #[serde(flatten)]
    pub target: Target,
    /// What is said of it.
    pub state: State,
    /// What that rests on; `None` for an unknown state.
    pub reason: Option<Reason>,
    /// Why the state is unknown: the sweep's reason, not the target's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<UnknownReason>,
    /// Probes sent to it.
    pub tries: u8,
    /// From the probe's leaving to the answer's arrival, in microseconds, where it could be measured.
    pub rtt_us: Option<u32>,
    /// Hops that the answering packet had left, where the link knows.
    pub ttl: Option<u8>,
    /// Whether something else has been said of the target before, which this sets right.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub corrects: bool,
}

/// A whole sweep.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    /// The sweep's identifier.
    pub sweep: Ulid,
    /// Which part of the scope, if it was split.
    pub shard: Option<Shard>,
    /// Where from.
    pub vantage: Vantage,
    /// When it began, wall clock.
    pub started: Timestamp,
    /// When it ended, wall clock.
    pub completed: Timestamp,
    /// How long it took, monotonic clock, in milliseconds.
    pub duration_ms: u64,
    /// What it is worth.
    pub verdict: Verdict,
    /// Counts of states.
    pub ledger: Ledger,
    /// Why targets are unknown, and how many for each reason; sums to `ledger.unknown`.
    pub unknown_reasons: BTreeMap<UnknownReason, u64>,
    /// Counts of packets.
    pub packets: Packets,
    /// The paths that probes took, and how far each could be trusted.
    pub paths: Vec<PathReport>,
}

impl Report {
    /// Something that was to be swept was not, for a reason that the ledger does not know of.
    pub fn degrade(&mut self) {
        if self.verdict == Verdict::Complete {
            self.verdict = Verdict::Degraded;
        }
    }
}

/// One path of a sweep: an interface, a source address, and a next hop if there is one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PathReport {
    /// The interface.
    pub interface: String,
    /// The address that probes came from.
    pub source: IpAddr,
    /// The router that they were handed to; absent where targets are on the network of the interface, or this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<IpAddr>,
    /// Whether any answer came by this path.
    pub heard: bool,
    /// Questions to canaries, and how many of them were lost.
    pub canaries: CanaryCount,
    /// The times that the path was in trouble.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub outages: Vec<OutageReport>,
}

/// Questions to targets that had answered before, to see whether a path still carries.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct CanaryCount {
    /// Asked.
    pub asked: u64,
    /// Not answered.
    pub lost: u64,
}

/// A time that a path was in trouble, in milliseconds since the sweep began.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OutageReport {
    /// What was wrong.
    pub reason: UnknownReason,
    /// The last moment that was vouched for.
    pub from_ms: u64,
    /// When the path was whole again; null if it never was.
    pub until_ms: Option<u64>,
}

/// Where a sweep looks from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Vantage {
    /// Name of this host.
    pub host: String,
    /// The engine that ran: packet, xdp, connect, sim.
    pub engine: String,
    /// Why this engine and no other.
    pub engine_reason: String,
    /// The interface that probes left by, where the engine chooses one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The address that probes came from, where the engine chooses one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The router that probes were handed to, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<IpAddr>,
}

/// What a sweep is worth.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every target has its state.
    Complete,
    /// Some targets are unknown, or something else that was asked for is missing.
    Degraded,
    /// The vantage itself saw nothing: not one target is known.
    Blind,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Verdict::Complete => "complete",
            Verdict::Degraded => "degraded",
            Verdict::Blind => "blind",
        })
    }
}

/// Why a target's state is unknown: always our own failing.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownReason {
    /// The sweep was stopped before it was done.
    Interrupted,
    /// The receiver lost frames while the answer was due, on every try.
    ReceiverDropped,
    /// The network device took no more probes.
    SendRefused,
    /// The link broke.
    LinkFailed,
    /// The interface was down, without carrier or gone.
    LinkDown,
    /// The address that probes come from was taken away from this host.
    SourceGone,
    /// The next hop did not answer when it was asked whether it is there.
    NextHopSilent,
    /// The next hop got another hardware address, and what was sent to the old one is lost.
    NextHopMoved,
    /// Targets that had answered before fell silent together: the path beyond the next hop carries nothing.
    CanariesSilent,
    /// Targets that had answered before gave other answers together: a device on the way has begun to answer for them,
    /// as a firewall does that blocks this host.
    CanariesChanged,
    /// So much is lost on the path that silence proves nothing.
    PathLossy,
    /// Not one target answered by this path in the whole sweep, so that nothing shows that it carries answers. Errors
    /// of routers are none.
    NothingHeard,
    /// The most probes that one target may get were sent, and for too few of them an answer would have been heard.
    TriesSpent,
}

impl UnknownReason {
    /// Every reason.
    pub const ALL: [UnknownReason; 13] = [
        UnknownReason::Interrupted,
        UnknownReason::ReceiverDropped,
        UnknownReason::SendRefused,
        UnknownReason::LinkFailed,
        UnknownReason::LinkDown,
        UnknownReason::SourceGone,
        UnknownReason::NextHopSilent,
        UnknownReason::NextHopMoved,
        UnknownReason::CanariesSilent,
        UnknownReason::CanariesChanged,
        UnknownReason::PathLossy,
        UnknownReason::NothingHeard,
        UnknownReason::TriesSpent,
    ];

    /// The word for it, as in events.
    pub fn as_str(self) -> &'static str {
        match self {
            UnknownReason::Interrupted => "interrupted",
            UnknownReason::ReceiverDropped => "receiver-dropped",
            UnknownReason::SendRefused => "send-refused",
            UnknownReason::LinkFailed => "link-failed",
            UnknownReason::LinkDown => "link-down",
            UnknownReason::SourceGone => "source-gone",
            UnknownReason::NextHopSilent => "next-hop-silent",
            UnknownReason::NextHopMoved => "next-hop-moved",
            UnknownReason::CanariesSilent => "canaries-silent",
            UnknownReason::CanariesChanged => "canaries-changed",
            UnknownReason::PathLossy => "path-lossy",
            UnknownReason::NothingHeard => "nothing-heard",
            UnknownReason::TriesSpent => "tries-spent",
        }
    }
}

impl From<Trouble> for UnknownReason {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::LinkDown => UnknownReason::LinkDown,
            Trouble::SourceGone => UnknownReason::SourceGone,
            Trouble::NextHopSilent => UnknownReason::NextHopSilent,
            Trouble::NextHopMoved => UnknownReason::NextHopMoved,
        }
    }
}

impl std::fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Counts of packets.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Packets {
    /// Probes that the network took.
    pub sent: u64,
    /// Questions to canaries, which are not among the probes.
    #[serde(default)]
    pub canaries: u64,
    /// Answers that carry a valid cookie, repeated ones included.
    pub received: u64,
    /// Frames that passed the kernel's filter but answer no probe of ours.
    pub foreign: u64,
    /// Frames that the kernel dropped before we saw them.
    pub dropped: u64,
    /// Times that the network device refused a probe; each was tried again.
    pub refused: u64,
}
