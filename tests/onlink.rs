//! What is on the network of an interface, or on this host itself, on a real kernel: the raw link, the asker, and the
//! sweep of neighbours.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portreeve::link::clock::Monotonic;
use portreeve::link::fence::Fence;
use portreeve::link::interface::Interface;
use portreeve::link::lane::{Lane, NextHop};
use portreeve::link::neighbour::{self, FindOptions, Neighbours, Presence, Resolved};
use portreeve::link::next_hop::HardwareAddress;
use portreeve::link::packet::asker::Asker;
use portreeve::link::packet::{Knowledge, PacketOptions, PacketTransmit, filter};
use portreeve::link::raw::{RawLane, RawOptions, RawTransmit};
use portreeve::link::route::RoutePlan;
use portreeve::link::{LinkError, Probe, Transmit};
use portreeve::wire::frame::parse_ip;
use portreeve::wire::reply::{Answer, Reply};
use socket2::{Domain, Protocol, Socket, Type};

#[path = "netns/mod.rs"]
mod netns;

use netns::{Case, FAR_MAC, NEAR_MAC, ip, lay, run};

const CASES: [Case; 17] = [
    ("this_host_answers_itself", this_host_answers_itself),
    (
        "many_probes_of_both_families_all_get_their_answers",
        many_probes_of_both_families_all_get_their_answers,
    ),
    ("a_firewall_refuses_its_own_and_holds_up_no_others", a_firewall_refuses_its_own_and_holds_up_no_others),
    ("nothing_leaves_the_fence_by_the_raw_link", nothing_leaves_the_fence_by_the_raw_link),
    ("nothing_leaves_the_fence_by_the_packet_link", nothing_leaves_the_fence_by_the_packet_link),
    ("packets_leave_by_a_tunnel", packets_leave_by_a_tunnel),
    ("a_gateway_with_a_link_local_address_is_found", a_gateway_with_a_link_local_address_is_found),
    ("a_gateway_of_the_other_family_is_found", a_gateway_of_the_other_family_is_found),
    ("a_known_neighbour_is_asked_alone", a_known_neighbour_is_asked_alone),
    ("an_answer_that_nobody_fetched_is_counted", an_answer_that_nobody_fetched_is_counted),
    ("half_a_network_is_found", half_a_network_is_found),
    ("half_a_network_is_found_in_ipv6", half_a_network_is_found_in_ipv6),
    ("lost_questions_hide_nobody", lost_questions_hide_nobody),
    ("lost_questions_hide_nobody_in_ipv6", lost_questions_hide_nobody_in_ipv6),
    ("what_is_set_by_hand_is_believed", what_is_set_by_hand_is_believed),
    ("an_interface_that_was_down_hides_nobody", an_interface_that_was_down_hides_nobody),
    ("a_cable_that_was_out_hides_nobody", a_cable_that_was_out_hides_nobody),
];

fn main() -> ExitCode {
    netns::main(&CASES)
}

const SEQUENCE: u32 = 0x0bad_cafe;
const SOURCE_PORT: u16 = 20_000;

/// Hears what arrives on all interfaces, as the receiver does.
fn ear() -> Socket {
    let everything = i32::from(0x0003_u16.to_be());
    let socket =
        Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(everything))).expect("a packet socket");
    socket.attach_filter(&filter::replies_to(SOURCE_PORT, SOURCE_PORT, &[])).expect("a filter");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a time limit");
    socket
}

/// The answers to us, up to so many of them, or until nothing more comes in. What leaves by the loopback is heard
/// twice.
fn replies(mut ear: &Socket, most: usize) -> Vec<Reply> {
    let mut replies = BTreeMap::new();
    let mut packet = [0; 256];
    while replies.len() < most {
        let Ok(length) = ear.read(&mut packet) else { break };
        let reply = parse_ip(&packet[..length]).filter(|reply| reply.source_port == SOURCE_PORT);
        replies.extend(reply.map(|reply| ((reply.ip, reply.port), reply)));
    }
    replies.into_values().collect()
}

/// A raw link to each of these addresses, from the address beside it.
fn open_raw(ways: &[(&str, &str)], interface: Option<&str>, ports: &[u16]) -> RawTransmit {
    let lanes: Vec<RawLane> =
        ways.iter().map(|(to, from)| RawLane { first: ip(to), last: ip(to), source: ip(from) }).collect();
    let fence = Fence::new(lanes.iter().map(|lane| (lane.first, lane.last)), ports.iter().copied());
    let interface = interface.map(|name| (Interface::by_name(name).expect(name).index, name.to_owned()));
    RawTransmit::open(&RawOptions { lanes, interface, fence }).expect("a raw link")
}

