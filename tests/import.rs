//! Files of scanners, read into surveys: what real ones say, what broken ones never do, and what comes back from the
//! forms that this program writes itself. The files in `tests/data/import` are what Debian's nmap, masscan and zmap,
//! and this program, wrote in the lab.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use jiff::Timestamp;
use portreeve::import::error::{ImportError, Place};
use portreeve::import::{Format, Wanted, read};
use portreeve::sink::{masscan, nmap};
use portreeve::survey::host::{
    About, Group, Host, HostState, More, Name, NameKind, Port, Protocol, Service, Sight, Status,
};
use portreeve::survey::runs::PortRuns;
use portreeve::survey::word::PortState;
use portreeve::survey::{Coverage, Ending, HostCounts, Scan, Source, Survey};
use portreeve::target::foreign::{harmless, is_printable};
use portreeve::target::state::State;
use proptest::prelude::*;

const SAMPLES: &[&str] = &[
    "masscan.closed.json",
    "masscan.json",
    "masscan.list",
    "masscan.nd",
    "naabu.jsonl",
    "nmap.down.xml",
    "nmap.extra.xml",
    "nmap.open.xml",
    "nmap.sv.xml",
    "nmap.udp.xml",
    "portreeve.jsonl",
    "zmap.csv",
];

fn sample(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn parse(bytes: &[u8]) -> Result<Survey, ImportError> {
    read("a-file", bytes, &Wanted::default())
}

fn partly(bytes: &[u8]) -> Result<Survey, ImportError> {
    read("a-file", bytes, &Wanted { partial: true, ..Wanted::default() })
}

fn refused(text: &str) -> String {
    parse(text.as_bytes()).expect_err(text).to_string()
}

/// How many targets are listed in each state.
fn counts(survey: &Survey) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for (.., sight) in survey.hosts.iter().flat_map(Host::sights) {
        *counts.entry(sight.state.as_str()).or_default() += 1;
    }
    counts
}

/// Every target that is listed, and its state.
fn targets(survey: &Survey) -> Vec<(IpAddr, Protocol, u16, PortState)> {
    let of = |host: &Host| {
        let sights = host.sights().into_iter();
        let ip = host.ip;
        sights.map(move |(protocol, number, sight)| (ip, protocol, number, sight.state)).collect::<Vec<_>>()
    };
    survey.hosts.iter().flat_map(of).collect()
}

fn sight(survey: &Survey, ip: &str, port: u16) -> Option<Sight> {
    let ip: IpAddr = ip.parse().expect(ip);
    let host = survey.hosts.iter().find(|host| host.ip == ip)?;
    host.sights().into_iter().find(|(_, number, _)| *number == port).map(|(.., sight)| sight)
}

