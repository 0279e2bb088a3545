//! The whole engine over a simulated network, in virtual time. Every failure names the seed that repeats it:
//! `PORTREEVE_SEED=n cargo test --test sim`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use portreeve::link::LinkError;
use portreeve::link::clock::{Clock, Tick};
use portreeve::link::fence::Fence;
use portreeve::link::sim::{Behaviour, SimNetwork, SimRules};
use portreeve::sweep::cookie::{Cookie, SourcePorts};
use portreeve::sweep::plan::{Plan, StateSet};
use portreeve::sweep::report::{Observation, UnknownReason, Vantage, Verdict};
use portreeve::sweep::run::{Observer, Outcome, Progress, run_simulated};
use portreeve::target::Target;
use portreeve::target::scope::Scope;
use portreeve::target::state::{Reason, State};
use portreeve::wire::reply::{Answer, Reply};
use ulid::Ulid;

const KEY: [u8; 16] = *b"a key of 16 byte";
const PORTS: SourcePorts = SourcePorts { first: 16_384, count: 16_384 };

fn seeds() -> Vec<u64> {
    match std::env::var("PORTREEVE_SEED") {
        Ok(seed) => vec![seed.parse().expect("PORTREEVE_SEED is a number")],
        Err(_) => (1..=5).collect(),
    }
}

fn scope(network: &str, ports: &str) -> Scope {
    Scope::new(&[network.parse().expect(network)], &[], ports.parse().expect(ports)).expect("a scope")
}

fn plan(scope: Scope, seed: u64) -> Plan {
    Plan {
        sweep: Ulid::from(u128::from(seed)),
        scope,
        shard: None,
        seed,
        tries: 3,
        rate: NonZeroU32::new(50_000),
        host_rate: NonZeroU32::new(200),
        source_ports: PORTS,
        wanted: StateSet::all(),
        vantage: Vantage {
            host: "sim".into(),
            engine: "sim".into(),
            engine_reason: "a test".into(),
            interface: None,
            source: None,
            next_hop: None,
        },
    }
}

/// Keeps the last word on every target.
#[derive(Default)]
struct Notebook(HashMap<Target, Observation>);

impl Observer for Notebook {
    fn observed(&mut self, observation: &Observation) -> io::Result<()> {
        self.0.insert(observation.target, *observation);
        Ok(())
    }

    fn progressed(&mut self, _: &Progress) -> io::Result<()> {
        Ok(())
    }
}

fn sweep(plan: &Plan, network: &SimNetwork) -> (Outcome, Notebook) {
    let mut notebook = Notebook::default();
    let outcome = run_simulated(plan, network, &KEY, &mut notebook).expect("a report");
    outcome.report.ledger.check().expect("closed books");
    (outcome, notebook)
}

/// A network in which a tenth of the targets each are open, silent, rejected and unreachable, the rest closed.
fn mixed(scope: &Scope, rules: SimRules) -> (SimNetwork, HashMap<Target, Behaviour>) {
    let behaviours: HashMap<Target, Behaviour> = (0..scope.len())
        .map(|index| {
            let target = scope.target(index);
            let behaviour = match (index * 2_654_435_761 + rules.seed) % 10 {
                0 => Behaviour::Open,
                1 => Behaviour::Silent,
                2 => Behaviour::Icmp(3, 13),
                3 => Behaviour::Icmp(3, 1),
                _ => Behaviour::Closed,
            };
            (target, behaviour)
        })
        .collect();
    let ports = behaviours.iter().map(|(target, behaviour)| ((target.ip, target.port), *behaviour));
    (SimNetwork::new(rules, ports), behaviours)
}

fn expected(behaviour: Behaviour) -> (State, Reason) {
    match behaviour {
        Behaviour::Open => (State::Open, Reason::SynAck),
        Behaviour::Closed => (State::Closed, Reason::Rst),
        Behaviour::Silent => (State::Filtered, Reason::NoResponse),
        Behaviour::Icmp(_, 1) => (State::Unreachable, Reason::IcmpHostUnreachable),
        Behaviour::Icmp(..) => (State::Filtered, Reason::IcmpAdminProhibited),
        Behaviour::Contradictory => (State::Conflict, Reason::Contradiction),
    }
}

