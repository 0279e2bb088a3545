//! The hardware address of the next hop: from the kernel's table of neighbours, or else by asking on the network.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use netlink_packet_core::NlasIterator;
use netlink_packet_route::RouteNetlinkMessage;
pub use netlink_packet_route::neighbour::NeighbourState;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourHeader, NeighbourMessage,
};
use pnet::datalink::{self, Channel, DataLinkReceiver, DataLinkSender, NetworkInterface};

use super::LinkError;
use super::clock::{Clock, Tick};
use super::interface::Interface;
use super::netlink::{Netlink, failed, family_of, undecodable};
use super::route::{Hop, HopKind};
use crate::wire::arp;

/// What the kernel knows of a neighbour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NeighbourEntry {
    /// Its hardware address, if the kernel ever learnt one of six bytes.
    pub mac: Option<[u8; 6]>,
    /// How sure the kernel is of it.
    pub state: NeighbourState,
}

impl NeighbourEntry {
    /// The hardware address if somebody has set it by hand, or no question would be answered there.
    fn fixed(&self) -> Option<[u8; 6]> {
        matches!(self.state, NeighbourState::Permanent | NeighbourState::Noarp).then_some(self.mac).flatten()
    }

    /// The hardware address if the kernel itself would send to it.
    pub fn usable(&self) -> Option<[u8; 6]> {
        match self.state {
            NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
            | NeighbourState::Noarp => self.mac,
            _ => None,
        }
    }
}

/// The hardware address that packets for `target` are sent to by this hop. We ask, because what the kernel remembers
/// may have been true a minute ago and no longer: a router that has failed over has another address, and probes sent to
/// the old one would all look silent. Only an entry that somebody has set by hand is believed. We ask at most three
/// times within `patience`, but never more often than every 300 ms: so it takes no longer than `patience`, or 0.9
/// s.
///
/// # Errors
/// When nobody answers, or when the hop is of a kind that has no neighbours with such addresses.
pub fn resolve(
    hop: &Hop,
    target: IpAddr,
    patience: Duration,
    clock: &dyn Clock,
) -> Result<[u8; 6], LinkError> {
    let neighbour = hop.neighbour_for(target);
    let (Some(mac), true) = (hop.interface.mac, hop.kind != HopKind::Local && hop.interface.has_neighbours())
    else {
        return Err(no_neighbours(&hop.interface));
    };
    let known = known(neighbour, hop.interface.index)?;
    if let Some(fixed) = known.as_ref().and_then(NeighbourEntry::fixed) {
        return Ok(fixed);
    }
    let (IpAddr::V4(source), IpAddr::V4(wanted)) = (hop.source, neighbour) else {
        return Err(LinkError::NoWay {
            ip: neighbour,
            why: "IPv6 next hops are not supported yet".to_owned(),
            remedy: "probe these addresses with `--engine connect`".to_owned(),
        });
    };
    let question = Question { interface: &hop.interface, mac, source, wanted };
    let answer = question.ask(patience.max(TRY_GAP * TRIES), clock)?;
    // Silence, and yet the kernel has heard of it within seconds: some routers answer nobody but whom they know.
    let answer =
        answer.or(known.filter(|entry| entry.state == NeighbourState::Reachable).and_then(|entry| entry.mac));
    answer.ok_or_else(|| silence(&hop.interface, neighbour))
}

/// What the kernel knows of a neighbour on an interface; `None` if nothing.
///
/// # Errors
/// When the kernel does not say.
pub fn known(ip: IpAddr, interface_index: u32) -> Result<Option<NeighbourEntry>, LinkError> {
    let mut request = NeighbourMessage::default();
    request.header.family = family_of(ip);
    request.header.ifindex = interface_index;
    request.attributes.push(NeighbourAttribute::Destination(match ip {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    }));
    let answer = Netlink::open()?.ask(RouteNetlinkMessage::GetNeighbour(request));
    match answer.and_then(|body| decode(&body)) {
        Ok(entry) => Ok(Some(entry)),
        Err(cause) if cause.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(cause) => Err(failed("look up the neighbour", ip.to_string(), cause)),
    }
}

/// How often a neighbour is asked. One broadcast frame is easily lost where many are sent.
const TRIES: u32 = 3;

/// The shortest time between two tries.
const TRY_GAP: Duration = Duration::from_millis(300);

/// How long one look for an answer may take: bounds how late a try goes out.
const LOOK: Duration = Duration::from_millis(50);

