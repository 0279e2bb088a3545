//! The syntax of TOML, and its mistakes.
//!
//! They are of two sorts: one that is exactly one value (`ports = redis`) spoils that value alone, and reading goes on;
//! any other may have torn the structure, and what follows from it would be noise, so only the syntax up to there is
//! told.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Source};
use super::document::sort;
use super::value::is_secret;

/// What the syntax alone says of a text.
pub(super) struct Parsed<'s> {
    pub(super) root: DeTable<'s>,
    /// Where a value stands that the syntax has been blamed for.
    pub(super) spoiled: BTreeSet<usize>,
    pub(super) mistakes: Vec<Diagnostic>,
}

/// Parses the text.
///
/// # Errors
/// When the syntax is broken in a way that leaves the structure in doubt.
pub(super) fn parse(source: &Source) -> Result<Parsed<'_>, Vec<Diagnostic>> {
    let (root, errors) = DeTable::parse_recoverable(source.text());
    let root = root.into_inner();
    let mut values = Vec::new();
    collect_values(&root, false, &mut values);
    let blamed: Vec<Option<&Written>> = errors.iter().map(|error| blamed_value(error, &values)).collect();
    let tell = |(error, value): (&toml::de::Error, &Option<&Written>)| {
        // Of a key that stands twice, nobody knows whose the second value is.
        syntax_mistake(source, error, value.is_none_or(|value| value.is_secret))
    };
    let tears = |pair: (&toml::de::Error, &Option<&Written>)| {
        let torn = pair.1.is_none() && pair.0.message() != DUPLICATE_KEY;
        torn.then(|| tell(pair))
    };
    let mut tears: Vec<Diagnostic> = errors.iter().zip(&blamed).filter_map(tears).collect();
    sort(&mut tears);
    let mut mistakes: Vec<Diagnostic> = errors.iter().zip(&blamed).map(tell).collect();
    if let Some(tear) = tears.into_iter().next() {
        // The parser stumbles on behind a tear; what it says of the rest is about a file that nobody wrote.
        mistakes.retain(|mistake| mistake.line < tear.line);
        sort(&mut mistakes);
        mistakes.push(tear);
        return Err(mistakes);
    }
    let spoiled = blamed.into_iter().flatten().map(|value| value.span.start).collect();
    Ok(Parsed { root, spoiled, mistakes })
}

/// A value that stands in the file.
struct Written {
    span: Range<usize>,
    /// Whether it belongs to a key that no mistake repeats the value of.
    is_secret: bool,
}

/// The one value that a mistake of syntax is about, if it leaves everything else readable: the mistake is
/// exactly the value, or is noticed where the value ends, as with a quote that the line does not close.
fn blamed_value<'v>(error: &toml::de::Error, values: &'v [Written]) -> Option<&'v Written> {
    let span = error.span()?;
    let said = error.message();
    let ends_at_line = said.starts_with("invalid") && !said.contains("multi-line");
    values.iter().find(|value| value.span == span || (ends_at_line && value.span.end == span.start))
}

fn collect_values(table: &DeTable<'_>, below_secret: bool, values: &mut Vec<Written>) {
    for (key, value) in table {
        collect_value(value, below_secret || is_secret(key.get_ref()), values);
    }
}

fn collect_value(value: &Spanned<DeValue<'_>>, is_secret: bool, values: &mut Vec<Written>) {
    match value.get_ref() {
        DeValue::Table(table) => collect_values(table, is_secret, values),
        DeValue::Array(array) => array.iter().for_each(|entry| collect_value(entry, is_secret, values)),
        _ => values.push(Written { span: value.span(), is_secret }),
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

fn syntax_mistake(source: &Source, error: &toml::de::Error, is_hidden: bool) -> Diagnostic {
    let span = error.span().unwrap_or(source.text().len()..source.text().len());
    let slice = source.text().get(span.clone()).unwrap_or("");
    let (message, help) = match error.message() {
        DUPLICATE_KEY => {
            (format!("`{slice}` stands here a second time"), "keep one of the two, or join them".to_owned())
        }
        said if said.starts_with(UNQUOTED) && slice.is_empty() => {
            ("a value is missing".to_owned(), "write one, or remove the key".to_owned())
        }
        said if said.starts_with(UNQUOTED) && is_hidden => {
            ("the text that stands here is not in quotes".to_owned(), "put it between \" and \"".to_owned())
        }
        said if said.starts_with(UNQUOTED) => {
            (format!("`{slice}` is not in quotes"), format!("write \"{slice}\""))
        }
        said if said.starts_with(MISSING_COMMA) => (
            format!("TOML syntax: {said}"),
            "put a comma in front, or close the array above with ]".to_owned(),
        ),
        said if said.starts_with(INVALID_DATE) && !is_hidden => (
            format!("`{slice}` is no date: {said}"),
            "write a day that the calendar has, such as 2027-03-31".to_owned(),
        ),
        said => (format!("TOML syntax: {said}"), SYNTAX_HELP.to_owned()),
    };
    source.diagnostic(span.start, message, help)
}

const SYNTAX_HELP: &str =
    "text stands in quotes, arrays in [ ], keys as key = value, tables under [name] or [[name]]";
