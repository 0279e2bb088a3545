//! The whole engine over a simulated network, in virtual time. Every failure names the seed that repeats it:
//! `PORTREEVE_SEED=n cargo test --test sim`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use portreeve::link::clock::{Clock, Tick};
use portreeve::link::fence::Fence;
use portreeve::link::guard::Trouble;
use portreeve::link::sim::{Behaviour, SimNetwork, SimRules};
use portreeve::link::{LinkError, Probe};
use portreeve::sweep::cookie::{Cookie, SourcePorts};
use portreeve::sweep::plan::{Plan, StateSet};
use portreeve::sweep::report::{Observation, UnknownReason, Vantage, Verdict};
use portreeve::sweep::run::{Observer, Outcome, Progress, run_simulated};
use portreeve::target::scope::Scope;
use portreeve::target::state::{Reason, State};
use portreeve::target::{Target, Transport};
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
        key: None,
        tile: None,
        tries: 3,
        rate: NonZeroU32::new(50_000),
        governed: false,
        host_rate: NonZeroU32::new(200),
        network_rate: None,
        canaries: Vec::new(),
        mute: Vec::new(),
        routes: Arc::default(),
        source_ports: PORTS,
        wanted: StateSet::all(),
        watched: BTreeSet::new(),
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

/// In large sweeps neighbours in the order share one time of sending. That one of them was probed again just now is
/// no reason for the others to wait.
#[test]
fn neighbours_that_share_a_time_of_sending_do_not_wait_for_each_other() {
    let scope = scope("198.18.0.0/16", "1-33");
    // What comes too fast is lost, in bursts: neighbours together.
    let rules =
        SimRules { otherwise: Behaviour::Closed, capacity_pps: Some(1_900_000.0), ..SimRules::default() };
    let network = SimNetwork::new(rules, []);
    let plan = Plan {
        rate: NonZeroU32::new(2_000_000),
        host_rate: None,
        wanted: StateSet::default(),
        ..plan(scope, 1)
    };
    let (outcome, _) = sweep(&plan, &network);
    let ledger = outcome.report.ledger;
    assert_eq!(ledger.closed, ledger.declared);
    let took = outcome.report.duration_ms;
    assert!(took < 5000, "{took} ms");
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
        let unsettled = truth.values().filter(|behaviour| is_asked_again(**behaviour)).count() as u64;
        let packets = outcome.report.packets;
        assert_eq!(
            packets.sent,
            outcome.report.ledger.declared + 2 * unsettled,
            "seed {seed}: only silence and mere hints are probed again"
        );
        assert_eq!((packets.dropped, packets.foreign, packets.refused), (0, 0, 0), "seed {seed}");
    }
}

