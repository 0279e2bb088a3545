//! The formats for those who gather events: every event as each of them tells it, byte for byte, and whatever others
//! wrote kept in its place. Independent judges of their grammars are in scripts/conformance.sh.

use std::collections::BTreeSet;

use jiff::Timestamp;
use portreeve::policy::allowlist::{Allowance, Allowlist, Approval, DEFAULT_WARN_BEFORE};
use portreeve::policy::evaluate::evaluate;
use portreeve::policy::findings::Findings;
use portreeve::sink::format::ocsf::control::{self, Assessment, ControlResult, ControlVerdict};
use portreeve::sink::format::{LineFormat, Origin, defectdojo, prometheus};
use portreeve::sweep::banner::{Banner, Protocol};
use portreeve::sweep::ledger::Ledger;
use portreeve::sweep::report::{Observation, Packets, Report, UnknownReason, Vantage, Verdict};
use portreeve::sweep::untrusted::Untrusted;
use portreeve::sweep::verified::{Confirmation, Verification, Verifications};
use portreeve::target::foreign::is_unfit;
use portreeve::target::names::Names;
use portreeve::target::scope::Scope;
use portreeve::target::state::{Reason, State};
use portreeve::target::{Target, Transport};
use proptest::prelude::*;
use serde_json::{Value, json};
use ulid::Ulid;

