//! The scope: networks minus excludes, x ports. Everything that may be probed, and nothing else ever is.
//!
//! Targets are numbered host by host: `index = host * ports + port`. Both directions are a binary search over the few
//! ranges that the networks come down to, so a scope of a hundred million targets takes no more memory than one of ten.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::address::{AddressRange, address_of, number_of};
use super::ports::PortSet;
use super::{Target, Transport};

/// What is never probed, whoever asks: (network, why, its source).
///
/// Broadcast and network addresses of routed networks cannot be told from hosts, so they are ordinary targets.
pub const NEVER_PROBED: &[(&str, &str)] = &[
    ("0.0.0.0/8", "\"this network\", RFC 1122 section 3.2.1.3"),
    ("224.0.0.0/4", "multicast, RFC 5771"),
    ("240.0.0.0/4", "reserved and broadcast, RFC 1112 section 4"),
    ("::/128", "the unspecified address, RFC 4291 section 2.5.2"),
    ("fe80::/10", "link-local, an address only together with a zone, RFC 4291 section 2.5.6 and RFC 4007"),
    ("ff00::/8", "multicast, RFC 4291 section 2.7"),
];

/// Everything that may be probed.
///
/// Invariants: `ranges` are sorted, disjoint and not adjacent; `hosts_before[i]` is the number of hosts in
/// `ranges[..i]`, with the total as last element; `len() = hosts * ports > 0`, and it fits 64 bits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scope {
    ranges: Vec<AddressRange>,
    hosts_before: Vec<u64>,
    ports: PortSet,
}

impl Scope {
    /// The scope of `networks` minus `exclude`, x `ports`; networks may overlap and repeat.
    ///
    /// # Errors
    /// When nothing is left, when something is left that is never probed, or when the targets do not fit a number.
    pub fn new(
        networks: &[AddressRange],
        exclude: &[AddressRange],
        ports: PortSet,
    ) -> Result<Self, ScopeError> {
        if networks.is_empty() {
            return Err(ScopeError::NoNetworks);
        }
        let ranges = subtract(&merge(networks), &merge(exclude));
        if ranges.is_empty() {
            return Err(ScopeError::AllExcluded);
        }
        refuse_never_probed(&ranges)?;
        Scope::of_ranges(ranges, ports)
    }

    /// The number of targets.
    pub fn len(&self) -> u64 {
        self.hosts() * self.ports.len() as u64
    }

    /// A scope is never empty; here for the sake of the pair.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The number of addresses.
    pub fn hosts(&self) -> u64 {
        self.hosts_before.last().copied().unwrap_or(0)
    }

    /// The addresses, as sorted, disjoint ranges.
    pub fn ranges(&self) -> &[AddressRange] {
        &self.ranges
    }

    /// The first and last address of each range.
    pub fn ends(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> + '_ {
        self.ranges.iter().map(|range| (range.first(), range.last()))
    }

    /// The ports of every address.
    pub fn ports(&self) -> &PortSet {
        &self.ports
    }

    /// The target with this number.
    ///
    /// # Panics
    /// When `index` is not below [`Scope::len`]: a bug of the caller, never a matter of input.
    #[inline]
    pub fn target(&self, index: u64) -> Target {
        assert!(index < self.len(), "index {index} is outside a scope of {}", self.len());
        let ports = self.ports.len() as u64;
        let (host, slot) = (index / ports, index % ports);
        Target { ip: self.host(host), port: self.ports.get(slot as usize), transport: Transport::Tcp }
    }

    /// The number of a target, or `None` where it is not in scope. The inverse of [`Scope::target`].
    #[inline]
    pub fn index_of(&self, ip: IpAddr, port: u16) -> Option<u64> {
        let host = self.host_of(ip)?;
        let slot = self.ports.slot_of(port)?;
        Some(host * self.ports.len() as u64 + slot as u64)
    }

    /// Which host a target belongs to, in `0..hosts()`.
    #[inline]
    pub fn host_index(&self, index: u64) -> u64 {
        index / self.ports.len() as u64
    }

