//! What is known of a target beyond its answer to one packet: whether it finishes a handshake, what it does then, and
//! whether its host does the same on every port there is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::banner::Banner;
use crate::link::handshake::Reached;
use crate::target::Target;

pub use crate::link::handshake::Conduct;

/// Whether a target means what it answered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verification {
    /// It finished a whole handshake.
    Verified,
    /// It refused the handshake, twice.
    Refused,
    /// It left the handshake unanswered, twice.
    Silent,
    /// There was no way to it any more, twice.
    Unreachable,
    /// Nobody tried, or could: not asked for, too many targets, no time left, no way from here.
    #[default]
    Skipped,
}

impl Verification {
    /// The word for it, as in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Verification::Verified => "verified",
            Verification::Refused => "refused",
            Verification::Silent => "silent",
            Verification::Unreachable => "unreachable",
            Verification::Skipped => "skipped",
        }
    }

    /// Whether the handshake was tried, and failed.
    pub fn has_failed(self) -> bool {
        matches!(self, Verification::Refused | Verification::Silent | Verification::Unreachable)
    }
}

impl From<Reached> for Verification {
    fn from(reached: Reached) -> Self {
        match reached {
            Reached::Completed => Verification::Verified,
            Reached::Refused => Verification::Refused,
            Reached::Silent => Verification::Silent,
            Reached::Unreachable => Verification::Unreachable,
            // Our own failing says nothing of the target.
            Reached::Prevented => Verification::Skipped,
        }
    }
}

/// What is known of one target.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Confirmation {
    /// Whether it finishes a handshake.
    pub verification: Verification,
    /// What it did then, where somebody waited for it.
    pub conduct: Option<Conduct>,
    /// What it said, where that was asked for.
    pub banner: Option<Banner>,
}

/// A host that accepts every port, those too on which nobody can be expected.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AnswersAll {
    /// The canary ports, all of which it accepts.
    pub canary_ports: Vec<u16>,
    /// What it did on them.
    pub conduct: BTreeSet<Conduct>,
    /// Open ports whose conduct tells them from the canaries: somebody really listens there.
    pub real: BTreeSet<u16>,
    /// Open ports that were listened to. Of the others nothing is known but that they accept, as all do.
    pub heard: BTreeSet<u16>,
}

/// What ended the second look.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Nothing was left to do.
    #[default]
    Complete,
    /// Somebody stopped it.
    Stopped,
    /// It had lasted as long as it may.
    TimeUp,
    /// It broke.
    Failed,
    /// Nobody wanted one.
    Off,
}

/// How the second look went, over all.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LookReport {
    /// Targets that were to be confirmed.
    pub targets: u64,
    /// Targets among them that it did not come to, or that this host could not try.
    pub skipped: u64,
    /// What ended it.
    pub ended: Ending,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// What is known of all targets that were asked, and of their hosts.
#[derive(Clone, Debug, Default)]
pub struct Verifications {
    /// The targets.
    pub targets: BTreeMap<Target, Confirmation>,
    /// The hosts that accept everything.
    pub answers_all: BTreeMap<IpAddr, AnswersAll>,
    /// What is known of every other target. A hundred thousand that are alike take no room.
    pub otherwise: Verification,
}

impl Verifications {
    /// What is known of a target.
    pub fn of(&self, target: &Target) -> Confirmation {
        let otherwise = || Confirmation { verification: self.otherwise, ..Confirmation::default() };
        self.targets.get(target).cloned().unwrap_or_else(otherwise)
    }

    /// Whether a target finishes a handshake, as far as that is known.
    pub fn verification(&self, target: &Target) -> Verification {
        self.targets.get(target).map_or(self.otherwise, |known| known.verification)
    }

    /// The host of this target, if it accepts everything and nothing tells this target from the rest.
    pub fn folds(&self, target: &Target) -> Option<&AnswersAll> {
        self.answers_all.get(&target.ip).filter(|host| !host.real.contains(&target.port))
    }
}
