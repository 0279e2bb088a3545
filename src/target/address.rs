//! Ranges of addresses, as people write them: `198.18.0.0/16`, `198.18.0.7`, `198.18.0.10-198.18.0.20`, and in short
//! `198.18.0.10-20`.
//!
//! Inside the crate an address is a number: IPv6 as it is, IPv4 in its mapped form `::ffff:a.b.c.d` (RFC 4291, section
//! 2.5.5.2). So both families sort, subtract and count by the same few lines. The price is that no range of IPv6 may
//! reach around the mapped block: who allows all of `::/0` would allow every IPv4 host with it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The number of an address in the one order of all addresses.
#[inline]
pub fn number_of(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => MAPPED | u128::from(u32::from(v4)),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// The address that a number stands for; the inverse of [`number_of`].
#[inline]
pub fn address_of(number: u128) -> IpAddr {
    if number >> 32 == MAPPED >> 32 { IpAddr::V4((number as u32).into()) } else { IpAddr::V6(number.into()) }
}

/// The first number of the IPv4-mapped block.
const MAPPED: u128 = 0xffff << 32;

/// Whether a range of numbers begins before the IPv4-mapped block, as only IPv6 does, and holds some of it.
fn reaches_mapped(first: u128, last: u128) -> bool {
    first < MAPPED && MAPPED <= last
}

/// A non-empty range of addresses of one family, both ends included.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange {
    first: u128,
    last: u128,
}

impl AddressRange {
    /// The range from `first` to `last`, both included.
    ///
    /// # Errors
    /// When the ends are of two families or in the wrong order, or when IPv4 lies between them.
    pub fn new(first: IpAddr, last: IpAddr) -> Result<Self, AddressError> {
        let (first, last) = (first.to_canonical(), last.to_canonical());
        if first.is_ipv4() != last.is_ipv4() {
            return Err(AddressError::MixedFamilies { first, last });
        }
        if first > last {
            return Err(AddressError::Reversed { first, last });
        }
        if reaches_mapped(number_of(first), number_of(last)) {
            return Err(AddressError::HoldsIpv4 { text: format!("{first}-{last}") });
        }
        Ok(AddressRange { first: number_of(first), last: number_of(last) })
    }

    /// The range that holds one address only.
    pub fn single(ip: IpAddr) -> Self {
        let number = number_of(ip.to_canonical());
        AddressRange { first: number, last: number }
    }

    /// A range by its numbers; `first <= last` is the caller's promise.
    pub(crate) fn of_numbers(first: u128, last: u128) -> Self {
        debug_assert!(first <= last, "a range has at least one address");
        AddressRange { first, last }
    }

    /// The lowest address.
    pub fn first(&self) -> IpAddr {
        address_of(self.first)
    }

    /// The highest address.
    pub fn last(&self) -> IpAddr {
        address_of(self.last)
    }

    /// The numbers of both ends, see [`number_of`].
    pub fn numbers(&self) -> (u128, u128) {
        (self.first, self.last)
    }

    /// How many addresses, or `None` for all of IPv6, which does not fit.
    pub fn len(&self) -> Option<u128> {
        (self.last - self.first).checked_add(1)
    }

    /// A range is never empty; here for the sake of the pair.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether the address is one of the range's.
    pub fn contains(&self, ip: IpAddr) -> bool {
        (self.first..=self.last).contains(&number_of(ip.to_canonical()))
    }

    /// Whether both have an address in common.
    pub fn overlaps(&self, other: &AddressRange) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether every address of `other` is in this range.
    pub fn covers(&self, other: &AddressRange) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Whether this range is exactly one address.
    pub fn is_single(&self) -> bool {
        self.first == self.last
    }

    /// The length of the prefix if the range is exactly one network, counted in the family's own bits.
    pub fn prefix_len(&self) -> Option<u8> {
        let size = self.len()?;
        let aligned = size.is_power_of_two() && self.first & (size - 1) == 0;
        let bits = if self.first().is_ipv4() { 32 } else { 128 };
        let host_bits = u8::try_from(size.trailing_zeros()).ok()?;
        aligned.then(|| bits - host_bits)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix_len() {
            _ if self.is_single() => write!(f, "{}", self.first()),
            Some(prefix) => write!(f, "{}/{prefix}", self.first()),
            None => write!(f, "{}-{}", self.first(), self.last()),
        }
    }
}

