//! The raw link: whole IP packets, which the kernel routes (raw(7)). It is for everything that has no Ethernet
//! neighbours: the loopback, the host's own addresses, tun devices, WireGuard, PPP.
//!
//! A packet socket cannot do this for the loopback: a frame to 127.0.0.1 that comes in by a device has no business
//! there, and the kernel throws it away. The answers arrive like all others, so there is no receiving half here. Needs
//! CAP_NET_RAW.

mod sys;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use self::sys::{BATCH, Outgoing};
use super::fence::Fence;
use super::{LinkError, Probe, Transmit};
use crate::wire::syn::{MAX_SYN_LEN, SynFields, SynTemplate};

/// What a raw link needs to know.
#[derive(Clone, Debug)]
pub struct RawOptions {
    /// Who is probed from which address.
    pub lanes: Vec<RawLane>,
    /// The number and the name of the interface that probes must leave by; for the host's own addresses none.
    pub interface: Option<(u32, String)>,
    /// Where probes may go.
    pub fence: Fence,
}

/// A range of addresses, both ends included, that is probed from one address of the same family.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RawLane {
    /// The lowest address.
    pub first: IpAddr,
    /// The highest address.
    pub last: IpAddr,
    /// The address that probes there come from.
    pub source: IpAddr,
}

/// Sends probes as IP packets.
#[derive(Debug)]
pub struct RawTransmit {
    /// Sorted by their lowest address.
    lanes: Vec<(RawLane, SynTemplate)>,
    fence: Fence,
    v4: Option<Outlet>,
    v6: Option<Outlet>,
    /// The interface's number as the scope of link-local addresses; 0 without one.
    scope_id: u32,
    /// What errors call it.
    name: String,
}

impl RawTransmit {
    /// Opens the sockets that its lanes need.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or when the interface is gone.
    pub fn open(options: &RawOptions) -> Result<Self, LinkError> {
        let interface = options.interface.as_ref();
        let name = interface.map_or("this host", |(_, name)| name).to_owned();
        let outlet = |v4: bool| {
            let is_needed = options.lanes.iter().any(|lane| lane.source.is_ipv4() == v4);
            is_needed.then(|| Outlet::open(v4, interface.map(|(_, name)| name.as_str()), &name)).transpose()
        };
        let (v4, v6) = (outlet(true)?, outlet(false)?);
        let template = |lane: &RawLane| (*lane, SynTemplate::bare(lane.source));
        let mut lanes: Vec<_> = options.lanes.iter().map(template).collect();
        lanes.sort_by_key(|(lane, _)| lane.first);
        let scope_id = interface.map_or(0, |(index, _)| *index);
        Ok(RawTransmit { lanes, fence: options.fence.clone(), v4, v6, scope_id, name })
    }

    /// Writes one probe into the buffers, after the last look at where it goes.
    #[inline]
    fn write(&mut self, place: usize, probe: &Probe) -> Result<(), LinkError> {
        self.fence.check(probe)?;
        let outlet = if probe.ip.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        let (Some((_, template)), Some(outlet)) = (lane_at(&self.lanes, probe.ip), outlet) else {
            return Err(no_lane(probe.ip, &self.name));
        };
        let fields = SynFields {
            destination: probe.ip,
            destination_port: probe.port,
            source_port: probe.source_port,
            sequence: probe.sequence,
        };
        let destination = destination(probe.ip, self.scope_id);
        outlet.write(place, template, &fields, destination).ok_or_else(|| no_lane(probe.ip, &self.name))
    }

    /// Sends at most [`BATCH`] probes, whose places begin at `start`.
    fn transmit_some(
        &mut self,
        start: usize,
        probes: &[Probe],
        refused: &mut Vec<usize>,
    ) -> Result<(), LinkError> {
        for outlet in [&mut self.v4, &mut self.v6].into_iter().flatten() {
            outlet.waiting = 0;
        }
        for (place, probe) in probes.iter().enumerate() {
            if let Err(error) = self.write(start + place, probe) {
                refused.extend(start..start + probes.len());
                return Err(error);
            }
        }
        let before = refused.len();
        let outlets = [&mut self.v4, &mut self.v6];
        let results = outlets.map(|outlet| outlet.as_ref().map_or(Ok(()), |outlet| outlet.flush(refused)));
        // Both families were sent one after the other, but the places are told in order.
        refused.get_mut(before..).unwrap_or_default().sort_unstable();
        results.into_iter().collect::<io::Result<()>>().map_err(|cause| LinkError::System {
            attempt: "send probes",
            object: self.name.clone(),
            cause,
            remedy: "check that the interface is still there and up (ip link)",
        })
    }
}

