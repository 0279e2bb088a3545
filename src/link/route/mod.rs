//! Which way packets go: the interface, the source address and the next hop for every address of a scope, by asking the
//! kernel, which alone knows its routes, rules and preferences.
//!
//! A scope has millions of addresses and a host has few routes. So the ranges are cut where any route or rule begins or
//! ends; within a piece one answer holds for all, and the kernel is asked once for each.

mod cut;
mod kernel;

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;

use self::cut::{address_of, disjoint, number_of};
use self::kernel::Way;
use super::LinkError;
use super::interface::Interface;
use super::netlink::Netlink;

/// The first step of a packet's way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hop {
    /// The interface that it leaves by; the loopback for the host's own addresses.
    pub interface: Interface,
    /// The address that it comes from.
    pub source: IpAddr,
    /// The gateway that takes it on; `None` where the target itself is the next hop.
    pub next_hop: Option<IpAddr>,
    /// Of which kind it is.
    pub kind: HopKind,
}

impl Hop {
    /// The neighbour to whom a packet for `target` is handed.
    pub fn neighbour_for(&self, target: IpAddr) -> IpAddr {
        self.next_hop.unwrap_or(target)
    }
}

/// Kinds of hops.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum HopKind {
    /// A gateway takes packets on.
    Gateway,
    /// The target is on the network of the interface.
    OnLink,
    /// The target is this host.
    Local,
}

/// Addresses that no packet may or can go to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gap {
    /// The lowest of them.
    pub first: IpAddr,
    /// The highest of them.
    pub last: IpAddr,
    /// Why.
    pub reason: GapReason,
}

/// Why no packet may or can go to an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum GapReason {
    /// All hosts of a network would answer.
    Broadcast,
    /// All hosts of a group would answer.
    Multicast,
    /// It is the address that means none.
    Unspecified,
    /// This host has no route to it, or one that refuses.
    NoRoute {
        /// The kernel's word for it.
        why: String,
    },
}

/// The ways to all addresses of some ranges.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RoutePlan {
    /// Sorted and disjoint. What is in no span is in a gap, or was not asked for.
    spans: Vec<Span>,
    hops: Vec<Hop>,
    gaps: Vec<Gap>,
}

/// Addresses with the same hop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Span {
    first: IpAddr,
    last: IpAddr,
    hop: usize,
}

impl RoutePlan {
    /// Finds the way to every address of these ranges (both ends included, in any order); through this interface only,
    /// if one is given. Broadcast and multicast addresses get none, see [`RoutePlan::gaps`].
    ///
    /// # Errors
    /// When there is no way to some address, when the interface does not exist, or when an interface that packets would
    /// leave by is down or without carrier.
    pub fn resolve(ranges: &[(IpAddr, IpAddr)], interface: Option<&str>) -> Result<Self, LinkError> {
        let plan = Self::survey(ranges, interface)?;
        plan.gaps.iter().find_map(Gap::no_way).map_or(Ok(()), Err)?;
        Ok(plan)
    }

    /// The same, where no way to some addresses is no error but a gap.
    ///
    /// # Errors
    /// As of [`RoutePlan::resolve`], for all other reasons.
    pub fn survey(ranges: &[(IpAddr, IpAddr)], interface: Option<&str>) -> Result<Self, LinkError> {
        let through = interface.map(Interface::by_name).transpose()?;
        through.as_ref().map_or(Ok(()), Interface::require_running)?;
        let mut survey = Survey::new(through.map(|interface| interface.index))?;
        let ranges = disjoint(ranges);
        for v4 in [true, false] {
            survey.family(v4, ranges.iter().filter(|(first, _)| first.is_ipv4() == v4))?;
        }
        Ok(survey.plan)
    }

    /// The way to an address; `None` if no packet may or can go there, or if it was not asked for.
    #[inline]
    pub fn hop(&self, ip: IpAddr) -> Option<&Hop> {
        self.hops.get(self.hop_number(ip)?)
    }

