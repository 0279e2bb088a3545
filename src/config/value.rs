//! One value of a TOML file, and what it can be read as.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::document::{Document, nearest};
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

/// What was read, without the places.
pub(super) fn values<T>(placed: Option<Vec<Placed<T>>>) -> Vec<T> {
    placed.unwrap_or_default().into_iter().map(|placed| placed.value).collect()
}

/// A value that is being read. Every reader notes a mistake in the document where it answers `None`.
#[derive(Clone, Copy)]
pub struct Value<'d> {
    document: &'d Document<'d>,
    key: &'static Key,
    /// What the key is called in this file.
    name: &'d str,
    /// Whether it is one entry of the key's array.
    is_entry: bool,
    value: &'d Spanned<DeValue<'d>>,
}

impl<'d> Value<'d> {
    /// The value of a key.
    pub(super) fn new(
        document: &'d Document<'d>,
        key: &'static Key,
        name: &'d str,
        value: &'d Spanned<DeValue<'d>>,
    ) -> Self {
        Value { document, key, name, is_entry: false, value }
    }

    /// The document that it is a part of.
    pub fn document(&self) -> &'d Document<'d> {
        self.document
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

    /// A length of time of this range, such as `"60s"`, `"1h 30m"` or `"14d"`. Nothing needs no unit.
    pub fn duration(self, range: RangeInclusive<Duration>) -> Option<Duration> {
        self.length_of_time(range, "")
    }

    /// As [`Value::duration`], where a word could stand as well.
    pub fn duration_or(self, range: RangeInclusive<Duration>, word: &str) -> Option<Duration> {
        self.length_of_time(range, &format!(", or \"{word}\""))
    }

    fn length_of_time(self, range: RangeInclusive<Duration>, or: &str) -> Option<Duration> {
        let is_zero =
            self.value.get_ref().as_integer().and_then(number) == Some(0) || self.as_text() == Some("0");
        let value = if is_zero { Some(Duration::ZERO) } else { self.as_text().and_then(length_of_time) };
        let value = value.filter(|length| range.contains(length));
        let (shortest, longest) = (in_words(*range.start()), in_words(*range.end()));
        let wanted =
            format!("a length of time from {shortest} to {longest}, with its unit and in quotes{or}");
        self.or_wrong(value, &wanted)
    }

    /// A moment with its offset from UTC, as TOML writes it: without quotes.
    pub fn moment(self) -> Option<Timestamp> {
        let value = self.value.get_ref().as_datetime().and_then(|datetime| datetime.to_string().parse().ok());
        self.or_wrong(value, "a moment with its date, its time and its offset from UTC, without quotes")
    }

    /// One of these words, each of which stands for a `T`.
    pub fn choice<T: Copy>(self, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let words = || words.iter().map(|(word, _)| *word);
        let hint =
            nearest(&text, words()).map_or_else(String::new, |word| format!("did you mean `{word}`? "));
        let list = words().collect::<Vec<_>>().join(", ");
        self.report(format!("`{text}` is no {what}"), format!("{hint}choose one of {list}"));
        None
    }

    /// A date, or a moment with its offset, as TOML writes them: without quotes.
    pub fn expiry(self) -> Option<Expiry> {
        let wanted = "a date, or a moment with its offset from UTC, without quotes";
        if let Some(expiry) =
            self.value.get_ref().as_str().and_then(|text| text.trim().parse::<Expiry>().ok())
        {
            let message = self.must_be(wanted);
            self.report(message, format!("write {} = {expiry}", self.name));
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
        let entry = |value| Value { is_entry: true, value, ..self };
        let entries = self.value.get_ref().as_array().map(|array| array.iter().map(entry).collect());
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

    /// Notes a mistake.
    pub fn report(&self, message: impl Into<String>, help: impl Into<String>) {
        self.document.report(self.at(), message, help);
    }

    /// The byte behind it.
    pub(super) fn end(&self) -> usize {
        self.value.span().end
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
        let name = self.name;
        if self.is_entry { format!("an entry of `{name}`") } else { format!("`{name}`") }
    }

    fn example(&self) -> String {
        format!("write {} = {}", self.name, self.key.example)
    }

    /// What stands here, in a few words.
    fn found(&self) -> String {
        let kind = match self.value.get_ref() {
            DeValue::Array(_) => return "an array".to_owned(),
            DeValue::Table(_) => return "a table".to_owned(),
            DeValue::String(_) => "text",
            DeValue::Integer(_) | DeValue::Float(_) => "number",
            DeValue::Boolean(_) => "boolean",
            DeValue::Datetime(_) => "date",
        };
        if is_secret(self.key.name) || is_secret(self.name) {
            return format!("a {kind}");
        }
        let written = self.document.source().text().get(self.value.span()).unwrap_or("");
        let line = written.lines().next().unwrap_or("");
        let short: String = line.chars().take(SHOWN).collect();
        let dots = if short.len() < written.len() { "..." } else { "" };
        format!("the {kind} {short}{dots}")
    }
}

/// Keys whose values are secrets, or might be where somebody has got it wrong: no mistake repeats them.
const SECRETS: [&str; 18] = [
    "api_key",
    "auth",
    "authorization",
    "bearer",
    "credentials",
    "headers",
    "integration_key",
    "key",
    "passphrase",
    "passwd",
    "password",
    "pass",
    "private_key",
    "routing_key",
    "secret",
    "signing_key",
    "token",
    "url",
];

/// Whether a value of this key must not be repeated. What should be the name of a file may be the secret itself.
pub(super) fn is_secret(key: &str) -> bool {
    SECRETS.contains(&key.strip_suffix("_file").unwrap_or(key))
}

/// How many characters of a wrong value are shown.
const SHOWN: usize = 40;

fn number(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A length of time in which days have 24 hours.
fn length_of_time(text: &str) -> Option<Duration> {
    let span: Span = text.trim().parse().ok()?;
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(signed).ok()
}

/// A length of time as one writes it.
pub(super) fn in_words(length: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    match (length.as_secs() / DAY, SignedDuration::try_from(length)) {
        (days, _) if days > 1 && Duration::from_secs(days * DAY) == length => format!("{days}d"),
        (_, Ok(signed)) => format!("{signed:#}"),
        (_, Err(_)) => format!("{length:?}"),
    }
}

fn civil_date(day: toml::value::Date) -> Option<Date> {
    let (year, month, day) =
        (i16::try_from(day.year).ok()?, i8::try_from(day.month).ok()?, i8::try_from(day.day).ok()?);
    Date::new(year, month, day).ok()
}
