//! The steps that a sweep takes for every probe and every answer: `cargo bench --bench engine`. They measure and assert
//! nothing; at a million probes a second each of them may take some hundred nanoseconds, all together.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use portreeve::link::clock::{Clock, Tick};
use portreeve::link::guard::NoGuard;
use portreeve::link::{Arrival, LinkError, Probe, Receive, Transmit};
use portreeve::sweep::board::Board;
use portreeve::sweep::cookie::{Cookie, SourcePorts};
use portreeve::sweep::pacer::Pacer;
use portreeve::sweep::plan::{Plan, StateSet};
use portreeve::sweep::receiver::Receiver;
use portreeve::sweep::report::Vantage;
use portreeve::sweep::sender::{Sender, Step};
use portreeve::target::order::Order;
use portreeve::target::ports::PortSet;
use portreeve::target::scope::Scope;
use portreeve::target::state::Reason;
use portreeve::target::table::Table;
use portreeve::target::{Target, Transport};
use portreeve::wire::frame::parse_ip;
use portreeve::wire::reply::{Answer, Reply as Heard};
use portreeve::wire::syn::{MAX_SYN_LEN, SynFields, SynTemplate};

/// Steps in one measured stretch, so that reading the clock costs nothing beside them.
const STEPS: u64 = 4096;
/// A /16 and the six risky ports.
const TARGETS: u64 = 65_536 * 6;
const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

fn main() {
    divan::main();
}

/// Measures a step, given a number that differs each time.
fn measure<T>(bencher: Bencher<'_, '_>, step: impl Fn(u64) -> T + Sync) {
    bencher.counter(ItemsCount::new(STEPS)).bench(|| {
        for n in 0..STEPS {
            black_box(step(black_box(n * 95)));
        }
    });
}

fn scope() -> Scope {
    let networks = ["198.18.0.0/17", "198.18.128.0/18", "198.18.192.0/19", "198.18.224.0/19"];
    let networks = networks.map(|network| network.parse().expect("a network"));
    let exclude = ["198.18.4.0/24".parse().expect("a network")];
    Scope::new(&networks, &exclude, "risky".parse().expect("ports")).expect("a scope")
}

#[divan::bench]
fn order_forward(bencher: Bencher<'_, '_>) {
    let order = Order::new(TARGETS, 7);
    measure(bencher, |n| order.index_at(n));
}

#[divan::bench]
fn order_backward(bencher: Bencher<'_, '_>) {
    let order = Order::new(TARGETS, 7);
    measure(bencher, |n| order.position_of(n));
}

#[divan::bench]
fn scope_target(bencher: Bencher<'_, '_>) {
    let scope = scope();
    measure(bencher, |n| scope.target(n % scope.len()));
}

#[divan::bench]
fn scope_index_of(bencher: Bencher<'_, '_>) {
    let scope = scope();
    let first = u32::from(Ipv4Addr::new(198, 18, 0, 0));
    measure(bencher, |n| scope.index_of(IpAddr::V4((first + (n as u32 & 0xffff)).into()), 6379));
}

#[divan::bench]
fn cookie_token(bencher: Bencher<'_, '_>) {
    let cookie = Cookie::new(b"a key of 16 byte", SourcePorts { first: 16_384, count: 16_384 });
    measure(bencher, |n| {
        let ip = IpAddr::V4((0xc612_0000 + n as u32).into());
        cookie.token(IpAddr::V4(SOURCE), &Target { ip, port: 22, transport: Transport::Tcp }, 1)
    });
}

/// Which addresses a probe and its answer have.
#[derive(Clone, Copy, Debug)]
enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    fn source(self) -> IpAddr {
        match self {
            Family::Ipv4 => IpAddr::V4(SOURCE),
            Family::Ipv6 => IpAddr::V6(SOURCE_V6),
        }
    }

    fn fields(self, n: u64) -> SynFields {
        let destination = match self {
            Family::Ipv4 => IpAddr::V4((0xc612_0000 + n as u32).into()),
            Family::Ipv6 => IpAddr::V6((u128::from(SOURCE_V6) + u128::from(n)).into()),
        };
        SynFields {
            destination,
            destination_port: 22,
            source_port: 16_384 + (n as u16 & 0x3fff),
            sequence: n as u32,
        }
    }
}

#[divan::bench(args = [Family::Ipv4, Family::Ipv6])]
fn template_write(bencher: Bencher<'_, '_>, family: Family) {
    let template = SynTemplate::ethernet(family.source(), [2; 6], [4; 6]);
    measure(bencher, |n| {
        let mut frame = [0; MAX_SYN_LEN];
        template.write(&mut frame, &family.fields(n));
        frame
    });
}

/// What a host answers with, as bytes.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Rst,
    SynAck,
    Icmp,
    SynAckIpv6,
}

