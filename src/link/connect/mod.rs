//! A link that needs no privilege: each probe is a nonblocking `connect` by the kernel's own stack, thousands of them
//! in flight at once.
//!
//! The transmitting half opens a socket, begins the handshake and hands the socket over; the receiving half waits for
//! it to end, says how, and closes it. The kernel chooses source address, source port and sequence number and accepts
//! nothing that does not fit them, so there is no cookie to check: the link remembers the probe of each socket and
//! answers in its words, with the acknowledgment that the probe would have got.
//!
//! What must hold:
//! - One attempt is one SYN. The kernel would send it again after 1 s (`TCP_TIMEOUT_INIT`); every attempt is closed
//!   before that, whether it was answered or not. Sending again is for the sweep to decide.
//! - Nothing lingers. Every socket closes with a reset, from the moment that it exists, so neither side keeps a state
//!   after the attempt, however it ends.
//! - Only packets speak. An error number whose origin is unknown is never read as an answer of the target's.
//!
//! How a reply comes about, where it is not plain:
//! - A reset after the handshake is `SynAck`: the handshake was completed, so somebody listens.
//! - A socket that got connected to itself is `Rst`: a target port in the ephemeral range of this very host may be
//!   chosen as source port, and the handshake with oneself succeeds although nobody listens.
//! - What the kernel refuses at once for one target, without sending anything, is no reply at all: no route any more, a
//!   `prohibit` route, no address to speak from, a policy that forbids it. There was a way to every target before the
//!   sweep began, so that this is a failing of this host's and not the target's: "not now", as of a full queue, except
//!   that others may have better luck.
//! - `NoNeighbour` is what the kernel says after three seconds of asking for the address. An attempt does not last that
//!   long, so the first ones to such a target end in silence, and one that is in flight at that moment is told. That
//!   goes for targets on the network of an interface only: behind a gateway, it is the gateway that does not answer.
//!
//! What it cannot see: a SYN that this host itself drops without a word, and `connect` succeeds all the same. So does a
//! local firewall that drops, and so does a full neighbour table (`net.ipv4.neigh.default.gc_thresh3`, 1,024 entries
//! unless set otherwise): of more targets than that on the local network itself, the rest ends in silence.

mod notice;
mod receive;
mod sys;
mod transmit;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel;
use mio::{Poll, Waker};
use socket2::Socket;

use super::clock::{Monotonic, Tick};
use super::fence::Fence;
use super::{Arrival, LinkError, Probe};
use crate::sync::{AtomicBool, AtomicU64, CachePadded, Ordering};

pub use receive::ConnectReceive;
pub use transmit::ConnectTransmit;

/// How long one attempt may take at most, and takes unless something else is said: a tenth of a second less than the
/// kernel waits before it sends the SYN again, so that a busy host, too, closes the socket in time.
pub const PATIENCE_MAX: Duration = Duration::from_millis(900);

/// The program never holds more file descriptors than this, whatever the limit.
pub const DESCRIPTORS_MAX: usize = 20_000;

/// File descriptors that are left to the rest of the program: store, sinks, logs.
const DESCRIPTORS_SPARE: usize = 64;

/// What a connect link is to do.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Where probes may go.
    pub fence: Fence,
    /// How many attempts may be in flight at once; each holds a file descriptor. No more than [`DESCRIPTORS_MAX`].
    pub max_in_flight: usize,
    /// How long one attempt may take. No more than [`PATIENCE_MAX`].
    pub patience: Duration,
    /// The interface that probes must leave by, if the routes are not to decide.
    pub interface: Option<String>,
    /// The addresses (both ends included, in any order) whose neighbours we are: only of these can the kernel find out
    /// that nobody has them.
    pub on_link: Vec<(IpAddr, IpAddr)>,
}

impl ConnectOptions {
    /// As many attempts in flight as this process can have, all with the longest patience, by the routes.
    pub fn new(fence: Fence) -> Self {
        ConnectOptions {
            fence,
            max_in_flight: default_in_flight(),
            patience: PATIENCE_MAX,
            interface: None,
            on_link: Vec::new(),
        }
    }
}

/// How many attempts this process can have in flight: its limit of open files, but [`DESCRIPTORS_MAX`] at most, less
/// what the rest of the program needs. Raises the soft limit towards the hard one for that.
pub fn default_in_flight() -> usize {
    // Every Linux gives 1,024 unless told otherwise, so that is a safe guess where the kernel does not say.
    let limit = sys::raise_descriptor_limit(DESCRIPTORS_MAX as u64).unwrap_or(1024);
    in_flight_of(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Opens a connect link.
///
/// # Errors
/// When the kernel gives no poll descriptor.
pub fn open(
    options: ConnectOptions,
    clock: Monotonic,
) -> Result<(ConnectTransmit, ConnectReceive), LinkError> {
    let poll = Poll::new().map_err(|cause| poll_failed("open", cause))?;
    let waker =
        Waker::new(poll.registry(), receive::WAKE).map_err(|cause| poll_failed("add a waker to", cause))?;
    let shared = Arc::new(Shared::default());
    // The channel needs no bound of its own: what is in it counts as in flight.
    let (hand_over, newcomers) = channel::unbounded();
    let transmit = ConnectTransmit::new(options, clock, hand_over, waker, Arc::clone(&shared));
    let receive = ConnectReceive::new(poll, newcomers, shared, clock);
    Ok((transmit, receive))
}

/// One handshake under way. Dropping it closes the socket, and with it ends the attempt.
struct Attempt {
    socket: Socket,
    probe: Probe,
    /// Whether the target is on the network of an interface.
    on_link: bool,
    /// When to give up.
    deadline: Tick,
}

/// What the transmitting half hands over.
enum Handover {
    /// A handshake to wait for.
    Begun(Attempt),
    /// An attempt that was over at once.
    Ended(Arrival),
}

/// What the two halves share. Each counter has one writer; their difference is what is in flight.
#[derive(Default)]
struct Shared {
    /// Handed over, ever. Written by the transmitting half.
    handed: CachePadded<AtomicU64>,
    /// Over and closed, ever. Written by the receiving half.
    closed: CachePadded<AtomicU64>,
    /// Whether the receiving half is about to wait, or waits, and wants to be woken.
    waiting: CachePadded<AtomicBool>,
}

impl Shared {
    /// Attempts that were handed over and are not closed yet.
    fn in_flight(&self) -> u64 {
        // Acquire pairs with the release in `close`: a descriptor that counts as closed is closed. Only the
        // transmitting half asks, so that its own counter needs no order.
        let closed = self.closed.load(Ordering::Acquire);
        self.handed.load(Ordering::Relaxed).saturating_sub(closed)
    }
}

fn in_flight_of(limit: usize) -> usize {
    limit.min(DESCRIPTORS_MAX).saturating_sub(DESCRIPTORS_SPARE).max(1)
}

fn poll_failed(attempt: &'static str, cause: io::Error) -> LinkError {
    LinkError::System {
        attempt,
        object: "the poll of the connect link".to_owned(),
        cause,
        remedy: "raise the limit of open files (ulimit -n)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_leave_descriptors_to_the_rest() {
        for (limit, attempts) in [(0, 1), (64, 1), (1024, 960), (20_000, 19_936), (usize::MAX, 19_936)] {
            assert_eq!(in_flight_of(limit), attempts, "limit {limit}");
        }
    }
}
