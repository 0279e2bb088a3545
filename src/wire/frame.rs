//! Frames in: from Ethernet down to the reply, or nothing.
//!
//! As little is parsed as the verdict needs. TCP options are not looked at, so that no option, however malformed, can
//! change what is said of a port. Checksums are not looked at either: on virtual links the kernel hands over frames
//! whose checksums were never filled in, and what authenticates a reply is the cookie.

use std::net::{IpAddr, Ipv4Addr};

use super::bytes::{array_at, u8_at, u16_at, u32_at};
use super::reply::{Answer, Reply};
use super::syn::ETHERNET_LEN;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_VLAN: u16 = 0x8100;
const VLAN_TAG_LEN: usize = 4;
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_TCP: u8 = 6;
const FRAGMENT_OFFSET: u16 = 0x1fff;
const FLAG_SYN: u8 = 0x02;
const FLAG_RST: u8 = 0x04;
const FLAG_ACK: u8 = 0x10;
const ICMP_UNREACHABLE: u8 = 3;
const ICMP_TIME_EXCEEDED: u8 = 11;
const ICMP_HEADER_LEN: usize = 8;

/// The reply in an Ethernet frame, if there is one.
#[inline]
pub fn parse_ethernet(frame: &[u8]) -> Option<Reply> {
    match u16_at(frame, 12)? {
        ETHERTYPE_IPV4 => parse_ipv4(frame.get(ETHERNET_LEN..)?),
        // The kernel takes tags off before packet sockets see them, unless the device is told to leave them on.
        ETHERTYPE_VLAN if u16_at(frame, 16)? == ETHERTYPE_IPV4 => {
            parse_ipv4(frame.get(ETHERNET_LEN + VLAN_TAG_LEN..)?)
        }
        _ => None,
    }
}

/// The reply in an IPv4 packet, if there is one. RFC 791, section 3.1.
#[inline]
pub fn parse_ipv4(packet: &[u8]) -> Option<Reply> {
    let header = Ipv4Header::parse(packet)?;
    if header.fragment_offset != 0 {
        return None;
    }
    match header.protocol {
        PROTOCOL_TCP => parse_tcp(&header, header.payload),
        PROTOCOL_ICMP => parse_icmp(&header, header.payload),
        _ => None,
    }
}

struct Ipv4Header<'a> {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    ttl: u8,
    fragment_offset: u16,
    /// What follows the header, up to the end of what was captured.
    payload: &'a [u8],
}

impl<'a> Ipv4Header<'a> {
    #[inline]
    fn parse(packet: &'a [u8]) -> Option<Self> {
        let version_and_length = u8_at(packet, 0)?;
        let header_len = usize::from(version_and_length & 0x0f) * 4;
        if version_and_length >> 4 != 4 || header_len < 20 {
            return None;
        }
        // What follows the packet's own length is padding of the frame, and not to be read as its content.
        let total_len = usize::from(u16_at(packet, 2)?);
        let end = total_len.min(packet.len());
        Some(Ipv4Header {
            source: Ipv4Addr::from(*array_at(packet, 12)?),
            destination: Ipv4Addr::from(*array_at(packet, 16)?),
            protocol: u8_at(packet, 9)?,
            ttl: u8_at(packet, 8)?,
            fragment_offset: u16_at(packet, 6)? & FRAGMENT_OFFSET,
            payload: packet.get(header_len..end)?,
        })
    }
}

/// RFC 9293, section 3.1.
#[inline]
fn parse_tcp(ip: &Ipv4Header<'_>, segment: &[u8]) -> Option<Reply> {
    let ack = u32_at(segment, 8)?;
    let flags = u8_at(segment, 13)?;
    // Both answers to a SYN acknowledge it; a reset that acknowledges nothing answers something else.
    let answer = match flags & (FLAG_SYN | FLAG_RST | FLAG_ACK) {
        both if both == FLAG_SYN | FLAG_ACK => Answer::SynAck { ack },
        both if both == FLAG_RST | FLAG_ACK => Answer::Rst { ack },
        _ => return None,
    };
    Some(Reply {
        ip: IpAddr::V4(ip.source),
        port: u16_at(segment, 0)?,
        source: IpAddr::V4(ip.destination),
        source_port: u16_at(segment, 2)?,
        answer,
        ttl: ip.ttl,
    })
}

