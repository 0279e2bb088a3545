//! The XDP link: probes and answers that never meet the host's own network stack, for rates that packet sockets cannot
//! carry.
//!
//! Probes are whole frames, made here and handed over in a mapped ring. A small BPF program takes them from there,
//! holds them against the scope once more, and redirects them into the device; it runs in one long BPF_PROG_RUN call
//! with live frames, in a thread of its own, which keeps a processor busy for as long as the sweep lasts. What the
//! device refuses is sent again until it is taken. Another program, attached to the device, takes the answers out of
//! what comes in, swallows resets, and lets everything else pass untouched. What does not come in by these devices is
//! heard by a packet socket as ever.
//!
//! Needs Linux 5.18, CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (for the tracepoints that say what a device has refused),
//! and a device whose driver takes frames from XDP. On some devices, attaching a program resets the link.

mod features;
mod prober;
mod programs;
mod receive;
mod sys;
mod transmit;

use std::io;

pub use programs::Mode;
pub use receive::XdpReceive;
pub use transmit::XdpTransmit;

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

/// Whether a device takes frames from XDP, as far as the kernel says. A veth does only while its other end polls: with
/// GRO on, or with an XDP program of its own.
pub fn takes_frames(interface_index: u32) -> bool {
    features::takes_frames(interface_index).unwrap_or(true)
}

/// One device that is made ready.
pub struct Device {
    programs: Programs,
}

impl Device {
    /// Loads the programs, and attaches the one that receives.
    ///
    /// # Errors
    /// Without the capabilities, on an old kernel, or where another XDP program is attached already.
    pub fn open(options: &PacketOptions, source_ports: (u16, u16)) -> Result<Self, LinkError> {
        let setting = Setting {
            interface: &options.interface,
            interface_index: options.interface_index,
            source_ports,
            fence: &options.fence,
            frame_len: options.lanes.iter().map(Lane::frame_len).max().unwrap_or(MAX_SYN_LEN),
        };
        Ok(Device { programs: Programs::load(&setting)? })
    }

    /// How it receives.
    pub fn mode(&self) -> Mode {
        self.programs.mode
    }
}

fn failed(attempt: &'static str, object: &str, cause: io::Error, remedy: &'static str) -> LinkError {
    LinkError::System { attempt, object: object.to_owned(), cause, remedy }
}
