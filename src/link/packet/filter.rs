//! The kernel's part of receiving: classic BPF programs that let through what somebody here waits for.
//!
//! They save the copying and waking for everything else on the interface. They are no authority: whatever they let
//! through is parsed and held against the cookie, or against the question. They are for sockets whose packets begin at
//! the network header (`SOCK_DGRAM`), on any kind of device.

use socket2::SockFilter;

/// Bytes of a packet that are kept: IPv4 or IPv6 with extensions, and an ICMP error with all of its own quote's.
pub const SNAP_LEN: u32 = 256;

/// The program for answers to probes from these ports, both ends included.
///
/// Every answer that decides something passes: SYN and ACK together, or RST; and ICMP "unreachable" and "time exceeded"
/// that quote a packet of ours. IPv6 packets with extension headers are rare, and pass whole: a program without loops
/// cannot walk them.
///
/// Nothing passes that comes in by the interfaces with the numbers `deaf_to`, of which there are a few at most.
pub fn replies_to(first_port: u16, last_port: u16, deaf_to: &[u32]) -> Vec<SockFilter> {
    let (first, last) = (u32::from(first_port), u32::from(last_port));

    let program = [
        not_by(deaf_to),
        by_version(Label::Ipv4, Label::Ipv6),
        vec![
            Line::At(Label::Ipv4),
            Line::Do(LOAD_HALF, IPV4_FRAGMENT),
            Line::If(ANY_BIT, 0x1fff, Label::Drop, Label::Next),
            // From here on, X is where the IP header ends.
            Line::Do(LOAD_X_HEADER_LEN, 0),
            Line::Do(LOAD_BYTE, IPV4_PROTOCOL),
            Line::If(EQUAL, TCP, Label::Tcp, Label::Next),
            Line::If(EQUAL, ICMP, Label::Next, Label::Drop),
            Line::Do(LOAD_BYTE_AT_X, ICMP_TYPE),
            Line::If(EQUAL, 3, Label::IcmpQuote, Label::Next),
            Line::If(EQUAL, 11, Label::IcmpQuote, Label::Drop),
            Line::At(Label::IcmpQuote),
            // The quoted header's length is added to ours, so that X points to the quoted ports.
            Line::Do(LOAD_BYTE_AT_X, ICMP_QUOTE),
            Line::Do(AND, 0x0f),
            Line::Do(SHIFT_LEFT, 2),
            Line::Do(ADD_X, 0),
            Line::Do(COPY_TO_X, 0),
            Line::Do(LOAD_HALF_AT_X, ICMP_QUOTE),
            Line::Go(Label::OurPort),
            Line::At(Label::Ipv6),
            Line::Do(LOAD_X, IPV6_LEN),
            Line::Do(LOAD_BYTE, IPV6_NEXT_HEADER),
            Line::If(EQUAL, TCP, Label::Tcp, Label::Next),
            Line::If(EQUAL, ICMPV6, Label::Icmpv6, Label::Next),
        ],
        EXTENSIONS.map(|kind| Line::If(EQUAL, kind, Label::Pass, Label::Next)).to_vec(),
        vec![
            Line::Go(Label::Drop),
            Line::At(Label::Icmpv6),
            Line::Do(LOAD_BYTE, IPV6_LEN + ICMP_TYPE),
            Line::If(EQUAL, 1, Label::Icmpv6Quote, Label::Next),
            Line::If(EQUAL, 3, Label::Icmpv6Quote, Label::Drop),
            // Our probes have no extension headers, so neither have their quotes.
            Line::At(Label::Icmpv6Quote),
            Line::Do(LOAD_BYTE, IPV6_LEN + ICMP_QUOTE + IPV6_NEXT_HEADER),
            Line::If(EQUAL, TCP, Label::Next, Label::Drop),
            Line::Do(LOAD_HALF, IPV6_LEN + ICMP_QUOTE + IPV6_LEN),
            Line::Go(Label::OurPort),
            Line::At(Label::Tcp),
            Line::Do(LOAD_BYTE_AT_X, TCP_FLAGS),
            Line::If(ANY_BIT, 0x04, Label::TcpPort, Label::Next),
            Line::Do(AND, 0x12),
            Line::If(EQUAL, 0x12, Label::TcpPort, Label::Drop),
            Line::At(Label::TcpPort),
            Line::Do(LOAD_HALF_AT_X, TCP_DESTINATION_PORT),
            Line::At(Label::OurPort),
            Line::If(NOT_LESS, first, Label::Next, Label::Drop),
            Line::If(GREATER, last, Label::Drop, Label::Pass),
        ],
        endings(),
    ];
    assemble(&program.concat())
}