fn probe(link: &RawTransmit, to: IpAddr, port: u16) -> Probe {
    Probe { ip: to, port, source: link.source(to), source_port: SOURCE_PORT, sequence: SEQUENCE }
}

fn send(link: &mut RawTransmit, probes: &[Probe]) -> Vec<usize> {
    let mut refused = Vec::new();
    link.transmit(probes, &mut refused).expect("a link");
    refused
}

fn this_host_answers_itself() {
    lay();
    run("ip address add 2001:db8::1/64 dev near0 nodad");
    for address in ["127.0.0.1", "127.9.9.9", "198.18.0.1", "::1", "2001:db8::1"] {
        let listener = TcpListener::bind((ip(address), 0)).expect(address);
        let open = listener.local_addr().expect(address).port();
        let closed = 9;
        let source = if address == "127.9.9.9" { "127.0.0.1" } else { address };
        let mut link = open_raw(&[(address, source)], None, &[open, closed]);
        assert_eq!(link.source(ip(address)), ip(source));
        let ear = ear();
        let probes = [open, closed].map(|port| probe(&link, ip(address), port));
        assert!(send(&mut link, &probes).is_empty(), "{address}");
        let replies = replies(&ear, 2);
        for (port, expected) in [
            (open, Answer::SynAck { ack: SEQUENCE.wrapping_add(1) }),
            (closed, Answer::Rst { ack: SEQUENCE.wrapping_add(1) }),
        ] {
            let found = replies.iter().find(|reply| reply.ip == ip(address) && reply.port == port);
            let found = found.unwrap_or_else(|| panic!("{address} port {port}: no answer in {replies:?}"));
            assert_eq!((found.answer, found.source), (expected, ip(source)), "{address} port {port}");
        }
    }
}

fn many_probes_of_both_families_all_get_their_answers() {
    let ports: Vec<u16> = (1..=10_000).collect();
    let mut link = open_raw(&[("127.0.0.1", "127.0.0.1"), ("::1", "::1")], None, &ports);
    let probes: Vec<Probe> = ports
        .iter()
        .flat_map(|port| ["127.0.0.1", "::1"].map(|to| (to, *port)))
        .map(|(to, port)| probe(&link, ip(to), port))
        .collect();
    let ear = ear();
    let mut sending = Duration::ZERO;
    // As many at a time as the ear can hold.
    for some in probes.chunks(80) {
        let began = Instant::now();
        assert!(send(&mut link, some).is_empty());
        sending += began.elapsed();
        let mut left: BTreeSet<_> = some.iter().map(|probe| (probe.ip, probe.port)).collect();
        while !left.is_empty() {
            let [reply] = replies(&ear, 1)[..] else { panic!("no answer from {left:?}") };
            left.remove(&(reply.ip, reply.port));
        }
    }
    assert!(sending < Duration::from_secs(10), "{} probes in {sending:?}", probes.len());
}

fn a_firewall_refuses_its_own_and_holds_up_no_others() {
    run("nft add table inet wall");
    run("nft add chain inet wall out { type filter hook output priority 0 ; }");
    run("nft add rule inet wall out tcp dport { 3, 70, 71, 100 } drop");
    let ports: Vec<u16> = (0..=100).collect();
    let mut link = open_raw(&[("127.0.0.1", "127.0.0.1"), ("::1", "::1")], None, &ports);
    let target = |port: u16| ip(if port.is_multiple_of(2) { "127.0.0.1" } else { "::1" });
    let probes: Vec<Probe> = ports.iter().map(|&port| probe(&link, target(port), port)).collect();
    let ear = ear();
    assert_eq!(send(&mut link, &probes), [3, 70, 71, 100]);
    // Nobody probes port 0, but the kernel answers for it all the same.
    assert_eq!(replies(&ear, probes.len()).len(), probes.len() - 4);
}

