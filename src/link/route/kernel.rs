//! What the kernel says about routes: its tables, and the way that it would take for one address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{DecodeError, NlasIterator};
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::rule::{RuleHeader, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::cut::{Cuts, SPECIAL_V4, SPECIAL_V6};
use super::{GapReason, HopKind};
use crate::link::LinkError;
use crate::link::netlink::{Netlink, failed, family_of, undecodable};

/// The way that the kernel would take: a hop before its interface is looked up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Way {
    /// The number of the interface.
    pub(super) interface: u32,
    /// The address that packets come from.
    pub(super) source: IpAddr,
    /// The gateway, if there is one.
    pub(super) next_hop: Option<IpAddr>,
    /// Of which kind the hop is.
    pub(super) kind: HopKind,
}

/// The places at which the kernel may choose another way: the ends of every prefix in any table of routes, and of those
/// that the rules of policy routing name. Tables that no packet of ours consults cut too much, which costs a question
/// and no more, because pieces with the same way are put together again.
///
/// # Errors
/// When the kernel does not say, or when its rules look at more than where a packet goes: the way of a probe is asked
/// for by its destination, once and for all of its ports. Rules by source, mark or user are followed as the kernel
/// follows them for whoever asks for nothing special.
pub(super) fn cuts(netlink: &mut Netlink, v4: bool) -> Result<Cuts, LinkError> {
    let family = if v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let prefixes = routes(netlink, family)?.into_iter().map(|route| route.prefix);
    let mut rule = RuleMessage::default();
    rule.header.family = family;
    let ruled = netlink
        .dump(&RouteNetlinkMessage::GetRule(rule), decode_rule)
        .map_err(|cause| failed("read the routing rules", "the kernel", cause))?;
    if ruled.iter().any(|rule| rule.is_by_port) {
        return Err(LinkError::RoutedByPort);
    }
    let ruled = ruled.into_iter().filter_map(|rule| rule.prefix);
    let special: &[(IpAddr, u8)] = if v4 { &SPECIAL_V4 } else { &SPECIAL_V6 };
    Ok(Cuts::new(prefixes.chain(ruled).chain(special.iter().copied())))
}

/// The way for one address, through the interface of this number if one is given; or why there is none.
///
/// Of a route with several next hops it is the one that the kernel picks for this address. Another address of the same
/// route may take another one when the kernel sends; either leads there, so one stands for all.
pub(super) fn way(
    netlink: &mut Netlink,
    ip: IpAddr,
    through: Option<u32>,
) -> Result<Result<Way, GapReason>, LinkError> {
    if ip.is_unspecified() {
        // The kernel would take it for the loopback address.
        return Ok(Err(GapReason::Unspecified));
    }
    let free = question(netlink, ip, None, RouteFlags::empty());
    let Some(index) = through else {
        return judge(ip, free);
    };
    // Packets to an own address never leave the host, whatever interface is asked for.
    if let Ok(Route { kind: RouteType::Local, .. }) = free {
        return judge(ip, free);
    }
    // Where no route leads through an interface that is asked for, the kernel takes every address to be on-link there,
    // and answers so. Only the question for the route itself tells.
    let matched = question(netlink, ip, Some(index), RouteFlags::FibMatch);
    match matched {
        Ok(_) => judge(ip, question(netlink, ip, Some(index), RouteFlags::empty())),
        Err(_) if free.is_ok() => {
            Ok(Err(GapReason::NoRoute { why: "its route leads through another interface".to_owned() }))
        }
        Err(_) => judge(ip, free),
    }
}

/// The gateways of the routes of this family that stand for everything: `default`, or the two halves that some VPNs
/// write instead.
pub(super) fn default_gateways(
    netlink: &mut Netlink,
    family: AddressFamily,
) -> Result<Vec<IpAddr>, LinkError> {
    let routes = routes(netlink, family)?.into_iter().filter(|route| route.prefix.1 <= 1);
    Ok(routes.flat_map(|route| route.next_hop.into_iter().chain(route.more_hops)).collect())
}

/// One route, or the answer to a question for one.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Route {
    kind: RouteType,
    prefix: (IpAddr, u8),
    interface: Option<u32>,
    source: Option<IpAddr>,
    next_hop: Option<IpAddr>,
    more_hops: Vec<IpAddr>,
}

/// Attributes of `RTM_NEWROUTE`, from `linux/rtnetlink.h`.
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTA_VIA: u16 = 18;

/// Attributes of a rule, from `linux/fib_rules.h`.
const FRA_DST: u16 = 1;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;

/// The length of the fixed part of both: `struct rtmsg`, `struct fib_rule_hdr`.
const ROUTE_HEADER_LENGTH: usize = 12;

/// The length of `struct rtnexthop`.
const NEXT_HOP_HEADER_LENGTH: usize = 8;

