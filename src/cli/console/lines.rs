//! Events for machines, one a line, each when it has happened.

use std::io;

use jiff::Timestamp;

use super::{End, Writer};
use crate::cli::Failure;
use crate::cli::lines::Lines;
use crate::cli::output::Place;
use crate::sink::event::{Announcement, Run};
use crate::sink::format::{LineFormat, Origin};
use crate::sweep::report::Observation;
use crate::sweep::verified::Confirmation;

/// Opens the output for lines of a format.
pub fn open(place: Place, format: LineFormat) -> Result<Box<dyn Writer>, Failure> {
    Ok(Box::new(Lines::new(place.raw()?, format)))
}

impl Writer for Lines {
    fn announce(&mut self, events: &Run, announcement: &Announcement, now: Timestamp) -> io::Result<()> {
        let vantage = &announcement.vantage;
        self.comes_from(Origin {
            host: vantage.host.clone(),
            process: std::process::id(),
            source: vantage.source,
        });
        self.tell(&events.started(now, announcement))?;
        Lines::flush(self)
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
        Lines::flush(self)
    }

    fn conclude(&mut self, events: &Run, end: &End<'_>, now: Timestamp) -> io::Result<()> {
        for finding in end.findings.iter() {
            self.tell(&events.finding(now, &finding))?;
        }
        let findings = end.findings.len() as u64;
        self.tell(&events.completed(now, end.report, end.second_look, findings))?;
        Lines::flush(self)
    }
}
