//! Routes and neighbours on a real kernel, in small networks of namespaces.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use portreeve::link::LinkError;
use portreeve::link::clock::Monotonic;
use portreeve::link::interface::{self, Interface, InterfaceKind};
use portreeve::link::neighbour::{self, NeighbourState, Resolved};
use portreeve::link::route::{self, GapReason, Hop, HopKind, RoutePlan};

#[path = "netns/mod.rs"]
mod netns;

use netns::{Case, FAR_MAC, NEAR_MAC, ip, lay, run, wait_for_carrier, wait_for_own};

const CASES: [Case; 22] = [
    ("a_gateway_serves_what_is_behind_it", a_gateway_serves_what_is_behind_it),
    ("a_more_specific_route_splits_a_range", a_more_specific_route_splits_a_range),
    ("a_rule_with_its_own_table_splits_a_range", a_rule_with_its_own_table_splits_a_range),
    ("a_rule_by_port_is_refused", a_rule_by_port_is_refused),
    ("on_link_targets_are_their_own_next_hop", on_link_targets_are_their_own_next_hop),
    ("own_addresses_stay_on_the_host", own_addresses_stay_on_the_host),
    ("loopback_stays_on_the_host", loopback_stays_on_the_host),
    ("loopback_that_is_down_leaks_nothing", loopback_that_is_down_leaks_nothing),
    ("a_route_that_refuses_is_named", a_route_that_refuses_is_named),
    ("no_route_is_named", no_route_is_named),
    ("everything_is_surveyed_without_a_fault", everything_is_surveyed_without_a_fault),
    ("one_of_several_next_hops_stands_for_all", one_of_several_next_hops_stands_for_all),
    ("ipv6_goes_the_same_way", ipv6_goes_the_same_way),
    ("an_interface_that_is_down_is_named", an_interface_that_is_down_is_named),
    ("an_interface_without_carrier_is_named", an_interface_without_carrier_is_named),
    ("the_interface_that_is_asked_for_is_used", the_interface_that_is_asked_for_is_used),
    ("the_wrong_interface_is_named", the_wrong_interface_is_named),
    ("addresses_and_gateways_are_listed", addresses_and_gateways_are_listed),
    ("a_cold_neighbour_is_asked", a_cold_neighbour_is_asked),
    (
        "a_neighbour_set_by_hand_is_believed_and_a_stale_one_is_asked",
        a_neighbour_set_by_hand_is_believed_and_a_stale_one_is_asked,
    ),
    ("a_silent_gateway_is_an_error_in_bounded_time", a_silent_gateway_is_an_error_in_bounded_time),
    ("an_interface_without_arp_is_named", an_interface_without_arp_is_named),
];

fn main() -> ExitCode {
    netns::main(&CASES)
}

/// A second interface `side0` with 198.18.1.1/24, and 198.18.1.254 at its other end.
fn lay_side() {
    run("ip link add side0 type veth peer name side1 netns far");
    run("ip address add 198.18.1.1/24 dev side0");
    run("ip link set side0 up");
    run("ip -n far address add 198.18.1.254/24 dev side1");
    run("ip -n far link set side1 up");
    wait_for_carrier("side0");
}

fn range(text: &str) -> (IpAddr, IpAddr) {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    (ip(first), ip(last))
}

fn resolve(text: &str) -> RoutePlan {
    RoutePlan::resolve(&[range(text)], None).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refusal(text: &str, interface: Option<&str>) -> LinkError {
    RoutePlan::resolve(&[range(text)], interface).expect_err(text)
}

/// Where the next hop towards an address says that it is.
fn mac_of(hop: &Hop, towards: &str, patience: Duration) -> Option<[u8; 6]> {
    let found = neighbour::resolve(hop, ip(towards), patience, &Monotonic::new());
    found.unwrap_or_else(|error| panic!("{towards}: {error}")).map(|found| found.mac)
}

fn hop<'a>(plan: &'a RoutePlan, address: &str) -> &'a Hop {
    plan.hop(ip(address)).unwrap_or_else(|| panic!("{address} has no hop"))
}

fn a_gateway_serves_what_is_behind_it() {
    lay();
    run("ip route add default via 198.18.0.254");
    let plan = resolve("198.18.64.0-198.18.127.255");
    assert_eq!(plan.hops().len(), 1);
    let hop = hop(&plan, "198.18.127.255");
    assert_eq!((hop.kind, hop.next_hop), (HopKind::Gateway, Some(ip("198.18.0.254"))));
    assert_eq!((hop.source, hop.interface.name.as_str()), (ip("198.18.0.1"), "near0"));
    assert_eq!((hop.interface.kind, hop.interface.mac), (InterfaceKind::Ethernet, Some(NEAR_MAC)));
    assert_eq!((hop.interface.mtu, hop.interface.up, hop.interface.running), (1500, true, true));
    assert_eq!(plan.hop(ip("198.18.63.255")), None, "it was not asked for");
}

