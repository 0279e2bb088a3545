//! From observations to findings.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::allowlist::{Allowance, Allowlist};
use super::finding::Finding;
use super::findings::{Findings, objection};
use crate::sweep::report::Observation;
use crate::sweep::verified::Verifications;
use crate::target::Target;
use crate::target::ports::PortSet;
use crate::target::scope::{Scope, merge, subtract};
use crate::target::state::State;

/// Judges what a sweep saw: exposures, the worst first, and then the allowances that nothing makes use of.
///
/// Every open target is either allowed or exactly one exposure, in or out of `scope`, and so is every contradictory
/// one: it has accepted a handshake, and a reset beside it must not hide that. Other states say nothing here. Where
/// `known` says that a host accepts every port, its targets that nothing tells from the rest make one finding together.
/// An allowance is idle only if the sweep was `complete` and `scope` holds *every* target of it: a sweep that did not
/// look everywhere (a shard, fewer ports, an interruption) cannot know that nothing is there.
pub fn evaluate<'a>(
    opens: &[Observation],
    allowlist: &'a Allowlist,
    known: Verifications,
    scope: &Scope,
    complete: bool,
    now: Timestamp,
) -> Findings<'a> {
    let targets = open_targets(opens);
    let idle = if complete { idle_allowances(&targets, allowlist, scope, now) } else { Vec::new() };
    Findings::new(targets, idle, allowlist, known, now)
}

/// The targets that have accepted a handshake, sorted, each once, by its last word, and each address in its one
/// spelling. A list, because a map of a whole network takes several times the room.
fn open_targets(opens: &[Observation]) -> Vec<(Target, State)> {
    let is_open = |seen: &&Observation| matches!(seen.state, State::Open | State::Conflict);
    let mut targets = Vec::with_capacity(opens.iter().filter(is_open).count());
    targets.extend(opens.iter().filter(is_open).map(|seen| {
        let ip = seen.target.ip.to_canonical();
        (Target { ip, ..seen.target }, seen.state)
    }));
    keep_last_words(&mut targets, |(target, _)| *target);
    targets
}

/// Sorts words by the target that each is about, and keeps the last on each.
pub fn keep_last_words<T: Copy>(words: &mut Vec<T>, about: impl Fn(&T) -> Target) {
    words.sort_by_key(&about);
    words.dedup_by(|later, earlier| {
        let is_same = about(later) == about(earlier);
        if is_same {
            *earlier = *later;
        }
        is_same
    });
}

/// The targets that would be reported: what has accepted a handshake and may not.
pub fn objectionable(opens: &[Observation], allowlist: &Allowlist, now: Timestamp) -> Vec<Target> {
    let mut targets = open_targets(opens);
    targets.retain(|(target, _)| objection(target, allowlist, now).is_some());
    targets.into_iter().map(|(target, _)| target).collect()
}

/// The allowances that are about to end, and whose owners want to hear of that in time. One that has ended is none.
pub fn expiring(allowlist: &Allowlist, now: Timestamp) -> Vec<Finding> {
    let is_near = |allowance: &&Allowance| allowance.ends_soon(now);
    let mut told = BTreeSet::new();
    allowlist
        .allowances()
        .iter()
        .filter(is_near)
        .map(|allowance| Finding::expiring_allowance(allowance, now))
        .filter(|finding| told.insert(finding.fingerprint.clone()))
        .collect()
}

fn idle_allowances<'a>(
    targets: &[(Target, State)],
    allowlist: &'a Allowlist,
    scope: &Scope,
    now: Timestamp,
) -> Vec<&'a Allowance> {
    let mut used = vec![false; allowlist.allowances().len()];
    for (target, _) in targets {
        allowlist.visit(target, |at| used[at] = true);
    }
    // Two entries for the same targets would be one finding twice.
    let mut told = BTreeSet::new();
    let idle = allowlist.allowances().iter().zip(used).filter(|(_, used)| !used);
    idle.map(|(allowance, _)| allowance)
        .filter(|allowance| covers(scope, allowance))
        .filter(|allowance| told.insert(Finding::idle_allowance(allowance, now).fingerprint))
        .collect()
}

