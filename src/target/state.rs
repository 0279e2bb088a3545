//! States of a target, and the reasons that they rest on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a sweep says of a target.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A handshake began: somebody listens.
    Open,
    /// Refused, by the host or by a device in front of it.
    Closed,
    /// Every valid try was met with silence that we would have heard, or a device forbade the probe.
    Filtered,
    /// The network says that the host is not there.
    Unreachable,
    /// Valid answers that contradict each other.
    Conflict,
    /// We do not know, and it is our own failing, never the target's.
    Unknown,
}

impl State {
    /// Every state, in the order in which ledgers list them.
    pub const ALL: [State; 6] =
        [State::Open, State::Closed, State::Filtered, State::Unreachable, State::Conflict, State::Unknown];

    /// The word for it, as in events.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Closed => "closed",
            State::Filtered => "filtered",
            State::Unreachable => "unreachable",
            State::Conflict => "conflict",
            State::Unknown => "unknown",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The packet or event that a state rests on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Reason {
    /// Nothing was heard.
    NoResponse = 0,
    /// A SYN-ACK for our SYN.
    SynAck = 1,
    /// A reset for our SYN.
    Rst = 2,
    /// A SYN-ACK for one try and a reset for another.
    Contradiction = 3,
    /// ICMP: communication administratively prohibited (RFC 1812, code 13), or ICMPv6 code 1, 5, 6.
    IcmpAdminProhibited = 4,
    /// ICMP: network administratively prohibited (RFC 1122, code 9).
    IcmpNetProhibited = 5,
    /// ICMP: host administratively prohibited (RFC 1122, code 10).
    IcmpHostProhibited = 6,
    /// ICMP: port unreachable, as firewalls that reject send it (RFC 792, code 3).
    IcmpPortUnreachable = 7,
    /// ICMP: network unreachable (RFC 792, code 0), or ICMPv6 code 0.
    IcmpNetUnreachable = 8,
    /// ICMP: host unreachable (RFC 792, code 1), or ICMPv6 code 3.
    IcmpHostUnreachable = 9,
    /// ICMP: protocol unreachable (RFC 792, code 2).
    IcmpProtoUnreachable = 10,
    /// ICMP: any other code of "destination unreachable".
    IcmpUnreachable = 11,
    /// ICMP: the probe went round in circles until its time was up (RFC 792, type 11).
    IcmpTimeExceeded = 12,
    /// Nobody on the local network has the address.
    NoNeighbour = 13,
}

impl Reason {
    /// The state that this reason alone leads to.
    pub fn state(self) -> State {
        match self {
            Reason::SynAck => State::Open,
            Reason::Rst => State::Closed,
            Reason::Contradiction => State::Conflict,
            Reason::NoResponse
            | Reason::IcmpAdminProhibited
            | Reason::IcmpNetProhibited
            | Reason::IcmpHostProhibited
            | Reason::IcmpPortUnreachable => State::Filtered,
            Reason::IcmpNetUnreachable
            | Reason::IcmpHostUnreachable
            | Reason::IcmpProtoUnreachable
            | Reason::IcmpUnreachable
            | Reason::IcmpTimeExceeded
            | Reason::NoNeighbour => State::Unreachable,
        }
    }

    /// Whether the reason is a hint and no proof, as a router gives that has lost its way for a moment: RFC 1122,
    /// section 3.2.2.1, for hosts, and RFC 4443, section 3.1. Such a target is tried as often as a silent one.
    pub fn is_hint(self) -> bool {
        matches!(self, Reason::IcmpNetUnreachable | Reason::IcmpHostUnreachable | Reason::IcmpTimeExceeded)
    }

    /// What is known once `next` has been heard after `self`: open beats closed beats the rest, and open together with
    /// closed is a contradiction, for the same port cannot have been both.
    pub fn merge(self, next: Reason) -> Reason {
        use Reason::{Contradiction, NoResponse, Rst, SynAck};
        match (self, next) {
            (NoResponse, next) => next,
            (SynAck, Rst) | (Rst, SynAck) | (Contradiction, _) | (_, Contradiction) => Contradiction,
            (SynAck | Rst, _) => self,
            (_, SynAck | Rst) => next,
            _ => self,
        }
    }