fn routes(netlink: &mut Netlink, family: AddressFamily) -> Result<Vec<Route>, LinkError> {
    let mut request = RouteMessage::default();
    request.header.address_family = family;
    netlink
        .dump(&RouteNetlinkMessage::GetRoute(request), |body| decode(body).map(Some))
        .map_err(|cause| failed("read the routing tables", "the kernel", cause))
}

fn question(netlink: &mut Netlink, ip: IpAddr, through: Option<u32>, flags: RouteFlags) -> io::Result<Route> {
    let mut request = RouteMessage::default();
    request.header.address_family = family_of(ip);
    request.header.destination_prefix_length = if ip.is_ipv4() { 32 } else { 128 };
    request.header.flags = flags;
    request.attributes.push(RouteAttribute::Destination(ip.into()));
    request.attributes.extend(through.map(RouteAttribute::Oif));
    let body = netlink.ask(RouteNetlinkMessage::GetRoute(request))?;
    decode(&body).map_err(|error| undecodable(&error))
}

/// What an answer means for a sweep.
fn judge(ip: IpAddr, answer: io::Result<Route>) -> Result<Result<Way, GapReason>, LinkError> {
    let no_route = |why: &str| Ok(Err(GapReason::NoRoute { why: why.to_owned() }));
    let route = match answer {
        Ok(route) => route,
        // The kernel's errno for each type of route: `fib_props` in net/ipv4/fib_semantics.c, and likewise for IPv6.
        // A `throw` that no later table catches is the first of them.
        Err(cause) => match cause.raw_os_error() {
            Some(libc::ENETUNREACH) => return no_route("this host has no route to it"),
            Some(libc::EHOSTUNREACH) => return no_route("an `unreachable` route covers it"),
            Some(libc::EACCES) => return no_route("a `prohibit` route covers it"),
            Some(libc::EINVAL) => return no_route("a `blackhole` route covers it"),
            _ => return Err(failed("ask the kernel for the route", ip.to_string(), cause)),
        },
    };
    let kind = match route.kind {
        RouteType::Unicast if route.next_hop.is_some() => HopKind::Gateway,
        RouteType::Unicast => HopKind::OnLink,
        RouteType::Local | RouteType::Anycast => HopKind::Local,
        RouteType::Broadcast => return Ok(Err(GapReason::Broadcast)),
        RouteType::Multicast => return Ok(Err(GapReason::Multicast)),
        other => return no_route(&format!("its route is of a type that carries no packets ({other:?})")),
    };
    if ip.is_loopback() && kind != HopKind::Local {
        // Without a loopback interface the default route would carry these out of the host.
        return no_route("the loopback interface is down");
    }
    match (route.interface, route.source) {
        (Some(interface), Some(source)) => Ok(Ok(Way { interface, source, next_hop: route.next_hop, kind })),
        (Some(_), None) => no_route("the interface that leads there has no address to send from"),
        (None, _) => no_route("its route names no interface"),
    }
}

fn decode(body: &[u8]) -> Result<Route, DecodeError> {
    let header = RouteHeader::parse(body)?;
    let zero = match header.address_family {
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let mut route = Route {
        kind: header.kind,
        // A prefix of length 0 comes without an address.
        prefix: (zero, header.destination_prefix_length),
        interface: None,
        source: None,
        next_hop: None,
        more_hops: Vec::new(),
    };
    for attribute in NlasIterator::new(body.get(ROUTE_HEADER_LENGTH..).unwrap_or_default()) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            RTA_DST => route.prefix.0 = address(value).unwrap_or(zero),
            RTA_OIF => route.interface = value.try_into().ok().map(u32::from_ne_bytes),
            RTA_GATEWAY => route.next_hop = address(value),
            RTA_VIA => route.next_hop = address_via(value),
            RTA_PREFSRC => route.source = address(value),
            RTA_MULTIPATH => route.more_hops = next_hops(value)?,
            _ => {}
        }
    }
    Ok(route)
}

/// One rule of policy routing, as far as it matters.
#[derive(Clone, Copy, Debug, Default)]
struct Rule {
    /// The addresses that it is for, if it names any.
    prefix: Option<(IpAddr, u8)>,
    /// Whether it looks at ports, or at the protocol.
    is_by_port: bool,
}

fn decode_rule(body: &[u8]) -> Result<Option<Rule>, DecodeError> {
    let header = RuleHeader::parse(body)?;
    let mut rule = Rule::default();
    for attribute in NlasIterator::new(body.get(ROUTE_HEADER_LENGTH..).unwrap_or_default()) {
        let attribute = attribute?;
        match attribute.kind() {
            FRA_DST => rule.prefix = address(attribute.value()).map(|ip| (ip, header.dst_len)),
            FRA_IP_PROTO | FRA_SPORT_RANGE | FRA_DPORT_RANGE => rule.is_by_port = true,
            _ => {}
        }
    }
    Ok(Some(rule))
}

