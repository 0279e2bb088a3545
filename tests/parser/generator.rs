//! Packets as a network may deliver them: replies to our probes, of every shape, and then some of them damaged.

use std::net::{Ipv4Addr, Ipv6Addr};

const OURS_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const OURS_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// Makes one packet from a seed and its number, so that each can be made again alone.
pub struct Generator {
    state: u64,
}

impl Generator {
    pub fn new(seed: u64, index: u64) -> Self {
        let mut generator = Generator { state: seed.wrapping_mul(0xd134_2543_de82_ef95) ^ index };
        generator.next();
        generator
    }

    /// A reply of either family, most of the time.
    pub fn packet(&mut self) -> Vec<u8> {
        let mut packet = if self.one_in(2) { self.ipv4_reply() } else { self.ipv6_reply() };
        if self.one_in(4) {
            let padding = self.below(40);
            packet.extend(self.bytes(padding));
        }
        if self.one_in(5) {
            packet.truncate(self.below(packet.len() + 1));
        }
        if self.one_in(5) && !packet.is_empty() {
            for _ in 0..=self.below(4) {
                let at = self.below(packet.len());
                packet[at] ^= 1 << self.below(8);
            }
        }
        packet
    }

    fn ipv4_reply(&mut self) -> Vec<u8> {
        let (protocol, payload) = match self.below(8) {
            0..=4 => (6, self.segment()),
            5..=6 => (1, self.icmp(&[3, 11, 3, 11, 0, 8, 5, 12], false)),
            _ => (self.below(256) as u8, self.segment()),
        };
        let source = Ipv4Addr::from(self.next() as u32);
        self.ipv4(source, OURS_V4, protocol, &payload)
    }

    fn ipv6_reply(&mut self) -> Vec<u8> {
        let (protocol, payload) = match self.below(8) {
            0..=4 => (6, self.segment()),
            5..=6 => (58, self.icmp(&[1, 3, 1, 3, 2, 4, 128, 136], true)),
            _ => (self.below(256) as u8, self.segment()),
        };
        let source = self.ipv6_address();
        self.ipv6(source, OURS_V6, protocol, &payload)
    }

    fn ipv4(&mut self, source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let options = if self.one_in(3) { self.below(11) } else { 0 };
        let fragment = match self.below(12) {
            0 => self.next() as u16,
            1 => 0x2000,
            _ => 0x4000,
        };
        let length = self.length(20 + options * 4 + payload.len());
        let mut packet = vec![0x45 + options as u8, self.next() as u8];
        packet.extend(length.to_be_bytes());
        packet.extend((self.next() as u16).to_be_bytes());
        packet.extend(fragment.to_be_bytes());
        packet.extend([self.next() as u8, protocol, 0, 0]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        packet.extend(self.bytes(options * 4));
        packet.extend(payload);
        packet
    }

    fn ipv6(&mut self, source: Ipv6Addr, destination: Ipv6Addr, last: u8, payload: &[u8]) -> Vec<u8> {
        let (first, extensions) = self.extensions(last);
        let length = match self.below(16) {
            0 => 0,
            _ => self.length(extensions.len() + payload.len()),
        };
        let mut packet = vec![0x60 | self.below(16) as u8];
        packet.extend(self.bytes(3));
        packet.extend(length.to_be_bytes());
        packet.extend([first, self.next() as u8]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        packet.extend(extensions);
        packet.extend(payload);
        packet
    }

    /// A chain of extension headers, and the number of the first: most often none, sometimes in the right order,
    /// sometimes in none.
    fn extensions(&mut self, last: u8) -> (u8, Vec<u8>) {
        let kinds: Vec<u8> = match self.below(8) {
            0 => [0, 60, 43, 44, 51, 60].into_iter().filter(|_| self.one_in(2)).collect(),
            1 => (0..self.below(11)).map(|_| [0, 43, 44, 51, 60, 60, 43][self.below(7)]).collect(),
            2 => vec![44],
            _ => Vec::new(),
        };
        let nexts: Vec<u8> = kinds.iter().skip(1).copied().chain([last]).collect();
        let mut bytes = Vec::new();
        for (kind, next) in kinds.iter().zip(nexts) {
            let words = self.below(3);
            match kind {
                44 => {
                    // Below 8 are the flag and the reserved bits; 8 is the least offset.
                    let end = [8, 8, 8, 16, 1 << 16][self.below(5)];
                    let offset = self.below(end) as u16;
                    bytes.extend([next, self.next() as u8]);
                    bytes.extend(offset.to_be_bytes());
                    bytes.extend(self.bytes(4));
                }
                51 => {
                    bytes.extend([next, words as u8]);
                    bytes.extend(self.bytes((words + 2) * 4 - 2));
                }
                _ => {
                    bytes.extend([next, words as u8]);
                    bytes.extend(self.bytes(words * 8 + 6));
                }
            }
        }
        (kinds.first().copied().unwrap_or(last), bytes)
    }

    fn segment(&mut self) -> Vec<u8> {
        let options = match self.below(3) {
            0 => Vec::new(),
            1 => vec![2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2],
            _ => {
                let words = self.below(11);
                self.bytes(words * 4)
            }
        };
        let flags = [0x12, 0x12, 0x14, 0x14, 0x52, 0x04, 0x02, 0x10, 0x16, self.next() as u8][self.below(10)];
        let offset = if self.one_in(12) { self.below(16) } else { (20 + options.len()) / 4 };
        let mut segment = self.bytes(12);
        segment.extend([(offset << 4) as u8 | self.below(16) as u8, flags]);
        segment.extend(self.bytes(6));
        segment.extend(options);
        let content = self.below(9);
        segment.extend(self.bytes(content));
        segment
    }

    /// An ICMP message of one of these types that quotes a packet of ours, or of somebody else's.
    fn icmp(&mut self, types: &[u8], v6: bool) -> Vec<u8> {
        let mut message = vec![types[self.below(types.len())], self.below(16) as u8];
        message.extend(self.bytes(6));
        let protocol = if self.one_in(10) { self.next() as u8 } else { 6 };
        let segment = self.segment();
        let theirs = self.one_in(10);
        let mut quote = if v6 {
            let source = if theirs { self.ipv6_address() } else { OURS_V6 };
            let destination = self.ipv6_address();
            self.ipv6(source, destination, protocol, &segment)
        } else {
            let source = if theirs { Ipv4Addr::from(self.next() as u32) } else { OURS_V4 };
            let destination = Ipv4Addr::from(self.next() as u32);
            self.ipv4(source, destination, protocol, &segment)
        };
        if self.one_in(3) {
            quote.truncate(self.below(quote.len() + 1));
        } else if self.one_in(3) {
            quote.truncate(if v6 { 48 } else { 28 });
        }
        message.extend(quote);
        message
    }

    /// A length, and now and then another one.
    fn length(&mut self, right: usize) -> u16 {
        match self.below(16) {
            0 => self.next() as u16,
            1 => self.below(right + 1) as u16,
            _ => right as u16,
        }
    }

    fn ipv6_address(&mut self) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.next()) << 64 | u128::from(self.next()))
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}
