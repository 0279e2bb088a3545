//! Where the routes may change within a range: pure arithmetic on the numbers of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Numbers at which another route may begin, sorted; of one address family.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Cuts(Vec<u128>);

impl Cuts {
    /// The cuts at both ends of each of these prefixes, given by an address in it and its length.
    pub(super) fn new(prefixes: impl IntoIterator<Item = (IpAddr, u8)>) -> Self {
        let mut cuts = Vec::new();
        for (ip, length) in prefixes {
            let (first, last) = ends(ip, length);
            cuts.push(first);
            // Behind the very last address nothing begins.
            cuts.extend(last.checked_add(1));
        }
        cuts.sort_unstable();
        cuts.dedup();
        Cuts(cuts)
    }

    /// The range cut in pieces, in order.
    pub(super) fn pieces(&self, first: u128, last: u128) -> impl Iterator<Item = (u128, u128)> {
        let from = self.0.partition_point(|cut| *cut <= first);
        let to = self.0.partition_point(|cut| *cut <= last);
        let inner = self.0.get(from..to).unwrap_or_default();
        let begins = std::iter::once(first).chain(inner.iter().copied());
        let ends = inner.iter().map(|cut| cut - 1).chain(std::iter::once(last));
        begins.zip(ends)
    }
}

/// Addresses of a meaning that no table of routes need mention.
pub(super) const SPECIAL_V4: [(IpAddr, u8); 4] = [
    (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 32),
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4),
    (IpAddr::V4(Ipv4Addr::BROADCAST), 32),
];

/// The same of IPv6.
pub(super) const SPECIAL_V6: [(IpAddr, u8); 3] = [
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 128),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    (IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
];

/// The number of an address within its family.
pub(super) fn number_of(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// The address of a number, in the family of `like`; the inverse of [`number_of`].
pub(super) fn address_of(number: u128, like: IpAddr) -> IpAddr {
    match (like, u32::try_from(number)) {
        (IpAddr::V4(_), Ok(number)) => IpAddr::V4(number.into()),
        // No number of an IPv4 address is larger than this.
        (IpAddr::V4(_), Err(_)) => IpAddr::V4(Ipv4Addr::BROADCAST),
        (IpAddr::V6(_), _) => IpAddr::V6(number.into()),
    }
}

/// Sorts ranges and takes from each what an earlier one has. Ranges of two families or in the wrong order hold nothing.
pub(super) fn disjoint(ranges: &[(IpAddr, IpAddr)]) -> Vec<(IpAddr, IpAddr)> {
    let mut sorted: Vec<(IpAddr, IpAddr)> = ranges
        .iter()
        .map(|(first, last)| (first.to_canonical(), last.to_canonical()))
        .filter(|(first, last)| first.is_ipv4() == last.is_ipv4() && first <= last)
        .collect();
    sorted.sort_unstable();
    let mut kept: Vec<(IpAddr, IpAddr)> = Vec::with_capacity(sorted.len());
    for (first, last) in sorted {
        match kept.last() {
            Some((_, end)) if *end >= last => {}
            Some((_, end)) if *end >= first => kept.push((address_of(number_of(*end) + 1, first), last)),
            _ => kept.push((first, last)),
        }
    }
    kept
}

/// The numbers of the first and the last address of a prefix.
fn ends(ip: IpAddr, length: u8) -> (u128, u128) {
    let bits: u32 = if ip.is_ipv4() { 32 } else { 128 };
    let host_bits = bits.saturating_sub(u32::from(length));
    // 0 and 128 bits are the two ends at which a shift would overflow.
    let hosts = u128::MAX.checked_shr(128 - host_bits).unwrap_or(0);
    let first = number_of(ip) & !hosts;
    (first, first | hosts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    fn pieces(cuts: &Cuts, first: &str, last: &str) -> Vec<String> {
        let like = ip(first);
        let show = |(first, last)| format!("{}-{}", address_of(first, like), address_of(last, like));
        cuts.pieces(number_of(ip(first)), number_of(ip(last))).map(show).collect()
    }

    #[test]
    fn cuts_where_a_prefix_begins_and_behind_its_end() {
        let cuts = Cuts::new([(ip("0.0.0.0"), 0), (ip("198.18.4.0"), 24), (ip("198.18.4.7"), 32)]);
        assert_eq!(
            pieces(&cuts, "198.18.0.0", "198.18.255.255"),
            [
                "198.18.0.0-198.18.3.255",
                "198.18.4.0-198.18.4.6",
                "198.18.4.7-198.18.4.7",
                "198.18.4.8-198.18.4.255",
                "198.18.5.0-198.18.255.255",
            ]
        );
        assert_eq!(pieces(&cuts, "198.18.4.7", "198.18.4.7"), ["198.18.4.7-198.18.4.7"]);
        assert_eq!(pieces(&cuts, "198.18.4.0", "198.18.4.6"), ["198.18.4.0-198.18.4.6"]);
    }

    #[test]
    fn the_ends_of_the_whole_space_are_no_trap() {
        let cuts = Cuts::new(SPECIAL_V4);
        assert_eq!(
            pieces(&cuts, "0.0.0.0", "255.255.255.255"),
            [
                "0.0.0.0-0.0.0.0",
                "0.0.0.1-126.255.255.255",
                "127.0.0.0-127.255.255.255",
                "128.0.0.0-223.255.255.255",
                "224.0.0.0-239.255.255.255",
                "240.0.0.0-255.255.255.254",
                "255.255.255.255-255.255.255.255",
            ]
        );
        let cuts = Cuts::new(SPECIAL_V6.into_iter().chain([(ip("::"), 0)]));
        let end = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        assert_eq!(pieces(&cuts, "fe00::", end)[1], format!("ff00::-{end}"));
    }

    #[test]
    fn ranges_are_made_disjoint() {
        let range = |first, last| (ip(first), ip(last));
        let given = [
            range("198.18.0.5", "198.18.0.20"),
            range("2001:db8::1", "2001:db8::2"),
            range("198.18.0.0", "198.18.0.9"),
            range("198.18.0.7", "198.18.0.8"),
            range("198.18.0.9", "198.18.0.1"),
            range("198.18.0.9", "2001:db8::1"),
        ];
        assert_eq!(
            disjoint(&given),
            [
                range("198.18.0.0", "198.18.0.9"),
                range("198.18.0.10", "198.18.0.20"),
                range("2001:db8::1", "2001:db8::2"),
            ]
        );
        assert_eq!(
            disjoint(&[range("::ffff:198.18.0.1", "198.18.0.2")]),
            [range("198.18.0.1", "198.18.0.2")]
        );
    }

    proptest! {
        #[test]
        fn pieces_cover_the_range_and_no_prefix_begins_or_ends_within_one(
            prefixes in prop::collection::vec((any::<u32>(), 0u8..=32), 0..20), a: u32, b: u32,
        ) {
            let (first, last) = (u128::from(a.min(b)), u128::from(a.max(b)));
            let prefixes: Vec<(IpAddr, u8)> =
                prefixes.into_iter().map(|(number, length)| (IpAddr::V4(number.into()), length)).collect();
            let cuts = Cuts::new(prefixes.iter().copied());
            let mut next = first;
            for (begin, end) in cuts.pieces(first, last) {
                prop_assert_eq!(begin, next);
                prop_assert!(begin <= end);
                for (ip, length) in &prefixes {
                    let (low, high) = ends(*ip, *length);
                    let inside = low <= begin && end <= high;
                    prop_assert!(inside || end < low || high < begin);
                }
                next = end + 1;
            }
            prop_assert_eq!(next, last + 1);
        }
    }
}
