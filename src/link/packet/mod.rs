//! The packet link: AF_PACKET sockets (packet(7)), for Ethernet-like interfaces and neighbours whose MAC is known.
//!
//! Probes leave through a mapped transmit ring, past the queueing discipline, one for each interface and sender.
//! Replies arrive in one mapped receive ring, by whatever interface they come, behind a filter in the kernel that lets
//! through answers to our source ports and nothing else. Both rings are described in the kernel's
//! Documentation/networking/packet_mmap.rst. Needs CAP_NET_RAW.

pub mod asker;
pub mod filter;
mod receive;
mod sys;
mod transmit;

use std::sync::Arc;

pub use receive::PacketReceive;
pub use transmit::PacketTransmit;

use super::Arrival;
use super::fence::Fence;
use super::lane::Lane;
use crate::sync::Queue;

/// Bytes of a receive ring unless somebody asks for another size: at 160 bytes a reply, 100,000 replies, which is some
/// 400 ms of the fastest sweeps that a packet socket can carry.
pub const RECEIVE_RING_BYTES: usize = 16 << 20;

/// What a sending half needs to know.
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
}

/// What sending halves know without the network's help: that nobody has an address. It goes to the receiving half, as
/// an answer like all others.
#[derive(Clone, Debug)]
pub struct Knowledge(Arc<Queue<Arrival>>);

impl Knowledge {
    /// Nothing yet.
    #[expect(clippy::new_without_default, reason = "belongs to one link; a default would hide that")]
    pub fn new() -> Self {
        Knowledge(Arc::new(Queue::new(KNOWLEDGE)))
    }

    /// Hands one on, if there is room.
    pub(super) fn push(&self, arrival: Arrival) -> bool {
        self.0.push(arrival).is_ok()
    }
}

/// Answers of that kind that may wait. When it is full, the sender has to wait as well.
const KNOWLEDGE: usize = 1 << 14;