/// Every event of the contract, from the golden files of tests/events.rs, and those of the daemon that have none there.
fn events() -> Vec<Value> {
    let golden = [
        include_str!("data/events/started.jsonl"),
        include_str!("data/events/port.jsonl"),
        include_str!("data/events/finding.jsonl"),
        include_str!("data/events/completed.jsonl"),
        include_str!("data/events/alert.jsonl"),
        include_str!("data/events/watch.jsonl"),
        include_str!("data/events/control.jsonl"),
        include_str!("data/formats/more.jsonl"),
    ];
    golden.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn origin() -> Origin {
    Origin { host: "sentry".to_owned(), process: 4711, source: Some([192, 0, 2, 2].into()) }
}

fn line(format: LineFormat, event: &Value) -> String {
    let line = format.line(event, &origin()).unwrap_or_else(|why| panic!("{why}: {event}"));
    String::from_utf8(line.unwrap_or_else(|| panic!("no form: {event}"))).expect("text")
}

fn translated(format: LineFormat, event: &Value) -> Value {
    serde_json::from_str(&line(format, event)).expect("JSON")
}

/// The formats that are not the events themselves.
fn formats() -> impl Iterator<Item = (&'static str, LineFormat)> {
    LineFormat::ALL.into_iter().filter(|(_, format)| *format != LineFormat::Jsonl)
}

fn event(kind: &str, with: Value) -> Value {
    let found = events().into_iter().find(|event| event["event"] == kind);
    let mut event = found.unwrap_or_else(|| panic!("no {kind}"));
    if let (Some(event), Value::Object(with)) = (event.as_object_mut(), with) {
        event.extend(with);
        event.retain(|_, value| !value.is_null());
    }
    event
}

/// To accept a change on purpose: PORTREEVE_BLESS=1 cargo test --test formats, then read the difference.
fn hold(name: &str, built: &str) {
    let path = format!("{}/tests/data/formats/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("PORTREEVE_BLESS").is_some() {
        std::fs::write(path, built).expect("the golden file");
    } else {
        assert_eq!(built, std::fs::read_to_string(&path).expect("the golden file"), "{name}");
    }
}

#[test]
fn every_event_is_told_as_it_was() {
    for (word, format) in formats() {
        let lines: Vec<String> = events().iter().map(|event| line(format, event) + "\n").collect();
        hold(&format!("{word}.txt"), &lines.concat());
    }
}

#[test]
fn every_kind_of_event_is_among_them() {
    let kinds: BTreeSet<String> =
        events().iter().map(|event| event["event"].as_str().expect("a kind").to_owned()).collect();
    let wanted = [
        "alert",
        "config.loaded",
        "control.completed",
        "control.paused",
        "control.started",
        "control.stopped",
        "control.tile",
        "finding",
        "heartbeat",
        "port",
        "sweep.completed",
        "sweep.skipped",
        "sweep.started",
        "watch.started",
        "watch.stopped",
    ];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
    let transitions: BTreeSet<&str> = [
        "firing",
        "escalated",
        "annotated",
        "reminder",
        "acknowledged",
        "unacknowledged",
        "flapping-started",
        "flapping-ended",
        "resolved",
    ]
    .into();
    let events = events();
    let told: BTreeSet<&str> = events.iter().filter_map(|event| event["transition"].as_str()).collect();
    assert_eq!(told, transitions);
}

#[test]
fn what_commands_answer_has_no_form_on_purpose() {
    for text in include_str!("data/events/listing.jsonl").lines() {
        let event: Value = serde_json::from_str(text).expect("JSON");
        for (word, format) in formats() {
            assert_eq!(format.line(&event, &origin()), Ok(None), "{word}: {text}");
        }
    }
}

// --- what others wrote -----------------------------------------------------------------------------------------

fn hostile() -> Vec<String> {
    let long = "x".repeat(10_000);
    let texts = [
        "a \"quoted\" 'name' \\ \\\\\"",
        "a|b|c|d|e|f|g|h|",
        "a=b c=d dst=192.0.2.99 =",
        "line\nCEF:0|a|b|1|x|y|10|\r\n<106>1 - - - - - - -",
        "\0\x07\x1b[2J\x1b]0;title\x07\x7f\u{9b}31m",
        "=HYPERLINK(\"http://x\",\"y\")",
        "\u{202e}gpj.exe\u{2066}\u{200b}\u{feff}",
        "{\"event\":\"finding\",\"severity\":\"info\"}",
        "]] ] \"] <script>alert(1)</script> `code` ![x](http://x)",
        "\u{1f600}\u{e0041}\u{fc}",
        "",
        " ",
    ];
    texts.map(str::to_owned).into_iter().chain([long, "\u{1f600}=\\".repeat(3_000)]).collect()
}

/// An event in which everything that others may write is this text.
fn spoilt(event: &Value, text: &str) -> Value {
    let mut event = event.clone();
    let Some(fields) = event.as_object_mut() else { return event };
    for (name, value) in fields.iter_mut() {
        match (name.as_str(), &mut *value) {
            ("names", value) => *value = json!([text, text]),
            ("banner" | "allowance" | "acknowledged" | "vantage", Value::Object(inner)) => {
                let foreign = ["text", "reason", "owner", "who", "note", "host"];
                let inner = inner.iter_mut().filter(|(name, _)| foreign.contains(&name.as_str()));
                inner.for_each(|(_, value)| *value = text.into());
            }
            (
                "message" | "owner" | "expectation" | "about" | "authorization" | "muted" | "watch" | "why"
                | "sweep_name" | "control" | "title",
                value,
            ) => *value = text.into(),
            _ => {}
        }
    }
    event
}

fn texts_in<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts_in(item, found)),
        Value::Object(fields) => fields.values().for_each(|value| texts_in(value, found)),
        _ => {}
    }
}

#[test]
fn nothing_that_others_wrote_leaves_its_place_in_json() {
    for (word, format) in formats().filter(|(_, format)| *format != LineFormat::Cef) {
        for (event, text) in
            events().iter().flat_map(|event| hostile().into_iter().map(move |text| (event, text)))
        {
            let (plain, spoilt) = (translated(format, event), spoilt(event, &text));
            let told = line(format, &spoilt);
            assert!(!told.contains(is_unfit), "{word}: {told}");
            let told: Value = serde_json::from_str(&told).expect("JSON");
            // The same fields with the same meaning, whatever stands in them.
            assert_eq!(shape(&told), shape(&plain), "{word}: {text:?}");
            let mut texts = Vec::new();
            texts_in(&told, &mut texts);
            let cut: String = text.chars().take(1023).collect();
            let has_any = spoilt != *event;
            assert!(!has_any || texts.contains(&cut.as_str()), "{word}: {text:?}: {told}");
            assert!(texts.iter().all(|text| text.chars().count() < 1200), "{word}: {text:?}");
        }
    }
}

