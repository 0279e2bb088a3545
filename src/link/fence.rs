//! The fence: the last look at where a probe goes, right beside the system call that sends it.
//!
//! Every link holds one and asks it for each probe. It is made from the same scope but shares no code with the way that
//! targets are computed, so that a bug up there (an index off by one, a wrong table) cannot send anything outside.

use std::net::IpAddr;

use super::{LinkError, Probe};

/// Where probes may go.
#[derive(Clone, Debug)]
pub struct Fence {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    /// One bit for each port.
    ports: Box<[u64; 1024]>,
}

impl Fence {
    /// A fence around these ranges of addresses (both ends included, in any order) and these ports.
    pub fn new(
        ranges: impl IntoIterator<Item = (IpAddr, IpAddr)>,
        ports: impl IntoIterator<Item = u16>,
    ) -> Self {
        let mut fence = Fence { v4: Vec::new(), v6: Vec::new(), ports: Box::new([0; 1024]) };
        for range in ranges {
            match range {
                (IpAddr::V4(first), IpAddr::V4(last)) => fence.v4.push((first.into(), last.into())),
                (IpAddr::V6(first), IpAddr::V6(last)) => fence.v6.push((first.into(), last.into())),
                // No such range exists; leaving it out keeps more in, not less.
                _ => {}
            }
        }
        fence.v4.sort_unstable();
        fence.v6.sort_unstable();
        for port in ports {
            fence.ports[usize::from(port) / 64] |= 1 << (port % 64);
        }
        fence
    }

    /// Whether a probe may go there.
    #[inline]
    pub fn holds(&self, ip: IpAddr, port: u16) -> bool {
        let address = match ip {
            IpAddr::V4(v4) => within(&self.v4, v4.into()),
            IpAddr::V6(v6) => within(&self.v6, v6.into()),
        };
        address && self.ports[usize::from(port) / 64] >> (port % 64) & 1 == 1
    }

    /// The ranges of addresses, both ends included.
    pub fn ranges(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        let four =
            self.v4.iter().map(|(first, last)| (IpAddr::V4((*first).into()), IpAddr::V4((*last).into())));
        let six =
            self.v6.iter().map(|(first, last)| (IpAddr::V6((*first).into()), IpAddr::V6((*last).into())));
        four.chain(six)
    }

    /// The ports, one bit for each: port 0 is the lowest bit of the first word.
    pub fn port_bits(&self) -> &[u64; 1024] {
        &self.ports
    }

    /// Lets the probe pass, or names it.
    ///
    /// # Errors
    /// When it would go outside.
    #[inline]
    pub fn check(&self, probe: &Probe) -> Result<(), LinkError> {
        if self.holds(probe.ip, probe.port) {
            Ok(())
        } else {
            Err(LinkError::OutsideFence { ip: probe.ip, port: probe.port })
        }
    }
}

/// Whether a number is in one of the disjoint, sorted ranges.
#[inline]
fn within<N: Copy + Ord>(ranges: &[(N, N)], number: N) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= number);
    after > 0 && number <= ranges[after - 1].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_declared_and_nothing_else() {
        let ip = |text: &str| text.parse::<IpAddr>().expect(text);
        let ranges =
            [("198.18.4.0", "198.18.4.9"), ("198.18.0.0", "198.18.0.255"), ("2001:db8::", "2001:db8::3")];
        let fence = Fence::new(ranges.map(|(a, b)| (ip(a), ip(b))), [22, 65535]);
        for (address, port, held) in [
            ("198.18.0.0", 22, true),
            ("198.18.0.255", 65535, true),
            ("198.18.1.0", 22, false),
            ("198.17.255.255", 22, false),
            ("198.18.4.9", 22, true),
            ("198.18.4.10", 22, false),
            ("198.18.4.9", 23, false),
            ("198.18.4.9", 0, false),
            ("2001:db8::3", 22, true),
            ("2001:db8::4", 22, false),
            ("::", 22, false),
        ] {
            assert_eq!(fence.holds(ip(address), port), held, "{address} {port}");
        }
        assert!(!Fence::new([], [22]).holds(ip("198.18.0.1"), 22));
    }
}
