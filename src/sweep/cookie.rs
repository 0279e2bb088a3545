//! The cookie: what a reply must carry to be believed.
//!
//! A keyed hash of (source, target, try) gives the sequence number and the source port of each probe. Whoever does not
//! see our probes cannot guess them, so a reply counts only if it acknowledges exactly the number that we sent from
//! exactly the port that we used. The key is fresh in every sweep, so that an answer to the last sweep is no answer to
//! this one, and no (address, port, address, port) returns so soon that the target still remembers it.
//!
//! The hash is SipHash-2-4 (Aumasson and Bernstein, 2012), made for short messages under a secret key; RFC 6528 asks
//! for the same construction in a TCP's initial sequence numbers, and RFC 5927 for the same check on ICMP errors.

use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use crate::target::Target;

/// The source ports that probes come from: a block outside the range that the kernel hands out to connections, so that
/// none of the host's own connections is ever mistaken for a probe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SourcePorts {
    /// The lowest.
    pub first: u16,
    /// How many, from there up.
    pub count: u16,
}

impl SourcePorts {
    /// The block to use beside a kernel whose own range is `first..=last`: the largest of the usual ones that keeps
    /// clear of it.
    pub fn beside(first: u16, last: u16) -> Option<Self> {
        const BLOCKS: [SourcePorts; 4] = [
            SourcePorts { first: 16_384, count: 16_384 },
            SourcePorts { first: 40_000, count: 16_384 },
            SourcePorts { first: 61_000, count: 4096 },
            SourcePorts { first: 10_000, count: 4096 },
        ];
        BLOCKS.into_iter().find(|block| block.first > last || block.last() < first)
    }

    /// The highest.
    pub fn last(self) -> u16 {
        self.first + (self.count - 1)
    }
}

/// The secret of one sweep.
#[derive(Clone)]
pub struct Cookie {
    hasher: SipHasher24,
    ports: SourcePorts,
}

/// What one try at one target carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Token {
    /// The sequence number.
    pub sequence: u32,
    /// The source port.
    pub source_port: u16,
}

impl Cookie {
    /// The cookie under this key.
    pub fn new(key: &[u8; 16], ports: SourcePorts) -> Self {
        Cookie { hasher: SipHasher24::new_with_key(key), ports }
    }

    /// What probe number `try_number` (from 1) at `target` from `source` carries.
    #[inline]
    pub fn token(&self, source: IpAddr, target: &Target, try_number: u8) -> Token {
        let hash = match (source, target.ip) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut message = [0_u8; 11];
                message[..4].copy_from_slice(&from.octets());
                message[4..8].copy_from_slice(&to.octets());
                message[8..10].copy_from_slice(&target.port.to_be_bytes());
                message[10] = try_number;
                self.hasher.hash(&message)
            }
            (from, to) => self.hash_long(from, to, target.port, try_number),
        };
        self.token_of(hash)
    }

    /// What question number `serial` to a canary carries. Its message is longer than any try's, so that no answer to
    /// the one passes for an answer to the other.
    pub fn canary_token(&self, source: IpAddr, target: &Target, serial: u32) -> Token {
        let mut message = [0_u8; 38];
        message[..34].copy_from_slice(&long_message(source, target.ip, target.port));
        message[34..].copy_from_slice(&serial.to_be_bytes());
        self.token_of(self.hasher.hash(&message))
    }

    /// IPv6 is hashed as 35 bytes, IPv4 as 11, so that no message of one is ever a message of the other.
    fn hash_long(&self, from: IpAddr, to: IpAddr, port: u16, try_number: u8) -> u64 {
        let mut message = [0_u8; 35];
        message[..34].copy_from_slice(&long_message(from, to, port));
        message[34] = try_number;
        self.hasher.hash(&message)
    }

    #[inline]
    fn token_of(&self, hash: u64) -> Token {
        let spread = ((hash >> 32) * u64::from(self.ports.count)) >> 32;
        Token { sequence: hash as u32, source_port: self.ports.first + spread as u16 }
    }
}

/// Addresses of either family and the port.
fn long_message(from: IpAddr, to: IpAddr, port: u16) -> [u8; 34] {
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let mut message = [0_u8; 34];
    message[..16].copy_from_slice(&octets(from));
    message[16..32].copy_from_slice(&octets(to));
    message[32..].copy_from_slice(&port.to_be_bytes());
    message
}

impl std::fmt::Debug for Cookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Whoever has the key can forge replies: it is never printed.
        f.debug_struct("Cookie").field("ports", &self.ports).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::target::Transport;

    const PORTS: SourcePorts = SourcePorts { first: 16_384, count: 16_384 };

    fn target(ip: u32, port: u16) -> Target {
        Target { ip: IpAddr::V4(ip.into()), port, transport: Transport::Tcp }
    }

    fn source() -> IpAddr {
        "192.0.2.2".parse().expect("an address")
    }

    #[test]
    fn keeps_clear_of_the_kernel() {
        for (first, last, block) in [
            (32_768, 60_999, Some(16_384)),
            (1024, 32_767, Some(40_000)),
            (1024, 60_999, Some(61_000)),
            (16_000, 65_535, Some(10_000)),
            (1024, 65_535, None),
        ] {
            assert_eq!(SourcePorts::beside(first, last).map(|p| p.first), block, "{first}-{last}");
        }
    }

    #[test]
    fn differs_by_every_input() {
        let cookie = Cookie::new(&[7; 16], PORTS);
        let base = cookie.token(source(), &target(1, 22), 1);
        let others = [
            cookie.token("192.0.2.3".parse().expect("an address"), &target(1, 22), 1),
            cookie.token(source(), &target(2, 22), 1),
            cookie.token(source(), &target(1, 23), 1),
            cookie.token(source(), &target(1, 22), 2),
            Cookie::new(&[8; 16], PORTS).token(source(), &target(1, 22), 1),
        ];
        assert!(others.iter().all(|other| other.sequence != base.sequence));
    }

    /// Sequence numbers and ports of a million probes look like chance: no more repeated numbers than the birthday
    /// bound expects (116 of a million in 2^32; six deviations are 65), and each port about equally often.
    #[test]
    fn spreads_evenly() {
        let cookie = Cookie::new(b"sixteen bytes ok", PORTS);
        let mut numbers = HashSet::new();
        let mut ports = vec![0_u32; usize::from(PORTS.count)];
        for n in 0..1_000_000 {
            let token = cookie.token(source(), &target(n / 6, (n % 6) as u16), 1);
            numbers.insert(token.sequence);
            ports[usize::from(token.source_port - PORTS.first)] += 1;
        }
        assert!(1_000_000 - numbers.len() < 116 + 65, "{} repeats", 1_000_000 - numbers.len());
        let expected = 1e6 / f64::from(PORTS.count);
        let chi: f64 = ports.iter().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
        let freedom = f64::from(PORTS.count - 1);
        assert!((chi - freedom).abs() < 6.0 * (2.0 * freedom).sqrt(), "{chi}");
    }

    proptest! {
        #[test]
        fn stays_in_its_ports(
            key: [u8; 16], ip: u32, port: u16, try_number: u8, first in 1_u16..60_000, count in 1_u16..5000,
        ) {
            let ports = SourcePorts { first, count };
            let token = Cookie::new(&key, ports).token(source(), &target(ip, port), try_number);
            prop_assert!((ports.first..=ports.last()).contains(&token.source_port));
        }
    }
}
