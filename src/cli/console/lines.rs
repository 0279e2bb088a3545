//! Events for machines, one a line, each when it has happened.

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::{End, Writer};
use crate::cli::Failure;
use crate::cli::output::Place;
use crate::sink::event::{Announcement, Run};
use crate::sink::format::{LineFormat, Origin};
use crate::sink::jsonl::JsonLines;
use crate::sweep::report::Observation;
use crate::sweep::verified::Confirmation;

struct Lines {
    format: LineFormat,
    lines: JsonLines<Box<dyn Write>>,
    origin: Origin,
}

/// Opens the output for lines of a format.
pub fn open(place: Place, format: LineFormat) -> Result<Box<dyn Writer>, Failure> {
    Ok(Box::new(Lines { format, lines: JsonLines::new(place.raw()?), origin: Origin::default() }))
}

impl Lines {
    fn tell(&mut self, event: &impl Serialize) -> io::Result<()> {
        // Millions of these may come, and nothing has to be translated.
        if self.format == LineFormat::Jsonl {
            return self.lines.write(event);
        }
        let line = self.format.line(&serde_json::to_value(event)?, &self.origin).map_err(io::Error::other)?;
        line.map_or(Ok(()), |line| self.lines.write_line(&line))
    }
}

impl Writer for Lines {
    fn announce(&mut self, events: &Run, announcement: &Announcement, now: Timestamp) -> io::Result<()> {
        let vantage = &announcement.vantage;
        self.origin =
            Origin { host: vantage.host.clone(), process: std::process::id(), source: vantage.source };
        self.tell(&events.started(now, announcement))?;
        self.lines.flush()
    }

    fn observe(
        &mut self,
        events: &Run,
        observation: &Observation,
        verified: bool,
        now: Timestamp,
    ) -> io::Result<()> {
        self.tell(&events.port(now, observation, verified))
    }

    fn confirm(
        &mut self,
        events: &Run,
        observation: &Observation,
        known: &Confirmation,
        now: Timestamp,
    ) -> io::Result<()> {
        self.tell(&events.verified_port(now, observation, known.banner.as_ref()))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.flush()
    }

    fn conclude(&mut self, events: &Run, end: &End<'_>, now: Timestamp) -> io::Result<()> {
        for finding in end.findings.iter() {
            self.tell(&events.finding(now, &finding))?;
        }
        let findings = end.findings.len() as u64;
        self.tell(&events.completed(now, end.report, end.second_look, findings))?;
        self.lines.flush()
    }
}
