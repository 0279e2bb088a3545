//! The receiving half: a receive ring of version 3, which hands over whole blocks of packets.
//!
//! It hears every interface, because an answer may come back by another one than its probe left by, and it is handed
//! packets from the network header on ("cooked"), so that it need not know what kind of device each came from.

use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::super::clock::{Monotonic, Tick};
use super::super::ring::RingMemory;
use super::super::{Arrival, LinkError, Receive};
use super::sys::{self, RingRequest, Statistics};
use super::{Knowledge, filter};
use crate::wire::frame::parse_ip;

/// Bytes of a block, unless the whole ring is smaller.
const BLOCK_LEN: usize = 1 << 19;

/// A block that is not full is handed over after this many milliseconds.
const RETIRE_MS: u32 = 10;

/// `struct tpacket_block_desc` and its `struct tpacket_hdr_v1`: where the fields stand.
const BLOCK_STATUS_AT: usize = 8;
const BLOCK_PACKETS_AT: usize = 12;
const BLOCK_FIRST_AT: usize = 16;

/// `struct tpacket3_hdr`: where the fields stand.
const NEXT_AT: usize = 0;
const SECONDS_AT: usize = 4;
const NANOS_AT: usize = 8;
const CAPTURED_AT: usize = 12;
const FRAME_AT: usize = 24;

const STATUS_KERNEL: u32 = 0;
const STATUS_USER: u32 = 1;

/// `enum tpacket_versions` in linux/if_packet.h.
const TPACKET_V3: libc::c_int = 2;

/// `ETH_P_ALL`. Only the filter decides what is let through.
const ALL_PROTOCOLS: u16 = 0x0003;

/// Receives replies from a ring.
#[derive(Debug)]
pub struct PacketReceive {
    socket: Socket,
    ring: RingMemory,
    block_len: usize,
    blocks: usize,
    /// The block that the kernel hands over next.
    next: usize,
    dropped: u64,
    clock: Monotonic,
    knowledge: Knowledge,
}

/// What errors call the interfaces.
const EVERYWHERE: &str = "all interfaces";

/// The number that stands for every interface, packet(7).
const EVERY_INTERFACE: u32 = 0;

impl PacketReceive {
    /// Opens a socket that hears, from now on, the answers to probes from these ports (lowest and highest), in a ring
    /// of about this size; but nothing of what comes in by the interfaces with the numbers `deaf_to`.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or without memory for the ring.
    pub fn open(
        (first, last): (u16, u16),
        ring_bytes: usize,
        deaf_to: &[u32],
        knowledge: Knowledge,
        clock: Monotonic,
    ) -> Result<Self, LinkError> {
        let failed = |attempt, remedy| move |cause| sys::failed(attempt, EVERYWHERE, cause, remedy);
        // Bound to no protocol, so that it hears nothing before its filter is in place.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))
            .map_err(failed("open a packet socket", sys::NEEDS_CAP_NET_RAW))?;
        socket
            .attach_filter(&filter::replies_to(first, last, deaf_to))
            .map_err(failed("attach a packet filter", "this is a bug, please report it"))?;
        let set = |option, value: libc::c_int| sys::set_option(&socket, option, &value);
        set(libc::PACKET_VERSION, TPACKET_V3)
            .and_then(|()| set(libc::PACKET_IGNORE_OUTGOING, 1))
            .map_err(failed("prepare a receive ring", "Linux 4.20 or newer is needed"))?;
        let block_len = BLOCK_LEN.min(ring_bytes.next_power_of_two()).max(1 << 12);
        let blocks = (ring_bytes / block_len).max(1);
        let request = RingRequest {
            block_size: block_len as u32,
            blocks: blocks as u32,
            frame_size: 2048,
            frames: (block_len / 2048 * blocks) as u32,
            retire_ms: RETIRE_MS,
            ..RingRequest::default()
        };
        sys::set_option(&socket, libc::PACKET_RX_RING, &request)
            .map_err(failed("make a receive ring", "free some memory"))?;
        let ring = RingMemory::map(&socket, blocks * block_len)
            .map_err(failed("map the receive ring", "free some memory"))?;
        sys::bind(&socket, EVERY_INTERFACE, ALL_PROTOCOLS)
            .map_err(failed("bind a packet socket", "this is a bug, please report it"))?;
        Ok(PacketReceive { socket, ring, block_len, blocks, next: 0, dropped: 0, clock, knowledge })
    }

    /// Handles the next block if the kernel has handed it over.
    fn take_block(&mut self, wall_offset: i128, each: &mut dyn FnMut(Arrival)) -> bool {
        let start = self.next * self.block_len;
        let is_ours = |status| status & STATUS_USER != 0;
        let Some(block) = self.ring.piece(start + BLOCK_STATUS_AT, is_ours, start..start + self.block_len)
        else {
            return false;
        };
        each_frame(block, |frame, nanos| {
            if let Some(reply) = parse_ip(frame) {
                let at = i128::from(nanos) + wall_offset;
                each(Arrival { at: Tick::from_nanos(u64::try_from(at).unwrap_or(0)), reply });
            }
        });
        self.ring.give(start + BLOCK_STATUS_AT, STATUS_KERNEL);
        self.next = (self.next + 1) % self.blocks;
        true
    }