#[divan::bench(args = [Reply::Rst, Reply::SynAck, Reply::Icmp, Reply::SynAckIpv6])]
fn reply_parse(bencher: Bencher<'_, '_>, reply: Reply) {
    let packet = match reply {
        Reply::Rst => tcp_answer(0x14),
        Reply::SynAck => tcp_answer(0x12),
        Reply::Icmp => icmp_answer(),
        Reply::SynAckIpv6 => tcp_answer_ipv6(),
    };
    measure(bencher, |_| parse_ip(black_box(&packet)));
}

fn syn(family: Family) -> Vec<u8> {
    let mut packet = vec![0; MAX_SYN_LEN];
    let length = SynTemplate::bare(family.source()).write(&mut packet, &family.fields(772)).expect("room");
    packet.truncate(length);
    packet
}

/// Our SYN, turned round.
fn tcp_answer(flags: u8) -> Vec<u8> {
    let mut packet = syn(Family::Ipv4);
    packet[12..20].rotate_left(4);
    packet[20..24].rotate_left(2);
    packet[33] = flags;
    packet
}

/// The same over IPv6.
fn tcp_answer_ipv6() -> Vec<u8> {
    let mut packet = syn(Family::Ipv6);
    packet[8..40].rotate_left(16);
    packet[40..44].rotate_left(2);
    packet[53] = 0x12;
    packet
}

/// An ICMP error of the router that quotes our SYN.
fn icmp_answer() -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 56, 0, 0, 0, 0, 63, 1, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    packet.extend([3, 13, 0, 0, 0, 0, 0, 0]);
    packet.extend(&syn(Family::Ipv4)[..28]);
    packet
}

/// The receiver records on another thread, a little behind the sender's marks: both at once on the same cache lines.
#[divan::bench(sample_count = 50)]
fn table_mark_and_record_by_two_threads(bencher: Bencher<'_, '_>) {
    let order = Order::new(TARGETS, 7);
    bencher
        .counter(ItemsCount::new(TARGETS))
        .with_inputs(|| Table::new(TARGETS).expect("memory"))
        .bench_refs(|table| {
            let table = &*table;
            thread::scope(|threads| {
                threads.spawn(|| {
                    for position in 0..TARGETS {
                        black_box(table.mark_probed(position));
                    }
                });
                // The answers come in another order than the probes left in.
                for n in 0..TARGETS {
                    black_box(table.record(order.index_at(n), Reason::Rst));
                }
            });
        });
}

#[divan::bench(sample_count = 50)]
fn table_mark_and_record_by_one_thread(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(TARGETS))
        .with_inputs(|| Table::new(TARGETS).expect("memory"))
        .bench_refs(|table| {
            for position in 0..TARGETS {
                black_box(table.mark_probed(position));
                black_box(table.record(position, Reason::Rst));
            }
        });
}

/// Sweeps of a hundred million: many ports of few hosts, and few ports of many.
#[derive(Clone, Copy, Debug)]
enum Hundred {
    Slash15,
    Slash8,
    Slash104,
}

const HUNDREDS: [Hundred; 3] = [Hundred::Slash15, Hundred::Slash8, Hundred::Slash104];

/// Probes in one measured stretch of such a sweep.
const STRETCH: u64 = 1 << 16;

/// How fast it goes, in probes a second.
const FAST: NonZeroU32 = NonZeroU32::new(3_000_000).expect("not zero");

impl Hundred {
    /// With the caps that a sweep has by itself, but for the network that alone is all of the sweep.
    fn plan(self) -> Plan {
        let (network, ports) = match self {
            Hundred::Slash15 => ("198.18.0.0/15", 768),
            Hundred::Slash8 => ("198.0.0.0/8", 6),
            Hundred::Slash104 => ("2001:db8::/104", 6),
        };
        let ports = PortSet::new(1..=ports).expect("ports");
        let network_pps = if matches!(self, Hundred::Slash104) { 4_000_000 } else { 20_000 };
        Plan {
            sweep: ulid::Ulid::from(1_u128),
            scope: Scope::new(&[network.parse().expect("a network")], &[], ports).expect("a scope"),
            shard: None,
            seed: 1,
            key: None,
            tile: None,
            tries: 3,
            rate: Some(FAST),
            governed: false,
            host_rate: NonZeroU32::new(200),
            network_rate: NonZeroU32::new(network_pps),
            canaries: Vec::new(),
            mute: Vec::new(),
            routes: Arc::default(),
            source_ports: SourcePorts { first: 16_384, count: 16_384 },
            wanted: StateSet::default(),
            watched: BTreeSet::new(),
            vantage: Vantage {
                host: String::new(),
                engine: String::new(),
                engine_reason: String::new(),
                interface: None,
                source: None,
                next_hop: None,
            },
        }
    }
}

/// Takes every probe and does nothing with it.
struct Nowhere;

impl Transmit for Nowhere {
    fn source(&self, ip: IpAddr) -> IpAddr {
        if ip.is_ipv4() { IpAddr::V4(SOURCE) } else { IpAddr::V6(SOURCE_V6) }
    }

