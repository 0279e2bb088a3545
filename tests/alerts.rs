//! The life of alerts, sweep by sweep: what must be closed, what must be open, who is told and who is not.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use portreeve::alert::book::{Audience, Book, Word};
use portreeve::alert::judge::{Seen, judge};
use portreeve::alert::life::{Alert, Annotation, Phase, Resolution};
use portreeve::alert::notice::Transition;
use portreeve::alert::record::Record;
use portreeve::alert::rules::AlertRules;
use portreeve::alert::tell::{self, Telling, tell};
use portreeve::policy::allowlist::{Allowance, Allowlist, Approval, DEFAULT_WARN_BEFORE};
use portreeve::policy::evaluate::evaluate;
use portreeve::policy::expectation::Expectation;
use portreeve::policy::finding::Finding;
use portreeve::policy::grade::Grades;
use portreeve::policy::kind::FindingKind;
use portreeve::policy::outage::{check, expected};
use portreeve::sweep::report::Observation;
use portreeve::sweep::verified::{AnswersAll, Verifications};
use portreeve::target::scope::Scope;
use portreeve::target::state::{Reason, State};
use portreeve::target::{Target, Transport};
use proptest::prelude::*;
use ulid::Ulid;

/// A fleet, a policy, and the alerts so far.
struct World {
    book: Book,
    scope: Scope,
    allow: Vec<Allowance>,
    expect: Vec<Expectation>,
    rules: AlertRules,
    muted: bool,
    now: Timestamp,
    minted: u64,
}

/// What one sweep has seen: who answers, and whether it has seen everything.
#[derive(Clone, Default)]
struct Sight {
    open: Vec<Target>,
    answers_all: Vec<Target>,
    incomplete: bool,
}

impl World {
    fn new() -> Self {
        let scope =
            Scope::new(&["198.18.0.0/24".parse().expect("a network")], &[], "risky".parse().expect("ports"));
        World {
            book: Book::default(),
            scope: scope.expect("a scope"),
            allow: Vec::new(),
            expect: Vec::new(),
            rules: AlertRules { remind_every: None, ..AlertRules::default() },
            muted: false,
            now: "2026-06-01T00:00:00Z".parse().expect("a time"),
            minted: 0,
        }
    }

    fn expecting(mut self, host: &str, failures: u32, recoveries: u32) -> Self {
        self.expect.push(Expectation {
            name: "orders".to_owned(),
            hosts: vec![host.parse().expect("a host")],
            ports: "5432".parse().expect("a port"),
            failures,
            recoveries,
            owner: None,
            class: None,
            severity: None,
            line: 1,
        });
        self.allow.push(Allowance {
            hosts: vec![host.parse().expect("a host")],
            ports: "5432".parse().expect("a port"),
            reason: "orders".to_owned(),
            owner: "orders".to_owned(),
            approval: Approval::default(),
            expires: None,
            warn_before: DEFAULT_WARN_BEFORE,
            line: None,
        });
        self
    }

    /// One sweep, a minute after the last. Every target that is not open is closed.
    fn sweep(&mut self, sight: &Sight) -> Vec<Word> {
        self.now += SignedDuration::from_secs(60);
        let open: HashSet<Target> = sight.open.iter().chain(&sight.answers_all).copied().collect();
        let opens: Vec<Observation> = open.iter().map(|target| observe(*target, Reason::SynAck)).collect();
        let mut known = Verifications::default();
        for target in &sight.answers_all {
            known.answers_all.insert(target.ip, AnswersAll::default());
        }
        let complete = !sight.incomplete;
        let list = Allowlist::new(self.allow.clone());
        let findings = evaluate(&opens, &list, known, &self.scope, complete, self.now);
        let findings = findings.iter().map(|finding| (finding.clone(), finding.kind.class())).collect();
        let expected = expected(&self.expect, &self.scope);
        let seen = |target: &Target| {
            let reason = if open.contains(target) { Reason::SynAck } else { Reason::Rst };
            observe(*target, reason)
        };
        let seen: Vec<Observation> = expected.iter().map(seen).collect();
        let checks = check(&self.expect, &seen, &Grades::default(), self.now);
        let sight = Finding::sweep_missed("sight", "a stand-in", self.now);
        let class = sight.kind.class();
        let covers = |target: &Target| self.scope.index_of(target.ip, target.port).is_some();
        let seen =
            Seen { complete, findings, open: &open, covers: &covers, checks: &checks, sight: (sight, class) };
        let mut minted = self.minted;
        let mut mint = || {
            minted += 1;
            Ulid::from_parts(minted, 0)
        };
        let happened = judge(&mut self.book, &seen, &self.rules, self.now, &mut mint);
        let mute = |_: &Alert| self.muted.then(|| "night".to_owned());
        let telling = Telling { rules: &self.rules, mute: &mute, sweep: None, now: self.now };
        let words = tell(&mut self.book, &happened, &telling, &mut mint);
        self.minted = minted;
        // What is kept is what the next sweep finds: as from a store.
        self.book = Book::new(self.book.records().cloned().collect::<Vec<Record>>());
        words
    }

