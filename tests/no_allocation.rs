//! Nothing on the path of a packet allocates: a sender sends, a receiver hears the answers, and an allocator that
//! counts says that neither has asked it for anything. Alone in its file, because the allocator is the whole program's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use portreeve::link::clock::{Clock, Tick};
use portreeve::link::guard::NoGuard;
use portreeve::link::{Arrival, LinkError, Probe, Receive, Transmit};
use portreeve::sweep::board::Board;
use portreeve::sweep::cookie::SourcePorts;
use portreeve::sweep::plan::{Plan, StateSet};
use portreeve::sweep::receiver::Receiver;
use portreeve::sweep::report::Vantage;
use portreeve::sweep::sender::{Sender, Step};
use portreeve::target::scope::Scope;
use portreeve::wire::reply::{Answer, Reply};
use ulid::Ulid;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static IS_COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, which counts what this thread asks it for.
struct Counting;

fn count() {
    if IS_COUNTED.get() {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    }
}

#[expect(unsafe_code, reason = "an allocator is unsafe to implement; this one only counts")]
// SAFETY: whatever is asked is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often the work asks for memory.
fn allocations(work: impl FnOnce()) -> u64 {
    IS_COUNTED.set(true);
    ALLOCATIONS.set(0);
    work();
    IS_COUNTED.set(false);
    ALLOCATIONS.get()
}

/// Takes every probe, and answers it once by a SYN-ACK or a reset; keeps the answers in a place made before.
struct Mirror<'a>(&'a crossbeam::queue::ArrayQueue<Arrival>, Tick);

impl Transmit for Mirror<'_> {
    fn source(&self, _: IpAddr) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, 2).into()
    }

    fn transmit(&mut self, probes: &[Probe], _: &mut Vec<usize>) -> Result<(), LinkError> {
        for probe in probes {
            let ack = probe.sequence.wrapping_add(1);
            let answer =
                if probe.port.is_multiple_of(2) { Answer::Rst { ack } } else { Answer::SynAck { ack } };
            let Probe { ip, port, source, source_port, .. } = *probe;
            let reply = Reply { ip, port, source, source_port, answer, ttl: 64 };
            // One in thirty-two is lost: too few for trouble, which may well ask for memory.
            if !probe.sequence.is_multiple_of(32) {
                self.0.push(Arrival { at: self.1, reply }).expect("room");
            }
        }
        Ok(())
    }
}

impl Receive for Mirror<'_> {
    fn receive(&mut self, _: Duration, each: &mut dyn FnMut(Arrival)) -> Result<(), LinkError> {
        while let Some(arrival) = self.0.pop() {
            each(arrival);
        }
        Ok(())
    }

    fn dropped(&mut self) -> Result<u64, LinkError> {
        Ok(0)
    }
}

/// A clock that stands where it was set.
struct Set(Tick);

impl Clock for Set {
    fn now(&self) -> Tick {
        self.0
    }

    fn sleep_until(&self, _: Tick) {}
}

fn plan() -> Plan {
    let networks =
        ["198.18.0.0/18".parse().expect("a network"), "2001:db8::/116".parse().expect("a network")];
    Plan {
        sweep: Ulid::from(1_u128),
        scope: Scope::new(&networks, &[], "1-10".parse().expect("ports")).expect("a scope"),
        shard: None,
        seed: 1,
        key: None,
        tile: None,
        tries: 3,
        rate: NonZeroU32::new(100_000),
        governed: true,
        host_rate: NonZeroU32::new(200),
        network_rate: NonZeroU32::new(20_000),
        canaries: Vec::new(),
        mute: Vec::new(),
        routes: Arc::default(),
        source_ports: SourcePorts { first: 16_384, count: 16_384 },
        wanted: StateSet::all(),
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

#[test]
fn neither_sender_nor_receiver_asks_for_memory() {
    assert!(allocations(|| drop(std::hint::black_box(vec![1_u8; 10]))) > 0, "the allocator counts");
    let plan = plan();
    let board = Board::new(&plan, &[7; 16], 1).expect("memory");
    let mut now = Tick::from_nanos(1_000_000_000);
    let on_the_way = crossbeam::queue::ArrayQueue::new(1 << 12);
    let mut sender = Sender::new(&board, 0, Mirror(&on_the_way, now));
    let mirror = Mirror(&on_the_way, now);
    let mut receiver = Receiver::new(&board, mirror, NoGuard { paths: 1 }, now).expect("a receiver");
    let asked = allocations(|| {
        while board.sent() < 150_000 {
            let step = sender.step(now).expect("a step");
            receiver.step(&Set(now), Duration::ZERO).expect("a step");
            while board.answers.pop().is_some() {}
            now = match step {
                Step::Wait(until) => until.max(now) + Duration::from_micros(20),
                _ => now + Duration::from_micros(20),
            };
        }
    });
    assert_eq!(asked, 0, "{asked} allocations for 150,000 probes and {} answers", board.received.get());
    assert!(board.received.get() > 100_000, "{} answers", board.received.get());
    assert!(board.asked() > 0, "canaries were asked, too");
}
