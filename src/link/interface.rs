//! The host's own end: its network interfaces and the addresses on them.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{NlaBuffer, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkHeader, LinkLayerType, LinkMessage};
use pnet::datalink;
use pnet::ipnetwork::IpNetwork;

use super::LinkError;
use super::netlink::{Netlink, failed, undecodable};

/// What an interface carries.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum InterfaceKind {
    /// Ethernet frames: cards, VLANs, bonds, bridges, veth.
    Ethernet,
    /// The host's packets to itself.
    Loopback,
    /// Anything else, usually bare IP packets: tun, WireGuard, PPP.
    Other,
}

/// A network interface, as it was when the kernel was asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interface {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What it carries.
    pub kind: InterfaceKind,
    /// Its hardware address, if it has one of six bytes.
    pub mac: Option<[u8; 6]>,
    /// The largest IP packet that it takes, in bytes.
    pub mtu: u32,
    /// Whether it has been switched on.
    pub up: bool,
    /// Whether it can carry packets now; false without carrier.
    pub running: bool,
    /// Whether there is exactly one neighbour, at the other end.
    pub point_to_point: bool,
    /// Whether nobody there answers ARP.
    pub no_arp: bool,
    /// Whether it is a VRF, or belongs to one, and so has routes of its own.
    pub in_vrf: bool,
}

impl Interface {
    /// The interface of this name.
    ///
    /// # Errors
    /// When there is none, or when the kernel does not say.
    pub fn by_name(name: &str) -> Result<Self, LinkError> {
        // The kernel would refuse these too, with less clear words.
        if name.is_empty() || name.contains(['/', '\0']) {
            return Err(missing(name));
        }
        let mut request = LinkMessage::default();
        request.attributes.push(LinkAttribute::IfName(name.to_owned()));
        query(&mut Netlink::open()?, request, name)
    }

    /// The interface of this number.
    ///
    /// # Errors
    /// When there is none, or when the kernel does not say.
    pub fn by_index(index: u32) -> Result<Self, LinkError> {
        Self::at(&mut Netlink::open()?, index)
    }

    /// The same within a conversation.
    pub(super) fn at(netlink: &mut Netlink, index: u32) -> Result<Self, LinkError> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        query(netlink, request, &format!("number {index}"))
    }

    /// Whether its neighbours have hardware addresses that ARP can find.
    pub fn has_neighbours(&self) -> bool {
        self.kind == InterfaceKind::Ethernet && self.mac.is_some() && !self.no_arp && !self.point_to_point
    }

    /// Lets an interface pass that can carry packets now, by routes that we understand.
    ///
    /// # Errors
    /// When it is down, has no carrier, or belongs to a VRF.
    pub fn require_running(&self) -> Result<(), LinkError> {
        let (why, remedy) = if self.in_vrf {
            let instead = "sweep from a network namespace instead, or take the interface out of its VRF";
            ("belongs to a VRF, whose routes are not looked at", instead.to_owned())
        } else if !self.up {
            ("is down", format!("bring it up with `ip link set {} up`", self.name))
        } else if !self.running {
            let set_up = format!("if both ends are up, `ip link set {} up` tries anew", self.name);
            ("has no carrier", format!("check the cable, the port or the tunnel at its other end; {set_up}"))
        } else {
            return Ok(());
        };
        Err(LinkError::Interface { interface: self.name.clone(), why: why.to_owned(), remedy })
    }
}

/// An address of this host.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OwnAddress {
    /// The address.
    pub ip: IpAddr,
    /// The length of the prefix that it was given with, in bits.
    pub prefix_len: u8,
    /// The interface that it is on.
    pub interface_index: u32,
    /// The broadcast address of its network, where there is one.
    pub broadcast: Option<Ipv4Addr>,
}

