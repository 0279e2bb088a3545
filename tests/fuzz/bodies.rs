//! What is fuzzed: one function for each target. A body panics where something is wrong, and does nothing otherwise.
//!
//! The fuzz targets in `targets/` and the replay of the corpus in `tests/corpus.rs` both include this file, so that
//! what a fuzzer has found stays found. To add a target: a function here and its row in [`TARGETS`], a seed in
//! `seeds.rs`, a file in `targets/` and its block in `Cargo.toml`; `PORTREEVE_SEEDS=write cargo test --test corpus`
//! then makes its corpus, and `scripts/fuzz.sh NAME` runs it.
#![allow(dead_code, reason = "each fuzz target uses one body only")]

use std::fmt::{Debug, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use portreeve::config::diagnostic::Source;
use portreeve::config::file::{Config, parse_allowlist};
use portreeve::config::options::{Rate, parse_pps};
use portreeve::target::address::AddressRange;
use portreeve::target::ports::PortSet;
use portreeve::target::scope::Shard;
use portreeve::wire::frame::{parse_ip, parse_ipv4, parse_ipv6};
use portreeve::wire::neighbour::neighbour_answer;
use portreeve::wire::reply::Answer;

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
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Err(error) = parse_allowlist(&source) {
        assert!(!error.to_string().is_empty());
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
