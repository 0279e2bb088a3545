//! The transmitting half: begins handshakes and hands them over.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Sender;
use mio::Waker;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Attempt, ConnectOptions, DESCRIPTORS_MAX, Handover, PATIENCE_MAX, Shared, receive, sys};
use crate::link::clock::{Clock, Monotonic, Tick};
use crate::link::{Arrival, LinkError, Probe, Transmit};
use crate::sync::Ordering;
use crate::wire::reply::Answer;

/// How long the system may refuse every probe, with none of ours in flight that could make room, before that is an
/// error and not a moment.
const STARVED_MAX: Duration = Duration::from_secs(4);

/// The transmitting half of a connect link.
pub struct ConnectTransmit {
    options: ConnectOptions,
    clock: Monotonic,
    hand_over: Sender<Handover>,
    waker: Waker,
    shared: Arc<Shared>,
    /// Since when there has been no room although nothing is in flight.
    starved: Option<Tick>,
}

/// How an attempt began.
enum Beginning {
    /// The SYN is on its way, or an answer is there already.
    Begun(Attempt),
    /// It is over: the kernel said so at once.
    Ended(Option<Answer>),
    /// There is no room for it at the moment, nor for any other.
    Refused(io::Error),
    /// It cannot leave at the moment; others may, to other targets.
    Held,
}

/// What became of a probe.
enum Fate {
    /// It was taken.
    Taken,
    /// It was refused, and all others would be.
    NoRoom,
    /// It was refused.
    Held,
}

impl ConnectTransmit {
    pub(super) fn new(
        options: ConnectOptions,
        clock: Monotonic,
        hand_over: Sender<Handover>,
        waker: Waker,
        shared: Arc<Shared>,
    ) -> Self {
        let max_in_flight = options.max_in_flight.clamp(1, DESCRIPTORS_MAX);
        let patience = options.patience.min(PATIENCE_MAX);
        let mut options = ConnectOptions { max_in_flight, patience, ..options };
        options.on_link.sort_unstable();
        ConnectTransmit { options, clock, hand_over, waker, shared, starved: None }
    }

