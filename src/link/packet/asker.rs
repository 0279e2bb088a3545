//! Asks the neighbours on one Ethernet interface for their hardware addresses, by ARP and by neighbour discovery, and
//! hears their answers.
//!
//! The questions go out by a packet socket and so past the kernel: its own table of neighbours, which holds a thousand
//! entries by default, does not fill up with the addresses of a large network that nobody has.

use std::io::{self, Read};
use std::net::IpAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::super::LinkError;
use super::super::interface::Interface;
use super::filter;
use super::sys::{self, PlainStatistics};
use crate::wire::neighbour::{NeighbourAnswer, neighbour_answer};
use crate::wire::{arp, ndp};

/// Asks on one interface.
#[derive(Debug)]
pub struct Asker {
    /// Hears nothing.
    questions: Socket,
    /// Sends nothing.
    answers: Socket,
    interface: Interface,
    mac: [u8; 6],
    /// In whose name was asked. There are only ever a few.
    sources: Vec<IpAddr>,
    dropped: u64,
    outages: u64,
}

impl Asker {
    /// Opens the two sockets.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, when the interface is gone, or when it has no neighbours that could be asked.
    pub fn open(interface: &Interface) -> Result<Self, LinkError> {
        let mac = interface.mac.filter(|_| interface.has_neighbours());
        let mac = mac.ok_or_else(|| no_neighbours(interface))?;
        let name = interface.name.as_str();
        let failed = |attempt, remedy| move |cause| sys::failed(attempt, name, cause, remedy);
        let bind = |socket, ethertype| {
            sys::bind(socket, interface.index, ethertype)
                .map_err(failed("bind a packet socket", "check that the interface is there and up"))
        };
        let set = |socket, option| sys::set_option::<libc::c_int>(socket, option, &1);
        let questions = sys::open_deaf(name)?;
        // The queueing discipline throws away what comes while there is no carrier, and calls that a success.
        set(&questions, libc::PACKET_QDISC_BYPASS)
            .map_err(failed("prepare a packet socket", "Linux 4.14 or newer is needed"))?;
        bind(&questions, 0)?;
        let answers = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))
            .map_err(failed("open a packet socket", sys::NEEDS_CAP_NET_RAW))?;
        answers
            .attach_filter(&filter::neighbour_answers())
            .map_err(failed("attach a packet filter", "this is a bug, please report it"))?;
        set(&answers, libc::PACKET_IGNORE_OUTGOING)
            .and_then(|()| answers.set_nonblocking(true))
            .map_err(failed("prepare a packet socket", "Linux 4.20 or newer is needed"))?;
        sys::enlarge_receive_buffer(&answers, RECEIVE_BUFFER_BYTES);
        bind(&answers, ALL_PROTOCOLS)?;
        let interface = interface.clone();
        Ok(Asker { questions, answers, interface, mac, sources: Vec::new(), dropped: 0, outages: 0 })
    }

    /// Asks in the name of `source` who has `wanted`: the one station `to`, as the kernel does that makes sure of a
    /// neighbour, or else everybody. False means "not now": a full queue, or an interface that is down.
    ///
    /// # Errors
    /// When the interface is gone, or when the two addresses are of different families.
    pub fn ask(&mut self, source: IpAddr, wanted: IpAddr, to: Option<[u8; 6]>) -> Result<bool, LinkError> {
        let sent = match (source, wanted) {
            (IpAddr::V4(source), IpAddr::V4(wanted)) => {
                self.send(&mut arp::request(self.mac, source, wanted), to)
            }
            (IpAddr::V6(source), IpAddr::V6(wanted)) => {
                self.send(&mut ndp::solicitation(self.mac, source, wanted), to)
            }
            _ => return Err(of_two_families(source, wanted)),
        };
        if !self.sources.contains(&source) {
            self.sources.push(source);
        }
        match sent {
            Ok(_) => Ok(true),
            Err(error) if is_outage(&error) => {
                self.outages += 1;
                Ok(false)
            }
            Err(error) if is_refusal(&error) => Ok(false),
            Err(cause) => Err(self.failed("ask for a neighbour")(cause)),
        }
    }

    /// Waits at most `timeout` for answers to questions of ours and calls `each` with every one that is there; with no
    /// time to wait it only looks. An interface that is down is silent.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn answers(
        &mut self,
        timeout: Duration,
        each: &mut dyn FnMut(NeighbourAnswer),
    ) -> Result<(), LinkError> {
        if !timeout.is_zero() {
            let waited = sys::wait_readable(&self.answers, timeout);
            self.past_pauses(waited, "wait for neighbours")?;
        }
        let mut packet = [0; PACKET_BYTES];
        // However many come in, the caller can look after itself in between.
        for _ in 0..PACKETS_A_LOOK {
            let read = self.answers.read(&mut packet);
            let Some(length) = self.past_pauses(read, "read the answers of neighbours")? else { break };
            let answer = packet.get(..length).and_then(neighbour_answer);
            if let Some(answer) = answer.filter(|answer| self.is_ours(answer)) {
                each(answer);
            }
        }
        Ok(())
    }

    /// Whether an answer is to a question of ours. Any station on the network can send one that nobody asked for; and
    /// our own address cannot be somebody else's.
    pub fn is_ours(&self, answer: &NeighbourAnswer) -> bool {
        self.sources.contains(&answer.asked_by) && answer.mac != self.mac
    }

    /// How many answers were lost because nobody fetched them in time, since the sockets were opened.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn dropped(&mut self) -> Result<u64, LinkError> {
        let statistics: PlainStatistics = sys::get_option(&self.answers, libc::PACKET_STATISTICS)
            .map_err(self.failed("read the drop counter"))?;
        // Reading sets the kernel's counter back, so the sum is kept here.
        self.dropped += u64::from(statistics.drops);
        Ok(self.dropped)
    }

    /// How often the interface was seen to be down since the sockets were opened; answers may be lost each time.
    pub fn outages(&self) -> u64 {
        self.outages
    }

    /// The interface that it asks on.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    fn send(&self, frame: &mut [u8], to: Option<[u8; 6]>) -> io::Result<usize> {
        if let (Some(mac), Some(destination)) = (to, frame.first_chunk_mut()) {
            *destination = mac;
        }
        self.questions.send_with_flags(frame, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    }

    /// What was read, or nothing where an error only means that there is nothing.
    fn past_pauses<T>(
        &mut self,
        result: io::Result<T>,
        attempt: &'static str,
    ) -> Result<Option<T>, LinkError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_outage(&error) => {
                self.outages += 1;
                Ok(None)
            }
            Err(error) if is_refusal(&error) => Ok(None),
            Err(cause) => Err(self.failed(attempt)(cause)),
        }
    }

    fn failed(&self, attempt: &'static str) -> impl FnOnce(io::Error) -> LinkError + '_ {
        move |cause| {
            sys::failed(
                attempt,
                &self.interface.name,
                cause,
                "check with `ip link` that the interface is there",
            )
        }
    }
}