/// The places of a value, without what stands in them.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        Value::Array(items) => items.first().map(shape).into_iter().collect(),
        _ => Value::Null,
    }
}

/// CEF taken apart by its grammar, and by nothing more lenient: the header's fields, and the pairs.
fn taken_apart(text: &str) -> (Vec<String>, Vec<(String, String)>) {
    let mut fields = vec![String::new()];
    let mut letters = text.chars();
    while fields.len() < 8 {
        let field = fields.last_mut().expect("a field");
        match letters.next().expect("more of the header") {
            '\\' => field.push(letters.next().expect("an escaped character")),
            '|' => fields.push(String::new()),
            letter => field.push(letter),
        }
    }
    fields.pop();
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut word = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '=' => {
                let value = pairs.last_mut().map(|(_, value)| value);
                let begins = word.rfind(' ').map_or(0, |at| at + 1);
                let key = word.split_off(begins);
                if let Some(value) = value {
                    value.push_str(word.strip_suffix(' ').expect("a blank before a key"));
                }
                pairs.push((key, String::new()));
                word.clear();
            }
            '\\' => word.push(match letters.next().expect("an escaped character") {
                'n' => '\n',
                'r' => '\r',
                letter if "\\=".contains(letter) => letter,
                other => panic!("\\{other}"),
            }),
            letter => word.push(letter),
        }
    }
    pairs.last_mut().expect("a pair").1.push_str(&word);
    (fields, pairs)
}

#[test]
fn nothing_that_others_wrote_leaves_its_place_in_cef() {
    for (event, text) in
        events().iter().flat_map(|event| hostile().into_iter().map(move |text| (event, text)))
    {
        let payload = |event: &Value| {
            let payload = LineFormat::Cef.payload(event, &origin()).expect("an event").expect("a form");
            String::from_utf8(payload).expect("text")
        };
        let (plain, told) = (payload(event), payload(&spoilt(event, &text)));
        assert!(!told.contains(is_unfit), "{told}");
        assert!(told.len() < 6000, "{}", told.len());
        let ((header, before), (same, after)) = (taken_apart(&plain), taken_apart(&told));
        assert_eq!((header.len(), &header), (7, &same));
        let keys = |pairs: &[(String, String)]| pairs.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
        let is_known = |key: &String| key.chars().all(|letter| letter.is_ascii_alphanumeric());
        assert!(keys(&after).iter().all(is_known), "{after:?}");
        // An empty value is left out with its key.
        if !text.trim().is_empty() {
            assert_eq!(keys(&before), keys(&after), "{text:?}");
        }
        let line = line(LineFormat::Cef, &spoilt(event, &text));
        assert!(!line.contains(is_unfit) && line.ends_with(&told), "{line}");
    }
}

/// Values that may stand anywhere in what somebody else has stored, or in what a later version will store.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(-1)),
        Just(json!(u64::MAX)),
        Just(json!(1e300)),
        Just(json!([])),
        Just(json!([null, {"a": []}])),
        Just(json!({"sink": 3})),
        any::<bool>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z".prop_map(Value::from),
        "(-00)?9999-12-31T23:59:59Z".prop_map(Value::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_event_makes_a_format_panic(number: prop::sample::Index, field: prop::sample::Index, value in odd()) {
        let events = events();
        let mut event = number.get(&events).clone();
        let name = field.get(&event.as_object().expect("fields").keys().cloned().collect::<Vec<_>>()).clone();
        event[&name] = value;
        for (word, format) in formats() {
            if let Ok(Some(line)) = format.line(&event, &origin()) {
                let line = String::from_utf8(line).expect("text");
                prop_assert!(!line.contains(is_unfit), "{}: {}", word, line);
                prop_assert!(word == "cef" || serde_json::from_str::<Value>(&line).is_ok());
            }
        }
    }
}

// --- traps -----------------------------------------------------------------------------------------------------

