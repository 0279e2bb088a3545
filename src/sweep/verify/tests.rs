//! The second look over hosts that are made up, in virtual time.

use std::collections::BTreeSet;

use super::*;
use crate::link::handshake::{Call, Conduct, Opening, Reached};
use crate::sweep::verified::Verification;
use crate::sync::AtomicU64;
use crate::target::Transport;

#[derive(Default)]
struct Virtual(AtomicU64);

impl Clock for Virtual {
    fn now(&self) -> Tick {
        Tick::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn sleep_until(&self, moment: Tick) {
        self.0.fetch_max(moment.as_nanos(), Ordering::Relaxed);
    }
}

/// What a made-up port does when it is called, and how long that takes.
type Rule = dyn Fn(&Call, usize) -> (Reached, Conduct, Duration);

/// A made-up network.
struct Fake<'a> {
    clock: &'a Virtual,
    rule: Box<Rule>,
    under_way: Vec<(Tick, usize, Outcome)>,
    calls: Vec<(Tick, Call)>,
    most: usize,
}

impl<'a> Fake<'a> {
    fn new(
        clock: &'a Virtual,
        rule: impl Fn(&Call, usize) -> (Reached, Conduct, Duration) + 'static,
    ) -> Self {
        Fake { clock, rule: Box::new(rule), under_way: Vec::new(), calls: Vec::new(), most: 0 }
    }
}

impl Calls for Fake<'_> {
    fn begin(&mut self, number: usize, call: &Call) -> Result<bool, LinkError> {
        let before = self.calls.iter().filter(|(_, c)| (c.ip, c.port) == (call.ip, call.port)).count();
        let (reached, conduct, takes) = (self.rule)(call, before);
        self.calls.push((self.clock.now(), *call));
        let mut outcome = Outcome::failed(reached);
        if reached == Reached::Completed && call.opening != Opening::Close {
            outcome.conduct = Some(conduct);
            outcome.heard = if conduct == Conduct::Spoke { b"SSH-2.0-x\r\n".to_vec() } else { Vec::new() };
        }
        self.under_way.push((self.clock.now() + takes, number, outcome));
        self.most = self.most.max(self.under_way.len());
        Ok(true)
    }

    fn wait(&mut self, until: Tick, each: &mut dyn FnMut(usize, Outcome)) -> Result<(), LinkError> {
        let next = self.under_way.iter().map(|(at, ..)| *at).min();
        self.clock.sleep_until(next.map_or(until, |next| next.min(until)));
        let now = self.clock.now();
        for (_, number, outcome) in self.under_way.extract_if(.., |(at, ..)| *at <= now) {
            each(number, outcome);
        }
        Ok(())
    }
}

const FAST: Duration = Duration::from_millis(1);
const PATIENT: Duration = Duration::from_secs(2);

fn target(host: u16, port: u16) -> Target {
    let [high, low] = host.to_be_bytes();
    Target { ip: [198, 18, high, low].into(), port, transport: Transport::Tcp }
}

fn plan(targets: impl IntoIterator<Item = Target>) -> VerifyPlan {
    VerifyPlan {
        targets: targets.into_iter().collect(),
        canary_ports: vec![50_001, 50_002, 50_003],
        rate: NonZeroU32::new(10_000),
        host_rate: NonZeroU32::new(200),
        ..VerifyPlan::default()
    }
}

fn is_canary(call: &Call) -> bool {
    call.port > 50_000
}

/// Runs, and says what came of it, what ended it, and what was called.
fn run_to_end(
    plan: &VerifyPlan,
    stop: &SignalFlag,
    rule: impl Fn(&Call, usize) -> (Reached, Conduct, Duration) + 'static,
) -> (Verifications, Ending, Vec<(Tick, Call)>) {
    let clock = Virtual::default();
    let mut fake = Fake::new(&clock, rule);
    let Verified { verifications, ended, .. } = verify(plan, &mut fake, &clock, stop);
    (verifications, ended, fake.calls)
}

