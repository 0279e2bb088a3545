//! Packets in: from the IP header down to the reply, or nothing.
//!
//! Packets arrive without their link's header, so they look the same on every kind of device. As little is parsed as
//! the verdict needs. TCP options are not looked at, so that no option, however malformed, can change what is said of a
//! port. Checksums are not looked at either: on virtual links the kernel hands over packets whose checksums were never
//! filled in, and what authenticates a reply is the cookie.

use super::bytes::{u8_at, u16_at, u32_at};
use super::ip::{IpPacket, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP};
use super::reply::{Answer, Reply};

const FLAG_SYN: u8 = 0x02;
const FLAG_RST: u8 = 0x04;
const FLAG_ACK: u8 = 0x10;
const ICMP_UNREACHABLE: u8 = 3;
const ICMP_TIME_EXCEEDED: u8 = 11;
const ICMPV6_UNREACHABLE: u8 = 1;
const ICMPV6_TIME_EXCEEDED: u8 = 3;
/// Of both families: type, code, checksum and four bytes that say nothing in the messages that we read.
const ICMP_HEADER_LEN: usize = 8;

/// The reply in an IP packet of either family, if there is one.
#[inline]
pub fn parse_ip(packet: &[u8]) -> Option<Reply> {
    match u8_at(packet, 0)? >> 4 {
        4 => parse_ipv4(packet),
        6 => parse_ipv6(packet),
        _ => None,
    }
}

/// The reply in an IPv4 packet, if there is one.
#[inline]
pub fn parse_ipv4(packet: &[u8]) -> Option<Reply> {
    let ip = IpPacket::parse_ipv4(packet)?;
    match ip.protocol {
        PROTOCOL_TCP => parse_tcp(&ip),
        PROTOCOL_ICMP => {
            let (icmp_type, quote) = parse_icmp(&ip)?;
            if icmp_type != ICMP_UNREACHABLE && icmp_type != ICMP_TIME_EXCEEDED {
                return None;
            }
            parse_quote(&ip, &IpPacket::parse_ipv4(quote)?)
        }
        _ => None,
    }
}

/// The reply in an IPv6 packet, if there is one.
#[inline]
pub fn parse_ipv6(packet: &[u8]) -> Option<Reply> {
    let ip = IpPacket::parse_ipv6(packet)?;
    match ip.protocol {
        PROTOCOL_TCP => parse_tcp(&ip),
        PROTOCOL_ICMPV6 => {
            let (icmp_type, quote) = parse_icmp(&ip)?;
            if icmp_type != ICMPV6_UNREACHABLE && icmp_type != ICMPV6_TIME_EXCEEDED {
                return None;
            }
            parse_quote(&ip, &IpPacket::parse_ipv6(quote)?)
        }
        _ => None,
    }
}

/// RFC 9293, section 3.1.
#[inline]
fn parse_tcp(ip: &IpPacket<'_>) -> Option<Reply> {
    let ack = u32_at(ip.payload, 8)?;
    let flags = u8_at(ip.payload, 13)?;
    // Both answers to a SYN acknowledge it; a reset that acknowledges nothing answers something else.
    let answer = match flags & (FLAG_SYN | FLAG_RST | FLAG_ACK) {
        both if both == FLAG_SYN | FLAG_ACK => Answer::SynAck { ack },
        both if both == FLAG_RST | FLAG_ACK => Answer::Rst { ack },
        _ => return None,
    };
    Some(Reply {
        ip: ip.source,
        port: u16_at(ip.payload, 0)?,
        source: ip.destination,
        source_port: u16_at(ip.payload, 2)?,
        answer,
        ttl: ip.ttl,
    })
}

/// The type of an ICMP message and what it quotes. RFC 792; RFC 4443, section 2.1.
#[inline]
fn parse_icmp<'a>(ip: &IpPacket<'a>) -> Option<(u8, &'a [u8])> {
    Some((u8_at(ip.payload, 0)?, ip.payload.get(ICMP_HEADER_LEN..)?))
}