    /// Hands over what the sending halves know, and says whether there was anything.
    fn take_known(&mut self, each: &mut dyn FnMut(Arrival)) -> bool {
        let mut any = false;
        while let Some(arrival) = self.knowledge.0.pop() {
            each(arrival);
            any = true;
        }
        any
    }
}

impl Receive for PacketReceive {
    fn receive(&mut self, timeout: Duration, each: &mut dyn FnMut(Arrival)) -> Result<(), LinkError> {
        let known = self.take_known(each);
        // The wall clock may be set at any moment, so its distance from ours is measured for every batch.
        if !self.take_block(self.clock.wall_offset(), each) && !known {
            sys::wait_readable(&self.socket, timeout).map_err(failed("wait for replies"))?;
        }
        let wall_offset = self.clock.wall_offset();
        // At most one turn of the ring, so that a flood cannot keep the receiver from looking after itself.
        for _ in 0..self.blocks {
            if !self.take_block(wall_offset, each) {
                break;
            }
        }
        Ok(())
    }

    fn dropped(&mut self) -> Result<u64, LinkError> {
        let statistics: Statistics = sys::get_option(&self.socket, libc::PACKET_STATISTICS)
            .map_err(failed("read the drop counter"))?;
        // Reading sets the kernel's counter back, so the sum is kept here.
        self.dropped += u64::from(statistics.drops);
        Ok(self.dropped)
    }
}

fn failed(attempt: &'static str) -> impl FnOnce(std::io::Error) -> LinkError {
    move |cause| sys::failed(attempt, EVERYWHERE, cause, "this is a bug, please report it")
}

/// Calls `each` with every frame of a block, and its time stamp in nanoseconds since 1970. The kernel is trusted with
/// our memory but not with our bounds: a count or an offset that leads outside ends the walk.
fn each_frame(block: &[u8], mut each: impl FnMut(&[u8], u64)) {
    let word = |at: usize| Some(u32::from_ne_bytes(*block.get(at..)?.first_chunk()?));
    let half = |at: usize| Some(u16::from_ne_bytes(*block.get(at..)?.first_chunk()?));
    let mut walk = || {
        let packets = word(BLOCK_PACKETS_AT)?;
        let mut header = word(BLOCK_FIRST_AT)? as usize;
        for _ in 0..packets {
            let frame_at = header + usize::from(half(header + FRAME_AT)?);
            let frame = block.get(frame_at..frame_at + word(header + CAPTURED_AT)? as usize)?;
            let seconds = u64::from(word(header + SECONDS_AT)?);
            each(frame, seconds * 1_000_000_000 + u64::from(word(header + NANOS_AT)?));
            header += word(header + NEXT_AT)? as usize;
        }
        Some(())
    };
    let _ = walk();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block as the kernel lays it out, with these frames.
    fn block(frames: &[&[u8]]) -> Vec<u8> {
        let mut block = vec![0; 48];
        block[BLOCK_PACKETS_AT..][..4].copy_from_slice(&(frames.len() as u32).to_ne_bytes());
        block[BLOCK_FIRST_AT..][..4].copy_from_slice(&48_u32.to_ne_bytes());
        for (n, frame) in frames.iter().enumerate() {
            let start = block.len();
            let next = (68 + frame.len()).next_multiple_of(8);
            block.resize(start + next, 0);
            block[start + NEXT_AT..][..4].copy_from_slice(&(next as u32).to_ne_bytes());
            block[start + SECONDS_AT..][..4].copy_from_slice(&(n as u32).to_ne_bytes());
            block[start + NANOS_AT..][..4].copy_from_slice(&7_u32.to_ne_bytes());
            block[start + CAPTURED_AT..][..4].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
            block[start + FRAME_AT..][..2].copy_from_slice(&68_u16.to_ne_bytes());
            block[start + 68..][..frame.len()].copy_from_slice(frame);
        }
        block
    }

    fn frames(block: &[u8]) -> Vec<(Vec<u8>, u64)> {
        let mut frames = Vec::new();
        each_frame(block, |frame, nanos| frames.push((frame.to_vec(), nanos)));
        frames
    }

    #[test]
    fn walks_a_block() {
        let found = frames(&block(&[b"one", b"", b"three"]));
        assert_eq!(
            found,
            [(b"one".to_vec(), 7), (vec![], 1_000_000_007), (b"three".to_vec(), 2_000_000_007)]
        );
        assert_eq!(frames(&block(&[])), []);
    }

    #[test]
    fn never_leaves_the_block() {
        let whole = block(&[b"one", b"two"]);
        for cut in 0..whole.len() {
            assert!(frames(&whole[..cut]).len() <= 2);
        }
        for at in [BLOCK_PACKETS_AT, BLOCK_FIRST_AT, 48 + NEXT_AT, 48 + CAPTURED_AT, 48 + FRAME_AT] {
            let mut wild = whole.clone();
            wild[at..at + 2].copy_from_slice(&[0xff; 2]);
            assert!(frames(&wild).len() <= 2 || at == 48 + NEXT_AT);
        }
    }
}