    /// What is told by sweeps in which a target is up (`U`), down (`D`), or not seen (`?`).
    fn flip(&mut self, target: Target, states: &str) -> Vec<String> {
        let mut told = Vec::new();
        for state in states.chars().filter(|c| !c.is_whitespace()) {
            let open = if state == 'U' { vec![target] } else { Vec::new() };
            let words = self.sweep(&Sight { open, incomplete: state == '?', ..Sight::default() });
            told.extend(words.iter().filter(|word| !is_sight(word)).map(say));
        }
        told
    }
}

fn is_sight(word: &Word) -> bool {
    word.notice.alert.finding.about.as_deref() == Some("sight")
}

/// A word, in short: what has happened, of what class, and who hears of it.
fn say(word: &Word) -> String {
    let audience = match word.audience {
        Audience::Everybody => "everybody",
        Audience::People => "people",
        Audience::Events => "events",
    };
    let storm = if word.in_storm { " in storm" } else { "" };
    let Word { notice, .. } = word;
    format!(
        "{} {} {} to {audience}{storm}",
        notice.alert.class,
        notice.alert.finding.kind,
        notice.transition.as_str()
    )
}

fn target(ip: &str, port: u16) -> Target {
    Target { ip: ip.parse().expect(ip), port, transport: Transport::Tcp }
}