/// The reply that an error is. It quotes the IP header and at least eight bytes of our segment: the ports and the
/// sequence number.
#[inline]
fn parse_quote(ip: &IpPacket<'_>, quoted: &IpPacket<'_>) -> Option<Reply> {
    // Whoever sends an error sends it to whom the packet came from.
    if quoted.protocol != PROTOCOL_TCP || quoted.source != ip.destination {
        return None;
    }
    Some(Reply {
        ip: quoted.destination,
        port: u16_at(quoted.payload, 2)?,
        source: quoted.source,
        source_port: u16_at(quoted.payload, 0)?,
        answer: Answer::Icmp {
            sequence: u32_at(quoted.payload, 4)?,
            icmp_type: u8_at(ip.payload, 0)?,
            code: u8_at(ip.payload, 1)?,
            by: ip.source,
        },
        ttl: ip.ttl,
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::syn::{MAX_SYN_LEN, SynFields, SynTemplate};

    /// Where things stand in a packet of a family, and which numbers errors have there.
    struct Family {
        ours: IpAddr,
        target: IpAddr,
        router: IpAddr,
        tcp: usize,
        addresses: std::ops::Range<usize>,
        icmp: u8,
        unreachable: u8,
        time_exceeded: u8,
        ttl: u8,
    }

    fn families() -> [Family; 2] {
        let parse = |text: &str| text.parse().expect("an address");
        [
            Family {
                ours: parse("192.0.2.2"),
                target: parse("198.18.3.4"),
                router: parse("192.0.2.1"),
                tcp: 20,
                addresses: 12..20,
                icmp: PROTOCOL_ICMP,
                unreachable: ICMP_UNREACHABLE,
                time_exceeded: ICMP_TIME_EXCEEDED,
                ttl: 128,
            },
            Family {
                ours: parse("2001:db8::2"),
                target: parse("2001:db8:3::4"),
                router: parse("2001:db8::1"),
                tcp: 40,
                addresses: 8..40,
                icmp: PROTOCOL_ICMPV6,
                unreachable: ICMPV6_UNREACHABLE,
                time_exceeded: ICMPV6_TIME_EXCEEDED,
                ttl: 64,
            },
        ]
    }

    const SEQUENCE: u32 = 0xdead_beef;

    impl Family {
        fn syn(&self) -> Vec<u8> {
            let fields = SynFields {
                destination: self.target,
                destination_port: 6379,
                source_port: 16_500,
                sequence: SEQUENCE,
            };
            let mut packet = vec![0; MAX_SYN_LEN];
            let length = SynTemplate::bare(self.ours).write(&mut packet, &fields).expect("room");
            packet.truncate(length);
            packet
        }

        /// Our own SYN, turned round: addresses and ports swapped, flags and acknowledgment set.
        fn answer(&self, flags: u8, ack: u32) -> Vec<u8> {
            let mut packet = self.syn();
            packet[self.addresses.clone()].rotate_left(self.addresses.len() / 2);
            packet[self.tcp..self.tcp + 4].rotate_left(2);
            packet[self.tcp + 8..self.tcp + 12].copy_from_slice(&ack.to_be_bytes());
            packet[self.tcp + 13] = flags;
            packet
        }

        /// An ICMP error from a router that quotes the IP header and `quote` bytes of our SYN.
        fn error(&self, icmp_type: u8, code: u8, quote: usize) -> Vec<u8> {
            let mut packet = self.syn()[..self.tcp].to_vec();
            let payload_len = ICMP_HEADER_LEN + self.tcp + quote;
            match (self.ours, self.router) {
                (IpAddr::V4(ours), IpAddr::V4(router)) => {
                    packet[2..4].copy_from_slice(&((20 + payload_len) as u16).to_be_bytes());
                    packet[8..10].copy_from_slice(&[63, self.icmp]);
                    packet[12..16].copy_from_slice(&router.octets());
                    packet[16..20].copy_from_slice(&ours.octets());
                }
                (IpAddr::V6(ours), IpAddr::V6(router)) => {
                    packet[4..6].copy_from_slice(&(payload_len as u16).to_be_bytes());
                    packet[6..8].copy_from_slice(&[self.icmp, 63]);
                    packet[8..24].copy_from_slice(&router.octets());
                    packet[24..40].copy_from_slice(&ours.octets());
                }
                _ => unreachable!("a family has addresses of one kind"),
            }
            packet.extend([icmp_type, code, 0, 0, 0, 0, 0, 0]);
            packet.extend(&self.syn()[..self.tcp + quote]);
            packet
        }
    }

    /// Puts an extension header of eight bytes behind the IPv6 header at this place.
    fn extend(packet: &mut Vec<u8>, at: usize, kind: u8, content: [u8; 6]) {
        let header: Vec<u8> = [packet[at + 6], 0].into_iter().chain(content).collect();
        packet[at + 6] = kind;
        packet.splice(at + 40..at + 40, header);
        for header in [0, at] {
            let payload_len = u16::from_be_bytes([packet[header + 4], packet[header + 5]]);
            packet[header + 4..header + 6].copy_from_slice(&(payload_len + 8).to_be_bytes());
            if at == 0 {
                break;
            }
        }
    }

    #[test]
    fn reads_syn_ack_and_rst() {
        for family in families() {
            for (flags, expected) in [
                (0x12, Some(Answer::SynAck { ack: 7 })),
                (0x14, Some(Answer::Rst { ack: 7 })),
                (0x52, Some(Answer::SynAck { ack: 7 })),
                (0x04, None),
                (0x10, None),
                (0x02, None),
                (0x16, None),
            ] {
                let reply = parse_ip(&family.answer(flags, 7));
                let expected = expected.map(|answer| Reply {
                    ip: family.target,
                    port: 6379,
                    source: family.ours,
                    source_port: 16_500,
                    answer,
                    ttl: family.ttl,
                });
                assert_eq!(reply, expected, "flags {flags:#x}");
            }
        }
    }

    #[test]
    fn reads_icmp_errors_that_quote_enough() {
        for family in families() {
            for quote in [8, 20, 32] {
                for (icmp_type, code) in [(family.unreachable, 1), (family.time_exceeded, 0)] {
                    let expected = Reply {
                        ip: family.target,
                        port: 6379,
                        source: family.ours,
                        source_port: 16_500,
                        answer: Answer::Icmp { sequence: SEQUENCE, icmp_type, code, by: family.router },
                        ttl: 63,
                    };
                    assert_eq!(parse_ip(&family.error(icmp_type, code, quote)), Some(expected));
                }
            }
            assert_eq!(parse_ip(&family.error(family.unreachable, 1, 7)), None, "half a sequence number");
            for icmp_type in [0, 2, 4, 8, 128, 136] {
                assert_eq!(parse_ip(&family.error(icmp_type, 0, 32)), None, "no such error: {icmp_type}");
            }
        }
    }

    #[test]
    fn ignores_an_error_about_somebody_elses_packet_or_of_the_other_family() {
        let [v4, v6] = families();
        let mut packet = v4.error(v4.unreachable, 1, 32);
        packet[20 + 8 + 15] = 77;
        assert_eq!(parse_ip(&packet), None);
        let mut packet = v6.error(v6.unreachable, 1, 32);
        packet[40 + 8 + 23] = 77;
        assert_eq!(parse_ip(&packet), None);
        for (family, icmp) in [(v4, PROTOCOL_ICMPV6), (v6, PROTOCOL_ICMP)] {
            let mut packet = family.error(3, 0, 32);
            packet[if family.tcp == 20 { 9 } else { 6 }] = icmp;
            assert_eq!(parse_ip(&packet), None);
        }
    }

    #[test]
    fn ignores_fragments_and_padding() {
        let [v4, v6] = families();
        let mut fragment = v4.answer(0x12, 7);
        fragment[7] = 1;
        assert_eq!(parse_ip(&fragment), None);
        let mut fragment = v6.answer(0x12, 7);
        extend(&mut fragment, 0, 44, [0, 8, 0, 0, 0, 1]);
        assert_eq!(parse_ip(&fragment), None);
        for (family, at, length) in [(v4, 2, 30_u16), (v6, 4, 13)] {
            let mut short = family.answer(0x12, 7);
            short[at..at + 2].copy_from_slice(&length.to_be_bytes());
            assert_eq!(parse_ip(&short), None, "flags lie beyond the packet's own length");
        }
    }

    #[test]
    fn passes_extension_headers_of_the_answer_and_of_the_quote() {
        let [_, v6] = families();
        for kind in [0, 43, 44, 60] {
            let mut packet = v6.answer(0x12, 7);
            extend(&mut packet, 0, kind, [0; 6]);
            assert_eq!(parse_ip(&packet), parse_ip(&v6.answer(0x12, 7)), "{kind}");
            let mut packet = v6.error(1, 4, 32);
            extend(&mut packet, 40 + 8, kind, [0; 6]);
            extend(&mut packet, 0, kind, [0; 6]);
            assert_eq!(parse_ip(&packet), parse_ip(&v6.error(1, 4, 32)), "{kind}");
        }
    }

    #[test]
    fn takes_a_packet_without_a_length_as_it_was_captured() {
        let [_, v6] = families();
        let mut packet = v6.answer(0x12, 7);
        packet[4..6].fill(0);
        assert_eq!(parse_ip(&packet), parse_ip(&v6.answer(0x12, 7)));
    }

    proptest! {
        /// Cut anywhere, flipped anywhere: no panic, and a packet cut before the flags says nothing.
        #[test]
        fn survives_anything(v6: bool, cut in 0_usize..160, at in 0_usize..160, bit in 0_u8..8, error: bool) {
            let family = &families()[usize::from(v6)];
            let mut packet =
                if error { family.error(family.unreachable, 3, 32) } else { family.answer(0x12, 7) };
            let at = at % packet.len();
            packet[at] ^= 1 << bit;
            packet.truncate(cut);
            let reply = parse_ip(&packet);
            prop_assert!(cut >= family.tcp + 14 || reply.is_none());
        }

        #[test]
        fn survives_noise(packet in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse_ipv4(&packet).is_none() || parse_ipv6(&packet).is_none());
            let _ = parse_ip(&packet);
        }
    }
}
