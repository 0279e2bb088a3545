//! Sweeps of more targets than there is memory for, over a simulated network in virtual time: swept tile by tile, a
//! network is found to be just what it is found to be in one. Every failure names the seed that repeats it:
//! `PORTREEVE_SEED=n cargo test --test tiles`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portreeve::link::clock::{Clock, Monotonic, Tick};
use portreeve::link::guard::{NoGuard, Trouble};
use portreeve::link::sim::{Behaviour, SimNetwork, SimRules};
use portreeve::link::{Arrival, LinkError, Probe, Receive, Transmit};
use portreeve::sweep::cookie::SourcePorts;
use portreeve::sweep::plan::{Plan, StateSet};
use portreeve::sweep::report::{Observation, UnknownReason, Vantage, Verdict};
use portreeve::sweep::run::{Ends, Observer, Outcome, Progress, run, run_simulated};
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

/// The same, in as many tiles.
fn in_tiles(plan: Plan, tiles: u64) -> Plan {
    let tile = NonZeroU64::new(plan.scope.len().div_ceil(tiles));
    let plan = Plan { tile, ..plan };
    assert_eq!(plan.tiles().count() as u64, tiles);
    plan
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
    assert_eq!(outcome.report.ledger.declared, plan.scope.len());
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

/// Sweeps the same network whole and in tiles, and checks that both found the same, which is what is there.
fn check_same(seed: u64, rules: &SimRules, plan: &Plan, tiles: u64) -> (Outcome, SimNetwork) {
    let (network, truth) = mixed(&plan.scope, rules.clone());
    let (whole, notes) = sweep(plan, &network);
    let (network, _) = mixed(&plan.scope, rules.clone());
    let (parts, notes_of_parts) = sweep(&in_tiles(plan.clone(), tiles), &network);
    assert_eq!(parts.report.ledger, whole.report.ledger, "seed {seed}");
    assert_eq!(parts.report.verdict, Verdict::Complete, "seed {seed}: {:?}", parts.report);
    assert_eq!(notes_of_parts.0.len(), truth.len(), "seed {seed}");
    for (target, behaviour) in &truth {
        let said = |notes: &Notebook| notes.0.get(target).map(|seen| (seen.state, seen.reason));
        let (state, reason) = expected(*behaviour);
        assert_eq!(said(&notes_of_parts), Some((state, Some(reason))), "seed {seed}: {target}");
        assert_eq!(said(&notes), said(&notes_of_parts), "seed {seed}: {target}");
    }
    (parts, network)
}

/// The most probes that any host got in any second.
fn fullest_second_of_a_host(network: &SimNetwork) -> usize {
    let mut of_host: HashMap<IpAddr, Vec<Tick>> = HashMap::new();
    for (at, probe) in network.probes() {
        of_host.entry(probe.ip).or_default().push(at);
    }
    let fullest = |times: &Vec<Tick>| {
        let second =
            |from: usize| times[from..].iter().take_while(move |at| at.since(times[from]).as_secs() < 1);
        (0..times.len()).map(|from| second(from).count()).max()
    };
    of_host.values().filter_map(fullest).max().unwrap_or(0)
}

#[test]
fn seven_tiles_find_what_a_whole_finds_through_duplicates_and_reordering() {
    for seed in seeds() {
        let rules = SimRules {
            seed,
            duplicates: 0.3,
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(100),
            ..SimRules::default()
        };
        let plan = plan(scope("198.18.0.0/22", "risky"), seed);
        let (outcome, _) = check_same(seed, &rules, &plan, 7);
        let packets = outcome.report.packets;
        assert_eq!((packets.dropped, packets.foreign, packets.refused), (0, 0, 0), "seed {seed}");
    }
}

/// Few hosts of many ports: each boundary between two tiles lies within every one of them, and their caps go on. Where
/// all ports answer at once, nothing is waited for between two tiles.
#[test]
fn a_host_that_is_split_over_tiles_is_whole_and_keeps_its_cap() {
    for seed in seeds() {
        let rules = SimRules { seed, ..SimRules::default() };
        let plan = Plan { host_rate: NonZeroU32::new(50), ..plan(scope("198.18.0.0/29", "1-150"), seed) };
        let (_, mixed) = check_same(seed, &rules, &plan, 7);
        let closed = SimNetwork::new(rules, []);
        sweep(&in_tiles(plan, 7), &closed);
        for (network, least) in [(mixed, 25), (closed, 45)] {
            let fullest = fullest_second_of_a_host(&network);
            assert!((least..=50).contains(&fullest), "seed {seed}: {fullest} probes in a second");
        }
    }
}

/// As in `tests/sim.rs`: at 5 % lost each way and five tries, a handful of 24,576 targets is missed, not mistaken.
#[test]
fn loss_is_made_good_in_every_tile() {
    for seed in seeds() {
        let rules = SimRules { seed, loss_out: 0.05, loss_back: 0.05, ..SimRules::default() };
        let scope = scope("198.18.0.0/20", "risky");
        let (network, truth) = mixed(&scope, rules);
        let plan = in_tiles(Plan { tries: 5, ..plan(scope, seed) }, 7);
        let (_, notebook) = sweep(&plan, &network);
        let wrong: Vec<_> = truth
            .iter()
            .filter(|(target, behaviour)| notebook.0[*target].state != expected(**behaviour).0)
            .collect();
        assert!(wrong.len() <= 2, "seed {seed}: {wrong:?}");
        assert!(wrong.iter().all(|(target, _)| notebook.0[*target].state == State::Filtered), "seed {seed}");
    }
}

/// A path that is broken for a while, and that the guard or only the canaries notice: what was in flight then is probed
/// again, in the tile that it is of.
#[test]
fn an_outage_within_one_tile_costs_time_and_nothing_else() {
    for seed in seeds() {
        for trouble in [None, Some(Trouble::LinkDown)] {
            let ms = |n: u64| Tick::from_nanos(10_000_000_000 + n * 1_000_000);
            let outages = vec![(ms(7200), ms(9900), trouble)];
            let rules = SimRules { seed, outages, ..SimRules::default() };
            let plan = Plan { rate: NonZeroU32::new(2000), ..plan(scope("198.18.0.0/21", "risky"), seed) };
            let (outcome, _) = check_same(seed, &rules, &plan, 5);
            assert_eq!(outcome.report.ledger.unknown, 0, "seed {seed}");
        }
    }
}

#[test]
fn who_is_watched_is_known_whichever_tile_it_falls_in() {
    for seed in seeds() {
        let scope = scope("198.18.0.0/24", "risky");
        let (network, truth) = mixed(&scope, SimRules { seed, ..SimRules::default() });
        let watched: BTreeSet<Target> =
            (0..scope.len()).step_by(7).map(|index| scope.target(index)).collect();
        let plan = Plan { wanted: StateSet::default(), watched: watched.clone(), ..plan(scope, seed) };
        let (outcome, _) = sweep(&in_tiles(plan, 7), &network);
        let known: Vec<_> = outcome.watched.iter().map(|seen| (seen.target, seen.state)).collect();
        let due: Vec<_> = watched.iter().map(|target| (*target, expected(truth[target]).0)).collect();
        assert_eq!(known, due, "seed {seed}: each once, in order");
    }
}

/// Two shards, each in tiles, are still the whole and nothing twice.
#[test]
fn shards_in_tiles_are_the_whole() {
    let whole = scope("198.18.0.0/24", "risky");
    let mut found = BTreeMap::new();
    for number in 1..=2 {
        let part = whole.shard(number, 2).expect("a shard");
        let (network, _) = mixed(&whole, SimRules::default());
        let (outcome, notebook) = sweep(&in_tiles(plan(part, 3), 3), &network);
        assert_eq!(outcome.report.verdict, Verdict::Complete);
        for (target, seen) in notebook.0 {
            assert_eq!(found.insert(target, seen.state), None, "{target} is of both");
        }
    }
    assert_eq!(found.len() as u64, whole.len());
}

/// Answers every probe with a reset, at once.
#[derive(Clone)]
struct Echo {
    clock: Monotonic,
    answers: Arc<Mutex<Vec<Arrival>>>,
}

impl Transmit for Echo {
    fn source(&self, _: IpAddr) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, 2).into()
    }

    fn transmit(&mut self, probes: &[Probe], _: &mut Vec<usize>) -> Result<(), LinkError> {
        let at = self.clock.now();
        let reset = |probe: &Probe| {
            let answer = Answer::Rst { ack: probe.sequence.wrapping_add(1) };
            let Probe { ip, port, source, source_port, .. } = *probe;
            Arrival { at, reply: Reply { ip, port, source, source_port, answer, ttl: 64 } }
        };
        self.answers.lock().expect("no panic").extend(probes.iter().map(reset));
        Ok(())
    }
}