/// The gateways of a list of `struct rtnexthop`, each followed by attributes.
fn next_hops(mut list: &[u8]) -> Result<Vec<IpAddr>, DecodeError> {
    let mut found = Vec::new();
    while let Some(&[low, high]) = list.first_chunk::<2>() {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let attributes = list
            .get(NEXT_HOP_HEADER_LENGTH..length)
            .ok_or_else(|| DecodeError::nla_length_mismatch(list.len(), length))?;
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute?;
            match attribute.kind() {
                RTA_GATEWAY => found.extend(address(attribute.value())),
                RTA_VIA => found.extend(address_via(attribute.value())),
                _ => {}
            }
        }
        list = list.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(found)
}

/// An address in network byte order, of the family that its length tells.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// An address behind its family: `struct rtvia`, a gateway of the other family.
fn address_via(bytes: &[u8]) -> Option<IpAddr> {
    bytes.get(2..).and_then(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of an answer: `struct rtmsg` for 198.18.4.0/24, and these attributes.
    fn body(kind: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![libc::AF_INET as u8, 24, 0, 0, 254, 4, 0, kind, 0, 0, 0, 0];
        for (attribute, value) in attributes {
            body.extend(((4 + value.len()) as u16).to_ne_bytes());
            body.extend(attribute.to_ne_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        body
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn reads_a_route_by_a_gateway_of_either_family() {
        let attributes: [(u16, &[u8]); 4] = [
            (RTA_DST, &[198, 18, 4, 0]),
            (RTA_OIF, &7u32.to_ne_bytes()),
            (RTA_PREFSRC, &[198, 18, 0, 1]),
            (RTA_GATEWAY, &[198, 18, 0, 254]),
        ];
        let route = decode(&body(1, &attributes)).expect("a route");
        assert_eq!(route.prefix, (ip("198.18.4.0"), 24));
        let way = judge(ip("198.18.4.0"), Ok(route)).expect("an answer").expect("a way");
        assert_eq!((way.interface, way.kind), (7, HopKind::Gateway));
        assert_eq!((way.source, way.next_hop), (ip("198.18.0.1"), Some(ip("198.18.0.254"))));

        let mut via = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
        via.extend(ip("fe80::1").to_canonical().to_string().parse::<Ipv6Addr>().expect("IPv6").octets());
        let route = decode(&body(1, &[(RTA_VIA, &via)])).expect("a route");
        assert_eq!(route.next_hop, Some(ip("fe80::1")));
    }

    #[test]
    fn reads_each_gateway_of_a_route_with_several() {
        let mut list = Vec::new();
        for last in [1, 2] {
            list.extend([16, 0, 0, 0, 2, 0, 0, 0, 8, 0, 5, 0, 198, 18, 0, last]);
        }
        let route = decode(&body(1, &[(RTA_MULTIPATH, &list)])).expect("a route");
        assert_eq!(route.more_hops, [ip("198.18.0.1"), ip("198.18.0.2")]);
    }

    #[test]
    fn no_bytes_make_it_panic_or_run_forever() {
        let attributes: [(u16, &[u8]); 3] =
            [(RTA_DST, &[198, 18, 4, 0]), (RTA_VIA, &[2]), (RTA_MULTIPATH, &[8, 0, 0, 0, 2, 0, 0, 0])];
        let whole = body(1, &attributes);
        for length in 0..=whole.len() {
            let _ = decode(&whole[..length]);
            let _ = decode_rule(&whole[..length]);
        }
        // A next hop that claims no length at all would be read again and again.
        assert!(next_hops(&[0; 8]).is_err());
        assert!(next_hops(&[4, 0, 0, 0]).is_err());
        assert!(next_hops(&[255, 255, 0, 0, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn says_the_kernel_s_word_for_each_refusal() {
        for (errno, word) in [
            (libc::ENETUNREACH, "no route"),
            (libc::EHOSTUNREACH, "`unreachable`"),
            (libc::EACCES, "`prohibit`"),
            (libc::EINVAL, "`blackhole`"),
        ] {
            let answer = judge(ip("198.18.4.1"), Err(io::Error::from_raw_os_error(errno)));
            let Ok(Err(GapReason::NoRoute { why })) = answer else { panic!("{answer:?}") };
            assert!(why.contains(word), "{why}");
        }
        assert!(judge(ip("198.18.4.1"), Err(io::Error::from_raw_os_error(libc::ENOBUFS))).is_err());
    }

    #[test]
    fn loopback_never_leaves_by_a_default_route() {
        let attributes: [(u16, &[u8]); 2] = [(RTA_OIF, &7u32.to_ne_bytes()), (RTA_PREFSRC, &[198, 18, 0, 1])];
        let route = decode(&body(1, &attributes)).expect("a route");
        assert!(matches!(judge(ip("127.0.0.1"), Ok(route)), Ok(Err(GapReason::NoRoute { .. }))));
    }
}
