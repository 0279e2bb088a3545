//! Probes out, replies in. Each kind of link is a pair of [`Transmit`] and [`Receive`]; the sender and the receiver of
//! `sweep` are the same over all of them.
//!
//! - Links: [`packet`], [`xdp`], [`raw`], [`connect`], [`sim`]; [`switch`] makes one of several. [`handshake`] makes
//!   whole connections, for the second look.
//! - The way: [`route`] and [`interface`] ask the kernel, [`neighbour`] the local network; [`next_hop`] is an address
//!   that may change. [`capabilities`] are what this process may do.
//! - While it lasts: [`guard`] is who vouches for the first step, [`watcher`] the one on real networks, `roll` its list
//!   of hosts.
//! - Frames: `framer` makes them, for each `lane` of a device; a `ring` is memory shared with the kernel; `spans` finds
//!   what holds for an address.
//! - Where probes may go: [`fence`] in this program, [`fuse`] in the kernel.

pub mod capabilities;
pub mod clock;
pub mod connect;
pub mod fence;
mod framer;
pub mod fuse;
pub mod guard;
pub mod handshake;
pub mod interface;
pub mod lane;
pub mod neighbour;
mod netlink;
pub mod next_hop;
pub mod packet;
pub mod raw;
mod ring;
mod roll;
pub mod route;
pub mod sim;
mod spans;
pub mod switch;
pub mod watcher;
pub mod xdp;

use std::net::IpAddr;
use std::time::Duration;

use clock::Tick;

use crate::wire::reply::Reply;

/// One SYN that is to be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Probe {
    /// Where to.
    pub ip: IpAddr,
    /// Where to.
    pub port: u16,
    /// Where from; what [`Transmit::source`] said for `ip`.
    pub source: IpAddr,
    /// Where from; chosen by the cookie.
    pub source_port: u16,
    /// Sequence number; chosen by the cookie.
    pub sequence: u32,
}

/// A reply, and when it came in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Arrival {
    /// When the packet was seen, by the link's clock.
    pub at: Tick,
    /// What it says.
    pub reply: Reply,
}

/// The sending half of a link.
pub trait Transmit: Send {
    /// The address that probes to `ip` come from. Unspecified where the kernel decides at the last moment.
    fn source(&self, ip: IpAddr) -> IpAddr;

    /// Hands probes to the network, and puts the places of those that it did not take into `refused`, lowest first,
    /// which is empty before. They were refused for the moment (a full queue, no file descriptor, an interface that is
    /// down): nothing of them left, and the caller may try again.
    ///
    /// # Errors
    /// When the link is broken, or when a probe lies outside the fence. `refused` then holds what did not leave.
    fn transmit(&mut self, probes: &[Probe], refused: &mut Vec<usize>) -> Result<(), LinkError>;

    /// Says that what was taken so far is waited for: from now on, [`Self::is_draining`] is about that.
    fn mark(&mut self) {}

    /// Whether probes that were taken before the mark may still be on their way to the device. Nobody waits for the
    /// answer to a probe that has not left.
    fn is_draining(&mut self) -> bool {
        false
    }
}

/// The receiving half of a link.
pub trait Receive: Send {
    /// Waits at most `timeout` for replies and calls `each` with every one that is there.
    ///
    /// # Errors
    /// When the link is broken.
    fn receive(&mut self, timeout: Duration, each: &mut dyn FnMut(Arrival)) -> Result<(), LinkError>;

    /// How many frames meant for us were lost before we saw them, since the link was opened.
    ///
    /// # Errors
    /// When the kernel does not say.
    fn dropped(&mut self) -> Result<u64, LinkError>;
}

impl<T: Transmit + ?Sized> Transmit for Box<T> {
    fn source(&self, ip: IpAddr) -> IpAddr {
        (**self).source(ip)
    }

    fn transmit(&mut self, probes: &[Probe], refused: &mut Vec<usize>) -> Result<(), LinkError> {
        (**self).transmit(probes, refused)
    }

    fn mark(&mut self) {
        (**self).mark();
    }

    fn is_draining(&mut self) -> bool {
        (**self).is_draining()
    }
}

impl<R: Receive + ?Sized> Receive for Box<R> {
    fn receive(&mut self, timeout: Duration, each: &mut dyn FnMut(Arrival)) -> Result<(), LinkError> {
        (**self).receive(timeout, each)
    }

    fn dropped(&mut self) -> Result<u64, LinkError> {
        (**self).dropped()
    }
}

/// Why a link cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A system call failed.
    #[error("failed to {attempt} on {object}: {cause}; {remedy}")]
    System {
        /// What was tried.
        attempt: &'static str,
        /// On what.
        object: String,
        /// What the system said.
        cause: std::io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// A probe outside the scope reached the link: a bug of ours, caught before it left.
    #[error(
        "refused to send a probe to {ip} port {port}: it is outside the scope; this is a bug, please report it"
    )]
    OutsideFence {
        /// Where it would have gone.
        ip: IpAddr,
        /// Where it would have gone.
        port: u16,
    },
    /// There is no way to a target.
    #[error("no way to {ip}: {why}; {remedy}")]
    NoWay {
        /// The address that cannot be reached.
        ip: IpAddr,
        /// Why not.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// The kernel chooses the way by more than the destination.
    #[error(
        "this host's routing rules choose the way by ports or protocols, so that a target has no one way; see `ip rule`, \
         and sweep from a network namespace without such rules"
    )]
    RoutedByPort,
    /// The interface is missing, down, or of a kind that the engine cannot use.
    #[error("interface {interface} {why}; {remedy}")]
    Interface {
        /// Its name.
        interface: String,
        /// What is wrong with it.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// The XDP engine cannot run, for a reason that is known.
    #[error("the xdp engine cannot run {place}: {why}; {remedy}")]
    NoXdp {
        /// Here, or on which interface.
        place: String,
        /// What is missing or in its way.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// The XDP engine cannot send by this device, by which packet sockets can.
    #[error("the xdp engine cannot run on {interface}: {why}; {remedy}")]
    TakesNoFrames {
        /// The device.
        interface: String,
        /// Why not.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// The kernel's own fence caught what ours let pass: a bug of ours.
    #[error(
        "the fuse caught {caught} frames that would have left the scope: this is a bug, please report it; the sweep \
         was ended"
    )]
    Fuse {
        /// How many frames.
        caught: u64,
    },
    /// The program that sends by XDP caught what our fence let pass: a bug of ours.
    #[error(
        "the BPF program that sends on {interface} caught {caught} frames that would have left the scope: this is a \
         bug, please report it; the sweep was ended"
    )]
    Fenced {
        /// The device.
        interface: String,
        /// How many frames.
        caught: u64,
    },
    /// The kernel's own fence can no longer be relied on.
    #[error("the sweep was ended because it was to have a fuse behind it: {why}")]
    FuseLost {
        /// Why not.
        why: fuse::FuseError,
    },
}
