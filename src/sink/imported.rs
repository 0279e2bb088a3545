//! What is said of a file that was imported, beside what is said of a sweep.

use std::io::{self, Write};

use anstyle::{AnsiColor, Color, Style};
use jiff::Timestamp;
use serde::Serialize;

use super::event::{Announcement, Run, SweepStarted};
use super::text::{Summary, counts_of, write_conclusion, write_findings, write_hosts, write_verdict};

/// What is said of the file.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The program that looked.
    pub tool: String,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_version: Option<String>,
    /// How it was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<String>,
    /// What is known to have been looked at: `declared` a whole scope, `listed` what is listed, and that is all that
    /// was to be looked at; `unknown` what is listed, and nobody knows what else.
    pub coverage: &'static str,
    /// Whether the run came to its end: `complete`, `incomplete`, `unsaid`.
    pub ended: &'static str,
    /// What else there is to know of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// `sweep.started` of an import.
#[derive(Clone, Debug, Serialize)]
pub struct ImportStarted<'a> {
    #[serde(flatten)]
    started: SweepStarted<'a>,
    import: &'a About,
}

/// `sweep.started` of an import.
pub fn started<'a>(
    run: &'a Run,
    time: Timestamp,
    announced: &'a Announcement,
    about: &'a About,
) -> ImportStarted<'a> {
    ImportStarted { started: run.started(time, announced), import: about }
}

const WARN: Style = Style::new().bold().fg_color(Some(Color::Ansi(AnsiColor::Yellow)));

/// Writes what people read.
///
/// # Errors
/// When the output fails.
pub fn write_text(out: &mut dyn Write, summary: &Summary<'_>, about: &About) -> io::Result<()> {
    write_about(out, about)?;
    write_findings(out, summary.findings)?;
    write_hosts(out, summary.listed, summary.names)?;
    writeln!(out, "{}", counts_of(summary.report))?;
    write_doubts(out, about)?;
    write_verdict(out, summary)
}

/// Writes how it went, for those who get the results as a list that cannot say it.
///
/// # Errors
/// When the output fails.
pub fn write_aside(out: &mut dyn Write, summary: &Summary<'_>, about: &About) -> io::Result<()> {
    write_about(out, about)?;
    write_doubts(out, about)?;
    write_conclusion(out, summary)
}

fn write_about(out: &mut dyn Write, about: &About) -> io::Result<()> {
    let version = about.tool_version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
    writeln!(out, "{}: {}{version}", about.file.as_deref().unwrap_or("a file"), about.tool)
}

fn write_doubts(out: &mut dyn Write, about: &About) -> io::Result<()> {
    if about.coverage == "unknown" {
        let what = "only what is listed is known to have been looked at";
        writeln!(out, "{WARN}{what}: a {} file does not prove more{WARN:#}", about.tool)?;
    }
    about.notes.iter().try_for_each(|note| writeln!(out, "{WARN}{note}{WARN:#}"))
}