    /// The reason for an ICMPv4 message of this type and code, or `None` where it settles nothing.
    pub fn of_icmpv4(icmp_type: u8, code: u8) -> Option<Reason> {
        match (icmp_type, code) {
            (3, 0) => Some(Reason::IcmpNetUnreachable),
            (3, 1) => Some(Reason::IcmpHostUnreachable),
            (3, 2) => Some(Reason::IcmpProtoUnreachable),
            (3, 3) => Some(Reason::IcmpPortUnreachable),
            // "Fragmentation needed" cannot be the fate of a 60-byte SYN.
            (3, 4) => None,
            (3, 9) => Some(Reason::IcmpNetProhibited),
            (3, 10) => Some(Reason::IcmpHostProhibited),
            (3, 13) => Some(Reason::IcmpAdminProhibited),
            (3, 5..=15) => Some(Reason::IcmpUnreachable),
            (11, 0) => Some(Reason::IcmpTimeExceeded),
            _ => None,
        }
    }

    /// The reason for an ICMPv6 message of this type and code (RFC 4443, sections 3.1 and 3.3), or `None` where it
    /// settles nothing.
    pub fn of_icmpv6(icmp_type: u8, code: u8) -> Option<Reason> {
        match (icmp_type, code) {
            (1, 0) => Some(Reason::IcmpNetUnreachable),
            (1, 1 | 5 | 6) => Some(Reason::IcmpAdminProhibited),
            (1, 3) => Some(Reason::IcmpHostUnreachable),
            (1, 4) => Some(Reason::IcmpPortUnreachable),
            (1, _) => Some(Reason::IcmpUnreachable),
            (3, 0) => Some(Reason::IcmpTimeExceeded),
            _ => None,
        }
    }

    /// The word for it, as in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NoResponse => "no-response",
            Reason::SynAck => "syn-ack",
            Reason::Rst => "rst",
            Reason::Contradiction => "contradiction",
            Reason::IcmpAdminProhibited => "icmp-admin-prohibited",
            Reason::IcmpNetProhibited => "icmp-net-prohibited",
            Reason::IcmpHostProhibited => "icmp-host-prohibited",
            Reason::IcmpPortUnreachable => "icmp-port-unreachable",
            Reason::IcmpNetUnreachable => "icmp-net-unreachable",
            Reason::IcmpHostUnreachable => "icmp-host-unreachable",
            Reason::IcmpProtoUnreachable => "icmp-proto-unreachable",
            Reason::IcmpUnreachable => "icmp-unreachable",
            Reason::IcmpTimeExceeded => "icmp-time-exceeded",
            Reason::NoNeighbour => "no-neighbour",
        }
    }

    /// The reason with this number, if there is one.
    pub(crate) fn from_code(code: u8) -> Option<Reason> {
        ALL_REASONS.get(usize::from(code)).copied()
    }
}

/// Every reason, in the order of its number.
const ALL_REASONS: [Reason; 14] = [
    Reason::NoResponse,
    Reason::SynAck,
    Reason::Rst,
    Reason::Contradiction,
    Reason::IcmpAdminProhibited,
    Reason::IcmpNetProhibited,
    Reason::IcmpHostProhibited,
    Reason::IcmpPortUnreachable,
    Reason::IcmpNetUnreachable,
    Reason::IcmpHostUnreachable,
    Reason::IcmpProtoUnreachable,
    Reason::IcmpUnreachable,
    Reason::IcmpTimeExceeded,
    Reason::NoNeighbour,
];

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_agree() {
        for (number, reason) in ALL_REASONS.iter().enumerate() {
            assert_eq!(*reason as usize, number);
            assert_eq!(Reason::from_code(number as u8), Some(*reason));
            assert_eq!(serde_json::to_value(reason).expect("json"), reason.as_str());
        }
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).expect("json"), state.as_str());
        }
    }

    #[test]
    fn merging_does_not_depend_on_the_order_of_arrival() {
        for a in ALL_REASONS {
            assert_eq!(a.merge(a), a);
            for b in ALL_REASONS {
                for c in ALL_REASONS {
                    let once = a.merge(b).merge(c).state();
                    if once == State::Open || once == State::Closed || once == State::Conflict {
                        assert_eq!(once, c.merge(b).merge(a).state(), "{a} {b} {c}");
                    }
                }
            }
        }
    }
}
