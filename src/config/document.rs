//! A reader of TOML that keeps the place of everything and goes on after a mistake.
//!
//! Tables are read key by key; at the end of a table, every key that nobody asked for is a mistake of its own. Syntax
//! is split in two: a mistake that is exactly one value (`ports = redis`) spoils that value alone, and reading goes on;
//! any other may have torn the structure, and what follows from it would be noise, so only the syntax up to there is
//! told.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::diagnostic::{Diagnostic, Source};
use super::value::{Key, Placed, Value};

/// A TOML file that is being read.
pub struct Document<'s> {
    source: &'s Source,
    root: DeTable<'s>,
    /// Where a value stands that the syntax has already been blamed for.
    spoiled: BTreeSet<usize>,
    mistakes: RefCell<Vec<Diagnostic>>,
}

impl<'s> Document<'s> {
    /// Parses the text.
    ///
    /// # Errors
    /// When the syntax is broken in a way that leaves the structure in doubt.
    pub fn parse(source: &'s Source) -> Result<Self, Vec<Diagnostic>> {
        let (root, errors) = DeTable::parse_recoverable(source.text());
        let root = root.into_inner();
        let mut values = Vec::new();
        collect_values(&root, &mut values);
        let blamed: Vec<Option<usize>> = errors.iter().map(|error| blamed_value(error, &values)).collect();
        let tears = |(error, value): (&toml::de::Error, &Option<usize>)| {
            let torn = value.is_none() && error.message() != DUPLICATE_KEY;
            torn.then(|| syntax_mistake(source, error))
        };
        let mut tears: Vec<Diagnostic> = errors.iter().zip(&blamed).filter_map(tears).collect();
        sort(&mut tears);
        let mut mistakes: Vec<Diagnostic> =
            errors.iter().map(|error| syntax_mistake(source, error)).collect();
        if let Some(tear) = tears.into_iter().next() {
            // The parser stumbles on behind a tear; what it says of the rest is about a file that nobody wrote.
            mistakes.retain(|mistake| mistake.line < tear.line);
            sort(&mut mistakes);
            mistakes.push(tear);
            return Err(mistakes);
        }
        let spoiled = blamed.into_iter().flatten().collect();
        Ok(Document { source, root, spoiled, mistakes: RefCell::new(mistakes) })
    }

    /// The table of the whole file.
    pub fn root(&self) -> Section<'_> {
        Section {
            document: self,
            place: "at the top level".to_owned(),
            at: 0,
            table: &self.root,
            keys: Vec::new(),
        }
    }

    /// The text that is being read.
    pub fn source(&self) -> &'s Source {
        self.source
    }

    /// The path of a file that is named in this one: a relative path begins where this file is.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.source.file().parent().map_or_else(|| path.as_ref().to_path_buf(), |parent| parent.join(&path))
    }

    /// Notes a mistake at this byte, unless the syntax there has been blamed already.
    pub fn report(&self, at: usize, message: impl Into<String>, help: impl Into<String>) {
        if !self.spoiled.contains(&at) {
            self.mistakes.borrow_mut().push(self.source.diagnostic(at, message, help));
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When there were mistakes: all of them, in the order of the file.
    pub fn finish(self) -> Result<(), Vec<Diagnostic>> {
        let mut mistakes = self.mistakes.into_inner();
        if mistakes.is_empty() {
            return Ok(());
        }
        sort(&mut mistakes);
        Err(mistakes)
    }
}

/// A table that is being read.
pub struct Section<'d> {
    document: &'d Document<'d>,
    /// What it is called in a sentence: `in [scope]`.
    place: String,
    at: usize,
    table: &'d DeTable<'d>,
    keys: Vec<&'static Key>,
}