#[test]
fn ecs_says_of_our_probe_how_it_went_and_not_what_it_found() {
    let exposed = translated(LineFormat::Ecs, &event("alert", json!({})));
    assert_eq!(exposed["event"]["outcome"], "success");
    assert_eq!(exposed["event"]["kind"], "alert");
    assert_eq!(exposed["labels"]["port_state"], "open");
    let silent = json!({"state": "filtered", "reason": "no-response", "verified": false});
    assert_eq!(translated(LineFormat::Ecs, &event("port", silent))["event"]["outcome"], "failure");
    let down = json!({"kind": "outage", "class": "health", "rule": "must-be-open"});
    let down = translated(LineFormat::Ecs, &event("alert", down));
    assert_eq!(
        (&down["event"]["outcome"], &down["event"]["category"]),
        (&json!("failure"), &json!(["network"]))
    );
    for arrays in ["/event/category", "/event/type", "/host/ip", "/observer/ip", "/related/ip", "/tags"] {
        assert!(exposed.pointer(arrays).is_some_and(Value::is_array), "{arrays}: {exposed}");
    }
}

#[test]
fn ocsf_creates_updates_and_closes_one_finding() {
    let of = |transition: &str, with: Value| {
        let mut with = with;
        with["transition"] = transition.into();
        translated(LineFormat::Ocsf, &event("alert", with))
    };
    let resolved = json!({"state": "resolved", "resolution": "seen"});
    for (transition, with, activity) in [
        ("firing", json!({}), 1),
        ("escalated", json!({}), 2),
        ("annotated", json!({}), 2),
        ("reminder", json!({}), 2),
        ("acknowledged", json!({}), 2),
        ("unacknowledged", json!({}), 2),
        ("flapping-started", json!({}), 2),
        ("flapping-ended", json!({}), 2),
        ("flapping-ended", resolved.clone(), 3),
        ("resolved", resolved, 3),
    ] {
        let told = of(transition, with);
        assert_eq!(
            (&told["class_uid"], &told["activity_id"]),
            (&json!(2004), &json!(activity)),
            "{transition}"
        );
        assert_eq!(told["type_uid"], 200_400 + activity);
        assert_eq!(told["finding_info"]["uid"], "c7f9d4be7f56ab39151510a68a616d91");
        // Later words on the status are the consumer's.
        assert_eq!(told.get("status_id").is_some(), activity == 1, "{transition}");
        assert_eq!(told["time"], 1_780_272_000_123_i64);
    }
    let health = of("firing", json!({"kind": "outage", "class": "health"}));
    assert_eq!(health["is_alert"], false);
    assert_eq!(health["finding_info"]["types"], json!(["Availability"]));
}

#[test]
fn what_nobody_saw_is_no_success() {
    let completed = |with| translated(LineFormat::Ocsf, &event("sweep.completed", with));
    let interrupted = json!({"verdict": "degraded", "unknown_reasons": {"interrupted": 3}});
    for (with, activity, status) in [
        (json!({"verdict": "complete", "unknown_reasons": {}}), 2, 1),
        (json!({"verdict": "degraded", "unknown_reasons": {"path-lossy": 3}}), 2, 99),
        (json!({"verdict": "blind", "unknown_reasons": {"nothing-heard": 3}}), 6, 2),
        (interrupted, 3, 2),
    ] {
        let told = completed(with.clone());
        assert_eq!((&told["activity_id"], &told["status_id"]), (&json!(activity), &json!(status)), "{with}");
    }
    // Nobody looks any longer, which is not to say that the port is closed.
    let gone = json!({"transition": "resolved", "state": "resolved", "resolution": "out-of-scope"});
    let told = translated(LineFormat::Ecs, &event("alert", gone));
    assert_eq!(told["labels"].get("port_state"), None, "{told}");
}

#[test]
fn splunk_hears_of_nothing_but_security_as_alerts() {
    for (kind, class, source_type, is_alert) in [
        ("exposure", "security", "portreeve:exposure", true),
        ("answers-all", "network", "portreeve:exposure", true),
        ("outage", "health", "portreeve:health", false),
        ("outage", "orders", "portreeve:health", false),
        ("delivery-failed", "own", "portreeve:own", false),
        ("vantage-blind", "own", "portreeve:own", false),
    ] {
        let told = translated(LineFormat::Hec, &event("alert", json!({"kind": kind, "class": class})));
        assert_eq!(told["sourcetype"], source_type, "{kind}");
        assert_eq!(told["event"]["type"] == "alert", is_alert, "{kind}");
        assert_eq!(told["event"].get("cve").is_some(), is_alert, "{kind}");
        assert_eq!(told["time"], 1_780_272_000.123);
    }
}