/// The addresses of this host, on all of its interfaces, sorted.
///
/// # Errors
/// When the system lists no interface at all: every host has a loopback at the least.
pub fn own_addresses() -> Result<Vec<OwnAddress>, LinkError> {
    let interfaces = datalink::interfaces();
    if interfaces.is_empty() {
        let cause = io::Error::from(io::ErrorKind::NotFound);
        return Err(failed("list the network interfaces", "this host", cause));
    }
    let mut own: Vec<OwnAddress> = interfaces
        .iter()
        .flat_map(|interface| interface.ips.iter().map(|network| own_address(interface, network)))
        .collect();
    own.sort_unstable();
    own.dedup();
    Ok(own)
}

/// Whether packets to an address stay on this host: it is in the list, or a loopback address, of which IPv4 has 2^24.
pub fn is_own(ip: IpAddr, own: &[OwnAddress]) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || own.iter().any(|address| address.ip == ip)
}

/// Attributes of `RTM_NEWLINK`, from `linux/if_link.h`.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;

/// Attributes inside of the last one: what the device is, and what it belongs to.
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_SLAVE_KIND: u16 = 4;

/// The length of the fixed part of `RTM_NEWLINK`: `struct ifinfomsg`.
const LINK_HEADER_LENGTH: usize = 16;

fn query(netlink: &mut Netlink, request: LinkMessage, wanted: &str) -> Result<Interface, LinkError> {
    let answer = netlink.ask(RouteNetlinkMessage::GetLink(request)).and_then(|body| decode(&body));
    answer.map_err(|cause| match cause.raw_os_error() {
        // A name that is too long for any interface is refused as out of range or as invalid, by the kernel's age.
        Some(libc::ENODEV | libc::ERANGE | libc::EINVAL) => missing(wanted),
        _ => failed("read the interface", wanted, cause),
    })
}

fn missing(wanted: &str) -> LinkError {
    LinkError::Interface {
        interface: wanted.to_owned(),
        why: "does not exist".to_owned(),
        remedy: "`ip -brief link` lists those that do".to_owned(),
    }
}

/// Reads the few attributes that count. The rest differ from kernel to kernel and from driver to driver.
pub(super) fn decode(body: &[u8]) -> io::Result<Interface> {
    let header = LinkHeader::parse(body).map_err(|error| undecodable(&error))?;
    let has = |flag| header.flags.contains(flag);
    let mut interface = Interface {
        index: header.index,
        name: String::new(),
        kind: kind_of(header.link_layer_type),
        mac: None,
        mtu: 0,
        up: has(LinkFlags::Up),
        running: has(LinkFlags::Running),
        point_to_point: has(LinkFlags::Pointopoint),
        no_arp: has(LinkFlags::Noarp),
        in_vrf: false,
    };
    for attribute in NlasIterator::new(body.get(LINK_HEADER_LENGTH..).unwrap_or_default()) {
        note(&mut interface, &attribute.map_err(|error| undecodable(&error))?);
    }
    Ok(interface)
}

fn note(interface: &mut Interface, attribute: &NlaBuffer<&[u8]>) {
    let value = attribute.value();
    match attribute.kind() {
        IFLA_ADDRESS => interface.mac = value.try_into().ok(),
        // Names are bytes to the kernel; those that are no UTF-8 are only ever shown.
        IFLA_IFNAME => interface.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned(),
        IFLA_MTU => interface.mtu = value.try_into().map_or(0, u32::from_ne_bytes),
        IFLA_LINKINFO => interface.in_vrf = is_of_a_vrf(value),
        _ => {}
    }
}

/// Whether a device says that it is a VRF, or belongs to one.
fn is_of_a_vrf(info: &[u8]) -> bool {
    let kinds = [IFLA_INFO_KIND, IFLA_INFO_SLAVE_KIND];
    let is_vrf = |part: NlaBuffer<&[u8]>| {
        kinds.contains(&part.kind()) && part.value().strip_suffix(b"\0").unwrap_or(part.value()) == b"vrf"
    };
    NlasIterator::new(info).flatten().any(is_vrf)
}

fn kind_of(layer: LinkLayerType) -> InterfaceKind {
    match layer {
        LinkLayerType::Ether => InterfaceKind::Ethernet,
        LinkLayerType::Loopback => InterfaceKind::Loopback,
        _ => InterfaceKind::Other,
    }
}