fn a_more_specific_route_splits_a_range() {
    lay();
    lay_side();
    run("ip route add default via 198.18.0.254");
    run("ip route add 198.18.70.0/24 via 198.18.1.254");
    run("ip route add 198.18.70.128/32 via 198.18.0.254");
    // The same way by a route of its own, which is no reason for a second hop.
    run("ip route add 198.18.80.0/24 via 198.18.0.254");
    let plan = resolve("198.18.64.0-198.18.127.255");
    assert_eq!(plan.hops().len(), 2);
    for (address, gateway) in [
        ("198.18.64.0", "198.18.0.254"),
        ("198.18.69.255", "198.18.0.254"),
        ("198.18.70.0", "198.18.1.254"),
        ("198.18.70.127", "198.18.1.254"),
        ("198.18.70.128", "198.18.0.254"),
        ("198.18.70.129", "198.18.1.254"),
        ("198.18.70.255", "198.18.1.254"),
        ("198.18.71.0", "198.18.0.254"),
        ("198.18.80.1", "198.18.0.254"),
        ("198.18.127.255", "198.18.0.254"),
    ] {
        assert_eq!(hop(&plan, address).next_hop, Some(ip(gateway)), "{address}");
    }
    assert_eq!(hop(&plan, "198.18.70.0").source, ip("198.18.1.1"));
}

fn a_rule_with_its_own_table_splits_a_range() {
    lay();
    lay_side();
    run("ip route add default via 198.18.0.254");
    run("ip route add default via 198.18.1.254 table 100");
    run("ip rule add to 198.18.96.0/24 lookup 100");
    let plan = resolve("198.18.64.0-198.18.127.255");
    for (address, gateway) in [
        ("198.18.95.255", "198.18.0.254"),
        ("198.18.96.0", "198.18.1.254"),
        ("198.18.96.255", "198.18.1.254"),
        ("198.18.97.0", "198.18.0.254"),
    ] {
        assert_eq!(hop(&plan, address).next_hop, Some(ip(gateway)), "{address}");
    }
}

fn a_rule_by_port_is_refused() {
    lay();
    run("ip route add default via 198.18.0.254");
    resolve("198.18.64.1");
    for what in ["dport 22", "sport 16384-32767", "ipproto tcp"] {
        run(&format!("ip rule add {what} lookup 100"));
        let said = refusal("198.18.64.1", None).to_string();
        assert!(said.contains("by ports or protocols") && said.contains("ip rule"), "{what}: {said}");
        run(&format!("ip rule del {what} lookup 100"));
    }
    run("ip rule add from 203.0.113.9 lookup 100");
    resolve("198.18.64.1");
}

fn on_link_targets_are_their_own_next_hop() {
    lay();
    let plan = resolve("198.18.0.2-198.18.0.255");
    let hop = hop(&plan, "198.18.0.9");
    assert_eq!((hop.kind, hop.next_hop, hop.source), (HopKind::OnLink, None, ip("198.18.0.1")));
    assert_eq!(hop.neighbour_for(ip("198.18.0.9")), ip("198.18.0.9"));
    assert_eq!(plan.hop(ip("198.18.0.255")), None, "broadcast is never a target");
    let [gap] = plan.gaps() else { panic!("{:?}", plan.gaps()) };
    assert_eq!(
        (gap.first, gap.last, &gap.reason),
        (ip("198.18.0.255"), ip("198.18.0.255"), &GapReason::Broadcast)
    );
}

fn own_addresses_stay_on_the_host() {
    lay();
    lay_side();
    run("ip route add default via 198.18.0.254");
    for interface in [None, Some("near0"), Some("side0")] {
        let ranges = [range("198.18.0.0-198.18.0.127")];
        let plan = RoutePlan::resolve(&ranges, interface).unwrap_or_else(|error| {
            // Through `side0` the neighbours of `near0` cannot be reached, but this host can.
            assert_eq!(interface, Some("side0"), "{error}");
            RoutePlan::resolve(&[range("198.18.0.1")], interface).expect("this host")
        });
        let own = hop(&plan, "198.18.0.1");
        assert_eq!((own.kind, own.next_hop, own.source), (HopKind::Local, None, ip("198.18.0.1")));
        assert_eq!(own.interface.kind, InterfaceKind::Loopback);
    }
    let plan = resolve("198.18.0.1-198.18.0.2");
    assert_eq!(hop(&plan, "198.18.0.2").kind, HopKind::OnLink);
}

