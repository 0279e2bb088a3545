//! What a neighbour answers: that an address is at its hardware address. In IPv4 that is an ARP reply, in IPv6 a
//! neighbour advertisement; whoever asked reads both the same way.

use std::net::IpAddr;

use super::bytes::u8_at;
use super::{arp, ndp};

/// A neighbour's answer, as far as bytes can tell: whether anybody has asked is for the asker to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NeighbourAnswer {
    /// The address that was asked about.
    pub ip: IpAddr,
    /// Its hardware address. Neither zero nor a group's.
    pub mac: [u8; 6],
    /// Who asked: the target of the ARP reply, or the destination of the advertisement.
    pub asked_by: IpAddr,
}

/// The answer in a packet that has arrived without its link's header; `None` for every other packet.
///
/// The two kinds tell themselves apart: an ARP packet begins with the kind of hardware, and those that have Ethernet's
/// addresses all have numbers below 4096; an IPv6 packet begins with a 6.
pub fn neighbour_answer(packet: &[u8]) -> Option<NeighbourAnswer> {
    match u8_at(packet, 0)? >> 4 {
        0 => arp::answer(packet),
        6 => ndp::answer(packet),
        _ => None,
    }
}

/// Whether one station can have this hardware address: it is nobody's if it is zero, and many stations' if the lowest
/// bit of the first byte is set (IEEE 802, section 8.2).
pub(super) fn is_station(mac: [u8; 6]) -> bool {
    let [first, ..] = mac;
    first & 1 == 0 && mac != [0; 6]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn knows_whose_address_it_can_be() {
        assert!(is_station([2, 0, 0, 0, 0, 1]) && is_station([0, 0, 0, 0, 0, 1]));
        assert!(!is_station([0; 6]) && !is_station([0xff; 6]) && !is_station([0x33, 0x33, 0, 0, 0, 1]));
    }

    proptest! {
        #[test]
        fn no_packet_makes_it_panic(mut packet in prop::collection::vec(any::<u8>(), 1..120), ipv6: bool) {
            packet[0] = if ipv6 { 0x60 } else { 0 };
            let _ = neighbour_answer(&packet);
        }
    }
}
