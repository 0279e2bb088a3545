//! A hundred million targets take two bytes each and 32 MiB beside, whatever they are made of and however many send:
//! the sweep is laid out in full, its senders run for a while, and the kernel is asked what the process has
//! needed. Alone in its file, because the answer is the whole process's.

#![expect(
    clippy::print_stdout,
    reason = "one process tells the other, and whoever asks by --nocapture, what it took"
)]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use portreeve::link::clock::Tick;
use portreeve::link::guard::NoGuard;
use portreeve::link::{Arrival, LinkError, Probe, Receive, Transmit};
use portreeve::sweep::board::Board;
use portreeve::sweep::cookie::SourcePorts;
use portreeve::sweep::plan::{Plan, StateSet};
use portreeve::sweep::receiver::Receiver;
use portreeve::sweep::report::Vantage;
use portreeve::sweep::sender::{Sender, Step};
use portreeve::target::ports::PortSet;
use portreeve::target::scope::Scope;
use ulid::Ulid;

/// The table, and what a sweep may take beside it, the program itself included. The rings of the packet engine, which
/// are the kernel's memory shown to us, take 17 MiB more.
const TABLE: u64 = 100_663_296 * 2;
const BESIDE: u64 = (32 - 17) << 20;

/// Enough probes to touch every page of the books that the caps keep.
const PROBES: u64 = 200_000;

fn plan(network: &str, ports: u16) -> Plan {
    let ports = PortSet::new(1..=ports).expect("ports");
    Plan {
        sweep: Ulid::from(1_u128),
        scope: Scope::new(&[network.parse().expect("a network")], &[], ports).expect("a scope"),
        shard: None,
        seed: 1,
        key: None,
        tile: None,
        tries: 3,
        rate: None,
        governed: false,
        host_rate: NonZeroU32::new(200),
        network_rate: NonZeroU32::new(5000),
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

/// Takes every probe, and hears nothing.
struct Nowhere;

impl Transmit for Nowhere {
    fn source(&self, _: IpAddr) -> IpAddr {
        Ipv4Addr::UNSPECIFIED.into()
    }

    fn transmit(&mut self, _: &[Probe], _: &mut Vec<usize>) -> Result<(), LinkError> {
        Ok(())
    }
}

impl Receive for Nowhere {
    fn receive(&mut self, _: Duration, _: &mut dyn FnMut(Arrival)) -> Result<(), LinkError> {
        Ok(())
    }

    fn dropped(&mut self) -> Result<u64, LinkError> {
        Ok(0)
    }
}

/// Lays out a sweep, touches every page that its first lap touches, and says what the process has needed for that.
fn peak_of(plan: &Plan, senders: usize) -> u64 {
    let board = Board::new(plan, &[7; 16], senders).expect("memory for 200 MB");
    let mut now = Tick::from_nanos(1_000_000_000);
    let receiver = Receiver::new(&board, Nowhere, NoGuard { paths: 1 }, now).expect("a receiver");
    let mut all: Vec<_> = (0..senders).map(|number| Sender::new(&board, number, Nowhere)).collect();
    // Time passes so slowly that most of what could be sent waits for its slot.
    while board.sent() < PROBES {
        all.iter_mut().for_each(|sender| while sender.step(now).expect("a step") == Step::Again {});
        now = now + Duration::from_millis(1);
    }
    for position in (0..board.table.len()).step_by(1024) {
        board.table.mark_probed(position);
        board.times.note(position, now);
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib: u64 = peak.trim().trim_end_matches("kB").trim().parse().expect("a number");
    drop((all, receiver));
    kib << 10
}

/// The name of the test, and of what tells it which sweep to lay out: a process for each, because what one has given
/// back may still be counted for the next.
const TEST: &str = "a_hundred_million_targets_take_two_bytes_each_and_little_beside";
const CASE: &str = "PORTREEVE_SCALE_CASE";

#[test]
fn a_hundred_million_targets_take_two_bytes_each_and_little_beside() {
    if let Ok(case) = std::env::var(CASE) {
        let mut parts = case.split(' ');
        let mut next = || parts.next().expect("network, ports, senders");
        let plan = plan(next(), next().parse().expect("ports"));
        assert_eq!(plan.scope.len() * 2, TABLE);
        println!("\npeak {}", peak_of(&plan, next().parse().expect("senders")));
        return;
    }
    let mut too_much = Vec::new();
    for shape in ["198.18.0.0/15 768", "198.0.0.0/8 6", "2001:db8::/104 6"] {
        for senders in [1, 4, 16] {
            let case = format!("{shape} {senders}");
            let peak = peak_in_a_process(&case);
            assert!(peak > TABLE, "{case}: the table was not laid out: {peak}");
            println!("{case}: {} KiB beside the table", (peak - TABLE) >> 10);
            too_much.extend((peak > TABLE + BESIDE).then_some((case, peak - TABLE)));
        }
    }
    assert!(too_much.is_empty(), "bytes beside the table: {too_much:?}");
}

fn peak_in_a_process(case: &str) -> u64 {
    let own = std::env::current_exe().expect("a test has a program");
    let output = Command::new(own).args([TEST, "--exact", "--nocapture"]).env(CASE, case).output();
    let output = output.expect("a process");
    let text = String::from_utf8_lossy(&output.stdout);
    let peak = text.lines().find_map(|line| line.strip_prefix("peak ")).and_then(|peak| peak.parse().ok());
    peak.unwrap_or_else(|| panic!("{case}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}
