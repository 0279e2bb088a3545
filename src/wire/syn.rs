//! The SYN: made once for each way out, then patched for each probe.
//!
//! Everything that is the same for all probes over one hop is laid out by the constructors of [`SynTemplate`], with the
//! sums of the checksums kept; [`SynTemplate::write`] copies it and fills in the few fields that differ. The options
//! are those of a common desktop system (MSS, window scale, SACK permitted), because some appliances drop a SYN that
//! has none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet::packet::ethernet::{EtherType, EtherTypes, MutableEthernetPacket};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{Ipv4Flags, MutableIpv4Packet};
use pnet::packet::ipv6::MutableIpv6Packet;
use pnet::packet::tcp::{MutableTcpPacket, TcpFlags, TcpOption};
use pnet::util::MacAddr;

use super::checksum;

/// Length of the longest SYN: over Ethernet and IPv6.
pub const MAX_SYN_LEN: usize = ETHERNET_LEN + IPV6_LEN + TCP_LEN;

/// Length of the Ethernet header.
const ETHERNET_LEN: usize = 14;
/// Where an Ethernet header has the address of who is to take the frame.
const ETHERNET_DESTINATION: usize = 0;
/// Length of the IPv4 header, without options.
const IPV4_LEN: usize = 20;
/// Length of the IPv6 header.
const IPV6_LEN: usize = 40;
/// Length of the TCP header with the options below.
const TCP_LEN: usize = 32;

/// What an IPv4 SYN says of the largest segment: an Ethernet's 1500 bytes less both headers.
const IPV4_MSS: u16 = 1460;
/// What an IPv6 SYN says of the largest segment, likewise.
const IPV6_MSS: u16 = 1440;

/// What a probe needs besides the template.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SynFields {
    /// Where to.
    pub destination: IpAddr,
    /// Where to.
    pub destination_port: u16,
    /// Where from.
    pub source_port: u16,
    /// The sequence number.
    pub sequence: u32,
}

/// A SYN from one source address over one hop.
#[derive(Clone, Debug)]
pub struct SynTemplate(Layout);

/// One layout for each kind, so that every offset in it is known to the compiler.
#[derive(Clone, Debug)]
enum Layout {
    EthernetIpv4(Template<{ ETHERNET_LEN + IPV4_LEN + TCP_LEN }>),
    EthernetIpv6(Template<{ ETHERNET_LEN + IPV6_LEN + TCP_LEN }>),
    BareIpv4(Template<{ IPV4_LEN + TCP_LEN }>),
    BareIpv6(Template<{ IPV6_LEN + TCP_LEN }>),
}

impl SynTemplate {
    /// The template for probes from `source`, handed from `source_mac` to `next_hop_mac`.
    pub fn ethernet(source: IpAddr, source_mac: [u8; 6], next_hop_mac: [u8; 6]) -> Self {
        let mut layout = match source {
            IpAddr::V4(source) => Layout::EthernetIpv4(Template::ipv4(source)),
            IpAddr::V6(source) => Layout::EthernetIpv6(Template::ipv6(source)),
        };
        match &mut layout {
            Layout::EthernetIpv4(template) => {
                lay_out_ethernet(&mut template.bytes, EtherTypes::Ipv4, source_mac, next_hop_mac);
            }
            Layout::EthernetIpv6(template) => {
                lay_out_ethernet(&mut template.bytes, EtherTypes::Ipv6, source_mac, next_hop_mac);
            }
            Layout::BareIpv4(_) | Layout::BareIpv6(_) => {}
        }
        SynTemplate(layout)
    }

    /// The template for probes from `source` without a link header, for sockets and devices that take IP packets.
    pub fn bare(source: IpAddr) -> Self {
        SynTemplate(match source {
            IpAddr::V4(source) => Layout::BareIpv4(Template::ipv4(source)),
            IpAddr::V6(source) => Layout::BareIpv6(Template::ipv6(source)),
        })
    }

    /// How many bytes each probe takes.
    #[expect(clippy::len_without_is_empty, reason = "no probe is empty")]
    pub fn len(&self) -> usize {
        match &self.0 {
            Layout::EthernetIpv4(template) => template.bytes.len(),
            Layout::EthernetIpv6(template) => template.bytes.len(),
            Layout::BareIpv4(template) => template.bytes.len(),
            Layout::BareIpv6(template) => template.bytes.len(),
        }
    }

    /// Hands later probes to another next hop. A template without a link header stays as it is.
    pub fn set_next_hop(&mut self, mac: [u8; 6]) {
        match &mut self.0 {
            Layout::EthernetIpv4(template) => put(&mut template.bytes, ETHERNET_DESTINATION, mac),
            Layout::EthernetIpv6(template) => put(&mut template.bytes, ETHERNET_DESTINATION, mac),
            Layout::BareIpv4(_) | Layout::BareIpv6(_) => {}
        }
    }