fn nothing_leaves_the_fence_by_the_raw_link() {
    let mut link = open_raw(&[("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.1")], None, &[8, 9]);
    let ear = ear();
    for (to, port) in [("127.0.0.1", 10), ("127.0.0.3", 9), ("198.18.0.9", 9)] {
        let probes = [probe(&link, ip("127.0.0.2"), 8), probe(&link, ip(to), port)];
        let mut refused = Vec::new();
        let error = link.transmit(&probes, &mut refused).expect_err("it is outside");
        assert!(matches!(error, LinkError::OutsideFence { .. }), "{error}");
        assert_eq!(refused, [0, 1]);
    }
    assert!(replies(&ear, 1).is_empty());
}

/// The lane leads further than the fence, as it would if the scope had gone wrong above.
fn nothing_leaves_the_fence_by_the_packet_link() {
    lay();
    let lane = Lane {
        first: ip("198.18.0.0"),
        last: ip("198.18.0.255"),
        source: ip("198.18.0.1"),
        source_mac: NEAR_MAC,
        next_hop: NextHop::Router(Arc::new(HardwareAddress::new(FAR_MAC))),
    };
    let fence = Fence::new([(ip("198.18.0.2"), ip("198.18.0.9"))], [8, 9]);
    let interface = "near0".to_owned();
    let interface_index = Interface::by_name("near0").expect("near0").index;
    let options = PacketOptions { interface_index, interface, lanes: vec![lane], fence };
    let mut link = PacketTransmit::open(&options, Knowledge::new(), Monotonic::new()).expect("a packet link");
    let probe = |to: &str, port| {
        let source = ip("198.18.0.1");
        Probe { ip: ip(to), port, source, source_port: SOURCE_PORT, sequence: SEQUENCE }
    };
    for (to, port) in [("198.18.0.2", 10), ("198.18.0.10", 9), ("198.18.0.1", 8)] {
        let mut refused = Vec::new();
        let error = link.transmit(&[probe("198.18.0.2", 8), probe(to, port)], &mut refused);
        assert!(matches!(error, Err(LinkError::OutsideFence { .. })), "{to} {port}: {error:?}");
        assert_eq!(refused, [0, 1]);
    }
    let mut refused = Vec::new();
    link.transmit(&[probe("198.18.0.2", 8), probe("198.18.0.9", 9)], &mut refused).expect("it is inside");
    assert!(refused.is_empty());
}

fn packets_leave_by_a_tunnel() {
    lay();
    run("ip route add default via 198.18.0.254");
    let mut far_end = tunnel("tun0");
    run("ip link set tun0 up");
    run("ip address add 192.0.2.1/24 dev tun0");
    run("ip address add 2001:db8:2::1/64 dev tun0 nodad");
    assert!(!Interface::by_name("tun0").expect("tun0").has_neighbours());
    // By the routes the first would go to `near0`, but the interface is named.
    let ways = [("198.18.77.7", "192.0.2.1"), ("2001:db8:2::9", "2001:db8:2::1")];
    let mut link = open_raw(&ways, Some("tun0"), &[22]);
    let probes = ways.map(|(to, _)| probe(&link, ip(to), 22));
    let ear = ear();
    assert!(send(&mut link, &probes).is_empty());
    let mut packet = [0; 256];
    let mut answered = 0;
    let began = Instant::now();
    while answered < 2 {
        assert!(began.elapsed() < Duration::from_secs(5), "{answered} of 2 came out of the tunnel");
        // The host also says hello to IPv6 routers there.
        let length = far_end.read(&mut packet).unwrap_or(0);
        if let Some(answer) = refusal_of(&packet[..length]) {
            far_end.write_all(&answer).expect("a packet into the tunnel");
            answered += 1;
        }
    }
    assert_eq!(replies(&ear, 2).len(), 2);
    run("ip link set tun0 down");
    assert_eq!(send(&mut link, &probes), [0, 1], "for the moment");
    // The device goes with its program.
    drop(far_end);
    assert!(Interface::by_name("tun0").is_err());
    assert_eq!(send(&mut link, &probes), [0, 1], "nor is that the end");
}

/// The far end of a new tunnel for bare IP packets.
#[expect(unsafe_code, reason = "no safe library opens one")]
fn tunnel(name: &str) -> File {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
    let device = options.open("/dev/net/tun").expect("/dev/net/tun");
    // `struct ifreq`: 16 bytes of name, two of flags, and more that is not looked at.
    let mut request = [0_u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[16..18].copy_from_slice(&((libc::IFF_TUN | libc::IFF_NO_PI) as u16).to_ne_bytes());
    // SAFETY: `request` is as large as `struct ifreq` is at most, and outlives the call.
    let made = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF as _, request.as_mut_ptr()) };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
    device
}

