//! Inventories: JSON that something else has exported, such as a cloud's list of its machines, and the fields of it
//! that hold addresses and names.
//!
//! A field is a path of keys, `networkInterfaces.networkIP`, looked for in every object of the document however deep;
//! arrays on the way are walked through. The file is one JSON document, or several behind each other (JSON Lines).
//! Nothing is passed over in silence: nulls and empty texts are counted, and whatever else is no target is a mistake
//! with its path.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde_json::{Map, Value};
use thiserror::Error;

use super::diagnostic::{ConfigError, Source};
use super::json;
use super::list::{Listed, refuse_unfit};
use crate::target::foreign::printable;
use crate::target::written::Written;

/// A file, and which of its fields matter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Inventory {
    /// The file.
    pub file: PathBuf,
    /// Where addresses stand.
    pub address: FieldPath,
    /// Where names stand.
    pub name: Option<FieldPath>,
}

/// A path of keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldPath(Vec<String>);

/// Keys of a path, at most: far more than any export nests.
const MOST_KEYS: usize = 16;

impl FromStr for FieldPath {
    type Err = FieldPathError;

    fn from_str(text: &str) -> Result<Self, FieldPathError> {
        let keys: Vec<String> = text.trim().split('.').map(str::to_owned).collect();
        if keys.len() > MOST_KEYS || keys.iter().any(|key| key.trim().is_empty()) {
            return Err(FieldPathError { text: text.to_owned() });
        }
        Ok(FieldPath(keys))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// A text that is no path of keys.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "`{text}` is no field; write a key such as PrivateIpAddress, or up to {MOST_KEYS} with dots between them"
)]
pub struct FieldPathError {
    text: String,
}

/// What an inventory comes down to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Taken {
    /// The targets.
    pub listed: Listed,
    /// What a target is called, where the inventory says.
    pub labels: Vec<(Written, String)>,
    /// Addresses that are null or empty.
    pub skipped: u64,
}

/// A value that is no target, and where it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ValueMistake {
    place: String,
    message: String,
}

impl fmt::Display for ValueMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Takes the targets out of an inventory.
///
/// # Errors
/// When it is no JSON, when an address is none, or when there is no address at all.
pub fn take(source: &Source, inventory: &Inventory) -> Result<Taken, ConfigError> {
    let text = source.text();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut walk = Walk::new(inventory);
    let mut documents = serde_json::Deserializer::from_str(text);
    while documents.end().is_err() {
        let document = json::read(&mut documents).map_err(|error| {
            let at = byte_at(source, error.line(), error.column());
            let (message, _) = error.to_string().split_once(" at line ").map_or_else(
                || (error.to_string(), String::new()),
                |(message, rest)| (message.to_owned(), rest.to_owned()),
            );
            let help = "an inventory is a JSON document, or one a line";
            ConfigError::Invalid(vec![source.diagnostic(at, printable(&message), help)])
        })?;
        walk.repeated(&document.repeated);
        walk.visit(&document.value, &mut Vec::new());
        walk.document += 1;
    }
    walk.finish(source)
}

/// The byte that the parser's line and column mean; its columns are bytes, from 1, and it has not seen the byte order
/// mark.
fn byte_at(source: &Source, line: usize, column: usize) -> usize {
    let text = source.text();
    let begin = text.len() - text.strip_prefix('\u{feff}').unwrap_or(text).len();
    let mut starts = std::iter::once(begin).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    let at = starts.nth(line.saturating_sub(1)).unwrap_or(text.len()) + column.saturating_sub(1);
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// A step into a document.
#[derive(Clone, Copy)]
enum Step<'v> {
    Key(&'v str, &'v Map<String, Value>),
    Entry(usize),
}

/// A walk through every object of the documents.
struct Walk<'i> {
    inventory: &'i Inventory,
    document: usize,
    taken: Taken,
    keys: BTreeSet<String>,
    mistakes: Vec<ValueMistake>,
}

/// Keys that are remembered to suggest one for a field that is not there.
const MOST_KNOWN: usize = 1000;

/// The longest name that is kept; the tags of all clouds are shorter.
const LONGEST_LABEL: usize = 1024;

impl<'i> Walk<'i> {
    fn new(inventory: &'i Inventory) -> Self {
        let (taken, keys, mistakes) = (Taken::default(), BTreeSet::new(), Vec::new());
        Walk { inventory, document: 0, taken, keys, mistakes }
    }

