//! Our parser beside two others, pnet's and etherparse's, over packets that are almost right: each of them must read
//! the same reply, or say by name why it does not read what we do.
//!
//! `PORTREEVE_FRAMES=10000000 cargo test --release --test parser` tries more packets; `PORTREEVE_SEED=N` tries others.

#[path = "parser/generator.rs"]
mod generator;
#[path = "parser/judges.rs"]
mod judges;

use std::collections::BTreeMap;
use std::io::Write;

use generator::Generator;
use judges::{JUDGES, Reading, Refusal};
use portreeve::wire::frame::parse_ip;
use portreeve::wire::reply::{Answer, Reply};

/// Packets that a plain `cargo test` tries.
const PACKETS: u64 = 200_000;

fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}"))
}

/// The kind of a reply, for counting.
fn kind(reply: &Reply) -> &'static str {
    match (reply.answer, reply.ip.is_ipv4()) {
        (Answer::SynAck { .. }, true) => "SYN-ACK over IPv4",
        (Answer::SynAck { .. }, false) => "SYN-ACK over IPv6",
        (Answer::Rst { .. }, true) => "RST over IPv4",
        (Answer::Rst { .. }, false) => "RST over IPv6",
        (Answer::Icmp { .. }, true) => "ICMP",
        (Answer::Icmp { .. }, false) => "ICMPv6",
        _ => panic!("no packet says this: {reply:?}"),
    }
}

#[test]
fn agrees_with_two_other_parsers() {
    let (packets, seed) = (number("PORTREEVE_FRAMES", PACKETS), number("PORTREEVE_SEED", 1));
    let (mut agreed, mut differences) = (BTreeMap::<_, u64>::new(), BTreeMap::<_, u64>::new());
    for index in 0..packets {
        let packet = Generator::new(seed, index).packet();
        let ours = parse_ip(&packet);
        for (judge, read) in JUDGES {
            let complaint = match read(&packet) {
                Reading::Reply(theirs) if ours == Some(theirs) => {
                    *agreed.entry((judge, kind(&theirs))).or_default() += 1;
                    continue;
                }
                Reading::Nothing if ours.is_none() => {
                    *agreed.entry((judge, "nothing")).or_default() += 1;
                    continue;
                }
                // What no parser can read is no reply of ours either.
                Reading::Refused(_) if ours.is_none() => continue,
                Reading::Refused(Refusal::Triaged(why)) => {
                    *differences.entry((judge, why)).or_default() += 1;
                    continue;
                }
                theirs => format!("{theirs:?}"),
            };
            panic!("seed {seed}, packet {index}: {packet:02x?}\n{judge} reads {complaint}\nwe read {ours:?}");
        }
    }
    let counts = format!("agreed: {agreed:#?}\ntriaged: {differences:#?}\n");
    std::io::stdout().write_all(counts.as_bytes()).expect("a reader");
    // A generator that makes nothing but noise would make everybody agree.
    for judge in JUDGES.iter().map(|(judge, _)| judge) {
        for kind in
            ["SYN-ACK over IPv4", "SYN-ACK over IPv6", "RST over IPv4", "RST over IPv6", "ICMP", "ICMPv6"]
        {
            let count = agreed.get(&(judge, kind)).copied().unwrap_or(0);
            assert!(count >= packets / 100, "only {count} of {packets} packets are a {kind} to {judge}");
        }
    }
    for why in judges::TRIAGED {
        let seen = differences.keys().any(|(_, seen)| seen == why);
        assert!(seen || packets < PACKETS, "`{why}` excuses nothing; take it out");
    }
}