/// Runs, and says what came of it, what was called, and how long it took.
fn run(
    plan: &VerifyPlan,
    rule: impl Fn(&Call, usize) -> (Reached, Conduct, Duration) + 'static,
) -> (Verifications, Vec<(Tick, Call)>, Duration) {
    let clock = Virtual::default();
    let mut fake = Fake::new(&clock, rule);
    let verified = verify(plan, &mut fake, &clock, &SignalFlag::new(false));
    assert!(verified.failure.is_none() && fake.most <= plan.limits.at_once);
    (verified.verifications, fake.calls, clock.now().since(Tick::default()))
}

#[test]
fn an_ordinary_host_gets_one_handshake_a_target_and_one_canary() {
    let plan = plan([target(1, 22), target(1, 6379)]);
    let (known, calls, _) = run(&plan, |call, _| match is_canary(call) {
        true => (Reached::Refused, Conduct::Quiet, FAST),
        false => (Reached::Completed, Conduct::Spoke, FAST),
    });
    assert!(known.answers_all.is_empty());
    assert!(plan.targets.iter().all(|t| known.of(t).verification == Verification::Verified));
    assert!(plan.targets.iter().all(|t| known.of(t).banner.is_none()), "nobody asked for it");
    let ports: BTreeSet<u16> = calls.iter().map(|(_, call)| call.port).collect();
    assert_eq!((calls.len(), ports), (3, BTreeSet::from([22, 6379, 50_001])));
    assert!(
        calls.iter().filter(|(_, call)| !is_canary(call)).all(|(_, call)| call.opening == Opening::Close)
    );
}

#[test]
fn a_handshake_that_fails_is_tried_once_more() {
    let plan = plan([target(1, 22), target(1, 80), target(1, 443)]);
    let (known, calls, _) = run(&plan, |call, before| match (call.port, before) {
        (22, _) => (Reached::Silent, Conduct::Quiet, PATIENT),
        (80, _) | (443, 0) => (Reached::Refused, Conduct::Quiet, FAST),
        (443, _) => (Reached::Completed, Conduct::Quiet, FAST),
        _ => (Reached::Refused, Conduct::Quiet, FAST),
    });
    let is = |port| known.of(&target(1, port)).verification;
    assert_eq!(
        [is(22), is(80), is(443)],
        [Verification::Silent, Verification::Refused, Verification::Verified]
    );
    for port in [22, 80, 443] {
        let at: Vec<Tick> = calls.iter().filter(|(_, call)| call.port == port).map(|(at, _)| *at).collect();
        assert_eq!(at.len(), 2, "{port}");
        assert!(at[1].since(at[0]) >= Duration::from_secs(1), "{port}");
    }
}

#[test]
fn banners_are_kept_if_they_are_wanted() {
    let plan = VerifyPlan { banner: true, ..plan([target(1, 22)]) };
    let (known, ..) = run(&plan, |call, _| match is_canary(call) {
        true => (Reached::Refused, Conduct::Quiet, FAST),
        false => (Reached::Completed, Conduct::Spoke, FAST),
    });
    let banner = known.of(&target(1, 22)).banner.expect("a banner");
    assert_eq!(banner.text.for_terminal(), "SSH-2.0-x");
}

