//! The packet link: AF_PACKET sockets (packet(7)), for Ethernet-like interfaces and next hops whose MAC is known.
//!
//! Probes leave through a mapped transmit ring, past the queueing discipline; replies arrive in a mapped receive ring,
//! behind a filter in the kernel that lets through answers to our source ports and nothing else. Both rings are
//! described in the kernel's Documentation/networking/packet_mmap.rst. Needs CAP_NET_RAW.

mod filter;
mod receive;
mod ring;
mod sys;
mod transmit;

use std::net::Ipv4Addr;

pub use receive::PacketReceive;
pub use transmit::PacketTransmit;

use super::LinkError;
use super::clock::Monotonic;
use super::fence::Fence;

/// Bytes of a receive ring unless somebody asks for another size: at 160 bytes a reply, 100,000 replies, which is some
/// 400 ms of the fastest sweeps that a packet socket can carry.
pub const RECEIVE_RING_BYTES: usize = 16 << 20;

/// What a packet link needs to know.
#[derive(Clone, Debug)]
pub struct PacketOptions {
    /// The interface's number.
    pub interface_index: u32,
    /// The interface's name.
    pub interface: String,
    /// Who is reached by which next hop.
    pub lanes: Vec<Lane>,
    /// Where probes may go.
    pub fence: Fence,
    /// The ports that probes come from: lowest and highest.
    pub source_ports: (u16, u16),
    /// Size of the receive ring.
    pub receive_ring_bytes: usize,
}

/// A range of addresses, both ends included, that is reached by one next hop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lane {
    /// The lowest address.
    pub first: Ipv4Addr,
    /// The highest address.
    pub last: Ipv4Addr,
    /// The address that probes there come from.
    pub source: Ipv4Addr,
    /// The MAC that they come from.
    pub source_mac: [u8; 6],
    /// The MAC of the router that takes them.
    pub next_hop_mac: [u8; 6],
}

/// Opens a packet link: as many sending halves as asked for, and one that receives.
///
/// # Errors
/// Without CAP_NET_RAW, without memory for the rings, or when the interface is gone.
pub fn open(
    options: &PacketOptions,
    senders: usize,
    clock: Monotonic,
) -> Result<(Vec<PacketTransmit>, PacketReceive), LinkError> {
    let receive = PacketReceive::open(options, clock)?;
    let transmit = (0..senders).map(|_| PacketTransmit::open(options)).collect::<Result<_, _>>()?;
    Ok((transmit, receive))
}