    /// Begins one attempt. Nothing of it has left unless it says so.
    fn begin(&self, probe: &Probe) -> Result<Beginning, LinkError> {
        let domain = if probe.ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = match Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP)) {
            Ok(socket) => socket,
            Err(cause) if is_of_the_moment(&cause) => return Ok(Beginning::Refused(cause)),
            Err(cause) => return Err(failed("open a socket", probe, cause)),
        };
        self.prepare(&socket, domain, probe)?;
        // Taken before the call, so that the kernel's own timer begins no earlier than ours.
        let deadline = self.clock.now() + self.options.patience;
        let on_link = within(&self.options.on_link, probe.ip);
        let connected = socket.connect(&SocketAddr::new(probe.ip, probe.port).into());
        let Some(cause) = connected.err().filter(|cause| cause.raw_os_error() != Some(libc::EINPROGRESS))
        else {
            return Ok(Beginning::Begun(Attempt { socket, probe: *probe, on_link, deadline }));
        };
        Ok(match cause.raw_os_error().unwrap_or(0) {
            libc::EADDRNOTAVAIL if !has_source(probe.ip) => Beginning::Held,
            libc::EADDRNOTAVAIL => Beginning::Refused(cause),
            _ if is_of_the_moment(&cause) => Beginning::Refused(cause),
            // A loopback may have answered already.
            libc::ECONNREFUSED => Beginning::Ended(receive::judge_socket(&socket, probe, on_link)),
            // Whatever else the kernel has against this one target (see the module), it says nothing of it.
            _ => Beginning::Held,
        })
    }

    /// Sets what has to be set before the SYN leaves.
    fn prepare(&self, socket: &Socket, domain: Domain, probe: &Probe) -> Result<(), LinkError> {
        let options = || -> io::Result<()> {
            sys::keep_icmp_errors(socket, domain)?;
            // Closing in time is what keeps the kernel from sending again. Should this process be stopped in between,
            // one more SYN is all that leaves.
            sys::set_syn_retries(socket, 1)?;
            // However the socket gets closed, a connection is reset: no TIME_WAIT here, no dead entry in the queue
            // of the listener there.
            socket.set_linger(Some(Duration::ZERO))?;
            if domain == Domain::IPV6 {
                // Otherwise a probe to ::ffff:192.0.2.1 would leave as IPv4, past an IPv4 fence that says no.
                socket.set_only_v6(true)?;
            }
            Ok(())
        };
        options().map_err(|cause| failed("set options of a socket", probe, cause))?;
        let Some(interface) = &self.options.interface else { return Ok(()) };
        socket.bind_device(Some(interface.as_bytes())).map_err(|cause| LinkError::Interface {
            interface: interface.clone(),
            why: format!("cannot be bound to: {cause}"),
            remedy: "check its name with `ip link`, or leave the choice to the routes".to_owned(),
        })
    }

    /// Begins an attempt and hands it over, if there is room for it.
    fn take(&mut self, probe: &Probe) -> Result<Fate, LinkError> {
        self.options.fence.check(probe)?;
        if self.shared.in_flight() >= self.options.max_in_flight as u64 {
            return Ok(Fate::NoRoom);
        }
        let handover = match self.begin(probe)? {
            Beginning::Begun(attempt) => Handover::Begun(attempt),
            Beginning::Ended(Some(answer)) => {
                Handover::Ended(Arrival { at: self.clock.now(), reply: receive::reply(probe, answer) })
            }
            // Silence: the probe counts as sent, and nothing comes back.
            Beginning::Ended(None) => return Ok(Fate::Taken),
            Beginning::Refused(cause) => {
                self.refused(probe, cause)?;
                return Ok(Fate::NoRoom);
            }
            Beginning::Held => return Ok(Fate::Held),
        };
        self.starved = None;
        self.hand_over(probe, handover)?;
        Ok(Fate::Taken)
    }

    /// Hands over, and wakes the other half if it sleeps.
    fn hand_over(&mut self, probe: &Probe, handover: Handover) -> Result<(), LinkError> {
        if self.hand_over.send(handover).is_err() {
            return Err(failed("hand over a connection", probe, io::ErrorKind::BrokenPipe.into()));
        }
        // SeqCst on both sides: either the other half sees this count before it waits, or we see that it waits.
        self.shared.handed.fetch_add(1, Ordering::SeqCst);
        if self.shared.waiting.load(Ordering::SeqCst) && self.shared.waiting.swap(false, Ordering::SeqCst) {
            self.waker.wake().map_err(|cause| super::poll_failed("wake", cause))?;
        }
        Ok(())
    }

    /// Accepts a refusal, unless nothing that we could wait for would end it.
    fn refused(&mut self, probe: &Probe, cause: io::Error) -> Result<(), LinkError> {
        if self.shared.in_flight() > 0 {
            self.starved = None;
            return Ok(());
        }
        let now = self.clock.now();
        let since = *self.starved.get_or_insert(now);
        if now.since(since) < STARVED_MAX {
            return Ok(());
        }
        Err(failed("begin a connection", probe, cause))
    }
}

impl Transmit for ConnectTransmit {
    fn source(&self, ip: IpAddr) -> IpAddr {
        match ip {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    fn transmit(&mut self, probes: &[Probe], refused: &mut Vec<usize>) -> Result<(), LinkError> {
        for (at, probe) in probes.iter().enumerate() {
            match self.take(probe) {
                Ok(Fate::Taken) => {}
                Ok(Fate::Held) => refused.push(at),
                result => {
                    refused.extend(at..probes.len());
                    return result.map(drop);
                }
            }
        }
        Ok(())
    }
}

/// Whether the kernel lacks something that closing other sockets gives back.
fn is_of_the_moment(cause: &io::Error) -> bool {
    matches!(
        cause.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN)
    )
}

/// Whether one of these ranges, which are sorted, holds an address.
fn within(ranges: &[(IpAddr, IpAddr)], ip: IpAddr) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= ip);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| ip <= *last)
}

/// Whether this host has an address to speak from to `ip`. The error number of `connect` is the same whether that is
/// lacking or just a free port; a datagram socket, which sends nothing when it is connected, finds a port always.
fn has_source(ip: IpAddr) -> bool {
    let domain = if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))
        .and_then(|socket| socket.connect(&SocketAddr::new(ip, 9).into()))
        .is_ok()
}

fn failed(attempt: &'static str, probe: &Probe, cause: io::Error) -> LinkError {
    let object = format!("a probe to {} port {}", probe.ip, probe.port);
    let remedy = match cause.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => "raise the limit of open files (ulimit -n, fs.file-max)",
        Some(libc::EADDRNOTAVAIL) => "widen net.ipv4.ip_local_port_range",
        Some(libc::ENOBUFS | libc::ENOMEM) => "give the host more memory for sockets (net.ipv4.tcp_mem)",
        Some(libc::EAFNOSUPPORT) => {
            "allow sockets of this address family (AF_INET6) where a sandbox forbids them"
        }
        _ => "see what else uses this link, and try another engine",
    };
    LinkError::System { attempt, object, cause, remedy }
}