fn own_address(interface: &datalink::NetworkInterface, network: &IpNetwork) -> OwnAddress {
    let broadcast = match network {
        // RFC 3021: a network of two addresses has no broadcast address.
        IpNetwork::V4(v4) if v4.prefix() <= 30 && interface.is_broadcast() => Some(v4.broadcast()),
        _ => None,
    };
    OwnAddress { ip: network.ip(), prefix_len: network.prefix(), interface_index: interface.index, broadcast }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_addresses() {
        let ip = |text: &str| text.parse::<IpAddr>().expect(text);
        let own = [OwnAddress {
            ip: ip("198.18.0.1"),
            prefix_len: 24,
            interface_index: 2,
            broadcast: Some(Ipv4Addr::new(198, 18, 0, 255)),
        }];
        for (address, expected) in [
            ("198.18.0.1", true),
            ("::ffff:198.18.0.1", true),
            ("127.0.0.1", true),
            ("127.255.0.9", true),
            ("::1", true),
            ("198.18.0.2", false),
            ("198.18.0.255", false),
            ("126.255.255.255", false),
            ("128.0.0.0", false),
            ("::", false),
        ] {
            assert_eq!(is_own(ip(address), &own), expected, "{address}");
        }
    }

    #[test]
    fn says_how_to_bring_an_interface_up() {
        let mut interface = Interface {
            index: 2,
            name: "lan0".to_owned(),
            kind: InterfaceKind::Ethernet,
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            up: false,
            running: false,
            point_to_point: false,
            no_arp: false,
            in_vrf: false,
        };
        let says = |interface: &Interface| interface.require_running().map_err(|error| error.to_string());
        assert_eq!(
            says(&interface),
            Err("interface lan0 is down; bring it up with `ip link set lan0 up`".to_owned())
        );
        interface.up = true;
        assert!(says(&interface).is_err_and(|text| text.contains("no carrier")));
        interface.running = true;
        assert_eq!(says(&interface), Ok(()));
    }

    /// As the kernel says it of a VRF, of a member of one, and of a member of a bridge.
    #[test]
    fn knows_what_belongs_to_a_vrf() {
        let info = |kind: u16, name: &[u8]| {
            let mut part = (4 + name.len() as u16).to_ne_bytes().to_vec();
            part.extend(kind.to_ne_bytes());
            part.extend(name);
            part.resize(part.len().next_multiple_of(4), 0);
            let mut body = vec![0u8; LINK_HEADER_LENGTH];
            body.extend((4 + part.len() as u16).to_ne_bytes());
            body.extend(IFLA_LINKINFO.to_ne_bytes());
            body.extend(part);
            decode(&body).expect("a link")
        };
        assert!(info(IFLA_INFO_KIND, b"vrf\0").in_vrf);
        assert!(info(IFLA_INFO_SLAVE_KIND, b"vrf\0").in_vrf && info(IFLA_INFO_SLAVE_KIND, b"vrf").in_vrf);
        assert!(!info(IFLA_INFO_SLAVE_KIND, b"bridge\0").in_vrf && !info(2, b"vrf\0").in_vrf);
        let error = info(IFLA_INFO_KIND, b"vrf\0").require_running().expect_err("a VRF").to_string();
        assert!(error.contains("belongs to a VRF"), "{error}");
    }

    #[test]
    fn no_body_of_an_answer_makes_it_panic() {
        let mut body = vec![0u8; LINK_HEADER_LENGTH];
        body.extend_from_slice(&[5, 0, 3, 0, b'x', 0, 0, 0]);
        assert_eq!(decode(&body).expect("a short name").name, "x");
        for length in 0..body.len() {
            let _ = decode(&body[..length]);
        }
        // An attribute that claims to be longer than the body, one shorter than its own header, a MAC of 20 bytes.
        for tail in [[255, 0, 3, 0], [1, 0, 3, 0], [0, 0, 0, 0]] {
            let mut hostile = body.clone();
            hostile.extend_from_slice(&tail);
            assert!(decode(&hostile).is_err());
        }
    }
}