/// The packet that refuses a SYN, from the port that it went to; its checksums are wrong, which no packet socket minds.
fn refusal_of(syn: &[u8]) -> Option<Vec<u8>> {
    let (addresses, each, tcp) = match syn.len() {
        52 => (12, 4, 20),
        72 if syn[6] == 6 => (8, 16, 40),
        _ => return None,
    };
    let mut answer = syn.to_vec();
    answer[addresses..addresses + 2 * each].rotate_left(each);
    answer[tcp..tcp + 4].rotate_left(2);
    answer[tcp + 8..tcp + 12].copy_from_slice(&SEQUENCE.wrapping_add(1).to_be_bytes());
    answer[tcp + 13] = 0x14;
    Some(answer)
}

fn a_gateway_with_a_link_local_address_is_found() {
    lay();
    run("ip -n far address add fe80::fe/64 dev far0 nodad");
    run("ip address add 2001:db8::1/128 dev lo nodad");
    run("ip -6 route add default via fe80::fe dev near0 src 2001:db8::1");
    let target = ip("2001:db8:9::9");
    let plan = RoutePlan::resolve(&[(target, target)], None).expect("a plan");
    let hop = plan.hop(target).expect("a hop");
    assert_eq!((hop.next_hop, hop.source), (Some(ip("fe80::fe")), ip("2001:db8::1")));
    let source = neighbour::source_of_questions(hop, ip("fe80::fe")).expect("addresses");
    assert!(matches!(source, IpAddr::V6(v6) if v6.is_unicast_link_local()), "{source}");
    let began = Instant::now();
    let found = neighbour::resolve(hop, target, Duration::from_secs(3), &Monotonic::new());
    assert_eq!(found.expect("an answer"), Some(Resolved { mac: FAR_MAC, answers: true }));
    assert!(began.elapsed() < Duration::from_secs(1), "the answer ends the waiting");
}

/// Routes of IPv4 may lead to a gateway of IPv6, which is asked in the name of an address of its own family.
fn a_gateway_of_the_other_family_is_found() {
    lay();
    run("ip address flush dev near0 scope link");
    run("ip -n far address add 2001:db8::fe/64 dev far0 nodad");
    run("ip route add 198.19.0.0/16 via inet6 2001:db8::fe dev near0 onlink");
    let target = ip("198.19.0.9");
    let plan = RoutePlan::resolve(&[(target, target)], None).expect("a plan");
    let hop = plan.hop(target).expect("a hop");
    assert_eq!((hop.next_hop, hop.source), (Some(ip("2001:db8::fe")), ip("198.18.0.1")));
    let refused =
        neighbour::source_of_questions(hop, ip("2001:db8::fe")).expect_err("it has no such address");
    assert!(refused.to_string().contains("near0 has no IPv6 address"), "{refused}");
    for (address, prefix) in [("2001:db8::1", 64), ("fe80::1", 64)] {
        run(&format!("ip address add {address}/{prefix} dev near0 nodad"));
        // The link-local address, once there is one.
        assert_eq!(neighbour::source_of_questions(hop, ip("2001:db8::fe")).expect(address), ip(address));
        run("ip -n far neigh flush dev far0");
        let found = neighbour::resolve(hop, target, Duration::from_secs(3), &Monotonic::new());
        assert_eq!(found.expect("an answer"), Some(Resolved { mac: FAR_MAC, answers: true }), "{address}");
    }
}

fn near() -> Interface {
    Interface::by_name("near0").expect("near0")
}

/// Who answers this question within half a second.
fn answers(asker: &mut Asker, source: &str, wanted: &str, to: Option<[u8; 6]>) -> Vec<[u8; 6]> {
    assert!(asker.ask(ip(source), ip(wanted), to).expect("an asker"));
    let mut macs = Vec::new();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(500) && macs.is_empty() {
        let mut each = |answer: portreeve::wire::neighbour::NeighbourAnswer| {
            assert_eq!((answer.ip, answer.asked_by), (ip(wanted), ip(source)));
            macs.push(answer.mac);
        };
        asker.answers(Duration::from_millis(20), &mut each).expect("an asker");
    }
    macs
}

