//! What an arriving frame means to a sweep.

use std::net::IpAddr;

/// An answer to a probe, as far as bytes can tell: whether it answers one of *our* probes is for the cookie to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The address that was probed (for ICMP: the quoted destination, not the router that speaks).
    pub ip: IpAddr,
    /// The port that was probed.
    pub port: u16,
    /// The address that the probe came from, if the answer is to be believed.
    pub source: IpAddr,
    /// The port that the probe came from, likewise.
    pub source_port: u16,
    /// What is said.
    pub answer: Answer,
    /// Hops that the answering packet had left; 0 where the link does not know.
    pub ttl: u8,
}

/// What a reply says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// SYN and ACK: somebody listens. RFC 9293, section 3.5.
    SynAck {
        /// Acknowledgment number: ours plus one, if it is an answer to us.
        ack: u32,
    },
    /// RST and ACK: nobody listens. RFC 9293, section 3.5.2, group 1.
    Rst {
        /// Acknowledgment number: ours plus one, if it is an answer to us.
        ack: u32,
    },
    /// An ICMP error that quotes the probe. RFC 792, RFC 1122 section 3.2.2, RFC 5927.
    Icmp {
        /// Sequence number of the quoted segment: ours, if it is an answer to us.
        sequence: u32,
        /// ICMP type.
        icmp_type: u8,
        /// ICMP code.
        code: u8,
        /// Who says so: a router, a firewall or the host itself.
        by: IpAddr,
    },
    /// The link itself knows that the probe cannot arrive, because nobody on the local network has the address.
    NoNeighbour {
        /// Sequence number of the probe that was to be sent.
        sequence: u32,
    },
}
