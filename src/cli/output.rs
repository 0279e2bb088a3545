//! Outputs: standard output or a file, with colours where somebody can see them.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anstream::{AutoStream, StripStream};
use anstyle::{AnsiColor, Style};

use super::Failure;

/// Opens the output for machines: unbuffered, because whole lines are gathered before they get here.
///
/// # Errors
/// When the file cannot be written.
pub fn raw(path: Option<&Path>) -> Result<Box<dyn Write>, Failure> {
    Ok(match path {
        None => Box::new(io::stdout()),
        Some(path) => Box::new(create(path)?),
    })
}

/// Opens the output for people.
///
/// # Errors
/// When the file cannot be written.
pub fn styled(path: Option<&Path>) -> Result<Box<dyn Write>, Failure> {
    Ok(match path {
        None => Box::new(AutoStream::auto(io::stdout())),
        Some(path) => Box::new(io::BufWriter::new(StripStream::new(create(path)?))),
    })
}

/// Standard error, for words about the run that are no results.
pub fn aside() -> impl Write {
    AutoStream::auto(io::stderr())
}

/// Whether a person sees standard error.
pub fn aside_is_seen() -> bool {
    io::stderr().is_terminal()
}

/// Whether a person sees standard output.
pub fn is_seen() -> bool {
    io::stdout().is_terminal()
}

/// Says what went wrong. If even that cannot be said, the exit status has to do.
pub fn complain(error: &dyn Display) {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let _ = writeln!(aside(), "{style}error:{style:#} {error}");
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|cause| {
        format!("cannot write to {}: {cause}; choose another --output file", path.display()).into()
    })
}
