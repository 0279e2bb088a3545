//! The types of single options, each with its one parser for the file and the command line.

use std::ffi::OsStr;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command, ValueEnum};
use thiserror::Error;

use crate::target::address::{AddressError, AddressRange};
use crate::target::written::{Written, WrittenError, is_address_form};

/// The highest rate that can be asked for, in packets a second: more than any one device sends.
pub const RATE_LIMIT_PPS: u32 = 100_000_000;

/// A target as it is typed: itself, a file of targets, or standard input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TargetWord {
    /// An address, a network, a range or a host name.
    Written(Written),
    /// `@FILE`.
    File(PathBuf),
    /// `-`.
    Stdin,
}

impl FromStr for TargetWord {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        match text.strip_prefix('@') {
            Some("") => Err(TargetError::NoFile),
            Some(path) => Ok(TargetWord::File(PathBuf::from(path))),
            None if text == "-" => Ok(TargetWord::Stdin),
            None => Ok(TargetWord::Written(text.parse()?)),
        }
    }
}

/// Why a text is no target.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum TargetError {
    /// Neither addresses nor a name.
    #[error(transparent)]
    Written(#[from] WrittenError),
    /// An at sign and nothing behind it.
    #[error("`@` names no file; write @FILE, such as @fleet.txt, or - for standard input")]
    NoFile,
}

/// Reads what is never to be probed: addresses, and no names.
///
/// # Errors
/// When the text is no address, network or range.
pub fn parse_exclude(text: &str) -> Result<AddressRange, ExcludeError> {
    if is_address_form(text.trim()) {
        Ok(text.parse()?)
    } else {
        Err(ExcludeError::Name { text: text.to_owned() })
    }
}

/// Why a text excludes nothing.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ExcludeError {
    /// Meant as addresses.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Meant as a name, or as nothing at all.
    #[error(
        "`{text}` is no address, network or range, and nothing is excluded by name; write its addresses, because a name can move and would uncover what it was to protect"
    )]
    Name {
        /// What was written.
        text: String,
    },
}

/// How many probes a second.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rate {
    /// As many as the vantage and the network are seen to bear.
    Auto,
    /// At most so many.
    Pps(NonZeroU32),
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        if text == "auto" {
            return Ok(Rate::Auto);
        }
        parse_pps(text).map(Rate::Pps)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::Auto => f.write_str("auto"),
            Rate::Pps(pps) => pps.fmt(f),
        }
    }
}

/// A cap on the probes at one host or one network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cap {
    /// No cap.
    None,
    /// At most so many a second.
    Pps(NonZeroU32),
}

impl Cap {
    /// The cap as a plan has it: `None` for no cap.
    pub fn pps(self) -> Option<NonZeroU32> {
        match self {
            Cap::None => None,
            Cap::Pps(pps) => Some(pps),
        }
    }
}

impl FromStr for Cap {
    type Err = CapError;

    fn from_str(text: &str) -> Result<Self, CapError> {
        if text == "none" { Ok(Cap::None) } else { Ok(Cap::Pps(parse_pps(text)?)) }
    }
}

/// Why a text is no cap.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0}, or none for no cap")]
pub struct CapError(#[from] RateError);

/// Reads packets a second: `5000`, `5_000`, `10k`, `1M`.
///
/// # Errors
/// When the text is no number, or not from 1 to [`RATE_LIMIT_PPS`].
pub fn parse_pps(text: &str) -> Result<NonZeroU32, RateError> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(thousands) => (thousands, 1_000),
        None => text.strip_suffix('M').map_or((text, 1), |millions| (millions, 1_000_000)),
    };
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits.split('_').all(is_number) {
        return Err(RateError::Malformed { text: text.to_owned() });
    }
    digits
        .replace('_', "")
        .parse::<u32>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|pps| *pps <= RATE_LIMIT_PPS)
        .and_then(NonZeroU32::new)
        .ok_or_else(|| RateError::OutOfRange { text: text.to_owned() })
}

/// Why a text is no rate.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum RateError {
    /// Not a number of packets.
    #[error("`{text}` is no rate; write packets a second such as 5000, 10k or 1M")]
    Malformed {
        /// What was written.
        text: String,
    },
    /// A number that no rate can be.
    #[error(
        "the rate `{text}` is not from 1 to {RATE_LIMIT_PPS}; write packets a second such as 5000, 10k or 1M"
    )]
    OutOfRange {
        /// What was written.
        text: String,
    },
}

/// Reads an endpoint that is known to answer: `198.18.0.10:22`, `[2001:db8::1]:22`.
///
/// # Errors
/// When the text is no address with a port from 1 to 65535.
pub fn parse_canary(text: &str) -> Result<SocketAddr, CanaryError> {
    let endpoint = text.parse::<SocketAddr>().ok();
    // A zone means something on this host only, and no scope has one.
    let is_plain = |endpoint: &SocketAddr| endpoint.port() > 0 && !text.contains('%');
    endpoint.filter(is_plain).ok_or_else(|| CanaryError { text: text.to_owned() })
}

/// A text that is no canary.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{text}` is no endpoint; write IP:PORT, such as 198.18.0.10:22 or [2001:db8::1]:22")]
pub struct CanaryError {
    text: String,
}

/// Reads how often a silent target is probed.
///
/// # Errors
/// When the text is no whole number from 1 to 10.
pub fn parse_tries(text: &str) -> Result<u8, TriesError> {
    let tries = text.parse().ok().filter(|tries| (1..=10).contains(tries));
    tries.ok_or_else(|| TriesError { text: text.to_owned() })
}