impl Transmit for RawTransmit {
    fn source(&self, ip: IpAddr) -> IpAddr {
        lane_at(&self.lanes, ip).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |(lane, _)| lane.source)
    }

    fn transmit(&mut self, probes: &[Probe], refused: &mut Vec<usize>) -> Result<(), LinkError> {
        for (n, batch) in probes.chunks(BATCH).enumerate() {
            let start = n * BATCH;
            if let Err(error) = self.transmit_some(start, batch, refused) {
                refused.extend(start + batch.len()..probes.len());
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The socket of one family, with the packets that are to leave by it.
#[derive(Debug)]
struct Outlet {
    socket: Socket,
    packets: Vec<Outgoing>,
    /// Where each packet's probe stands among those that the caller handed over.
    places: Vec<usize>,
    /// How many packets are to leave.
    waiting: usize,
}

impl Outlet {
    fn open(v4: bool, device: Option<&str>, name: &str) -> Result<Self, LinkError> {
        let failed = |attempt, remedy| {
            move |cause| LinkError::System { attempt, object: name.to_owned(), cause, remedy }
        };
        let domain = if v4 { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))
            .map_err(failed("open a raw socket", NEEDS_CAP_NET_RAW))?;
        let prepared =
            if v4 { socket.set_header_included_v4(true) } else { socket.set_header_included_v6(true) };
        prepared
            .and_then(|()| sys::own_up_to_losses(&socket, v4))
            .map_err(failed("prepare a raw socket", "Linux 4.5 or newer is needed"))?;
        if let Some(device) = device {
            socket
                .bind_device(Some(device.as_bytes()))
                .map_err(failed("bind a raw socket", "check that the interface is there and up"))?;
        }
        // Room for a few batches, as far as the system allows, so that a tunnel that is slow for a moment takes them.
        let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
        let nowhere = destination(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let packet = || Outgoing { bytes: [0; MAX_SYN_LEN], length: 0, destination: nowhere.clone() };
        let packets = (0..BATCH).map(|_| packet()).collect();
        Ok(Outlet { socket, packets, places: vec![0; BATCH], waiting: 0 })
    }

    /// Fills in the next packet; `None` if the template is of the other family, or if the batch is full.
    #[inline]
    fn write(
        &mut self,
        place: usize,
        template: &SynTemplate,
        fields: &SynFields,
        destination: SockAddr,
    ) -> Option<()> {
        let packet = self.packets.get_mut(self.waiting)?;
        packet.length = template.write(&mut packet.bytes, fields)?;
        packet.destination = destination;
        *self.places.get_mut(self.waiting)? = place;
        self.waiting += 1;
        Some(())
    }

    /// Sends what waits, and names what was not taken, also after an error.
    fn flush(&self, refused: &mut Vec<usize>) -> io::Result<()> {
        let packets = self.packets.get(..self.waiting).unwrap_or_default();
        let places = self.places.get(..self.waiting).unwrap_or_default();
        let mut at = 0;
        while at < packets.len() {
            match sys::send(&self.socket, packets.get(at..).unwrap_or_default()) {
                // It always takes one or says why not; this keeps a surprise from turning into an endless loop.
                Ok(0) => {
                    refused.extend(places.iter().skip(at));
                    return Ok(());
                }
                Ok(taken) => at += taken,
                Err(error) => match refusal_of(&error) {
                    Some(Refusal::ThisOne) => {
                        refused.extend(places.get(at));
                        at += 1;
                    }
                    Some(Refusal::All) => {
                        refused.extend(places.iter().skip(at));
                        return Ok(());
                    }
                    None => {
                        refused.extend(places.iter().skip(at));
                        return Err(error);
                    }
                },
            }
        }
        Ok(())
    }
}

/// What the kernel holds for us before it says "not now".
const SEND_BUFFER_BYTES: usize = 1 << 20;

/// What to say when the system refuses to open a raw socket.
const NEEDS_CAP_NET_RAW: &str = "run as root, or give the program the capability once: \
     sudo setcap cap_net_raw+ep \"$(command -v portreeve)\"; or use --engine connect, which needs no privilege";

/// For whom "not now" was said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Refusal {
    /// For this packet; the next may go elsewhere.
    ThisOne,
    /// For everything, as the queue is full.
    All,
}

/// Whether an error means "not now" rather than "not ever". A local firewall says EPERM, and so does a table of
/// connections that is full. A device that is down may come back, and one that is gone is a matter for whoever watches
/// the path: other packets may leave by others.
fn refusal_of(error: &io::Error) -> Option<Refusal> {
    match error.raw_os_error()? {
        libc::EAGAIN | libc::ENOBUFS | libc::EINTR => Some(Refusal::All),
        libc::EPERM | libc::EHOSTUNREACH | libc::ENETUNREACH => Some(Refusal::ThisOne),
        libc::ENETDOWN | libc::ENODEV | libc::ENXIO => Some(Refusal::ThisOne),
        _ => None,
    }
}

/// The address for the kernel's routing. The port says nothing here; IPv6 takes only the protocol's number, or 0.
#[inline]
fn destination(ip: IpAddr, scope_id: u32) -> SockAddr {
    SockAddr::from(match ip {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => SocketAddrV6::new(v6, 0, 0, scope_id).into(),
        _ => SocketAddr::new(ip, 0),
    })
}

#[inline]
fn lane_at(lanes: &[(RawLane, SynTemplate)], ip: IpAddr) -> Option<&(RawLane, SynTemplate)> {
    let at = lanes.partition_point(|(lane, _)| lane.first <= ip).checked_sub(1)?;
    lanes.get(at).filter(|(lane, _)| ip <= lane.last)
}

fn no_lane(ip: IpAddr, name: &str) -> LinkError {
    LinkError::NoWay {
        ip,
        why: format!("no source address on {name} is known for it"),
        remedy: "this is a bug, please report it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn finds_the_lane_of_an_address_of_either_family() {
        let lane = |first: &str, last: &str, source: &str| {
            let lane = RawLane { first: ip(first), last: ip(last), source: ip(source) };
            (lane, SynTemplate::bare(lane.source))
        };
        let lanes = [
            lane("127.0.0.1", "127.0.0.9", "127.0.0.1"),
            lane("198.18.0.1", "198.18.0.1", "198.18.0.1"),
            lane("::1", "::1", "::1"),
        ];
        for (address, source) in [
            ("127.0.0.0", None),
            ("127.0.0.9", Some("127.0.0.1")),
            ("127.0.0.10", None),
            ("198.18.0.1", Some("198.18.0.1")),
            ("::", None),
            ("::1", Some("::1")),
            ("::2", None),
        ] {
            let found = lane_at(&lanes, ip(address)).map(|(lane, _)| lane.source);
            assert_eq!(found, source.map(ip), "{address}");
        }
    }

    #[test]
    fn tells_a_refusal_of_one_from_one_of_all() {
        let refusal = |code| refusal_of(&io::Error::from_raw_os_error(code));
        assert_eq!(refusal(libc::EPERM), Some(Refusal::ThisOne));
        assert_eq!(refusal(libc::ENETUNREACH), Some(Refusal::ThisOne));
        for gone in [libc::ENETDOWN, libc::ENODEV, libc::ENXIO] {
            assert_eq!(refusal(gone), Some(Refusal::ThisOne), "it is trouble of its path, not of the sweep");
        }
        assert_eq!(refusal(libc::EAGAIN), Some(Refusal::All));
        assert_eq!(refusal(libc::EINVAL), None);
        assert_eq!(refusal_of(&io::Error::other("none of the kernel's")), None);
    }

    #[test]
    fn only_link_local_addresses_have_a_scope() {
        let scope = |text| destination(ip(text), 7).as_socket_ipv6().map(|address| address.scope_id());
        assert_eq!(scope("fe80::1"), Some(7));
        assert_eq!(scope("2001:db8::1"), Some(0));
        assert_eq!(scope("127.0.0.1"), None);
    }
}