impl TryFrom<String> for AddressRange {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<AddressRange> for String {
    fn from(value: AddressRange) -> String {
        value.to_string()
    }
}

impl FromStr for AddressRange {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if let Some((address, prefix)) = text.split_once('/') {
            return parse_network(text, address, prefix);
        }
        if let Some((first, last)) = text.split_once('-') {
            let first = parse_address(text, first)?;
            return AddressRange::new(first, parse_end(text, first, last.trim())?);
        }
        Ok(AddressRange::single(parse_address(text, text)?))
    }
}

fn parse_address(whole: &str, part: &str) -> Result<IpAddr, AddressError> {
    let part = part.trim();
    part.parse().map_err(|_| match part.split_once('%') {
        Some((address, _)) if address.parse::<Ipv6Addr>().is_ok() => {
            AddressError::Zone { text: whole.to_owned() }
        }
        _ => AddressError::Malformed { text: whole.to_owned() },
    })
}

/// The end of a range: an address, or behind an IPv4 address its last octet alone.
fn parse_end(whole: &str, first: IpAddr, last: &str) -> Result<IpAddr, AddressError> {
    let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    let IpAddr::V4(first) = first else { return parse_address(whole, last) };
    if !is_number {
        return parse_address(whole, last);
    }
    // With a leading zero it might be meant as octal, as in whole addresses.
    let octet = last.parse::<u8>().ok().filter(|octet| octet.to_string() == last);
    let octet = octet.ok_or_else(|| AddressError::LastOctet { text: whole.to_owned() })?;
    let [a, b, c, _] = first.octets();
    Ok(IpAddr::from([a, b, c, octet]))
}

fn parse_network(whole: &str, address: &str, prefix: &str) -> Result<AddressRange, AddressError> {
    let ip = parse_address(whole, address)?;
    let bits: u8 = if ip.is_ipv4() { 32 } else { 128 };
    let length: u8 = match prefix.parse() {
        Ok(length) if length <= bits && prefix.bytes().all(|b| b.is_ascii_digit()) => length,
        _ => return Err(AddressError::Prefix { text: whole.to_owned(), bits }),
    };
    // An IPv4-mapped IPv6 network would be two things at once; its IPv4 spelling says the same.
    if ip.to_canonical() != ip {
        return Err(AddressError::Mapped { text: whole.to_owned() });
    }
    let network =
        IpNetwork::new(ip, length).map_err(|_| AddressError::Prefix { text: whole.to_owned(), bits })?;
    if network.network() != ip {
        return Err(AddressError::HostBits {
            text: whole.to_owned(),
            network: network.network(),
            length,
            ip,
        });
    }
    let (first, last) = (number_of(ip), number_of(network.broadcast()));
    if reaches_mapped(first, last) {
        return Err(AddressError::HoldsIpv4 { text: whole.to_owned() });
    }
    Ok(AddressRange { first, last })
}