/// The length of the fixed part of `RTM_NEWNEIGH`: `struct ndmsg`.
const NEIGHBOUR_HEADER_LENGTH: usize = 12;

/// The attribute with the hardware address, from `linux/neighbour.h`.
const NDA_LLADDR: u16 = 2;

/// The two ends of a packet socket.
type Ends = (Box<dyn DataLinkSender>, Box<dyn DataLinkReceiver>);

/// Who has `wanted`? Tell `source`.
struct Question<'a> {
    interface: &'a Interface,
    mac: [u8; 6],
    source: Ipv4Addr,
    wanted: Ipv4Addr,
}

impl Question<'_> {
    /// Asks until somebody answers or the time is up.
    fn ask(&self, patience: Duration, clock: &dyn Clock) -> Result<Option<[u8; 6]>, LinkError> {
        let (mut sender, mut receiver) = self.open()?;
        let frame = arp::request(self.mac, self.source, self.wanted);
        for _ in 0..TRIES {
            let until = clock.now() + patience / TRIES;
            // `None` would mean that the frame is too large for the sender's buffer, which it is not.
            sender
                .send_to(&frame, None)
                .unwrap_or(Ok(()))
                .map_err(|cause| self.failed("send an ARP request", cause))?;
            if let Some(mac) = self.listen(receiver.as_mut(), until, clock)? {
                return Ok(Some(mac));
            }
        }
        Ok(None)
    }

    fn open(&self) -> Result<Ends, LinkError> {
        // Only the number and the address are looked at.
        let interface = NetworkInterface {
            name: self.interface.name.clone(),
            description: String::new(),
            index: self.interface.index,
            mac: Some(self.mac.into()),
            ips: Vec::new(),
            flags: 0,
        };
        let config = datalink::Config {
            read_timeout: Some(LOOK),
            write_timeout: Some(TRY_GAP),
            promiscuous: false,
            ..Default::default()
        };
        match datalink::channel(&interface, config) {
            Ok(Channel::Ethernet(sender, receiver)) => Ok((sender, receiver)),
            Ok(_) => Err(no_neighbours(self.interface)),
            Err(cause) => Err(self.failed("open a packet socket", cause)),
        }
    }

    /// Reads frames until one is the answer, or until that moment.
    fn listen(
        &self,
        receiver: &mut dyn DataLinkReceiver,
        until: Tick,
        clock: &dyn Clock,
    ) -> Result<Option<[u8; 6]>, LinkError> {
        // The time is looked at after every frame: on a busy network there is always a next one.
        while clock.now() < until {
            match receiver.next() {
                Ok(frame) => {
                    if let Some(mac) = self.answered_by(frame) {
                        return Ok(Some(mac));
                    }
                }
                Err(error) if is_pause(&error) => {}
                Err(cause) => return Err(self.failed("read ARP replies", cause)),
            }
        }
        Ok(None)
    }

    /// The hardware address if the frame answers just this question. An answer that somebody else asked for, or nobody,
    /// is none: any station on the network can send it.
    fn answered_by(&self, frame: &[u8]) -> Option<[u8; 6]> {
        let reply = arp::reply(frame)?;
        let ours =
            reply.sender_ip == self.wanted && reply.target_ip == self.source && reply.target_mac == self.mac;
        // Our own address cannot be somebody else's.
        (ours && reply.sender_mac != self.mac).then_some(reply.sender_mac)
    }

    fn failed(&self, attempt: &'static str, cause: io::Error) -> LinkError {
        let remedy = match cause.kind() {
            io::ErrorKind::PermissionDenied => {
                "run as root or give the program CAP_NET_RAW; `--engine connect` needs neither"
            }
            _ => "check with `ip link` that the interface is still there and up",
        };
        LinkError::System { attempt, object: self.interface.name.clone(), cause, remedy }
    }
}

/// Whether an error only means that nothing has come in yet.
fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

fn no_neighbours(interface: &Interface) -> LinkError {
    LinkError::Interface {
        interface: interface.name.clone(),
        why: "has no neighbours that ARP could find".to_owned(),
        remedy: "frames need an Ethernet interface; probe what lies behind this one with `--engine connect`"
            .to_owned(),
    }
}

