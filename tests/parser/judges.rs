//! What two other parsers make of a packet. They find the headers and the fields; which fields make a reply is said
//! here once for both.

use std::net::IpAddr;

use etherparse::{Icmpv4Slice, Icmpv6Slice, Ipv6ExtensionSlice, LaxIpSlice, TcpSlice};
use pnet::packet::Packet;
use pnet::packet::icmp::IcmpPacket;
use pnet::packet::icmpv6::Icmpv6Packet;
use pnet::packet::ipv4::Ipv4Packet;
use pnet::packet::ipv6::{ExtensionPacket, FragmentPacket, Ipv6Packet};
use pnet::packet::tcp::TcpPacket;
use portreeve::wire::reply::{Answer, Reply};

/// What a judge makes of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reading {
    /// It reads this reply.
    Reply(Reply),
    /// It reads all that matters, and that is no reply.
    Nothing,
    /// It does not read it.
    Refused(Refusal),
}

/// Why a judge does not read a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The packet is broken, so we must not read a reply either.
    Broken(&'static str),
    /// It asks for more than we do, or knows less; we may read a reply. One of [`TRIAGED`].
    Triaged(&'static str),
}

/// What reads a packet.
pub type Judge = fn(&[u8]) -> Reading;

/// The judges, by name.
pub const JUDGES: [(&str, Judge); 2] =
    [("pnet", |packet| read(packet, &PNET)), ("etherparse", |packet| read(packet, &ETHERPARSE))];

/// Why a judge may refuse what we read.
pub const TRIAGED: &[&str] =
    &[SHORT_SEGMENT, DATA_OFFSET, NO_LENGTH, AUTHENTICATION, EMPTY_AUTHENTICATION, HOP_BY_HOP];

/// Both want the 20 bytes of a whole TCP header; ours ends with the flags, at 14, for a reply cut behind them is one.
const SHORT_SEGMENT: &str = "a segment of less than 20 bytes";
/// etherparse refuses a segment whose options begin too early or end too late; we never look at options.
const DATA_OFFSET: &str = "a data offset that cannot be";
/// pnet takes the length of 0 literally; for us and etherparse it means a jumbogram, or a length not filled in.
const NO_LENGTH: &str = "an IPv6 packet without a length";
/// pnet does not know this extension header.
const AUTHENTICATION: &str = "an authentication header";
/// etherparse wants it to be as long as its fixed fields; we walk past eight bytes, too, for we look at none of them.
const EMPTY_AUTHENTICATION: &str = "an authentication header of eight bytes";
/// etherparse takes hop-by-hop options as the first header only, as RFC 8200 wants; we walk past them anywhere.
const HOP_BY_HOP: &str = "hop-by-hop options in the middle";

/// An IP packet as a judge reads it.
struct Ip {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ttl: u8,
    payload: Vec<u8>,
}

/// A TCP header as a judge reads it.
struct Tcp {
    source: u16,
    destination: u16,
    ack: u32,
    syn_rst_ack: (bool, bool, bool),
}

/// An ICMP message as a judge reads it: type, code and what follows the eight bytes of the header.
type Icmp = (u8, u8, Vec<u8>);

/// A parser: how it finds the parts of a packet.
struct Parser {
    /// The IP packet; `None` for a fragment that is not the first.
    ip: fn(&[u8]) -> Result<Option<Ip>, Refusal>,
    tcp: fn(&[u8]) -> Result<Tcp, Refusal>,
    /// The message, of IPv4 or of IPv6.
    icmp: fn(&[u8], bool) -> Option<Icmp>,
}

fn read(packet: &[u8], parser: &Parser) -> Reading {
    let ip = match (parser.ip)(packet) {
        Ok(Some(ip)) => ip,
        Ok(None) => return Reading::Nothing,
        Err(refusal) => return Reading::Refused(refusal),
    };
    let reply = match (ip.source.is_ipv4(), ip.protocol) {
        (_, 6) => read_tcp(&ip, parser),
        (true, 1) | (false, 58) => read_icmp(&ip, parser),
        _ => Ok(None),
    };
    match reply {
        Ok(reply) => reply.map_or(Reading::Nothing, Reading::Reply),
        Err(refusal) => Reading::Refused(refusal),
    }
}

fn read_tcp(ip: &Ip, parser: &Parser) -> Result<Option<Reply>, Refusal> {
    let tcp = (parser.tcp)(&ip.payload)?;
    let answer = match tcp.syn_rst_ack {
        (true, false, true) => Answer::SynAck { ack: tcp.ack },
        (false, true, true) => Answer::Rst { ack: tcp.ack },
        _ => return Ok(None),
    };
    let (port, source_port) = (tcp.source, tcp.destination);
    Ok(Some(Reply { ip: ip.source, port, source: ip.destination, source_port, answer, ttl: ip.ttl }))
}

fn read_icmp(ip: &Ip, parser: &Parser) -> Result<Option<Reply>, Refusal> {
    let v4 = ip.source.is_ipv4();
    let Some((icmp_type, code, quote)) = (parser.icmp)(&ip.payload, v4) else {
        return Err(Refusal::Broken("an ICMP message that is cut short"));
    };
    let errors = if v4 { [3, 11] } else { [1, 3] };
    if !errors.contains(&icmp_type) {
        return Ok(None);
    }
    let Some(quoted) = (parser.ip)(&quote)? else { return Ok(None) };
    if quoted.protocol != 6 || quoted.source != ip.destination {
        return Ok(None);
    }
    // An error need not quote more than this, and no parser reads a piece of a header.
    let [a, b, c, d, sequence @ ..] =
        quoted.payload.first_chunk::<8>().ok_or(Refusal::Broken("a short quote"))?;
    Ok(Some(Reply {
        ip: quoted.destination,
        port: u16::from_be_bytes([*c, *d]),
        source: quoted.source,
        source_port: u16::from_be_bytes([*a, *b]),
        answer: Answer::Icmp { sequence: u32::from_be_bytes(*sequence), icmp_type, code, by: ip.source },
        ttl: ip.ttl,
    }))
}

// --- pnet ------------------------------------------------------------------------------------------------------

const PNET: Parser = Parser { ip: pnet_ip, tcp: pnet_tcp, icmp: pnet_icmp };

fn pnet_ip(packet: &[u8]) -> Result<Option<Ip>, Refusal> {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => pnet_ipv4(packet),
        Some(6) => pnet_ipv6(packet),
        _ => Err(Refusal::Broken("another version")),
    }
}

