//! ARP for IPv4 over Ethernet (RFC 826): the question for a neighbour's hardware address, and its answer.

use std::net::{IpAddr, Ipv4Addr};

use pnet::packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket};
use pnet::packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet::util::MacAddr;

use super::neighbour::{NeighbourAnswer, is_station};

/// The length of a question in bytes: an Ethernet header and a packet.
pub const REQUEST_LENGTH: usize = HEADER_LENGTH + MutableArpPacket::minimum_packet_size();

/// The frame that asks everyone on the network who has `wanted`.
pub fn request(mac: [u8; 6], ip: Ipv4Addr, wanted: Ipv4Addr) -> [u8; REQUEST_LENGTH] {
    let mut frame = [0; REQUEST_LENGTH];
    let (head, body) = frame.split_at_mut(HEADER_LENGTH);
    if let Some(mut header) = MutableEthernetPacket::new(head) {
        header.set_destination(MacAddr::broadcast());
        header.set_source(mac.into());
        header.set_ethertype(EtherTypes::Arp);
    }
    if let Some(mut packet) = MutableArpPacket::new(body) {
        packet.set_hardware_type(ArpHardwareTypes::Ethernet);
        packet.set_protocol_type(EtherTypes::Ipv4);
        packet.set_hw_addr_len(HARDWARE_ADDRESS_LENGTH);
        packet.set_proto_addr_len(PROTOCOL_ADDRESS_LENGTH);
        packet.set_operation(ArpOperations::Request);
        packet.set_sender_hw_addr(mac.into());
        packet.set_sender_proto_addr(ip);
        packet.set_target_proto_addr(wanted);
    }
    frame
}

/// Reads an ARP reply, from the packet's first byte on; `None` for every other packet, and for one that is cut short,
/// of another kind of network, or that says a station has a group address, which none can have (RFC 1812, section
/// 3.3.2).
pub(super) fn answer(packet: &[u8]) -> Option<NeighbourAnswer> {
    let packet = ArpPacket::new(packet)?;
    let speaks_of_us = packet.get_hardware_type() == ArpHardwareTypes::Ethernet
        && packet.get_protocol_type() == EtherTypes::Ipv4
        && packet.get_hw_addr_len() == HARDWARE_ADDRESS_LENGTH
        && packet.get_proto_addr_len() == PROTOCOL_ADDRESS_LENGTH
        && packet.get_operation() == ArpOperations::Reply;
    let sender = packet.get_sender_hw_addr();
    (speaks_of_us && is_station(sender.octets())).then(|| NeighbourAnswer {
        ip: IpAddr::V4(packet.get_sender_proto_addr()),
        mac: sender.octets(),
        asked_by: IpAddr::V4(packet.get_target_proto_addr()),
    })
}

/// The length of an Ethernet header without a VLAN tag.
const HEADER_LENGTH: usize = EthernetPacket::minimum_packet_size();
const HARDWARE_ADDRESS_LENGTH: u8 = 6;
const PROTOCOL_ADDRESS_LENGTH: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];

    /// The answer to `request(OURS, 198.18.0.1, 198.18.0.254)`, byte by byte.
    #[rustfmt::skip]
    const ANSWER: [u8; 28] = [
        0, 1,  0x08, 0,  6, 4,  0, 2,
        2, 0, 0, 0, 0, 2,  198, 18, 0, 254,
        2, 0, 0, 0, 0, 1,  198, 18, 0, 1,
    ];

    #[test]
    fn asks_as_rfc_826_says() {
        #[rustfmt::skip]
        let expected = [
            255, 255, 255, 255, 255, 255,  2, 0, 0, 0, 0, 1,  0x08, 0x06,
            0, 1,  0x08, 0,  6, 4,  0, 1,
            2, 0, 0, 0, 0, 1,  198, 18, 0, 1,
            0, 0, 0, 0, 0, 0,  198, 18, 0, 254,
        ];
        let frame = request(OURS, Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 0, 254));
        assert_eq!(frame, expected);
        assert_eq!(answer(&frame[HEADER_LENGTH..]), None, "a question is no answer");
    }

    #[test]
    fn reads_an_answer_padded_or_not() {
        let expected = NeighbourAnswer {
            ip: IpAddr::from([198, 18, 0, 254]),
            mac: THEIRS,
            asked_by: IpAddr::from([198, 18, 0, 1]),
        };
        assert_eq!(answer(&ANSWER), Some(expected));
        let mut padded = ANSWER.to_vec();
        padded.resize(46, 0xff);
        assert_eq!(answer(&padded), Some(expected));
    }

    #[test]
    fn refuses_what_is_cut_short() {
        for length in 0..ANSWER.len() {
            assert_eq!(answer(&ANSWER[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn refuses_what_is_not_ethernet_and_ipv4_and_an_answer_of_one_station() {
        for (at, value, what) in [
            (1, 6, "another hardware"),
            (2, 0x86, "another protocol"),
            (4, 8, "longer hardware addresses"),
            (4, 0, "no hardware addresses"),
            (5, 16, "longer protocol addresses"),
            (7, 1, "a question"),
            (7, 4, "a reverse answer"),
            (8, 3, "a group address"),
        ] {
            let mut packet = ANSWER;
            packet[at] = value;
            assert_eq!(answer(&packet), None, "{what}");
        }
        let mut packet = ANSWER;
        packet[8..14].fill(0);
        assert_eq!(answer(&packet), None, "no address");
        packet[8..14].fill(0xff);
        assert_eq!(answer(&packet), None, "everyone's address");
    }
}