    /// Part `number` (from 1) of `of` parts, split by hosts, so that each host has one scanner and one rate budget.
    /// The parts are disjoint and together the whole.
    ///
    /// # Errors
    /// When there are fewer hosts than parts, so that this part is empty.
    pub fn shard(&self, number: u32, of: u32) -> Result<Scope, ScopeError> {
        let cut = |n: u32| (u128::from(self.hosts()) * u128::from(n) / u128::from(of)) as u64;
        let (first, end) = (cut(number - 1), cut(number));
        if first == end {
            return Err(ScopeError::EmptyShard { number, of, hosts: self.hosts() });
        }
        let mut ranges = Vec::new();
        for (range, before) in self.ranges.iter().zip(&self.hosts_before) {
            let (low, high) = range.numbers();
            let from = first.saturating_sub(*before);
            let to = end.saturating_sub(*before);
            let (from, to) = (low + u128::from(from), (low + u128::from(to)).min(high + 1));
            if from < to {
                ranges.push(AddressRange::of_numbers(from, to - 1));
            }
        }
        Scope::of_ranges(ranges, self.ports.clone())
    }

    fn of_ranges(ranges: Vec<AddressRange>, ports: PortSet) -> Result<Self, ScopeError> {
        let mut hosts_before = vec![0_u64];
        let mut hosts = 0_u64;
        for range in &ranges {
            hosts = range
                .len()
                .and_then(|len| u64::try_from(len).ok())
                .and_then(|len| hosts.checked_add(len))
                .ok_or(ScopeError::TooMany)?;
            hosts_before.push(hosts);
        }
        // Half of the numbers is enough for anybody and leaves the arithmetic above without overflow.
        hosts
            .checked_mul(ports.len() as u64)
            .filter(|len| *len <= u64::MAX / 2)
            .ok_or(ScopeError::TooMany)?;
        Ok(Scope { ranges, hosts_before, ports })
    }

    #[inline]
    fn host(&self, host: u64) -> IpAddr {
        let at = self.hosts_before.partition_point(|before| *before <= host) - 1;
        address_of(self.ranges[at].numbers().0 + u128::from(host - self.hosts_before[at]))
    }

    #[inline]
    fn host_of(&self, ip: IpAddr) -> Option<u64> {
        let number = number_of(ip);
        let at = self.ranges.partition_point(|range| range.numbers().0 <= number).checked_sub(1)?;
        let (first, last) = self.ranges[at].numbers();
        (number <= last).then(|| self.hosts_before[at] + (number - first) as u64)
    }
}

/// One part of a scope that is split over several scanners: part `number` (from 1) of `of`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Shard {
    /// Which part, from 1.
    pub number: u32,
    /// How many parts.
    pub of: u32,
}

impl std::str::FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let parse = || {
            let (number, of) = text.split_once('/')?;
            Some(Shard { number: number.parse().ok()?, of: of.parse().ok()? })
        };
        parse()
            .filter(|shard| (1..=shard.of).contains(&shard.number))
            .ok_or_else(|| ShardError { text: text.to_owned() })
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// A text that is no shard.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{text}` is no shard; write I/N with I from 1 to N, such as 1/3, 2/3, 3/3")]
pub struct ShardError {
    text: String,
}

/// Why networks, excludes and ports make no scope.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ScopeError {
    /// No network was named.
    #[error("the scope names no network; name one, such as 198.18.0.0/24")]
    NoNetworks,
    /// The excludes take everything away.
    #[error(
        "the scope is empty: the excludes take away every address of its networks; exclude less, or name more networks"
    )]
    AllExcluded,
    /// Something in scope must never be probed.
    #[error(
        "{range} overlaps {never} ({why}), which is never probed; exclude it (--exclude {never}) or name less"
    )]
    NeverProbed {
        /// What is in scope.
        range: AddressRange,
        /// What it overlaps.
        never: &'static str,
        /// Why that is never probed.
        why: &'static str,
    },
    /// More targets than a number holds.
    #[error("the scope has more than 2^63 targets; name smaller networks or fewer ports")]
    TooMany,
    /// A shard without hosts.
    #[error(
        "shard {number}/{of} is empty: addresses in scope: {hosts}, and shards are split by address; write I/N with N of \
         at most {hosts}"
    )]
    EmptyShard {
        /// Which part.
        number: u32,
        /// Of how many.
        of: u32,
        /// Addresses in scope.
        hosts: u64,
    },
}

