//! The sending half: whole frames in a mapped ring, which a program in the kernel empties.

use std::net::IpAddr;

use super::super::clock::{Clock, Monotonic};
use super::super::fence::Fence;
use super::super::{Arrival, LinkError, Probe, Transmit};
use super::prober::Prober;
use super::{Device, FRAME_AT, FREE, LENGTH_AT, READY, SLOT_LEN, SLOTS, STATUS_AT};
use crate::link::packet::lane::{Lanes, Way};
use crate::link::packet::ring::RingMemory;
use crate::link::packet::{Knowledge, Lane, PacketOptions};
use crate::wire::reply::{Answer, Reply};
use crate::wire::syn::{SynFields, SynTemplate};

/// Sends probes through one device.
pub struct XdpTransmit {
    ring: RingMemory,
    /// The next slot to write, which is also the next that the program takes.
    head: usize,
    /// The oldest slot that may not have left yet.
    tail: usize,
    lanes: Lanes,
    fence: Fence,
    knowledge: Knowledge,
    clock: Monotonic,
    interface: String,
    prober: Prober,
}

enum Fate {
    Written,
    Known,
    NotNow,
}

/// The length of a probe's frame in a lane.
pub(super) fn frame_len(lane: &Lane) -> usize {
    SynTemplate::ethernet(lane.source, lane.source_mac, [0; 6]).len()
}

impl XdpTransmit {
    /// Begins to send what will be handed over.
    ///
    /// # Errors
    /// Without memory for the ring, or when the kernel does not run the program.
    pub fn open(
        device: &Device,
        options: &PacketOptions,
        knowledge: Knowledge,
        clock: Monotonic,
    ) -> Result<Self, LinkError> {
        let frame_len = options.lanes.iter().map(frame_len).max().unwrap_or_default();
        Ok(XdpTransmit {
            ring: device.programs.slots()?,
            head: 0,
            tail: 0,
            lanes: Lanes::new(&options.lanes),
            fence: options.fence.clone(),
            knowledge,
            clock,
            interface: options.interface.clone(),
            prober: Prober::start(&device.programs, frame_len)?,
        })
    }

    #[inline]
    fn write(&mut self, probe: &Probe) -> Result<Fate, LinkError> {
        self.fence.check(probe)?;
        let (template, next_hop) = match self.lanes.way(probe.ip) {
            Way::Frame(template, next_hop) => (template, next_hop),
            Way::Nobody => return Ok(self.tell_nobody(probe)),
            Way::NotYet => return Ok(Fate::NotNow),
            Way::None => return Err(no_lane(probe.ip, &self.interface)),
        };
        let slot = self.head % SLOTS * SLOT_LEN;
        let Some(bytes) = self.ring.piece(slot + STATUS_AT, |status| status == FREE, slot..slot + SLOT_LEN)
        else {
            return Ok(Fate::NotNow);
        };
        let fields = SynFields {
            destination: probe.ip,
            destination_port: probe.port,
            source_port: probe.source_port,
            sequence: probe.sequence,
        };
        let (header, frame) = bytes.split_at_mut(FRAME_AT);
        let Some(frame_len) = template.write(frame, &fields) else {
            return Err(no_lane(probe.ip, &self.interface));
        };
        if let Some(mac) = next_hop {
            frame[..mac.len()].copy_from_slice(&mac);
        }
        header[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&(frame_len as u32).to_ne_bytes());
        self.ring.give(slot + STATUS_AT, READY);
        self.head += 1;
        Ok(Fate::Written)
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
}

impl Transmit for XdpTransmit {
    fn source(&self, ip: IpAddr) -> IpAddr {
        self.lanes.source(ip)
    }

    fn transmit(&mut self, probes: &[Probe], refused: &mut Vec<usize>) -> Result<(), LinkError> {
        self.lanes.refresh();
        if let Err(error) = self.prober.check() {
            refused.extend(0..probes.len());
            return Err(error);
        }
        for (place, probe) in probes.iter().enumerate() {
            match self.write(probe) {
                Ok(Fate::Written | Fate::Known) => {}
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

    fn is_draining(&mut self) -> bool {
        while self.tail < self.head {
            let slot = self.tail % SLOTS * SLOT_LEN;
            if self.ring.piece(slot + STATUS_AT, |status| status == FREE, slot..slot).is_none() {
                return true;
            }
            self.tail += 1;
        }
        false
    }
}

fn no_lane(ip: IpAddr, interface: &str) -> LinkError {
    LinkError::NoWay {
        ip,
        why: format!("no next hop on {interface} is known for it"),
        remedy: "this is a bug, please report it".to_owned(),
    }
}
