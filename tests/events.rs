//! The events, byte for byte: what readers rely on changes only when a golden line here changes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use portreeve::alert::life::{Annotation, Phase, Resolution};
use portreeve::alert::notice::{Notice, Transition};
use portreeve::alert::silence::Matcher;
use portreeve::policy::allowlist::{Allowance, Allowlist, Approval, DEFAULT_WARN_BEFORE};
use portreeve::policy::evaluate::evaluate;
use portreeve::policy::finding::{Finding, Folded};
use portreeve::policy::kind::{FindingKind, Rule};
use portreeve::sink::control::{Asked, Completed, Paused, Started, Stopped, Tile};
use portreeve::sink::event::{Announcement, JSON_SCHEMA, LeftOut, Run, ScopeText, SourceText};
use portreeve::sink::listing::{
    DeadLetter, Listing, Revived, SilenceState, SinkState, StoreChecked, StoreCopied, SweepKept,
};
use portreeve::sink::message::AlertEvent;
use portreeve::sink::text::{self, Summary};
use portreeve::sweep::banner::{Banner, Protocol};
use portreeve::sweep::ledger::Ledger;
use portreeve::sweep::report::{
    CanaryCount, Observation, OutageReport, Packets, PathReport, Report, UnknownReason, Vantage, Verdict,
};
use portreeve::sweep::untrusted::Untrusted;
use portreeve::sweep::verified::{
    AnswersAll, Conduct, Confirmation, Ending, LookReport, Verification, Verifications,
};
use portreeve::target::names::Names;
use portreeve::target::ports::Severity;
use portreeve::target::scope::{Scope, Shard};
use portreeve::target::state::{Reason, State};
use portreeve::target::{Target, Transport};
use portreeve::watch::cycle;
use portreeve::watch::housekeeping::{Note, Skip};
use serde::Serialize;
use serde_json::{Value, json};
use ulid::Ulid;

mod schema;

#[path = "receivers/notices.rs"]
mod notices;

use notices::notice;

/// Every golden file: its name, and what is in it.
const GOLDEN: [(&str, &str); 7] = [
    ("started", include_str!("data/events/started.jsonl")),
    ("port", include_str!("data/events/port.jsonl")),
    ("finding", include_str!("data/events/finding.jsonl")),
    ("completed", include_str!("data/events/completed.jsonl")),
    ("alert", include_str!("data/events/alert.jsonl")),
    ("listing", include_str!("data/events/listing.jsonl")),
    ("control", include_str!("data/events/control.jsonl")),
];

/// Those of a sweep, which are the first.
const OF_A_SWEEP: usize = 4;

/// What only the daemon says.
const WATCH: &str = include_str!("data/events/watch.jsonl");

/// A time with nanoseconds, of which events show no more than milliseconds.
fn time() -> Timestamp {
    "2026-02-01T12:34:56.789012345Z".parse().expect("a time")
}

fn sweep() -> Ulid {
    Ulid::from_string("01M823PJEFR00PD5FPWD9740KP").expect("an identifier")
}

fn ad_hoc() -> Run {
    let range = |ip: &str| ip.parse().expect(ip);
    // The second is nothing that a terminal should be shown as it is; in JSON it is a text like any other.
    let named = [(range("198.18.3.5"), "db.example.net"), (range("198.18.3.5"), "a \"b\"\x1b[2J")];
    Run::new(sweep(), Some("TICKET-1")).with_names(Names::new(named))
}

fn declared() -> Run {
    Run::new(sweep(), None)
}

fn target(ip: &str, port: u16) -> Target {
    Target { ip: ip.parse().expect(ip), port, transport: Transport::Tcp }
}

fn packet() -> Vantage {
    Vantage {
        host: "scan".into(),
        engine: "packet".into(),
        engine_reason: "the fastest that this host can run".into(),
        interface: Some("eth0".into()),
        source: Some([10, 0, 0, 2].into()),
        next_hop: Some([10, 0, 0, 1].into()),
    }
}

fn connect() -> Vantage {
    Vantage {
        host: "scan".into(),
        engine: "connect".into(),
        engine_reason: "asked for".into(),
        interface: None,
        source: None,
        next_hop: None,
    }
}

