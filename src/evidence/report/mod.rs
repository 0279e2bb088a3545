//! The report: a bundle for people, on one page that needs nothing but itself.
//!
//! It says nothing that the manifest does not say. Whatever comes from outside, or was written by an operator, goes
//! through one place on its way onto the page, [`formatter`]: characters that cannot be seen or work on their
//! neighbours are spelt out, long texts are cut, and what means something to a browser is escaped.
//!
//! The page has no script and asks nobody for anything; its policy forbids both. Findings are written in parts, so that
//! a hundred thousand of them are never in memory a second time, and so that a browser lays out what is looked at only.

mod charts;
mod exceptions;
mod heat;
mod heat_chart;
mod heat_view;
mod page;
mod rows;
mod states;
mod svg;
mod words;

use std::borrow::Cow;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use minijinja::value::Serde;
use minijinja::{Environment, Error, Output, State, UndefinedBehavior, Value, escape_formatter};
use serde::Serialize;

use super::digest::Digest;
use super::manifest::Manifest;
use super::recount::Recount;
use crate::target::foreign::harmless;
use page::Page;

/// The parts of the page, in their order. Those in the middle are written once for each part of a list.
const TOP: &str = "top.html.j2";
const FINDINGS: &str = "findings.html.j2";
const MIDDLE: &str = "middle.html.j2";
const CHANGES: &str = "changes.html.j2";
const BOTTOM: &str = "bottom.html.j2";

const PARTS: [(&str, &str); 5] = [
    (TOP, include_str!("top.html.j2")),
    (FINDINGS, include_str!("findings.html.j2")),
    (MIDDLE, include_str!("middle.html.j2")),
    (CHANGES, include_str!("changes.html.j2")),
    (BOTTOM, include_str!("bottom.html.j2")),
];

const STYLE: &str = include_str!("page.css");

/// Characters of one text that are shown. The manifest has all of them.
const LONGEST: usize = 1000;

/// Writes the report of a run. Of the manifest's integrity, the digests of the files are not looked at: the report is
/// one of these files.
///
/// # Errors
/// When it cannot be written.
pub fn write(manifest: &Manifest, recount: &Recount, out: &mut dyn Write) -> io::Result<()> {
    let mut environment = environment().map_err(io::Error::other)?;
    environment.add_global("policy", policy());
    environment.add_global("style", Value::from_safe_string(STYLE.to_owned()));
    let page = Page::of(manifest, recount);
    let mut put = |name: &str, context: Value| -> io::Result<()> {
        let part = environment.get_template(name).map_err(io::Error::other)?;
        part.render_captured_to(context, &mut *out).map(drop).map_err(io::Error::other)
    };
    let page = value(&page);
    put(TOP, page.clone())?;
    rows::findings(manifest, recount, &mut |part| put(FINDINGS, value(&part)))?;
    put(MIDDLE, page.clone())?;
    if let Some(comparison) = &manifest.comparison {
        rows::changes(comparison, &mut |part| put(CHANGES, value(&part)))?;
    }
    put(BOTTOM, page)
}

/// The report of a run, as one text.
///
/// # Errors
/// As [`write`].
pub fn html(manifest: &Manifest, recount: &Recount) -> io::Result<String> {
    let mut bytes = Vec::new();
    write(manifest, recount, &mut bytes)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

fn value(context: &impl Serialize) -> Value {
    Value::from(Serde(context))
}

fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    // A name that is misspelt in a part is found by the first test, and is not an empty place in somebody's evidence.
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_formatter(formatter);
    environment.add_filter("number", words::number);
    environment.add_filter("duration", words::duration);
    environment
        .add_filter("moment", |text: &str| text.parse::<Timestamp>().map_or(text.into(), words::moment));
    for (name, text) in PARTS {
        environment.add_template(name, text)?;
    }
    Ok(environment)
}

/// The one way of a text onto the page. What was made here, the charts and the style, comes marked as safe.
fn formatter(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) if !value.is_safe() => escape_formatter(out, state, &Value::from(shown(text).as_ref())),
        _ => escape_formatter(out, state, value),
    }
}

/// A foreign text as it is shown: nothing in it hides or works on its neighbours, and its length is bounded.
fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(LONGEST) {
        None => harmless(text),
        Some((end, _)) => {
            let rest = text[end..].chars().count();
            format!("{}\u{2026} ({rest} more characters in manifest.json)", harmless(&text[..end])).into()
        }
    }
}

/// Nothing is loaded, nothing is run, and no style holds but the one that was written here.
fn policy() -> String {
    let style = STANDARD.encode(Digest::of(STYLE.as_bytes()).as_bytes());
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
}