fn observe(target: Target, reason: Reason) -> Observation {
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

fn open(targets: &[Target]) -> Sight {
    Sight { open: targets.to_vec(), ..Sight::default() }
}

fn blind() -> Sight {
    Sight { incomplete: true, ..Sight::default() }
}

/// What is said, without the words on the sweep's own sight.
fn said(words: &[Word]) -> Vec<String> {
    words.iter().filter(|word| !is_sight(word)).map(say).collect()
}

#[test]
fn what_must_be_open_is_told_after_three_failures_and_once() {
    let database = target("198.18.0.20", 5432);
    let fired = "health outage firing to everybody";
    let resolved = "health outage resolved to everybody";
    for (states, told) in [
        ("UUUU", &[][..]),
        ("UDDU", &[]),
        ("UDDUDDU", &[]),
        ("DDD", &[fired]),
        ("DDDDDDD", &[fired]),
        ("DDDU", &[fired]),
        ("DDDUU", &[fired, resolved]),
        ("DDDUDUUU", &[fired, resolved]),
        // What was not seen is neither a failure nor a success.
        ("D?D?U", &[]),
        ("D?D?D", &[fired]),
        ("DDD?U?U", &[fired, resolved]),
        ("????", &[]),
    ] {
        let mut world = World::new().expecting("198.18.0.20", 3, 2);
        assert_eq!(world.flip(database, states), told, "{states}");
    }
}

#[test]
fn five_changes_are_one_flapping_alert_with_a_beginning_and_an_end() {
    let database = target("198.18.0.20", 5432);
    let mut world = World::new().expecting("198.18.0.20", 3, 2);
    assert_eq!(world.flip(database, "U DUDUD"), ["health outage flapping-started to everybody"]);
    // As long as it goes on, nothing else is said: not even of three failures in a row.
    assert_eq!(world.flip(database, "UDUDDDUUDU"), [""; 0]);
    assert_eq!(world.flip(database, "UUUUUUUUUUUUUUUUUUUU"), ["health outage flapping-ended to everybody"]);
    let record = world.book.records().find(|record| record.alert.finding.kind == FindingKind::Outage);
    assert!(record.is_none_or(|record| record.alert.state == Phase::Resolved));
    assert_eq!(world.flip(database, "DDD"), ["health outage firing to everybody"]);
}

#[test]
fn what_stops_flapping_by_staying_down_still_fires() {
    let database = target("198.18.0.20", 5432);
    let mut world = World::new().expecting("198.18.0.20", 3, 2);
    assert_eq!(world.flip(database, "DUDUD"), ["health outage flapping-started to everybody"]);
    assert_eq!(world.flip(database, &"D".repeat(25)), ["health outage flapping-ended to everybody"]);
    let record = world.book.records().find(|record| record.alert.finding.kind == FindingKind::Outage);
    let alert = &record.expect("an alert").alert;
    assert_eq!((alert.state, alert.flapping), (Phase::Firing, false));
    assert_eq!(world.flip(database, "UU"), ["health outage resolved to everybody"]);
}

#[test]
fn an_exposure_is_told_at_first_sight_and_resolved_by_a_complete_sweep_only() {
    let mut world = World::new();
    let redis = target("198.18.0.9", 6379);
    let told = said(&world.sweep(&open(&[redis])));
    assert_eq!(told, ["security exposure firing to everybody"]);
    assert_eq!(said(&world.sweep(&open(&[redis]))), [""; 0], "it is told once");
    assert_eq!(said(&world.sweep(&blind())), [""; 0], "what was not seen is not resolved");
    assert_eq!(said(&world.sweep(&open(&[]))), ["security exposure resolved to everybody"]);
    assert_eq!(said(&world.sweep(&open(&[]))), [""; 0]);
    assert_eq!(said(&world.sweep(&open(&[redis]))), ["security exposure firing to everybody"]);
}

#[test]
fn an_exposure_fires_from_a_sweep_that_did_not_see_everything() {
    let mut world = World::new();
    let sight = Sight { open: vec![target("198.18.0.9", 22)], incomplete: true, ..Sight::default() };
    assert_eq!(said(&world.sweep(&sight)), ["security exposure firing to everybody"]);
}

#[test]
fn each_firing_has_an_episode_of_its_own() {
    let mut world = World::new();
    let redis = target("198.18.0.9", 6379);
    let mut episodes = Vec::new();
    for sight in [open(&[redis]), open(&[]), open(&[redis]), open(&[])] {
        let words = world.sweep(&sight);
        episodes.extend(words.iter().filter(|word| !is_sight(word)).map(|word| word.notice.alert.episode));
    }
    assert_eq!(episodes[0], episodes[1]);
    assert_eq!(episodes[2], episodes[3]);
    assert_ne!(episodes[0], episodes[2]);
}

#[test]
fn what_is_allowed_afterwards_is_resolved_as_that() {
    let mut world = World::new();
    let ssh = target("198.18.0.10", 22);
    world.sweep(&open(&[ssh]));
    world.allow.push(Allowance {
        hosts: vec!["198.18.0.10".parse().expect("a host")],
        ports: "22".parse().expect("a port"),
        reason: "bastion".to_owned(),
        owner: "netops".to_owned(),
        approval: Approval::default(),
        expires: None,
        warn_before: DEFAULT_WARN_BEFORE,
        line: None,
    });
    let words = world.sweep(&open(&[ssh]));
    let resolved = words.iter().find(|word| word.notice.transition == Transition::Resolved);
    assert_eq!(resolved.expect("a word").notice.alert.resolution, Some(Resolution::Allowed));
}

#[test]
fn a_host_that_comes_to_accept_everything_resolves_nothing() {
    let mut world = World::new();
    let redis = target("198.18.0.9", 6379);
    world.sweep(&open(&[redis]));
    let sight = Sight { answers_all: vec![redis, target("198.18.0.9", 22)], ..Sight::default() };
    let words = world.sweep(&sight);
    assert_eq!(
        said(&words),
        ["security answers-all firing to everybody", "security exposure annotated to everybody"]
    );
    assert_eq!(words[1].notice.alert.annotation, Some(Annotation::AnswersAll));
    assert_eq!(said(&world.sweep(&sight)), [""; 0]);
    let told = said(&world.sweep(&open(&[])));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|word| word.ends_with("resolved to everybody")), "{told:?}");
}