/// An announcement that says everything, and one that says as little as it may.
fn announcements() -> [Announcement; 2] {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    let full = Announcement {
        scope: ScopeText {
            networks: texts(&["198.18.0.0/16", "2001:db8:1::/120", "db.example.net"]),
            sources: vec![SourceText { file: "fleet.json".into(), targets: 12, skipped: 3 }],
            unresolved: texts(&["old.example.net"]),
            exclude: texts(&["198.18.4.0/24"]),
            left_out: vec![LeftOut { ip: [198, 18, 0, 1].into(), why: "this host's own gateway" }],
            ports: texts(&["22", "8000-8100"]),
            canaries: texts(&["198.18.0.10:22", "[2001:db8:1::1]:22"]),
            canary_ports: vec![50_001, 60_002, 61_003],
            declared: 123,
        },
        engine: "packet".into(),
        vantage: packet(),
        shard: Some(Shard { number: 2, of: 3 }),
        tries: 3,
        governed: true,
        rate_max_pps: Some(10_000),
        host_rate_max_pps: Some(200),
        network_rate_max_pps: Some(5000),
        seed: u64::MAX.to_string(),
        version: "0.1.0",
        owner: Some("netops@example.com".into()),
    };
    let least = Announcement {
        scope: ScopeText {
            networks: texts(&["127.0.0.1"]),
            sources: Vec::new(),
            unresolved: Vec::new(),
            exclude: Vec::new(),
            left_out: Vec::new(),
            ports: texts(&["22"]),
            canaries: Vec::new(),
            canary_ports: Vec::new(),
            declared: 1,
        },
        engine: "connect".into(),
        vantage: connect(),
        shard: None,
        tries: 1,
        governed: false,
        rate_max_pps: None,
        host_rate_max_pps: None,
        network_rate_max_pps: None,
        seed: "0".into(),
        version: "0.1.0",
        owner: None,
    };
    [full, least]
}

/// One for each state, and among them known and unknown services, both families, and every kind of gap.
fn observations() -> Vec<(Observation, bool)> {
    let seen = |ip, port, state, reason, tries, rtt_us, ttl| Observation {
        target: target(ip, port),
        state,
        reason,
        unknown: reason.is_none().then_some(UnknownReason::CanariesSilent),
        tries,
        rtt_us,
        ttl,
        corrects: false,
    };
    vec![
        (seen("198.18.3.4", 6379, State::Open, Some(Reason::SynAck), 1, Some(812), Some(63)), true),
        (seen("198.18.3.4", 7, State::Open, Some(Reason::SynAck), 2, None, Some(255)), false),
        (seen("2001:db8:1::4", 22, State::Closed, Some(Reason::Rst), 1, Some(0), None), true),
        (seen("198.18.3.5", 22, State::Filtered, Some(Reason::NoResponse), 3, None, None), false),
        (
            seen(
                "198.18.3.6",
                22,
                State::Filtered,
                Some(Reason::IcmpAdminProhibited),
                1,
                Some(900),
                Some(64),
            ),
            false,
        ),
        (seen("198.18.3.7", 22, State::Unreachable, Some(Reason::NoNeighbour), 0, None, None), false),
        (seen("198.18.3.8", 22, State::Conflict, Some(Reason::Contradiction), 2, Some(5), Some(1)), false),
        (seen("198.18.3.9", 22, State::Unknown, None, 3, None, None), true),
    ]
}

fn banner() -> Banner {
    Banner { protocol: Protocol::Ssh, text: Untrusted::new(b"SSH-2.0-x\x1b[2J\r\n") }
}

/// What a second look may come to.
fn confirmation(verification: Verification) -> Confirmation {
    match verification {
        Verification::Verified => {
            Confirmation { verification, conduct: Some(Conduct::Spoke), banner: Some(banner()) }
        }
        _ => Confirmation { verification, ..Confirmation::default() },
    }
}