/// What a target does on a host whose canaries do this, and whether that makes it real.
#[test]
fn on_a_host_that_accepts_everything_only_conduct_tells() {
    use Conduct::{Closed, Quiet, Reset, Spoke};
    for (canaries, does, is_real) in [
        (Quiet, Quiet, false),
        (Quiet, Spoke, true),
        (Quiet, Closed, true),
        (Reset, Quiet, true),
        (Closed, Closed, false),
        (Reset, Reset, false),
        (Spoke, Spoke, false),
        (Spoke, Quiet, true),
    ] {
        for already in [false, true] {
            let plan = VerifyPlan { already, ..plan([target(1, 22), target(1, 23), target(2, 22)]) };
            let (known, ..) = run(&plan, move |call, _| match (call.ip == target(1, 0).ip, call.port) {
                (true, 22) => (Reached::Completed, does, FAST),
                (true, _) => (Reached::Completed, canaries, FAST),
                (false, 22) => (Reached::Completed, Quiet, FAST),
                (false, _) => (Reached::Refused, Quiet, FAST),
            });
            let hosts: Vec<IpAddr> = known.answers_all.keys().copied().collect();
            assert_eq!(hosts, [target(1, 0).ip], "the other host is as it was");
            let host = &known.answers_all[&target(1, 0).ip];
            assert_eq!(host.conduct, BTreeSet::from([canaries]));
            assert_eq!(host.heard, BTreeSet::from([22, 23]));
            assert_eq!(known.folds(&target(1, 22)).is_none(), is_real, "{canaries:?} {does:?} {already}");
            assert!(known.folds(&target(1, 23)).is_some());
            assert!(known.folds(&target(1, 99)).is_some(), "what was beyond the bounds is folded too");
            assert!(known.folds(&target(2, 22)).is_none());
        }
    }
}

/// Sixty seconds are not enough to listen to a host that opens every port, and everybody comes before the worst ports.
#[test]
fn on_a_host_that_accepts_everything_the_worst_ports_are_listened_to_first() {
    let is_real = |port| port == 27_017 || port == 25;
    for already in [false, true] {
        let plan = VerifyPlan { already, ..plan((1..=30_000).map(|port| target(1, port))) };
        let (known, ended, ..) = run_to_end(&plan, &SignalFlag::new(false), move |call, _| {
            let conduct = if is_real(call.port) { Conduct::Spoke } else { Conduct::Quiet };
            let takes = if call.opening == Opening::Close { FAST } else { Duration::from_millis(1700) };
            (Reached::Completed, conduct, takes)
        });
        assert_eq!(ended, Ending::TimeUp);
        let host = &known.answers_all[&target(1, 0).ip];
        assert_eq!(host.real, BTreeSet::from([25, 27_017]));
        let swept = PortSet::exposed();
        let catalogue: BTreeSet<u16> = swept.iter().filter(|port| *port <= 30_000).collect();
        assert!(catalogue.is_subset(&host.heard), "{already}");
        let others = host.heard.len() - catalogue.len();
        assert!((1000..5000).contains(&others), "{others}");
        assert!((1..=500).all(|port| host.heard.contains(&port)), "and the others in order");
    }
}

#[test]
fn one_that_is_stopped_says_so() {
    let plan = plan((1..=100).map(|port| target(1, port)));
    let stop = std::sync::Arc::new(SignalFlag::new(false));
    let raised = std::sync::Arc::clone(&stop);
    let (known, ended, calls) = run_to_end(&plan, &stop, move |call, _| {
        raised.fetch_or(call.port == 50, Ordering::Relaxed);
        (Reached::Completed, Conduct::Spoke, FAST)
    });
    assert_eq!(ended, Ending::Stopped);
    assert!(calls.len() < 100);
    let skipped = known.targets.values().filter(|known| known.verification == Verification::Skipped);
    assert!(skipped.count() > 10);
}

#[test]
fn two_canaries_of_three_are_not_enough() {
    let plan = plan([target(1, 22)]);
    for shut in [50_001, 50_002, 50_003] {
        let (known, ..) = run(&plan, move |call, _| match call.port == shut {
            true => (Reached::Silent, Conduct::Quiet, PATIENT),
            false => (Reached::Completed, Conduct::Quiet, FAST),
        });
        assert!(known.answers_all.is_empty(), "{shut}");
        assert_eq!(known.of(&target(1, 22)).verification, Verification::Verified);
    }
}