    /// The number of that hop in [`RoutePlan::hops`].
    #[inline]
    pub fn hop_number(&self, ip: IpAddr) -> Option<usize> {
        let after = self.spans.partition_point(|span| span.first <= ip);
        let span = self.spans.get(after.checked_sub(1)?)?;
        (ip <= span.last).then_some(span.hop)
    }

    /// The ranges of addresses that share a hop (first, last, hop), sorted and disjoint.
    pub fn spans(&self) -> impl Iterator<Item = (IpAddr, IpAddr, &Hop)> {
        self.spans.iter().filter_map(|span| Some((span.first, span.last, self.hops.get(span.hop)?)))
    }

    /// All hops, each once, in the order of the addresses that they serve first.
    pub fn hops(&self) -> &[Hop] {
        &self.hops
    }

    /// The addresses asked for that no packet may or can go to, sorted.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }
}

impl Gap {
    /// The error of a gap that is one.
    fn no_way(&self) -> Option<LinkError> {
        let GapReason::NoRoute { why } = &self.reason else {
            return None;
        };
        let Gap { first, last, .. } = self;
        let why = if first == last { why.clone() } else { format!("{why} (and everything up to {last})") };
        let remedy = format!(
            "see `ip route get {first}` and `ip route show table all match {first}`; mend the routes, bring up the \
             interface that should lead there, or exclude these addresses"
        );
        Some(LinkError::NoWay { ip: *first, why, remedy })
    }
}

/// The gateways of the default routes of this host, sorted. Those that only a nexthop object names are left out where
/// `net.ipv4.nexthop_compat_mode` is off, for then the kernel does not tell.
///
/// # Errors
/// When the kernel does not say.
pub fn default_gateways() -> Result<Vec<IpAddr>, LinkError> {
    let mut netlink = Netlink::open()?;
    let mut gateways = kernel::default_gateways(&mut netlink, AddressFamily::Inet)?;
    gateways.extend(kernel::default_gateways(&mut netlink, AddressFamily::Inet6)?);
    gateways.sort_unstable();
    gateways.dedup();
    Ok(gateways)
}

/// A plan in the making.
struct Survey {
    netlink: Netlink,
    through: Option<u32>,
    /// The way behind each hop of the plan.
    ways: Vec<Way>,
    plan: RoutePlan,
}

impl Survey {
    fn new(through: Option<u32>) -> Result<Self, LinkError> {
        Ok(Survey { netlink: Netlink::open()?, through, ways: Vec::new(), plan: RoutePlan::default() })
    }

    /// Adds the sorted ranges of one family.
    fn family<'a>(
        &mut self,
        v4: bool,
        ranges: impl Iterator<Item = &'a (IpAddr, IpAddr)>,
    ) -> Result<(), LinkError> {
        let mut ranges = ranges.peekable();
        // A kernel without IPv6 has no tables of it to read.
        if ranges.peek().is_none() {
            return Ok(());
        }
        let cuts = kernel::cuts(&mut self.netlink, v4)?;
        for &(begin, end) in ranges {
            for (first, last) in cuts.pieces(number_of(begin), number_of(end)) {
                let (first, last) = (address_of(first, begin), address_of(last, begin));
                match kernel::way(&mut self.netlink, first, self.through)? {
                    Ok(way) => {
                        let hop = self.hop_of(way)?;
                        self.plan.add_span(Span { first, last, hop });
                    }
                    Err(reason) => self.plan.add_gap(Gap { first, last, reason }),
                }
            }
        }
        Ok(())
    }

    /// The number of a way's hop.
    fn hop_of(&mut self, way: Way) -> Result<usize, LinkError> {
        if let Some(hop) = self.ways.iter().position(|known| *known == way) {
            return Ok(hop);
        }
        let interface = Interface::at(&mut self.netlink, way.interface)?;
        interface.require_running()?;
        self.ways.push(way);
        self.plan.hops.push(Hop { interface, source: way.source, next_hop: way.next_hop, kind: way.kind });
        Ok(self.ways.len() - 1)
    }
}

