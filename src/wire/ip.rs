//! IP headers, of both families and wherever they stand: in front of a reply, or quoted by an error.

use std::net::IpAddr;

use super::bytes::{array_at, u8_at, u16_at};

/// ICMP for IPv4.
pub const PROTOCOL_ICMP: u8 = 1;
/// TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// ICMP for IPv6.
pub const PROTOCOL_ICMPV6: u8 = 58;

/// Length of the IPv6 header.
pub const IPV6_LEN: usize = 40;

/// What an IP header says, and what stands behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IpPacket<'a> {
    /// Where from.
    pub source: IpAddr,
    /// Where to.
    pub destination: IpAddr,
    /// What the payload is: the protocol, or what the last extension header names as next.
    pub protocol: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// What follows the headers, up to the end of the packet or of what was captured.
    pub payload: &'a [u8],
}

impl<'a> IpPacket<'a> {
    /// The packet that begins here, if its payload does, too: a fragment that is not the first has none that could be
    /// understood. RFC 791, section 3.1.
    #[inline]
    pub fn parse_ipv4(packet: &'a [u8]) -> Option<Self> {
        let version_and_length = u8_at(packet, 0)?;
        let header_len = usize::from(version_and_length & 0x0f) * 4;
        if version_and_length >> 4 != 4 || header_len < 20 || u16_at(packet, 6)? & FRAGMENT_OFFSET_IPV4 != 0 {
            return None;
        }
        // What follows the packet's own length is padding of the frame, and not to be read as its content.
        let total_len = usize::from(u16_at(packet, 2)?);
        let end = total_len.min(packet.len());
        Some(IpPacket {
            source: IpAddr::from(*array_at::<4>(packet, 12)?),
            destination: IpAddr::from(*array_at::<4>(packet, 16)?),
            protocol: u8_at(packet, 9)?,
            ttl: u8_at(packet, 8)?,
            payload: packet.get(header_len..end)?,
        })
    }

    /// The same for IPv6: the extension headers are walked. RFC 8200, sections 3 and 4.
    #[inline]
    pub fn parse_ipv6(packet: &'a [u8]) -> Option<Self> {
        if u8_at(packet, 0)? >> 4 != 6 {
            return None;
        }
        // No length means more than the field can hold (RFC 2675): what was captured is all that is known.
        let end = match usize::from(u16_at(packet, 4)?) {
            0 => packet.len(),
            payload_len => (IPV6_LEN + payload_len).min(packet.len()),
        };
        let (protocol, payload) = walk_extensions(u8_at(packet, 6)?, packet.get(IPV6_LEN..end)?)?;
        Some(IpPacket {
            source: IpAddr::from(*array_at::<16>(packet, 8)?),
            destination: IpAddr::from(*array_at::<16>(packet, 24)?),
            protocol,
            ttl: u8_at(packet, 7)?,
            payload,
        })
    }
}

const FRAGMENT_OFFSET_IPV4: u16 = 0x1fff;
const FRAGMENT_OFFSET_IPV6: u16 = 0xfff8;

/// How many extension headers are walked. RFC 8200 recommends at most seven in a packet; whoever sends more wants to
/// keep us busy.
const MAX_EXTENSIONS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// Goes on to the first header that is no extension: what it is, and where it begins. Headers that cannot be passed,
/// like an encrypted payload, count as the end: they are nothing that we look for.
#[inline]
fn walk_extensions(mut next: u8, mut bytes: &[u8]) -> Option<(u8, &[u8])> {
    for _ in 0..=MAX_EXTENSIONS {
        let len = match next {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => (usize::from(u8_at(bytes, 1)?) + 1) * 8,
            // RFC 4302, section 2.2: in words of four bytes, less two.
            AUTHENTICATION => (usize::from(u8_at(bytes, 1)?) + 2) * 4,
            FRAGMENT if u16_at(bytes, 2)? & FRAGMENT_OFFSET_IPV6 == 0 => 8,
            FRAGMENT => return None,
            _ => return Some((next, bytes)),
        };
        next = u8_at(bytes, 0)?;
        bytes = bytes.get(len..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Extension headers of the least length, in front of `last`: the bytes and the first header's number.
    fn chain(kinds: &[u8], last: u8) -> (u8, Vec<u8>) {
        let nexts = kinds.iter().skip(1).copied().chain([last]);
        let bytes = kinds.iter().zip(nexts).flat_map(|(_, next)| [next, 0, 0, 0, 0, 0, 0, 0]).collect();
        (kinds.first().copied().unwrap_or(last), bytes)
    }

    #[test]
    fn walks_as_many_extensions_as_it_may() {
        for kind in [HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS] {
            for count in 0..12 {
                let (first, mut bytes) = chain(&vec![kind; count], PROTOCOL_TCP);
                bytes.extend(b"segment");
                let end = walk_extensions(first, &bytes);
                let expected = (count <= MAX_EXTENSIONS).then_some((PROTOCOL_TCP, &b"segment"[..]));
                assert_eq!(end, expected, "{count} of {kind}");
                let end = walk_extensions(first, &bytes[..bytes.len().saturating_sub(8)]);
                assert_eq!(end.is_some(), count == 0, "{count} of {kind}, cut short");
            }
        }
    }

    #[test]
    fn measures_each_kind_in_its_own_words() {
        for (kind, length, bytes) in [(HOP_BY_HOP, 2, 24), (AUTHENTICATION, 4, 24), (AUTHENTICATION, 1, 12)] {
            let mut header = vec![0xff; bytes];
            (header[0], header[1]) = (PROTOCOL_TCP, length);
            header.push(7);
            assert_eq!(walk_extensions(kind, &header), Some((PROTOCOL_TCP, &[7][..])), "{kind} of {length}");
        }
        // The length byte of a fragment header is reserved.
        let header = [PROTOCOL_TCP, 9, 0, 1, 0, 0, 0, 0];
        assert_eq!(walk_extensions(FRAGMENT, &header), Some((PROTOCOL_TCP, &[][..])), "a first fragment");
        let header = [PROTOCOL_TCP, 0, 0, 8, 0, 0, 0, 0];
        assert_eq!(walk_extensions(FRAGMENT, &header), None, "a later fragment");
    }

    #[test]
    fn stops_at_what_it_cannot_pass() {
        for last in [50, 59, 135, 139, 253] {
            let (first, bytes) = chain(&[HOP_BY_HOP], last);
            assert_eq!(walk_extensions(first, &bytes), Some((last, &[][..])));
        }
    }
}