#[test]
fn keeps_to_its_rates_and_to_a_few_at_a_host() {
    let plan = VerifyPlan { rate: NonZeroU32::new(100), ..plan((1..=200).map(|n| target(n, 22))) };
    let (_, calls, took) = run(&plan, |_, _| (Reached::Refused, Conduct::Quiet, FAST));
    assert_eq!(calls.len(), 3 * 200, "a canary and two tries each");
    assert!(took >= Duration::from_millis(5900), "{took:?}");
    let plan = self::plan((1..=100).map(|port| target(1, port)));
    let (_, calls, _) = run(&plan, |_, _| (Reached::Silent, Conduct::Quiet, PATIENT));
    let times: Vec<Tick> = calls.iter().map(|(at, _)| *at).collect();
    assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) >= Duration::from_millis(5)), "200 a second");
    let in_patience = times.iter().filter(|at| at.since(times[0]) < PATIENT).count();
    assert!(in_patience <= plan.limits.at_host + 1, "{in_patience}");
}

#[test]
fn ends_in_time_and_leaves_the_rest_undecided() {
    let plan = plan((0..20_000).map(|n| target(n, 22)));
    let (known, calls, took) = run(&plan, |_, _| (Reached::Silent, Conduct::Quiet, Duration::from_secs(3)));
    assert!(took <= plan.limits.time + Duration::from_secs(1), "{took:?}");
    assert_eq!(known.targets.len(), 10_000);
    assert!(known.targets.values().any(|known| known.verification == Verification::Skipped));
    assert!(calls.len() < 10_000);
    let interrupted = verify(
        &plan,
        &mut Fake::new(&Virtual::default(), |_, _| unreachable!()),
        &Virtual::default(),
        &SignalFlag::new(true),
    );
    assert!(interrupted.verifications.targets.values().all(|k| k.verification == Verification::Skipped));
}

/// Canaries that a firewall swallows take their time, and take none from the targets.
#[test]
fn canaries_that_are_swallowed_hold_up_no_target() {
    let plan = plan((0..5_000).map(|n| target(n, 22)));
    let (known, calls, _) = run(&plan, |call, _| match is_canary(call) {
        true => (Reached::Silent, Conduct::Quiet, call.patience.expect("a canary's own")),
        false => (Reached::Completed, Conduct::Quiet, FAST),
    });
    assert!(known.targets.values().all(|known| known.verification == Verification::Verified));
    let last = calls.iter().filter(|(_, call)| !is_canary(call)).map(|(at, _)| *at).max().expect("a target");
    assert!(last.since(Tick::default()) < Duration::from_secs(5), "{last:?}");
}

#[test]
fn what_this_host_cannot_do_says_nothing_of_the_target() {
    let plan = plan([target(1, 22)]);
    let (known, ..) = run(&plan, |_, _| (Reached::Prevented, Conduct::Quiet, FAST));
    assert_eq!(known.of(&target(1, 22)).verification, Verification::Skipped);
}

#[test]
fn the_worst_port_of_every_host_comes_before_any_second() {
    let limits = Limits { targets: 3, ..Limits::default() };
    let all = [target(1, 7), target(1, 6379), target(2, 8), target(3, 22), target(3, 23)];
    let plan = VerifyPlan { limits, ..plan(all) };
    let chosen: BTreeSet<Target> = by_host(&plan).into_values().flatten().collect();
    assert_eq!(chosen, BTreeSet::from([target(1, 6379), target(2, 8), target(3, 23)]));
}

#[test]
fn canaries_are_ports_that_nobody_sweeps() {
    let risky = PortSet::risky();
    let ports = canary_ports(7, &risky, (0, 0));
    assert_eq!(ports, canary_ports(7, &risky, (0, 0)), "by the seed");
    assert_ne!(ports, canary_ports(8, &risky, (0, 0)));
    for seed in 0..200 {
        let swept = "49152-65000".parse().expect("ports");
        let ports = canary_ports(seed, &swept, (65_010, 65_500));
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 3);
        let fits = |port: &u16| (65_001..65_010).contains(port) || *port > 65_500;
        assert!(ports.iter().all(fits), "{ports:?}");
        assert!(canary_ports(seed, &PortSet::all(), (0, 0)).iter().all(|port| *port >= CANARY_FIRST));
    }
}
