//! The words of scanners for what a port did, and what they come to in this program's own.

use std::fmt;
use std::str::FromStr;

use crate::target::state::{Reason, State};

/// What a scanner says of a port: this program's states, and those of nmap that leave it open whether a port is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PortState {
    /// Somebody listens.
    Open,
    /// Refused.
    Closed,
    /// Silence, or a device forbids it.
    Filtered,
    /// It can be reached; whether it is open is not known.
    Unfiltered,
    /// Open, or filtered.
    OpenFiltered,
    /// Closed, or filtered.
    ClosedFiltered,
    /// The network says that the host is not there.
    Unreachable,
    /// Answers that contradict each other.
    Conflict,
    /// The scanner does not know.
    Unknown,
}

/// Whether a state says that a port is open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Openness {
    /// It has accepted a handshake.
    Open,
    /// It has not.
    NotOpen,
    /// That is not said.
    Unsaid,
}

impl PortState {
    /// Every one of them.
    pub const ALL: [PortState; 9] = [
        PortState::Open,
        PortState::Closed,
        PortState::Filtered,
        PortState::Unfiltered,
        PortState::OpenFiltered,
        PortState::ClosedFiltered,
        PortState::Unreachable,
        PortState::Conflict,
        PortState::Unknown,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            PortState::Open => "open",
            PortState::Closed => "closed",
            PortState::Filtered => "filtered",
            PortState::Unfiltered => "unfiltered",
            PortState::OpenFiltered => "open|filtered",
            PortState::ClosedFiltered => "closed|filtered",
            PortState::Unreachable => "unreachable",
            PortState::Conflict => "conflict",
            PortState::Unknown => "unknown",
        }
    }

    /// The same in this program's words, where it has more of them than others have: for nmap a port of which a router
    /// says that its host is unreachable is filtered.
    #[must_use]
    pub fn by_reason(self, reason: Option<Reason>) -> PortState {
        match (self, reason) {
            (PortState::Filtered, Some(reason)) if reason.state() == State::Unreachable => {
                PortState::Unreachable
            }
            (PortState::Open, Some(Reason::Contradiction)) => PortState::Conflict,
            _ => self,
        }
    }

    /// Whether it says that the port is open.
    pub fn openness(self) -> Openness {
        match self {
            PortState::Open | PortState::Conflict => Openness::Open,
            PortState::Closed | PortState::Filtered | PortState::ClosedFiltered | PortState::Unreachable => {
                Openness::NotOpen
            }
            PortState::Unfiltered | PortState::OpenFiltered | PortState::Unknown => Openness::Unsaid,
        }
    }

    /// The state of this program, if it is one.
    pub fn state(self) -> Option<State> {
        match self {
            PortState::Open => Some(State::Open),
            PortState::Closed => Some(State::Closed),
            PortState::Filtered => Some(State::Filtered),
            PortState::Unreachable => Some(State::Unreachable),
            PortState::Conflict => Some(State::Conflict),
            PortState::Unknown => Some(State::Unknown),
            PortState::Unfiltered | PortState::OpenFiltered | PortState::ClosedFiltered => None,
        }
    }
}

impl From<State> for PortState {
    fn from(state: State) -> Self {
        match state {
            State::Open => PortState::Open,
            State::Closed => PortState::Closed,
            State::Filtered => PortState::Filtered,
            State::Unreachable => PortState::Unreachable,
            State::Conflict => PortState::Conflict,
            State::Unknown => PortState::Unknown,
        }
    }
}

impl fmt::Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for PortState {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        PortState::ALL.into_iter().find(|state| state.as_str() == word).ok_or(())
    }
}