fn loopback_stays_on_the_host() {
    lay();
    run("ip route add default via 198.18.0.254");
    let plan = resolve("126.255.255.255-128.0.0.0");
    for address in ["127.0.0.0", "127.0.0.1", "127.9.9.9", "127.255.255.254"] {
        let hop = hop(&plan, address);
        assert_eq!((hop.kind, hop.interface.kind), (HopKind::Local, InterfaceKind::Loopback), "{address}");
        assert!(hop.source.is_loopback(), "{address} from {}", hop.source);
    }
    assert_eq!(hop(&plan, "126.255.255.255").kind, HopKind::Gateway);
    assert_eq!(hop(&plan, "128.0.0.0").kind, HopKind::Gateway);
}

fn loopback_that_is_down_leaks_nothing() {
    lay();
    run("ip route add default via 198.18.0.254");
    run("ip link set lo down");
    for own in ["127.0.0.1", "198.18.0.1"] {
        let error = refusal(own, None);
        assert!(error.to_string().contains("interface lo is down"), "{error}");
    }
    // Without its address nothing keeps these from the default route, except us.
    run("ip address flush dev lo");
    for target in ["127.0.0.1", "127.9.9.9-127.9.9.10"] {
        let error = refusal(target, None);
        assert!(matches!(error, LinkError::NoWay { .. }), "{error}");
        assert!(error.to_string().contains("the loopback interface is down"), "{error}");
    }
}

fn a_route_that_refuses_is_named() {
    lay();
    run("ip route add default via 198.18.0.254");
    for kind in ["blackhole", "prohibit", "unreachable"] {
        run(&format!("ip route add {kind} 198.18.72.0/24"));
        for interface in [None, Some("near0")] {
            let error = refusal("198.18.64.0-198.18.127.255", interface);
            let LinkError::NoWay { ip: first, why, remedy } = &error else { panic!("{error}") };
            assert_eq!(*first, ip("198.18.72.0"));
            assert!(why.contains(&format!("`{kind}`")) && why.contains("198.18.72.255"), "{error}");
            assert!(remedy.contains("ip route"), "{error}");
        }
        let plan = RoutePlan::survey(&[range("198.18.64.0-198.18.127.255")], None).expect("a survey");
        assert!(plan.hop(ip("198.18.72.0")).is_none() && plan.hop(ip("198.18.72.255")).is_none());
        assert_eq!(hop(&plan, "198.18.71.255"), hop(&plan, "198.18.73.0"));
        run("ip route del 198.18.72.0/24");
    }
    run("ip route add throw 198.18.72.0/24");
    let error = refusal("198.18.72.9", None);
    assert!(error.to_string().contains("no route"), "{error}");
}

fn no_route_is_named() {
    lay();
    let error = refusal("198.18.0.200-198.18.1.9", None);
    let LinkError::NoWay { ip: first, why, .. } = &error else { panic!("{error}") };
    assert_eq!(*first, ip("198.18.1.0"));
    assert!(why.contains("no route"), "{error}");
}

fn everything_is_surveyed_without_a_fault() {
    lay();
    run("ip route add default via 198.18.0.254");
    let plan = resolve("0.0.0.0-255.255.255.255");
    for address in ["0.0.0.0", "224.0.0.1", "239.255.255.255", "255.255.255.255", "198.18.0.255"] {
        assert_eq!(plan.hop(ip(address)), None, "{address}");
    }
    for address in ["0.0.0.1", "223.255.255.255", "240.0.0.1", "255.255.255.254"] {
        assert_eq!(hop(&plan, address).kind, HopKind::Gateway, "{address}");
    }
}

fn one_of_several_next_hops_stands_for_all() {
    lay();
    lay_side();
    run("ip route add 198.18.64.0/18 nexthop via 198.18.0.254 nexthop via 198.18.1.254");
    let plan = resolve("198.18.64.0-198.18.127.255");
    let [hop] = plan.hops() else { panic!("{:?}", plan.hops()) };
    assert!([Some(ip("198.18.0.254")), Some(ip("198.18.1.254"))].contains(&hop.next_hop), "{hop:?}");
}

