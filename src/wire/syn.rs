//! The SYN frame: made once, then patched for each probe.
//!
//! Everything that is the same for all probes over one hop is laid out by [`SynTemplate::new`], with the sums of both
//! checksums kept; [`SynTemplate::write`] copies it and fills in the six fields that differ. The options are those of a
//! common desktop system (MSS, window scale, SACK permitted), because some appliances drop a SYN that has none.

use std::net::Ipv4Addr;

use pnet::packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{Ipv4Flags, MutableIpv4Packet};
use pnet::packet::tcp::{MutableTcpPacket, TcpFlags, TcpOption};
use pnet::util::MacAddr;

use super::checksum;

/// Length of the Ethernet header.
pub const ETHERNET_LEN: usize = 14;
/// Length of the IPv4 header, without options.
const IPV4_LEN: usize = 20;
/// Length of the TCP header with the options below.
const TCP_LEN: usize = 32;
/// Length of a whole SYN frame over Ethernet and IPv4.
pub const SYN_FRAME_LEN: usize = ETHERNET_LEN + IPV4_LEN + TCP_LEN;

/// Where the fields that differ stand in the frame.
mod field {
    use super::{ETHERNET_LEN, IPV4_LEN};
    const IP: usize = ETHERNET_LEN;
    const TCP: usize = ETHERNET_LEN + IPV4_LEN;

    pub const IP_ID: usize = IP + 4;
    pub const IP_CHECKSUM: usize = IP + 10;
    pub const IP_DESTINATION: usize = IP + 16;
    pub const TCP_SOURCE: usize = TCP;
    pub const TCP_DESTINATION: usize = TCP + 2;
    pub const TCP_SEQUENCE: usize = TCP + 4;
    pub const TCP_CHECKSUM: usize = TCP + 16;
}

/// What a probe needs besides the template.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SynFields {
    /// Where to.
    pub destination: Ipv4Addr,
    /// Where to.
    pub destination_port: u16,
    /// Where from.
    pub source_port: u16,
    /// The sequence number.
    pub sequence: u32,
}

/// A SYN over one hop (source address, source MAC, next hop's MAC).
#[derive(Clone, Debug)]
pub struct SynTemplate {
    frame: [u8; SYN_FRAME_LEN],
    ip_sum: u32,
    tcp_sum: u32,
}

impl SynTemplate {
    /// The template for probes from `source`, handed from `source_mac` to `next_hop_mac`.
    pub fn new(source: Ipv4Addr, source_mac: [u8; 6], next_hop_mac: [u8; 6]) -> Self {
        let mut frame = [0; SYN_FRAME_LEN];
        let (ethernet, rest) = frame.split_at_mut(ETHERNET_LEN);
        let (ip, tcp) = rest.split_at_mut(IPV4_LEN);
        lay_out_ethernet(ethernet, source_mac, next_hop_mac);
        lay_out_ipv4(ip, source);
        lay_out_tcp(tcp);
        let pseudo_header = checksum::sum(&source.octets())
            + u32::from(IpNextHeaderProtocols::Tcp.0)
            + u32::try_from(TCP_LEN).unwrap_or(0);
        let (ip_sum, tcp_sum) = (checksum::sum(ip), checksum::sum(tcp) + pseudo_header);
        SynTemplate { frame, ip_sum, tcp_sum }
    }

    /// Writes the whole frame of one probe.
    #[inline]
    pub fn write(&self, out: &mut [u8; SYN_FRAME_LEN], fields: &SynFields) {
        let destination = u32::from(fields.destination);
        // With "don't fragment" set the identification says nothing (RFC 6864); it only has to look alive.
        let id = (fields.sequence >> 16) as u16 ^ fields.source_port;
        let address_sum = checksum::words(destination);
        let ip_check = checksum::finish(self.ip_sum + address_sum + u32::from(id));
        let tcp_check = checksum::finish(
            self.tcp_sum
                + address_sum
                + u32::from(fields.source_port)
                + u32::from(fields.destination_port)
                + checksum::words(fields.sequence),
        );
        *out = self.frame;
        put(out, field::IP_ID, id.to_be_bytes());
        put(out, field::IP_CHECKSUM, ip_check.to_be_bytes());
        put(out, field::IP_DESTINATION, destination.to_be_bytes());
        put(out, field::TCP_SOURCE, fields.source_port.to_be_bytes());
        put(out, field::TCP_DESTINATION, fields.destination_port.to_be_bytes());
        put(out, field::TCP_SEQUENCE, fields.sequence.to_be_bytes());
        put(out, field::TCP_CHECKSUM, tcp_check.to_be_bytes());
    }
}

#[inline]
fn put<const N: usize>(frame: &mut [u8; SYN_FRAME_LEN], at: usize, bytes: [u8; N]) {
    frame[at..at + N].copy_from_slice(&bytes);
}

fn lay_out_ethernet(bytes: &mut [u8], source: [u8; 6], destination: [u8; 6]) {
    if let Some(mut header) = MutableEthernetPacket::new(bytes) {
        header.set_source(MacAddr::from(source));
        header.set_destination(MacAddr::from(destination));
        header.set_ethertype(EtherTypes::Ipv4);
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

fn lay_out_tcp(bytes: &mut [u8]) {
    if let Some(mut header) = MutableTcpPacket::new(bytes) {
        header.set_data_offset((TCP_LEN / 4) as u8);
        header.set_flags(TcpFlags::SYN);
        header.set_window(64_240);
        header.set_options(&[
            TcpOption::mss(1460),
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
    use pnet::packet::tcp::{self, TcpPacket};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// pnet reads back what was meant, and finds both checksums right.
        #[test]
        fn is_a_valid_syn_whatever_the_fields(
            source: u32, destination: u32, source_port: u16, destination_port: u16, sequence: u32,
        ) {
            let fields = SynFields { destination: destination.into(), destination_port, source_port, sequence };
            let mut frame = [0xee; SYN_FRAME_LEN];
            SynTemplate::new(source.into(), [2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).write(&mut frame, &fields);
            let ethernet = EthernetPacket::new(&frame).unwrap();
            prop_assert_eq!(ethernet.get_destination(), MacAddr::new(2, 0, 0, 0, 0, 2));
            let ip = Ipv4Packet::new(ethernet.payload()).unwrap();
            prop_assert_eq!(ip.get_checksum(), ipv4::checksum(&ip));
            prop_assert_eq!((ip.get_source(), ip.get_destination()), (source.into(), destination.into()));
            prop_assert_eq!(usize::from(ip.get_total_length()), SYN_FRAME_LEN - ETHERNET_LEN);
            let tcp = TcpPacket::new(ip.payload()).unwrap();
            prop_assert_eq!(tcp.get_checksum(), tcp::ipv4_checksum(&tcp, &ip.get_source(), &ip.get_destination()));
            prop_assert_eq!((tcp.get_source(), tcp.get_destination()), (source_port, destination_port));
            prop_assert_eq!((tcp.get_sequence(), tcp.get_flags()), (sequence, TcpFlags::SYN));
            prop_assert_eq!(tcp.get_options_iter().count(), 6);
        }
    }
}
