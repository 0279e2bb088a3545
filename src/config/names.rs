//! Names of watches and sinks: what stands in events, logs and databases, and is typed on command lines.

use super::document::Document;
use super::value::{Placed, Value};

/// The most characters of a name.
const LONGEST: usize = 32;

/// A name: lower-case letters, digits, - and _, the first of them a letter, as the names of classes.
pub(super) fn parse_name(value: Value<'_>) -> Option<String> {
    let text = value.text()?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if text.len() <= LONGEST && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(fits) {
        return Some(text);
    }
    let help = format!(
        "write up to {LONGEST} lower-case letters, digits, - and _, the first of them a letter, such as soc-pager"
    );
    value.report(format!("`{text}` is no name"), help);
    None
}

/// Notes every name that stands a second time; `what` is what has it.
pub(super) fn refuse_twins(document: &Document<'_>, what: &str, names: &[Placed<String>]) {
    for (at, name) in names.iter().enumerate() {
        if let Some(first) = names[..at].iter().find(|earlier| earlier.value == name.value) {
            let (line, _) = document.source().position(first.at);
            let message = format!("`{}` is the name of the {what} in line {line} already", name.value);
            document.report(name.at, message, "give one of the two another name");
        }
    }
}