fn ipv6_goes_the_same_way() {
    lay();
    run("ip address add 2001:db8::1/64 dev near0 nodad");
    wait_for_own("2001:db8::1");
    run("ip -6 route add 2001:db8:1::/48 via 2001:db8::fe");
    run("ip -6 route add blackhole 2001:db8:1:5::/64");
    let plan = resolve("2001:db8::-2001:db8::ff");
    assert_eq!(hop(&plan, "2001:db8::1").kind, HopKind::Local);
    assert_eq!(hop(&plan, "2001:db8::2").kind, HopKind::OnLink);
    let plan = resolve("2001:db8:1::-2001:db8:1::ffff");
    assert_eq!(hop(&plan, "2001:db8:1::9").next_hop, Some(ip("2001:db8::fe")));
    let error = refusal("2001:db8:1::-2001:db8:1:ffff::", None);
    assert!(error.to_string().contains("`blackhole`"), "{error}");
    let error = refusal("2001:db8:2::1", None);
    assert!(error.to_string().contains("no route"), "{error}");
    let hop = hop(&plan, "2001:db8:1::9");
    assert_eq!(mac_of(hop, "2001:db8:1::9", Duration::ZERO), None);
    let error = neighbour::silence(hop, ip("2001:db8:1::9"));
    assert!(error.to_string().contains("answered 3 neighbour solicitations"), "{error}");
    run("ip -n far address add 2001:db8::fe/64 dev far0 nodad");
    assert_eq!(mac_of(hop, "2001:db8:1::9", Duration::ZERO), Some(FAR_MAC));
}

fn an_interface_that_is_down_is_named() {
    lay();
    run("ip link set near0 down");
    let error = refusal("198.18.0.9", Some("near0"));
    assert_eq!(error.to_string(), "interface near0 is down; bring it up with `ip link set near0 up`");
    // The kernel takes the routes of an interface away with it.
    let error = refusal("198.18.0.9", None);
    assert!(error.to_string().contains("bring up the interface"), "{error}");
}

fn an_interface_without_carrier_is_named() {
    lay();
    run("ip -n far link set far0 down");
    let began = Instant::now();
    while Interface::by_name("near0").expect("near0").running {
        assert!(began.elapsed() < Duration::from_secs(10), "near0 keeps its carrier");
        std::thread::sleep(Duration::from_millis(5));
    }
    for interface in [None, Some("near0")] {
        let error = refusal("198.18.0.9", interface);
        assert!(matches!(error, LinkError::Interface { .. }), "{error}");
        assert!(error.to_string().contains("near0 has no carrier"), "{error}");
    }
}

fn the_interface_that_is_asked_for_is_used() {
    lay();
    lay_side();
    run("ip route add default via 198.18.0.254 metric 100");
    run("ip route add default via 198.18.1.254 metric 200");
    for (name, gateway) in [("near0", "198.18.0.254"), ("side0", "198.18.1.254")] {
        let plan = RoutePlan::resolve(&[range("198.18.64.0-198.18.64.9")], Some(name)).expect(name);
        let hop = hop(&plan, "198.18.64.5");
        assert_eq!((hop.interface.name.as_str(), hop.next_hop), (name, Some(ip(gateway))));
    }
}

fn the_wrong_interface_is_named() {
    lay();
    lay_side();
    run("ip route add default via 198.18.0.254");
    for name in ["nothere0", "a-name-too-long-for-any-interface", "", "a/b", "a\0b"] {
        let error = refusal("198.18.0.9", Some(name));
        assert!(matches!(error, LinkError::Interface { .. }), "{error}");
        assert!(error.to_string().contains("does not exist"), "{error}");
    }
    // The kernel itself would say that these are on-link there.
    for target in ["198.18.64.1", "198.18.0.9"] {
        let error = refusal(target, Some("side0"));
        assert!(matches!(error, LinkError::NoWay { .. }), "{error}");
        assert!(error.to_string().contains("through another interface"), "{error}");
    }
}

