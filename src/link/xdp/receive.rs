//! The receiving half: answers that a program in the kernel has taken out of what came in.

use std::time::Duration;

use super::super::clock::{Monotonic, Tick};
use super::super::{Arrival, LinkError, Receive};
use super::Device;
use super::programs::Programs;
use crate::link::packet::PacketReceive;
use crate::wire::frame::parse_ip;

/// Answers that are handled in one go: what the ring of 8 MiB holds, so that all that was there at the beginning is
/// among them; and no more, so that a flood cannot keep the receiver from looking after itself.
const MOST_AT_ONCE: usize = (8 << 20) / 80;

/// How long the receiver sleeps once it has emptied the ring. Nobody wakes it, because to be woken for every answer
/// would cost more than the answers do; and to look all the time would cost the writer of the ring, who would find
/// every line of it in the other processor's cache. The ring holds what comes in within twenty times as long.
const NAP: Duration = Duration::from_millis(1);

/// `struct short_answer` and `struct long_answer` of the programs: where their parts stand.
const TIME_AT: usize = 0;
const LENGTH_AT: usize = 8;
const PACKET_AT: usize = 10;

/// Receives answers by all devices.
pub struct XdpReceive {
    /// The programs of each device, which end with it.
    ears: Vec<Programs>,
    /// Hears what comes in by any other device.
    elsewhere: PacketReceive,
    /// What to take off the programs' time stamps, in nanoseconds.
    offset: u64,
}

impl XdpReceive {
    /// Receives by these devices, and by `elsewhere` what comes in by others.
    pub fn new(devices: Vec<Device>, elsewhere: PacketReceive, clock: Monotonic) -> Self {
        let ears = devices.into_iter().map(|device| device.programs).collect();
        XdpReceive { ears, elsewhere, offset: clock.kernel_offset() }
    }
}

impl Receive for XdpReceive {
    fn receive(&mut self, timeout: Duration, each: &mut dyn FnMut(Arrival)) -> Result<(), LinkError> {
        let offset = self.offset;
        for ear in &mut self.ears {
            for _ in 0..MOST_AT_ONCE {
                let Some(answer) = ear.answers.next() else { break };
                if let Some(arrival) = arrival(&answer, offset) {
                    each(arrival);
                }
            }
        }
        self.elsewhere.receive(timeout.min(NAP), each)
    }

    fn dropped(&mut self) -> Result<u64, LinkError> {
        let mut dropped = self.elsewhere.dropped()?;
        for ear in &self.ears {
            let counts = ear.counters.read()?;
            if counts.fenced() > 0 {
                return Err(LinkError::Fenced { interface: ear.interface.clone(), caught: counts.fenced() });
            }
            dropped += counts.dropped();
        }
        Ok(dropped)
    }
}

/// An answer as the programs write it. They are trusted no further than its bounds.
#[inline]
fn arrival(answer: &[u8], offset: u64) -> Option<Arrival> {
    let at = u64::from_ne_bytes(*answer.get(TIME_AT..)?.first_chunk()?);
    let len = u16::from_ne_bytes(*answer.get(LENGTH_AT..)?.first_chunk()?);
    let packet = answer.get(PACKET_AT..PACKET_AT + usize::from(len))?;
    let reply = parse_ip(packet)?;
    Some(Arrival { at: Tick::from_nanos(at.saturating_sub(offset)), reply })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_cut_short_is_none() {
        let mut answer = [0; PACKET_AT + 40];
        answer[LENGTH_AT..LENGTH_AT + 2].copy_from_slice(&60_u16.to_ne_bytes());
        for cut in 0..answer.len() {
            assert_eq!(arrival(&answer[..cut], 0), None);
        }
    }
}