/// Whether every target of the allowance is in scope.
fn covers(scope: &Scope, allowance: &Allowance) -> bool {
    has_all(scope.ports(), &allowance.ports) && subtract(&merge(&allowance.hosts), scope.ranges()).is_empty()
}

/// Whether every port of `some` is one of `all`. The first two lines spare the third for the largest sets.
fn has_all(all: &PortSet, some: &PortSet) -> bool {
    some == all || (some.len() < all.len() && some.iter().all(|port| all.slot_of(port).is_some()))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;
    use crate::policy::allowlist::{Approval, DEFAULT_WARN_BEFORE};
    use crate::policy::finding::FindingKind;
    use crate::sweep::verified::{AnswersAll, Confirmation, Verification};
    use crate::target::Transport;
    use crate::target::address::AddressRange;
    use crate::target::names::Names;
    use crate::target::ports::Severity;
    use crate::target::state::Reason;

    fn open(ip: &str, port: u16) -> Observation {
        observe(ip.parse().expect(ip), port, Reason::SynAck)
    }

    fn observe(ip: IpAddr, port: u16, reason: Reason) -> Observation {
        let target = Target { ip, port, transport: Transport::Tcp };
        Observation {
            target,
            state: reason.state(),
            reason: Some(reason),
            unknown: None,
            tries: 1,
            rtt_us: None,
            ttl: None,
            corrects: false,
        }
    }

    fn allow(hosts: &str, ports: &str, expires: Option<&str>) -> Allowance {
        Allowance {
            hosts: vec![hosts.parse().expect(hosts)],
            ports: ports.parse().expect(ports),
            reason: "a reason".to_owned(),
            owner: "an owner".to_owned(),
            approval: Approval::default(),
            expires: expires.map(|text| text.parse().expect(text)),
            warn_before: DEFAULT_WARN_BEFORE,
            line: None,
        }
    }

    fn scope(network: &str, ports: &str) -> Scope {
        let network: AddressRange = network.parse().expect(network);
        Scope::new(&[network], &[], ports.parse().expect(ports)).expect("a scope")
    }

    fn none() -> Verifications {
        Verifications::default()
    }

    fn now() -> Timestamp {
        "2026-06-01T00:00:00Z".parse().expect("a time")
    }

    /// All findings at once. What can be told without making them must be what they come to.
    fn evaluate(
        opens: &[Observation],
        allowlist: &Allowlist,
        known: &Verifications,
        scope: &Scope,
        complete: bool,
        now: Timestamp,
    ) -> Vec<Finding> {
        let findings = super::evaluate(opens, allowlist, known.clone(), scope, complete, now);
        let all: Vec<Finding> = findings.iter().collect();
        let those = |is_one: &dyn Fn(&Finding) -> bool| -> Vec<Finding> {
            all.iter().filter(|finding| is_one(finding)).cloned().collect()
        };
        let exposures = those(&Finding::is_exposure);
        let answers_all = those(&|finding| finding.kind == FindingKind::AnswersAll);
        let notes = those(&|finding| !finding.is_objection());
        assert_eq!((findings.len(), findings.is_empty()), (all.len(), all.is_empty()));
        assert_eq!(findings.count_exposures(), exposures.len());
        assert_eq!(findings.count_answers_all(), answers_all.len());
        assert_eq!(findings.count_notes(), notes.len());
        assert_eq!(findings.has_objections(), all.iter().any(Finding::is_objection));
        assert_eq!(findings.exposures().collect::<Vec<_>>(), exposures);
        assert_eq!(findings.answers_all().collect::<Vec<_>>(), answers_all);
        assert_eq!(findings.notes().collect::<Vec<_>>(), notes);
        for (target, _) in open_targets(opens) {
            let is_on =
                |finding: &&Finding| (finding.ip, finding.port) == (Some(target.ip), Some(target.port));
            assert_eq!(findings.on(&target).as_ref(), all.iter().find(is_on), "{target}");
            let rest = all.iter().filter(|finding| !is_on(finding)).cloned();
            assert_eq!(findings.except(|told| *told == target).collect::<Vec<_>>(), rest.collect::<Vec<_>>());
        }
        let worst_first = |finding: &Finding| (Reverse(finding.severity), finding.ip, finding.port);
        assert!(all[..all.len() - notes.len()].is_sorted_by_key(worst_first));
        all
    }

    #[test]
    fn tells_the_worst_first_then_by_address_and_port() {
        let opens = [
            open("198.18.0.9", 22),
            open("198.18.0.20", 7),
            open("198.18.0.10", 6379),
            open("198.18.0.9", 3306),
            open("198.18.0.9", 6379),
        ];
        let findings =
            evaluate(&opens, &Allowlist::default(), &none(), &scope("198.18.0.0/24", "risky,7"), true, now());
        let told: Vec<_> = findings
            .iter()
            .map(|finding| {
                (finding.severity, finding.ip.expect("ip").to_string(), finding.port.expect("port"))
            })
            .collect();
        let want = |severity, ip: &str, port| (severity, ip.to_owned(), port);
        assert_eq!(
            told,
            [
                want(Severity::Critical, "198.18.0.9", 3306),
                want(Severity::Critical, "198.18.0.9", 6379),
                want(Severity::Critical, "198.18.0.10", 6379),
                want(Severity::High, "198.18.0.9", 22),
                want(Severity::Medium, "198.18.0.20", 7),
            ]
        );
    }

    #[test]
    fn only_open_targets_are_exposed() {
        let ip = "198.18.0.9".parse().expect("ip");
        let seen =
            [Reason::Rst, Reason::NoResponse, Reason::NoNeighbour].map(|reason| observe(ip, 22, reason));
        assert_eq!(
            evaluate(&seen, &Allowlist::default(), &none(), &scope("198.18.0.0/24", "22"), true, now()),
            []
        );
    }

    #[test]
    fn a_reset_beside_a_handshake_hides_nothing() {
        let seen = [observe("198.18.0.9".parse().expect("ip"), 22, Reason::Contradiction)];
        let findings =
            evaluate(&seen, &Allowlist::default(), &none(), &scope("198.18.0.0/24", "22"), true, now());
        assert_eq!(findings.len(), 1);
        assert!(findings[0].is_exposure() && findings[0].message.contains("as open and as closed"));
    }

    #[test]
    fn of_two_words_on_one_target_the_last_counts() {
        let ip: IpAddr = "198.18.0.9".parse().expect("ip");
        let mapped = "::ffff:198.18.0.9".parse().expect("ip");
        let seen = [observe(mapped, 22, Reason::SynAck), observe(ip, 22, Reason::Contradiction)];
        let scope = scope("198.18.0.0/24", "22");
        let findings = evaluate(&seen, &Allowlist::default(), &none(), &scope, true, now());
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.contains("as open and as closed"), "{}", findings[0].message);
    }

    #[test]
    fn what_refused_the_handshake_comes_after_what_did_not() {
        let seen = [22, 23, 3389].map(|port| open("198.18.0.9", port));
        let confirmed =
            |verification| (seen[0].target, Confirmation { verification, ..Confirmation::default() });
        let ports = |known: &Verifications| -> Vec<_> {
            let scope = scope("198.18.0.0/24", "risky");
            let findings = evaluate(&seen, &Allowlist::default(), known, &scope, true, now());
            findings.iter().map(|finding| (finding.port, finding.severity, finding.verified)).collect()
        };
        let one = Verifications { targets: [confirmed(Verification::Refused)].into(), ..none() };
        let told = ports(&one);
        assert_eq!(told.last(), Some(&(Some(22), Severity::Medium, Some(false))), "{told:?}");
        let all = Verifications { otherwise: Verification::Verified, ..one };
        let verified: Vec<_> = ports(&all).into_iter().map(|(_, _, verified)| verified).collect();
        assert_eq!(verified, [Some(true), Some(true), Some(false)]);
    }

    #[test]
    fn an_exposure_has_the_names_of_its_address() {
        let names = Names::new([("198.18.0.9".parse().expect("a host"), "db")]);
        let (list, scope) = (Allowlist::default(), scope("198.18.0.0/24", "22"));
        let seen = [open("198.18.0.9", 22), open("198.18.0.10", 22)];
        let findings = super::evaluate(&seen, &list, none(), &scope, true, now()).with_names(&names);
        let told: Vec<_> = findings.iter().map(|finding| finding.names).collect();
        assert_eq!(told, [vec!["db".to_owned()], vec![]]);
    }

    #[test]
    fn a_host_that_accepts_everything_is_one_finding_beside_what_is_real() {
        let seen = [22, 80, 443, 6379].map(|port| open("198.18.0.9", port));
        let seen = [&seen[..], &[open("198.18.0.8", 22)]].concat();
        let list = Allowlist::new(vec![allow("198.18.0.9", "443", None)]);
        let host = AnswersAll { real: [6379].into(), heard: [6379, 22].into(), ..AnswersAll::default() };
        let known = Verifications {
            answers_all: [("198.18.0.9".parse().expect("ip"), host)].into(),
            ..Verifications::default()
        };
        let findings = evaluate(&seen, &list, &known, &scope("198.18.0.0/24", "all"), true, now());
        let told: Vec<_> = findings.iter().map(|f| (f.kind, f.ip.map(|ip| ip.to_string()), f.port)).collect();
        let ip = |text: &str| Some(text.to_owned());
        assert_eq!(
            told,
            [
                (FindingKind::Exposure, ip("198.18.0.9"), Some(6379)),
                (FindingKind::Exposure, ip("198.18.0.8"), Some(22)),
                (FindingKind::AnswersAll, ip("198.18.0.9"), None),
            ]
        );
        let note = findings[2].answers_all.as_ref().expect("a note");
        assert_eq!((note.ports, note.listened_to), (2, 1), "443 is allowed, and one was not listened to");
        let asked = objectionable(&seen, &list, now());
        assert_eq!(asked.len(), 4);
    }

    #[test]
    fn an_allowance_is_idle_only_if_everything_of_it_was_looked_at() {
        let idle = |entry: Allowance, network: &str, ports: &str, complete| {
            let list = Allowlist::new(vec![entry]);
            evaluate(&[open("198.18.0.9", 22)], &list, &none(), &scope(network, ports), complete, now())
                .into_iter()
                .map(|finding| finding.kind)
                .filter(|kind| *kind != FindingKind::Exposure)
                .collect::<Vec<_>>()
        };
        let unused = || allow("198.18.0.16/28", "22,6379", None);
        assert_eq!(idle(unused(), "198.18.0.0/24", "risky", true), [FindingKind::AllowanceUnused]);
        assert_eq!(idle(unused(), "198.18.0.0/24", "22,6379", true), [FindingKind::AllowanceUnused]);
        assert_eq!(idle(unused(), "198.18.0.0/24", "risky", false), [], "not complete");
        assert_eq!(idle(unused(), "198.18.0.0/24", "22,80,443", true), [], "a port was not looked at");
        assert_eq!(idle(unused(), "198.18.0.0/27", "risky", true), [FindingKind::AllowanceUnused]);
        assert_eq!(idle(unused(), "198.18.0.17-198.18.0.40", "risky", true), [], "a host was not looked at");
        assert_eq!(idle(allow("198.18.0.0/28", "22,6379", None), "198.18.0.0/24", "risky", true), [], "used");
        let expired = allow("198.18.0.16/28", "22", Some("2026-01-31"));
        assert_eq!(idle(expired, "198.18.0.0/24", "risky", true), [FindingKind::AllowanceExpired]);
        let expired_and_open = allow("198.18.0.9", "22", Some("2026-01-31"));
        assert_eq!(idle(expired_and_open, "198.18.0.0/24", "risky", true), [], "that is an exposure");
    }

    #[test]
    fn the_same_idle_allowance_twice_is_one_finding() {
        let list = Allowlist::new(vec![allow("198.18.0.9", "22", None), allow("198.18.0.9", "22", None)]);
        assert_eq!(evaluate(&[], &list, &none(), &scope("198.18.0.0/24", "22"), true, now()).len(), 1);
    }

    fn observations() -> impl Strategy<Value = Vec<Observation>> {
        let reason =
            prop::sample::select(vec![Reason::SynAck, Reason::SynAck, Reason::Rst, Reason::NoResponse]);
        let port = prop::sample::select(vec![22_u16, 80, 6379, 7]);
        let observation = (0_u8..12, port, reason)
            .prop_map(|(host, port, reason)| observe(Ipv4Addr::new(198, 18, 0, host).into(), port, reason));
        prop::collection::vec(observation, 0..40)
    }

    fn allowances() -> impl Strategy<Value = Vec<Allowance>> {
        let hosts = prop::sample::select(vec!["198.18.0.0/30", "198.18.0.2", "198.18.0.5-198.18.0.9"]);
        let ports = prop::sample::select(vec!["22", "22,80", "all", "6379"]);
        let expires = prop::sample::select(vec![None, Some("2026-01-31"), Some("2027-01-31")]);
        let allowance =
            (hosts, ports, expires).prop_map(|(hosts, ports, expires)| allow(hosts, ports, expires));
        prop::collection::vec(allowance, 0..5)
    }

    fn exposures(findings: &[Finding]) -> BTreeSet<String> {
        findings.iter().filter(|f| f.is_exposure()).map(|f| f.fingerprint.to_string()).collect()
    }

    proptest! {
        #[test]
        fn the_order_of_observations_does_not_matter(
            (opens, shuffled) in observations().prop_flat_map(|o| (Just(o.clone()), Just(o).prop_shuffle())),
            list in allowances(),
            complete: bool,
        ) {
            let (list, scope) = (Allowlist::new(list), scope("198.18.0.0/24", "22,80,6379,7"));
            prop_assert_eq!(
                evaluate(&opens, &list, &none(), &scope, complete, now()),
                evaluate(&shuffled, &list, &none(), &scope, complete, now())
            );
        }

        #[test]
        fn every_open_target_is_allowed_or_one_exposure(opens in observations(), list in allowances()) {
            let scope = scope("198.18.0.0/24", "22,80,6379,7");
            let findings = evaluate(&opens, &Allowlist::new(list.clone()), &none(), &scope, true, now());
            let mut fingerprints = BTreeSet::new();
            for finding in &findings {
                prop_assert!(fingerprints.insert(finding.fingerprint.clone()), "one fingerprint twice");
            }
            for (target, _) in open_targets(&opens) {
                let allowed = list.iter().any(|entry| entry.names(&target) && !entry.is_expired(now()));
                let told = findings
                    .iter()
                    .filter(|f| f.is_exposure() && f.ip == Some(target.ip) && f.port == Some(target.port));
                prop_assert_eq!(told.count(), usize::from(!allowed), "{}", target);
            }
            prop_assert!(exposures(&findings).len() <= open_targets(&opens).len());
        }

        #[test]
        fn one_more_allowance_never_adds_an_exposure(
            opens in observations(), list in allowances(), more in allowances(),
        ) {
            let scope = scope("198.18.0.0/24", "22,80,6379,7");
            let before = evaluate(&opens, &Allowlist::new(list.clone()), &none(), &scope, true, now());
            let after = evaluate(&opens, &Allowlist::new([list, more].concat()), &none(), &scope, true, now());
            prop_assert!(exposures(&after).is_subset(&exposures(&before)));
        }
    }
}
