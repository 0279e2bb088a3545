//! A hundred million targets fit into 256 MiB: the board of such a sweep is laid out in full, and the kernel is
//! asked what the process has needed. Alone in its file, because the answer is the whole process's.

use std::collections::BTreeSet;
use std::sync::Arc;

use portreeve::sweep::board::Board;
use portreeve::sweep::caps::Caps;
use portreeve::sweep::cookie::SourcePorts;
use portreeve::sweep::plan::{Plan, StateSet};
use portreeve::sweep::report::Vantage;
use portreeve::target::ports::PortSet;
use portreeve::target::scope::Scope;
use ulid::Ulid;

#[test]
fn a_hundred_million_targets_fit_into_256_mebibytes() {
    let ports = PortSet::new(1..=768).expect("ports");
    let scope = Scope::new(&["198.18.0.0/15".parse().expect("a network")], &[], ports).expect("a scope");
    assert_eq!(scope.len(), 100_663_296);
    let plan = Plan {
        sweep: Ulid::from(1_u128),
        scope,
        shard: None,
        seed: 1,
        tries: 3,
        rate: None,
        governed: false,
        host_rate: std::num::NonZeroU32::new(200),
        network_rate: std::num::NonZeroU32::new(5000),
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
    };
    let board = Board::new(&plan, &[7; 16], 2).expect("memory for 200 MB");
    let caps = [(); 2].map(|()| Caps::new(plan.scope.hosts(), plan.host_rate, plan.network_rate));
    // Every page is touched by the first lap of a sweep.
    for position in (0..board.table.len()).step_by(1024) {
        board.table.mark_probed(position);
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib: u64 = peak.trim().trim_end_matches("kB").trim().parse().expect("a number");
    drop((board, caps));
    assert!(kib > 190 << 10, "the table was not laid out: {kib} KiB");
    assert!(kib < 240 << 10, "{kib} KiB; the two rings of the packet engine need 17 MiB more");
}
