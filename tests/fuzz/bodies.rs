//! What is fuzzed: one function for each target. A body panics where something is wrong, and does nothing otherwise.
//!
//! The fuzz targets in `targets/` and the replay of the corpus in `tests/corpus.rs` both include this file, so that
//! what a fuzzer has found stays found. To add a target: a function here and its row in [`TARGETS`], a seed in
//! `seeds.rs`, a file in `targets/` and its block in `Cargo.toml`; `PORTREEVE_SEEDS=write cargo test --test corpus`
//! then makes its corpus, and `scripts/fuzz.sh NAME` runs it.
//!
//! There is no body for DNS: the system's resolver reads the replies, and none of their bytes come to us.
#![allow(dead_code, reason = "each fuzz target uses one body only")]

use std::collections::BTreeSet;
use std::fmt::{Debug, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use portreeve::config::diagnostic::{ConfigError, Source};
use portreeve::config::file::{Config, parse_allowlist};
use portreeve::config::inventory::{FieldPath, Inventory, Taken, take};
use portreeve::config::list::{Listed, parse_excludes, parse_targets};
use portreeve::config::options::{Cap, Rate, TargetWord, parse_canary, parse_exclude, parse_pps};
use portreeve::target::address::AddressRange;
use portreeve::target::foreign::printable;
use portreeve::target::names::Names;
use portreeve::target::ports::PortSet;
use portreeve::target::scope::Shard;
use portreeve::target::written::{HostName, Written, is_address_form};
use portreeve::wire::frame::{parse_ip, parse_ipv4, parse_ipv6};
use portreeve::wire::neighbour::neighbour_answer;
use portreeve::wire::reply::Answer;
use serde_json::{Deserializer, Value};

/// Panics if something is wrong with what it makes of an input.
pub type Body = fn(&[u8]);

/// Every target: its name, which is also its corpus's, and its body.
pub const TARGETS: &[(&str, Body)] = &[
    ("frame", frame),
    ("icmp_quote", icmp_quote),
    ("tcp_options", tcp_options),
    ("neighbour", neighbour),
    ("config", config),
    ("target_spec", target_spec),
    ("targets", targets),
    ("inventory", inventory),
];

/// A packet off the wire: what is read does not depend on what was cut off or padded behind it.
pub fn frame(data: &[u8]) {
    let reply = parse_ip(data);
    assert_eq!(reply, parse_ipv4(data).or_else(|| parse_ipv6(data)), "the version decides");
    if let Some(reply) = reply {
        assert_eq!(reply.ip.is_ipv4(), reply.source.is_ipv4(), "one family");
    }
    for cut in [data.len() / 2, data.len() * 3 / 4, data.len().saturating_sub(1)] {
        let part = parse_ip(&data[..cut]);
        assert!(part.is_none() || part == reply, "a part says the same as the whole, or nothing");
    }
    let own_length = match data {
        [0x40..=0x4f, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
        [0x60..=0x6f, _, _, _, high, low, ..] if [*high, *low] != [0, 0] => {
            40 + usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => return,
    };
    if own_length <= data.len() {
        let padded = [data, &[0x55; 64]].concat();
        assert_eq!(parse_ip(&padded), reply, "padding says nothing");
    }
}

/// Any bytes as what an ICMP error quotes; the first one chooses the family and the type.
pub fn icmp_quote(data: &[u8]) {
    let Some((choice, quote)) = data.split_first() else { return };
    let (packet, icmp_type, router) = match choice {
        0..=127 => {
            let icmp_type = if choice & 1 == 0 { 3 } else { 11 };
            let message = [&[icmp_type, *choice, 0, 0, 0, 0, 0, 0], quote].concat();
            (ipv4(ROUTER_V4, 1, &message), icmp_type, IpAddr::V4(ROUTER_V4))
        }
        128.. => {
            let icmp_type = if choice & 1 == 0 { 1 } else { 3 };
            let message = [&[icmp_type, *choice, 0, 0, 0, 0, 0, 0], quote].concat();
            (ipv6(ROUTER_V6, 58, 64, &message), icmp_type, IpAddr::V6(ROUTER_V6))
        }
    };
    let Some(reply) = parse_ip(&packet) else { return };
    let Answer::Icmp { sequence, icmp_type: said, code, by } = reply.answer else {
        panic!("an error is an error: {reply:?}");
    };
    assert_eq!((said, code, by), (icmp_type, *choice, router));
    assert!([IpAddr::V4(OURS_V4), IpAddr::V6(OURS_V6)].contains(&reply.source), "about our packet");
    assert_eq!(reply.ip.is_ipv4(), reply.source.is_ipv4(), "one family");
    let ports_and_sequence = [reply.source_port.to_be_bytes(), reply.port.to_be_bytes()].concat().into_iter();
    let quoted: Vec<u8> = ports_and_sequence.chain(sequence.to_be_bytes()).collect();
    assert!(quote.windows(8).any(|window| window == quoted), "read from the quote and nowhere else");
}

/// Any bytes as the options and the content of an answer to us: they change nothing.
pub fn tcp_options(data: &[u8]) {
    let options = &data[..data.len().min(40) / 4 * 4];
    for flags in [0x12, 0x14] {
        let bare = [&[0, 22, 64, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0x50, flags][..], &[0; 6]].concat();
        let mut segment = [&bare, options, data].concat();
        segment[12] = (((20 + options.len()) / 4) << 4) as u8;
        let (plain, decorated) = (ipv4(TARGET_V4, 6, &bare), ipv4(TARGET_V4, 6, &segment));
        assert!(parse_ip(&plain).is_some());
        assert_eq!(parse_ip(&decorated), parse_ip(&plain));
        let (plain, decorated) = (ipv6(TARGET_V6, 6, 64, &bare), ipv6(TARGET_V6, 6, 64, &segment));
        assert!(parse_ip(&plain).is_some());
        assert_eq!(parse_ip(&decorated), parse_ip(&plain));
    }
}

/// Any bytes as a neighbour's answer, and as the options of one that is right in everything else.
pub fn neighbour(data: &[u8]) {
    if let Some(answer) = neighbour_answer(data) {
        assert_eq!(answer.ip.is_ipv4(), answer.asked_by.is_ipv4(), "one family");
        assert!(is_station(answer.mac), "{answer:?}");
        assert!(!matches!(answer.ip, IpAddr::V6(ip) if ip.is_multicast()), "{answer:?}");
    }
    let head = [&[136, 0, 0, 0, 0x40, 0, 0, 0][..], &TARGET_V6.octets(), data].concat();
    if let Some(answer) = neighbour_answer(&ipv6(TARGET_V6, 58, 255, &head)) {
        assert_eq!((answer.ip, answer.asked_by), (IpAddr::V6(TARGET_V6), IpAddr::V6(OURS_V6)));
        assert!(is_station(answer.mac), "{answer:?}");
        let option = [&[2, 1][..], &answer.mac].concat();
        assert!(data.chunks(8).any(|chunk| chunk == option), "read from an option and nowhere else");
    }
}

/// Any text as a configuration file, and as an allowlist; every mistake can be told.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let source = Source::new("fuzz.toml", text);
    match Config::parse(&source) {
        Ok(config) => {
            let _ = config.settings.scope().map_err(|error| error.to_string());
        }
        Err(error) => is_told(&error, text),
    }
    if let Err(error) = parse_allowlist(&source) {
        is_told(&error, text);
    }
}

/// Any text as a range of addresses, a set of ports, a shard and a rate: what is read is written so that it is read
/// again.
pub fn target_spec(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    comes_round::<AddressRange>(text);
    comes_round::<PortSet>(text);
    comes_round::<Shard>(text);
    comes_round::<Rate>(text);
    if let Ok(pps) = parse_pps(text) {
        assert_eq!(parse_pps(&pps.to_string()), Ok(pps));
    }
}

/// Mistakes of one file that are told.
const TOLD: usize = 100;

/// Any bytes as a file of targets and as one of excludes: every word is either read, as it would be if it were typed,
/// or told where it stands. A byte order mark changes nothing.
pub fn targets(data: &[u8]) {
    let Some(source) = readable("fuzz.txt", data) else { return };
    let text = source.text();
    typed(text);
    let mut listed = Listed::default();
    let (mut bad, mut not_excluded) = (BTreeSet::new(), BTreeSet::new());
    let words = words(text);
    for (at, word) in &words {
        // No target is longer than the longest name with a dot behind it.
        let written = typed(word).filter(|_| word.len() <= 254);
        if !matches!(written, Some(Written::Addresses(_))) {
            not_excluded.insert(*at);
        }
        match written {
            Some(written) => listed.push(written),
            None => _ = bad.insert(*at),
        }
    }
    let parsed = parse_targets(&source);
    match &parsed {
        Ok(read) => assert_eq!((read, &bad), (&listed, &BTreeSet::new())),
        Err(error) if words.is_empty() => is_told(error, text),
        Err(error) => {
            is_told(error, text);
            // Of more than these, only the first are told, and the rest are counted without a place.
            if bad.len() <= TOLD {
                assert_eq!(places(error), positions(&source, &bad), "{error}");
            }
        }
    }
    match parse_excludes(&source) {
        Ok(ranges) => assert_eq!((&ranges, &not_excluded), (&listed.ranges, &BTreeSet::new())),
        Err(error) => {
            is_told(&error, text);
            if not_excluded.len() <= TOLD {
                assert_eq!(places(&error), positions(&source, &not_excluded), "{error}");
            }
        }
    }
    let marked = parse_targets(&Source::new("fuzz.txt", format!("\u{feff}{text}")));
    assert!(text.starts_with('\u{feff}') || said(marked) == said(parsed), "a byte order mark is no mistake");
}

/// The words of a file of targets, each with its byte.
fn words(text: &str) -> Vec<(usize, &str)> {
    let ends = |letter: char| letter.is_whitespace() || letter == ',';
    let said =
        text.trim_start_matches('\u{feff}').split('\n').map(|line| line.split('#').next().unwrap_or(line));
    let words = said.flat_map(|said| said.split(ends)).filter(|word| !word.is_empty());
    words.map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word)).collect()
}