/// Every target must have exactly its state; those in `may_be_unknown` may be unknown instead.
fn check_exact(seed: u64, notebook: &Notebook, truth: &HashMap<Target, Behaviour>, may_be_unknown: bool) {
    for (target, behaviour) in truth {
        let seen = notebook.0.get(target);
        let said = seen.map(|o| (o.state, o.reason));
        let (state, reason) = expected(*behaviour);
        let unknown = seen.is_none_or(|o| o.state == State::Unknown);
        assert!(
            said == Some((state, Some(reason))) || (may_be_unknown && unknown),
            "seed {seed}: {target} is {behaviour:?} and was called {said:?}"
        );
    }
}

#[test]
fn every_target_gets_its_state_through_duplicates_and_reordering() {
    for seed in seeds() {
        let rules = SimRules {
            seed,
            duplicates: 0.3,
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(200),
            ..SimRules::default()
        };
        let scope = scope("198.18.0.0/22", "risky");
        let (network, truth) = mixed(&scope, rules);
        let (outcome, notebook) = sweep(&plan(scope, seed), &network);
        assert_eq!(outcome.report.verdict, Verdict::Complete, "seed {seed}");
        assert_eq!(notebook.0.len(), truth.len());
        check_exact(seed, &notebook, &truth, false);
        let silent = truth.values().filter(|b| **b == Behaviour::Silent).count() as u64;
        let packets = outcome.report.packets;
        assert_eq!(
            packets.sent,
            outcome.report.ledger.declared + 2 * silent,
            "seed {seed}: only silence is probed again"
        );
        assert_eq!((packets.dropped, packets.foreign, packets.refused), (0, 0, 0), "seed {seed}");
    }
}

/// 5 % lost each way, five tries: a target stays silent with probability 0.0975^5, 8.8e-6. Of 24,576 targets, most of
/// which answer, 0.2 are expected to be missed; five deviations are 2.4 more.
#[test]
fn loss_is_made_good_by_tries_within_the_arithmetic() {
    for seed in seeds() {
        let rules = SimRules { seed, loss_out: 0.05, loss_back: 0.05, ..SimRules::default() };
        let scope = scope("198.18.0.0/20", "risky");
        let (network, truth) = mixed(&scope, rules);
        let plan = Plan { tries: 5, ..plan(scope, seed) };
        let (outcome, notebook) = sweep(&plan, &network);
        let wrong: Vec<_> = truth
            .iter()
            .filter(|(target, behaviour)| notebook.0[*target].state != expected(**behaviour).0)
            .collect();
        assert!(wrong.len() <= 2, "seed {seed}: {wrong:?}");
        for (target, _) in wrong {
            assert_eq!(notebook.0[target].state, State::Filtered, "seed {seed}: missed, not mistaken");
        }
        let silent = truth.values().filter(|b| **b == Behaviour::Silent).count() as u64;
        let answering = outcome.report.ledger.declared - silent;
        let per_target = (outcome.report.packets.sent - 5 * silent) as f64 / answering as f64;
        assert!(per_target < 1.35, "seed {seed}: {per_target} probes a target");
    }
}

#[test]
fn what_was_in_flight_while_frames_were_dropped_is_probed_again() {
    for seed in seeds() {
        let ms = |n: u64| Tick::from_nanos(10_000_000_000 + n * 1_000_000);
        let blind = vec![(ms(100), ms(180)), (ms(300), ms(301)), (ms(1200), ms(2900))];
        let rules = SimRules { seed, blind, ..SimRules::default() };
        let scope = scope("198.18.0.0/20", "risky");
        let (network, truth) = mixed(&scope, rules);
        let (outcome, notebook) = sweep(&Plan { tries: 1, ..plan(scope, seed) }, &network);
        assert!(outcome.report.packets.dropped > 1000, "seed {seed}: {:?}", outcome.report.packets);
        assert_eq!(outcome.report.verdict, Verdict::Complete, "seed {seed}: {:?}", outcome.report);
        check_exact(seed, &notebook, &truth, false);
    }
}

#[test]
fn a_receiver_that_never_sees_makes_everything_unknown_and_nothing_filtered() {
    for seed in seeds() {
        let blind = vec![(Tick::from_nanos(0), Tick::from_nanos(u64::MAX))];
        let scope = scope("198.18.0.0/26", "22,80");
        let network = SimNetwork::new(SimRules { seed, blind, ..SimRules::default() }, []);
        let (outcome, notebook) = sweep(&plan(scope, seed), &network);
        let report = outcome.report;
        assert_eq!((report.ledger.unknown, report.verdict), (128, Verdict::Blind), "seed {seed}: {report:?}");
        assert_eq!(report.unknown_reasons, BTreeMap::from([(UnknownReason::ReceiverDropped, 128)]));
        assert!(notebook.0.values().all(|o| o.state == State::Unknown), "seed {seed}");
    }
}

