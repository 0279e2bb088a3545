//! One value of a TOML file, and what it can be read as.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::Date;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::document::Document;
use crate::policy::allowlist::Expiry;
use crate::target::ports::PortSet;

/// A key of a table: its name, and an example of its value for whoever got it wrong.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// An example of its value, in TOML.
    pub example: &'static str,
}

/// Something that was read, and the byte at which it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placed<T> {
    /// The byte at which it stands.
    pub at: usize,
    /// What was read.
    pub value: T,
}

/// A value that is being read. Every reader notes a mistake in the document where it answers `None`.
#[derive(Clone, Copy)]
pub struct Value<'d> {
    document: &'d Document<'d>,
    key: &'static Key,
    /// Whether it is one entry of the key's array.
    is_entry: bool,
    value: &'d Spanned<DeValue<'d>>,
}

impl<'d> Value<'d> {
    /// The value of a key.
    pub(super) fn new(
        document: &'d Document<'d>,
        key: &'static Key,
        value: &'d Spanned<DeValue<'d>>,
    ) -> Self {
        Value { document, key, is_entry: false, value }
    }

    /// The byte at which it stands.
    pub fn at(&self) -> usize {
        self.value.span().start
    }

    /// A text that is not blank, without the blanks around it.
    pub fn text(self) -> Option<String> {
        let text = self.string("text in quotes")?.trim();
        if text.is_empty() {
            self.report(format!("{} is blank", self.subject()), self.example());
            return None;
        }
        Some(text.to_owned())
    }

    /// `true` or `false`.
    pub fn boolean(self) -> Option<bool> {
        let value = self.value.get_ref().as_bool();
        self.or_wrong(value, "true or false")
    }

    /// A whole number of this range.
    pub fn integer(self, range: RangeInclusive<u64>) -> Option<u64> {
        let value =
            self.value.get_ref().as_integer().and_then(number).filter(|number| range.contains(number));
        self.or_wrong(value, &format!("a whole number from {} to {}", range.start(), range.end()))
    }

    /// A length of time of this range, such as `"60s"` or `"1h 30m"`.
    pub fn duration(self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let value = self.value.get_ref().as_str().and_then(|text| text.trim().parse::<SignedDuration>().ok());
        let value = value.and_then(|signed| Duration::try_from(signed).ok()).filter(|d| range.contains(d));
        let show = |duration: &Duration| {
            SignedDuration::try_from(*duration).map_or_else(|_| format!("{duration:?}"), |d| format!("{d:#}"))
        };
        let wanted = format!(
            "a length of time from {} to {}, with its unit and in quotes",
            show(range.start()),
            show(range.end())
        );
        self.or_wrong(value, &wanted)
    }

    /// A date, or a moment with its offset, as TOML writes them: without quotes.
    pub fn expiry(self) -> Option<Expiry> {
        let wanted = "a date, or a moment with its offset from UTC, without quotes";
        if let Some(expiry) =
            self.value.get_ref().as_str().and_then(|text| text.trim().parse::<Expiry>().ok())
        {
            let message = self.must_be(wanted);
            self.report(message, format!("write {} = {expiry}", self.key.name));
            return None;
        }
        let value = self.value.get_ref().as_datetime().and_then(|datetime| {
            match (datetime.date, datetime.time, datetime.offset) {
                (Some(day), None, None) => civil_date(day).map(Expiry::Day),
                (Some(_), Some(_), Some(_)) => datetime.to_string().parse().ok().map(Expiry::Instant),
                // A moment without its offset is another moment in every place.
                _ => None,
            }
        });
        self.or_wrong(value, wanted)
    }