/// A text that is no number of tries.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{text}` is no number of tries; write a whole number from 1 to 10")]
pub struct TriesError {
    text: String,
}

/// Which engine sends the probes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum EngineChoice {
    /// Packet sockets where this user may open them, else ordinary connections
    Auto,
    /// Packet sockets; needs CAP_NET_RAW
    Packet,
    /// Frames by XDP; needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON too, and keeps a processor busy
    Xdp,
    /// Ordinary connections; needs no privilege
    Connect,
}

impl FromStr for EngineChoice {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        match text {
            "auto" => Ok(EngineChoice::Auto),
            "packet" => Ok(EngineChoice::Packet),
            "connect" => Ok(EngineChoice::Connect),
            "xdp" => Ok(EngineChoice::Xdp),
            _ => Err(EngineError::Unknown { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            EngineChoice::Auto => "auto",
            EngineChoice::Packet => "packet",
            EngineChoice::Xdp => "xdp",
            EngineChoice::Connect => "connect",
        })
    }
}

/// Why a text is no engine.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum EngineError {
    /// No engine at all.
    #[error("`{text}` is no engine; choose auto, packet, xdp or connect")]
    Unknown {
        /// What was written.
        text: String,
    },
}

/// The command line's parser of an engine: the errors of [`EngineError`], which an enumeration alone cannot give, and
/// still the list of choices in the help.
#[derive(Clone, Copy, Debug)]
pub(super) struct EngineParser;

impl TypedValueParser for EngineParser {
    type Value = EngineChoice;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<EngineChoice, clap::Error> {
        StringValueParser::new()
            .try_map(|text| text.parse::<EngineChoice>())
            .parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = EngineChoice::value_variants().iter();
        Some(Box::new(values.filter_map(ValueEnum::to_possible_value)))
    }
}

/// A text of one option that may not be blank, or is no name of an interface.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum TextError {
    /// Nothing but blanks.
    #[error("it is blank; name the ticket or the person that allows this sweep")]
    NoAuthorization,
    /// A name that no interface can have.
    #[error("`{text}` is no name of an interface; `ip link` lists them")]
    NoInterface {
        /// What was written.
        text: String,
    },
}

/// Reads who or what allows a sweep.
///
/// # Errors
/// When it is blank.
pub fn parse_authorization(text: &str) -> Result<String, TextError> {
    let text = text.trim();
    if text.is_empty() { Err(TextError::NoAuthorization) } else { Ok(text.to_owned()) }
}

/// Reads the name of a network interface, by the kernel's own rule (`dev_valid_name`).
///
/// # Errors
/// When no interface can have that name.
pub fn parse_interface(text: &str) -> Result<String, TextError> {
    const LONGEST: usize = 15;
    let fits = (1..=LONGEST).contains(&text.len()) && text != "." && text != "..";
    if fits && !text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace()) {
        Ok(text.to_owned())
    } else {
        Err(TextError::NoInterface { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rates() {
        for (text, rate) in
            [("auto", "auto"), ("5000", "5000"), ("50_000", "50000"), ("10k", "10000"), ("100M", "100000000")]
        {
            assert_eq!(text.parse::<Rate>().expect(text).to_string(), rate);
        }
        for text in ["", "k", "_1", "1_", "1__0", "10m", "1.5k", "-1", "+1", "fast", "1 000"] {
            assert_eq!(text.parse::<Rate>(), Err(RateError::Malformed { text: text.to_owned() }));
        }
        for text in ["0", "0k", "101M", "100000001", "99999999999999999999", "5000000k"] {
            assert_eq!(text.parse::<Rate>(), Err(RateError::OutOfRange { text: text.to_owned() }));
        }
    }

    #[test]
    fn reads_caps() {
        assert_eq!("none".parse(), Ok(Cap::None));
        assert_eq!("1_000".parse::<Cap>().map(Cap::pps), Ok(NonZeroU32::new(1000)));
        for text in ["", "None", "auto", "0", "-1"] {
            let error = text.parse::<Cap>().expect_err(text).to_string();
            assert!(error.ends_with("5000, 10k or 1M, or none for no cap"), "{error}");
        }
    }

    #[test]
    fn canaries_are_addresses_with_ports() {
        for text in ["198.18.0.10:22", "[2001:db8::1]:65535"] {
            assert_eq!(parse_canary(text).expect(text).to_string(), text);
        }
        for text in [
            "",
            "198.18.0.10",
            "198.18.0.10:0",
            "198.18.0.10:65536",
            "2001:db8::1:",
            "[fe80::1%1]:22",
            "a:22",
        ] {
            assert!(parse_canary(text).is_err(), "{text}");
        }
    }

    #[test]
    fn engines_print_what_they_parse_from() {
        for engine in EngineChoice::value_variants() {
            assert_eq!(engine.to_string().parse(), Ok(*engine));
        }
        assert!("XDP2".parse::<EngineChoice>().is_err());
    }

    #[test]
    fn interfaces_have_names_that_the_kernel_takes() {
        for text in ["eth0", "wlp0s20f3", "eth0.100", "exactly15bytes."] {
            assert_eq!(parse_interface(text), Ok(text.to_owned()));
        }
        for text in ["", ".", "..", "a/b", "eth0:1", "a b", "sixteen-bytes-xx"] {
            assert!(parse_interface(text).is_err(), "{text}");
        }
    }
}