    /// Writes the whole of one probe and says how many bytes that are. `None` if `out` is too short, or if the
    /// destination is not of the source's family; `out` is then as it was.
    #[inline]
    pub fn write(&self, out: &mut [u8], fields: &SynFields) -> Option<usize> {
        match (&self.0, fields.destination) {
            (Layout::EthernetIpv4(template), IpAddr::V4(to)) => template.write_ipv4(out, to, fields),
            (Layout::EthernetIpv6(template), IpAddr::V6(to)) => template.write_ipv6(out, to, fields),
            (Layout::BareIpv4(template), IpAddr::V4(to)) => template.write_ipv4(out, to, fields),
            (Layout::BareIpv6(template), IpAddr::V6(to)) => template.write_ipv6(out, to, fields),
            _ => None,
        }
    }
}

/// Where the fields that differ stand in their headers.
mod field {
    pub const IPV4_ID: usize = 4;
    pub const IPV4_CHECKSUM: usize = 10;
    pub const IPV4_DESTINATION: usize = 16;
    pub const IPV6_DESTINATION: usize = 24;

    pub const TCP_SOURCE: usize = 0;
    pub const TCP_DESTINATION: usize = 2;
    pub const TCP_SEQUENCE: usize = 4;
    pub const TCP_CHECKSUM: usize = 16;
}

/// All bytes of a probe, its headers one behind the other up to the end, and the sums of what does not differ.
#[derive(Clone, Debug)]
struct Template<const LEN: usize> {
    bytes: [u8; LEN],
    /// Of the IPv4 header; IPv6 has no such checksum.
    ip_sum: u32,
    tcp_sum: u32,
}

impl<const LEN: usize> Template<LEN> {
    const TCP: usize = LEN - TCP_LEN;

    fn ipv4(source: Ipv4Addr) -> Self {
        let mut bytes = [0; LEN];
        let (head, tcp) = bytes.split_at_mut(Self::TCP);
        let (_, ip) = head.split_at_mut(Self::TCP - IPV4_LEN);
        lay_out_ipv4(ip, source);
        lay_out_tcp(tcp, IPV4_MSS);
        let ip_sum = checksum::sum(ip);
        let tcp_sum = checksum::sum(tcp) + checksum::sum(&source.octets()) + PSEUDO_HEADER_SUM;
        Template { bytes, ip_sum, tcp_sum }
    }

    fn ipv6(source: Ipv6Addr) -> Self {
        let mut bytes = [0; LEN];
        let (head, tcp) = bytes.split_at_mut(Self::TCP);
        let (_, ip) = head.split_at_mut(Self::TCP - IPV6_LEN);
        lay_out_ipv6(ip, source);
        lay_out_tcp(tcp, IPV6_MSS);
        // RFC 8200, section 8.1: this pseudo header adds up to the same words as the one of IPv4, for its length and
        // its next header have more bytes but no larger values.
        let tcp_sum = checksum::sum(tcp) + checksum::sum(&source.octets()) + PSEUDO_HEADER_SUM;
        Template { bytes, ip_sum: 0, tcp_sum }
    }

    #[inline]
    fn write_ipv4(&self, out: &mut [u8], destination: Ipv4Addr, fields: &SynFields) -> Option<usize> {
        let out = out.first_chunk_mut::<LEN>()?;
        let ip = Self::TCP - IPV4_LEN;
        // With "don't fragment" set the identification says nothing (RFC 6864); it only has to look alive.
        let id = (fields.sequence >> 16) as u16 ^ fields.source_port;
        let address_sum = checksum::words(u32::from(destination));
        let ip_check = checksum::finish(self.ip_sum + address_sum + u32::from(id));
        *out = self.bytes;
        put(out, ip + field::IPV4_ID, id.to_be_bytes());
        put(out, ip + field::IPV4_CHECKSUM, ip_check.to_be_bytes());
        put(out, ip + field::IPV4_DESTINATION, destination.octets());
        put_tcp(out, self.tcp_sum + address_sum, fields);
        Some(LEN)
    }

    #[inline]
    fn write_ipv6(&self, out: &mut [u8], destination: Ipv6Addr, fields: &SynFields) -> Option<usize> {
        let out = out.first_chunk_mut::<LEN>()?;
        let ip = Self::TCP - IPV6_LEN;
        let address_sum: u32 = destination.segments().into_iter().map(u32::from).sum();
        *out = self.bytes;
        put(out, ip + field::IPV6_DESTINATION, destination.octets());
        put_tcp(out, self.tcp_sum + address_sum, fields);
        Some(LEN)
    }
}