    /// A text that says one `T`.
    pub fn parsed<T>(self) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.string("text in quotes")?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(&error.to_string());
                None
            }
        }
    }

    /// A set of ports: a text such as `"risky"`, or an array of numbers and of such texts.
    pub fn ports(self) -> Option<PortSet> {
        if self.value.get_ref().is_str() {
            return self.parsed();
        }
        let entries = self.entries("a text such as \"risky\", or an array such as [22, \"redis\"]")?;
        if entries.is_empty() {
            self.report(format!("{} names no port", self.subject()), self.example());
        }
        let sets: Vec<Option<PortSet>> = entries.into_iter().map(Value::port_entry).collect();
        let sets: Vec<PortSet> = sets.into_iter().collect::<Option<_>>()?;
        PortSet::new(sets.iter().flat_map(PortSet::iter))
    }

    /// The path of a file; a relative one begins where this file is.
    pub fn path(self) -> Option<PathBuf> {
        self.text().map(|path| self.document.resolve(path))
    }

    /// The entries of an array; `wanted` says what is wanted in place of what is none.
    pub fn entries(self, wanted: &str) -> Option<Vec<Value<'d>>> {
        let Value { document, key, value, .. } = self;
        let entries = value
            .get_ref()
            .as_array()
            .map(|array| array.iter().map(|value| Value { document, key, is_entry: true, value }).collect());
        self.or_wrong(entries, wanted)
    }

    /// The text as it stands, if it is one; never a mistake.
    pub fn as_text(&self) -> Option<&'d str> {
        self.value.get_ref().as_str()
    }

    /// Notes that something else is wanted here.
    pub fn wrong(self, wanted: &str) {
        let message = self.must_be(wanted);
        self.report(message, self.example());
    }

    /// Notes a mistake in the words of an error whose advice stands behind a semicolon.
    pub fn refuse(self, error: &str) {
        match error.split_once("; ") {
            Some((message, help)) => self.report(message.to_owned(), help.to_owned()),
            None => self.report(error.to_owned(), self.example()),
        }
    }

    pub(super) fn as_table(&self) -> Option<&'d DeTable<'d>> {
        self.value.get_ref().as_table()
    }

    fn string(self, wanted: &str) -> Option<&'d str> {
        self.or_wrong(self.value.get_ref().as_str(), wanted)
    }

    fn port_entry(self) -> Option<PortSet> {
        if self.value.get_ref().is_str() {
            return self.parsed();
        }
        let port =
            self.value.get_ref().as_integer().and_then(number).and_then(|port| u16::try_from(port).ok());
        let set = port.and_then(|port| PortSet::new([port]));
        self.or_wrong(set, "a port from 1 to 65535, or a text such as \"redis\" or \"8000-8100\"")
    }

    fn or_wrong<T>(self, value: Option<T>, wanted: &str) -> Option<T> {
        if value.is_none() {
            self.wrong(wanted);
        }
        value
    }

    fn must_be(&self, wanted: &str) -> String {
        format!("{} must be {wanted}, but {} stands here", self.subject(), self.found())
    }

    fn subject(&self) -> String {
        let name = self.key.name;
        if self.is_entry { format!("an entry of `{name}`") } else { format!("`{name}`") }
    }

    fn example(&self) -> String {
        format!("write {} = {}", self.key.name, self.key.example)
    }

    /// What stands here, in a few words.
    fn found(&self) -> String {
        let kind = match self.value.get_ref() {
            DeValue::Array(_) => return "an array".to_owned(),
            DeValue::Table(_) => return "a table".to_owned(),
            DeValue::String(_) => "the text",
            DeValue::Integer(_) | DeValue::Float(_) => "the number",
            DeValue::Boolean(_) => "the boolean",
            DeValue::Datetime(_) => "the date",
        };
        let written = self.document.source().text().get(self.value.span()).unwrap_or("");
        let line = written.lines().next().unwrap_or("");
        let short: String = line.chars().take(SHOWN).collect();
        let dots = if short.len() < written.len() { "..." } else { "" };
        format!("{kind} {short}{dots}")
    }

    fn report(&self, message: String, help: String) {
        self.document.report(self.at(), message, help);
    }
}

/// How many characters of a wrong value are shown.
const SHOWN: usize = 40;

fn number(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn civil_date(day: toml::value::Date) -> Option<Date> {
    let (year, month, day) =
        (i16::try_from(day.year).ok()?, i8::try_from(day.month).ok()?, i8::try_from(day.day).ok()?);
    Date::new(year, month, day).ok()
}