fn findings() -> Vec<Finding> {
    let allowance = |expires: Option<&str>, line| Allowance {
        hosts: vec!["198.18.0.10".parse().expect("a host"), "198.18.1.0/24".parse().expect("a network")],
        ports: "22,8000-8100".parse().expect("ports"),
        reason: "bastion".into(),
        owner: "netops".into(),
        approval: Approval::default(),
        expires: expires.map(|text| text.parse().expect(text)),
        warn_before: DEFAULT_WARN_BEFORE,
        line,
    };
    let expired = allowance(Some("2026-01-31"), Some(7));
    let names = vec!["db.example.net".to_owned(), "orders".to_owned()];
    let exposure = |ip, port, expired, verification| {
        Finding::exposure(&target(ip, port), State::Open, expired, confirmation(verification), time())
    };
    let device = AnswersAll {
        canary_ports: vec![50_001, 60_002, 61_003],
        conduct: [Conduct::Quiet].into(),
        ..AnswersAll::default()
    };
    vec![
        Finding { names, ..exposure("198.18.3.4", 6379, None, Verification::Skipped) },
        exposure("2001:db8:1::4", 7, None, Verification::Refused),
        exposure("198.18.0.10", 22, Some(&expired), Verification::Verified),
        Finding::answers_all(
            [198, 18, 3, 4].into(),
            Folded { ports: 1000, listened_to: 640 },
            &device,
            time(),
        ),
        Finding::idle_allowance(&expired, time()),
        Finding::idle_allowance(&allowance(None, None), time()),
    ]
}

/// A second look that somebody interrupted.
fn stopped() -> LookReport {
    LookReport { targets: 40, skipped: 12, ended: Ending::Stopped, duration_ms: 4321 }
}

/// One that was whole all the time, and one that was not.
fn paths() -> Vec<PathReport> {
    let ip = |text: &str| text.parse::<IpAddr>().expect(text);
    let outage = |reason, until_ms| OutageReport { reason, from_ms: 1200, until_ms };
    vec![
        PathReport {
            interface: "lan0".into(),
            source: ip("198.18.255.1"),
            next_hop: Some(ip("198.18.255.254")),
            heard: true,
            canaries: CanaryCount { asked: 120, lost: 1 },
            outages: Vec::new(),
        },
        PathReport {
            interface: "lan1".into(),
            source: ip("2001:db8::1"),
            next_hop: None,
            heard: false,
            canaries: CanaryCount::default(),
            outages: vec![
                outage(UnknownReason::LinkDown, Some(4300)),
                outage(UnknownReason::CanariesSilent, None),
            ],
        },
    ]
}

fn reports() -> [Report; 3] {
    let report = |verdict, ledger, unknown_reasons| Report {
        sweep: sweep(),
        shard: None,
        vantage: connect(),
        started: time(),
        completed: time(),
        duration_ms: 1234,
        verdict,
        ledger,
        unknown_reasons,
        packets: Packets { sent: 30, canaries: 4, received: 20, foreign: 3, dropped: 2, refused: 1 },
        paths: paths(),
    };
    let books = |counts: &[(State, u64)]| {
        let mut ledger = Ledger::new(counts.iter().map(|(_, count)| count).sum());
        counts.iter().for_each(|(state, count)| (0..*count).for_each(|_| ledger.enter(*state)));
        ledger
    };
    let known = [State::Open, State::Closed, State::Filtered, State::Unreachable, State::Conflict];
    let every_reason = BTreeMap::from([
        (UnknownReason::Interrupted, 4),
        (UnknownReason::ReceiverDropped, 3),
        (UnknownReason::SendRefused, 2),
        (UnknownReason::LinkFailed, 1),
        (UnknownReason::LinkDown, 1),
        (UnknownReason::SourceGone, 1),
        (UnknownReason::NextHopSilent, 1),
        (UnknownReason::NextHopMoved, 1),
        (UnknownReason::CanariesSilent, 1),
        (UnknownReason::CanariesChanged, 1),
        (UnknownReason::PathLossy, 1),
        (UnknownReason::NothingHeard, 1),
        (UnknownReason::TriesSpent, 1),
    ]);
    let complete = report(Verdict::Complete, books(&known.map(|state| (state, 2))), BTreeMap::new());
    let degraded = Report {
        shard: Some(Shard { number: 2, of: 3 }),
        vantage: packet(),
        ..report(Verdict::Degraded, books(&[(State::Open, 1), (State::Unknown, 19)]), every_reason)
    };
    let interrupted = BTreeMap::from([(UnknownReason::Interrupted, 2)]);
    let blind = report(Verdict::Blind, books(&[(State::Unknown, 2)]), interrupted);
    [complete, degraded, blind]
}

fn line(event: &impl Serialize) -> String {
    serde_json::to_string(event).expect("an event") + "\n"
}