    /// Visits a value that is reached by these steps. The parser refuses documents that nest deeper than the stack.
    fn visit<'v>(&mut self, value: &'v Value, steps: &mut Vec<Step<'v>>) {
        match value {
            Value::Object(object) => {
                self.follow(object, 0, steps, steps.len());
                for (key, child) in object {
                    if self.keys.len() < MOST_KNOWN && !self.keys.contains(key) {
                        self.keys.insert(key.clone());
                    }
                    steps.push(Step::Key(key, object));
                    self.visit(child, steps);
                    steps.pop();
                }
            }
            Value::Array(entries) => {
                for (at, entry) in entries.iter().enumerate() {
                    steps.push(Step::Entry(at));
                    self.visit(entry, steps);
                    steps.pop();
                }
            }
            _ => {}
        }
    }

    /// Follows the path of the address from its key number `at` on; `origin` steps lead to where the path began.
    fn follow<'v>(
        &mut self,
        object: &'v Map<String, Value>,
        at: usize,
        steps: &mut Vec<Step<'v>>,
        origin: usize,
    ) {
        let path = &self.inventory.address.0;
        let Some((key, value)) = path.get(at).and_then(|key| object.get_key_value(key)) else { return };
        steps.push(Step::Key(key, object));
        self.arrive(value, at + 1, steps, origin);
        steps.pop();
    }

    fn arrive<'v>(&mut self, value: &'v Value, at: usize, steps: &mut Vec<Step<'v>>, origin: usize) {
        match value {
            Value::Array(entries) => {
                for (number, entry) in entries.iter().enumerate() {
                    steps.push(Step::Entry(number));
                    self.arrive(entry, at, steps, origin);
                    steps.pop();
                }
            }
            Value::Object(object) if at < self.inventory.address.0.len() => {
                self.follow(object, at, steps, origin);
            }
            // Something else that happens to have the first key of the path.
            _ if at < self.inventory.address.0.len() => {}
            Value::Null => self.taken.skipped += 1,
            Value::String(text) if text.trim().is_empty() => self.taken.skipped += 1,
            Value::String(text) => self.address(text, steps, origin),
            other => {
                let kind = match other {
                    Value::Bool(_) => "a boolean",
                    Value::Number(_) => "a number",
                    _ => "an object",
                };
                self.mistake(
                    steps,
                    format!("{kind} is no address; name the field that holds the text of one"),
                );
            }
        }
    }

    fn address(&mut self, text: &str, steps: &[Step<'_>], origin: usize) {
        let parse = |()| text.parse::<Written>().map_err(|error| error.to_string());
        let written = match refuse_unfit(text).and_then(parse) {
            Ok(written) => written,
            Err(error) => return self.mistake(steps, error),
        };
        if let Some(label) = self.label(steps, origin) {
            if label.len() > LONGEST_LABEL {
                let message =
                    format!("its name has more than {LONGEST_LABEL} bytes; choose another field for names");
                return self.mistake(steps, message);
            }
            self.taken.labels.push((written.clone(), label.to_owned()));
        }
        self.taken.listed.push(written);
    }

    /// The name in the object where the path of the address begins, or else in the nearest one around it.
    fn label<'v>(&self, steps: &[Step<'v>], origin: usize) -> Option<&'v str> {
        let path = &self.inventory.name.as_ref()?.0;
        let around = steps.iter().take(origin + 1).rev();
        let objects = around.filter_map(|step| match step {
            Step::Key(_, object) => Some(*object),
            Step::Entry(_) => None,
        });
        objects.filter_map(|object| label_in(object, path)).find(|label| !label.trim().is_empty())
    }

    /// Which of two values was meant, nobody can know but whoever wrote them.
    fn repeated(&mut self, places: &[String]) {
        let root = self.root();
        let mistake = |place: &String| ValueMistake {
            place: format!("{root}{place}"),
            message: "this key stands here a second time; keep one of the two".to_owned(),
        };
        self.mistakes.extend(places.iter().map(mistake));
    }

    /// What the document is called.
    fn root(&self) -> String {
        if self.document == 0 { "$".to_owned() } else { format!("${}", self.document + 1) }
    }

    fn mistake(&mut self, steps: &[Step<'_>], message: String) {
        let mut place = self.root();
        for step in steps {
            place += &match step {
                Step::Key(key, _) => format!(".{}", printable(key)),
                Step::Entry(at) => format!("[{at}]"),
            };
        }
        self.mistakes.push(ValueMistake { place, message });
    }

    fn finish(self, source: &Source) -> Result<Taken, ConfigError> {
        let Walk { inventory, taken, keys, mistakes, .. } = self;
        if !mistakes.is_empty() {
            return Err(ConfigError::Values { path: source.file().to_path_buf(), mistakes });
        }
        if !taken.listed.is_empty() {
            return Ok(taken);
        }
        let field = &inventory.address;
        let (message, help) = if taken.skipped > 0 {
            (format!("every `{field}` is null or empty"), "choose another field for addresses".to_owned())
        } else {
            let wanted = field.0.last().map_or("", String::as_str);
            let near = keys.iter().map(|key| (strsim::jaro_winkler(wanted, key), key));
            let near = near.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(likeness, _)| *likeness > LIKENESS);
            let help = near.map_or_else(
                || "name the key that addresses stand behind".to_owned(),
                |(_, key)| format!("did you mean `{}`?", printable(key)),
            );
            (format!("nothing in here has the field `{field}`"), help)
        };
        Err(ConfigError::Invalid(vec![source.diagnostic(0, message, help)]))
    }
}