impl RoutePlan {
    /// Adds a span behind the others, or to the last one if it goes on with the same hop.
    fn add_span(&mut self, span: Span) {
        match self.spans.last_mut() {
            Some(before) if before.hop == span.hop && follows(before.last, span.first) => {
                before.last = span.last;
            }
            _ => self.spans.push(span),
        }
    }

    /// Adds a gap likewise.
    fn add_gap(&mut self, gap: Gap) {
        match self.gaps.last_mut() {
            Some(before) if before.reason == gap.reason && follows(before.last, gap.first) => {
                before.last = gap.last;
            }
            _ => self.gaps.push(gap),
        }
    }
}

/// Whether `next` is the address right behind `before`.
fn follows(before: IpAddr, next: IpAddr) -> bool {
    before.is_ipv4() == next.is_ipv4() && number_of(before).checked_add(1) == Some(number_of(next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::interface::InterfaceKind;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    fn hop(next_hop: &str) -> Hop {
        let interface = Interface {
            index: 2,
            name: "lan0".to_owned(),
            kind: InterfaceKind::Ethernet,
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            up: true,
            running: true,
            point_to_point: false,
            no_arp: false,
            in_vrf: false,
        };
        Hop { interface, source: ip("198.18.0.1"), next_hop: Some(ip(next_hop)), kind: HopKind::Gateway }
    }

    fn span(first: &str, last: &str, hop: usize) -> Span {
        Span { first: ip(first), last: ip(last), hop }
    }

    #[test]
    fn neighbouring_spans_with_one_hop_become_one() {
        let mut plan =
            RoutePlan { hops: vec![hop("198.18.0.254"), hop("198.18.0.253")], ..Default::default() };
        plan.add_span(span("198.18.1.0", "198.18.1.255", 0));
        plan.add_span(span("198.18.2.0", "198.18.2.255", 0));
        plan.add_span(span("198.18.3.0", "198.18.3.255", 1));
        plan.add_span(span("198.18.5.0", "198.18.5.255", 1));
        plan.add_span(span("2001:db8::", "2001:db8::f", 1));
        assert_eq!(
            plan.spans,
            [
                span("198.18.1.0", "198.18.2.255", 0),
                span("198.18.3.0", "198.18.3.255", 1),
                span("198.18.5.0", "198.18.5.255", 1),
                span("2001:db8::", "2001:db8::f", 1),
            ]
        );
        for (address, expected) in [
            ("198.18.0.255", None),
            ("198.18.1.0", Some(0)),
            ("198.18.2.255", Some(0)),
            ("198.18.3.0", Some(1)),
            ("198.18.4.0", None),
            ("198.18.5.255", Some(1)),
            ("198.18.6.0", None),
            ("2001:db8::f", Some(1)),
            ("2001:db8::10", None),
        ] {
            assert_eq!(plan.hop(ip(address)), expected.map(|hop: usize| &plan.hops[hop]), "{address}");
        }
        assert_eq!(RoutePlan::default().hop(ip("198.18.0.1")), None);
    }

    #[test]
    fn a_gap_without_a_route_is_an_error_that_names_its_end() {
        let mut gap = Gap {
            first: ip("198.18.4.0"),
            last: ip("198.18.4.255"),
            reason: GapReason::NoRoute { why: "a `blackhole` route covers it".to_owned() },
        };
        let text = gap.no_way().expect("an error").to_string();
        assert!(text.starts_with("no way to 198.18.4.0: a `blackhole` route covers it"), "{text}");
        assert!(text.contains("up to 198.18.4.255"), "{text}");
        gap.reason = GapReason::Broadcast;
        assert!(gap.no_way().is_none());
    }
}
