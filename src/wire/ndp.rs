//! Neighbour discovery for IPv6 over Ethernet (RFC 4861): the question for a neighbour's hardware address, and its
//! answer.

use std::net::{IpAddr, Ipv6Addr};

use pnet::packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet::packet::icmpv6::Icmpv6Types;
use pnet::packet::icmpv6::ndp::{
    MutableNdpOptionPacket, MutableNeighborSolicitPacket, NdpOptionPacket, NdpOptionTypes,
    NeighborAdvertFlags, NeighborSolicitPacket,
};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv6::MutableIpv6Packet;
use pnet::util::MacAddr;

use super::bytes::{array_at, u8_at};
use super::checksum;
use super::ip::{IPV6_LEN, IpPacket, PROTOCOL_ICMPV6};
use super::neighbour::{NeighbourAnswer, is_station};

/// The length of a question in bytes: the headers of Ethernet, IPv6 and ICMPv6, and one option.
pub const SOLICITATION_LENGTH: usize = ETHERNET_LENGTH + IPV6_LEN + MESSAGE_LENGTH + OPTION_LENGTH;

/// The frame that asks who has `wanted`, sent to the group of all whose address ends as that one does (RFC 4291,
/// section 2.7.1; RFC 2464, section 7; RFC 4861, section 7.2.2).
pub fn solicitation(mac: [u8; 6], source: Ipv6Addr, wanted: Ipv6Addr) -> [u8; SOLICITATION_LENGTH] {
    let mut frame = [0; SOLICITATION_LENGTH];
    let [.., high, middle, low] = wanted.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, high, middle, low]);
    let (ethernet, packet) = frame.split_at_mut(ETHERNET_LENGTH);
    let (ip, message) = packet.split_at_mut(IPV6_LEN);
    if let Some(mut header) = MutableEthernetPacket::new(ethernet) {
        header.set_destination(MacAddr::new(0x33, 0x33, 0xff, high, middle, low));
        header.set_source(mac.into());
        header.set_ethertype(EtherTypes::Ipv6);
    }
    if let Some(mut header) = MutableIpv6Packet::new(ip) {
        header.set_version(6);
        header.set_payload_length(message.len() as u16);
        header.set_next_header(IpNextHeaderProtocols::Icmpv6);
        header.set_hop_limit(HOP_LIMIT);
        header.set_source(source);
        header.set_destination(group);
    }
    lay_out_message(message, mac, wanted);
    // RFC 4443, section 2.3.
    let pseudo_header = checksum::sum(&source.octets())
        + checksum::sum(&group.octets())
        + message.len() as u32
        + u32::from(PROTOCOL_ICMPV6);
    let check = checksum::finish(pseudo_header + checksum::sum(message));
    if let Some(mut message) = MutableNeighborSolicitPacket::new(message) {
        message.set_checksum(check);
    }
    frame
}

/// Reads a neighbour advertisement that answers a question, from the IPv6 header on; `None` for every other packet, and
/// for one that RFC 4861, section 7.1.2, tells to throw away. Its checksum is not looked at: on virtual links it may
/// never have been filled in, and where it matters the kernel or the device has thrown away what was damaged.
pub(super) fn answer(packet: &[u8]) -> Option<NeighbourAnswer> {
    // With extension headers nobody asks, and nobody needs to answer.
    if u8_at(packet, NEXT_HEADER)? != PROTOCOL_ICMPV6 {
        return None;
    }
    let ip = IpPacket::parse_ipv6(packet)?;
    let message = ip.payload;
    let is_advertisement = u8_at(message, 0)? == Icmpv6Types::NeighborAdvert.0 && u8_at(message, 1)? == 0;
    let is_solicited = u8_at(message, FLAGS)? & NeighborAdvertFlags::Solicited != 0;
    let wanted = Ipv6Addr::from(*array_at::<16>(message, TARGET)?);
    // A hop limit of 255 has crossed no router, so whoever says this is on the link.
    if ip.ttl != HOP_LIMIT
        || !is_advertisement
        || !is_solicited
        || wanted.is_multicast()
        || ip.destination.is_multicast()
    {
        return None;
    }
    let mac = target_address(message.get(MESSAGE_LENGTH..)?)?;
    is_station(mac).then_some(NeighbourAnswer { ip: IpAddr::V6(wanted), mac, asked_by: ip.destination })
}

const ETHERNET_LENGTH: usize = EthernetPacket::minimum_packet_size();
const MESSAGE_LENGTH: usize = NeighborSolicitPacket::minimum_packet_size();
/// An option with an Ethernet address: type, length and six bytes.
const OPTION_LENGTH: usize = NdpOptionPacket::minimum_packet_size() + 6;
const HOP_LIMIT: u8 = 255;

/// Where things stand in an IPv6 header, and in an advertisement.
const NEXT_HEADER: usize = 6;
const FLAGS: usize = 4;
const TARGET: usize = 8;

/// How many options are walked. An advertisement has one.
const MAX_OPTIONS: usize = 16;

fn lay_out_message(message: &mut [u8], mac: [u8; 6], wanted: Ipv6Addr) {
    let (head, options) = message.split_at_mut(MESSAGE_LENGTH);
    if let Some(mut head) = MutableNeighborSolicitPacket::new(head) {
        head.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
        head.set_target_addr(wanted);
    }
    if let Some(mut option) = MutableNdpOptionPacket::new(options) {
        option.set_option_type(NdpOptionTypes::SourceLLAddr);
        option.set_length(1);
        option.set_data(&mac);
    }
}