impl<'d> Section<'d> {
    /// The value of a key, if it is there; from now on the key is known.
    pub fn take(&mut self, key: &'static Key) -> Option<Value<'d>> {
        self.keys.push(key);
        self.table.get(key.name).map(|value| Value::new(self.document, key, value))
    }

    /// The entries of an array, each read by `read`; `None` if the key is not there, or if anything in it is wrong.
    pub fn list<T>(
        &mut self,
        key: &'static Key,
        read: impl Fn(Value<'d>) -> Option<T>,
    ) -> Option<Vec<Placed<T>>> {
        let entries = self.take(key)?.entries("an array")?;
        let read_placed = |value: Value<'d>| {
            let at = value.at();
            read(value).map(|value| Placed { at, value })
        };
        // Two steps, so that a wrong entry does not hide the next one.
        let read: Vec<Option<Placed<T>>> = entries.into_iter().map(read_placed).collect();
        read.into_iter().collect()
    }

    /// As [`Section::list`], but an empty array is a mistake: it names no `what`.
    pub fn list_some<T>(
        &mut self,
        key: &'static Key,
        what: &str,
        read: impl Fn(Value<'d>) -> Option<T>,
    ) -> Option<Vec<Placed<T>>> {
        let list = self.list(key, read)?;
        if list.is_empty() {
            let at = self.table.get(key.name).map_or(self.at, |value| value.span().start);
            let message = format!("`{}` names no {what}", key.name);
            self.document.report(at, message, format!("write {} = {}", key.name, key.example));
            return None;
        }
        Some(list)
    }

    /// Whether the key is there.
    pub fn has(&self, key: &Key) -> bool {
        self.table.contains_key(key.name)
    }

    /// The table behind a key.
    pub fn table(&mut self, key: &'static Key) -> Option<Section<'d>> {
        let value = self.take(key)?;
        let Some(table) = value.as_table() else {
            value.wrong(&format!("a table, under a line [{}]", self.path_of(key)));
            return None;
        };
        Some(self.below(table, value.at(), format!("in [{}]", self.path_of(key))))
    }

    /// The tables behind a key that may stand several times.
    pub fn tables(&mut self, key: &'static Key) -> Vec<Section<'d>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        if value.as_table().is_some() {
            let message =
                format!("`{}` may stand several times, but it stands here as a single table", key.name);
            self.document.report(value.at(), message, format!("write [[{}]]", self.path_of(key)));
            return Vec::new();
        }
        let entries = value.entries("tables").unwrap_or_default();
        let mut sections = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry.as_table() {
                Some(table) => {
                    let place = format!("in [[{}]]", self.path_of(key));
                    sections.push(self.below(table, entry.at(), place));
                }
                None => entry.wrong("a table"),
            }
        }
        sections
    }

    /// Notes each of these keys that is not there. A key that is there but misspelt is told as that, once, by
    /// [`Section::finish`].
    pub fn need(&self, keys: &[&'static Key]) {
        let unknown = self.table.keys().filter(|key| !is_known(&self.keys, key.get_ref()));
        let misspelt: Vec<&str> = unknown.filter_map(|key| nearest(key.get_ref(), &self.keys)).collect();
        for key in keys.iter().filter(|key| !self.has(key) && !misspelt.contains(&key.name)) {
            let message = format!("`{}` is missing {}", key.name, self.place);
            self.document.report(self.at, message, format!("add {} = {}", key.name, key.example));
        }
    }

    /// Everything that was not taken, by key; for tables whose keys are somebody else's to know.
    pub fn rest(self) -> BTreeMap<String, Placed<toml::Value>> {
        let rest = self.table.iter().filter(|(key, _)| !is_known(&self.keys, key.get_ref()));
        rest.filter_map(|(key, value)| {
            let at = value.span().start;
            let owned = toml::Value::deserialize(ValueDeserializer::from(value.clone()));
            let value = owned.map_err(|error| {
                self.document.report(at, error.message(), "write a value that TOML can hold");
            });
            Some((key.get_ref().to_string(), Placed { at, value: value.ok()? }))
        })
        .collect()
    }

    /// Ends the reading of this table: every key that was not taken is a mistake.
    pub fn finish(self) {
        for (key, _) in self.table.iter().filter(|(key, _)| !is_known(&self.keys, key.get_ref())) {
            let message = format!("unknown key `{}` {}", key.get_ref(), self.place);
            self.document.report(key.span().start, message, suggest(key.get_ref(), &self.keys));
        }
    }

    /// The byte at which the table begins.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The document that the table is a part of.
    pub fn document(&self) -> &'d Document<'d> {
        self.document
    }

    /// What a table behind this key is called.
    fn path_of(&self, key: &Key) -> String {
        let above = self.place.strip_prefix("in [").map(|place| place.trim_matches(['[', ']']));
        above.map_or_else(|| key.name.to_owned(), |above| format!("{above}.{}", key.name))
    }

    fn below(&self, table: &'d DeTable<'d>, at: usize, place: String) -> Section<'d> {
        Section { document: self.document, place, at, table, keys: Vec::new() }
    }
}

fn is_known(keys: &[&'static Key], name: &str) -> bool {
    keys.iter().any(|key| key.name == name)
}

/// How alike two words must be for the one to be offered in place of the other.
const LIKENESS: f64 = 0.75;

fn nearest(name: &str, keys: &[&'static Key]) -> Option<&'static str> {
    keys.iter()
        .map(|key| (strsim::jaro_winkler(name, key.name), key.name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > LIKENESS)
        .map(|(_, known)| known)
}

fn suggest(name: &str, keys: &[&'static Key]) -> String {
    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
    let hint = nearest(name, keys).map_or_else(String::new, |known| format!("did you mean `{known}`? "));
    format!("{hint}known here: {}", names.join(", "))
}

/// Where the one value begins that a mistake of syntax is about, if it leaves everything else readable: the mistake is
/// exactly the value, or is noticed where the value ends, as with a quote that the line does not close.
fn blamed_value(error: &toml::de::Error, values: &[Range<usize>]) -> Option<usize> {
    let span = error.span()?;
    let said = error.message();
    let ends_at_line = said.starts_with("invalid") && !said.contains("multi-line");
    let blamed = |value: &&Range<usize>| **value == span || (ends_at_line && value.end == span.start);
    values.iter().find(blamed).map(|value| value.start)
}

fn collect_values(table: &DeTable<'_>, values: &mut Vec<Range<usize>>) {
    for value in table.values() {
        collect_value(value, values);
    }
}

fn collect_value(value: &Spanned<DeValue<'_>>, values: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) => collect_values(table, values),
        DeValue::Array(array) => array.iter().for_each(|entry| collect_value(entry, values)),
        _ => values.push(value.span()),
    }
}

/// What the parser says of a key that stands twice. Were it to say something else one day, the duplicate would count as
/// torn structure: fewer mistakes at once, but none lost.
const DUPLICATE_KEY: &str = "duplicate key";

/// What the parser says of a word without quotes, and of nothing at all where a value is due.
const UNQUOTED: &str = "string values must be quoted";

/// What the parser says where an array goes on without a comma, most often because nobody closed it.
const MISSING_COMMA: &str = "missing comma";

/// What the parser says of 2027-02-30.
const INVALID_DATE: &str = "invalid date";

fn syntax_mistake(source: &Source, error: &toml::de::Error) -> Diagnostic {
    let span = error.span().unwrap_or(source.text().len()..source.text().len());
    let slice = source.text().get(span.clone()).unwrap_or("");
    let (message, help) = match error.message() {
        DUPLICATE_KEY => {
            (format!("`{slice}` stands here a second time"), "keep one of the two, or join them".to_owned())
        }
        said if said.starts_with(UNQUOTED) && slice.is_empty() => {
            ("a value is missing".to_owned(), "write one, or remove the key".to_owned())
        }
        said if said.starts_with(UNQUOTED) => {
            (format!("`{slice}` is not in quotes"), format!("write \"{slice}\""))
        }
        said if said.starts_with(MISSING_COMMA) => (
            format!("TOML syntax: {said}"),
            "put a comma in front, or close the array above with ]".to_owned(),
        ),
        said if said.starts_with(INVALID_DATE) => (
            format!("`{slice}` is no date: {said}"),
            "write a day that the calendar has, such as 2027-03-31".to_owned(),
        ),
        said => (format!("TOML syntax: {said}"), SYNTAX_HELP.to_owned()),
    };
    source.diagnostic(span.start, message, help)
}

const SYNTAX_HELP: &str =
    "text stands in quotes, arrays in [ ], keys as key = value, tables under [name] or [[name]]";

fn sort(mistakes: &mut [Diagnostic]) {
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
}

#[cfg(test)]
mod tests {
    use super::*;

    static FLAG: Key = Key { name: "flag", example: "true" };
    static COUNT: Key = Key { name: "count", example: "3" };
    static TABLE: Key = Key { name: "table", example: "{}" };

    fn told(document: Document<'_>) -> Vec<String> {
        let mistakes = document.finish().err().unwrap_or_default();
        mistakes.iter().map(|m| format!("{}:{}: {}; {}", m.line, m.column, m.message, m.help)).collect()
    }

    #[test]
    fn reads_booleans_and_numbers_of_every_radix() {
        for (text, flag, count) in [
            ("flag = true\ncount = 1_0", Some(true), Some(10)),
            ("flag = false\ncount = 0xF", Some(false), Some(15)),
            ("flag = 1\ncount = 0b10000", None, None),
            ("count = 99999999999999999999", None, None),
        ] {
            let source = Source::new("a.toml", text);
            let document = Document::parse(&source).expect("TOML");
            let mut root = document.root();
            assert_eq!(root.take(&FLAG).and_then(Value::boolean), flag, "{text}");
            assert_eq!(root.take(&COUNT).and_then(|value| value.integer(0..=15)), count, "{text}");
        }
        let source = Source::new("a.toml", "flag = \"yes\"");
        let document = Document::parse(&source).expect("TOML");
        assert_eq!(document.root().take(&FLAG).and_then(Value::boolean), None);
        let want = "1:8: `flag` must be true or false, but the text \"yes\" stands here; write flag = true";
        assert_eq!(told(document), [want]);
    }

    #[test]
    fn tells_mistakes_in_the_order_of_the_file() {
        let source = Source::new("a.toml", "count = 4\nfalg = true\n[table]\ncuont = 1\n[zz]\n");
        let document = Document::parse(&source).expect("TOML");
        let mut root = document.root();
        let mut table = root.table(&TABLE).expect("a table");
        assert_eq!(table.take(&COUNT).map(|value| value.at()), None);
        table.finish();
        assert_eq!(root.take(&FLAG).and_then(Value::boolean), None);
        assert_eq!(root.take(&COUNT).and_then(|value| value.integer(1..=3)), None);
        root.finish();
        assert_eq!(
            told(document),
            [
                "1:9: `count` must be a whole number from 1 to 3, but the number 4 stands here; write count = 3",
                "2:1: unknown key `falg` at the top level; did you mean `flag`? known here: table, flag, count",
                "4:1: unknown key `cuont` in [table]; did you mean `count`? known here: count",
                "5:2: unknown key `zz` at the top level; known here: table, flag, count",
            ]
        );
    }

    #[test]
    fn long_values_are_cut_short() {
        let source = Source::new("a.toml", format!("flag = \"{}\"", "ä".repeat(99)));
        let document = Document::parse(&source).expect("TOML");
        assert_eq!(document.root().take(&FLAG).and_then(Value::boolean), None);
        let shown = format!("the text \"{}...", "ä".repeat(39));
        assert!(told(document)[0].contains(&shown));
    }

    #[test]
    fn keeps_the_keys_that_are_somebody_elses() {
        let source = Source::new("a.toml", "flag = true\nother = [1, { when = 2027-03-31 }]\n");
        let document = Document::parse(&source).expect("TOML");
        let mut root = document.root();
        assert_eq!(root.take(&FLAG).and_then(Value::boolean), Some(true));
        let rest = root.rest();
        assert_eq!(rest.keys().collect::<Vec<_>>(), ["other"]);
        assert_eq!(rest["other"].at, 20);
        assert_eq!(rest["other"].value.to_string(), "[1, { when = 2027-03-31 }]");
        assert_eq!(told(document), [""; 0]);
    }
}
