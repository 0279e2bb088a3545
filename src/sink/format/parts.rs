//! The parts of an event, as the formats read them. Whatever others wrote is cut here, and nowhere else.

use std::net::IpAddr;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize};

/// The most characters of a text that others wrote. Elasticsearch does not index longer ones, and CEF allows no
/// longer message. The events themselves have all of them.
const LONGEST: usize = 1023;

/// A text that others may have written, cut where it is too long for those who gather events.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Text<'e>(&'e str);

impl<'e> Text<'e> {
    /// As much of a text as is told.
    pub fn new(text: &'e str) -> Self {
        Text(text.char_indices().nth(LONGEST).map_or(text, |(end, _)| &text[..end]))
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        self.0
    }
}

impl<'de: 'e, 'e> Deserialize<'de> for Text<'e> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&str>::deserialize(deserializer).map(Text::new)
    }
}

/// What a server said of itself.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Banner<'e> {
    /// What it speaks.
    pub protocol: &'e str,
    /// What it said.
    #[serde(borrow)]
    pub text: Text<'e>,
}

/// An allowance that once held, or that is not used.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Allowance<'e> {
    /// Why the ports may or might be open.
    #[serde(borrow)]
    pub reason: Text<'e>,
    /// Who answers for it.
    #[serde(borrow)]
    pub owner: Text<'e>,
    /// Until when.
    pub expires: Option<&'e str>,
}

/// Where a sweep looks from.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Vantage<'e> {
    /// Name of the host.
    #[serde(borrow)]
    pub host: Text<'e>,
    /// What sends.
    pub engine: &'e str,
    /// The address that probes come from.
    pub source: Option<IpAddr>,
}

/// A scope, as far as formats tell of it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Scope {
    /// Targets.
    pub declared: u64,
}

/// One thing that was asked of a control run.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Asked<'e> {
    /// Its name.
    #[serde(borrow)]
    pub name: Text<'e>,
    /// Whether it is so.
    pub met: bool,
    /// What was found.
    #[serde(borrow)]
    pub statement: Text<'e>,
}

/// Who has taken an alert on.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Acknowledgement<'e> {
    /// Who.
    #[serde(borrow)]
    pub who: Text<'e>,
}

/// What was raised for one sink, and what became of it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Books<'e> {
    /// The sink.
    #[serde(borrow)]
    pub sink: Text<'e>,
    /// Messages that are still to be delivered.
    pub pending: u64,
    /// Messages that were given up.
    pub dead: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::view::View;
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "\u{1f600}".repeat(5000);
        assert_eq!(Text::new(&long).chars().count(), LONGEST);
        assert_eq!(&*Text::new("short"), "short");
        let event = json!({"event": "port", "time": "2026-06-01T00:00:00Z", "names": [long]});
        assert_eq!(View::of(&event).expect("an event").expect("a kind").names[0].chars().count(), LONGEST);
    }
}