/// The first target link-layer address among the options; `None` if there is none, or if they are malformed anywhere:
/// RFC 4861, section 4.6, has a packet with an option of no length thrown away as a whole.
fn target_address(mut options: &[u8]) -> Option<[u8; 6]> {
    let mut mac = None;
    for _ in 0..MAX_OPTIONS {
        if options.is_empty() {
            return mac;
        }
        let length = usize::from(u8_at(options, 1)?) * 8;
        // With no length, the option is nothing, and so has no kind.
        let (option, rest) = options.split_at_checked(length)?;
        if u8_at(option, 0)? == NdpOptionTypes::TargetLLAddr.0 && length == OPTION_LENGTH {
            mac = mac.or(array_at(option, 2).copied());
        }
        options = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use pnet::packet::Packet;
    use pnet::packet::icmpv6::{self, Icmpv6Packet};
    use pnet::packet::ipv6::Ipv6Packet;
    use proptest::prelude::*;

    use super::*;

    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];
    const ASKER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
    const WANTED: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x1234, 0x5678);

    /// The answer to `solicitation(OURS, ASKER, WANTED)`, with these options.
    fn advertisement(options: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 24 + options.len() as u8, 58, 255];
        packet.extend(WANTED.octets());
        packet.extend(ASKER.octets());
        packet.extend([136, 0, 0, 0, 0x60, 0, 0, 0]);
        packet.extend(WANTED.octets());
        packet.extend(options);
        packet
    }

    const OPTION: [u8; 8] = [2, 1, 2, 0, 0, 0, 0, 2];

    #[test]
    fn asks_as_rfc_4861_says() {
        let frame = solicitation(OURS, ASKER, WANTED);
        #[rustfmt::skip]
        let expected = [
            0x33, 0x33, 0xff, 0x34, 0x56, 0x78,  2, 0, 0, 0, 0, 1,  0x86, 0xdd,
            0x60, 0, 0, 0,  0, 32,  58,  255,
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
            0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0x34, 0x56, 0x78,
            135, 0,  frame[56], frame[57],  0, 0, 0, 0,
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78,
            1, 1,  2, 0, 0, 0, 0, 1,
        ];
        assert_eq!(frame, expected);
        assert_eq!(answer(&frame[ETHERNET_LENGTH..]), None, "a question is no answer");
    }

    #[test]
    fn reads_an_answer_whatever_else_it_has() {
        let expected = NeighbourAnswer { ip: WANTED.into(), mac: THEIRS, asked_by: ASKER.into() };
        assert_eq!(answer(&advertisement(&OPTION)), Some(expected));
        // An option of another kind, and one of ours that is too long for Ethernet.
        let before = [[14, 1, 0, 0, 0, 0, 0, 0], [2, 2, 9, 9, 9, 9, 9, 9], [9; 8]].concat();
        assert_eq!(answer(&advertisement(&[&before[..], &OPTION].concat())), Some(expected));
        let after = [OPTION, [2, 1, 4, 0, 0, 0, 0, 9]].concat();
        assert_eq!(answer(&advertisement(&after)), Some(expected), "the first counts");
        let mut padded = advertisement(&OPTION);
        padded.extend([0; 8]);
        assert_eq!(answer(&padded), Some(expected), "padding is no option");
    }

    #[test]
    fn refuses_what_is_cut_short_or_malformed() {
        let whole = advertisement(&OPTION);
        for length in 0..whole.len() {
            assert_eq!(answer(&whole[..length]), None, "{length} bytes");
        }
        assert_eq!(answer(&advertisement(&[])), None, "no option");
        let nothing = [OPTION, [1, 0, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(answer(&advertisement(&nothing)), None, "an option of no length");
        let beyond = [OPTION, [1, 2, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(answer(&advertisement(&beyond)), None, "an option beyond the end");
        assert!(answer(&advertisement(&OPTION.repeat(MAX_OPTIONS - 1))).is_some());
        assert_eq!(answer(&advertisement(&OPTION.repeat(MAX_OPTIONS + 1))), None, "too many options");
    }

    #[test]
    fn refuses_what_is_no_answer_of_one_station_on_the_link() {
        for (at, value, what) in [
            (0, 0x40, "another version"),
            (6, 6, "another protocol"),
            (6, 60, "an extension header"),
            (7, 254, "has crossed a router"),
            (24, 0xff, "to a group"),
            (40, 135, "a question"),
            (41, 1, "another code"),
            (44, 0x20, "nobody asked"),
            (48, 0xff, "about a group"),
            (64, 1, "the sender's address"),
            (66, 3, "a group address"),
        ] {
            let mut packet = advertisement(&OPTION);
            packet[at] = value;
            assert_eq!(answer(&packet), None, "{what}");
        }
        let mut packet = advertisement(&OPTION);
        packet[66..72].fill(0);
        assert_eq!(answer(&packet), None, "no address");
    }

    proptest! {
        /// pnet finds the checksum right.
        #[test]
        fn asks_with_a_right_checksum(mac: [u8; 6], source: u128, wanted: u128) {
            let frame = solicitation(mac, source.into(), wanted.into());
            let ip = Ipv6Packet::new(&frame[ETHERNET_LENGTH..]).unwrap();
            let message = Icmpv6Packet::new(ip.payload()).unwrap();
            let expected = icmpv6::checksum(&message, &ip.get_source(), &ip.get_destination());
            prop_assert_eq!(message.get_checksum(), expected);
        }

        #[test]
        fn no_advertisement_makes_it_panic(options in prop::collection::vec(any::<u8>(), 0..80), cut in 0_usize..144) {
            let packet = advertisement(&options);
            let _ = answer(&packet[..cut.min(packet.len())]);
        }
    }
}
