//! What is different, and what only seems so.

use proptest::prelude::*;

use super::*;
use crate::survey::builder::{Builder, Twice};
use crate::survey::host::{HostState, Status};
use crate::survey::{Ending, Source};
use crate::sweep::ledger::Ledger;
use crate::target::scope::Scope;
use crate::target::state::State;

type Word<'w> = (&'w str, u16, PortState, &'w str);

const OPEN: PortState = PortState::Open;
const CLOSED: PortState = PortState::Closed;
const FILTERED: PortState = PortState::Filtered;

/// A survey that lists these, and nothing else is known of it.
fn listed(words: &[Word<'_>]) -> Survey {
    let mut builder = Builder::new(Twice::Later);
    for (ip, number, state, reason) in words {
        let reason = builder.word(reason);
        let port = Port::new(Protocol::Tcp, *number, *state, reason);
        builder.see(ip.parse().expect(ip), port).expect("few");
    }
    Survey {
        source: Source::default(),
        hosts: builder.finish(),
        coverage: Coverage::Unknown,
        ending: Ending::Unsaid,
        notes: vec![],
    }
}

/// The same, and all else of a scope is in one of these states.
fn declared(network: &str, ports: &str, words: &[Word<'_>], rest: &[State]) -> Survey {
    let scope = Scope::new(&[network.parse().expect(network)], &[], ports.parse().expect(ports));
    let declared = Declared { scope: scope.expect("a scope"), books: Ledger::default(), rest: rest.to_vec() };
    Survey { coverage: Coverage::Declared(Box::new(declared)), ending: Ending::Complete, ..listed(words) }
}

/// Kinds, ports and states, as they are told.
fn told(difference: &Difference) -> Vec<String> {
    let change = |change: &Change| {
        let Change { kind, ip, ports, before, after, .. } = change;
        format!("{} {ip} {ports} {before} -> {after}", kind.as_str())
    };
    let mut told: Vec<String> = difference.changes.iter().map(change).collect();
    told.extend(difference.new_hosts.iter().map(|host| format!("new {} {}", host.ip, host.was_seen)));
    told.extend(difference.gone_hosts.iter().map(|host| format!("gone {}", host.ip)));
    let not_seen = |group: &NotSeen| format!("not seen {} {} {}", group.ip, group.ports, group.before);
    told.extend(difference.not_seen.iter().map(not_seen));
    told
}

const A: &str = "198.18.0.1";
const B: &str = "198.18.0.2";

#[test]
fn what_was_seen_both_times_is_compared() {
    let old = listed(&[
        (A, 22, OPEN, "syn-ack"),
        (A, 23, CLOSED, "reset"),
        (A, 24, FILTERED, "no-response"),
        (A, 25, FILTERED, "no-response"),
        (A, 26, CLOSED, "conn-refused"),
    ]);
    let new = listed(&[
        (A, 22, CLOSED, "rst"),
        (A, 23, OPEN, "syn-ack"),
        (A, 24, CLOSED, "rst"),
        (A, 25, FILTERED, "admin-prohibited"),
        (A, 26, CLOSED, "rst-ack"),
    ]);
    let difference = compare(&old, &new);
    assert_eq!(
        told(&difference),
        [
            "closed 198.18.0.1 22 open (syn-ack) -> closed (rst)",
            "opened 198.18.0.1 23 closed (rst) -> open (syn-ack)",
            "changed 198.18.0.1 24 filtered (no-response) -> closed (rst)",
            "changed 198.18.0.1 25 filtered (no-response) -> filtered (icmp-admin-prohibited)",
        ]
    );
    assert_eq!((difference.same, difference.count_not_seen()), (1, 0));
    assert!(compare(&old, &old).is_empty() && compare(&new, &new).is_empty());
}

#[test]
fn what_the_newer_did_not_see_is_never_closed() {
    let old = listed(&[(A, 22, OPEN, "syn-ack"), (B, 22, OPEN, "syn-ack"), (B, 80, CLOSED, "rst")]);
    let new = listed(&[(B, 443, OPEN, "syn-ack")]);
    let difference = compare(&old, &new);
    assert_eq!(
        told(&difference),
        [
            "opened 198.18.0.2 443 not seen -> open (syn-ack)",
            "not seen 198.18.0.1 22 open (syn-ack)",
            "not seen 198.18.0.2 22 open (syn-ack)",
            "not seen 198.18.0.2 80 closed (rst)",
        ]
    );
    assert_eq!(difference.count(Kind::Closed), 0);
}

#[test]
fn a_scope_that_was_swept_vouches_for_what_is_not_listed() {
    let old = declared("198.18.0.0/30", "22,80", &[(A, 22, OPEN, "syn-ack")], &[State::Closed]);
    let new = declared("198.18.0.0/30", "22,80", &[(B, 80, OPEN, "syn-ack")], &[State::Closed]);
    let difference = compare(&old, &new);
    assert_eq!(
        told(&difference),
        [
            "closed 198.18.0.1 22 open (syn-ack) -> not open",
            "opened 198.18.0.2 80 not open -> open (syn-ack)",
            "new 198.18.0.2 true",
        ],
    );
    assert_eq!(difference.not_seen_unlisted, 0);
}

#[test]
fn beyond_the_newer_scope_nothing_is_closed() {
    let words = [(A, 22, OPEN, "syn-ack"), (A, 80, OPEN, "syn-ack")];
    let old = declared("198.18.0.0/30", "22,80", &words, &[State::Closed]);
    let new = declared("198.18.0.0/31", "22", &[], &[State::Closed]);
    let difference = compare(&old, &new);
    assert_eq!(
        told(&difference),
        ["closed 198.18.0.1 22 open (syn-ack) -> not open", "not seen 198.18.0.1 80 open (syn-ack)",]
    );
    // Of 8 targets 2 are in both scopes, and one more is told of by itself.
    assert_eq!((difference.not_seen_unlisted, difference.count_not_seen()), (5, 6));
    assert_eq!(compare(&old, &listed(&[])).count_not_seen(), 8);
    assert_eq!(compare(&old, &old).count_not_seen(), 0);
}

#[test]
fn what_says_less_contradicts_nothing() {
    let old = declared("198.18.0.0/30", "22", &[(A, 22, CLOSED, "rst")], &[State::Filtered]);
    let silent = declared("198.18.0.0/30", "22", &[], &[State::Filtered]);
    let either = declared("198.18.0.0/30", "22", &[], &[State::Filtered, State::Closed]);
    assert_eq!(
        told(&compare(&old, &silent)),
        ["changed 198.18.0.1 22 closed (rst) -> not open", "gone 198.18.0.1"]
    );
    assert_eq!(told(&compare(&old, &either)), [] as [&str; 0]);
    let without_reason = listed(&[(A, 22, OPEN, "")]);
    assert!(compare(&without_reason, &listed(&[(A, 22, OPEN, "syn-ack")])).is_empty());
}

#[test]
fn what_leaves_it_open_closes_nothing() {
    let old = listed(&[(A, 22, OPEN, "syn-ack")]);
    for state in [PortState::Unfiltered, PortState::OpenFiltered, PortState::Unknown] {
        let difference = compare(&old, &listed(&[(A, 22, state, "")]));
        assert_eq!(told(&difference), ["not seen 198.18.0.1 22 open (syn-ack)"], "{state}");
    }
    let conflict = listed(&[(A, 22, PortState::Conflict, "contradiction")]);
    assert_eq!(compare(&old, &conflict).count(Kind::Closed), 0);
}

#[test]
fn hosts_come_and_go() {
    let there = listed(&[(A, 22, CLOSED, "rst"), (A, 23, CLOSED, "rst")]);
    let silent = listed(&[(A, 22, FILTERED, "no-response"), (A, 23, FILTERED, "no-response")]);
    let half = listed(&[(A, 22, FILTERED, "no-response")]);
    let hosts = |old: &Survey, new: &Survey| {
        let told = told(&compare(old, new));
        told.into_iter()
            .filter(|line| line.starts_with("new") || line.starts_with("gone"))
            .collect::<Vec<_>>()
    };
    assert_eq!(hosts(&there, &silent), ["gone 198.18.0.1"]);
    assert_eq!(hosts(&silent, &there), ["new 198.18.0.1 true"]);
    assert_eq!(hosts(&listed(&[]), &there), [] as [&str; 0], "the older one may not have looked there");
    assert_eq!(hosts(&listed(&[]), &listed(&[(A, 22, OPEN, "syn-ack")])), ["new 198.18.0.1 false"]);
    assert_eq!(hosts(&there, &half), [] as [&str; 0], "one port was not seen");
    assert_eq!(hosts(&there, &listed(&[])), [] as [&str; 0]);
    let mut down = listed(&[(A, 22, FILTERED, "no-response")]);
    down.hosts[0].ports.clear();
    let status = Status { state: HostState::Down, reason: "no-response".into(), ttl: None };
    down.hosts[0].about.as_mut().expect("about").status = Some(status);
    assert_eq!(hosts(&there, &down), ["gone 198.18.0.1"]);
    assert_eq!(compare(&there, &down).count_not_seen(), 2, "nobody looked at its ports");
}

proptest! {
    /// Whatever is compared: each target that was open is still open, or closed and seen, or not seen; and nothing is
    /// called closed that the newer one neither lists nor has in its scope.
    #[test]
    fn no_open_target_is_lost(
        old in prop::collection::vec((1_u8..6, 20_u16..26, 0_usize..9), 0..30),
        new in prop::collection::vec((1_u8..6, 20_u16..26, 0_usize..9), 0..30),
        is_declared: bool,
    ) {
        let words = |list: &[(u8, u16, usize)]| -> Vec<(String, u16, PortState)> {
            list.iter().map(|(ip, port, at)| (format!("198.18.0.{ip}"), *port, PortState::ALL[*at])).collect()
        };
        let survey = |list: &[(String, u16, PortState)]| {
            listed(&list.iter().map(|(ip, port, state)| (ip.as_str(), *port, *state, "")).collect::<Vec<_>>())
        };
        let (old, mut new) = (survey(&words(&old)), survey(&words(&new)));
        if is_declared {
            new.coverage = declared("198.18.0.0/30", "20-23", &[], &[State::Closed]).coverage;
        }
        let difference = compare(&old, &new);
        let is_open = |(.., sight): &(Protocol, u16, Sight)| sight.state.openness() == Openness::Open;
        for host in &old.hosts {
            let now = new.hosts.iter().find(|other| other.ip == host.ip).map(Host::sights).unwrap_or_default();
            for (_, port, _) in host.sights().into_iter().filter(is_open) {
                let sight = now.iter().find(|(_, number, _)| *number == port);
                let in_kind = |kind| difference.changes.iter().any(|change| {
                    change.kind == kind && change.ip == host.ip && change.ports.contains(port)
                });
                let is_not_seen = difference.not_seen.iter().any(|group| {
                    group.ip == host.ip && group.ports.contains(port)
                });
                let is_covered = new.coverage.rest(host.ip, Protocol::Tcp, port).is_some();
                match sight.map(|(.., sight)| sight.state.openness()) {
                    Some(Openness::Open) => prop_assert!(!in_kind(Kind::Closed) && !is_not_seen),
                    Some(Openness::NotOpen) => prop_assert!(in_kind(Kind::Closed) && !is_not_seen),
                    Some(Openness::Unsaid) => prop_assert!(!in_kind(Kind::Closed) && is_not_seen),
                    None => prop_assert_eq!((in_kind(Kind::Closed), is_not_seen), (is_covered, !is_covered)),
                }
            }
        }
        prop_assert_eq!(compare(&new, &new).changes, vec![]);
        prop_assert_eq!(&compare(&old, &new), &difference);
    }
}