/// The program for the answers of neighbours: ARP replies of Ethernet and IPv4, and neighbour advertisements without
/// extension headers.
pub fn neighbour_answers() -> Vec<SockFilter> {
    let program = [
        vec![
            // Ethernet and IPv4; lengths of 6 and 4, and an answer.
            Line::Do(LOAD_WORD, 0),
            Line::If(EQUAL, 0x0001_0800, Label::Next, Label::NotArp),
            Line::Do(LOAD_WORD, 4),
            Line::If(EQUAL, 0x0604_0002, Label::Pass, Label::Drop),
            Line::At(Label::NotArp),
        ],
        by_version(Label::Drop, Label::Ipv6),
        vec![
            Line::At(Label::Ipv6),
            Line::Do(LOAD_BYTE, IPV6_NEXT_HEADER),
            Line::If(EQUAL, ICMPV6, Label::Next, Label::Drop),
            Line::Do(LOAD_BYTE, IPV6_LEN + ICMP_TYPE),
            Line::If(EQUAL, NEIGHBOUR_ADVERTISEMENT, Label::Pass, Label::Drop),
        ],
        endings(),
    ];
    assemble(&program.concat())
}

// The opcodes of linux/bpf_common.h that are needed here: first those that do something, ...
const LOAD_WORD: u16 = 0x20;
/// Loaded from here is the number of the interface: `SKF_AD_OFF + SKF_AD_IFINDEX` of linux/filter.h.
const INTERFACE: u32 = (-0x1000_i32 + 8) as u32;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_AT_X: u16 = 0x48;
const LOAD_BYTE_AT_X: u16 = 0x50;
const LOAD_X: u16 = 0x01;
const LOAD_X_HEADER_LEN: u16 = 0xb1;
const AND: u16 = 0x54;
const SHIFT_LEFT: u16 = 0x64;
const SHIFT_RIGHT: u16 = 0x74;
const ADD_X: u16 = 0x0c;
const COPY_TO_X: u16 = 0x07;
const RETURN: u16 = 0x06;
// ... then those that choose.
const ALWAYS: u16 = 0x05;
const EQUAL: u16 = 0x15;
const GREATER: u16 = 0x25;
const NOT_LESS: u16 = 0x35;
const ANY_BIT: u16 = 0x45;

/// Where things stand in a header of the kind, from its beginning on.
const IPV4_FRAGMENT: u32 = 6;
const IPV4_PROTOCOL: u32 = 9;
const IPV6_NEXT_HEADER: u32 = 6;
const IPV6_LEN: u32 = 40;
const TCP_DESTINATION_PORT: u32 = 2;
const TCP_FLAGS: u32 = 13;
const ICMP_TYPE: u32 = 0;
const ICMP_QUOTE: u32 = 8;

const ICMP: u32 = 1;
const TCP: u32 = 6;
const ICMPV6: u32 = 58;
/// Hop-by-hop options, routing, fragment, authentication, destination options.
const EXTENSIONS: [u32; 5] = [0, 43, 44, 51, 60];
const NEIGHBOUR_ADVERTISEMENT: u32 = 136;

/// A line of a program, before its jumps have been counted.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// An instruction that goes on to the next one.
    Do(u16, u32),
    /// A comparison, and where it leads to if it holds and if not.
    If(u16, u32, Label, Label),
    /// On to there.
    Go(Label),
    /// A place to jump to.
    At(Label),
}

/// Places in a program. All jumps lead forward, so the kernel knows that every program ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Label {
    /// The next instruction.
    Next,
    Ipv4,
    Ipv6,
    NotArp,
    IcmpQuote,
    Icmpv6,
    Icmpv6Quote,
    Tcp,
    TcpPort,
    OurPort,
    Drop,
    Pass,
}

/// Looks at the version of the IP header.
fn by_version(ipv4: Label, ipv6: Label) -> Vec<Line> {
    vec![
        Line::Do(LOAD_BYTE, 0),
        Line::Do(SHIFT_RIGHT, 4),
        Line::If(EQUAL, 4, ipv4, Label::Next),
        Line::If(EQUAL, 6, ipv6, Label::Drop),
    ]
}

