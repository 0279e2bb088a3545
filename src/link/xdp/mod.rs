//! The XDP link: probes and answers that never meet the host's own network stack, for rates that packet sockets cannot
//! carry.
//!
//! Probes are whole frames, made here and handed over in a mapped ring. A small BPF program takes them from there,
//! holds them against the scope once more, and redirects them into the device; it runs in BPF_PROG_RUN calls
//! with live frames, in a thread of its own, which keeps a processor busy for as long as the sweep lasts. What the
//! device refuses is sent again until it is taken. Another program, attached to the device, takes the answers out of
//! what comes in, swallows resets, and lets everything else pass untouched. What does not come in by these devices is
//! heard by a packet socket as ever.
//!
//! Needs Linux 5.18, CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (for the tracepoints that say what a device has refused),
//! and a device whose driver takes frames from XDP. On some devices, attaching a program resets the link.

pub mod card;
pub mod host;
mod prober;
mod programs;
mod receive;
mod sys;
mod transmit;

use std::io;

pub use programs::Mode;
pub use receive::XdpReceive;
pub use transmit::XdpTransmit;

use card::{Card, Sends};

use super::LinkError;
use super::lane::Lane;
use super::packet::PacketOptions;
use crate::wire::syn::MAX_SYN_LEN;
use programs::{Programs, Setting};

/// `struct slot` of the programs: how many there are, how long each is, and where its parts stand.
const SLOTS: usize = 1 << 15;
const SLOT_LEN: usize = 104;
const STATUS_AT: usize = 0;
const LENGTH_AT: usize = 4;
const FRAME_AT: usize = 16;

const _: () = assert!(FRAME_AT + MAX_SYN_LEN <= SLOT_LEN, "a slot holds every probe");

const FREE: u32 = 0;
const READY: u32 = 1;

/// One device that is made ready.
pub struct Device {
    programs: Programs,
}

impl Device {
    /// Loads the programs, and attaches the one that receives.
    ///
    /// # Errors
    /// Without the capabilities, on an old kernel, or where another XDP program is attached already. And
    /// [`LinkError::TakesNoFrames`] where the device does not send what XDP hands to it.
    pub fn open(options: &PacketOptions, source_ports: (u16, u16)) -> Result<Self, LinkError> {
        let unfit = |card: &Card| LinkError::TakesNoFrames {
            interface: options.interface.clone(),
            why: card.refusal(),
            remedy: card.advice().to_owned(),
        };
        let card = Card::of(options.interface_index)?;
        if card.sends() == Sends::No {
            return Err(unfit(&card));
        }
        let setting = Setting {
            interface: &options.interface,
            interface_index: options.interface_index,
            source_ports,
            fence: &options.fence,
            frame_len: options.lanes.iter().map(Lane::frame_len).max().unwrap_or(MAX_SYN_LEN),
        };
        let loaded = programs::load(&setting).map_err(host::explained)?;
        let programs = Programs::attach(loaded, &setting).map_err(|error| {
            // Most of all because somebody else was first.
            let card = Card::of(options.interface_index).ok();
            let occupied = card.and_then(|card| {
                let place = format!("on {}", options.interface);
                Some(LinkError::NoXdp { place, why: card.occupied()?, remedy: card.vacate() })
            });
            occupied.unwrap_or(error)
        })?;
        // Asked once more, because many a driver takes frames only while a program is attached. Without the kernel's
        // word, what the device refuses is sent again and again, and the sweep says so in the end.
        let card = Card::of(options.interface_index)?;
        match card.sends() {
            Sends::Yes | Sends::Unknown => Ok(Device { programs }),
            Sends::PerhapsAttached | Sends::No => Err(unfit(&card)),
        }
    }

    /// How it receives.
    pub fn mode(&self) -> &Mode {
        &self.programs.mode
    }
}

fn failed(attempt: &'static str, object: &str, cause: io::Error, remedy: &'static str) -> LinkError {
    LinkError::System { attempt, object: object.to_owned(), cause, remedy }
}