#[test]
fn real_files_say_what_they_say() {
    let unsaid = (false, Ending::Unsaid);
    let complete = |is_whole| (is_whole, Ending::Complete);
    for (name, tool, listed, (is_whole, ending)) in [
        ("masscan.closed.json", "masscan", &[("closed", 44), ("open", 11)][..], unsaid.clone()),
        ("masscan.json", "masscan", &[("open", 12)], unsaid.clone()),
        ("masscan.list", "masscan", &[("open", 12)], unsaid.clone()),
        ("masscan.nd", "masscan", &[("open", 12)], unsaid.clone()),
        ("naabu.jsonl", "naabu", &[("open", 3)], unsaid.clone()),
        ("nmap.down.xml", "nmap", &[("open", 1)], complete(false)),
        ("nmap.extra.xml", "nmap", &[("closed", 8000)], complete(true)),
        ("nmap.open.xml", "nmap", &[("closed", 20), ("open", 2)], complete(false)),
        ("nmap.sv.xml", "nmap", &[("closed", 1), ("open", 1)], complete(true)),
        ("nmap.udp.xml", "nmap", &[("closed", 1), ("open", 2)], complete(true)),
        ("portreeve.jsonl", "portreeve", &[("closed", 48), ("filtered", 20), ("open", 12)], complete(true)),
        ("zmap.csv", "zmap", &[("closed", 11), ("open", 1)], unsaid),
    ] {
        let survey = parse(&sample(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(counts(&survey), listed.iter().copied().collect(), "{name}");
        assert_eq!((survey.source.tool.as_str(), survey.is_whole()), (tool, is_whole), "{name}");
        assert_eq!(survey.ending, ending, "{name}");
        assert!(survey.source.started.is_some() || name == "naabu.jsonl", "{name}");
        assert!(survey.hosts.is_sorted_by_key(|host| host.ip), "{name}");
    }
}

#[test]
fn a_run_of_nmap_that_was_stopped_is_no_result() {
    let error = parse(&sample("nmap.aborted.xml")).expect_err("cut").to_string();
    assert!(error.starts_with("a-file:byte 537: the document has no end; the file has been cut"), "{error}");
    let survey = partly(&sample("nmap.aborted.xml")).expect("what there is");
    assert!(matches!(survey.ending, Ending::Incomplete(_)) && !survey.is_whole());
    let whole = String::from_utf8(sample("nmap.sv.xml")).expect("text");
    let failed = whole.replace("exit=\"success\"", "exit=\"error\" errormsg=\"out of \u{202e}memory\"");
    let survey = parse(failed.as_bytes()).expect("whole");
    assert_eq!(survey.ending, Ending::Incomplete("out of \\u{202e}memory".to_owned()));
    let from = whole.find("<runstats>").expect("runstats");
    let to = whole.find("</nmaprun>").expect("an end");
    let survey = parse(format!("{}{}", &whole[..from], &whole[to..]).as_bytes()).expect("whole");
    assert!(matches!(survey.ending, Ending::Incomplete(_)) && !survey.is_whole());
}

#[test]
fn what_nmap_did_not_look_at_is_said() {
    let notes = |name: &str| parse(&sample(name)).expect(name).notes.join("; ");
    assert!(
        notes("nmap.down.xml").contains("1 addresses did not answer a ping"),
        "{}",
        notes("nmap.down.xml")
    );
    assert!(notes("nmap.open.xml").contains("2 hosts that are up are not in the file, as with --open"));
    let whole = String::from_utf8(sample("nmap.sv.xml")).expect("text");
    let timed_out = whole.replace("<host ", "<host timedout=\"true\" ");
    let survey = parse(timed_out.as_bytes()).expect("whole");
    assert!(survey.notes.join("; ").contains("1 hosts took too long") && !survey.is_whole());
}

#[test]
fn old_sums_without_numbers_are_understood_where_they_can_be() {
    let run = |extras: &str| {
        format!(
            "<nmaprun scanner=\"nmap\" version=\"6\"><scaninfo type=\"syn\" protocol=\"tcp\" numservices=\"5\" \
             services=\"20-24\"/><host><status state=\"up\"/><address addr=\"198.18.0.1\" addrtype=\"ipv4\"/><ports>\
             {extras}<port protocol=\"tcp\" portid=\"22\"><state state=\"open\" reason=\"syn-ack\"/></port></ports>\
             </host><runstats><finished time=\"1\" exit=\"success\"/><hosts up=\"1\" total=\"1\"/></runstats></nmaprun>"
        )
    };
    let one =
        "<extraports state=\"closed\" count=\"4\"><extrareasons reason=\"resets\" count=\"4\"/></extraports>";
    let survey = parse(run(one).as_bytes()).expect("whole");
    assert_eq!((survey.listed(), survey.is_whole()), (5, true));
    assert_eq!(survey.hosts[0].groups[0].ports.to_string(), "20-21,23-24");
    let two = "<extraports state=\"closed\" count=\"2\"/><extraports state=\"filtered\" count=\"2\"/>";
    let survey = parse(run(two).as_bytes()).expect("whole");
    assert_eq!((survey.listed(), survey.is_whole()), (1, false));
    assert!(survey.notes[0].contains("4 ports are counted, and not named"), "{:?}", survey.notes);
    let false_sum =
        "<extraports state=\"closed\" count=\"3\"><extrareasons reason=\"resets\" count=\"4\"/></extraports>";
    assert!(refused(&run(false_sum)).contains("3 ports are summed up, and 4 have a reason"));
}

#[test]
fn a_sweep_vouches_for_its_scope_and_no_further() {
    let text = String::from_utf8(sample("portreeve.jsonl")).expect("text");
    let without = |words: &[&str]| -> String {
        let is_left = |line: &&str| !words.iter().any(|word| line.contains(word));
        text.lines().filter(is_left).map(|line| format!("{line}\n")).collect()
    };
    let opens_only = without(&["\"state\":\"closed\"", "\"state\":\"filtered\""]);
    let survey = parse(opens_only.as_bytes()).expect("whole");
    let Coverage::Declared(declared) = &survey.coverage else { panic!("{:?}", survey.coverage) };
    assert_eq!(declared.rest, [State::Closed, State::Filtered]);
    assert_eq!((declared.scope.len(), survey.listed(), survey.is_whole()), (80, 12, true));
    // Where not every open target is listed, what is missing may be open.
    let closed_only = without(&["\"state\":\"open\""]);
    let survey = parse(closed_only.as_bytes()).expect("whole");
    assert_eq!((&survey.coverage, survey.is_whole()), (&Coverage::Unknown, false));
    let named = opens_only.replace("\"networks\":[\"198.18.0.0/28\"]", "\"networks\":[\"db.example.net\"]");
    assert_eq!(parse(named.as_bytes()).expect("whole").coverage, Coverage::Unknown);
    let degraded = opens_only.replace("\"verdict\":\"complete\"", "\"verdict\":\"degraded\"");
    assert!(matches!(parse(degraded.as_bytes()).expect("whole").ending, Ending::Incomplete(_)));
    let cooked = opens_only.replace("\"open\":12,\"closed\":48", "\"open\":11,\"closed\":49");
    let error = parse(cooked.as_bytes()).expect_err("more is listed").to_string();
    assert!(error.contains("the ledger has 11 open targets, and 12 are listed"), "{error}");
}

/// The same sweep under another name.
fn renamed(text: &str, last: char) -> String {
    let sweep = text.split("\"sweep\":\"").nth(1).expect("a sweep").split('"').next().expect("its name");
    let other = format!("{}{last}", &sweep[..sweep.len() - 1]);
    text.replace(sweep, &other)
}

#[test]
fn of_several_sweeps_the_last_is_taken_or_the_one_that_is_named() {
    let text = String::from_utf8(sample("portreeve.jsonl")).expect("text");
    let (first, second) = (renamed(&text, '1'), renamed(&text, '2'));
    let both = format!("{first}{second}");
    let sweep = |survey: &Survey| survey.source.sweep.expect("a sweep").to_string();
    assert!(sweep(&parse(both.as_bytes()).expect("both")).ends_with('2'));
    let named = Wanted { sweep: parse(first.as_bytes()).expect("one").source.sweep, ..Wanted::default() };
    assert!(sweep(&read("a-file", both.as_bytes(), &named).expect("the first")).ends_with('1'));
    let missing = read("a-file", second.as_bytes(), &named).expect_err("another").to_string();
    assert!(
        missing.contains("no sweep in it is") && missing.contains("the last sweeps in it are"),
        "{missing}"
    );
    // What was begun last and has no end is not passed over.
    let unfinished = format!("{first}{}", second.lines().next().expect("a line").to_owned() + "\n");
    let error = parse(unfinished.as_bytes()).expect_err("unfinished").to_string();
    assert!(error.contains("has no end; the file has been cut"), "{error}");
    assert!(sweep(&read("a-file", unfinished.as_bytes(), &named).expect("the first")).ends_with('1'));
    // One that was killed before is.
    let killed = format!("{}\n{second}", first.lines().next().expect("a line"));
    assert!(parse(killed.as_bytes()).expect("the second").is_whole());
    let mixed: String = first.lines().zip(second.lines()).map(|(a, b)| format!("{a}\n{b}\n")).collect();
    let error = parse(mixed.as_bytes()).expect_err("mixed").to_string();
    assert!(error.contains("the file is mixed of several runs"), "{error}");
    assert!(parse(format!("{first}{first}").as_bytes()).is_err(), "one sweep twice");
}

#[test]
fn a_cut_file_is_never_a_whole_one() {
    for name in SAMPLES {
        let bytes = sample(name);
        let end = bytes.trim_ascii_end().len();
        // Every byte of the ends, and some of what is between in a long one, which is alike throughout.
        let all = |cut: &usize| *cut < 2000 || cut + 2000 > bytes.len() || cut.is_multiple_of(7);
        for cut in (0..bytes.len()).filter(all) {
            match parse(&bytes[..cut]) {
                // Lines without an end mark can be cut between two of them, and never are a proof of anything.
                Ok(survey) if cut < end || survey.ending == Ending::Unsaid => {
                    assert!(!survey.is_whole() && survey.ending == Ending::Unsaid, "{name} cut at {cut}");
                }
                // Only XML ends before its last line does.
                Ok(_) => assert!(name.ends_with(".xml"), "{name} cut at {cut}"),
                Err(error) => assert!(!error.fault.help.is_empty(), "{name} cut at {cut}: {error}"),
            }
            if let Ok(survey) = partly(&bytes[..cut]) {
                assert!(!survey.is_whole() || cut >= end, "{name} cut at {cut}");
            }
        }
    }
}

/// Numbers that look random and are always the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

#[test]
fn no_damage_makes_it_panic_or_speak_unspelt() {
    for (number, name) in SAMPLES.iter().enumerate() {
        let (bytes, mut dice) = (sample(name), Dice(0x9e37_79b9_7f4a_7c15 + number as u64));
        for case in 0..1000 {
            let mut bent = bytes.clone();
            for _ in 0..=dice.roll(3) {
                let at = dice.roll(bent.len());
                match dice.roll(4) {
                    0 => bent[at] ^= 1 << dice.roll(8),
                    1 => bent[at] = dice.roll(256) as u8,
                    2 => drop(bent.drain(at..(at + dice.roll(40)).min(bent.len()))),
                    _ => bent.insert(at, b"<>&\"'{}[],\n\0\x1b"[dice.roll(13)]),
                }
            }
            for told in [parse(&bent), partly(&bent)] {
                match told {
                    Ok(survey) => {
                        let words = survey.notes.iter().map(String::as_str);
                        assert!(
                            words.into_iter().all(is_printable),
                            "{name}, case {case}: {:?}",
                            survey.notes
                        );
                    }
                    Err(error) => assert!(is_printable(&error.to_string()), "{name}, case {case}: {error}"),
                }
            }
        }
    }
}

#[test]
fn two_files_in_one_are_never_a_whole_one() {
    let mut dice = Dice(7);
    // The second may land in a text that says nothing of any target; then nothing may come of it.
    let is_undisturbed = |survey: &Survey, first: &[u8]| {
        !survey.is_whole() || targets(survey) == targets(&parse(first).expect("a sample"))
    };
    for one in SAMPLES {
        for other in SAMPLES {
            let (first, second) = (sample(one), sample(other));
            let behind = [first.as_slice(), second.as_slice()].concat();
            assert!(!parse(&behind).is_ok_and(|survey| survey.is_whole()), "{other} behind {one}");
            for _ in 0..8 {
                let at = 1 + dice.roll(first.trim_ascii_end().len() - 1);
                let within = [&first[..at], second.as_slice(), &first[at..]].concat();
                let told = parse(&within);
                assert!(
                    told.is_ok_and(|it| is_undisturbed(&it, &first)) || parse(&within).is_err(),
                    "{other} in {one} at {at}"
                );
            }
        }
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, says) in [
        ("[\n{\"ip\":\"198.18.0.300\",\"ports\":[]}\n]", "a-file:2:22: invalid IP address syntax; make sure"),
        (
            "[{\"ip\":\"198.18.0.3\",\"ports\":[]},\n]",
            "a-file:2:1: no element behind the comma; old versions",
        ),
        ("[{\"ip\":\"198.18.0.3\",\"ports\":[]},\n{finished: 1}\n]", "masscan before 1.3 writes"),
        ("[] x", "a-file:1:4: something follows behind the end of the array"),
        ("#masscan\nopen tcp 80 198.18.0.1\n# end\n", "a-file:2:23: no time"),
        ("#masscan\nopen tcp 70000 198.18.0.1 1\n# end\n", "a-file:2:10: `70000` is not a port"),
        (
            "#masscan\nopen tcp 80 198.18.0.1 1\n",
            "a-file:3:1: the list has no `# end`; the file has been cut",
        ),
        ("saddr,sport\n198.18.0.1,99999\n", "a-file:2:12: `99999` is not a port"),
        ("saddr,sport\n198.18.0.1,22\n198.18.0.1", "a-file:3:1: 1 fields where the header has 2"),
        ("saddr,sport\n198.18.0.1,22\n198.18.0.1,2", "the last line has no end"),
        ("saddr,dport\n198.18.0.1,22\n", "a-file:1:1: no column `sport`"),
        ("{\"host\":\"a\",\"port\":22}\n", "a-file:1:1: no address in `ip`"),
        ("{\"schema\":\"portreeve/2\",\"event\":\"port\"}\n", "`portreeve/2` is not the schema portreeve/1"),
        ("{\"schema\":\"portreeve/1\",\"event\":\"port\"}\n", "a port before any sweep.started"),
        ("{\"schema\":\"portreeve/1\",\"event\":\"heartbeat\"}\n", "no sweep begins in it"),
        ("<html/>", "a-file:byte 0: <html> is not nmap's <nmaprun>"),
        ("<nmaprun scanner=\"nmap\"><host></nmaprun>", "a-file:byte 30: "),
        (
            "<nmaprun scanner=\"nmap\"></nmaprun><nmaprun/>",
            "something follows behind the end of the document",
        ),
        ("<nmaprun scanner=\"zenscan\"></nmaprun>", "`zenscan` is no known scanner"),
        ("<nmaprun scanner=\"nmap\" args=\"&bomb;\"></nmaprun>", "a-file:byte 0: <nmaprun>: "),
    ] {
        let error = refused(text);
        assert!(error.contains(says), "{text}\n{error}");
        assert_ne!(parse(text.as_bytes()).expect_err(text).fault.place, Place::Byte(u64::MAX));
    }
}

#[test]
fn bombs_do_not_go_off() {
    let entities = "<?xml version=\"1.0\"?><!DOCTYPE nmaprun [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]>\
                    <nmaprun scanner=\"nmap\" args=\"&b;\"></nmaprun>";
    assert!(refused(entities).contains("the document type has definitions of its own"));
    let deep = format!("<nmaprun scanner=\"nmap\">{}", "<x>".repeat(100_000));
    assert!(refused(&deep).contains("more than 64 elements within each other"));
    let deep = format!("[{{\"ip\":\"198.18.0.1\",\"x\":{}", "[".repeat(1 << 20));
    assert!(refused(&deep).contains("an element of the array has no end"));
    let long = "x".repeat(5 << 20);
    for endless in [
        format!("<nmaprun scanner=\"{long}\"></nmaprun>"),
        format!("[{{\"ip\":\"{long}\"}}]"),
        format!("#masscan\nopen tcp 80 {long}\n# end\n"),
        format!("saddr,sport\n\"{long}\",22\n"),
        format!("{{\"schema\":\"portreeve/1\",\"event\":\"{long}\"}}\n"),
    ] {
        let error = refused(&endless);
        assert!(
            error.contains("more than 4 MiB") && error.len() < 1000,
            "{}",
            &error[..200.min(error.len())]
        );
    }
    let latin = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><nmaprun scanner=\"nmap\"></nmaprun>";
    assert!(refused(latin).contains("in the encoding `iso-8859-1`"));
}

#[test]
fn hostile_text_comes_in_spelt_out() {
    let evil = "x\u{1b}]0;pwn\u{7}\u{202e}";
    let json = serde_json::json!([{"ip": "198.18.0.1", "timestamp": "1", "ports":
        [{"port": 22, "proto": "tcp", "service": {"name": evil, "banner": evil}}]}]);
    let survey = parse(json.to_string().as_bytes()).expect("a survey");
    let more = survey.hosts[0].ports[0].more.as_deref().expect("more");
    for said in [more.banner.as_deref(), more.service.as_ref().map(|service| &*service.name)] {
        assert_eq!(said, Some("x\\x1b]0;pwn\\x07\\u{202e}"));
    }
    let error = read("\u{1b}[2J", &b"nothing"[..], &Wanted::default()).expect_err("nothing").to_string();
    assert!(is_printable(&error), "{error}");
}

#[test]
fn a_format_that_is_named_is_not_guessed() {
    let wanted = |format| Wanted { format: Some(format), ..Wanted::default() };
    for format in Format::ALL {
        let told = read("a-file", sample("nmap.sv.xml").as_slice(), &wanted(format));
        assert_eq!(told.is_ok(), format == Format::Nmap, "{format}");
    }
}

// --- there and back ---------------------------------------------------------------------------------------------

/// Writes a survey as nmap does, and reads that.
fn through_nmap(survey: &Survey) -> Survey {
    let mut xml = Vec::new();
    nmap::write(&mut xml, survey).expect("memory");
    let shown = || String::from_utf8_lossy(&xml).into_owned();
    read("a-file", xml.as_slice(), &Wanted::default()).unwrap_or_else(|error| panic!("{error}\n{}", shown()))
}

/// What is the same in both: files differ, and what is proved is found out anew.
fn content(survey: &Survey) -> (Source, Vec<Host>, Ending) {
    let source = Source { file: None, ..survey.source.clone() };
    (source, survey.hosts.clone(), survey.ending.clone())
}

#[test]
fn nmaps_own_files_come_back_as_they_were() {
    for name in ["nmap.down.xml", "nmap.extra.xml", "nmap.open.xml", "nmap.sv.xml", "nmap.udp.xml"] {
        let survey = parse(&sample(name)).expect(name);
        let again = through_nmap(&survey);
        assert_eq!(content(&again), content(&survey), "{name}");
        assert_eq!((again.coverage, again.notes), (survey.coverage, survey.notes), "{name}");
    }
}

#[test]
fn a_sweep_comes_back_from_nmaps_form_in_our_own_words() {
    let survey = parse(&sample("portreeve.jsonl")).expect("a sweep");
    let again = through_nmap(&survey);
    for (ip, port, word) in [
        ("198.18.0.2", 3306, "open (syn-ack)"),
        ("198.18.0.4", 22, "filtered (no-response)"),
        ("198.18.0.6", 22, "filtered (icmp-admin-prohibited)"),
        ("198.18.0.0", 22, "closed (rst)"),
    ] {
        assert_eq!(sight(&survey, ip, port).expect("a target").to_string(), word);
        assert_eq!(sight(&again, ip, port), sight(&survey, ip, port));
    }
    assert!(again.is_whole() && again.source.tool == "portreeve");
}

#[test]
fn masscans_form_says_what_answered() {
    let survey = parse(&sample("portreeve.jsonl")).expect("a sweep");
    let mut json = Vec::new();
    masscan::write(&mut json, &survey).expect("memory");
    let again = parse(&json).expect("masscan's form");
    assert_eq!(counts(&again), [("closed", 48), ("open", 12)].into());
    assert_eq!(sight(&again, "198.18.0.2", 3306), sight(&survey, "198.18.0.2", 3306));
    let nothing = Survey { hosts: vec![], ..survey };
    let mut json = Vec::new();
    masscan::write(&mut json, &nothing).expect("memory");
    assert_eq!(json, b"[]\n");
    assert_eq!(parse(&json).expect("an empty array").listed(), 0);
}

fn text() -> impl Strategy<Value = Box<str>> {
    "[ -~]{0,12}|\\PC{0,6}|[\\x00-\\x1f\\x7f-\\x9f<>&'\"]{1,4}".prop_map(|text| harmless(&text).into())
}

fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "syn-ack",
        "reset",
        "conn-refused",
        "no-response",
        "admin-prohibited",
        "user-set",
    ])
}