/// Leaves out what has come in by these interfaces.
fn not_by(interfaces: &[u32]) -> Vec<Line> {
    let number = Line::Do(LOAD_WORD, INTERFACE);
    let leave_out = interfaces.iter().map(|number| Line::If(EQUAL, *number, Label::Drop, Label::Next));
    if interfaces.is_empty() { Vec::new() } else { std::iter::once(number).chain(leave_out).collect() }
}

/// How every program ends.
fn endings() -> Vec<Line> {
    vec![Line::At(Label::Drop), Line::Do(RETURN, 0), Line::At(Label::Pass), Line::Do(RETURN, SNAP_LEN)]
}

/// Counts the jumps as the kernel does: instructions to leave out after this one.
fn assemble(program: &[Line]) -> Vec<SockFilter> {
    let instructions = |lines: &[Line]| lines.iter().filter(|line| !matches!(line, Line::At(_))).count();
    let skip = |at: usize, label: Label| {
        let rest = program.get(at + 1..).unwrap_or_default();
        let to = rest.iter().position(|line| matches!(line, Line::At(place) if *place == label));
        // The programs are fixed, and their tests reach every place: none is missing, none is far off.
        instructions(rest.get(..to.unwrap_or(0)).unwrap_or_default())
    };
    let instruction = |(at, line): (usize, &Line)| match *line {
        Line::Do(code, value) => Some(SockFilter::new(code, 0, 0, value)),
        Line::If(code, value, then, or) => {
            Some(SockFilter::new(code, skip(at, then) as u8, skip(at, or) as u8, value))
        }
        Line::Go(to) => Some(SockFilter::new(ALWAYS, 0, 0, skip(at, to) as u32)),
        Line::At(_) => None,
    };
    program.iter().enumerate().filter_map(instruction).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::wire::{arp, ndp};

    /// The real kernel as a judge: a filter works on any socket, so a pair of local ones will do.
    struct Judge {
        sender: UnixDatagram,
        receiver: socket2::Socket,
    }

    impl Judge {
        fn new(filter: &[SockFilter]) -> Self {
            let (sender, receiver) = UnixDatagram::pair().expect("a pair of sockets");
            let receiver = socket2::Socket::from(std::os::fd::OwnedFd::from(receiver));
            receiver.attach_filter(filter).expect("the kernel takes the filter");
            receiver.set_nonblocking(true).expect("a pair delivers at once");
            Judge { sender, receiver }
        }

        fn replies() -> Self {
            Judge::new(&replies_to(16_384, 32_767, &[]))
        }

        fn passes(&self, packet: &[u8]) -> bool {
            // A socket pair reports a filtered datagram to its sender as refused; that is an answer, too.
            let _ = self.sender.send(packet);
            let mut buffer = [std::mem::MaybeUninit::uninit(); 512];
            self.receiver.recv(&mut buffer).is_ok_and(|n| n == packet.len().min(SNAP_LEN as usize))
        }
    }

    /// An IPv4 packet with this protocol and content, and `options` words of IP options.
    fn ipv4(protocol: u8, options: usize, content: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45 + options as u8, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol];
        packet.extend([0; 10]);
        packet.extend(vec![1; options * 4]);
        packet.extend(content);
        packet
    }

    /// An IPv6 packet with this next header and content.
    fn ipv6(next_header: u8, content: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, next_header, 64];
        packet.extend([0; 32]);
        packet.extend(content);
        packet
    }

    fn tcp(destination: u16, flags: u8) -> Vec<u8> {
        let mut segment = vec![0; 20];
        segment[2..4].copy_from_slice(&destination.to_be_bytes());
        segment[13] = flags;
        segment
    }

    /// An ICMP error of either family that quotes a packet with this source port.
    fn error(icmp_type: u8, quote: impl Fn(&[u8]) -> Vec<u8>, source: u16) -> Vec<u8> {
        let [high, low] = source.to_be_bytes();
        [vec![icmp_type, 0, 0, 0, 0, 0, 0, 0], quote(&[high, low, 0, 22, 0, 0, 0, 1])].concat()
    }

    const PORTS: [(u16, bool); 5] =
        [(16_384, true), (32_767, true), (16_383, false), (32_768, false), (0, false)];
    const FLAGS: [(u8, bool); 7] =
        [(0x12, true), (0x14, true), (0x04, true), (0x10, false), (0x02, false), (0x52, true), (0x00, false)];

    #[test]
    fn lets_through_ipv4_answers_to_our_ports_and_nothing_else() {
        let judge = Judge::replies();
        for options in [0, 3, 10] {
            for (port, ours) in PORTS {
                for (flags, answers) in FLAGS {
                    let passed = judge.passes(&ipv4(6, options, &tcp(port, flags)));
                    assert_eq!(passed, ours && answers, "port {port} flags {flags:#x} options {options}");
                }
                for (icmp_type, is_error) in [(3, true), (11, true), (0, false), (8, false), (1, false)] {
                    for quoted in [0, 4, 10] {
                        let message = error(icmp_type, |tcp| ipv4(6, quoted, tcp), port);
                        let passed = judge.passes(&ipv4(1, options, &message));
                        assert_eq!(passed, ours && is_error, "port {port} type {icmp_type} {quoted}");
                    }
                }
            }
            for protocol in [17, 58, 0, 43] {
                assert!(!judge.passes(&ipv4(protocol, options, &tcp(16_384, 0x12))), "{protocol}");
            }
        }
        let mut fragment = ipv4(6, 0, &tcp(16_384, 0x12));
        fragment[7] = 9;
        assert!(!judge.passes(&fragment));
        fragment[6..8].copy_from_slice(&[0x20, 0]);
        assert!(judge.passes(&fragment), "the first fragment");
        assert!(!judge.passes(&ipv4(6, 0, &tcp(16_384, 0x12))[..33]), "cut before the flags");
    }

    #[test]
    fn lets_through_ipv6_answers_to_our_ports_and_nothing_else() {
        let judge = Judge::replies();
        for (port, ours) in PORTS {
            for (flags, answers) in FLAGS {
                let passed = judge.passes(&ipv6(6, &tcp(port, flags)));
                assert_eq!(passed, ours && answers, "port {port} flags {flags:#x}");
            }
            for (icmp_type, is_error) in [(1, true), (3, true), (2, false), (11, false), (128, false)] {
                let message = error(icmp_type, |tcp| ipv6(6, tcp), port);
                assert_eq!(judge.passes(&ipv6(58, &message)), ours && is_error, "port {port} {icmp_type}");
                assert!(!judge.passes(&ipv6(1, &message)), "ICMP of the other family");
                let message = error(icmp_type, |tcp| ipv6(17, tcp), port);
                assert!(!judge.passes(&ipv6(58, &message)), "about a packet that is not TCP");
            }
        }
        assert!(!judge.passes(&ipv6(6, &tcp(16_384, 0x12))[..53]), "cut before the flags");
    }

    #[test]
    fn lets_through_what_it_cannot_walk_and_no_other_version() {
        let judge = Judge::replies();
        for next_header in 0..=255 {
            let passed = judge.passes(&ipv6(next_header, &[0; 8]));
            assert_eq!(passed, [0, 43, 44, 51, 60].contains(&next_header), "{next_header}");
        }
        assert!(judge.passes(&ipv6(60, &[0; 400])), "as much as is kept");
        for version in (0..16).filter(|version| ![4, 6].contains(version)) {
            for mut packet in [ipv4(6, 0, &tcp(16_384, 0x12)), ipv6(6, &tcp(16_384, 0x12))] {
                packet[0] = packet[0] & 0x0f | version << 4;
                assert!(!judge.passes(&packet), "version {version}");
            }
        }
        assert!(!judge.passes(&[]));
    }

    #[test]
    fn lets_through_answers_of_neighbours_and_nothing_else() {
        let judge = Judge::new(&neighbour_answers());
        let question = arp::request([2; 6], Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 0, 9));
        let mut reply = question[14..].to_vec();
        assert!(!judge.passes(&reply), "a question");
        reply[7] = 2;
        assert!(judge.passes(&reply));
        for at in 0..8 {
            reply[at] ^= 8;
            assert!(!judge.passes(&reply), "another byte at {at}");
            reply[at] ^= 8;
        }
        let source = Ipv6Addr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 2]);
        let mut message = ndp::solicitation([2; 6], source, source)[14..].to_vec();
        assert!(!judge.passes(&message), "a question");
        message[40] = 136;
        assert!(judge.passes(&message));
        for (at, value) in [(0, 0x40), (0, 0x50), (6, 0), (6, 6), (40, 134)] {
            let mut other = message.clone();
            other[at] = value;
            assert!(!judge.passes(&other), "{value} at {at}");
        }
        assert!(!judge.passes(&message[..40]), "cut short");
        assert!(!judge.passes(&ipv4(6, 0, &tcp(16_384, 0x12))));
    }
}