#[test]
fn cef_has_fields_of_their_own_for_ipv6() {
    let four = line(LineFormat::Cef, &event("port", json!({"ip": "198.18.0.1"})));
    assert!(four.contains(" src=192.0.2.2 dst=198.18.0.1 ") && !four.contains("c6a"), "{four}");
    let six = Origin { source: "2001:db8::1".parse().ok(), ..origin() };
    let told = LineFormat::Cef.line(&event("port", json!({"ip": "2001:db8::2"})), &six);
    let told = String::from_utf8(told.expect("an event").expect("a form")).expect("text");
    let wanted = " c6a2=2001:db8::1 c6a2Label=Source IPv6 Address c6a3=2001:db8::2 c6a3Label=Destination IPv6 Address ";
    assert!(told.contains(wanted) && !told.contains(" src=") && !told.contains(" dst="), "{told}");
}

#[test]
fn a_control_run_that_is_inconclusive_is_no_pass() {
    let mut lines = String::new();
    for (verdict, status_id, status) in [
        (ControlVerdict::Pass, 1, "Pass"),
        (ControlVerdict::Inconclusive, 2, "Warning"),
        (ControlVerdict::Fail, 3, "Fail"),
    ] {
        let told = control::encode(&ControlResult {
            run: "01JX0000000000000000000001",
            time: "2026-06-01T00:00:00.123Z".parse().expect("a time"),
            control: "NET-01",
            title: "Quarterly run over all ports",
            standards: &["PCI DSS 4.0.1"],
            requirements: &["1.2.5", "a \"b\"\n"],
            verdict,
            assessments: &[Assessment { name: "coverage", meets: false, desc: "12 of 13" }],
        });
        assert_eq!((&told["class_uid"], &told["type_uid"]), (&json!(2003), &json!(200_301)));
        assert_eq!(told["compliance"]["status_id"], status_id);
        assert_eq!(told["compliance"]["status"], status);
        assert_eq!(told["compliance"]["assessments"][0]["meets_criteria"], false);
        lines += &format!("{told}\n");
    }
    hold("control.jsonl", &lines);
}

// --- documents -------------------------------------------------------------------------------------------------

fn time() -> Timestamp {
    "2026-02-01T12:34:56.789Z".parse().expect("a time")
}

fn report(verdict: Verdict) -> Report {
    let unknown = if verdict == Verdict::Complete { 0 } else { 3 };
    let mut ledger = Ledger::new(10);
    ledger.enter_many(State::Open, 2);
    ledger.enter_many(State::Closed, 8 - unknown);
    ledger.enter_many(State::Unknown, unknown);
    let reasons = (unknown > 0).then_some((UnknownReason::Interrupted, unknown));
    Report {
        sweep: Ulid::from_string("01M823PJEFR00PD5FPWD9740KP").expect("an identifier"),
        shard: None,
        vantage: Vantage {
            host: "sentry".into(),
            engine: "packet".into(),
            engine_reason: String::new(),
            interface: None,
            source: None,
            next_hop: None,
        },
        started: time(),
        completed: time(),
        duration_ms: 1234,
        verdict,
        ledger,
        unknown_reasons: reasons.into_iter().collect(),
        packets: Packets::default(),
        paths: Vec::new(),
    }
}