fn addresses_and_gateways_are_listed() {
    lay();
    lay_side();
    run("ip address add 192.0.2.7/32 dev near0");
    run("ip address add 192.0.2.9/31 dev near0 label near0:b");
    run("ip route add default via 198.18.0.254");
    run("ip route add default metric 9 nexthop via 198.18.0.253 nexthop via 198.18.1.254");
    run("ip route add 198.18.64.0/24 via 198.18.0.200");
    assert_eq!(
        route::default_gateways().expect("gateways"),
        [ip("198.18.0.253"), ip("198.18.0.254"), ip("198.18.1.254")]
    );
    let own = interface::own_addresses().expect("addresses");
    let near = Interface::by_name("near0").expect("near0");
    for (address, prefix_len, broadcast) in
        [("198.18.0.1", 24, Some(ip("198.18.0.255"))), ("192.0.2.7", 32, None), ("192.0.2.9", 31, None)]
    {
        let found = own.iter().find(|own| own.ip == ip(address)).expect(address);
        assert_eq!((found.prefix_len, found.interface_index), (prefix_len, near.index), "{address}");
        assert_eq!(found.broadcast.map(IpAddr::V4), broadcast, "{address}");
        assert!(interface::is_own(ip(address), &own));
    }
    assert!(!interface::is_own(ip("198.18.0.254"), &own));
    assert_eq!(Interface::by_index(near.index).expect("near0"), near);
}

fn a_cold_neighbour_is_asked() {
    lay();
    run("ip route add default via 198.18.0.254");
    run("ip neigh flush all");
    let near = Interface::by_name("near0").expect("near0");
    assert_eq!(neighbour::known(ip("198.18.0.254"), near.index).expect("the table"), None);
    let plan = resolve("198.18.64.1");
    let hop = hop(&plan, "198.18.64.1");
    let began = Instant::now();
    assert_eq!(mac_of(hop, "198.18.64.1", Duration::from_secs(3)), Some(FAR_MAC));
    assert!(began.elapsed() < Duration::from_secs(1), "the answer ends the waiting");
}

fn a_neighbour_set_by_hand_is_believed_and_a_stale_one_is_asked() {
    lay();
    let near = Interface::by_name("near0").expect("near0");
    let plan = resolve("198.18.0.9");
    let (hop, clock) = (hop(&plan, "198.18.0.9"), Monotonic::new());
    let mac = [2, 0, 0, 0, 0, 9];
    // Nobody has that address, so only the table can tell.
    for (word, state) in [("permanent", NeighbourState::Permanent), ("reachable", NeighbourState::Reachable)]
    {
        run(&format!("ip neigh replace 198.18.0.9 lladdr 02:00:00:00:00:09 dev near0 nud {word}"));
        let entry = neighbour::known(ip("198.18.0.9"), near.index).expect("the table").expect("an entry");
        assert_eq!((entry.mac, entry.state), (Some(mac), state));
        let found = neighbour::resolve(hop, ip("198.18.0.9"), Duration::ZERO, &clock).expect(word);
        assert_eq!(found, Some(Resolved { mac, answers: false }), "{word}");
    }
    for word in ["stale", "failed"] {
        run(&format!("ip neigh replace 198.18.0.9 lladdr 02:00:00:00:00:09 dev near0 nud {word}"));
        assert_eq!(mac_of(hop, "198.18.0.9", Duration::ZERO), None, "{word}");
    }
    // What the table remembers is wrong, and whoever has the address now says so.
    run("ip route add default via 198.18.0.254");
    run("ip neigh replace 198.18.0.254 lladdr 02:00:00:00:00:09 dev near0 nud stale");
    let plan = resolve("198.18.64.1");
    let hop = self::hop(&plan, "198.18.64.1");
    assert_eq!(mac_of(hop, "198.18.64.1", Duration::from_secs(3)), Some(FAR_MAC));
}

fn a_silent_gateway_is_an_error_in_bounded_time() {
    lay();
    run("ip route add default via 198.18.0.77");
    let plan = resolve("198.18.64.1");
    let hop = hop(&plan, "198.18.64.1");
    for (patience, least, most) in [(0, 900, 2_000), (1_500, 1_500, 3_000)] {
        let began = Instant::now();
        let patience = Duration::from_millis(patience);
        assert_eq!(mac_of(hop, "198.18.64.1", patience), None);
        let took = began.elapsed();
        assert!((least..most).contains(&took.as_millis()), "{took:?}");
        let error = neighbour::silence(hop, ip("198.18.64.1"));
        let LinkError::NoWay { ip: silent, why, remedy } = &error else { panic!("{error}") };
        assert_eq!(*silent, ip("198.18.0.77"));
        assert!(why.contains("near0") && remedy.contains("ip neigh"), "{error}");
    }
}

fn an_interface_without_arp_is_named() {
    lay();
    run("ip link set near0 arp off");
    let plan = resolve("198.18.0.9");
    let (hop, clock) = (hop(&plan, "198.18.0.9"), Monotonic::new());
    let error = neighbour::resolve(hop, ip("198.18.0.9"), Duration::ZERO, &clock).expect_err("no ARP");
    assert!(matches!(error, LinkError::Interface { .. }), "{error}");
}