/// A text as everything that the command line may make of it; the answer is what it says as a target.
fn typed(text: &str) -> Option<Written> {
    comes_round::<Written>(text);
    comes_round::<HostName>(text);
    comes_round::<FieldPath>(text);
    let written = text.parse::<Written>().ok();
    let range = match &written {
        Some(Written::Addresses(range)) => Some(*range),
        Some(Written::Name(name)) => {
            assert!(!is_address_form(text), "{text:?} goes to no resolver");
            is_name(name);
            None
        }
        None => None,
    };
    if let Some(range) = range {
        assert!(
            range.first() <= range.last() && range.first().is_ipv4() == range.last().is_ipv4(),
            "{range}"
        );
        assert!(range.contains(range.first()) && range.contains(range.last()), "{range}");
        assert_eq!(range.is_single(), range.len() == Some(1), "{range}");
        assert!(range.first().is_ipv4() || !range.contains(TARGET_V4.into()), "{range} is of one family");
    }
    assert_eq!(parse_exclude(text).ok(), range, "{text:?} names the same addresses as an exclude");
    match text.parse::<TargetWord>() {
        Ok(TargetWord::Written(word)) => assert_eq!(Some(&word), written.as_ref()),
        Ok(TargetWord::File(path)) => assert_eq!((path, &written), (PathBuf::from(&text[1..]), &None)),
        Ok(TargetWord::Stdin) => assert_eq!((text, &written), ("-", &None)),
        Err(error) => assert!(written.is_none() && !error.to_string().is_empty(), "{text:?}"),
    }
    if let Ok(name) = text.parse::<HostName>() {
        is_name(&name);
    }
    if let Ok(canary) = parse_canary(text) {
        assert!(canary.port() > 0, "{canary}");
        assert_eq!(parse_canary(&canary.to_string()), Ok(canary));
    }
    let cap = text.parse::<Cap>().ok().map(Cap::pps);
    assert_eq!(cap, if text == "none" { Some(None) } else { parse_pps(text).ok().map(Some) }, "{text:?}");
    written
}