#[test]
fn refused_probes_are_counted_and_sent_again() {
    for seed in seeds() {
        let rules = SimRules { seed, refuse_every: Some(7), ..SimRules::default() };
        let scope = scope("198.18.0.0/24", "risky");
        let (network, truth) = mixed(&scope, rules);
        let (outcome, notebook) = sweep(&plan(scope, seed), &network);
        check_exact(seed, &notebook, &truth, false);
        assert!(outcome.report.packets.refused > 200, "seed {seed}: {:?}", outcome.report.packets);
        assert_eq!(outcome.report.packets.sent, network.probes().len() as u64, "seed {seed}");
    }
}

#[test]
fn a_device_that_takes_nothing_ends_the_sweep_without_a_claim() {
    let rules = SimRules { refuse_every: Some(1), ..SimRules::default() };
    let scope = scope("198.18.0.0/28", "22");
    let (outcome, _) = sweep(&plan(scope, 1), &SimNetwork::new(rules, []));
    assert_eq!(outcome.report.unknown_reasons, BTreeMap::from([(UnknownReason::SendRefused, 16)]));
    assert_eq!(outcome.report.packets.sent, 0);
}

#[test]
fn contradictions_are_conflicts() {
    for seed in seeds() {
        let scope = scope("198.18.0.0/28", "22");
        let odd: IpAddr = "198.18.0.3".parse().expect("an address");
        let network = SimNetwork::new(
            SimRules { seed, ..SimRules::default() },
            [((odd, 22), Behaviour::Contradictory)],
        );
        let (outcome, notebook) = sweep(&plan(scope, seed), &network);
        assert_eq!((outcome.report.ledger.conflict, outcome.report.ledger.closed), (1, 15), "seed {seed}");
        let conflict = notebook.0.values().find(|o| o.state == State::Conflict).expect("a conflict");
        assert_eq!((conflict.target.ip, conflict.reason), (odd, Some(Reason::Contradiction)));
    }
}

/// Replies that are nearly right, for every target, from just before its probe leaves until the end: none may count.
#[test]
fn forged_replies_change_nothing() {
    for seed in seeds() {
        let scope = scope("198.18.0.0/26", "22,443");
        let source: IpAddr = "192.0.2.2".parse().expect("an address");
        let network =
            SimNetwork::new(SimRules { seed, otherwise: Behaviour::Silent, ..SimRules::default() }, []);
        let cookie = Cookie::new(&KEY, PORTS);
        let stale = Cookie::new(b"the last sweep's", PORTS);
        let mut forged = 0;
        for index in 0..scope.len() {
            let target = scope.target(index);
            let neighbour = scope.target((index + 1) % scope.len());
            let right = cookie.token(source, &target, 1);
            for (token, ack) in [
                (right, right.sequence),
                (right, right.sequence.wrapping_add(2)),
                (stale.token(source, &target, 1), stale.token(source, &target, 1).sequence.wrapping_add(1)),
                (
                    cookie.token(source, &neighbour, 1),
                    cookie.token(source, &neighbour, 1).sequence.wrapping_add(1),
                ),
                (cookie.token(source, &target, 9), cookie.token(source, &target, 9).sequence.wrapping_add(1)),
            ] {
                let by = source;
                for answer in [
                    Answer::SynAck { ack },
                    Answer::Rst { ack },
                    Answer::Icmp { sequence: ack.wrapping_sub(1), icmp_type: 3, code: 13, by },
                ] {
                    // The ICMP error with our own number would be right; everything else here is wrong somewhere.
                    if matches!(answer, Answer::Icmp { sequence, .. } if sequence == right.sequence && token == right)
                    {
                        continue;
                    }
                    let reply = Reply {
                        ip: target.ip,
                        port: target.port,
                        source,
                        source_port: token.source_port,
                        answer,
                        ttl: 9,
                    };
                    for at in [1, 500, 1500, 2500] {
                        network.inject(Duration::from_millis(at), reply);
                        forged += 1;
                    }
                    // And the right port with the right number, from an address that was not probed.
                    let elsewhere = Reply { ip: neighbour.ip, port: 9, ..reply };
                    network.inject(Duration::from_millis(700), elsewhere);
                    forged += 1;
                }
            }
        }
        let (outcome, _) = sweep(&plan(scope, seed), &network);
        let report = outcome.report;
        assert_eq!((report.ledger.filtered, report.packets.received), (128, 0), "seed {seed}: {report:?}");
        assert!(report.packets.foreign > forged * 9 / 10, "seed {seed}: {report:?} of {forged}");
    }
}