/// The block of [`NEVER_PROBED`] that a range overlaps, and why that is never probed.
pub fn never_probed(range: &AddressRange) -> Option<(&'static str, &'static str)> {
    let overlaps = |never: &str| {
        let block: AddressRange = never.parse().expect("the list above is of networks");
        range.overlaps(&block)
    };
    NEVER_PROBED.iter().find(|(never, _)| overlaps(never)).copied()
}

/// The same addresses as sorted, disjoint ranges that do not touch.
pub fn merge(ranges: &[AddressRange]) -> Vec<AddressRange> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<AddressRange> = Vec::with_capacity(sorted.len());
    for range in sorted {
        let (first, last) = range.numbers();
        match merged.last_mut() {
            // Families never merge: the end of mapped IPv4 and the IPv6 address behind it are two ranges.
            Some(open)
                if first <= open.numbers().1.saturating_add(1)
                    && open.first().is_ipv4() == range.first().is_ipv4() =>
            {
                *open = AddressRange::of_numbers(open.numbers().0, open.numbers().1.max(last));
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// `from` without `take`; both sorted and disjoint, as [`merge`] leaves them.
pub fn subtract(from: &[AddressRange], take: &[AddressRange]) -> Vec<AddressRange> {
    let mut left = Vec::with_capacity(from.len());
    for range in from {
        let (mut first, last) = range.numbers();
        let mut spent = false;
        let begin = take.partition_point(|hole| hole.numbers().1 < first);
        for hole in take[begin..].iter().take_while(|hole| hole.numbers().0 <= last) {
            let (hole_first, hole_last) = hole.numbers();
            if hole_first > first {
                left.push(AddressRange::of_numbers(first, hole_first - 1));
            }
            if hole_last >= last {
                spent = true;
                break;
            }
            first = first.max(hole_last + 1);
        }
        if !spent {
            left.push(AddressRange::of_numbers(first, last));
        }
    }
    left
}

fn refuse_never_probed(ranges: &[AddressRange]) -> Result<(), ScopeError> {
    for (never, why) in NEVER_PROBED {
        let block: AddressRange = never.parse().expect("the list above is of networks");
        if let Some(range) = ranges.iter().find(|range| range.overlaps(&block)) {
            return Err(ScopeError::NeverProbed { range: *range, never, why });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn scope(networks: &[&str], exclude: &[&str], ports: &str) -> Result<Scope, ScopeError> {
        let parse = |texts: &[&str]| texts.iter().map(|t| t.parse().expect(t)).collect::<Vec<AddressRange>>();
        Scope::new(&parse(networks), &parse(exclude), ports.parse().expect(ports))
    }

    #[test]
    fn numbers_hosts_then_ports() {
        let scope = scope(&["198.18.0.4/31", "198.18.0.1"], &[], "80,22").expect("a scope");
        let all: Vec<String> = (0..scope.len()).map(|i| scope.target(i).to_string()).collect();
        assert_eq!(
            all,
            [
                "198.18.0.1:22/tcp",
                "198.18.0.1:80/tcp",
                "198.18.0.4:22/tcp",
                "198.18.0.4:80/tcp",
                "198.18.0.5:22/tcp",
                "198.18.0.5:80/tcp"
            ]
        );
    }

    #[test]
    fn refuses_what_is_never_probed_unless_it_is_excluded() {
        for network in
            ["224.0.0.1", "255.255.255.255", "0.0.0.1", "223.255.255.0-224.0.0.0", "ff02::1", "::", "fe80::1"]
        {
            let error = scope(&[network], &[], "22").expect_err(network);
            assert!(matches!(error, ScopeError::NeverProbed { .. }), "{network}: {error}");
        }
        assert!(scope(&["223.255.255.0-224.0.0.0"], &["224.0.0.0/4"], "22").is_ok());
    }

    #[test]
    fn refuses_nothing_and_too_much() {
        assert_eq!(scope(&[], &[], "22"), Err(ScopeError::NoNetworks));
        assert_eq!(scope(&["198.18.0.0/24"], &["198.18.0.0/15"], "22"), Err(ScopeError::AllExcluded));
        assert_eq!(scope(&["2001:db8::/32"], &[], "22"), Err(ScopeError::TooMany));
        let around = "::1-::ffff:ffff:ffff:ffff:ffff".parse::<AddressRange>();
        assert!(
            around.is_err(),
            "it would hold all of IPv4, and refusing 0.0.0.0/8 would be all that protects it"
        );
    }

    #[test]
    fn shards_say_when_they_are_empty() {
        let scope = scope(&["198.18.0.0/31"], &[], "22").expect("a scope");
        assert!(matches!(scope.shard(1, 3), Err(ScopeError::EmptyShard { .. })));
        for text in ["3/2", "0/2", "1", "a/b", "1/0", "-1/2", ""] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    /// Small random scopes around one corner of the range, so that overlaps and excludes really meet.
    fn pieces() -> impl Strategy<Value = Vec<AddressRange>> {
        let piece = (0_u32..600, 0_u32..80, any::<bool>()).prop_map(|(first, len, v6)| {
            let base = if v6 { 0x2001_0db8_u128 << 96 } else { number_of("198.18.0.0".parse().unwrap()) };
            AddressRange::of_numbers(base + u128::from(first), base + u128::from(first + len))
        });
        prop::collection::vec(piece, 1..8)
    }

    fn members(ranges: &[AddressRange]) -> BTreeSet<u128> {
        ranges.iter().flat_map(|r| r.numbers().0..=r.numbers().1).collect()
    }

    proptest! {
        #[test]
        fn is_a_bijection_onto_exactly_what_was_declared(
            networks in pieces(),
            exclude in pieces(),
            ports in prop::collection::btree_set(1_u16..=u16::MAX, 1..9),
        ) {
            let declared: BTreeSet<u128> = members(&networks).difference(&members(&exclude)).copied().collect();
            let set = PortSet::new(ports.iter().copied()).expect("ports");
            let Ok(scope) = Scope::new(&networks, &exclude, set) else {
                prop_assert!(declared.is_empty());
                return Ok(());
            };
            prop_assert_eq!(scope.len() as usize, declared.len() * ports.len());
            let mut seen = BTreeSet::new();
            for index in 0..scope.len() {
                let target = scope.target(index);
                prop_assert!(declared.contains(&number_of(target.ip)) && ports.contains(&target.port));
                prop_assert_eq!(scope.index_of(target.ip, target.port), Some(index));
                prop_assert!(seen.insert(target));
            }
            for outside in members(&exclude) {
                prop_assert_eq!(scope.index_of(address_of(outside), *ports.first().unwrap()), None);
            }
        }

        #[test]
        fn shards_partition_it(networks in pieces(), of in 1_u32..7) {
            let scope = Scope::new(&networks, &[], "22,80".parse().unwrap()).expect("a scope");
            let mut union = Vec::new();
            for number in 1..=of {
                match scope.shard(number, of) {
                    Ok(part) => union.extend((0..part.len()).map(|i| part.target(i))),
                    Err(error) => prop_assert!(scope.hosts() < u64::from(of), "{}", error),
                }
            }
            let whole: Vec<Target> = (0..scope.len()).map(|i| scope.target(i)).collect();
            prop_assert_eq!(union, whole);
        }
    }
}