/// What goes to a resolver is a name and nothing else, by the letters that it consists of.
fn is_name(name: &HostName) {
    let name = name.as_str();
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    assert!((1..=253).contains(&name.len()) && name.bytes().all(is_letter), "{name:?}");
    assert!(name.parse::<IpAddr>().is_err(), "{name:?}");
}

/// Any bytes as an inventory; the first line names the fields of addresses and, behind a tab, of names. Every value in
/// the field is listed, counted or told, and documents one a line say what they say in one array.
pub fn inventory(data: &[u8]) {
    let Some(cut) = data.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(fields) = std::str::from_utf8(&data[..cut]) else { return };
    let (address, name) = fields.split_once('\t').unwrap_or((fields, ""));
    let Ok(address) = address.parse::<FieldPath>() else { return };
    let nameless = Inventory { file: "fuzz.json".into(), address, name: None };
    let inventory = Inventory { name: name.parse().ok(), ..nameless.clone() };
    let Some(source) = readable("fuzz.json", &data[cut + 1..]) else { return };
    let text = source.text();
    let taken = take(&source, &inventory);
    let marked =
        take(&Source::new("fuzz.json", format!("\u{feff}{text}")), &inventory).map_err(|e| e.to_string());
    let plain = text.strip_prefix('\u{feff}');
    let documents =
        Deserializer::from_str(plain.unwrap_or(text)).into_iter::<Value>().collect::<Result<Vec<_>, _>>();
    let path = inventory.address.to_string();
    let keys: Vec<&str> = path.split('.').collect();
    let values: usize = documents.iter().flatten().map(|document| values_at(document, &keys)).sum();
    match &taken {
        Ok(taken) => {
            assert_eq!(taken.listed.len() + taken.skipped as usize, values, "nothing is passed over");
            are_called(taken);
            let bare = take(&source, &nameless).expect("names make mistakes and no targets");
            assert_eq!((&bare.listed, bare.skipped), (&taken.listed, taken.skipped));
            assert!(bare.labels.is_empty());
            let array = Value::Array(documents.expect("it has been read")).to_string();
            match take(&Source::new("fuzz.json", array), &inventory) {
                Ok(at_once) => assert_eq!(&at_once, taken),
                // One level more may be one too many.
                Err(error) => assert!(error.to_string().contains("recursion limit"), "{error}"),
            }
        }
        Err(error) => {
            is_told(error, text);
            if let ConfigError::Values { mistakes, .. } = error {
                // A key that stands twice is a mistake whatever it is called.
                let of_values =
                    mistakes.iter().filter(|mistake| !mistake.to_string().contains("a second time"));
                assert!(of_values.count() <= values);
            }
        }
    }
    assert!(plain.is_some() || marked == taken.map_err(|e| e.to_string()), "a byte order mark is no mistake");
}

