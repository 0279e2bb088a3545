//! A target as somebody wrote it: addresses, or the name of a host.
//!
//! Which of the two it is must never be in doubt: a mistyped network that went to the resolver as a name would leave
//! this host in a query, and come back as anything. So whatever has a slash or a colon, or consists of digits, dots and
//! hyphens, is an address form and is judged as one.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::address::{AddressError, AddressRange};

/// A target as somebody wrote it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Written {
    /// An address, a network or a range.
    Addresses(AddressRange),
    /// A host, to be looked up.
    Name(HostName),
}

impl FromStr for Written {
    type Err = WrittenError;

    fn from_str(text: &str) -> Result<Self, WrittenError> {
        let text = text.trim();
        if is_address_form(text) {
            Ok(Written::Addresses(text.parse()?))
        } else {
            Ok(Written::Name(text.parse()?))
        }
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Written::Addresses(range) => range.fmt(f),
            Written::Name(name) => name.fmt(f),
        }
    }
}

/// Whether a text is meant as addresses, rightly written or not.
pub fn is_address_form(text: &str) -> bool {
    text.contains(['/', ':']) || text.bytes().all(|byte| byte.is_ascii_digit() || b".-".contains(&byte))
}

/// The name of a host, lower case and without a dot at its end: labels of letters, digits, hyphens (RFC 1123, section
/// 2.1) and underscores, which many a network has although no standard allows them.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct HostName(String);

/// The longest name and the longest label, RFC 1035 section 2.3.4.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

impl HostName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let last = name.rsplit('.').next().unwrap_or(name);
        if name.len() > LONGEST_NAME || !name.split('.').all(is_label) {
            return Err(NameError::Malformed { text: text.to_owned() });
        }
        if is_number(last) {
            return Err(NameError::Number { text: text.to_owned() });
        }
        Ok(HostName(name.to_ascii_lowercase()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn is_label(label: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=LONGEST_LABEL).contains(&label.len())
        && label.bytes().all(is_letter)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Resolvers take a name that ends in a number for an IPv4 address of the old kind, hexadecimal ones included:
/// `0x7f000001` would be 127.0.0.1.
fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x").or_else(|| label.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Why a text is no target.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum WrittenError {
    /// Meant as addresses.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Meant as a name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Why a text is no name of a host.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum NameError {
    /// It cannot stand in the domain name system.
    #[error(
        "`{text}` is no address and no host name; write 198.18.0.7, 198.18.0.0/16, 198.18.0.10-20 or db.example.net"
    )]
    Malformed {
        /// What was written.
        text: String,
    },
    /// It ends in a number.
    #[error(
        "`{text}` ends in a number, as addresses do and host names do not; write an address such as 198.18.0.7, or the name"
    )]
    Number {
        /// What was written.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_names() {
        for (text, name) in [
            ("db.example.net", "db.example.net"),
            ("DB-1.Example.NET.", "db-1.example.net"),
            ("localhost", "localhost"),
            ("_dmarc.example.net", "_dmarc.example.net"),
            ("3com", "3com"),
            ("10-20.example.net", "10-20.example.net"),
            ("198-18-0-7.rev.example", "198-18-0-7.rev.example"),
        ] {
            let written: Written = text.parse().expect(text);
            assert_eq!(written, Written::Name(name.parse().expect(name)), "{text}");
            assert_eq!(written.to_string(), name);
        }
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        assert_eq!((longest.len(), longest.parse::<HostName>().is_ok()), (253, true));
        assert!(format!("{longest}b").parse::<HostName>().is_err());
    }

    #[test]
    fn a_mistyped_address_is_never_a_name() {
        for (text, says) in [
            ("198.18.0.0/33", "from 0 to 32"),
            ("198.18.0.300", "is no address, network or range"),
            ("198.18.0", "is no address, network or range"),
            ("198.18.0.1-300", "does not end in an octet"),
            ("300-400", "is no address"),
            ("2001:db8::g", "is no address"),
            ("example.net/24", "is no address"),
            ("example.net:22", "is no address"),
            ("https://example.net/", "is no address"),
            ("-", "is no address"),
            ("", "is no address"),
            ("...", "is no address"),
            ("0x7f000001", "ends in a number"),
            ("0x7f.1", "ends in a number"),
            ("0x", "ends in a number"),
            ("db.12", "ends in a number"),
            ("db.12.", "ends in a number"),
        ] {
            let error = text.parse::<Written>().expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn what_no_name_can_be_is_refused() {
        let long = "a".repeat(64);
        for text in [
            "a..b",
            ".a",
            "a..",
            "-a.b",
            "a-.b",
            "a b",
            "a\u{1b}[2J",
            "b\u{fc}cher.example",
            "a@b",
            "a*",
            &long,
        ] {
            assert!(matches!(text.parse::<Written>(), Err(WrittenError::Name(_))), "{text}");
        }
    }

    proptest! {
        /// A name that passed holds nothing that could move a terminal or mean another thing to a resolver.
        #[test]
        fn whatever_passes_is_harmless(text in "[ -~]{0,20}|\\PC{0,8}") {
            if let Ok(Written::Name(name)) = text.parse::<Written>() {
                prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
                prop_assert!(name.as_str().parse::<std::net::Ipv4Addr>().is_err());
                prop_assert_eq!(name.to_string().parse::<HostName>(), Ok(name));
            }
        }
    }
}
