//! The sending half: whole frames in a mapped ring, which a program in the kernel empties.

use std::net::IpAddr;
use std::time::Duration;

use super::super::clock::{Clock, Monotonic, Tick};
use super::super::framer::{Fate, Framer, take_in_order};
use super::super::packet::{Knowledge, PacketOptions};
use super::super::ring::RingMemory;
use super::super::{LinkError, Probe, Transmit};
use super::prober::Prober;
use super::{Device, FRAME_AT, FREE, LENGTH_AT, READY, SLOT_LEN, SLOTS, STATUS_AT};

/// How long a frame may stand in the ring before no more are put behind it. Whoever waits longer (for a device that
/// takes nothing, for a processor that has others to serve) would leave together with the next try at the same target,
/// which would be none; and all of them would leave in one burst. What has waited for less does so when it can.
const PATIENCE: Duration = Duration::from_millis(100);

/// Sends probes through one device.
pub struct XdpTransmit {
    ring: RingMemory,
    /// How many slots were written: the next one is also the next that the program takes.
    head: usize,
    /// The oldest slot that may not have left yet.
    tail: usize,
    /// How many had been written when somebody began to wait for them.
    marked: usize,
    /// One of the slots, and since when it is looked at: the one that was to be written next at that moment. As long as
    /// it has not left, none behind it has. (Where the ring is full, it still holds the frame of a round ago.)
    watched: (usize, Tick),
    clock: Monotonic,
    framer: Framer,
    prober: Prober,
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
        Ok(XdpTransmit {
            ring: device.programs.slots()?,
            head: 0,
            tail: 0,
            marked: 0,
            watched: (0, clock.now()),
            clock,
            framer: Framer::new(options, knowledge, clock),
            prober: Prober::start(&device.programs, clock.now())?,
        })
    }

    /// Whether a slot is empty: what it was written with has left, or it was never written.
    fn is_free(&mut self, number: usize) -> bool {
        let slot = number % SLOTS * SLOT_LEN;
        self.ring.piece(slot + STATUS_AT, |status| status == FREE, slot..slot).is_some()
    }

    /// Whether what was handed over does not leave. One look for a batch: the other processor writes there.
    fn is_stuck(&mut self, now: Tick) -> bool {
        let (number, since) = self.watched;
        if number == self.head || self.is_free(number) {
            self.watched = (self.head, now);
            return false;
        }
        now.since(since) > PATIENCE
    }

    /// Writes one frame into the next slot, unless the program still has it.
    #[inline]
    fn write(&mut self, probe: &Probe) -> Result<Fate, LinkError> {
        let slot = self.head % SLOTS * SLOT_LEN;
        let piece = self.ring.piece(slot + STATUS_AT, |status| status == FREE, slot..slot + SLOT_LEN);
        let (header, frame) = piece.map(|bytes| bytes.split_at_mut(FRAME_AT)).unzip();
        let fate = self.framer.frame(probe, frame)?;
        if let (Fate::Framed(frame_len), Some(header)) = (fate, header) {
            header[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&(frame_len as u32).to_ne_bytes());
            self.ring.give(slot + STATUS_AT, READY);
            self.head += 1;
        }
        Ok(fate)
    }
}

impl Transmit for XdpTransmit {
    fn source(&self, ip: IpAddr) -> IpAddr {
        self.framer.source(ip)
    }

    fn transmit(&mut self, probes: &[Probe], refused: &mut Vec<usize>) -> Result<(), LinkError> {
        self.framer.refresh();
        if let Err(error) = self.prober.check() {
            refused.extend(0..probes.len());
            return Err(error);
        }
        let now = self.clock.now();
        self.prober.renew(now);
        if self.is_stuck(now) {
            refused.extend(0..probes.len());
            return Ok(());
        }
        take_in_order(probes, refused, |_, probe| self.write(probe))
    }

    fn mark(&mut self) {
        self.marked = self.head;
    }

    fn is_draining(&mut self) -> bool {
        self.prober.renew(self.clock.now());
        // A slot is written again only when it has left, and what stands in it then is not what is asked for.
        self.tail = self.tail.max(self.head.saturating_sub(SLOTS));
        while self.tail < self.marked {
            if !self.is_free(self.tail) {
                return true;
            }
            self.tail += 1;
        }
        false
    }
}