/// What a pseudo header adds to the sum beside its two addresses: the protocol and the length.
const PSEUDO_HEADER_SUM: u32 = IpNextHeaderProtocols::Tcp.0 as u32 + TCP_LEN as u32;

/// Fills in the TCP header at the end, given the sum of all that is in it and its pseudo header already.
#[inline]
fn put_tcp<const N: usize>(packet: &mut [u8; N], sum: u32, fields: &SynFields) {
    let at = N - TCP_LEN;
    let ports = u32::from(fields.source_port) + u32::from(fields.destination_port);
    let check = checksum::finish(sum + ports + checksum::words(fields.sequence));
    put(packet, at + field::TCP_SOURCE, fields.source_port.to_be_bytes());
    put(packet, at + field::TCP_DESTINATION, fields.destination_port.to_be_bytes());
    put(packet, at + field::TCP_SEQUENCE, fields.sequence.to_be_bytes());
    put(packet, at + field::TCP_CHECKSUM, check.to_be_bytes());
}

#[inline]
fn put<const N: usize, const M: usize>(packet: &mut [u8; N], at: usize, bytes: [u8; M]) {
    packet[at..at + M].copy_from_slice(&bytes);
}

fn lay_out_ethernet(bytes: &mut [u8], kind: EtherType, source: [u8; 6], destination: [u8; 6]) {
    if let Some(mut header) = MutableEthernetPacket::new(bytes) {
        header.set_source(MacAddr::from(source));
        header.set_destination(MacAddr::from(destination));
        header.set_ethertype(kind);
    }
}

fn lay_out_ipv4(bytes: &mut [u8], source: Ipv4Addr) {
    if let Some(mut header) = MutableIpv4Packet::new(bytes) {
        header.set_version(4);
        header.set_header_length(5);
        header.set_total_length((IPV4_LEN + TCP_LEN) as u16);
        header.set_flags(Ipv4Flags::DontFragment);
        header.set_ttl(128);
        header.set_next_level_protocol(IpNextHeaderProtocols::Tcp);
        header.set_source(source);
    }
}

/// Traffic class and flow label stay 0: a label that changed from try to try would take each over another path.
fn lay_out_ipv6(bytes: &mut [u8], source: Ipv6Addr) {
    if let Some(mut header) = MutableIpv6Packet::new(bytes) {
        header.set_version(6);
        header.set_payload_length(TCP_LEN as u16);
        header.set_next_header(IpNextHeaderProtocols::Tcp);
        header.set_hop_limit(64);
        header.set_source(source);
    }
}

fn lay_out_tcp(bytes: &mut [u8], mss: u16) {
    if let Some(mut header) = MutableTcpPacket::new(bytes) {
        header.set_data_offset((TCP_LEN / 4) as u8);
        header.set_flags(TcpFlags::SYN);
        header.set_window(64_240);
        header.set_options(&[
            TcpOption::mss(mss),
            TcpOption::nop(),
            TcpOption::wscale(8),
            TcpOption::nop(),
            TcpOption::nop(),
            TcpOption::sack_perm(),
        ]);
    }
}

#[cfg(test)]
mod tests {
    use pnet::packet::Packet;
    use pnet::packet::ethernet::EthernetPacket;
    use pnet::packet::ipv4::{self, Ipv4Packet};
    use pnet::packet::ipv6::Ipv6Packet;
    use pnet::packet::tcp::{self, TcpPacket};
    use proptest::prelude::*;

    use super::*;

    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const NEXT_HOP: [u8; 6] = [2, 0, 0, 0, 0, 2];

    /// Whether pnet reads these fields in a segment, and six options with this MSS.
    fn check_tcp(tcp: &TcpPacket<'_>, fields: &SynFields, mss: u16) -> Result<(), TestCaseError> {
        prop_assert_eq!(
            (tcp.get_source(), tcp.get_destination()),
            (fields.source_port, fields.destination_port)
        );
        prop_assert_eq!((tcp.get_sequence(), tcp.get_flags()), (fields.sequence, TcpFlags::SYN));
        prop_assert_eq!(tcp.get_options_iter().count(), 6);
        let first = tcp.get_options_iter().next().map(|option| option.payload().to_vec());
        prop_assert_eq!(first, Some(mss.to_be_bytes().to_vec()));
        Ok(())
    }

