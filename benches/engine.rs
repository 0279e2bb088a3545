//! The steps that a sweep takes for every probe and every answer: `cargo bench --bench engine`. They measure and assert
//! nothing; at a million probes a second each of them may take some hundred nanoseconds, all together.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;

use divan::Bencher;
use divan::counter::ItemsCount;
use portreeve::sweep::cookie::{Cookie, SourcePorts};
use portreeve::target::order::Order;
use portreeve::target::scope::Scope;
use portreeve::target::state::Reason;
use portreeve::target::table::Table;
use portreeve::target::{Target, Transport};
use portreeve::wire::frame::parse_ethernet;
use portreeve::wire::syn::{SYN_FRAME_LEN, SynFields, SynTemplate};

/// Steps in one measured stretch, so that reading the clock costs nothing beside them.
const STEPS: u64 = 4096;
/// A /16 and the six risky ports.
const TARGETS: u64 = 65_536 * 6;
const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

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

fn fields(n: u64) -> SynFields {
    SynFields {
        destination: (0xc612_0000 + n as u32).into(),
        destination_port: 22,
        source_port: 16_384 + (n as u16 & 0x3fff),
        sequence: n as u32,
    }
}

#[divan::bench]
fn template_write(bencher: Bencher<'_, '_>) {
    let template = SynTemplate::new(SOURCE, [2; 6], [4; 6]);
    measure(bencher, |n| {
        let mut frame = [0; SYN_FRAME_LEN];
        template.write(&mut frame, &fields(n));
        frame
    });
}

/// What a host answers with, as bytes.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Rst,
    SynAck,
    Icmp,
}

#[divan::bench(args = [Reply::Rst, Reply::SynAck, Reply::Icmp])]
fn reply_parse(bencher: Bencher<'_, '_>, reply: Reply) {
    let frame = match reply {
        Reply::Rst => tcp_answer(0x14),
        Reply::SynAck => tcp_answer(0x12),
        Reply::Icmp => icmp_answer(),
    };
    measure(bencher, |_| parse_ethernet(black_box(&frame)));
}

fn syn() -> [u8; SYN_FRAME_LEN] {
    let mut frame = [0; SYN_FRAME_LEN];
    SynTemplate::new(SOURCE, [2; 6], [4; 6]).write(&mut frame, &fields(772));
    frame
}

/// Our SYN, turned round.
fn tcp_answer(flags: u8) -> Vec<u8> {
    let mut frame = syn().to_vec();
    frame[26..34].rotate_left(4);
    frame[34..38].rotate_left(2);
    frame[47] = flags;
    frame
}

/// An ICMP error of the router that quotes our SYN.
fn icmp_answer() -> Vec<u8> {
    let syn = syn();
    let mut frame = syn[..14].to_vec();
    frame.extend([0x45, 0, 0, 56, 0, 0, 0, 0, 63, 1, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    frame.extend([3, 13, 0, 0, 0, 0, 0, 0]);
    frame.extend(&syn[14..42]);
    frame
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
