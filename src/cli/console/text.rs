//! Text for people.

use std::io::{self, Write};

use jiff::Timestamp;

use super::{End, Writer, announce_aside};
use crate::cli::Failure;
use crate::cli::output::Place;
use crate::sink::event::{Announcement, Run};
use crate::sink::text;
use crate::sweep::report::Observation;
use crate::sweep::verified::Confirmation;
use crate::target::Target;
use crate::target::state::State;

struct Text {
    out: Box<dyn Write>,
    listed: Vec<(Target, State)>,
}

/// Opens the output for text.
pub fn open(place: Place) -> Result<Box<dyn Writer>, Failure> {
    Ok(Box::new(Text { out: place.styled()?, listed: Vec::new() }))
}

impl Writer for Text {
    fn announce(&mut self, _: &Run, announcement: &Announcement, _: Timestamp) -> io::Result<()> {
        announce_aside(announcement)
    }

    fn observe(&mut self, _: &Run, observation: &Observation, _: bool, _: Timestamp) -> io::Result<()> {
        self.listed.push((observation.target, observation.state));
        Ok(())
    }

    fn confirm(&mut self, _: &Run, _: &Observation, _: &Confirmation, _: Timestamp) -> io::Result<()> {
        // Its findings say it.
        Ok(())
    }

    fn conclude(&mut self, events: &Run, end: &End<'_>, _: Timestamp) -> io::Result<()> {
        text::write(&mut self.out, &end.summary(events, &self.listed))?;
        self.out.flush()
    }
}
