//! A list for spreadsheets.

use std::io::{self, Write};

use jiff::Timestamp;

use super::{End, Writer, announce_aside, conclude_aside};
use crate::cli::Failure;
use crate::cli::output::Place;
use crate::sink::csv;
use crate::sink::event::{Announcement, Run};
use crate::sweep::report::Observation;
use crate::sweep::verified::Confirmation;

struct List {
    out: Box<dyn Write>,
    list: csv::List,
}

/// Opens the output for a list.
pub fn open(place: Place) -> Result<Box<dyn Writer>, Failure> {
    Ok(Box::new(List { out: place.raw()?, list: csv::List::default() }))
}

impl Writer for List {
    fn announce(&mut self, _: &Run, announcement: &Announcement, _: Timestamp) -> io::Result<()> {
        announce_aside(announcement)
    }

    fn observe(
        &mut self,
        _: &Run,
        observation: &Observation,
        verified: bool,
        now: Timestamp,
    ) -> io::Result<()> {
        self.list.observe(now, observation, verified);
        Ok(())
    }

    fn confirm(
        &mut self,
        _: &Run,
        observation: &Observation,
        known: &Confirmation,
        now: Timestamp,
    ) -> io::Result<()> {
        self.list.confirm(now, observation, known.banner.as_ref());
        Ok(())
    }

    fn conclude(&mut self, events: &Run, end: &End<'_>, now: Timestamp) -> io::Result<()> {
        self.list.write(&mut self.out, events, now, end.findings)?;
        conclude_aside(events, end)
    }
}
