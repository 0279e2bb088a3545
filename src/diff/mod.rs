//! Two surveys held against each other: what is open now, what no longer is, what answers otherwise.
//!
//! # What always holds
//! - A target is called closed only if the newer survey saw it. What it did not look at, or may not have looked at, is
//!   *not seen*, and never "closed".
//! - What the older survey did not see, and the newer one sees open, is opened: whoever watches over exposures wants to
//!   hear of it once too often rather than never. The change says that it was not seen before.
//! - The order is that of addresses, protocols and ports, whatever the order of the files.

mod compare;

use std::fmt;
use std::net::IpAddr;

use crate::survey::host::{Protocol, Sight};
use crate::survey::runs::PortRuns;
use crate::target::state::State;

pub use self::compare::compare;

/// What differs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Difference {
    /// Hosts that answer now, and did not before.
    pub new_hosts: Vec<HostChange>,
    /// Hosts that answered, and do not now.
    pub gone_hosts: Vec<HostChange>,
    /// Ports, by host.
    pub changes: Vec<Change>,
    /// Targets that the older survey lists, and that the newer one did not see, by host.
    pub not_seen: Vec<NotSeen>,
    /// Targets that the older survey vouches for without listing them, and that the newer one did not look at.
    pub not_seen_unlisted: u64,
    /// Targets that are listed, and are the same.
    pub same: u64,
}

/// A host that is new, or gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HostChange {
    /// The host.
    pub ip: IpAddr,
    /// Whether the older survey had looked at it.
    pub was_seen: bool,
}

/// What happened to a port.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// It is open now.
    Opened,
    /// It was open.
    Closed,
    /// It is not open, was not, and answers otherwise.
    Changed,
}

impl Kind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Opened => "opened",
            Kind::Closed => "closed",
            Kind::Changed => "changed",
        }
    }
}

/// Ports of a host to which the same has happened. What was opened or closed stands alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// What happened.
    pub kind: Kind,
    /// The host.
    pub ip: IpAddr,
    /// What the ports speak.
    pub protocol: Protocol,
    /// The ports.
    pub ports: PortRuns,
    /// What they were.
    pub before: Seen,
    /// What they are.
    pub after: Seen,
}

/// Ports of a host that the newer survey did not see.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NotSeen {
    /// The host.
    pub ip: IpAddr,
    /// What the ports speak.
    pub protocol: Protocol,
    /// The ports.
    pub ports: PortRuns,
    /// What they were.
    pub before: Sight,
}

/// What a survey knows of a target.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Seen {
    /// It is listed.
    Listed(Sight),
    /// It was looked at and is not listed, so that it is not open: in one of these states.
    NotOpen(Rest),
    /// Nothing says that it was looked at.
    NotSeen,
}

/// The states that targets may have that were looked at and are not listed.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Rest {
    /// It may be closed.
    pub closed: bool,
    /// It may be filtered.
    pub filtered: bool,
    /// It may be unreachable.
    pub unreachable: bool,
}

impl From<&[State]> for Rest {
    fn from(states: &[State]) -> Self {
        let has = |state| states.contains(&state);
        Rest {
            closed: has(State::Closed),
            filtered: has(State::Filtered),
            unreachable: has(State::Unreachable),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Listed(sight) => sight.fmt(f),
            Seen::NotOpen(_) => f.write_str("not open"),
            Seen::NotSeen => f.write_str("not seen"),
        }
    }
}

impl Difference {
    /// How many changes of a kind.
    pub fn count(&self, kind: Kind) -> u64 {
        let those = self.changes.iter().filter(|change| change.kind == kind);
        those.map(|change| change.ports.len()).sum()
    }

    /// How many targets the newer survey did not see.
    pub fn count_not_seen(&self) -> u64 {
        self.not_seen.iter().map(|group| group.ports.len()).sum::<u64>() + self.not_seen_unlisted
    }

    /// Whether nothing differs, as far as was seen.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.new_hosts.is_empty() && self.gone_hosts.is_empty()
    }
}