/// Why a text is no range of addresses.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum AddressError {
    /// Not an address at all.
    #[error(
        "`{text}` is no address, network or range; write 198.18.0.7, 198.18.0.0/16 or 198.18.0.10-198.18.0.20"
    )]
    Malformed {
        /// What was written.
        text: String,
    },
    /// The short form of a range ends in no octet.
    #[error(
        "`{text}` does not end in an octet from 0 to 255; write 198.18.0.10-20, or both addresses: 198.18.0.10-198.18.0.20"
    )]
    LastOctet {
        /// What was written.
        text: String,
    },
    /// An address with a zone, which only link-local addresses have.
    #[error(
        "`{text}` has a zone (RFC 4007), and link-local addresses are never probed; name a global address of that host"
    )]
    Zone {
        /// What was written.
        text: String,
    },
    /// The part behind the slash is no length of a prefix.
    #[error(
        "`{text}` has no prefix length from 0 to {bits} behind the slash; write a network such as 198.18.0.0/16 or 2001:db8:1::/120"
    )]
    Prefix {
        /// What was written.
        text: String,
        /// The longest prefix of the family.
        bits: u8,
    },
    /// A network whose address is not its first one: which of the two is meant is anybody's guess.
    #[error(
        "`{text}` has host bits set; write {network}/{length} for the network or {ip} for the one address"
    )]
    HostBits {
        /// What was written.
        text: String,
        /// The network that the address is in.
        network: IpAddr,
        /// The length that was written.
        length: u8,
        /// The address that was written.
        ip: IpAddr,
    },
    /// An IPv4-mapped IPv6 network.
    #[error("`{text}` is an IPv4-mapped network; write it as IPv4")]
    Mapped {
        /// What was written.
        text: String,
    },
    /// IPv6 addresses on both sides of the mapped ones, which are IPv4.
    #[error(
        "`{text}` holds ::ffff:0.0.0.0/96 too, which is all of IPv4; write 2000::/3 for the global addresses of IPv6, and IPv4 apart"
    )]
    HoldsIpv4 {
        /// What was written.
        text: String,
    },
    /// The range's ends are in the wrong order.
    #[error("the range {first}-{last} is reversed; write {last}-{first}")]
    Reversed {
        /// The end that was written first.
        first: IpAddr,
        /// The end that was written last.
        last: IpAddr,
    },
    /// The range's ends are of two families.
    #[error("the range {first}-{last} mixes IPv4 and IPv6; write one range for each")]
    MixedFamilies {
        /// The end that was written first.
        first: IpAddr,
        /// The end that was written last.
        last: IpAddr,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().expect(text)
    }

    #[test]
    fn reads_what_people_write() {
        for (text, first, last) in [
            ("198.18.0.0/16", "198.18.0.0", "198.18.255.255"),
            ("198.18.0.7", "198.18.0.7", "198.18.0.7"),
            (" 198.18.0.7 ", "198.18.0.7", "198.18.0.7"),
            ("198.18.0.10-198.18.0.20", "198.18.0.10", "198.18.0.20"),
            ("198.18.0.10-20", "198.18.0.10", "198.18.0.20"),
            ("198.18.0.10 - 10", "198.18.0.10", "198.18.0.10"),
            ("198.18.0.0-255", "198.18.0.0", "198.18.0.255"),
            ("2001:db8::/126", "2001:db8::", "2001:db8::3"),
            ("::ffff:198.18.0.1", "198.18.0.1", "198.18.0.1"),
            ("198.18.0.1/32", "198.18.0.1", "198.18.0.1"),
            ("::/81", "::", "::7fff:ffff:ffff"),
            ("::1:0:0:0/96", "::1:0:0:0", "::1:0:ffff:ffff"),
        ] {
            let range = range(text);
            assert_eq!(range.first().to_string(), first, "{text}");
            assert_eq!(range.last().to_string(), last, "{text}");
        }
    }

    #[test]
    fn prints_the_shortest_form() {
        for text in ["198.18.0.0/16", "198.18.0.7", "198.18.0.10-198.18.0.20", "2001:db8::/126", "0.0.0.0/0"]
        {
            assert_eq!(range(text).to_string(), text);
        }
        assert_eq!(range("198.18.0.0-198.18.0.255").to_string(), "198.18.0.0/24");
    }

    #[test]
    fn names_what_is_wrong_and_how_to_mend_it() {
        for (text, says) in [
            ("198.18.0.0/33", "from 0 to 32"),
            ("198.18.0.0/", "from 0 to 32"),
            ("198.18.0.0/+8", "from 0 to 32"),
            ("198.18.3.4/16", "write 198.18.0.0/16 for the network or 198.18.3.4"),
            ("198.18.0.9-198.18.0.1", "write 198.18.0.1-198.18.0.9"),
            ("198.18.0.1-2001:db8::1", "mixes IPv4 and IPv6"),
            ("198.18.0.20-10", "write 198.18.0.10-198.18.0.20"),
            ("198.18.0.10-256", "does not end in an octet from 0 to 255"),
            ("198.18.0.10-020", "does not end in an octet from 0 to 255"),
            ("198.18.0.10-", "is no address"),
            ("198.18.0.10-1.20", "is no address"),
            ("2001:db8::1-5", "is no address"),
            ("fe80::1%eth0", "has a zone (RFC 4007)"),
            ("fe80::%eth0/64", "has a zone (RFC 4007)"),
            ("010.0.0.1", "is no address"),
            ("198.18.0", "is no address"),
            ("", "is no address"),
            ("::ffff:198.18.0.0/112", "write it as IPv4"),
            ("::/0", "is all of IPv4; write 2000::/3"),
            ("::/80", "is all of IPv4"),
            ("::1-2001:db8::1", "`::1-2001:db8::1` holds ::ffff:0.0.0.0/96 too"),
        ] {
            let error = text.parse::<AddressRange>().expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