/// RFC 792. The error quotes the IP header and at least eight bytes of our segment: the ports and the sequence number.
#[inline]
fn parse_icmp(ip: &Ipv4Header<'_>, message: &[u8]) -> Option<Reply> {
    let icmp_type = u8_at(message, 0)?;
    let code = u8_at(message, 1)?;
    if icmp_type != ICMP_UNREACHABLE && icmp_type != ICMP_TIME_EXCEEDED {
        return None;
    }
    let quoted = Ipv4Header::parse(message.get(ICMP_HEADER_LEN..)?)?;
    if quoted.protocol != PROTOCOL_TCP || quoted.fragment_offset != 0 || quoted.source != ip.destination {
        return None;
    }
    Some(Reply {
        ip: IpAddr::V4(quoted.destination),
        port: u16_at(quoted.payload, 2)?,
        source: IpAddr::V4(quoted.source),
        source_port: u16_at(quoted.payload, 0)?,
        answer: Answer::Icmp {
            sequence: u32_at(quoted.payload, 4)?,
            icmp_type,
            code,
            by: IpAddr::V4(ip.source),
        },
        ttl: ip.ttl,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::syn::{SYN_FRAME_LEN, SynFields, SynTemplate};

    const FIELDS: SynFields = SynFields {
        destination: Ipv4Addr::new(198, 18, 3, 4),
        destination_port: 6379,
        source_port: 16_500,
        sequence: 0xdead_beef,
    };

    /// Our own SYN, turned round: addresses and ports swapped, flags and acknowledgment set.
    fn answer(flags: u8, ack: u32) -> Vec<u8> {
        let mut frame = syn();
        let (source, destination): ([u8; 4], [u8; 4]) =
            (frame[26..30].try_into().unwrap(), frame[30..34].try_into().unwrap());
        frame[26..30].copy_from_slice(&destination);
        frame[30..34].copy_from_slice(&source);
        let ports: [u8; 4] = frame[34..38].try_into().unwrap();
        frame[34..38].copy_from_slice(&[ports[2], ports[3], ports[0], ports[1]]);
        frame[42..46].copy_from_slice(&ack.to_be_bytes());
        frame[47] = flags;
        frame.to_vec()
    }

    fn syn() -> [u8; SYN_FRAME_LEN] {
        let mut frame = [0; SYN_FRAME_LEN];
        SynTemplate::new(Ipv4Addr::new(192, 0, 2, 2), [2; 6], [4; 6]).write(&mut frame, &FIELDS);
        frame
    }

    /// An ICMP error from a router that quotes `quote` bytes of our SYN's IP packet.
    fn icmp(icmp_type: u8, code: u8, quote: usize) -> Vec<u8> {
        let syn = syn();
        let mut frame = vec![0; 14];
        frame[12..14].copy_from_slice(&ETHERTYPE_IPV4.to_be_bytes());
        let total = (20 + 8 + quote) as u16;
        frame.extend([0x45, 0]);
        frame.extend(total.to_be_bytes());
        frame.extend([0, 0, 0, 0, 63, PROTOCOL_ICMP, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        frame.extend([icmp_type, code, 0, 0, 0, 0, 0, 0]);
        frame.extend(&syn[14..14 + quote]);
        frame
    }

    #[test]
    fn reads_syn_ack_and_rst() {
        for (flags, expected) in [
            (0x12, Some(Answer::SynAck { ack: 7 })),
            (0x14, Some(Answer::Rst { ack: 7 })),
            (0x52, Some(Answer::SynAck { ack: 7 })),
            (0x04, None),
            (0x10, None),
            (0x02, None),
            (0x16, None),
        ] {
            let reply = parse_ethernet(&answer(flags, 7));
            assert_eq!(reply.map(|r| r.answer), expected, "flags {flags:#x}");
            if let Some(reply) = reply {
                assert_eq!((reply.ip, reply.port), (IpAddr::V4(FIELDS.destination), 6379));
                assert_eq!((reply.source.to_string().as_str(), reply.source_port), ("192.0.2.2", 16_500));
                assert_eq!(reply.ttl, 128);
            }
        }
    }

    #[test]
    fn reads_a_tagged_frame() {
        let mut frame = answer(0x12, 7);
        frame.splice(12..12, [0x81, 0x00, 0x00, 0x2a]);
        assert_eq!(parse_ethernet(&frame).map(|r| r.answer), Some(Answer::SynAck { ack: 7 }));
    }

    #[test]
    fn reads_icmp_errors_that_quote_enough() {
        let by = "192.0.2.1".parse().unwrap();
        for quote in [28, 40, 52] {
            let reply = parse_ethernet(&icmp(3, 13, quote)).expect("a reply");
            let expected = Answer::Icmp { sequence: FIELDS.sequence, icmp_type: 3, code: 13, by };
            assert_eq!((reply.answer, reply.port, reply.source_port), (expected, 6379, 16_500));
            assert_eq!(reply.ip, IpAddr::V4(FIELDS.destination));
        }
        assert_eq!(parse_ethernet(&icmp(3, 13, 27)), None, "half a sequence number");
        assert_eq!(parse_ethernet(&icmp(8, 0, 52)), None, "an echo request");
        assert!(parse_ethernet(&icmp(11, 0, 28)).is_some());
    }

    #[test]
    fn ignores_an_error_about_somebody_elses_packet() {
        let mut frame = icmp(3, 1, 52);
        frame[14 + 20 + 8 + 15] = 77;
        assert_eq!(parse_ethernet(&frame), None);
    }

    #[test]
    fn ignores_fragments_and_padding() {
        let mut fragment = answer(0x12, 7);
        fragment[21] = 1;
        assert_eq!(parse_ethernet(&fragment), None);
        let mut short = answer(0x12, 7);
        short[16..18].copy_from_slice(&30_u16.to_be_bytes());
        assert_eq!(parse_ethernet(&short), None, "flags lie beyond the packet's own length");
    }

    proptest! {
        /// Cut anywhere, flipped anywhere: no panic, and a frame cut before the flags says nothing.
        #[test]
        fn survives_anything(cut in 0_usize..100, at in 0_usize..94, bit in 0_u8..8, from_icmp: bool) {
            let mut frame = if from_icmp { icmp(3, 3, 52) } else { answer(0x12, 7) };
            let at = at % frame.len();
            frame[at] ^= 1 << bit;
            frame.truncate(cut);
            let reply = parse_ethernet(&frame);
            prop_assert!(cut >= 48 || reply.is_none());
        }

        #[test]
        fn survives_noise(frame in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_ethernet(&frame);
            let _ = parse_ipv4(&frame);
        }
    }
}
