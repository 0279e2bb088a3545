//! The types of single options, each with its one parser for the file and the command line.

use std::ffi::OsStr;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command, ValueEnum};
use thiserror::Error;

/// The highest rate that can be asked for, in packets a second: more than any one device sends.
pub const RATE_LIMIT_PPS: u32 = 100_000_000;

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

/// Which engine sends the probes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum EngineChoice {
    /// The fastest that this host can run
    Auto,
    /// Packet sockets; needs CAP_NET_RAW
    Packet,
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
            "xdp" => Err(EngineError::Later),
            _ => Err(EngineError::Unknown { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            EngineChoice::Auto => "auto",
            EngineChoice::Packet => "packet",
            EngineChoice::Connect => "connect",
        })
    }
}

/// Why a text is no engine.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum EngineError {
    /// An engine that is meant to be, but is not yet.
    #[error("the xdp engine comes in a later version; choose packet, the fastest of this one, or auto")]
    Later,
    /// No engine at all.
    #[error("`{text}` is no engine; choose auto, packet or connect")]
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
    fn engines_print_what_they_parse_from() {
        for engine in EngineChoice::value_variants() {
            assert_eq!(engine.to_string().parse(), Ok(*engine));
        }
        assert_eq!("xdp".parse::<EngineChoice>(), Err(EngineError::Later));
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
