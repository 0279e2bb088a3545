//! The framer: from a probe to the frame that carries it to its next hop, for every link that sends frames.

use std::net::IpAddr;

use super::clock::{Clock, Monotonic};
use super::fence::Fence;
use super::lane::{Lanes, Way};
use super::packet::{Knowledge, PacketOptions};
use super::{Arrival, LinkError, Probe};
use crate::wire::reply::{Answer, Reply};
use crate::wire::syn::SynFields;

/// Makes the frames of one device.
#[derive(Debug)]
pub(super) struct Framer {
    lanes: Lanes,
    fence: Fence,
    knowledge: Knowledge,
    clock: Monotonic,
    interface: String,
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// It is a frame of this length.
    Framed(usize),
    /// Nothing needs to leave: the link knows the answer, and has given it.
    Known,
    /// It cannot leave at the moment: there is no room, or nobody yet to take it.
    NotNow,
}

impl Framer {
    /// A framer for the device of these options. What it knows by itself goes to `knowledge`.
    pub fn new(options: &PacketOptions, knowledge: Knowledge, clock: Monotonic) -> Self {
        Framer {
            lanes: Lanes::new(&options.lanes),
            fence: options.fence.clone(),
            knowledge,
            clock,
            interface: options.interface.clone(),
        }
    }

    /// The device's name.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The address that probes to `ip` come from.
    #[inline]
    pub fn source(&self, ip: IpAddr) -> IpAddr {
        self.lanes.source(ip)
    }

    /// Goes along with routers that have another address by now.
    pub fn refresh(&mut self) {
        self.lanes.refresh();
    }

    /// Writes the frame of a probe into `room`, if there is any.
    ///
    /// # Errors
    /// When it would leave the fence, or when no lane leads there.
    #[inline(always)]
    pub fn frame(&self, probe: &Probe, room: Option<&mut [u8]>) -> Result<Fate, LinkError> {
        self.fence.check(probe)?;
        let (template, next_hop) = match self.lanes.way(&probe.ip) {
            Way::Frame(template, next_hop) => (template, next_hop),
            Way::Nobody => return Ok(self.tell_nobody(probe)),
            Way::NotYet => return Ok(Fate::NotNow),
            Way::None => return Err(self.no_lane(probe.ip)),
        };
        let Some(room) = room else { return Ok(Fate::NotNow) };
        let fields = SynFields {
            destination: probe.ip,
            destination_port: probe.port,
            source_port: probe.source_port,
            sequence: probe.sequence,
        };
        let Some(frame_len) = template.write(room, &fields) else {
            return Err(self.no_lane(probe.ip));
        };
        if let Some(mac) = next_hop {
            room[..mac.len()].copy_from_slice(&mac);
        }
        Ok(Fate::Framed(frame_len))
    }

    /// Answers in the place of a host that is not there.
    fn tell_nobody(&self, probe: &Probe) -> Fate {
        let reply = Reply {
            ip: probe.ip,
            port: probe.port,
            source: probe.source,
            source_port: probe.source_port,
            answer: Answer::NoNeighbour { sequence: probe.sequence },
            ttl: 0,
        };
        let told = self.knowledge.push(Arrival { at: self.clock.now(), reply });
        if told { Fate::Known } else { Fate::NotNow }
    }

    fn no_lane(&self, ip: IpAddr) -> LinkError {
        LinkError::NoWay {
            ip,
            why: format!("no next hop on {} is known for it", self.interface),
            remedy: "this is a bug, please report it".to_owned(),
        }
    }
}

/// Hands probes to `take`, in order, until one cannot leave; that one and all behind it are refused.
///
/// # Errors
/// The first of `take`, by which everything from there on is refused too.
#[inline(always)]
pub(super) fn take_in_order(
    probes: &[Probe],
    refused: &mut Vec<usize>,
    mut take: impl FnMut(usize, &Probe) -> Result<Fate, LinkError>,
) -> Result<(), LinkError> {
    for (place, probe) in probes.iter().enumerate() {
        match take(place, probe) {
            Ok(Fate::Framed(_) | Fate::Known) => {}
            Ok(Fate::NotNow) => {
                refused.extend(place..probes.len());
                break;
            }
            Err(error) => {
                refused.extend(place..probes.len());
                return Err(error);
            }
        }
    }
    Ok(())
}