fn state() -> impl Strategy<Value = PortState> {
    let unlike_nmap = [PortState::Unreachable, PortState::Conflict];
    let states: Vec<_> = PortState::ALL.into_iter().filter(|state| !unlike_nmap.contains(state)).collect();
    prop::sample::select(states)
}

fn service() -> impl Strategy<Value = Service> {
    let said = || prop::option::of(text());
    let parts = (text(), said(), said(), said(), said(), prop::bool::ANY, 0_u8..=10);
    (parts, prop::collection::vec(text(), 0..3)).prop_map(
        |((name, product, version, extrainfo, hostname, is_tls, conf), cpes)| Service {
            name,
            product,
            version,
            extrainfo,
            hostname,
            tunnel: is_tls.then(|| "ssl".into()),
            ostype: None,
            devicetype: None,
            method: Some(if is_tls { "probed" } else { "table" }.into()),
            conf: Some(conf),
            cpes,
        },
    )
}

fn port(number: u16) -> impl Strategy<Value = Port> {
    let more = (prop::option::of(service()), prop::option::of(text()));
    let protocol = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp, Protocol::Ip]);
    (protocol, state(), word(), prop::option::of(1_u8..), more).prop_map(
        move |(protocol, state, reason, ttl, (service, banner))| {
            let has_more = service.is_some() || banner.is_some();
            let more = has_more.then(|| Box::new(More { service, banner }));
            Port { ttl, more, ..Port::new(protocol, number, state, reason.into()) }
        },
    )
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0_i64..2_000_000_000).prop_map(|second| Timestamp::from_second(second).expect("a time"))
}