/// Two exposures on which everything that others write is this text, and an allowance that is not used.
fn with_findings(text: &str, check: impl Fn(&Findings<'_>)) {
    let target = |ip: &str, port| Target { ip: ip.parse().expect(ip), port, transport: Transport::Tcp };
    let targets = [target("198.18.0.5", 6379), target("2001:db8::5", 22)];
    let seen = targets.map(|target| Observation {
        target,
        state: Reason::SynAck.state(),
        reason: Some(Reason::SynAck),
        unknown: None,
        tries: 1,
        rtt_us: None,
        ttl: None,
        corrects: false,
    });
    let mut known = Verifications::default();
    for target in targets {
        let banner = Banner { protocol: Protocol::Ssh, text: Untrusted::new(text.as_bytes()) };
        let verification = Verification::Verified;
        known.targets.insert(target, Confirmation { verification, conduct: None, banner: Some(banner) });
    }
    let unused = Allowance {
        hosts: vec!["198.18.0.10".parse().expect("a host")],
        ports: "22".parse().expect("a port"),
        reason: text.to_owned(),
        owner: text.to_owned(),
        expires: None,
        warn_before: DEFAULT_WARN_BEFORE,
        approval: Approval::default(),
        line: None,
    };
    let scope = ["198.18.0.0/16", "2001:db8::/120"].map(|net| net.parse().expect(net));
    let scope = Scope::new(&scope, &[], "22,6379".parse().expect("ports")).expect("a scope");
    let names = Names::new([("198.18.0.5".parse().expect("an address"), text)]);
    let allowlist = Allowlist::new(vec![unused]);
    let findings = evaluate(&seen, &allowlist, known, &scope, true, time()).with_names(&names);
    check(&findings);
}

fn written(write: impl Fn(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).expect("memory");
    String::from_utf8(out).expect("text")
}

fn dojo(findings: &Findings<'_>, verdict: Verdict) -> String {
    written(|out| defectdojo::write(out, &report(verdict), findings, time()))
}

fn metrics(findings: &Findings<'_>, verdict: Verdict) -> String {
    written(|out| prometheus::write(out, &report(verdict), findings, time()))
}

#[test]
fn documents_are_as_they_were() {
    with_findings("db \"1\"\n`x`", |findings| {
        hold("defectdojo.json", &dojo(findings, Verdict::Degraded));
        hold("prometheus.prom", &metrics(findings, Verdict::Degraded));
    });
}

#[test]
fn a_sweep_that_was_not_whole_never_looks_like_one() {
    with_findings("x", |findings| {
        let entries = |verdict| {
            let document: Value = serde_json::from_str(&dojo(findings, verdict)).expect("JSON");
            document["findings"].as_array().expect("findings").clone()
        };
        assert_eq!(entries(Verdict::Complete).len(), 3);
        for (verdict, word) in [(Verdict::Degraded, "degraded"), (Verdict::Blind, "blind")] {
            let entries = entries(verdict);
            assert_eq!(entries.len(), 4);
            assert_eq!(entries[0]["title"], format!("Sweep was not complete: {word}"));
            let metrics = metrics(findings, verdict);
            assert!(metrics.contains("portreeve_sweep_verdict{verdict=\"complete\"} 0\n"), "{metrics}");
            assert!(
                metrics.contains(&format!("portreeve_sweep_verdict{{verdict=\"{word}\"}} 1\n")),
                "{metrics}"
            );
        }
        assert!(metrics(findings, Verdict::Complete).contains("{verdict=\"complete\"} 1\n"));
    });
}

#[test]
fn nothing_that_others_wrote_leaves_its_place_in_documents() {
    for text in hostile() {
        with_findings(&text, |findings| {
            let told = dojo(findings, Verdict::Complete);
            assert!(told.lines().all(|line| !line.contains(is_unfit)), "{told}");
            let document: Value = serde_json::from_str(&told).expect("JSON");
            let entries = document["findings"].as_array().expect("findings");
            assert_eq!(entries.len(), 3, "{text:?}");
            for entry in entries {
                let title = entry["title"].as_str().expect("a title");
                assert!(title.chars().count() <= 500 && !title.contains(is_unfit));
                let description = entry["description"].as_str().expect("a description");
                // Every second piece is code, and what others wrote is in these alone.
                let prose: String = description.split('`').step_by(2).collect();
                assert!(!prose.contains(['<', '!', '[', '=', '{']), "{prose}");
                assert_eq!(description.matches('`').count() % 2, 0);
            }
            let metrics = metrics(findings, Verdict::Complete);
            assert!(!metrics.contains("198.18") && !metrics.contains("6379"), "{metrics}");
            let samples = metrics.lines().filter(|line| !line.starts_with('#'));
            assert_eq!(samples.count(), 1 + 6 + 3 + 5 + 1 + 1, "{metrics}");
        });
    }
}
