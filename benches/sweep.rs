//! A whole sweep of a /20 and the six risky ports over the simulated network, on one thread and in virtual time: what
//! the engine itself costs, without a kernel. `cargo bench --bench sweep`; it measures and asserts nothing.

use std::collections::BTreeSet;
use std::io;

use divan::Bencher;
use divan::counter::ItemsCount;
use std::sync::Arc;

use portreeve::link::sim::{Behaviour, SimNetwork, SimRules};
use portreeve::sweep::cookie::SourcePorts;
use portreeve::sweep::plan::{Plan, StateSet};
use portreeve::sweep::report::{Observation, Vantage};
use portreeve::sweep::run::{Observer, Progress, run_simulated};
use portreeve::target::scope::Scope;
use ulid::Ulid;

fn main() {
    divan::main();
}

/// Hears everything and keeps nothing.
struct Deaf;

impl Observer for Deaf {
    fn observed(&mut self, _: &Observation) -> io::Result<()> {
        Ok(())
    }

    fn progressed(&mut self, _: &Progress) -> io::Result<()> {
        Ok(())
    }
}

fn plan() -> Plan {
    let networks = ["198.18.0.0/20".parse().expect("a network")];
    Plan {
        sweep: Ulid::from(1),
        scope: Scope::new(&networks, &[], "risky".parse().expect("ports")).expect("a scope"),
        shard: None,
        seed: 1,
        key: None,
        tile: None,
        tries: 3,
        rate: None,
        governed: false,
        host_rate: None,
        network_rate: None,
        canaries: Vec::new(),
        mute: Vec::new(),
        routes: Arc::default(),
        source_ports: SourcePorts { first: 16_384, count: 16_384 },
        wanted: StateSet::all(),
        watched: BTreeSet::new(),
        vantage: Vantage {
            host: "sim".into(),
            engine: "sim".into(),
            engine_reason: "a bench".into(),
            interface: None,
            source: None,
            next_hop: None,
        },
    }
}

fn measure(bencher: Bencher<'_, '_>, rules: &SimRules) {
    let plan = plan();
    bencher
        .counter(ItemsCount::new(plan.scope.len()))
        .with_inputs(|| SimNetwork::new(rules.clone(), []))
        .bench_refs(|network| {
            run_simulated(&plan, network, b"a key of 16 byte", &mut Deaf).expect("a report")
        });
}

#[divan::bench(sample_count = 20)]
fn every_port_closed(bencher: Bencher<'_, '_>) {
    measure(bencher, &SimRules::default());
}

#[divan::bench(sample_count = 20)]
fn every_port_open(bencher: Bencher<'_, '_>) {
    measure(bencher, &SimRules { otherwise: Behaviour::Open, ..SimRules::default() });
}

#[divan::bench(sample_count = 20)]
fn one_answer_in_ten_lost(bencher: Bencher<'_, '_>) {
    measure(bencher, &SimRules { loss_out: 0.05, loss_back: 0.05, ..SimRules::default() });
}