fn a_known_neighbour_is_asked_alone() {
    lay();
    run("ip address add 2001:db8::1/64 dev near0 nodad");
    run("ip -n far address add 2001:db8::fe/64 dev far0 nodad");
    let mut asker = Asker::open(&near()).expect("an asker");
    for (source, wanted) in [("198.18.0.1", "198.18.0.254"), ("2001:db8::1", "2001:db8::fe")] {
        assert_eq!(answers(&mut asker, source, wanted, None), [FAR_MAC], "{wanted}");
        assert_eq!(answers(&mut asker, source, wanted, Some(FAR_MAC)), [FAR_MAC], "{wanted}");
        let somebody_else = [2, 0, 0, 0, 0, 0x77];
        assert!(answers(&mut asker, source, wanted, Some(somebody_else)).is_empty(), "{wanted}");
    }
    // What others ask for is none of ours.
    let mut other = Asker::open(&near()).expect("an asker");
    assert!(other.ask(ip("198.18.0.9"), ip("198.18.0.9"), None).expect("an asker"));
    assert!(asker.ask(ip("198.18.0.1"), ip("198.18.0.254"), None).expect("an asker"));
    other.answers(Duration::from_millis(300), &mut |answer| panic!("{answer:?}")).expect("an asker");
    assert_eq!(asker.dropped().expect("a counter"), 0);
    assert!(asker.ask(ip("198.18.0.1"), ip("2001:db8::fe"), None).is_err(), "two families");
}

fn an_answer_that_nobody_fetched_is_counted() {
    lay();
    let mut asker = Asker::open(&near()).expect("an asker");
    let mut heard = 0;
    for _ in 0..30_000 {
        while !asker.ask(ip("198.18.0.1"), ip("198.18.0.254"), None).expect("an asker") {}
    }
    std::thread::sleep(Duration::from_millis(300));
    let dropped = asker.dropped().expect("a counter");
    for _ in 0..40 {
        let before = heard;
        asker.answers(Duration::ZERO, &mut |_| heard += 1).expect("an asker");
        assert!(heard - before <= 2_000, "one look is bounded");
    }
    assert!(dropped > 0 && heard > 0 && dropped + heard <= 30_000, "{dropped} + {heard}");
    assert_eq!(asker.dropped().expect("a counter"), dropped, "the sum stays");
}

/// The far host has these addresses, too.
fn populate(addresses: impl Iterator<Item = String>) {
    let lines: String = addresses.map(|address| format!("address add {address} dev far0\n")).collect();
    let mut child = Command::new("ip")
        .args(["-n", "far", "-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("ip can be started");
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("ip reads");
    assert!(child.wait().expect("ip ends").success());
}

/// Of 198.18.0.2 to 198.18.0.253 and 2001:db8::2 to 2001:db8::fd the far host has those with an even last byte.
fn lay_half() {
    lay();
    run("ip address add 2001:db8::1/64 dev near0 nodad");
    populate((2..=252).step_by(2).map(|last| format!("198.18.0.{last}/24")));
    populate((2..=252).step_by(2).map(|last| format!("2001:db8::{last:x}/64 nodad")));
}

fn half_v4() -> impl Iterator<Item = IpAddr> {
    (2..=253).map(|last| IpAddr::from([198, 18, 0, last]))
}

fn half_v6() -> impl Iterator<Item = IpAddr> {
    (2..=253).map(|last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]))
}

const OPTIONS: FindOptions = FindOptions {
    rate_pps: NonZeroU32::new(5000).expect("no zero"),
    tries: 3,
    space: Duration::from_millis(500),
};

fn find(source: &str, mut wanted: impl Iterator<Item = IpAddr>, tries: u32) -> (Neighbours, Duration) {
    let mut asker = Asker::open(&near()).expect("an asker");
    let options = FindOptions { tries, ..OPTIONS };
    let began = Instant::now();
    let clock = Monotonic::new();
    let found = neighbour::find_all(&mut asker, ip(source), &mut wanted, &options, &clock, &|| false);
    let (found, took) = (found.expect("a sweep"), began.elapsed());
    (found, took)
}

/// Every even address is there and every odd one is nobody's.
fn assert_half(found: &Neighbours) {
    assert_eq!((found.wanted(), found.found(), found.nobody(), found.not_known()), (252, 126, 126, 0));
    for (ip, presence) in found.iter() {
        let last = match ip {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(v6) => v6.octets()[15],
        };
        let expected = if last.is_multiple_of(2) { Presence::At(FAR_MAC) } else { Presence::Nobody };
        assert_eq!(presence, expected, "{ip}");
    }
    assert_eq!(found.duplicates(), 0);
}

