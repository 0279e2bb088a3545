//! The hardware addresses of neighbours: of the one next hop, or of all hosts on the network of an interface.
//!
//! We ask on the network ourselves. What the kernel remembers may have been true a minute ago and no longer: a router
//! that has failed over has another address, and probes sent to the old one would all look silent. Only what somebody
//! has set by hand is believed.

mod found;
mod kernel;
mod sweep;

use std::net::IpAddr;
use std::time::Duration;

pub use self::found::{Neighbours, Presence};
pub use self::kernel::{NeighbourEntry, NeighbourState, known};
pub use self::sweep::{FindOptions, find_all};
use super::LinkError;
use super::clock::{Clock, Tick};
use super::interface;
use super::packet::asker::{Asker, no_neighbours};
use super::route::{Hop, HopKind};

/// Where a next hop is, and how that is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Resolved {
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Whether it answered when it was asked, so that it can be asked again. Otherwise the kernel's table says so.
    pub answers: bool,
}

/// The hardware address that packets for `target` are sent to by this hop; `None` where nobody answers. We ask at most
/// three times within `patience`, but never more often than every 300 ms: so it takes no longer than `patience`, or
/// 0.9 s.
///
/// # Errors
/// When nobody can be asked: the interface is down, or the hop is of a kind that has no neighbours with such addresses.
pub fn resolve(
    hop: &Hop,
    target: IpAddr,
    patience: Duration,
    clock: &dyn Clock,
) -> Result<Option<Resolved>, LinkError> {
    let neighbour = hop.neighbour_for(target);
    if hop.kind == HopKind::Local || !hop.interface.has_neighbours() {
        return Err(no_neighbours(&hop.interface));
    }
    let known = known(neighbour, hop.interface.index)?;
    if let Some(fixed) = known.as_ref().and_then(NeighbourEntry::fixed) {
        return Ok(Some(Resolved { mac: fixed, answers: false }));
    }
    let source = source_of_questions(hop, neighbour)?;
    let mut asker = Asker::open(&hop.interface)?;
    let answer = ask(&mut asker, source, neighbour, patience.max(TRY_GAP * TRIES), clock)?;
    // Silence, and yet the kernel has heard of it within seconds: some routers answer nobody but whom they know.
    let heard_of = known.filter(|entry| entry.state == NeighbourState::Reachable).and_then(|entry| entry.mac);
    let resolved = |answers| move |mac| Resolved { mac, answers };
    Ok(answer.map(resolved(true)).or(heard_of.map(resolved(false))))
}

/// In whose name to ask on a hop for a neighbour there. In IPv6 a host may answer only those that it takes for its own
/// neighbours, and whoever asks for a link-local address is one by a link-local address of its own. The probes
/// themselves may come from another address: even one of IPv4, whose routes may lead to a gateway of IPv6.
///
/// # Errors
/// When the system does not list its own addresses, or has none of the neighbour's family to ask from.
pub fn source_of_questions(hop: &Hop, neighbour: IpAddr) -> Result<IpAddr, LinkError> {
    let IpAddr::V6(wanted) = neighbour else { return Ok(hop.source) };
    let own = interface::own_addresses()?;
    let here = own.iter().filter(|own| own.interface_index == hop.interface.index).map(|own| own.ip);
    let here: Vec<IpAddr> = here.filter(IpAddr::is_ipv6).collect();
    if !wanted.is_unicast_link_local() && here.contains(&hop.source) {
        return Ok(hop.source);
    }
    let is_link_local = |ip: &&IpAddr| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let elsewhere = Some(hop.source).filter(IpAddr::is_ipv6);
    let source = here.iter().find(is_link_local).copied().or(elsewhere).or(here.first().copied());
    source.ok_or_else(|| no_source(&hop.interface.name, neighbour))
}

fn no_source(interface: &str, neighbour: IpAddr) -> LinkError {
    LinkError::NoWay {
        ip: neighbour,
        why: format!("{interface} has no IPv6 address to ask from where it is"),
        remedy: format!(
            "give it one, such as the link-local one that it has by itself while IPv6 is on \
             (`sysctl net.ipv6.conf.{interface}.disable_ipv6=0`)"
        ),
    }
}

/// How often a neighbour is asked. One broadcast frame is easily lost where many are sent.
const TRIES: u32 = 3;

/// The shortest time between two tries.
const TRY_GAP: Duration = Duration::from_millis(300);

/// How long one look for an answer may take.
const LOOK: Duration = Duration::from_millis(50);

/// Asks until somebody answers or the time is up.
fn ask(
    asker: &mut Asker,
    source: IpAddr,
    wanted: IpAddr,
    patience: Duration,
    clock: &dyn Clock,
) -> Result<Option<[u8; 6]>, LinkError> {
    let mut taken = false;
    for _ in 0..TRIES {
        let until = clock.now() + patience / TRIES;
        taken |= asker.ask(source, wanted, None)?;
        if let Some(mac) = listen(asker, wanted, until, clock)? {
            return Ok(Some(mac));
        }
    }
    if taken { Ok(None) } else { Err(took_nothing(&asker.interface().name)) }
}

/// Takes answers until one is for this neighbour, or until that moment.
fn listen(
    asker: &mut Asker,
    wanted: IpAddr,
    until: Tick,
    clock: &dyn Clock,
) -> Result<Option<[u8; 6]>, LinkError> {
    let mut mac = None;
    loop {
        let left = until.since(clock.now());
        if left.is_zero() || mac.is_some() {
            return Ok(mac);
        }
        // The kernel's waits are counted in milliseconds; less than one would be none, again and again.
        asker.answers(left.clamp(Duration::from_millis(1), LOOK), &mut |answer| {
            if answer.ip == wanted {
                mac.get_or_insert(answer.mac);
            }
        })?;
    }
}

fn took_nothing(interface: &str) -> LinkError {
    LinkError::Interface {
        interface: interface.to_owned(),
        why: "took no question for a neighbour".to_owned(),
        remedy: "check that it is up and has carrier (`ip link`)".to_owned(),
    }
}

/// The error of a hop by which nobody answers for `target`.
pub fn silence(hop: &Hop, target: IpAddr) -> LinkError {
    let (name, neighbour) = (&hop.interface.name, hop.neighbour_for(target));
    let question = if neighbour.is_ipv4() { "ARP requests" } else { "neighbour solicitations" };
    LinkError::NoWay {
        ip: neighbour,
        why: format!("nobody on {name} answered {TRIES} {question} for it"),
        remedy: format!(
            "check that it is switched on, the cable, the VLAN, and the gateway's address in `ip route`; \
             `ip neigh show dev {name}` shows who has been seen"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::Monotonic;
    use super::super::interface::{Interface, InterfaceKind};
    use super::*;

    fn interface(kind: InterfaceKind) -> Interface {
        Interface {
            index: 2,
            name: "lan0".to_owned(),
            kind,
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            up: true,
            running: true,
            point_to_point: false,
            no_arp: false,
            in_vrf: false,
        }
    }

    #[test]
    fn asks_no_one_where_no_one_can_answer() {
        let clock = Monotonic::new();
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
            assert!(matches!(Asker::open(&hop.interface), Err(LinkError::Interface { .. })));
        }
        hop.interface = interface(InterfaceKind::Ethernet);
        hop.kind = HopKind::Local;
        assert!(matches!(resolve(&hop, target, Duration::ZERO, &clock), Err(LinkError::Interface { .. })));
    }
}