/// Room for the answers of thousands of neighbours: the kernel counts some 800 bytes for each.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// `ETH_P_ALL`. Only the filter decides what is let through.
const ALL_PROTOCOLS: u16 = 0x0003;

/// More bytes than the longest answer that is understood.
const PACKET_BYTES: usize = 256;

/// How many packets are read at one go.
const PACKETS_A_LOOK: usize = 1024;

/// Whether an error says that the interface is down.
fn is_outage(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENETDOWN)
}

/// Whether an error means "not now" rather than "not ever".
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR))
}

/// The error of an interface on which nobody can be asked.
pub(in crate::link) fn no_neighbours(interface: &Interface) -> LinkError {
    LinkError::Interface {
        interface: interface.name.clone(),
        why: "has no neighbours that ARP or neighbour discovery could find".to_owned(),
        remedy: "frames need an Ethernet interface; probe what lies behind this one with `--engine connect`"
            .to_owned(),
    }
}

fn of_two_families(source: IpAddr, wanted: IpAddr) -> LinkError {
    LinkError::NoWay {
        ip: wanted,
        why: format!("{source} cannot ask for it, being of the other address family"),
        remedy: "this is a bug, please report it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_pause_from_an_end() {
        let error = io::Error::from_raw_os_error;
        assert!(is_outage(&error(libc::ENETDOWN)) && !is_refusal(&error(libc::ENETDOWN)));
        assert!(is_refusal(&error(libc::ENOBUFS)) && is_refusal(&error(libc::EAGAIN)));
        assert!(!is_refusal(&error(libc::ENXIO)) && !is_outage(&error(libc::ENODEV)));
    }
}