/// Whether a port takes as many tries as silence does.
fn is_asked_again(behaviour: Behaviour) -> bool {
    matches!(behaviour, Behaviour::Silent | Behaviour::Icmp(3, 1))
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
        let unsettled = truth.values().filter(|behaviour| is_asked_again(**behaviour)).count() as u64;
        let answering = outcome.report.ledger.declared - unsettled;
        let per_target = (outcome.report.packets.sent - 5 * unsettled) as f64 / answering as f64;
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

/// Sweeps a network of every behaviour, of which these targets are watched.
fn sweep_watching(seed: u64, rules: SimRules, watched: BTreeSet<Target>) -> Outcome {
    let scope = scope("198.18.0.0/24", "risky");
    let (network, _) = mixed(&scope, rules);
    let plan = Plan { wanted: StateSet::default(), watched, ..plan(scope, seed) };
    run_simulated(&plan, &network, &KEY, &mut Notebook::default()).expect("a report")
}

/// Some of each behaviour, and the same with two that are not swept.
fn some_watched(truth: &HashMap<Target, Behaviour>) -> (HashSet<Target>, BTreeSet<Target>) {
    let mut all: Vec<Target> = truth.keys().copied().collect();
    all.sort_unstable();
    let watched: HashSet<Target> = all.iter().step_by(7).copied().collect();
    let outside = [("198.18.1.0", 22), ("198.18.0.1", 4)];
    let outside = outside.map(|(ip, port)| Target { ip: ip.parse().expect(ip), port, ..all[0] });
    (watched.clone(), watched.into_iter().chain(outside).collect())
}

/// Whatever its state is, it is known of each watched target once, and costs not a packet.
#[test]
fn of_each_target_that_is_watched_one_last_word_is_kept() {
    for seed in seeds() {
        let rules = SimRules { seed, ..SimRules::default() };
        let (_, truth) = mixed(&scope("198.18.0.0/24", "risky"), rules.clone());
        let (watched, named) = some_watched(&truth);
        let behaviours: HashSet<_> = watched.iter().map(|target| expected(truth[target])).collect();
        assert_eq!(behaviours.len(), 5, "seed {seed}: one of each is watched");
        let outcome = sweep_watching(seed, rules.clone(), named);
        assert_eq!(outcome.report.verdict, Verdict::Complete, "seed {seed}: {:?}", outcome.report);
        let mut known: Vec<_> = outcome.watched.iter().map(|seen| (seen.target, seen.state)).collect();
        known.sort_unstable();
        let mut due: Vec<_> = watched.iter().map(|target| (*target, expected(truth[target]).0)).collect();
        due.sort_unstable();
        assert_eq!(known, due, "seed {seed}");
        let without = sweep_watching(seed, rules, BTreeSet::new());
        assert!(without.watched.is_empty(), "seed {seed}");
        assert_eq!(outcome.report.ledger, without.report.ledger, "seed {seed}");
        assert_eq!(outcome.report.packets, without.report.packets, "seed {seed}");
    }
}

#[test]
fn of_whoever_is_watched_and_not_seen_it_is_known_that_nothing_is() {
    for seed in seeds() {
        let blind = vec![(Tick::from_nanos(0), Tick::from_nanos(u64::MAX))];
        let rules = SimRules { seed, blind, ..SimRules::default() };
        let (_, truth) = mixed(&scope("198.18.0.0/24", "risky"), rules.clone());
        let (watched, named) = some_watched(&truth);
        let known = sweep_watching(seed, rules, named).watched;
        let told: HashSet<_> = known.iter().map(|seen| seen.target).collect();
        assert_eq!((known.len(), told), (watched.len(), watched), "seed {seed}");
        let why = |seen: &Observation| (seen.state, seen.unknown);
        let unseen = (State::Unknown, Some(UnknownReason::ReceiverDropped));
        assert!(known.iter().all(|seen| why(seen) == unseen), "seed {seed}: {known:?}");
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
        let packets = outcome.report.packets;
        assert_eq!(packets.sent + packets.canaries, network.probes().len() as u64, "seed {seed}");
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

/// Questions go on as long as anybody waits. If those were waited for in turn, a sweep in which anybody is silent would
/// never end where the queue of the device takes longer than the next question.
#[test]
fn a_slow_queue_is_waited_for_once() {
    for seed in seeds() {
        let rules = SimRules { seed, queue_delay: Duration::from_millis(100), ..SimRules::default() };
        let scope = scope("198.18.0.0/24", "risky");
        let (network, truth) = mixed(&scope, rules);
        let (outcome, notebook) = sweep(&plan(scope, seed), &network);
        check_exact(seed, &notebook, &truth, false);
        assert_eq!(outcome.report.unknown_reasons, BTreeMap::new(), "seed {seed}");
    }
}

/// A device that is gone keeps what it was given. That is void with its path, and no reason to end anything else.
#[test]
fn what_waits_for_a_lost_path_is_not_waited_for() {
    for seed in seeds() {
        let outages = vec![(ms(400), Tick::from_nanos(u64::MAX), Some(Trouble::LinkDown))];
        let rules = SimRules { seed, outages, queue_delay: Duration::MAX, ..SimRules::default() };
        let scope = scope("198.18.0.0/20", "risky");
        let (network, truth) = mixed(&scope, rules);
        let plan = Plan { rate: NonZeroU32::new(20_000), ..plan(scope, seed) };
        let (outcome, notebook) = sweep(&plan, &network);
        let reasons: Vec<_> = outcome.report.unknown_reasons.keys().collect();
        assert_eq!(reasons, [&UnknownReason::LinkDown], "seed {seed}");
        check_exact(seed, &notebook, &truth, true);
    }
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
        let asked = network.probes().iter().filter(|(_, probe)| probe.ip == odd).count();
        assert!(asked >= 3, "seed {seed}: a conflict is probed again, and was {asked} times");
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
        // Nothing was heard, so that not even silence is an answer.
        assert_eq!((report.ledger.unknown, report.packets.received), (128, 0), "seed {seed}: {report:?}");
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
            governed: false,
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

fn ms(n: u64) -> Tick {
    Tick::from_nanos(10_000_000_000 + n * 1_000_000)
}

/// The network carries nothing for a while, in the middle and at the end of the first pass. The guard may notice it or
/// not; where it does not, the canaries do.
#[test]
fn an_outage_makes_nothing_filtered_that_is_not() {
    for noticed in [Some(Trouble::LinkDown), Some(Trouble::NextHopSilent), None] {
        for seed in seeds() {
            let outages = vec![(ms(120), ms(900), noticed), (ms(1500), ms(4600), noticed)];
            let scope = scope("198.18.0.0/20", "risky");
            let (network, truth) = mixed(&scope, SimRules { seed, outages, ..SimRules::default() });
            let plan = Plan { rate: NonZeroU32::new(20_000), tries: 1, ..plan(scope, seed) };
            let (outcome, notebook) = sweep(&plan, &network);
            let report = &outcome.report;
            assert_eq!(report.verdict, Verdict::Complete, "seed {seed}, {noticed:?}: {report:?}");
            check_exact(seed, &notebook, &truth, false);
        }
    }
}

/// A device on the way begins to answer for everybody in the middle of the sweep, as a firewall does that has had
/// enough of us: what it says is not true of any target. When it leaves off, all is as it was.
#[test]
fn who_answers_for_everybody_else_is_not_believed() {
    let never = Tick::from_nanos(u64::MAX);
    for (behaviour, until) in [
        (Behaviour::Closed, never),
        (Behaviour::Icmp(3, 13), never),
        (Behaviour::Icmp(3, 0), never),
        (Behaviour::Closed, ms(2500)),
        (Behaviour::Icmp(3, 13), ms(2500)),
    ] {
        for seed in seeds() {
            let usurped = vec![(ms(400), until, behaviour)];
            let scope = scope("198.18.0.0/20", "risky");
            let rules = SimRules { seed, usurped, ..SimRules::default() };
            let (network, truth) = open_or_closed(&scope, rules);
            let plan = Plan { rate: NonZeroU32::new(20_000), ..plan(scope, seed) };
            let (outcome, notebook) = sweep(&plan, &network);
            let report = &outcome.report;
            check_exact(seed, &notebook, &truth, true);
            let verdict = if until == never { Verdict::Degraded } else { Verdict::Complete };
            assert_eq!(report.verdict, verdict, "seed {seed}, {behaviour:?}: {report:?}");
            // A router that has lost its way is nobody who answers for others; it makes them silent.
            let reason = match behaviour {
                Behaviour::Icmp(3, 0) => UnknownReason::CanariesSilent,
                _ => UnknownReason::CanariesChanged,
            };
            let is_named = report.unknown_reasons.contains_key(&reason);
            assert_eq!(is_named, until == never, "seed {seed}, {behaviour:?}: {report:?}");
        }
    }
}

/// The same, and so late that every target has answered a moment later.
#[test]
fn who_answers_for_the_last_ones_is_not_believed() {
    for seed in seeds() {
        let usurped = vec![(ms(297), Tick::from_nanos(u64::MAX), Behaviour::Closed)];
        let scope = scope("198.18.0.0/22", "risky");
        let (network, truth) = open_or_closed(&scope, SimRules { seed, usurped, ..SimRules::default() });
        let plan = Plan { rate: NonZeroU32::new(20_000), ..plan(scope, seed) };
        let (outcome, notebook) = sweep(&plan, &network);
        check_exact(seed, &notebook, &truth, true);
        assert_eq!(outcome.report.verdict, Verdict::Degraded, "seed {seed}: {:?}", outcome.report);
    }
}

/// Half of the targets are open, the others closed.
fn open_or_closed(scope: &Scope, rules: SimRules) -> (SimNetwork, HashMap<Target, Behaviour>) {
    let behaviour = |index| if index % 2 == 0 { Behaviour::Open } else { Behaviour::Closed };
    let truth: HashMap<Target, Behaviour> =
        (0..scope.len()).map(|index| (scope.target(index), behaviour(index))).collect();
    let ports = truth.iter().map(|(target, behaviour)| ((target.ip, target.port), *behaviour));
    (SimNetwork::new(rules, ports), truth)
}

/// For a moment a router does not know where a network is. That is a hint (RFC 1122, section 3.2.2.1), which a later
/// try can prove wrong.
#[test]
fn a_hint_of_the_network_is_not_the_last_word() {
    for (icmp_type, code) in [(3, 0), (3, 1), (11, 0)] {
        for seed in seeds() {
            let usurped = vec![(ms(0), ms(300), Behaviour::Icmp(icmp_type, code))];
            let scope = scope("198.18.0.0/22", "risky");
            let rules = SimRules { seed, usurped, ..SimRules::default() };
            let (network, truth) = open_or_closed(&scope, rules);
            let plan = Plan { rate: NonZeroU32::new(20_000), ..plan(scope, seed) };
            let (outcome, notebook) = sweep(&plan, &network);
            assert_eq!(outcome.report.verdict, Verdict::Complete, "seed {seed}: {:?}", outcome.report);
            check_exact(seed, &notebook, &truth, false);
        }
    }
}

/// One error of a router is no sign that anything comes back from beyond it.
#[test]
fn an_error_of_a_router_proves_no_silence() {
    for seed in seeds() {
        let scope = scope("198.18.0.0/24", "risky");
        let target = scope.target(77);
        let rules = SimRules { seed, otherwise: Behaviour::Silent, ..SimRules::default() };
        let network = SimNetwork::new(rules, [((target.ip, target.port), Behaviour::Icmp(3, 13))]);
        let (outcome, _) = sweep(&plan(scope, seed), &network);
        let reasons = &outcome.report.unknown_reasons;
        assert_eq!(*reasons, BTreeMap::from([(UnknownReason::NothingHeard, 1535)]), "seed {seed}");
    }
}

/// The network carries nothing at first, and nobody has answered yet whose silence could tell: the first answer of all
/// says what the silence before it was worth.
#[test]
fn an_outage_from_the_beginning_makes_nothing_filtered_that_is_not() {
    // In the first pass; in the second; in the last.
    for (tries, until) in [(1, 600), (3, 600), (3, 1800), (3, 3000)] {
        for seed in seeds() {
            let outages = vec![(ms(0), ms(until), None)];
            let scope = scope("198.18.0.0/20", "risky");
            let (network, truth) = mixed(&scope, SimRules { seed, outages, ..SimRules::default() });
            let plan = Plan { rate: NonZeroU32::new(20_000), tries, ..plan(scope, seed) };
            let (outcome, notebook) = sweep(&plan, &network);
            let report = &outcome.report;
            assert_eq!(
                report.verdict,
                Verdict::Complete,
                "seed {seed}, {tries} tries, {until} ms: {report:?}"
            );
            check_exact(seed, &notebook, &truth, false);
        }
    }
}

/// It goes down and does not come back: what was answered stands, everything else is unknown, and says why.
#[test]
fn an_outage_without_end_leaves_the_rest_unknown() {
    for (noticed, reason) in
        [(Some(Trouble::SourceGone), UnknownReason::SourceGone), (None, UnknownReason::CanariesSilent)]
    {
        for seed in seeds() {
            let outages = vec![(ms(400), Tick::from_nanos(u64::MAX), noticed)];
            let scope = scope("198.18.0.0/20", "risky");
            let (network, truth) = mixed(&scope, SimRules { seed, outages, ..SimRules::default() });
            let plan = Plan { rate: NonZeroU32::new(20_000), ..plan(scope, seed) };
            let (outcome, notebook) = sweep(&plan, &network);
            let report = &outcome.report;
            assert_eq!(report.verdict, Verdict::Degraded, "seed {seed}: {report:?}");
            assert_eq!(report.ledger.filtered, truth_filtered_by_icmp(&notebook), "seed {seed}: {report:?}");
            assert_eq!(report.unknown_reasons.keys().collect::<Vec<_>>(), [&reason], "seed {seed}");
            check_exact(seed, &notebook, &truth, true);
            assert!(report.duration_ms < 20_000, "seed {seed}: {} ms", report.duration_ms);
        }
    }
}

fn truth_filtered_by_icmp(notebook: &Notebook) -> u64 {
    notebook.0.values().filter(|o| o.reason == Some(Reason::IcmpAdminProhibited)).count() as u64
}

#[test]
fn silence_where_nobody_ever_answered_proves_nothing() {
    let scope = scope("198.18.0.0/24", "risky");
    let rules = SimRules { otherwise: Behaviour::Silent, ..SimRules::default() };
    let (outcome, _) = sweep(&plan(scope, 1), &SimNetwork::new(rules, []));
    assert_eq!(outcome.report.verdict, Verdict::Blind);
    assert_eq!(outcome.report.unknown_reasons, BTreeMap::from([(UnknownReason::NothingHeard, 1536)]));
}

/// A network in which nobody answers but the one endpoint that was named, if that.
fn sweep_by_canary(plan: Plan, otherwise: Behaviour, canary: Behaviour) -> (Outcome, Notebook) {
    let target = plan.scope.target(77);
    let rules = SimRules { seed: plan.seed, otherwise, ..SimRules::default() };
    let network = SimNetwork::new(rules, [((target.ip, target.port), canary)]);
    sweep(&Plan { canaries: vec![target], ..plan }, &network)
}

#[test]
fn silence_is_proven_by_an_endpoint_that_is_known_to_answer() {
    for (canary, tries) in [(Behaviour::Open, 3), (Behaviour::Closed, 3), (Behaviour::Closed, 1)] {
        for seed in seeds() {
            let plan = Plan { tries, ..plan(scope("198.18.0.0/24", "risky"), seed) };
            let (outcome, _) = sweep_by_canary(plan, Behaviour::Silent, canary);
            let report = &outcome.report;
            assert_eq!(report.verdict, Verdict::Complete, "seed {seed}, {canary:?}: {report:?}");
            assert_eq!(report.ledger.filtered, 1535, "seed {seed}, {canary:?}: {report:?}");
        }
    }
}

/// Routers forbid every other target: something was heard, and yet the named endpoint is missing.
#[test]
fn an_endpoint_that_is_known_to_answer_and_does_not_accuses_the_path() {
    for otherwise in [Behaviour::Silent, Behaviour::Icmp(3, 13)] {
        for (seed, tries) in seeds().into_iter().flat_map(|seed| [(seed, 1), (seed, 3)]) {
            let plan = Plan { tries, ..plan(scope("198.18.0.0/24", "risky"), seed) };
            let (outcome, _) = sweep_by_canary(plan, otherwise, Behaviour::Silent);
            let report = &outcome.report;
            let (verdict, unknown) = match otherwise {
                Behaviour::Silent => (Verdict::Blind, 1536),
                _ => (Verdict::Degraded, 1),
            };
            assert_eq!(report.verdict, verdict, "seed {seed}, {otherwise:?}: {report:?}");
            assert_eq!(report.unknown_reasons, BTreeMap::from([(UnknownReason::CanariesSilent, unknown)]));
            assert!(report.duration_ms < 20_000, "seed {seed}, {otherwise:?}: {} ms", report.duration_ms);
        }
    }
}

/// Without its place a silent canary would say nothing; with it, it costs no more than a little loss.
#[test]
fn a_named_endpoint_that_dies_accuses_nobody_while_others_answer() {
    for seed in seeds() {
        let plan = plan(scope("198.18.0.0/22", "risky"), seed);
        let (outcome, _) = sweep_by_canary(plan, Behaviour::Closed, Behaviour::Silent);
        let report = &outcome.report;
        assert_eq!(
            (report.verdict, report.ledger.filtered),
            (Verdict::Complete, 1),
            "seed {seed}: {report:?}"
        );
    }
}

/// The host answers 200 closed ports a second and is asked for 2,000.
#[test]
fn a_host_that_limits_its_resets_is_asked_again_slowly() {
    for seed in seeds() {
        let scope = scope("198.18.0.0/29", "1-4000");
        let quick: IpAddr = "198.18.0.2".parse().expect("an address");
        let (network, truth) = limited(seed, quick, &scope);
        let plan = Plan { host_rate: NonZeroU32::new(2000), ..plan(scope, seed) };
        let (outcome, notebook) = sweep(&plan, &network);
        let report = &outcome.report;
        assert_eq!(report.ledger.filtered, 0, "seed {seed}: {report:?}");
        assert_eq!(report.verdict, Verdict::Complete, "seed {seed}: {report:?}");
        check_exact(seed, &notebook, &truth, false);
    }
}

/// A host that hardly answers at all has used up what it may be asked before its silence is worth anything: that is
/// unknown, for a reason of its own, and not filtered.
#[test]
fn a_host_that_hardly_answers_is_unknown_and_not_filtered() {
    for seed in seeds() {
        let scope = scope("198.18.0.0/28", "1-1000");
        let hardly: IpAddr = "198.18.0.2".parse().expect("an address");
        let behaviour = |ip| if ip == hardly { Behaviour::Closed } else { Behaviour::Open };
        let targets = (0..scope.len()).map(|index| scope.target(index));
        let truth: HashMap<Target, Behaviour> =
            targets.map(|target| (target, behaviour(target.ip))).collect();
        let ports = truth.iter().map(|(target, behaviour)| ((target.ip, target.port), *behaviour));
        let rules = SimRules { seed, resets_pps: Some(4), ..SimRules::default() };
        let network = SimNetwork::new(rules, ports);
        let (outcome, notebook) = sweep(&plan(scope, seed), &network);
        let report = &outcome.report;
        assert_eq!(
            (report.verdict, report.ledger.filtered),
            (Verdict::Degraded, 0),
            "seed {seed}: {report:?}"
        );
        assert!(report.unknown_reasons.contains_key(&UnknownReason::TriesSpent), "seed {seed}: {report:?}");
        check_exact(seed, &notebook, &truth, true);
    }
}

/// Loss on the way makes ports answer late as well, at any rate: that is no reason to go slowly for good.
#[test]
fn loss_on_the_way_does_not_pass_for_a_limit_of_resets() {
    for seed in seeds() {
        let scope = scope("198.18.0.0/30", "1-8000");
        let silent = (0..scope.len()).map(|index| scope.target(index)).filter(|target| target.port % 2 == 0);
        let silent: Vec<_> = silent.map(|target| ((target.ip, target.port), Behaviour::Silent)).collect();
        let rules = SimRules { seed, loss_out: 0.03, loss_back: 0.03, ..SimRules::default() };
        let (outcome, _) = sweep(&plan(scope, seed), &SimNetwork::new(rules, silent));
        let report = &outcome.report;
        assert_eq!(report.verdict, Verdict::Complete, "seed {seed}: {report:?}");
        // 8,000 ports and twice those that are silent, 200 a second.
        assert!(report.duration_ms < 3 * 80_000, "seed {seed}: {} ms", report.duration_ms);
    }
}

/// Every host limits its resets, and one has open ports only.
fn limited(seed: u64, quick: IpAddr, scope: &Scope) -> (SimNetwork, HashMap<Target, Behaviour>) {
    let truth: HashMap<Target, Behaviour> = (0..scope.len())
        .map(|index| scope.target(index))
        .map(|target| (target, if target.ip == quick { Behaviour::Open } else { Behaviour::Closed }))
        .collect();
    let ports = truth.iter().map(|(target, behaviour)| ((target.ip, target.port), *behaviour));
    (SimNetwork::new(SimRules { seed, resets_pps: Some(200), ..SimRules::default() }, ports), truth)
}

/// The network carries 20,000 probes a second and drops what comes above that. The sweep finds out by itself, and
/// loses so little that every answer is found.
#[test]
fn the_auto_rate_finds_what_the_network_carries() {
    for seed in seeds() {
        let scope = scope("198.18.0.0/15", "22,80");
        let rules = SimRules { seed, capacity_pps: Some(20_000.0), ..SimRules::default() };
        let plan = Plan {
            rate: NonZeroU32::new(1_000_000),
            governed: true,
            wanted: StateSet::default(),
            ..plan(scope, seed)
        };
        let (outcome, _) = sweep(&plan, &SimNetwork::new(rules, []));
        let report = &outcome.report;
        assert_eq!(report.ledger.closed, report.ledger.declared, "seed {seed}: {report:?}");
        let best = report.ledger.declared as f64 / 20_000.0 * 1000.0;
        assert!((report.duration_ms as f64) < best / 0.8 + 5000.0, "seed {seed}: {report:?}");
        let sent = report.packets.sent as f64 / report.ledger.declared as f64;
        assert!(sent < 1.05, "seed {seed}: {sent} probes a target");
    }
}

/// Only number and port together make an answer: the right number to any other of our ports is none, whoever says it.
#[test]
fn the_right_number_to_another_port_is_no_answer() {
    for seed in seeds() {
        let scope = scope("198.18.0.0/26", "22,443");
        let source: IpAddr = "192.0.2.2".parse().expect("an address");
        let rules = SimRules { seed, otherwise: Behaviour::Silent, ..SimRules::default() };
        let network = SimNetwork::new(rules, []);
        let cookie = Cookie::new(&KEY, PORTS);
        for target in (0..scope.len()).map(|index| scope.target(index)) {
            for try_number in 1..=3 {
                let token = cookie.token(source, &target, try_number);
                let ack = token.sequence.wrapping_add(1);
                for answer in [
                    Answer::SynAck { ack },
                    Answer::Rst { ack },
                    Answer::Icmp { sequence: token.sequence, icmp_type: 3, code: 13, by: source },
                ] {
                    let source_port = token.source_port ^ 1;
                    let reply =
                        Reply { ip: target.ip, port: target.port, source, source_port, answer, ttl: 9 };
                    for at in [1, 1100, 2500] {
                        network.inject(Duration::from_millis(at), reply);
                    }
                }
            }
        }
        let (outcome, _) = sweep(&plan(scope, seed), &network);
        let report = outcome.report;
        assert_eq!((report.ledger.unknown, report.packets.received), (128, 0), "seed {seed}: {report:?}");
    }
}

/// What a sweep asked until some moment: each probe, when it left since the beginning, and whether it was a question to
/// a canary rather than a try.
fn asked(network: &SimNetwork, begin: Tick, until: Tick) -> Vec<(Duration, Probe, bool)> {
    let cookie = Cookie::new(&KEY, PORTS);
    let is_try = |probe: &Probe| {
        let target = Target { ip: probe.ip, port: probe.port, transport: Transport::Tcp };
        (1..=15).any(|try_number| {
            let token = cookie.token(probe.source, &target, try_number);
            (token.sequence, token.source_port) == (probe.sequence, probe.source_port)
        })
    };
    let probes = network.probes().into_iter().filter(|(at, _)| *at < until);
    probes.map(|(at, probe)| (at.since(begin), probe, !is_try(&probe))).collect()
}

/// The answer to a probe: what it says is up to the forger.
fn answer_to(probe: &Probe, answer: impl Fn(u32) -> Answer) -> Reply {
    Reply {
        ip: probe.ip,
        port: probe.port,
        source: probe.source,
        source_port: probe.source_port,
        answer: answer(probe.sequence.wrapping_add(1)),
        ttl: 9,
    }
}

/// Whoever answers a canary's question says something of the path and nothing of the target: even the opposite of the
/// truth, with the question's own number, makes no state and no conflict.
#[test]
fn answers_to_canaries_settle_no_target() {
    for seed in seeds() {
        let scope = scope("198.18.0.0/24", "risky");
        let rules = SimRules { seed, delay: Duration::from_millis(20), ..SimRules::default() };
        let plan = plan(scope, seed);
        let (honest, _) = mixed(&plan.scope, rules.clone());
        let begin = honest.clock().now();
        sweep(&plan, &honest);
        let questions = asked(&honest, begin, Tick::from_nanos(u64::MAX));
        let questions: Vec<_> = questions.iter().filter(|(.., is_question)| *is_question).collect();
        assert!(questions.len() > 100, "seed {seed}: {} questions", questions.len());
        // The same sweep once more. Every question is answered both ways before its true answer comes.
        let (network, truth) = mixed(&plan.scope, rules);
        for (at, probe, _) in &questions {
            for answer in [|ack| Answer::SynAck { ack }, |ack| Answer::Rst { ack }] {
                network.inject(*at + Duration::from_millis(5), answer_to(probe, answer));
            }
        }
        let (outcome, notebook) = sweep(&plan, &network);
        let report = &outcome.report;
        assert_eq!(
            (report.verdict, report.ledger.conflict),
            (Verdict::Complete, 0),
            "seed {seed}: {report:?}"
        );
        let forged = 2 * questions.len() as u64;
        let received = report.packets.received;
        assert!(received > forged, "seed {seed}: they did not reach their questions: {report:?}");
        check_exact(seed, &notebook, &truth, false);
    }
}

/// While the network carries nothing, somebody says again all that has been said before, and more: every answer to a
/// try and to a question, with the numbers of questions that were never asked and with those of another canary. None of
/// it is an answer to a canary, so the path is found broken all the same, and what was silent in that time is void.
#[test]
fn replayed_answers_vouch_for_no_path() {
    for seed in seeds() {
        let outage = (ms(400), ms(4600), None);
        let rules = SimRules { seed, outages: vec![outage], ..SimRules::default() };
        let plan =
            Plan { rate: NonZeroU32::new(20_000), tries: 1, ..plan(scope("198.18.0.0/20", "risky"), seed) };
        let (honest, _) = mixed(&plan.scope, rules.clone());
        sweep(&plan, &honest);
        let asked = asked(&honest, ms(0), ms(390));
        let questions = asked.iter().filter(|(.., is_question)| *is_question).count();
        assert!(questions > 20 && asked.len() > 5000, "seed {seed}: {questions} of {}", asked.len());
        let (network, truth) = mixed(&plan.scope, rules);
        let cookie = Cookie::new(&KEY, PORTS);
        let saying = |target: &Target| match expected(truth[target]).0 {
            State::Open => |ack| Answer::SynAck { ack },
            _ => |ack| Answer::Rst { ack },
        };
        let answering = |(_, probe, _): &&(Duration, Probe, bool)| {
            let target = Target { ip: probe.ip, port: probe.port, transport: Transport::Tcp };
            matches!(expected(truth[&target]).0, State::Open | State::Closed)
        };
        let (mut forged, mut never) = (0, 0);
        for (n, (_, probe, is_question)) in asked.iter().filter(answering).enumerate() {
            let target = Target { ip: probe.ip, port: probe.port, transport: Transport::Tcp };
            let never_asked = |serial| {
                let token = cookie.canary_token(probe.source, &target, serial);
                Probe { sequence: token.sequence, source_port: token.source_port, ..*probe }
            };
            for at in [450, 1500, 3000, 4500] {
                // Spread out, so that there is always one for the question that was asked last.
                let at = Duration::from_millis(at + n as u64 % 1000);
                network.inject(at, answer_to(probe, saying(&target)));
                forged += 1;
                if *is_question || n % 20 == 0 {
                    for serial in [0, 1_000_000 + n as u32, u32::MAX] {
                        network.inject(at, answer_to(&never_asked(serial), saying(&target)));
                        never += 1;
                    }
                }
            }
        }
        let (outcome, notebook) = sweep(&plan, &network);
        let report = &outcome.report;
        assert!(forged > 10_000, "seed {seed}: only {forged}");
        assert!(never > 100 && report.packets.foreign >= never, "seed {seed}: {never}, {report:?}");
        assert_eq!(report.verdict, Verdict::Complete, "seed {seed}: {report:?}");
        check_exact(seed, &notebook, &truth, false);
    }
}

/// That open books are refused is tried in `sweep::closing`; here, that there are none, whatever happens to a sweep.
#[test]
fn the_books_close_whatever_happens() {
    for seed in seeds() {
        let weather = [
            SimRules { loss_out: 0.4, loss_back: 0.4, ..SimRules::default() },
            SimRules { blind: vec![(ms(10), ms(3000))], duplicates: 1.0, ..SimRules::default() },
            SimRules { refuse_every: Some(1), ..SimRules::default() },
            SimRules {
                outages: vec![(ms(5), Tick::from_nanos(u64::MAX), Some(Trouble::LinkDown))],
                ..SimRules::default()
            },
        ];
        for rules in weather {
            let scope = scope("198.18.0.0/26", "risky");
            let (network, _) = mixed(&scope, SimRules { seed, ..rules });
            let (outcome, notebook) = sweep(&plan(scope, seed), &network);
            let report = outcome.report;
            assert_eq!(report.ledger.declared, 384, "seed {seed}");
            assert_eq!(report.unknown_reasons.values().sum::<u64>(), report.ledger.unknown, "seed {seed}");
            let known = notebook.0.values().filter(|o| o.state != State::Unknown).count() as u64;
            assert_eq!(known, report.ledger.declared - report.ledger.unknown, "seed {seed}");
        }
    }
}

/// No network is probed faster than its cap, whatever the caps of its hosts allow together.
#[test]
fn a_sweep_keeps_the_cap_of_each_network() {
    for seed in seeds() {
        let scope = scope("198.18.0.0/23", "22,80");
        let rules = SimRules { seed, otherwise: Behaviour::Silent, ..SimRules::default() };
        let network = SimNetwork::new(rules, []);
        let plan = Plan { network_rate: NonZeroU32::new(300), tries: 1, ..plan(scope, seed) };
        let (outcome, _) = sweep(&plan, &network);
        assert_eq!(outcome.report.packets.sent, 1024, "seed {seed}");
        for third in [0, 1] {
            let is_in = |probe: &Probe| matches!(probe.ip, IpAddr::V4(v4) if v4.octets()[2] == third);
            let probes = network.probes();
            let times: Vec<Tick> = probes.iter().filter(|(_, p)| is_in(p)).map(|(at, _)| *at).collect();
            assert_eq!(times.len(), 512, "seed {seed}");
            let second = Duration::from_secs(1);
            let most = times.windows(301).filter(|window| window[300].since(window[0]) < second).count();
            assert_eq!(most, 0, "seed {seed}: more than 300 in a second");
        }
    }
}

/// A quarter of the packets is lost each way, so that three tries miss one target in twelve: nobody can say of one that
/// is silent that it is filtered.
#[test]
fn silence_on_a_lossy_path_proves_nothing() {
    for seed in seeds() {
        let rules = SimRules { seed, loss_out: 0.25, loss_back: 0.25, ..SimRules::default() };
        let scope = scope("198.18.0.0/22", "risky");
        let (network, truth) = mixed(&scope, rules);
        let (outcome, notebook) = sweep(&plan(scope, seed), &network);
        let report = &outcome.report;
        assert_eq!(report.ledger.filtered, truth_filtered_by_icmp(&notebook), "seed {seed}: {report:?}");
        assert!(report.unknown_reasons.contains_key(&UnknownReason::PathLossy), "seed {seed}: {report:?}");
        check_exact(seed, &notebook, &truth, true);
    }
}

/// Questions to canaries aside, which ask again whoever answers.
#[test]
fn a_conflict_is_tried_as_often_as_silence() {
    for seed in seeds() {
        let odd: IpAddr = "198.18.0.3".parse().expect("an address");
        let rules = SimRules { seed, ..SimRules::default() };
        let network = SimNetwork::new(rules, [((odd, 22), Behaviour::Contradictory)]);
        sweep(&plan(scope("198.18.0.0/28", "22"), seed), &network);
        let asked = asked(&network, ms(0), Tick::from_nanos(u64::MAX));
        let tries = asked.iter().filter(|(_, probe, is_question)| probe.ip == odd && !is_question).count();
        assert_eq!(tries, 3, "seed {seed}");
    }
}

/// Even where no cap keeps them apart.
#[test]
fn tries_are_a_second_apart() {
    for seed in seeds() {
        let rules = SimRules { seed, otherwise: Behaviour::Silent, ..SimRules::default() };
        let network = SimNetwork::new(rules, []);
        let plan = Plan { host_rate: None, ..plan(scope("198.18.0.0/26", "22"), seed) };
        sweep(&plan, &network);
        let mut last: HashMap<IpAddr, Tick> = HashMap::new();
        for (at, probe) in network.probes() {
            let before = last.insert(probe.ip, at);
            let apart = before.map(|before| at.since(before));
            assert!(apart.is_none_or(|apart| apart >= Duration::from_secs(1)), "seed {seed}: {apart:?}");
        }
        assert_eq!(network.probes().len(), 3 * 64, "seed {seed}");
    }
}

/// Ends a sweep that takes longer than this, in virtual time.
struct Patience(Duration);

impl Observer for Patience {
    fn observed(&mut self, _: &Observation) -> io::Result<()> {
        Ok(())
    }

    fn progressed(&mut self, progress: &Progress) -> io::Result<()> {
        if progress.elapsed > self.0 { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

/// Caps so low that every slot has a probe waiting for it. Questions to canaries take some of these slots, and no more
/// than a small share: the sweep ends when the caps let it, and the canaries are still asked.
#[test]
fn questions_take_a_small_share_of_the_slots_of_caps() {
    let cap = NonZeroU32::new;
    let cases = [
        ("198.18.0.0/32", "1-6", 10_000, cap(1), None, 6.0),
        ("198.18.0.0/32", "1-100", 10_000, cap(1), None, 100.0),
        ("198.18.0.0/30", "1-200", 10_000, cap(10), None, 20.0),
        ("198.18.0.0/26", "22", 2000, None, cap(10), 6.4),
        ("198.18.0.0/26", "risky", 2000, None, cap(20), 19.2),
        ("198.18.0.0/26", "risky", 2000, cap(200), cap(40), 9.6),
        ("198.18.0.0/24", "1-10", 10_000, None, cap(100), 25.6),
        ("198.18.0.0/24", "1-100", 200_000, None, cap(1000), 25.6),
        ("198.18.0.0/23", "1-100", 200_000, cap(200), cap(5000), 5.12),
    ];
    for (network, ports, rate, host_rate, network_rate, seconds) in cases {
        for seed in seeds() {
            let plan = Plan {
                rate: cap(rate),
                host_rate,
                network_rate,
                wanted: StateSet::default(),
                ..plan(scope(network, ports), seed)
            };
            let rules = SimRules { seed, ..SimRules::default() };
            let mut patience = Patience(Duration::from_secs_f64(seconds * 3.0));
            let outcome = run_simulated(&plan, &SimNetwork::new(rules, []), &KEY, &mut patience);
            let report = &outcome.expect("an end before patience is").report;
            let what = format!("seed {seed}, {network} x {ports}: {report:?}");
            assert_eq!(report.ledger.closed, report.ledger.declared, "{what}");
            assert_eq!(report.packets.sent, report.ledger.declared, "{what}");
            let took = report.duration_ms as f64 / 1000.0;
            assert!(
                (seconds * 0.9 - 1.0..seconds * 1.15 + 3.0).contains(&took),
                "{took} s instead of {seconds}: {what}"
            );
            let share = report.packets.canaries as f64 / report.packets.sent as f64;
            assert!(share < 0.07 || report.packets.canaries <= 3, "{share} of the packets: {what}");
            assert!(share > 0.005 || report.packets.sent <= 100, "{share} of the packets: {what}");
        }
    }
}

/// The same where silence must be vouched for: what was silent in an outage that only canaries can tell of is probed
/// again, though caps leave them no slot of their own.
#[test]
fn canaries_vouch_for_a_path_under_caps() {
    for (host_rate, network_rate) in [(None, 500), (NonZeroU32::new(20), 2000)] {
        for seed in seeds() {
            let outages = vec![(ms(2000), ms(5000), None)];
            let scope = scope("198.18.0.0/25", "1-30");
            let (network, truth) = mixed(&scope, SimRules { seed, outages, ..SimRules::default() });
            let network_rate = NonZeroU32::new(network_rate);
            let plan = Plan { tries: 1, host_rate, network_rate, ..plan(scope, seed) };
            let (outcome, notebook) = sweep(&plan, &network);
            let report = &outcome.report;
            assert_eq!(report.verdict, Verdict::Complete, "seed {seed}, {network_rate:?}: {report:?}");
            check_exact(seed, &notebook, &truth, false);
        }
    }
}

/// A rule of this host forbids packets to one host. That is no reason to leave out the others, whether the link goes on
/// behind a probe that it cannot send or waits for it; and the sweep does not end before all others have had their
/// tries.
#[test]
fn a_host_that_no_probe_may_leave_for_is_set_aside() {
    for blocks in [false, true] {
        for (seed, ports) in seeds().into_iter().flat_map(|seed| [(seed, "22"), (seed, "1-40")]) {
            let scope = scope("198.18.0.0/26", ports);
            let refused: IpAddr = "198.18.0.9".parse().expect("an address");
            let rules = SimRules { seed, refused_host: Some((refused, blocks)), ..SimRules::default() };
            let (network, mut truth) = mixed(&scope, rules);
            truth.retain(|target, _| target.ip != refused);
            let (outcome, notebook) = sweep(&plan(scope, seed), &network);
            let report = &outcome.report;
            let what = format!("seed {seed}, blocks {blocks}: {report:?}");
            let unsent = report.ledger.declared - truth.len() as u64;
            assert_eq!(
                report.unknown_reasons,
                BTreeMap::from([(UnknownReason::SendRefused, unsent)]),
                "{what}"
            );
            assert_eq!(report.verdict, Verdict::Degraded, "{what}");
            check_exact(seed, &notebook, &truth, false);
            assert!(report.packets.refused > 0 && report.duration_ms < 15_000, "{what}");
            assert!(network.probes().iter().all(|(_, probe)| probe.ip != refused), "{what}");
        }
    }
}
