//! A reader of TOML that keeps the place of everything and goes on after a mistake.
//!
//! Tables are read key by key; at the end of a table, every key that nobody asked for is a mistake of its own. Mistakes
//! of syntax are in [`super::syntax`].

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::diagnostic::{Diagnostic, Source};
use super::named::NamedFile;
use super::syntax::{Parsed, parse};
use super::value::{Key, Placed, Value};

/// A TOML file that is being read.
pub struct Document<'s> {
    source: &'s Source,
    root: DeTable<'s>,
    /// Where a value stands that the syntax has already been blamed for.
    spoiled: BTreeSet<usize>,
    mistakes: RefCell<Vec<Diagnostic>>,
    named: RefCell<Vec<NamedFile>>,
}

impl<'s> Document<'s> {
    /// Parses the text.
    ///
    /// # Errors
    /// When the syntax is broken in a way that leaves the structure in doubt.
    pub fn parse(source: &'s Source) -> Result<Self, Vec<Diagnostic>> {
        let Parsed { root, spoiled, mistakes } = parse(source)?;
        let mistakes = RefCell::new(mistakes);
        Ok(Document { source, root, spoiled, mistakes, named: RefCell::default() })
    }

    /// The table of the whole file.
    pub fn root(&self) -> Section<'_> {
        Section {
            document: self,
            place: "at the top level".to_owned(),
            at: 0,
            table: &self.root,
            keys: Vec::new(),
            excused: Vec::new(),
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

    /// Notes a mistake in the words of an error whose advice stands behind a semicolon.
    pub fn report_error(&self, at: usize, error: &dyn std::error::Error) {
        let told = error.to_string();
        let (message, help) = told.split_once("; ").unwrap_or((&told, "mend it"));
        self.report(at, message, help);
    }

    /// Notes a mistake in a file that this one names, and that had to be read with it.
    pub fn report_elsewhere(&self, mistake: Diagnostic) {
        self.mistakes.borrow_mut().push(mistake);
    }

    /// Whether a mistake has been noted.
    pub fn has_mistakes(&self) -> bool {
        !self.mistakes.borrow().is_empty()
    }

    /// Notes a file that will be needed.
    pub fn name_file(&self, file: NamedFile) {
        self.named.borrow_mut().push(file);
    }

    /// The files that have been noted.
    pub fn named_files(&self) -> Vec<NamedFile> {
        self.named.borrow().clone()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When there were mistakes: all of them, in the order of the file.
    pub fn finish(self) -> Result<(), Vec<Diagnostic>> {
        let mistakes = self.into_mistakes();
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }

    /// Ends the reading: all mistakes, in the order of the file.
    pub fn into_mistakes(self) -> Vec<Diagnostic> {
        let mut mistakes = self.mistakes.into_inner();
        sort(&mut mistakes);
        mistakes
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
    /// Keys whose mistake has been told already.
    excused: Vec<&'d str>,
}

impl<'d> Section<'d> {
    /// The value of a key, if it is there; from now on the key is known.
    pub fn take(&mut self, key: &'static Key) -> Option<Value<'d>> {
        self.keys.push(key);
        self.table.get(key.name).map(|value| Value::new(self.document, key, key.name, value))
    }

    /// Every key that was not taken, with its value; for tables whose keys the file itself makes up. `example` is one
    /// of the keys that it might make up.
    pub fn others(&mut self, example: &'static Key) -> Vec<(Placed<&'d str>, Value<'d>)> {
        let is_told = |name: &str| is_known(&self.keys, name) || self.excused.contains(&name);
        let others = self.table.iter().filter(|(key, _)| !is_told(key.get_ref()));
        let others = others.map(|(key, value)| {
            let name: &'d str = key.get_ref();
            let at = key.span().start;
            (Placed { at, value: name }, Value::new(self.document, example, name, value))
        });
        let others: Vec<_> = others.collect();
        self.excused.extend(others.iter().map(|(name, _)| name.value));
        others
    }

    /// Notes a mistake at a key that has no business here, instead of that nobody knows it.
    pub fn refuse(&mut self, name: &str, message: impl Into<String>, help: impl Into<String>) {
        if let Some((key, _)) = self.table.get_key_value(name) {
            self.document.report(key.span().start, message, help);
            self.excused.push(key.get_ref());
        }
    }

    /// Does not say of this key that nobody knows it.
    pub fn excuse(&mut self, name: &str) {
        self.excused.extend(self.table.get_key_value(name).map(|(key, _)| key.get_ref().as_ref()));
    }

    /// Notes a mistake of the table as a whole.
    pub fn report(&self, message: impl Into<String>, help: impl Into<String>) {
        self.document.report(self.at, message, help);
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
        self.has_name(key.name)
    }

    /// Whether a key of this name is there.
    pub fn has_name(&self, name: &str) -> bool {
        self.table.contains_key(name)
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
        let misspelt: Vec<&str> = unknown.filter_map(|key| nearest(key.get_ref(), self.names())).collect();
        for key in keys.iter().filter(|key| !self.has(key) && !misspelt.contains(&key.name)) {
            let message = format!("`{}` is missing {}", key.name, self.place);
            self.document.report(self.at, message, format!("add {} = {}", key.name, key.example));
        }
    }

    /// Ends the reading of this table: every key that was not taken is a mistake.
    pub fn finish(self) {
        let is_told = |name: &str| is_known(&self.keys, name) || self.excused.contains(&name);
        for (key, _) in self.table.iter().filter(|(key, _)| !is_told(key.get_ref())) {
            let message = format!("unknown key `{}` {}", key.get_ref(), self.place);
            let known = self.names().collect::<Vec<_>>().join(", ");
            let help = did_you_mean(key.get_ref(), self.names());
            self.document.report(key.span().start, message, format!("{help}known here: {known}"));
        }
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }

    /// The line of the file in which the table begins.
    pub fn line(&self) -> u32 {
        self.document.source().position(self.at).0
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
        Section { document: self.document, place, at, table, keys: Vec::new(), excused: Vec::new() }
    }
}

fn is_known(keys: &[&'static Key], name: &str) -> bool {
    keys.iter().any(|key| key.name == name)
}

/// How alike two words must be for the one to be offered in place of the other.
const LIKENESS: f64 = 0.75;

/// The word that is most like this one, if any is like it at all.
pub(super) fn nearest<'w>(name: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    words
        .into_iter()
        .map(|word| (likeness(name, word), word))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > LIKENESS)
        .map(|(_, word)| word)
}

/// How alike two words are, up to 1. One slip of the finger, such as two letters in the wrong order, makes no other
/// word of it, however short it is.
fn likeness(name: &str, word: &str) -> f64 {
    let is_slip = name.len() > 2 && strsim::damerau_levenshtein(name, word) == 1;
    strsim::jaro_winkler(name, word).max(if is_slip { LIKENESS + 0.01 } else { 0.0 })
}

/// The beginning of an advice: the word that may be meant, or nothing.
pub(super) fn did_you_mean<'w>(name: &str, words: impl IntoIterator<Item = &'w str>) -> String {
    nearest(name, words).map_or_else(String::new, |known| format!("did you mean `{known}`? "))
}

pub(super) fn sort(mistakes: &mut [Diagnostic]) {
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
    fn hands_out_the_keys_that_a_file_makes_up_itself() {
        let source = Source::new("a.toml", "flag = true\nother = 1\nsecond = 2\nthird = 3\n");
        let document = Document::parse(&source).expect("TOML");
        let mut root = document.root();
        assert_eq!(root.take(&FLAG).and_then(Value::boolean), Some(true));
        root.refuse("third", "`third` is too much", "remove it");
        let others = root.others(&COUNT);
        let names: Vec<_> = others.iter().map(|(name, value)| (name.value, name.at, value.at())).collect();
        assert_eq!(names, [("other", 12, 20), ("second", 22, 31)]);
        assert_eq!(others[0].1.boolean(), None);
        root.finish();
        assert_eq!(
            told(document),
            [
                "2:9: `other` must be true or false, but the number 1 stands here; write other = 3",
                "4:1: `third` is too much; remove it",
            ]
        );
    }

    #[test]
    fn no_mistake_repeats_a_secret() {
        for text in [
            "password = hunter2",
            "password = hunter2-2026-99-99",
            "x = { token = hunter2 }",
            "headers = { X-Key = hunter2, y = 1 }",
            "[headers]\nX-Key = hunter2",
            "url = \"http://hunter2",
            "password = 2026-99-99 hunter2",
            "password = [hunter2]\n",
            "url = hunter2 hunter2",
            "url = 'a' hunter2",
            "password = 'a'\npassword = hunter2",
            "[headers]\nX-Key = 'a'\nX-Key = hunter2",
            "[headers]\nX-Key = 'a'\n[headers]\nX-Key = hunter2",
            "password.a = 'a'\npassword.a = hunter2",
        ] {
            let source = Source::new("a.toml", text);
            let told = match Document::parse(&source) {
                Ok(document) => told(document).join("\n"),
                Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
            };
            assert!(!told.is_empty() && !told.contains("hunter2"), "{text}: {told}");
        }
    }
}