fn about() -> impl Strategy<Value = About> {
    let kind = prop::sample::select(vec![NameKind::User, NameKind::Ptr, NameKind::Unsaid]);
    let name = (text(), kind).prop_map(|(name, kind)| Name { name, kind });
    let up =
        prop::sample::select(vec![HostState::Up, HostState::Down, HostState::Unknown, HostState::Skipped]);
    let status = (up, word(), prop::option::of(1_u8..));
    let hardware = prop::option::of((text(), prop::option::of(text())));
    let times = (prop::option::of(time()), prop::option::of(time()), prop::bool::ANY);
    (prop::collection::vec(name, 0..3), status, hardware, times).prop_map(
        |(names, (state, reason, ttl), hardware, (started, ended, timed_out))| About {
            names,
            status: Some(Status { state, reason: reason.into(), ttl }),
            hardware,
            started,
            ended,
            timed_out,
        },
    )
}

/// Groups as nmap makes them: those in one state beside each other.
fn groups() -> impl Strategy<Value = Vec<Group>> {
    let kinds = [
        (Protocol::Tcp, PortState::Closed, "reset"),
        (Protocol::Udp, PortState::Closed, "port-unreach"),
        (Protocol::Tcp, PortState::Filtered, "no-response"),
        (Protocol::Tcp, PortState::Filtered, "admin-prohibited"),
        (Protocol::Udp, PortState::OpenFiltered, "no-response"),
    ];
    prop::collection::vec(0_usize..8, 200).prop_map(move |slots| {
        let group = |(slot, (protocol, state, reason)): (usize, &(Protocol, PortState, &str))| {
            let numbers = slots.iter().enumerate().filter(|(_, is)| **is == slot);
            let ports: PortRuns = numbers.map(|(number, _)| 1000 + number as u16).collect();
            Group { protocol: *protocol, state: *state, reason: (*reason).into(), ports }
        };
        kinds.iter().enumerate().map(group).filter(|group| !group.ports.is_empty()).collect()
    })
}

