//! Fingerprints as people handle them: so many of their first digits that nothing else begins with them.

use std::str::FromStr;

use super::super::Failure;
use crate::policy::finding::Fingerprint;
use crate::store::Reader;

/// The fewest digits that are asked for, and the fewest that are shown.
const FEWEST: usize = 8;

/// All digits of a fingerprint.
const ALL: usize = 32;

/// How many fingerprints are named where one is not enough.
const NAMED: usize = 5;

/// The first digits of a fingerprint, or all of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Short(String);

impl FromStr for Short {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim().to_ascii_lowercase();
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex && (FEWEST..=ALL).contains(&digits.len()) {
            return Ok(Short(digits));
        }
        Err(format!(
            "`{text}` is no fingerprint; write its first {FEWEST} hexadecimal digits or more, as `portreeve alerts` \
             shows them"
        ))
    }
}

impl Short {
    /// The one fingerprint that is meant.
    pub fn resolve(&self, reader: &Reader) -> Result<Fingerprint, Failure> {
        let mut found = reader.fingerprints(&self.0)?;
        let only = if found.len() == 1 { found.pop() } else { None };
        match only {
            Some(fingerprint) => Ok(fingerprint),
            None if found.is_empty() => Err(format!(
                "no alert has a fingerprint that begins with `{}`; `portreeve alerts --all` lists those that are known",
                self.0
            )
            .into()),
            None => {
                let named: Vec<&str> = found.iter().take(NAMED).map(Fingerprint::as_str).collect();
                Err(format!(
                    "{} alerts have a fingerprint that begins with `{}`; write more digits: {}",
                    found.len(),
                    self.0,
                    named.join(", ")
                )
                .into())
            }
        }
    }

    /// As [`Short::resolve`]; but a whole fingerprint is taken as it is, whether anything is known of it or not.
    pub fn resolve_or_take(&self, reader: &Reader) -> Result<Fingerprint, Failure> {
        match Fingerprint::try_from(self.0.clone()) {
            Ok(whole) => Ok(whole),
            Err(_) => self.resolve(reader),
        }
    }
}

/// How many digits tell every fingerprint from every other.
pub fn width(reader: &Reader) -> Result<usize, Failure> {
    Ok(width_of(&reader.fingerprints("")?))
}

/// As [`width`], of sorted fingerprints: of two, only neighbours can have the most digits in common.
fn width_of(sorted: &[Fingerprint]) -> usize {
    let common = |pair: &[Fingerprint]| {
        let digits = pair[0].as_str().bytes().zip(pair[1].as_str().bytes());
        digits.take_while(|(one, other)| one == other).count()
    };
    sorted.windows(2).map(|pair| common(pair) + 1).fold(FEWEST, usize::max)
}

/// The first digits.
pub fn first(fingerprint: &Fingerprint, width: usize) -> &str {
    let digits = fingerprint.as_str();
    digits.get(..width).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_digits_or_more_are_a_fingerprint() {
        for text in ["0123abcd", " 0123ABCD ", "0123456789abcdef0123456789abcdef"] {
            assert!(text.parse::<Short>().is_ok(), "{text}");
        }
        for text in
            ["", "0123abc", "0123abcg", "+123abcd", "0123456789abcdef0123456789abcdef0", "\u{661}1234567"]
        {
            let error = text.parse::<Short>().expect_err(text);
            assert!(error.contains("is no fingerprint; write its first 8"), "{error}");
        }
    }

    #[test]
    fn as_many_digits_are_shown_as_tell_all_apart() {
        let all = |texts: &[&str]| -> Vec<Fingerprint> {
            let whole = texts.iter().map(|text| format!("{text:0<32}"));
            whole.map(|text| Fingerprint::try_from(text).expect("a fingerprint")).collect()
        };
        for (texts, width) in [
            (&[][..], 8),
            (&["ab"], 8),
            (&["ab", "cd"], 8),
            (&["0123456", "01234567"], 8),
            (&["01234567", "012345678"], 9),
            (&["01234567", "0123456789", "012345678a"], 10),
        ] {
            assert_eq!(width_of(&all(texts)), width, "{texts:?}");
        }
        assert_eq!(first(&all(&["0123456789"])[0], 9), "012345678");
    }
}