/// A notice that says as little as it may, and one that says everything, in three shapes.
fn said() -> [Notice; 4] {
    let whole = json!({
        "transition": "acknowledged", "names": ["db.example.net"], "owner": "netops", "about": "soc",
        "expectation": "orders database", "conduct": "spoke", "verified": true, "verification": "verified",
        "allowance": {"reason": "bastion", "owner": "netops", "expires": "2026-01-31", "line": 7},
        "banner": {"protocol": "ssh", "text": "SSH-2.0-x"}, "flapping": true, "failures": 3, "members": 20,
        "answers_all": {"ports": 1000, "listened_to": 640, "canary_ports": [50_001]}, "annotation": "confirmed",
        "acknowledged": {"who": "kim", "note": "on it", "at": "2026-06-01T00:00:00.1234Z"},
        "muted": "silence 3 by kim: patching",
    });
    let bare = json!({
        "transition": "unacknowledged", "sweep": null, "ip": null, "port": null, "transport": null, "service": null,
        "verified": null, "verification": null, "fired_at": null, "kind": "sweep-missed", "rule": "schedule",
        "class": "own", "state": "pending", "severity": "info",
    });
    let over = json!({"transition": "resolved", "state": "resolved", "resolution": "out-of-scope"});
    [notice(json!({})), notice(whole), notice(bare), notice(over)]
}

/// An alert event of each notice, and one of an alert that nothing has happened to.
fn alerts() -> String {
    let notices = said();
    let said: String = notices.iter().map(|notice| line(&AlertEvent::from(notice))).collect();
    said + &line(&AlertEvent::standing(&notices[1].alert, time()))
}

/// What commands answer that only look, with everything and with as little as may be.
fn listings() -> String {
    let state = |oldest_pending, last_error| SinkState {
        sink: "soc",
        raised: 9,
        delivered: 6,
        pending: 2,
        dead: 1,
        oldest_pending,
        next_attempt: oldest_pending,
        last_error,
    };
    let whole: Matcher = serde_json::from_value(json!({
        "fingerprint": "c7f9d4be7f56ab39151510a68a616d91", "hosts": ["198.18.0.0/24"], "ports": "22,6379",
        "kinds": ["exposure", "drill"], "classes": ["security"], "owners": ["netops"], "severity": "high",
    }))
    .expect("a matcher");
    let silence = |matcher, ended_by| SilenceState {
        id: 3,
        matcher,
        from: time(),
        until: time(),
        reason: "patching",
        who: "kim",
        holds: false,
        ended_by,
        firing: 2,
    };
    let [complete, degraded, _] = reports();
    let sweep = |report: &Report| {
        let kept = SweepKept {
            sweep: report.sweep,
            watch: "risky",
            started: time(),
            duration_ms: report.duration_ms,
            verdict: report.verdict,
            engine: &report.vantage.engine,
            findings: 2,
            ledger: &report.ledger,
            unknown_reasons: &report.unknown_reasons,
            packets: &report.packets,
        };
        line(&Listing::new("sweep.kept", time(), kept))
    };
    let (file, problems) = ("portreeve.db", ["page 3 is never used".to_owned()]);
    let checked = StoreChecked { file, schema_version: 1, sound: false, problems: &problems };
    let letter =
        DeadLetter { sink: "soc", message: self::sweep(), attempts: 9, why: "HTTP 410", can_return: true };
    [
        line(&Listing::new("sink.books", time(), state(Some(time()), Some("HTTP 500")))),
        line(&Listing::new("sink.books", time(), state(None, None))),
        line(&Listing::new("letter.dead", time(), letter)),
        line(&Listing::new("letters.revived", time(), Revived { sink: "soc", letters: 1 })),
        line(&Listing::new("silence", time(), silence(&whole, Some("lee")))),
        line(&Listing::new("silence", time(), silence(&Matcher::default(), None))),
        sweep(&complete),
        sweep(&degraded),
        line(&Listing::new("store.checked", time(), checked)),
        line(&Listing::new("store.copied", time(), StoreCopied { file, copy: "copy.db", bytes: 4096 })),
    ]
    .concat()
}

