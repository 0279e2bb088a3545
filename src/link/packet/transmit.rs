//! The sending half: a transmit ring of version 2.
//!
//! Frames are written into the ring in order and handed to the kernel with one call a batch. The kernel copies each
//! whole frame (a virtio header in front of it says so), so that no device further on is still reading the ring when a
//! slot comes round again.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use socket2::Socket;

use super::super::fence::Fence;
use super::super::{LinkError, Probe, Transmit};
use super::ring::RingMemory;
use super::sys::{self, RingRequest};
use super::{Lane, PacketOptions};
use crate::wire::syn::{SYN_FRAME_LEN, SynFields, SynTemplate};

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

const AVAILABLE: u32 = 0;
const SEND_REQUEST: u32 = 1;

/// Sends probes through a ring.
#[derive(Debug)]
pub struct PacketTransmit {
    socket: Socket,
    ring: RingMemory,
    /// The next slot to write, which is also the next that the kernel will look at.
    head: usize,
    lanes: Vec<(Lane, SynTemplate)>,
    fence: Fence,
    interface: String,
}

impl PacketTransmit {
    /// Opens a socket that sends only.
    pub(super) fn open(options: &PacketOptions) -> Result<Self, LinkError> {
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
        let template =
            |lane: &Lane| (*lane, SynTemplate::new(lane.source, lane.source_mac, lane.next_hop_mac));
        let mut lanes: Vec<_> = options.lanes.iter().map(template).collect();
        lanes.sort_by_key(|(lane, _)| lane.first);
        Ok(PacketTransmit {
            socket,
            ring,
            head: 0,
            lanes,
            fence: options.fence.clone(),
            interface: options.interface.clone(),
        })
    }

    /// Writes one frame into the next slot, unless the kernel still has it.
    #[inline]
    fn write(&mut self, probe: &Probe) -> Result<bool, LinkError> {
        self.fence.check(probe)?;
        let slot = self.head * SLOT_LEN;
        let (Some(template), IpAddr::V4(destination)) = (lane_of(&self.lanes, probe.ip), probe.ip) else {
            return Err(no_lane(probe.ip, &self.interface));
        };
        let Some(bytes) =
            self.ring.piece(slot + STATUS_AT, |status| status == AVAILABLE, slot..slot + SLOT_LEN)
        else {
            return Ok(false);
        };
        let fields = SynFields {
            destination,
            destination_port: probe.port,
            source_port: probe.source_port,
            sequence: probe.sequence,
        };
        let (header, data) = bytes.split_at_mut(DATA_AT);
        header[LENGTH_AT..LENGTH_AT + 4]
            .copy_from_slice(&((VIRTIO_LEN + SYN_FRAME_LEN) as u32).to_ne_bytes());
        let (virtio, frame) = data.split_at_mut(VIRTIO_LEN);
        virtio.fill(0);
        virtio[VIRTIO_HEADER_LEN_AT..VIRTIO_HEADER_LEN_AT + 2]
            .copy_from_slice(&(SYN_FRAME_LEN as u16).to_ne_bytes());
        if let Some(frame) = frame.first_chunk_mut::<SYN_FRAME_LEN>() {
            template.write(frame, &fields);
        }
        self.ring.give(slot + STATUS_AT, SEND_REQUEST);
        self.head = (self.head + 1) % SLOTS;
        Ok(true)
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
        let lane = match ip {
            IpAddr::V4(v4) => lane_at(&self.lanes, v4),
            IpAddr::V6(_) => None,
        };
        IpAddr::V4(lane.map_or(Ipv4Addr::UNSPECIFIED, |(lane, _)| lane.source))
    }

    fn transmit(&mut self, probes: &[Probe]) -> Result<usize, LinkError> {
        let mut written = 0;
        for probe in probes {
            match self.write(probe) {
                Ok(true) => written += 1,
                Ok(false) => break,
                Err(error) => {
                    self.take_back(written);
                    return Err(error);
                }
            }
        }
        match sys::flush(&self.socket) {
            // The call also succeeds if it could send only the first few, so what it left is looked for either way.
            Ok(()) => Ok(written - self.take_back(written)),
            Err(error) if is_refusal(&error) => Ok(written - self.take_back(written)),
            Err(cause) => {
                self.take_back(written);
                Err(sys::failed(
                    "send probes",
                    &self.interface,
                    cause,
                    "check that the interface is still there and up (ip link)",
                ))
            }
        }
    }
}

/// Whether the device said "not now" rather than "not ever".
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR))
}

#[inline]
fn lane_of(lanes: &[(Lane, SynTemplate)], ip: IpAddr) -> Option<&SynTemplate> {
    match ip {
        IpAddr::V4(v4) => lane_at(lanes, v4).map(|(_, template)| template),
        IpAddr::V6(_) => None,
    }
}

#[inline]
fn lane_at(lanes: &[(Lane, SynTemplate)], ip: Ipv4Addr) -> Option<&(Lane, SynTemplate)> {
    let at = lanes.partition_point(|(lane, _)| lane.first <= ip).checked_sub(1)?;
    lanes.get(at).filter(|(lane, _)| ip <= lane.last)
}

fn no_lane(ip: IpAddr, interface: &str) -> LinkError {
    LinkError::NoWay {
        ip,
        why: format!("no next hop on {interface} is known for it"),
        remedy: "this is a bug, please report it".to_owned(),
    }
}