impl Receive for Echo {
    fn receive(&mut self, _: Duration, each: &mut dyn FnMut(Arrival)) -> Result<(), LinkError> {
        let answers = std::mem::take(&mut *self.answers.lock().expect("no panic"));
        if answers.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        answers.into_iter().for_each(each);
        Ok(())
    }

    fn dropped(&mut self) -> Result<u64, LinkError> {
        Ok(0)
    }
}

/// Stops the sweep once so many targets have answered, and sees that progress never goes back.
struct Impatient<'a> {
    interrupt: &'a AtomicBool,
    after: u64,
    answered: u64,
}

impl Observer for Impatient<'_> {
    fn observed(&mut self, _: &Observation) -> io::Result<()> {
        Ok(())
    }

    fn progressed(&mut self, progress: &Progress) -> io::Result<()> {
        assert!(progress.answered >= self.answered && progress.declared == 2048, "{progress:?}");
        self.answered = progress.answered;
        self.interrupt.store(progress.answered >= self.after, Ordering::Relaxed);
        Ok(())
    }
}

/// By threads on the machine's clock, and by two senders.
fn sweep_for_real(after: u64) -> Outcome {
    let clock = Monotonic::new();
    let echo = Echo { clock, answers: Arc::default() };
    let sender = || -> Box<dyn Transmit> { Box::new(echo.clone()) };
    let ends = Ends {
        transmit: vec![sender(), sender()],
        receive: Box::new(echo.clone()),
        guard: Box::new(NoGuard { paths: 1 }),
    };
    let scope = scope("198.18.0.0/24", "1-8");
    let watched = (0..scope.len()).map(|index| scope.target(index)).collect();
    let plan = Plan { rate: NonZeroU32::new(3000), watched, ..plan(scope, 1) };
    let interrupt = AtomicBool::new(false);
    let mut observer = Impatient { interrupt: &interrupt, after, answered: 0 };
    run(&in_tiles(plan, 4), ends, &clock, &interrupt, &mut observer).expect("a report")
}

#[test]
fn threads_sweep_one_tile_after_the_other() {
    let outcome = sweep_for_real(u64::MAX);
    assert_eq!(outcome.report.verdict, Verdict::Complete, "{:?}", outcome.report);
    assert_eq!((outcome.report.ledger.closed, outcome.watched.len()), (2048, 2048));
    assert_eq!(outcome.report.packets.sent, 2048, "nobody is asked twice");
}

#[test]
fn an_interrupt_leaves_the_rest_of_the_tiles_unknown() {
    let outcome = sweep_for_real(600);
    let report = outcome.report;
    report.ledger.check().expect("closed books");
    assert_eq!(report.verdict, Verdict::Degraded);
    assert!((600..1600).contains(&report.ledger.closed), "{report:?}");
    assert_eq!(report.ledger.closed + report.ledger.unknown, 2048);
    let why = BTreeMap::from([(UnknownReason::Interrupted, report.ledger.unknown)]);
    assert_eq!(report.unknown_reasons, why);
    let interrupted = |seen: &&Observation| seen.unknown == Some(UnknownReason::Interrupted);
    assert_eq!(outcome.watched.len(), 2048);
    assert_eq!(outcome.watched.iter().filter(interrupted).count() as u64, report.ledger.unknown);
}