fn silence(interface: &Interface, neighbour: IpAddr) -> LinkError {
    let name = &interface.name;
    LinkError::NoWay {
        ip: neighbour,
        why: format!("nobody on {name} answered {TRIES} ARP requests for it"),
        remedy: format!(
            "check that it is switched on, the cable, the VLAN, and the gateway's address in `ip route`; \
             `ip neigh show dev {name}` shows who has been seen"
        ),
    }
}

fn decode(body: &[u8]) -> io::Result<NeighbourEntry> {
    let header = NeighbourHeader::parse(body).map_err(|error| undecodable(&error))?;
    let mut entry = NeighbourEntry { mac: None, state: header.state };
    for attribute in NlasIterator::new(body.get(NEIGHBOUR_HEADER_LENGTH..).unwrap_or_default()) {
        let attribute = attribute.map_err(|error| undecodable(&error))?;
        if attribute.kind() == NDA_LLADDR {
            entry.mac = attribute.value().try_into().ok();
        }
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::interface::InterfaceKind;

    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn interface(kind: InterfaceKind) -> Interface {
        Interface {
            index: 2,
            name: "lan0".to_owned(),
            kind,
            mac: Some(OURS),
            mtu: 1500,
            up: true,
            running: true,
            point_to_point: false,
            no_arp: false,
        }
    }

    /// The question turned round, as an honest station answers it.
    fn answer() -> Vec<u8> {
        let (source, wanted) = (Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 0, 254));
        let mut frame = arp::request(THEIRS, wanted, source).to_vec();
        frame[21] = 2;
        frame[32..38].copy_from_slice(&OURS);
        frame
    }

    #[test]
    fn believes_the_answer_to_its_own_question_only() {
        let lan = interface(InterfaceKind::Ethernet);
        let question = Question {
            interface: &lan,
            mac: OURS,
            source: Ipv4Addr::new(198, 18, 0, 1),
            wanted: Ipv4Addr::new(198, 18, 0, 254),
        };
        assert_eq!(question.answered_by(&answer()), Some(THEIRS));
        for (at, what) in [
            (31, "another sender"),
            (41, "an answer to another address of this host"),
            (37, "an answer to another station"),
            (21, "another operation"),
        ] {
            let mut frame = answer();
            frame[at] ^= 0x40;
            assert_eq!(question.answered_by(&frame), None, "{what}");
        }
        let mut echo = answer();
        echo[22..28].copy_from_slice(&OURS);
        assert_eq!(question.answered_by(&echo), None, "our own address");
        for length in 0..42 {
            assert_eq!(question.answered_by(&answer()[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn uses_an_entry_only_as_long_as_the_kernel_would() {
        for (state, usable) in [
            (NeighbourState::Reachable, true),
            (NeighbourState::Stale, true),
            (NeighbourState::Delay, true),
            (NeighbourState::Probe, true),
            (NeighbourState::Permanent, true),
            (NeighbourState::Noarp, true),
            (NeighbourState::Failed, false),
            (NeighbourState::Incomplete, false),
            (NeighbourState::None, false),
            (NeighbourState::Other(0x300), false),
        ] {
            let entry = NeighbourEntry { mac: Some(THEIRS), state };
            assert_eq!(entry.usable().is_some(), usable, "{state:?}");
        }
    }

    #[test]
    fn reads_an_entry_and_stands_any_bytes() {
        let mut body = vec![libc::AF_INET as u8, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 1];
        body.extend([10, 0, 2, 0, 2, 0, 0, 0, 0, 2, 0, 0]);
        let entry = decode(&body).expect("an entry");
        assert_eq!(entry, NeighbourEntry { mac: Some(THEIRS), state: NeighbourState::Stale });
        for length in 0..body.len() {
            let _ = decode(&body[..length]);
        }
    }

    #[test]
    fn asks_no_one_where_no_one_can_answer() {
        let clock = super::super::clock::Monotonic::new();
        let target = IpAddr::from([198, 18, 0, 9]);
        let mut hop = Hop {
            interface: interface(InterfaceKind::Other),
            source: target,
            next_hop: None,
            kind: HopKind::OnLink,
        };
        for kind in [InterfaceKind::Other, InterfaceKind::Loopback] {
            hop.interface = interface(kind);
            assert!(matches!(
                resolve(&hop, target, Duration::ZERO, &clock),
                Err(LinkError::Interface { .. })
            ));
        }
        hop.interface = interface(InterfaceKind::Ethernet);
        hop.kind = HopKind::Local;
        assert!(matches!(resolve(&hop, target, Duration::ZERO, &clock), Err(LinkError::Interface { .. })));
    }
}
