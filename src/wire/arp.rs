//! ARP for IPv4 over Ethernet (RFC 826): the question for a neighbour's hardware address, and its answer.

use std::net::Ipv4Addr;

use pnet::packet::Packet;
use pnet::packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket};
use pnet::packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet::util::MacAddr;

/// The length of a question in bytes: an Ethernet header and a packet.
pub const REQUEST_LENGTH: usize = HEADER_LENGTH + MutableArpPacket::minimum_packet_size();

/// What an ARP reply says: `sender_ip` is at `sender_mac`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ArpReply {
    /// The hardware address that was asked for.
    pub sender_mac: [u8; 6],
    /// The address that was asked about.
    pub sender_ip: Ipv4Addr,
    /// Who asked.
    pub target_mac: [u8; 6],
    /// Who asked.
    pub target_ip: Ipv4Addr,
}

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

/// Reads an ARP reply; `None` for every other frame, and for one that is cut short, of another kind of network, or that
/// says a station has a group address, which none can have (RFC 1812, section 3.3.2).
pub fn reply(frame: &[u8]) -> Option<ArpReply> {
    let ethernet = EthernetPacket::new(frame)?;
    if ethernet.get_ethertype() != EtherTypes::Arp {
        return None;
    }
    let packet = ArpPacket::new(ethernet.payload())?;
    let speaks_of_us = packet.get_hardware_type() == ArpHardwareTypes::Ethernet
        && packet.get_protocol_type() == EtherTypes::Ipv4
        && packet.get_hw_addr_len() == HARDWARE_ADDRESS_LENGTH
        && packet.get_proto_addr_len() == PROTOCOL_ADDRESS_LENGTH
        && packet.get_operation() == ArpOperations::Reply;
    let sender = packet.get_sender_hw_addr();
    if !speaks_of_us || sender.is_multicast() || sender.is_zero() {
        return None;
    }
    Some(ArpReply {
        sender_mac: sender.octets(),
        sender_ip: packet.get_sender_proto_addr(),
        target_mac: packet.get_target_hw_addr().octets(),
        target_ip: packet.get_target_proto_addr(),
    })
}

/// The length of an Ethernet header without a VLAN tag.
const HEADER_LENGTH: usize = EthernetPacket::minimum_packet_size();
const HARDWARE_ADDRESS_LENGTH: u8 = 6;
const PROTOCOL_ADDRESS_LENGTH: u8 = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];

    /// The answer to `request(OURS, 198.18.0.1, 198.18.0.254)`, byte by byte.
    #[rustfmt::skip]
    const ANSWER: [u8; 42] = [
        2, 0, 0, 0, 0, 1,  2, 0, 0, 0, 0, 2,  0x08, 0x06,
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
        assert_eq!(reply(&frame), None, "a question is no answer");
    }

    #[test]
    fn reads_an_answer_padded_or_not() {
        let expected = ArpReply {
            sender_mac: THEIRS,
            sender_ip: Ipv4Addr::new(198, 18, 0, 254),
            target_mac: OURS,
            target_ip: Ipv4Addr::new(198, 18, 0, 1),
        };
        assert_eq!(reply(&ANSWER), Some(expected));
        let mut padded = ANSWER.to_vec();
        padded.resize(60, 0xff);
        assert_eq!(reply(&padded), Some(expected));
    }

    #[test]
    fn refuses_what_is_cut_short() {
        for length in 0..ANSWER.len() {
            assert_eq!(reply(&ANSWER[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn refuses_what_is_not_ethernet_and_ipv4_and_an_answer_of_one_station() {
        for (at, value, what) in [
            (12, 0x86, "another ethertype"),
            (15, 6, "another hardware"),
            (16, 0x86, "another protocol"),
            (18, 8, "longer hardware addresses"),
            (18, 0, "no hardware addresses"),
            (19, 16, "longer protocol addresses"),
            (21, 1, "a question"),
            (21, 4, "a reverse answer"),
            (22, 3, "a group address"),
        ] {
            let mut frame = ANSWER;
            frame[at] = value;
            assert_eq!(reply(&frame), None, "{what}");
        }
        let mut frame = ANSWER;
        frame[22..28].fill(0);
        assert_eq!(reply(&frame), None, "no address");
        frame[22..28].fill(0xff);
        assert_eq!(reply(&frame), None, "everyone's address");
    }

    proptest! {
        #[test]
        fn no_frame_makes_it_panic(frame in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = reply(&frame);
        }
    }
}
