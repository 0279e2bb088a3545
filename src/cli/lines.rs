//! Events one a line, in the format that was asked for.

use std::io::{self, Write};

use serde::Serialize;

use crate::sink::format::{LineFormat, Origin};
use crate::sink::jsonl::JsonLines;

/// An output for events.
pub struct Lines {
    format: LineFormat,
    lines: JsonLines<Box<dyn Write>>,
    origin: Origin,
}

impl Lines {
    /// An output of which nobody knows yet who speaks.
    pub fn new(out: Box<dyn Write>, format: LineFormat) -> Self {
        Lines { format, lines: JsonLines::new(out), origin: Origin::default() }
    }

    /// Says who speaks.
    pub fn comes_from(&mut self, origin: Origin) {
        self.origin = origin;
    }

    /// Tells an event; nothing, where the format has no form for it.
    ///
    /// # Errors
    /// When the output fails.
    pub fn tell(&mut self, event: &impl Serialize) -> io::Result<()> {
        // Millions of these may come, and nothing has to be translated.
        if self.format == LineFormat::Jsonl {
            return self.lines.write(event);
        }
        let line = self.format.line(&serde_json::to_value(event)?, &self.origin).map_err(io::Error::other)?;
        line.map_or(Ok(()), |line| self.lines.write_line(&line))
    }

    /// Passes on what was gathered.
    ///
    /// # Errors
    /// When the output fails.
    pub fn flush(&mut self) -> io::Result<()> {
        self.lines.flush()
    }
}
