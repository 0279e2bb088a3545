//! The sending half: a transmit ring of version 2.
//!
//! Frames are written into the ring in order and handed to the kernel with one call a batch. The kernel copies each
//! whole frame (a virtio header in front of it says so), so that no device further on is still reading the ring when a
//! slot comes round again.

use std::io;
use std::net::IpAddr;

use socket2::Socket;

use super::super::clock::Monotonic;
use super::super::framer::{Fate, Framer, take_in_order};
use super::super::ring::RingMemory;
use super::super::{LinkError, Probe, Transmit};
use super::sys::{self, RingRequest};
use super::{Knowledge, PacketOptions};
use crate::wire::syn::MAX_SYN_LEN;

/// Slots of the ring, and bytes of each.
const SLOTS: usize = 4096;
const SLOT_LEN: usize = 128;

/// What the kernel may hold of ours: it counts some 800 bytes for each frame.
const SEND_BUFFER_BYTES: usize = SLOTS * 1024;

/// `struct tpacket2_hdr`: where its fields stand, and where the frame begins behind it.
const STATUS_AT: usize = 0;
const LENGTH_AT: usize = 4;
const DATA_AT: usize = 32;

/// `struct virtio_net_hdr` without mergeable buffers: ten bytes, of which only `hdr_len` matters here.
const VIRTIO_LEN: usize = 10;
const VIRTIO_HEADER_LEN_AT: usize = 2;

const _: () = assert!(DATA_AT + VIRTIO_LEN + MAX_SYN_LEN <= SLOT_LEN, "a slot holds every probe");

const AVAILABLE: u32 = 0;
const SEND_REQUEST: u32 = 1;

/// Sends probes through a ring.
#[derive(Debug)]
pub struct PacketTransmit {
    socket: Socket,
    ring: RingMemory,
    /// The next slot to write, which is also the next that the kernel will look at.
    head: usize,
    /// The places, in what the caller handed over, of the probes that are written and not yet sent.
    written: Vec<usize>,
    framer: Framer,
}

impl PacketTransmit {
    /// Opens a socket that sends only.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, without memory for the ring, or when the interface is gone.
    pub fn open(options: &PacketOptions, knowledge: Knowledge, clock: Monotonic) -> Result<Self, LinkError> {
        let name = options.interface.as_str();
        let failed = |attempt, remedy| move |cause| sys::failed(attempt, name, cause, remedy);
        let socket = sys::open_deaf(name)?;
        // Room for more frames than the ring has, as far as the system allows: a device that frees them late should
        // refuse by its own queue, not by our socket's.
        let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
        let set = |option, value: libc::c_int| sys::set_option(&socket, option, &value);
        set(libc::PACKET_VERSION, TPACKET_V2)
            .and_then(|()| set(libc::PACKET_VNET_HDR, 1))
            .and_then(|()| set(libc::PACKET_QDISC_BYPASS, 1))
            .map_err(failed("prepare a transmit ring", "Linux 4.14 or newer is needed"))?;
        let request = RingRequest {
            block_size: 1 << 16,
            blocks: ((SLOTS * SLOT_LEN) >> 16) as u32,
            frame_size: SLOT_LEN as u32,
            frames: SLOTS as u32,
            ..RingRequest::default()
        };
        sys::set_option(&socket, libc::PACKET_TX_RING, &request)
            .map_err(failed("make a transmit ring", "free some memory"))?;
        let ring = RingMemory::map(&socket, SLOTS * SLOT_LEN)
            .map_err(failed("map the transmit ring", "free some memory"))?;
        sys::bind(&socket, options.interface_index, 0)
            .map_err(failed("bind a packet socket", "check that the interface is there and up"))?;
        Ok(PacketTransmit {
            socket,
            ring,
            head: 0,
            written: Vec::with_capacity(SLOTS),
            framer: Framer::new(options, knowledge, clock),
        })
    }

    /// Writes one frame into the next slot, unless the kernel still has it.
    #[inline]
    fn write(&mut self, probe: &Probe) -> Result<Fate, LinkError> {
        let slot = self.head * SLOT_LEN;
        let piece = self.ring.piece(slot + STATUS_AT, |status| status == AVAILABLE, slot..slot + SLOT_LEN);
        let (headers, frame) = piece.map(|bytes| bytes.split_at_mut(DATA_AT + VIRTIO_LEN)).unzip();
        let fate = self.framer.frame(probe, frame)?;
        if let (Fate::Framed(frame_len), Some(headers)) = (fate, headers) {
            let (header, virtio) = headers.split_at_mut(DATA_AT);
            header[LENGTH_AT..LENGTH_AT + 4]
                .copy_from_slice(&((VIRTIO_LEN + frame_len) as u32).to_ne_bytes());
            virtio.fill(0);
            virtio[VIRTIO_HEADER_LEN_AT..VIRTIO_HEADER_LEN_AT + 2]
                .copy_from_slice(&(frame_len as u16).to_ne_bytes());
            self.ring.give(slot + STATUS_AT, SEND_REQUEST);
            self.head = (self.head + 1) % SLOTS;
        }
        Ok(fate)
    }

    /// Writes as many probes as there is room for; the rest are refused.
    fn write_all(&mut self, probes: &[Probe], refused: &mut Vec<usize>) -> Result<(), LinkError> {
        self.written.clear();
        take_in_order(probes, refused, |place, probe| {
            let fate = self.write(probe)?;
            if let Fate::Framed(_) = fate {
                self.written.push(place);
            }
            Ok(fate)
        })
    }

    /// Takes back what the kernel did not send, the newest of `written` slots first, and says how many that were. The
    /// kernel works in order and stays at the first slot that it failed on, so taking back to there leaves both sides
    /// at the same place.
    fn take_back(&mut self, written: usize) -> usize {
        let mut back = 0;
        while back < written {
            let slot = (self.head + SLOTS - 1) % SLOTS * SLOT_LEN;
            if self.ring.piece(slot + STATUS_AT, |status| status == SEND_REQUEST, slot..slot).is_none() {
                break;
            }
            self.ring.give(slot + STATUS_AT, AVAILABLE);
            self.head = slot / SLOT_LEN;
            back += 1;
        }
        back
    }
}

/// `enum tpacket_versions` in linux/if_packet.h.
const TPACKET_V2: libc::c_int = 1;

impl Transmit for PacketTransmit {
    fn source(&self, ip: IpAddr) -> IpAddr {
        self.framer.source(ip)
    }

    fn transmit(&mut self, probes: &[Probe], refused: &mut Vec<usize>) -> Result<(), LinkError> {
        self.framer.refresh();
        if let Err(error) = self.write_all(probes, refused) {
            self.take_back(self.written.len());
            refused.extend(&self.written);
            refused.sort_unstable();
            return Err(error);
        }
        if self.written.is_empty() {
            return Ok(());
        }
        let flushed = sys::flush(&self.socket);
        // The call also succeeds if it could send only the first few, so what it left is looked for either way.
        let sent = self.written.len() - self.take_back(self.written.len());
        refused.extend(self.written.get(sent..).unwrap_or_default());
        refused.sort_unstable();
        match flushed {
            Err(error) if !is_refusal(&error) => Err(sys::failed(
                "send probes",
                self.framer.interface(),
                error,
                "check that the interface is still there and up (ip link)",
            )),
            _ => Ok(()),
        }
    }
}

/// Whether the device said "not now" rather than "not ever". An interface that is down may come back, and one that is
/// gone is a matter for whoever watches the path.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR | libc::ENETDOWN | libc::ENXIO | libc::ENODEV)
    )
}
