//! Ranges of addresses, and what holds in each: what every probe is looked up in, and so each family by its own plain
//! numbers.

use std::net::IpAddr;

/// What holds where.
#[derive(Clone, Debug)]
pub(super) struct Spans<T> {
    /// First and last address, sorted and disjoint.
    v4: Vec<(u32, u32, T)>,
    v6: Vec<(u128, u128, T)>,
}

impl<T> Spans<T> {
    /// Of these disjoint ranges, both ends included, in any order.
    pub(super) fn new(ranges: impl IntoIterator<Item = (IpAddr, IpAddr, T)>) -> Self {
        let mut spans = Spans { v4: Vec::new(), v6: Vec::new() };
        for (first, last, what) in ranges {
            match (first, last) {
                (IpAddr::V4(first), IpAddr::V4(last)) => spans.v4.push((first.into(), last.into(), what)),
                (IpAddr::V6(first), IpAddr::V6(last)) => spans.v6.push((first.into(), last.into(), what)),
                // No such range exists.
                _ => {}
            }
        }
        spans.v4.sort_unstable_by_key(|(first, ..)| *first);
        spans.v6.sort_unstable_by_key(|(first, ..)| *first);
        spans
    }

    /// What holds for this address.
    #[inline]
    pub(super) fn at(&self, ip: IpAddr) -> Option<&T> {
        match ip {
            IpAddr::V4(v4) => find(&self.v4, v4.into()),
            IpAddr::V6(v6) => find(&self.v6, v6.into()),
        }
    }
}

#[inline]
fn find<N: Copy + Ord, T>(spans: &[(N, N, T)], number: N) -> Option<&T> {
    let after = spans.partition_point(|(first, ..)| *first <= number);
    let (_, last, what) = spans.get(after.checked_sub(1)?)?;
    (number <= *last).then_some(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_holds_and_nothing_between() {
        let ip = |text: &str| text.parse::<IpAddr>().expect(text);
        let ranges = [
            ("2001:db8::", "2001:db8::ff", 'c'),
            ("198.18.1.0", "198.18.1.255", 'b'),
            ("198.18.0.0", "198.18.0.9", 'a'),
        ];
        let spans = Spans::new(ranges.map(|(first, last, what)| (ip(first), ip(last), what)));
        for (address, what) in [
            ("198.17.255.255", None),
            ("198.18.0.0", Some('a')),
            ("198.18.0.9", Some('a')),
            ("198.18.0.10", None),
            ("198.18.1.0", Some('b')),
            ("198.18.1.255", Some('b')),
            ("198.18.2.0", None),
            ("2001:db7:ffff::", None),
            ("2001:db8::ff", Some('c')),
            ("2001:db8::100", None),
        ] {
            assert_eq!(spans.at(ip(address)).copied(), what, "{address}");
        }
        assert_eq!(Spans::<u8>::new([]).at(ip("198.18.0.0")), None);
    }
}