/// Three tries with their spaces and nothing more.
fn assert_prompt(took: Duration) {
    assert!((1_300..2_500).contains(&took.as_millis()), "{took:?}");
}

fn half_a_network_is_found() {
    lay_half();
    let (found, took) = find("198.18.0.1", half_v4(), 3);
    assert_half(&found);
    assert_prompt(took);
    let table = Command::new("ip").args(["neigh", "show", "dev", "near0"]).output().expect("ip");
    let table = String::from_utf8_lossy(&table.stdout).lines().count();
    assert!(table < 10, "the kernel's own table has {table} lines");
    // Where all answer it is over at once.
    let (found, took) = find("198.18.0.1", half_v4().step_by(2), 3);
    assert_eq!((found.found(), found.nobody()), (126, 0));
    assert!(took < Duration::from_millis(500), "{took:?}");
}

fn half_a_network_is_found_in_ipv6() {
    lay_half();
    let (found, took) = find("2001:db8::1", half_v6(), 3);
    assert_half(&found);
    assert_prompt(took);
}

fn lost_questions_hide_nobody() {
    lay_half();
    run("ip netns exec far nft add table arp loss");
    run("ip netns exec far nft add chain arp loss in { type filter hook input priority 0 ; }");
    run("ip netns exec far nft add rule arp loss in numgen random mod 10 0 counter drop");
    let (found, took) = find("198.18.0.1", half_v4(), 8);
    assert_half(&found);
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert_lossy();
}

fn lost_questions_hide_nobody_in_ipv6() {
    lay_half();
    run("ip netns exec far nft add table ip6 loss");
    run("ip netns exec far nft add chain ip6 loss in { type filter hook input priority 0 ; }");
    run("ip netns exec far nft add rule ip6 loss in icmpv6 type nd-neighbor-solicit \
         numgen random mod 10 0 counter drop");
    let (found, took) = find("2001:db8::1", half_v6(), 8);
    assert_half(&found);
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert_lossy();
}

/// Something was lost indeed.
fn assert_lossy() {
    let rules = Command::new("ip").args(["netns", "exec", "far", "nft", "list", "ruleset"]).output();
    let rules = String::from_utf8(rules.expect("nft").stdout).expect("text");
    assert!(rules.contains("counter packets") && !rules.contains("counter packets 0 "), "{rules}");
}

fn what_is_set_by_hand_is_believed() {
    lay();
    run("ip neigh add 198.18.0.9 lladdr 02:00:00:00:00:09 dev near0 nud permanent");
    run("ip neigh add 198.18.0.10 lladdr 02:00:00:00:00:0a dev near0 nud stale");
    run("ip link add side0 type veth peer name side1");
    run("ip neigh add 198.18.0.11 lladdr 02:00:00:00:00:0b dev side0 nud permanent");
    let wanted = (9..=11).map(|last| IpAddr::from([198, 18, 0, last]));
    let (found, _) = find("198.18.0.1", wanted, 1);
    let presences: Vec<Presence> = found.iter().map(|(_, presence)| presence).collect();
    assert_eq!(presences, [Presence::At([2, 0, 0, 0, 0, 9]), Presence::Nobody, Presence::Nobody]);
}

/// Runs a command in the background after some milliseconds.
fn later(after: u32, line: &str) -> std::process::Child {
    let line = format!("sleep 0.{after:03}; {line}");
    Command::new("sh").args(["-c", &line]).spawn().expect("sh can be started")
}

fn an_interface_that_was_down_hides_nobody() {
    lay_half();
    // While the questions are under way, so that for some of them everything comes too late in each of the tries.
    let mut child = later(20, "ip link set near0 down; sleep 1; ip link set near0 up");
    let (found, took) = find("198.18.0.1", half_v4(), 1);
    assert!(child.wait().expect("sh ends").success());
    assert_half(&found);
    assert!(took > Duration::from_secs(1) && took < Duration::from_secs(8), "{took:?}");
}

fn a_cable_that_was_out_hides_nobody() {
    lay_half();
    let mut child = later(20, "ip -n far link set far0 down; sleep 1; ip -n far link set far0 up");
    let (found, took) = find("198.18.0.1", half_v4(), 1);
    assert!(child.wait().expect("sh ends").success());
    assert_half(&found);
    assert!(took > Duration::from_secs(1) && took < Duration::from_secs(8), "{took:?}");
}