#[test]
fn people_are_not_disturbed_by_what_is_over_when_the_silence_ends() {
    let mut world = World::new();
    let redis = target("198.18.0.9", 6379);
    world.muted = true;
    assert_eq!(said(&world.sweep(&open(&[redis]))), ["security exposure firing to events"]);
    assert_eq!(said(&world.sweep(&open(&[]))), ["security exposure resolved to events"]);
    world.muted = false;
    assert_eq!(said(&world.sweep(&open(&[]))), [""; 0]);
}

#[test]
fn people_hear_after_the_silence_of_what_still_fires_and_have_not_been_told() {
    let mut world = World::new();
    let (redis, ssh) = (target("198.18.0.9", 6379), target("198.18.0.9", 22));
    world.sweep(&open(&[ssh]));
    world.muted = true;
    assert_eq!(said(&world.sweep(&open(&[redis, ssh]))), ["security exposure firing to events"]);
    world.muted = false;
    // The one that they knew of before the silence is not told again.
    let words = world.sweep(&open(&[redis, ssh]));
    assert_eq!(said(&words), ["security exposure firing to people"]);
    assert_eq!(words[0].notice.alert.finding.port, Some(6379));
}

#[test]
fn people_hear_of_the_end_even_in_a_silence_if_they_have_heard_of_the_beginning() {
    let mut world = World::new();
    let redis = target("198.18.0.9", 6379);
    world.sweep(&open(&[redis]));
    world.muted = true;
    assert_eq!(said(&world.sweep(&open(&[]))), ["security exposure resolved to everybody"]);
}

#[test]
fn a_storm_is_one_message_to_people_and_every_event_to_machines() {
    let mut world = World::new();
    let hosts: Vec<Target> = (1..=40).map(|n| target(&format!("198.18.0.{n}"), 6379)).collect();
    let told = said(&world.sweep(&open(&hosts[..30])));
    assert_eq!(told.len(), 31);
    assert_eq!(
        told.iter().filter(|word| *word == "security exposure firing to everybody in storm").count(),
        30
    );
    assert_eq!(told[30], "security storm firing to everybody");
    // A few more are no storm of their own.
    let told = said(&world.sweep(&open(&hosts[..32])));
    assert_eq!(told, ["security exposure firing to everybody"; 2]);
    // Those of the storm end silently for people, the others by a word of their own; at last the storm does.
    let told = said(&world.sweep(&open(&hosts[..10])));
    assert_eq!(told.iter().filter(|word| word.ends_with("in storm")).count(), 20);
    assert_eq!(told.iter().filter(|word| *word == "security exposure resolved to everybody").count(), 2);
    let told = said(&world.sweep(&open(&[])));
    assert_eq!(told.len(), 11);
    assert_eq!(told[10], "security storm resolved to everybody");
    assert_eq!(said(&world.sweep(&open(&[]))), [""; 0]);
}

#[test]
fn a_storm_that_grows_by_another_is_told_again() {
    let mut world = World::new();
    let hosts: Vec<Target> = (1..=90).map(|n| target(&format!("198.18.0.{n}"), 6379)).collect();
    world.sweep(&open(&hosts[..30]));
    let words = world.sweep(&open(&hosts[..80]));
    let storms: Vec<&Word> =
        words.iter().filter(|word| word.notice.alert.finding.kind == FindingKind::Storm).collect();
    assert_eq!(storms.len(), 1);
    assert_eq!((storms[0].notice.transition, storms[0].notice.alert.members), (Transition::Escalated, 80));
    assert!(storms[0].notice.alert.finding.message.starts_with("80 security alerts at once"));
}