/// How alike two keys must be for the one to be offered in place of the other.
const LIKENESS: f64 = 0.75;

/// The first text behind these keys. Of a list of tags, `{"Key": K, "Value": V}`, K is as good as a key.
fn label_in<'v>(object: &'v Map<String, Value>, path: &[String]) -> Option<&'v str> {
    let (key, rest) = path.split_first()?;
    if let Some(value) = object.get(key) {
        return label_behind(value, rest);
    }
    let tag = |name: &str| object.get(name).and_then(Value::as_str);
    let named = tag("Key").or_else(|| tag("key"))?;
    (named == key && rest.is_empty()).then(|| tag("Value").or_else(|| tag("value")))?
}

fn label_behind<'v>(value: &'v Value, rest: &[String]) -> Option<&'v str> {
    match value {
        Value::String(text) if rest.is_empty() => Some(text),
        Value::Array(entries) => entries.iter().find_map(|entry| label_behind(entry, rest)),
        Value::Object(object) => label_in(object, rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AWS: &str = r#"{"Reservations": [{"OwnerId": "1", "Instances": [
        {"PrivateIpAddress": "198.18.0.7", "Tags": [{"Key": "Env", "Value": "prod"}, {"Key": "Name", "Value": "db-1"}],
         "NetworkInterfaces": [{"PrivateIpAddress": "198.18.0.7"}, {"PrivateIpAddress": "198.18.1.7"}]},
        {"PrivateIpAddress": null, "Tags": []},
        {"PrivateIpAddress": "198.18.0.8"}]}]}"#;

    const GCP: &str = r#"[{"name": "web-1", "networkInterfaces": [
        {"name": "nic0", "networkIP": "198.18.0.9", "accessConfigs": [{"natIP": "203.0.113.9"}]},
        {"name": "nic1", "networkIP": ""}]}]"#;

    fn take_from(text: &str, address: &str, name: Option<&str>) -> Result<Taken, String> {
        let inventory = Inventory {
            file: "fleet.json".into(),
            address: address.parse().expect(address),
            name: name.map(|name| name.parse().expect(name)),
        };
        take(&Source::new("fleet.json", text), &inventory).map_err(|error| error.to_string())
    }

    fn told(taken: &Taken) -> (Vec<String>, Vec<String>, u64) {
        let ranges = taken.listed.ranges.iter().map(ToString::to_string);
        let targets = ranges.chain(taken.listed.names.iter().map(ToString::to_string)).collect();
        let labels = taken.labels.iter().map(|(written, label)| format!("{written}={label}")).collect();
        (targets, labels, taken.skipped)
    }

    #[track_caller]
    fn check(text: &str, fields: (&str, &str), targets: &[&str], labels: &[&str], skipped: u64) {
        let taken = take_from(text, fields.0, Some(fields.1)).expect("an inventory");
        let (found, called, passed) = told(&taken);
        assert_eq!((found, called, passed), (strings(targets), strings(labels), skipped));
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn finds_the_field_however_deep_and_the_name_around_it() {
        check(
            AWS,
            ("PrivateIpAddress", "Tags.Name"),
            &["198.18.0.7", "198.18.0.7", "198.18.1.7", "198.18.0.8"],
            &["198.18.0.7=db-1", "198.18.0.7=db-1", "198.18.1.7=db-1"],
            1,
        );
        // The name belongs to where the path begins, not to the interface that it leads through.
        check(GCP, ("networkInterfaces.networkIP", "name"), &["198.18.0.9"], &["198.18.0.9=web-1"], 1);
        check(GCP, ("networkIP", "name"), &["198.18.0.9"], &["198.18.0.9=nic0"], 1);
        check(
            GCP,
            ("networkInterfaces.accessConfigs.natIP", "name"),
            &["203.0.113.9"],
            &["203.0.113.9=web-1"],
            0,
        );
    }

    #[test]
    fn takes_lists_networks_names_and_json_lines() {
        check(
            r#"{"ips": ["198.18.0.1", ["198.18.1.0/24"]]}"#,
            ("ips", "n"),
            &["198.18.0.1", "198.18.1.0/24"],
            &[],
            0,
        );
        check(
            "\u{feff}{\"ip\": \"198.18.0.1\", \"n\": \"a\"}\r\n{\"ip\": \"db.example.net\", \"n\": \"b\"}\n",
            ("ip", "n"),
            &["198.18.0.1", "db.example.net"],
            &["198.18.0.1=a", "db.example.net=b"],
            0,
        );
        check(
            r#"{"n": "outer", "x": [{"ip": "198.18.0.1", "n": ""}]}"#,
            ("ip", "n"),
            &["198.18.0.1"],
            &["198.18.0.1=outer"],
            0,
        );
    }

    #[test]
    fn what_is_no_address_is_told_with_its_path() {
        let text = r#"{"a": [{"ip": "198.18.0.300"}, {"ip": 7}, {"ip": {"v4": 1}}, {"ip": "198.18.0.1"}]}
                      {"ip": "a\u001b[2Jb"}"#;
        let told = take_from(text, "ip", None).expect_err("mistakes");
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 4, "{told}");
        for (line, begins) in lines.iter().zip([
            "fleet.json: $.a[0].ip: `198.18.0.300` is no address, network or range; write",
            "fleet.json: $.a[1].ip: a number is no address; name the field",
            "fleet.json: $.a[2].ip: an object is no address; name the field",
            "fleet.json: $2.ip: `a\\x1b[2Jb` is no target",
        ]) {
            assert!(line.starts_with(begins), "{line}");
        }
        let long = format!("{{\"ip\": \"198.18.0.1\", \"n\": \"{}\"}}", "x".repeat(1025));
        assert!(take_from(&long, "ip", Some("n")).expect_err("long").contains("more than 1024 bytes"));
    }

    #[test]
    fn a_key_that_stands_twice_hides_nothing() {
        let text = r#"{"ip": "198.18.0.1"} {"a": [{"ip": "198.18.0.2", "ip": "198.18.0.3"}]}"#;
        let told = take_from(text, "ip", None).expect_err("twice");
        let says = "this key stands here a second time; keep one of the two";
        assert_eq!(told, format!("fleet.json: $2.a[0].ip: {says}"));
    }

    #[test]
    fn a_field_that_is_not_there_is_said_with_a_guess() {
        let told = take_from(AWS, "PrivateIpAdress", None).expect_err("misspelt");
        let says = "nothing in here has the field `PrivateIpAdress`; did you mean `PrivateIpAddress`?";
        assert_eq!(told, format!("fleet.json:1:1: {says}"));
        assert!(take_from("", "ip", None).expect_err("empty").contains("has the field `ip`"));
        assert!(
            take_from("{\"ip\": null}", "ip", None)
                .expect_err("null")
                .contains("every `ip` is null or empty")
        );
    }

    #[test]
    fn broken_json_is_told_where_it_breaks() {
        let told = take_from("{\"ip\": \"198.18.0.1\"}\n{\"\u{e4}\": x}", "ip", None).expect_err("broken");
        assert_eq!(told, "fleet.json:2:7: expected value; an inventory is a JSON document, or one a line");
        let marked = take_from("\u{feff}{\"\u{e4}\": x}", "ip", None).expect_err("broken behind a mark");
        assert!(marked.starts_with("fleet.json:1:7: expected value"), "{marked}");
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(take_from(&deep, "ip", None).expect_err("deep").contains("recursion limit"));
    }

    #[test]
    fn fields_are_keys() {
        for text in ["", ".", "a.", ".a", "a..b", " ", "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a"] {
            assert!(text.parse::<FieldPath>().is_err(), "{text}");
        }
        assert_eq!("a.b c".parse::<FieldPath>().expect("keys").to_string(), "a.b c");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}\",:a-c0-9 ]{0,60}") {
            let _ = take_from(&text, "a.b", Some("c"));
        }
    }
}