/// What a control run says.
fn control() -> String {
    let (run, control) = (sweep(), "NET-01");
    let [complete, ..] = reports();
    let ledger = &complete.ledger;
    let asked = Asked { name: "coverage-complete", met: true, statement: "123 of 123 targets have a state" };
    let completed = Completed {
        run,
        control,
        title: "No forbidden port is reachable",
        frameworks: &["PCI DSS 4.0.1 1.2.5".to_owned()],
        verdict: "fail",
        assessments: vec![asked],
        ledger,
        findings: 2,
        manifest: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned(),
        out: "evidence".to_owned(),
        unwatched_ports: vec![8080, 9000],
    };
    let started = Started { run, control, resumed: true, declared: 123, tiles: 4, done: 1 };
    let tile = Tile { run, tile: 2, tiles: 4, attempts: 1, ledger };
    [
        line(&Listing::new("control.started", time(), started)),
        line(&Listing::new("control.tile", time(), tile)),
        line(&Listing::new("control.paused", time(), Paused { run, until: time() })),
        line(&Listing::new("control.stopped", time(), Stopped { run, why: "a signal" })),
        line(&Listing::new("control.completed", time(), completed)),
    ]
    .concat()
}

/// What the library says now, in the place of each golden file.
fn built() -> [String; 7] {
    let announcements = announcements();
    let [full, least] = &announcements;
    let started = line(&ad_hoc().started(time(), full)) + &line(&declared().started(time(), least));
    let seen = observations();
    let port: String =
        seen.iter().map(|(seen, verified)| line(&ad_hoc().port(time(), seen, *verified))).collect();
    let again = line(&ad_hoc().verified_port(time(), &seen[1].0, Some(&banner())));
    let port = port + &again;
    let finding = findings().iter().map(|finding| line(&declared().finding(time(), finding))).collect();
    let [complete, degraded, blind] = reports();
    let off = LookReport { ended: Ending::Off, ..LookReport::default() };
    let looks = [(&complete, LookReport::default()), (&degraded, stopped()), (&blind, off)];
    let completed =
        looks.iter().map(|(report, look)| line(&ad_hoc().completed(time(), report, look, 5))).collect();
    [started, port, finding, completed, alerts(), listings(), control()]
}