#[test]
fn a_sweep_keeps_its_rate_its_host_cap_and_the_space_between_tries() {
    for seed in seeds() {
        let scope = scope("198.18.0.0/27", "1-64");
        let network =
            SimNetwork::new(SimRules { seed, otherwise: Behaviour::Silent, ..SimRules::default() }, []);
        let plan = Plan {
            rate: NonZeroU32::new(1000),
            host_rate: NonZeroU32::new(20),
            tries: 2,
            ..plan(scope, seed)
        };
        let (outcome, _) = sweep(&plan, &network);
        assert_eq!(outcome.report.packets.sent, 2 * 32 * 64, "seed {seed}");
        let probes = network.probes();
        let second = Duration::from_secs(1);
        let fullest = |times: &[Tick]| {
            let count = |(n, from): (usize, &Tick)| {
                times[n..].iter().take_while(|at| at.since(*from) < second).count()
            };
            times.iter().enumerate().map(count).max().unwrap_or(0)
        };
        let all: Vec<Tick> = probes.iter().map(|(at, _)| *at).collect();
        assert!(fullest(&all) <= 1000, "seed {seed}: {} in a second", fullest(&all));
        let mut by_host: HashMap<IpAddr, Vec<Tick>> = HashMap::new();
        let mut by_target: HashMap<(IpAddr, u16), Vec<Tick>> = HashMap::new();
        for (at, probe) in &probes {
            by_host.entry(probe.ip).or_default().push(*at);
            by_target.entry((probe.ip, probe.port)).or_default().push(*at);
        }
        assert!(by_host.values().all(|times| fullest(times) <= 20), "seed {seed}");
        for (target, times) in by_target {
            assert_eq!(times.len(), 2);
            assert!(times[1].since(times[0]) >= second, "seed {seed}: {target:?}");
        }
        assert_eq!(
            probes.iter().map(|(_, p)| (p.source_port, p.sequence)).collect::<HashSet<_>>().len(),
            probes.len()
        );
    }
}

#[test]
fn the_same_seed_sends_the_same_probes_in_the_same_order() {
    let run = |seed| {
        let scope = scope("198.18.0.0/25", "risky");
        let (network, _) = mixed(&scope, SimRules { seed: 9, loss_out: 0.1, ..SimRules::default() });
        sweep(&plan(scope, seed), &network);
        network.probes()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn ends_as_soon_as_nothing_is_left_to_wait_for() {
    let scope = scope("198.18.0.0/28", "22");
    let network = SimNetwork::new(SimRules::default(), []);
    let begin = network.clock().now();
    sweep(&plan(scope.clone(), 1), &network);
    let took = network.clock().now().since(begin);
    assert!(took < Duration::from_millis(100), "all answered, and yet it took {took:?}");
    let silent = SimNetwork::new(SimRules { otherwise: Behaviour::Silent, ..SimRules::default() }, []);
    let begin = silent.clock().now();
    sweep(&Plan { tries: 2, ..plan(scope, 1) }, &silent);
    let took = silent.clock().now().since(begin);
    assert!(
        took < Duration::from_millis(2300),
        "two tries a second apart and one second of patience took {took:?}"
    );
}

/// With the scope itself gone wrong, the fence beside the link still holds (guarantee G4).
#[test]
fn nothing_passes_the_fence_even_if_the_scope_is_wrong() {
    let declared = scope("198.18.0.0/28", "22");
    let fence = Fence::new(declared.ranges().iter().map(|r| (r.first(), r.last())), declared.ports().iter());
    for wrong in [scope("198.18.0.0/27", "22"), scope("198.18.0.0/28", "22,23"), scope("198.18.4.0/28", "22")]
    {
        let network = SimNetwork::new(SimRules::default(), []).fenced(fence.clone());
        let mut notebook = Notebook::default();
        let outcome = run_simulated(&plan(wrong, 1), &network, &KEY, &mut notebook).expect("a report");
        assert!(matches!(outcome.failure, Some(LinkError::OutsideFence { .. })));
        assert_ne!(outcome.report.verdict, Verdict::Complete);
        for (_, probe) in network.probes() {
            assert!(declared.index_of(probe.ip, probe.port).is_some(), "{probe:?} left");
        }
    }
}