fn pnet_ipv4(packet: &[u8]) -> Result<Option<Ip>, Refusal> {
    let ip = Ipv4Packet::new(packet).ok_or(Refusal::Broken("a header that is cut short"))?;
    let header_len = usize::from(ip.get_header_length()) * 4;
    // pnet would go on with nothing, or with options that are none.
    if header_len < 20 || header_len > packet.len() || usize::from(ip.get_total_length()) < header_len {
        return Err(Refusal::Broken("a header that is too short or too long"));
    }
    Ok((ip.get_fragment_offset() == 0).then(|| Ip {
        source: ip.get_source().into(),
        destination: ip.get_destination().into(),
        protocol: ip.get_next_level_protocol().0,
        ttl: ip.get_ttl(),
        payload: ip.payload().to_vec(),
    }))
}

fn pnet_ipv6(packet: &[u8]) -> Result<Option<Ip>, Refusal> {
    let ip = Ipv6Packet::new(packet).ok_or(Refusal::Broken("a header that is cut short"))?;
    if ip.get_payload_length() == 0 {
        return Err(Refusal::Triaged(NO_LENGTH));
    }
    let (mut protocol, mut payload) = (ip.get_next_header().0, ip.payload());
    let mut walked = 0;
    loop {
        let cut = Refusal::Broken("an extension header that is cut short");
        let length = match protocol {
            0 | 43 | 60 => {
                let extension = ExtensionPacket::new(payload).ok_or(cut)?;
                protocol = extension.get_next_header().0;
                (usize::from(extension.get_hdr_ext_len()) + 1) * 8
            }
            44 => {
                let fragment = FragmentPacket::new(payload).ok_or(cut)?;
                // pnet's own accessor takes a reserved bit for one of the offset's.
                if fragment.get_fragment_offset_with_flags() >> 3 != 0 {
                    return Ok(None);
                }
                protocol = fragment.get_next_header().0;
                8
            }
            51 => return Err(Refusal::Triaged(AUTHENTICATION)),
            _ => break,
        };
        payload = payload.get(length..).ok_or(cut)?;
        walked += 1;
    }
    if walked > 8 {
        return Err(Refusal::Broken("more extension headers than anybody needs"));
    }
    Ok(Some(Ip {
        source: ip.get_source().into(),
        destination: ip.get_destination().into(),
        protocol,
        ttl: ip.get_hop_limit(),
        payload: payload.to_vec(),
    }))
}