/// To accept a change on purpose: PORTREEVE_BLESS=1 cargo test --test events, then read the difference.
#[test]
fn events_are_as_they_were() {
    for ((name, golden), built) in GOLDEN.iter().zip(built()) {
        if std::env::var_os("PORTREEVE_BLESS").is_some() {
            let path = format!("{}/tests/data/events/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
            std::fs::write(path, built).expect("the golden file");
        } else {
            assert_eq!(built, *golden, "{name}.jsonl");
        }
    }
}

/// What people read in place of these events.
#[test]
fn the_text_says_what_is_not_known_and_why() {
    let [announced, _] = announcements();
    let [_, degraded, _] = reports();
    let (names, allowlist) = (Names::default(), Allowlist::default());
    let scope = Scope::new(&["198.18.3.4".parse().expect("a host")], &[], "22".parse().expect("a port"));
    let scope = scope.expect("a scope");
    let findings = evaluate(&[], &allowlist, Verifications::default(), &scope, false, time());
    let summary = Summary {
        announced: &announced,
        report: &degraded,
        second_look: &stopped(),
        findings: &findings,
        listed: &[],
        names: &names,
    };
    let mut text = Vec::new();
    text::write(&mut text, &summary).expect("memory");
    let text = String::from_utf8(text).expect("text");
    insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
}

fn events_in<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<Value> {
    texts.flat_map(str::lines).map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn all_events() -> Vec<Value> {
    events_in(GOLDEN.iter().map(|(_, text)| *text).chain([WATCH]))
}

#[test]
fn every_event_has_its_head() {
    let events = events_in(GOLDEN[..OF_A_SWEEP].iter().map(|(_, text)| *text));
    assert_eq!(events.len(), 2 + 9 + 6 + 3);
    for event in events {
        let text = |field: &str| event[field].as_str().unwrap_or_else(|| panic!("no {field}: {event}"));
        assert_eq!(text("schema"), "portreeve/1");
        assert!(["sweep.started", "port", "finding", "sweep.completed"].contains(&text("event")));
        assert_eq!(text("sweep"), sweep().to_string());
        let times = ["time", "first_seen", "last_seen"];
        for field in times.into_iter().filter(|field| *field == "time" || event.get(field).is_some()) {
            assert_eq!(text(field), "2026-02-01T12:34:56.789Z", "UTC, with exactly three decimals");
        }
    }
}

#[test]
fn the_schema_describes_every_event() {
    let schema = schema::Schema::parse(JSON_SCHEMA);
    for event in all_events() {
        schema.check(&event).unwrap_or_else(|mistake| panic!("{mistake}: {event}"));
    }
}

#[test]
fn the_schema_refuses_what_is_no_event() {
    let schema = schema::Schema::parse(JSON_SCHEMA);
    for event in all_events() {
        let refused = |what: &str, change: &dyn Fn(&mut Value)| {
            let mut changed = event.clone();
            change(&mut changed);
            assert!(schema.check(&changed).is_err(), "{what}: {changed}");
        };
        refused("an unknown field", &|event| event["surprise"] = 1.into());
        refused("an unknown kind", &|event| event["event"] = "sweep.paused".into());
        refused("another schema", &|event| event["schema"] = "portreeve/2".into());
        refused("a time without its decimals", &|event| event["time"] = "2026-02-01T12:34:56Z".into());
        for needed in
            ["schema", "event", "time", "sweep", "fingerprint", "episode", "host", "sink", "until", "file"]
        {
            let is_optional = needed == "sweep" && event["event"] == "alert";
            let is_within = event.get("matcher").is_some() && needed == "fingerprint";
            if event.get(needed).is_some() && !is_optional && !is_within {
                refused(needed, &|event| {
                    event.as_object_mut().expect("an object").remove(needed);
                });
            }
        }
        for nested in [
            "scope",
            "vantage",
            "ledger",
            "packets",
            "shard",
            "allowance",
            "banner",
            "answers_all",
            "second_look",
            "acknowledged",
            "matcher",
        ] {
            if event.get(nested).is_some_and(Value::is_object) {
                refused("an unknown field inside", &|event| event[nested]["surprise"] = 1.into());
            }
        }
    }
}

#[test]
fn the_schema_knows_every_word_of_an_alert() {
    let schema = schema::Schema::parse(JSON_SCHEMA);
    let check = |with: Value| {
        let notice = notice(with.clone());
        let event = serde_json::to_value(AlertEvent::from(&notice)).expect("an event");
        schema.check(&event).unwrap_or_else(|mistake| panic!("{with}: {mistake}"));
    };
    for kind in FindingKind::ALL {
        check(json!({"kind": kind}));
    }
    for rule in Rule::ALL {
        check(json!({"rule": rule}));
    }
    for severity in Severity::ALL {
        check(json!({"severity": severity}));
    }
    for transition in [
        Transition::Firing,
        Transition::Escalated,
        Transition::Annotated,
        Transition::Reminder,
        Transition::Acknowledged,
        Transition::Unacknowledged,
        Transition::FlappingStarted,
        Transition::FlappingEnded,
        Transition::Resolved,
    ] {
        check(json!({"transition": transition}));
        assert_eq!(json!(transition), transition.as_str());
    }
    for resolution in [Resolution::Seen, Resolution::Allowed, Resolution::OutOfScope] {
        check(json!({"state": Phase::Resolved, "resolution": resolution}));
    }
    for annotation in [Annotation::Confirmed, Annotation::Transient, Annotation::AnswersAll] {
        check(json!({"annotation": annotation}));
    }
}

#[test]
fn the_schema_knows_what_the_daemon_says_of_itself() {
    let schema = schema::Schema::parse(JSON_SCHEMA);
    for what in ["watch.started", "watch.stopped", "config.loaded"] {
        let said = cycle::event(what, time(), &Note::new(what, time()), None);
        schema.check(&said.body).unwrap_or_else(|mistake| panic!("{mistake}: {}", said.body));
    }
    let skip = Skip::new("risky", 2, "the sweep was still busy", time());
    let said = cycle::event("sweep.skipped", time(), &skip, None);
    schema.check(&said.body).unwrap_or_else(|mistake| panic!("{mistake}: {}", said.body));
    let (run, look) = (declared(), stopped());
    for report in reports() {
        let completed = run.completed(time(), &report, &look, 2);
        let said = cycle::event("sweep.completed", time(), &completed, Some("risky"));
        schema.check(&said.body).unwrap_or_else(|mistake| panic!("{mistake}: {}", said.body));
    }
}