/// This program's reason for the word of any scanner, if it has one.
pub fn reason(word: &str) -> Option<Reason> {
    Some(match word {
        "syn-ack" | "synack" => Reason::SynAck,
        "rst" | "reset" | "rst-ack" | "conn-refused" => Reason::Rst,
        "contradiction" => Reason::Contradiction,
        "no-response" => Reason::NoResponse,
        "admin-prohibited" | "icmp-admin-prohibited" => Reason::IcmpAdminProhibited,
        "net-prohibited" | "icmp-net-prohibited" => Reason::IcmpNetProhibited,
        "host-prohibited" | "icmp-host-prohibited" => Reason::IcmpHostProhibited,
        "port-unreach" | "icmp-port-unreachable" => Reason::IcmpPortUnreachable,
        "net-unreach" | "icmp-net-unreachable" => Reason::IcmpNetUnreachable,
        "host-unreach" | "icmp-host-unreachable" => Reason::IcmpHostUnreachable,
        "proto-unreach" | "icmp-proto-unreachable" => Reason::IcmpProtoUnreachable,
        "dest-unreach" | "icmp-unreachable" => Reason::IcmpUnreachable,
        "time-exceeded" | "icmp-time-exceeded" => Reason::IcmpTimeExceeded,
        "no-neighbour" => Reason::NoNeighbour,
        _ => return None,
    })
}

/// nmap's word for a reason; where it has none, ours.
pub fn in_nmap(word: &str) -> &str {
    match reason(word) {
        Some(Reason::Rst) if word != "conn-refused" => "reset",
        Some(Reason::IcmpAdminProhibited) => "admin-prohibited",
        Some(Reason::IcmpNetProhibited) => "net-prohibited",
        Some(Reason::IcmpHostProhibited) => "host-prohibited",
        Some(Reason::IcmpPortUnreachable) => "port-unreach",
        Some(Reason::IcmpNetUnreachable) => "net-unreach",
        Some(Reason::IcmpHostUnreachable) => "host-unreach",
        Some(Reason::IcmpProtoUnreachable) => "proto-unreach",
        Some(Reason::IcmpUnreachable) => "dest-unreach",
        Some(Reason::IcmpTimeExceeded) => "time-exceeded",
        Some(Reason::SynAck) => "syn-ack",
        _ => word,
    }
}

/// What reasons have in common that are one thing to whoever compares two runs: a change among them is none.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Class {
    /// Accepted.
    Accepted,
    /// Reset.
    Reset,
    /// Accepted and reset.
    Contradiction,
    /// Silence.
    Silence,
    /// A device says no.
    Forbidden,
    /// A router says that there is no way.
    Unreachable,
    /// Nobody on the local network has the address.
    NoNeighbour,
}

impl From<Reason> for Class {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::SynAck => Class::Accepted,
            Reason::Rst => Class::Reset,
            Reason::Contradiction => Class::Contradiction,
            Reason::NoResponse => Class::Silence,
            Reason::IcmpAdminProhibited
            | Reason::IcmpNetProhibited
            | Reason::IcmpHostProhibited
            | Reason::IcmpPortUnreachable => Class::Forbidden,
            Reason::IcmpNetUnreachable
            | Reason::IcmpHostUnreachable
            | Reason::IcmpProtoUnreachable
            | Reason::IcmpUnreachable
            | Reason::IcmpTimeExceeded => Class::Unreachable,
            Reason::NoNeighbour => Class::NoNeighbour,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_ours_is_known_and_comes_back_from_nmap() {
        for code in 0..14 {
            let Some(ours) = Reason::from_code(code) else { panic!("{code} is no reason") };
            assert_eq!(reason(ours.as_str()), Some(ours));
            assert_eq!(reason(in_nmap(ours.as_str())), Some(ours), "{ours}");
        }
        assert_eq!(in_nmap("conn-refused"), "conn-refused", "nmap's own words stay what they are");
        assert_eq!(reason("user-set"), None);
        assert_eq!(in_nmap("user-set"), "user-set");
    }

    #[test]
    fn states_are_spelt_as_they_are_read() {
        for state in PortState::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        assert_eq!("ajar".parse::<PortState>(), Err(()));
        let unreachable = PortState::Filtered.by_reason(reason("host-unreach"));
        assert_eq!(unreachable, PortState::Unreachable);
        assert_eq!(PortState::Filtered.by_reason(reason("admin-prohibited")), PortState::Filtered);
        assert_eq!(PortState::Filtered.by_reason(None), PortState::Filtered);
        assert_eq!(PortState::Open.by_reason(reason("contradiction")), PortState::Conflict);
    }
}
