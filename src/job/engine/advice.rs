//! When the engine that runs by itself is not the one for the rate that is asked for.

use std::num::NonZeroU32;

use crate::config::options::{Cap, EngineChoice};
use crate::config::settings::Settings;
use crate::link::route::{Hop, HopKind, RoutePlan};
use crate::link::xdp::card::{Card, Sends};
use crate::link::xdp::host::Host;
use crate::sweep::plan::defaults;
use crate::target::address::AddressRange;
use crate::target::scope::Scope;

/// What packet sockets carry where every probe is answered, in packets a second: the README's measured wire of two
/// cores does some 600,000 of such round trips, with the answering network on the same cores. Into silence one thread
/// sends 1,800,000, but whoever asks for that much may as well know that it holds for silence only. Below this, packet
/// sockets do, and nothing is said.
const PACKET_PPS: u64 = 500_000;

/// What is to be said for the xdp engine, if it is not chosen, packet sockets are too slow for the rate, and nothing is
/// known that keeps it from running here. Without routes the way to the targets is not looked at.
pub fn faster(settings: &Settings, scope: &Scope, routes: Option<&RoutePlan>) -> Option<String> {
    let ceiling = settings.pace().ok()?.ceiling;
    let pps = reach(settings, scope, ceiling);
    let is_left_to_us = settings.engine.unwrap_or(EngineChoice::Auto) == EngineChoice::Auto;
    (is_left_to_us && pps > PACKET_PPS && could_run(routes)).then(|| {
        format!(
            "{pps} packets a second are asked for, and packet sockets carry some {PACKET_PPS} where most targets \
             answer; this host may be able to run the xdp engine, which is made for such rates: see \
             `portreeve doctor TARGET --engine xdp`, and ask for it by --engine xdp or engine = \"xdp\" under [sweep]"
        )
    })
}

/// How fast a run can become: no faster than its caps let it, however much is asked for.
fn reach(settings: &Settings, scope: &Scope, ceiling: NonZeroU32) -> u64 {
    let cap = |asked: Option<Option<NonZeroU32>>, usual: u32, many: u128| match asked {
        Some(None) => u128::MAX,
        Some(Some(pps)) => many * u128::from(pps.get()),
        None => many * u128::from(usual),
    };
    let host = settings.host_rate.map(Cap::pps);
    let network = settings.network_rate.map(Cap::pps);
    let by_hosts = cap(host, defaults::HOST_RATE_PPS, scope.hosts().into());
    let by_networks = cap(network, defaults::NETWORK_RATE_PPS, networks(scope));
    let reach = by_hosts.min(by_networks).min(ceiling.get().into());
    u64::try_from(reach).unwrap_or(u64::MAX)
}

/// IPv4 /24s and IPv6 /64s of a scope; one that several ranges are in counts for each, which is never too few.
fn networks(scope: &Scope) -> u128 {
    let of_range = |range: &AddressRange| {
        let bits = if range.first().is_ipv4() { 8 } else { 64 };
        let (first, last) = range.numbers();
        (last >> bits) - (first >> bits) + 1
    };
    scope.ranges().iter().map(of_range).sum()
}

/// Whether nothing is known that keeps the xdp engine from running here.
fn could_run(routes: Option<&RoutePlan>) -> bool {
    let by_frames = |hop: &&Hop| takes_frames(hop);
    let is_fit = |hop: &Hop| {
        Card::of(hop.interface.index).is_ok_and(|card| card.attached.is_empty() && card.sends() != Sends::No)
    };
    let ways = |routes: &RoutePlan| {
        let mut hops = routes.hops().iter().filter(by_frames).peekable();
        hops.peek().is_some() && hops.all(is_fit)
    };
    routes.is_none_or(ways) && Host::look().lacks().is_empty()
}

/// Whether probes leave by frames of our own on this way: only such frames go by XDP. This host itself and tunnels are
/// reached by packets.
pub fn takes_frames(hop: &Hop) -> bool {
    hop.kind != HopKind::Local && hop.interface.has_neighbours()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::Rate;
    use crate::target::ports::PortSet;

    fn scope(range: &str) -> Scope {
        let ports: PortSet = "22".parse().expect("a port");
        Scope::new(&[range.parse().expect(range)], &[], ports).expect("a scope")
    }

    fn settings(pps: u32, caps: Option<Cap>) -> Settings {
        let rate = NonZeroU32::new(pps).map(Rate::Pps);
        Settings { rate, host_rate: caps, network_rate: caps, ..Settings::default() }
    }

    #[test]
    fn a_rate_counts_as_far_as_the_caps_let_it() {
        for (range, pps, caps, expected) in [
            ("198.18.0.0/16", 1_000_000, Some(Cap::None), 1_000_000),
            // 256 networks, 5000 a second each.
            ("198.18.0.0/16", 10_000_000, None, 1_280_000),
            ("198.18.0.0/24", 10_000_000, None, 5_000),
            ("198.18.0.0/30", 10_000_000, None, 800),
            ("198.18.0.255-198.18.1.0", 10_000_000, Some(Cap::Pps(NonZeroU32::MIN)), 2),
            ("2001:db8::/120", 10_000_000, None, 5_000),
        ] {
            let settings = settings(pps, caps);
            let ceiling = settings.pace().expect("a pace").ceiling;
            assert_eq!(reach(&settings, &scope(range), ceiling), expected, "{range}");
        }
    }

    #[test]
    fn nothing_is_said_where_packet_sockets_do_or_somebody_has_chosen() {
        let wide = scope("198.18.0.0/16");
        let nobody_cares = Settings::default();
        for settings in [
            nobody_cares,
            settings(500_000, Some(Cap::None)),
            Settings { engine: Some(EngineChoice::Packet), ..settings(10_000_000, Some(Cap::None)) },
            Settings { engine: Some(EngineChoice::Xdp), ..settings(10_000_000, Some(Cap::None)) },
        ] {
            assert_eq!(faster(&settings, &wide, None), None, "{settings:?}");
        }
        // Whether anything is said at a high rate is up to this host, and said of nothing that it cannot do.
        let said = faster(&settings(10_000_000, Some(Cap::None)), &wide, None);
        assert_eq!(said.is_some(), Host::look().lacks().is_empty());
        assert!(said.is_none_or(|said| said.contains("10000000") && said.contains("--engine xdp")));
    }
}