/// How many values stand behind the keys, from any object on.
fn values_at(value: &Value, keys: &[&str]) -> usize {
    let inside: usize = match value {
        Value::Array(entries) => entries.iter().map(|entry| values_at(entry, keys)).sum(),
        Value::Object(object) => object.values().map(|child| values_at(child, keys)).sum(),
        _ => 0,
    };
    inside + if value.is_object() { values_behind(value, keys) } else { 0 }
}

fn values_behind(value: &Value, keys: &[&str]) -> usize {
    match (value, keys) {
        (Value::Array(entries), _) => entries.iter().map(|entry| values_behind(entry, keys)).sum(),
        (Value::Object(object), [key, rest @ ..]) => {
            object.get(*key).map_or(0, |next| values_behind(next, rest))
        }
        (_, []) => 1,
        _ => 0,
    }
}

/// Names belong to targets, are found by their addresses, and can be shown.
fn are_called(taken: &Taken) {
    let ranges = taken.labels.iter().filter_map(|(written, label)| match written {
        Written::Addresses(range) => Some((*range, label.as_str())),
        Written::Name(_) => None,
    });
    let names = Names::new(ranges.clone());
    for (range, label) in ranges {
        assert!(taken.listed.ranges.contains(&range), "{range}");
        for end in [range.first(), range.last()] {
            assert!(names.of(end).contains(&label), "{end} is called {label:?}");
        }
    }
    for (written, label) in &taken.labels {
        assert!(!matches!(written, Written::Name(name) if !taken.listed.names.contains(name)), "{written}");
        assert!(!label.trim().is_empty() && label.len() <= 1024, "{label:?}");
        let shown = printable(label);
        assert!(is_harmless(&shown) && shown.len() <= 1100, "{shown:?}");
    }
}

