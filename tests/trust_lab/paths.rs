//! Several paths in one sweep, of which one breaks; and ways of IPv6 that break. What is said of one path must not rub
//! off on another.

use std::net::IpAddr;
use std::time::Duration;

use crate::harness::{Events, Ran, Target};
use crate::lab::{Engine, Lab};
use crate::weather::{Ending, check, sweep_with};

/// Networks behind two gateways, on two interfaces, 2,048 targets each.
const LEFT: &str = "198.18.0.0/24";
const RIGHT: &str = "198.19.32.0/24";

/// A network behind the first of the gateways, 4,096 targets.
const LEFT6: &str = "2001:db8:1::/119";

/// Hosts on the wire itself, each second one of them absent, 4,096 and 2,048 targets.
const WIRE: &str = "198.19.2.0/23";
const WIRE6: &str = "2001:db8:2::/120";

fn sweep_kinds(engine: Engine, weather: &str, targets: &str, rate: &str) -> Ran {
    let lab = Lab::new().flag("--kinds").seed(3).timeout(Duration::from_secs(90));
    sweep_with(
        engine,
        lab,
        weather,
        &format!("{targets} --ports \"$LAB_PORTS\" --rate {rate} --network-rate none"),
    )
}

/// Whether a target lies behind the gateway that is left alone.
fn is_right((ip, _): Target) -> bool {
    (IpAddr::from([198, 19, 32, 0])..=IpAddr::from([198, 19, 32, 255])).contains(&ip)
}

/// Everything is known of the one network, and of the other everything that is silent is unknown for this reason.
fn check_one_of_two(events: &Events, reason: &str) {
    let known = |events: &Events, right| {
        let of_side = events.ports.iter().filter(|(target, _)| is_right(**target) == right);
        let (known, unknown): (Vec<_>, Vec<_>) = of_side.partition(|(_, (state, _))| state != "unknown");
        assert!(unknown.iter().all(|(_, (_, said))| said == reason), "{:?}", unknown.first());
        (known.len(), unknown.len())
    };
    assert_eq!(known(events, true), (2048, 0), "{}", events.completed());
    let (_, unknown) = known(events, false);
    assert!(unknown > 0, "{}", events.completed());
}

/// One gateway has been silent from the beginning: the targets behind it are unknown, the others are swept.
pub fn one_gateway_of_two_is_silent(engine: Engine) {
    let ran = sweep_kinds(engine, "$W gateway-silent", &format!("{LEFT} {RIGHT}"), "5k");
    let events = check(&ran, Ending::Incomplete, "next-hop-silent");
    check_one_of_two(&events, "next-hop-silent");
    assert_eq!(events.number("unknown_reasons", "next-hop-silent"), 2048, "{}", events.completed());
}

/// It comes while the sweep runs, and nothing is lost by it.
pub fn a_gateway_of_two_comes_late(engine: Engine) {
    let weather = "$W gateway-silent; (sleep 5; $W gateway-speaks) &";
    let ran = sweep_kinds(engine, weather, &format!("{LEFT} {RIGHT}"), "5k");
    check(&ran, Ending::Complete, "next-hop-silent");
}

/// One of two routers stops forwarding in the middle.
pub fn one_way_of_two_breaks(engine: Engine) {
    let ran = sweep_kinds(engine, "$W after 1 gateway-deaf &", &format!("{LEFT} {RIGHT}"), "1k");
    let events = check(&ran, Ending::Incomplete, "canaries-silent");
    check_one_of_two(&events, "canaries-silent");
}

/// A local network in which nobody at all answers may be a cable in the wrong socket: that nobody is there is known
/// only where somebody is.
pub fn nobody_at_all_is_no_proof(engine: Engine) {
    let weather = "ip -n lan link set lan0 arp off";
    let ran = sweep_kinds(engine, weather, "198.19.2.32/27", "5k");
    let events = check(&ran, Ending::Incomplete, "nothing-heard");
    assert_eq!(events.completed()["verdict"], "blind", "{}", events.completed());
    let ran = sweep_kinds(engine, ":", "198.19.2.0/26", "5k");
    check(&ran, Ending::Complete, "");
}

pub fn ipv6_gateway_address_changes(engine: Engine) {
    let ran = sweep_kinds(engine, "$W after 1 gateway-address 02:00:00:00:00:99 &", LEFT6, "1k");
    check(&ran, Ending::Complete, "next-hop-moved");
}

pub fn ipv6_gateway_stops_for_a_while(engine: Engine) {
    let ran = sweep_kinds(engine, "($W after 1 gateway-deaf; $W after 3 gateway-hears) &", LEFT6, "2k");
    check(&ran, Ending::Complete, "canaries-silent");
}

pub fn ipv6_gateway_stops_forwarding(engine: Engine) {
    check(
        &sweep_kinds(engine, "$W after 1 gateway-deaf &", LEFT6, "1k"),
        Ending::Incomplete,
        "canaries-silent",
    );
}

/// All hosts of the wire are at another hardware address from one moment to the next.
fn hosts_move(engine: Engine, targets: &str, when: &str) {
    let weather = format!("({when}; ip -n lan link set dev lan0 address 02:00:00:00:00:77) &");
    check(&sweep_kinds(engine, &weather, targets, "1k"), Ending::Complete, "next-hop-moved");
}

pub fn hosts_on_the_wire_move(engine: Engine) {
    hosts_move(engine, WIRE, "$W first-probe lan; sleep 1");
}

/// Before the first probe, which is no better: to find who is there takes two seconds and a half.
pub fn hosts_on_the_wire_move_early(engine: Engine) {
    hosts_move(engine, WIRE, "sleep 2");
}

pub fn ipv6_hosts_on_the_wire_move(engine: Engine) {
    hosts_move(engine, WIRE6, "$W first-probe lan; sleep 0.4");
}

/// A part of the hosts of the wire goes away in the middle. Before, they are what they are; afterwards nobody has their
/// addresses. They are never silent. The sweep is so slow that its middle is met even if it began seconds late.
fn hosts_go(ran: &Ran, from: &str, to: &str) {
    let events = ran.events("events");
    events.check_books();
    let ends: [IpAddr; 2] = [from, to].map(|end| end.parse().expect(end));
    let truth = ran.truth();
    let (mut gone, mut known) = (0, 0);
    for (&(ip, port), (state, reason)) in &events.ports {
        let said = (state.as_str(), reason.as_str());
        if (ends[0]..=ends[1]).contains(&ip) {
            if said == ("unreachable", "no-neighbour") {
                gone += 1;
                continue;
            }
            known += 1;
        }
        assert_eq!(said, truth.state(ip, port), "{ip}:{port}\n{}", events.completed());
    }
    assert!(gone > 0 && known > 0, "{gone} gone, {known} known before: {}", events.completed());
    assert_eq!(events.completed()["verdict"], "complete", "{}", events.completed());
}

pub fn hosts_on_the_wire_go(engine: Engine) {
    let weather = "($W first-probe lan; sleep 1.5; ip -n lan route del local 198.19.2.0/27 dev lo) &";
    hosts_go(&sweep_kinds(engine, weather, WIRE, "500"), "198.19.2.0", "198.19.2.31");
}

pub fn ipv6_hosts_on_the_wire_go(engine: Engine) {
    let weather = "($W first-probe lan; sleep 1.2; \
                   for n in 1 2 3 4; do ip -n lan address del 2001:db8:2::$n/128 dev lan0; done) &";
    hosts_go(&sweep_kinds(engine, weather, WIRE6, "400"), "2001:db8:2::1", "2001:db8:2::4");
}