    fn transmit(&mut self, probes: &[Probe], _: &mut Vec<usize>) -> Result<(), LinkError> {
        black_box(probes);
        Ok(())
    }
}

/// Sends the next so many probes of a sweep, in virtual time. Who sleeps wakes some 50 µs too late.
fn send(board: &Board<'_>, sender: &mut Sender<'_, Nowhere>, now: &mut Tick, probes: u64) {
    let enough = board.sent() + probes;
    while board.sent() < enough {
        match sender.step(*now).expect("a link that takes everything") {
            Step::Wait(until) => *now = until.max(*now) + Duration::from_micros(50),
            _ => *now = *now + Duration::from_nanos(100),
        }
    }
}

/// All that a sender does for a probe, but for the link.
#[divan::bench(args = HUNDREDS)]
fn hundred_million_probe(bencher: Bencher<'_, '_>, hundred: Hundred) {
    let plan = hundred.plan();
    let board = Board::new(&plan, b"a key of 16 byte", 1).expect("memory");
    let mut sender = Sender::new(&board, 0, Nowhere);
    let mut now = Tick::from_nanos(1_000_000_000);
    bencher.counter(ItemsCount::new(STRETCH)).bench_local(|| send(&board, &mut sender, &mut now, STRETCH));
}

/// Of that, the order, the table with the times, and the pacer.
#[divan::bench(args = HUNDREDS)]
fn hundred_million_order_table_pacer(bencher: Bencher<'_, '_>, hundred: Hundred) {
    let plan = hundred.plan();
    let board = Board::new(&plan, b"a key of 16 byte", 1).expect("memory");
    let mut pacer = Pacer::new(plan.rate);
    let (mut now, mut position) = (Tick::from_nanos(1_000_000_000), 0);
    bencher.counter(ItemsCount::new(STRETCH)).bench_local(|| {
        let end = position + STRETCH;
        while position < end {
            let room = pacer.allowance(now, 256) as u64;
            for position in position..position + room {
                if board.table.get(position).needs_probe(plan.tries) {
                    black_box(board.order.index_at(position));
                    black_box(board.table.mark_probed(position));
                    board.times.note(position, now);
                }
            }
            position += room;
            pacer.spend(now, room as usize);
            now = pacer.next_departure().max(now + Duration::from_micros(80));
        }
    });
}

/// Hears what was put there.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Vec<Arrival>>>);

impl Receive for Inbox {
    fn receive(&mut self, _: Duration, each: &mut dyn FnMut(Arrival)) -> Result<(), LinkError> {
        self.0.lock().expect("one thread").drain(..).for_each(each);
        Ok(())
    }

    fn dropped(&mut self) -> Result<u64, LinkError> {
        Ok(0)
    }
}

struct Standing(Tick);

impl Clock for Standing {
    fn now(&self) -> Tick {
        self.0
    }

    fn sleep_until(&self, _: Tick) {}
}

/// All that a receiver does for an answer, but for the link: each of the last probes is answered by a reset, in the
/// order in which they left.
#[divan::bench(args = HUNDREDS)]
fn hundred_million_answer(bencher: Bencher<'_, '_>, hundred: Hundred) {
    let plan = hundred.plan();
    let board = &Board::new(&plan, b"a key of 16 byte", 1).expect("memory");
    let mut sender = Sender::new(board, 0, Nowhere);
    let mut now = Tick::from_nanos(1_000_000_000);
    let inbox = Inbox::default();
    let mut receiver = Receiver::new(board, inbox.clone(), NoGuard { paths: 1 }, now).expect("a receiver");
    // All at once, because the canaries that come up with the first answers would not be answered.
    send(board, &mut sender, &mut now, 210 * STRETCH);
    let mut from = 0;
    bencher
        .counter(ItemsCount::new(STRETCH))
        .with_inputs(|| {
            let probed = (from..).filter(|at| board.table.get(*at).sent() > 0).take(STRETCH as usize);
            let positions: Vec<u64> = probed.collect();
            from = positions[positions.len() - 1] + 1;
            *inbox.0.lock().expect("one thread") =
                positions.iter().map(|at| reset(board, *at, now)).collect();
            now
        })
        .bench_local_values(|now| receiver.step(&Standing(now), Duration::ZERO).expect("a step"));
}

/// The reset that answers the first probe to the target in this place.
fn reset(board: &Board<'_>, position: u64, at: Tick) -> Arrival {
    let target = board.target_at(position);
    let source = Nowhere.source(target.ip);
    let token = board.cookie.token(source, &target, 1);
    let answer = Answer::Rst { ack: token.sequence.wrapping_add(1) };
    let reply =
        Heard { ip: target.ip, port: target.port, source, source_port: token.source_port, ttl: 60, answer };
    Arrival { at, reply }
}