    /// The probe with and without a link header: the same packet, and nothing written past it.
    fn written(source: IpAddr, fields: &SynFields) -> Result<Vec<u8>, TestCaseError> {
        let (framed, bare) = (SynTemplate::ethernet(source, OURS, NEXT_HOP), SynTemplate::bare(source));
        let mut frame = [0xee; MAX_SYN_LEN + 1];
        let mut packet = frame;
        prop_assert_eq!(framed.write(&mut frame, fields), Some(framed.len()));
        prop_assert_eq!(bare.write(&mut packet, fields), Some(bare.len()));
        prop_assert_eq!(framed.len(), bare.len() + ETHERNET_LEN);
        prop_assert_eq!(&frame[ETHERNET_LEN..framed.len()], &packet[..bare.len()]);
        prop_assert!(frame[framed.len()..].iter().chain(&packet[bare.len()..]).all(|byte| *byte == 0xee));
        prop_assert_eq!(framed.write(&mut frame[..framed.len() - 1], fields), None, "too short");
        prop_assert_eq!(bare.write(&mut packet[..bare.len() - 1], fields), None, "too short");
        let ethernet = EthernetPacket::new(&frame).expect("long enough");
        prop_assert_eq!((ethernet.get_source(), ethernet.get_destination()), (OURS.into(), NEXT_HOP.into()));
        let ethertype = if source.is_ipv4() { EtherTypes::Ipv4 } else { EtherTypes::Ipv6 };
        prop_assert_eq!(ethernet.get_ethertype(), ethertype);
        Ok(packet[..bare.len()].to_vec())
    }

    proptest! {
        /// pnet reads back what was meant, and finds both checksums right.
        #[test]
        fn is_a_valid_ipv4_syn_whatever_the_fields(
            source: u32, destination: u32, source_port: u16, destination_port: u16, sequence: u32,
        ) {
            let (source, destination) = (Ipv4Addr::from(source), Ipv4Addr::from(destination));
            let fields = SynFields { destination: destination.into(), destination_port, source_port, sequence };
            let packet = written(source.into(), &fields)?;
            let ip = Ipv4Packet::new(&packet).unwrap();
            prop_assert_eq!(ip.get_checksum(), ipv4::checksum(&ip));
            prop_assert_eq!((ip.get_source(), ip.get_destination()), (source, destination));
            prop_assert_eq!((usize::from(ip.get_total_length()), ip.get_ttl()), (packet.len(), 128));
            let tcp = TcpPacket::new(ip.payload()).unwrap();
            prop_assert_eq!(tcp.get_checksum(), tcp::ipv4_checksum(&tcp, &source, &destination));
            check_tcp(&tcp, &fields, 1460)?;
        }

        /// The same for IPv6, whose header has no checksum.
        #[test]
        fn is_a_valid_ipv6_syn_whatever_the_fields(
            source: u128, destination: u128, source_port: u16, destination_port: u16, sequence: u32,
        ) {
            let (source, destination) = (Ipv6Addr::from(source), Ipv6Addr::from(destination));
            let fields = SynFields { destination: destination.into(), destination_port, source_port, sequence };
            let packet = written(source.into(), &fields)?;
            let ip = Ipv6Packet::new(&packet).unwrap();
            prop_assert_eq!((ip.get_version(), ip.get_traffic_class(), ip.get_flow_label()), (6, 0, 0));
            prop_assert_eq!((ip.get_source(), ip.get_destination()), (source, destination));
            prop_assert_eq!((usize::from(ip.get_payload_length()), ip.get_hop_limit()), (packet.len() - 40, 64));
            prop_assert_eq!(ip.get_next_header(), IpNextHeaderProtocols::Tcp);
            let tcp = TcpPacket::new(ip.payload()).unwrap();
            prop_assert_eq!(tcp.get_checksum(), tcp::ipv6_checksum(&tcp, &source, &destination));
            check_tcp(&tcp, &fields, 1440)?;
        }
    }

    #[test]
    fn writes_nothing_to_the_other_family() {
        let (v4, v6) = (IpAddr::from([192, 0, 2, 2]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 2]));
        for (source, destination) in [(v4, v6), (v6, v4)] {
            let fields = SynFields { destination, destination_port: 22, source_port: 16_384, sequence: 1 };
            for template in [SynTemplate::ethernet(source, OURS, NEXT_HOP), SynTemplate::bare(source)] {
                assert_eq!(template.write(&mut [0; MAX_SYN_LEN], &fields), None);
            }
        }
    }

    #[test]
    fn another_next_hop_changes_its_address_only() {
        let destination = IpAddr::from([198, 18, 0, 9]);
        let fields = SynFields { destination, destination_port: 22, source_port: 16_384, sequence: 1 };
        let mut template = SynTemplate::ethernet(IpAddr::from([192, 0, 2, 2]), OURS, NEXT_HOP);
        let (mut before, mut after) = ([0; MAX_SYN_LEN], [0; MAX_SYN_LEN]);
        template.write(&mut before, &fields).expect("room");
        template.set_next_hop([6; 6]);
        template.write(&mut after, &fields).expect("room");
        assert_eq!(after[..6], [6; 6]);
        assert_eq!(after[6..], before[6..]);
    }
}