fn pnet_tcp(segment: &[u8]) -> Result<Tcp, Refusal> {
    let tcp = TcpPacket::new(segment).ok_or(Refusal::Triaged(SHORT_SEGMENT))?;
    let flags = tcp.get_flags();
    Ok(Tcp {
        source: tcp.get_source(),
        destination: tcp.get_destination(),
        ack: tcp.get_acknowledgement(),
        syn_rst_ack: (flags & 2 != 0, flags & 4 != 0, flags & 16 != 0),
    })
}

fn pnet_icmp(message: &[u8], v4: bool) -> Option<Icmp> {
    // What pnet calls the payload begins with the four bytes that say nothing in an error.
    let (icmp_type, code, payload) = if v4 {
        let icmp = IcmpPacket::new(message)?;
        (icmp.get_icmp_type().0, icmp.get_icmp_code().0, icmp.payload().to_vec())
    } else {
        let icmp = Icmpv6Packet::new(message)?;
        (icmp.get_icmpv6_type().0, icmp.get_icmpv6_code().0, icmp.payload().to_vec())
    };
    Some((icmp_type, code, payload.get(4..)?.to_vec()))
}

// --- etherparse ------------------------------------------------------------------------------------------------

const ETHERPARSE: Parser = Parser { ip: etherparse_ip, tcp: etherparse_tcp, icmp: etherparse_icmp };

fn etherparse_ip(packet: &[u8]) -> Result<Option<Ip>, Refusal> {
    // The lax one, for quotes are cut short and so may captures be.
    let (ip, stopped) = LaxIpSlice::from_slice(packet).map_err(|_| Refusal::Broken("a malformed header"))?;
    // Looked at first: its walk over headers that it has not read to the end leaves the packet's bytes.
    if let Some((error, _)) = stopped {
        return Err(match format!("{error:?}") {
            text if text.contains("HopByHopNotAtStart") => Refusal::Triaged(HOP_BY_HOP),
            text if text.contains("ZeroPayloadLen") => Refusal::Triaged(EMPTY_AUTHENTICATION),
            _ => Refusal::Broken("an extension header that is cut short"),
        });
    }
    let (ttl, later_fragment) = match &ip {
        LaxIpSlice::Ipv4(ip) => {
            let header = ip.header();
            // It would go on with all that was captured.
            if usize::from(header.total_len()) < header.slice().len() {
                return Err(Refusal::Broken("a length that has no room for the header"));
            }
            // It walks past this one; for us it is a protocol as any other.
            if ip.extensions().auth.is_some() {
                return Ok(None);
            }
            (header.ttl(), header.fragments_offset().value() != 0)
        }
        LaxIpSlice::Ipv6(ip) => {
            let mut later_fragment = false;
            let mut walked = 0;
            for extension in ip.extensions().clone() {
                walked += 1;
                if let Ipv6ExtensionSlice::Fragment(fragment) = extension {
                    later_fragment |= fragment.fragment_offset().value() != 0;
                }
            }
            if walked > 8 {
                return Err(Refusal::Broken("more extension headers than anybody needs"));
            }
            (ip.header().hop_limit(), later_fragment)
        }
    };
    if later_fragment {
        return Ok(None);
    }
    Ok(Some(Ip {
        source: ip.source_addr(),
        destination: ip.destination_addr(),
        protocol: ip.payload_ip_number().0,
        ttl,
        payload: ip.payload().payload.to_vec(),
    }))
}

fn etherparse_tcp(segment: &[u8]) -> Result<Tcp, Refusal> {
    if segment.len() < 20 {
        return Err(Refusal::Triaged(SHORT_SEGMENT));
    }
    let tcp = TcpSlice::from_slice(segment).map_err(|_| Refusal::Triaged(DATA_OFFSET))?;
    Ok(Tcp {
        source: tcp.source_port(),
        destination: tcp.destination_port(),
        ack: tcp.acknowledgment_number(),
        syn_rst_ack: (tcp.syn(), tcp.rst(), tcp.ack()),
    })
}

fn etherparse_icmp(message: &[u8], v4: bool) -> Option<Icmp> {
    // The header of an error is eight bytes to etherparse, too; one of another type is longer, and of no interest.
    if v4 {
        let icmp = Icmpv4Slice::from_slice(message).ok()?;
        Some((icmp.type_u8(), icmp.code_u8(), message.get(8..)?.to_vec()))
    } else {
        let icmp = Icmpv6Slice::from_slice(message).ok()?;
        Some((icmp.type_u8(), icmp.code_u8(), icmp.payload().to_vec()))
    }
}
