//! The steps that a sweep takes for every probe and every answer: `cargo bench --bench engine`. They measure and assert
//! nothing; at a million probes a second each of them may take some hundred nanoseconds, all together.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;

use divan::Bencher;
use divan::counter::ItemsCount;
use portreeve::sweep::cookie::{Cookie, SourcePorts};
use portreeve::target::order::Order;
use portreeve::target::scope::Scope;
use portreeve::target::state::Reason;
use portreeve::target::table::Table;
use portreeve::target::{Target, Transport};
use portreeve::wire::frame::parse_ip;
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