/// The text of a file, or nothing if it is none; then that is told.
fn readable(name: &str, data: &[u8]) -> Option<Source> {
    match Source::read_from(Path::new(name), data) {
        Ok(source) => Some(source),
        Err(error) => {
            is_told(&error, data.utf8_chunks().next().map_or("", |chunk| chunk.valid()));
            None
        }
    }
}

/// An error of a file says one thing a line, moves no terminal, and points into the file.
fn is_told(error: &ConfigError, text: &str) {
    let told = error.to_string();
    assert!(told.split('\n').all(|line| !line.is_empty() && is_harmless(line)), "{told:?}");
    let mistakes = match error {
        ConfigError::Invalid(mistakes) => mistakes.len(),
        ConfigError::Values { mistakes, .. } => mistakes.len(),
        other => panic!("nothing else can be wrong with a text: {other}"),
    };
    assert!(mistakes > 0);
    assert_eq!(told.split('\n').count(), mistakes.min(101), "{told:?}");
    let lines: Vec<&str> = text.strip_prefix('\u{feff}').unwrap_or(text).split('\n').collect();
    for (line, column) in places(error) {
        let length = lines.get(line as usize - 1).map(|line| line.chars().count());
        assert!(
            length.is_some_and(|length| (1..=length + 1).contains(&(column as usize))),
            "{line}:{column} of {text:?}"
        );
    }
}

/// The places of mistakes: line and column.
fn places(error: &ConfigError) -> Vec<(u32, u32)> {
    let ConfigError::Invalid(mistakes) = error else { return Vec::new() };
    mistakes.iter().map(|mistake| (mistake.line, mistake.column)).collect()
}

fn positions(source: &Source, bytes: &BTreeSet<usize>) -> Vec<(u32, u32)> {
    bytes.iter().map(|byte| source.position(*byte)).collect()
}

fn said<T>(parsed: Result<T, ConfigError>) -> Result<T, String> {
    parsed.map_err(|error| error.to_string())
}

/// Whether a line leaves the terminal and the direction of writing alone; by a list that is not the program's own.
fn is_harmless(line: &str) -> bool {
    let turns = ['\u{200e}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
    !line.chars().any(|letter| letter.is_control() || turns.iter().any(|turn| turn.contains(&letter)))
}

fn comes_round<T: Debug + Display + FromStr + PartialEq>(text: &str)
where
    T::Err: Display,
{
    match text.parse::<T>() {
        Ok(value) => {
            let again = value.to_string().parse::<T>().map_err(|error| error.to_string());
            assert_eq!(again, Ok(value), "from {text:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

pub const OURS_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub const ROUTER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const TARGET_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 3, 4);
pub const OURS_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
pub const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub const TARGET_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 4);

/// An IPv4 packet to us.
pub fn ipv4(source: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total_len = u16::try_from(20 + payload.len()).unwrap_or(u16::MAX);
    let mut packet = vec![0x45, 0];
    packet.extend(total_len.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(OURS_V4.octets());
    packet.extend(payload);
    packet
}

/// An IPv6 packet to us.
pub fn ipv6(source: Ipv6Addr, next_header: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let payload_len = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(payload_len.to_be_bytes());
    packet.extend([next_header, hop_limit]);
    packet.extend(source.octets());
    packet.extend(OURS_V6.octets());
    packet.extend(payload);
    packet
}

fn is_station(mac: [u8; 6]) -> bool {
    mac[0] & 1 == 0 && mac != [0; 6]
}