fn host(ip: IpAddr) -> impl Strategy<Value = Host> {
    let ports = prop::collection::btree_set(0_u16..900, 0..6);
    let ports = ports.prop_flat_map(|numbers| numbers.into_iter().map(port).collect::<Vec<_>>());
    (ports, prop_oneof![Just(Vec::new()), groups()], about()).prop_map(move |(mut ports, groups, about)| {
        ports.sort_by_key(Port::key);
        Host { ip, ports, groups, about: Some(Box::new(about)) }
    })
}

prop_compose! {
    fn survey()(
        hosts in prop::collection::btree_set((any::<bool>(), 0_u32..50), 0..4).prop_flat_map(|hosts| {
            let ip = |(is_v6, n): &(bool, u32)| match is_v6 {
                true => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, *n as u16]),
                false => IpAddr::from([198, 18, 0, *n as u8]),
            };
            let hosts: Vec<_> = hosts.iter().map(|host| self::host(ip(host))).collect();
            hosts
        }),
        args in prop::option::of(text()),
        version in "[0-9.]{1,5}",
        (started, ended) in (time(), time()),
        ending in prop_oneof![
            Just(Ending::Complete),
            Just(Ending::Unsaid),
            text().prop_map(|why| Ending::Incomplete(why.into())),
        ],
        is_ours: bool,
    ) -> Survey {
        let mut hosts: Vec<Host> = hosts;
        hosts.sort_by_key(|host| host.ip);
        let scan = Scan { kind: "syn".into(), protocol: Protocol::Tcp, ports: PortRuns::of_run(1, 1000) };
        Survey {
            source: Source {
                tool: if is_ours { "zmap" } else { "nmap" }.into(),
                version: Some(version),
                file: None,
                args: args.map(Into::into),
                started: Some(started),
                ended: Some(ended),
                scans: vec![scan],
                counts: Some(HostCounts { up: 1, down: 2, total: 3 }),
                sweep: None,
            },
            hosts,
            coverage: Coverage::Unknown,
            ending,
            notes: vec![],
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_survey_comes_back_from_nmaps_form(survey in survey()) {
        prop_assert_eq!(content(&through_nmap(&survey)), content(&survey));
    }
}
