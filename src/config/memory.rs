//! How much memory a sweep may take.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use thiserror::Error;

/// Bytes for each target.
const TARGET_BYTES: u64 = 2;

/// What a sweep takes beside that, see `tests/scale.rs`.
const BESIDE: u64 = 32 << 20;

/// With less than this, hardly a target would fit beside the rest.
const LEAST: u64 = 64 << 20;

/// Memory that a sweep may take, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Memory(u64);

impl Memory {
    /// What a sweep takes where nobody has said how much it may: half of what is available. At least as much as it
    /// takes to sweep anything.
    pub fn share_of(available: u64) -> Self {
        Memory((available / 2).max(LEAST))
    }

    /// How many targets can be swept at a time.
    pub fn targets(self) -> NonZeroU64 {
        NonZeroU64::new((self.0 - BESIDE) / TARGET_BYTES).unwrap_or(NonZeroU64::MIN)
    }
}

impl FromStr for Memory {
    type Err = MemoryError;

    fn from_str(text: &str) -> Result<Self, MemoryError> {
        let fail = || MemoryError::NoSize { text: text.to_owned() };
        let (digits, shift) = match text.chars().last() {
            Some('M') => (&text[..text.len() - 1], 20),
            Some('G') => (&text[..text.len() - 1], 30),
            _ => return Err(fail()),
        };
        let number: u64 = digits.parse().map_err(|_| fail())?;
        let bytes = number.checked_mul(1 << shift).ok_or_else(fail)?;
        if bytes < LEAST { Err(MemoryError::TooLittle { text: text.to_owned() }) } else { Ok(Memory(bytes)) }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}M", self.0 >> 20)
    }
}

/// A text that is no memory for a sweep.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum MemoryError {
    /// Not a number with its unit.
    #[error("`{text}` is no size of memory; write a whole number with M or G behind it, such as 512M or 2G")]
    NoSize {
        /// What was written.
        text: String,
    },
    /// Not enough.
    #[error("`{text}` is too little for a sweep; write at least {}", Memory(LEAST))]
    TooLittle {
        /// What was written.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_and_says_what_is_wanted() {
        let targets = |text: &str| text.parse::<Memory>().map(|memory| memory.targets().get());
        assert_eq!(targets("64M"), Ok(16 << 20));
        assert_eq!(targets("2G"), Ok((2016 << 20) / 2));
        for wrong in ["", "M", "512", "512K", "0.5G", "-1G", "99999999999999G", "512MB", "ü"] {
            let failed = wrong.parse::<Memory>().expect_err(wrong).to_string();
            assert!(failed.contains("such as 512M or 2G"), "{failed}");
        }
        let failed = "63M".parse::<Memory>().expect_err("too little").to_string();
        assert_eq!(failed, "`63M` is too little for a sweep; write at least 64M");
    }

    #[test]
    fn a_sweep_takes_half_of_what_there_is_and_enough_to_go_on() {
        assert_eq!(Memory::share_of(4 << 30).to_string(), "2048M");
        assert_eq!(Memory::share_of(0).to_string(), "64M");
    }
}