#[test]
fn reminders_come_until_somebody_has_taken_it_on() {
    let mut world = World::new();
    world.rules.remind_every = Some(std::time::Duration::from_secs(120));
    let redis = target("198.18.0.9", 6379);
    let told: Vec<Vec<String>> = (0..5).map(|_| said(&world.sweep(&open(&[redis])))).collect();
    let reminder = vec!["security exposure reminder to people".to_owned()];
    assert_eq!(told[1..], [vec![], reminder.clone(), vec![], reminder.clone()]);
    let fingerprint = world.book.records().next().expect("an alert").alert.finding.fingerprint.clone();
    let by = portreeve::alert::life::Acknowledgement { who: "me".to_owned(), note: None, at: world.now };
    let happened = tell::acknowledge(&mut world.book, &fingerprint, by).expect("it fires");
    assert_eq!(happened, [(fingerprint, Transition::Acknowledged)]);
    assert!((0..5).all(|_| said(&world.sweep(&open(&[redis]))).is_empty()));
    // Who gives it back is not the one to be reminded first.
    let rules = world.rules.clone();
    let give_back = |world: &mut World| {
        let fingerprint = world.book.records().next().expect("an alert").alert.finding.fingerprint.clone();
        tell::give_back(&mut world.book, &fingerprint, &rules, world.now)
    };
    let happened = give_back(&mut world).expect("it was taken on");
    assert_eq!(happened[0].1, Transition::Unacknowledged);
    assert_eq!(give_back(&mut world), None, "nobody has it");
    let told: Vec<Vec<String>> = (0..4).map(|_| said(&world.sweep(&open(&[redis])))).collect();
    assert_eq!(told, [vec![], reminder.clone(), vec![], reminder]);
    // The next time is another.
    world.sweep(&open(&[]));
    world.sweep(&open(&[redis]));
    let record = world.book.records().next().expect("an alert");
    assert_eq!(record.alert.acknowledged, None);
}

#[test]
fn a_sweep_that_did_not_see_everything_is_an_alert_of_its_own() {
    let mut world = World::new();
    let told = |words: Vec<Word>| words.iter().filter(|word| is_sight(word)).map(say).collect::<Vec<_>>();
    assert_eq!(told(world.sweep(&blind())), ["own sweep-missed firing to everybody"]);
    assert_eq!(told(world.sweep(&blind())), [""; 0]);
    assert_eq!(told(world.sweep(&open(&[]))), ["own sweep-missed resolved to everybody"]);
}

proptest! {
    /// Whatever sweeps see: people are told of each firing once and of its end once, in turns; what fires is open.
    #[test]
    fn people_hear_beginnings_and_ends_in_turns(
        sweeps in prop::collection::vec((0_u8..16, any::<bool>(), any::<bool>()), 1..60),
    ) {
        let mut world = World::new();
        world.rules.storm_above = 2;
        let hosts: Vec<Target> = (1..=4).map(|n| target(&format!("198.18.0.{n}"), 6379)).collect();
        let mut fires: HashMap<Target, bool> = HashMap::new();
        let mut told: HashMap<String, bool> = HashMap::new();
        for (bits, incomplete, muted) in sweeps {
            world.muted = muted;
            let open: Vec<Target> =
                (0..4).filter(|n| bits >> n & 1 == 1).map(|n| hosts[n]).collect();
            let words = world.sweep(&Sight { open: open.clone(), incomplete, ..Sight::default() });
            for word in &words {
                let transition = word.notice.transition;
                let finding = &word.notice.alert.finding;
                let begins = transition == Transition::Firing;
                if word.audience != Audience::Events && (begins || transition == Transition::Resolved) {
                    let key = finding.fingerprint.to_string();
                    prop_assert_ne!(told.insert(key, begins).unwrap_or(false), begins);
                }
                let fired = portreeve::alert::judge::target_of(finding);
                if let Some(target) = fired.filter(|_| word.audience != Audience::People) {
                    prop_assert_ne!(fires.insert(target, begins).unwrap_or(false), begins);
                }
            }
            for host in &hosts {
                let is_firing = fires.get(host).copied().unwrap_or(false);
                prop_assert!(is_firing || !open.contains(host));
                prop_assert!(!is_firing || incomplete || open.contains(host));
            }
        }
    }
}

#[test]
fn states_that_say_nothing_are_no_judgement() {
    let world = World::new().expecting("198.18.0.20", 1, 1);
    let database = target("198.18.0.20", 5432);
    for (state, judged) in [
        (State::Open, Some(true)),
        (State::Closed, Some(false)),
        (State::Filtered, Some(false)),
        (State::Unreachable, Some(false)),
        (State::Conflict, None),
        (State::Unknown, None),
    ] {
        let seen = Observation { state, ..observe(database, Reason::Rst) };
        let checks = check(&world.expect, &[seen], &Grades::default(), world.now);
        assert_eq!(checks.first().map(|check| check.is_up), judged, "{state:?}");
    }
}
