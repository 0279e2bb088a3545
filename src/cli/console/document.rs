//! Documents on a whole sweep, which are written when it is over, and are there whole or not at all.

use std::io::{self, Write};

use jiff::Timestamp;

use super::{End, Writer, announce_aside, conclude_aside};
use crate::cli::Failure;
use crate::cli::output::Place;
use crate::cli::whole::Whole;
use crate::sink::event::{Announcement, Run};
use crate::sweep::report::Observation;
use crate::sweep::verified::Confirmation;

/// What writes a document.
pub type Body = fn(&mut dyn Write, &End<'_>, Timestamp) -> io::Result<()>;

struct Document {
    /// Where it goes; nowhere once it is written.
    out: Option<Whole>,
    write: Body,
}

/// Makes sure that a document can be written in the end.
pub fn open(place: Place, write: Body) -> Result<Box<dyn Writer>, Failure> {
    Ok(Box::new(Document { out: Some(Whole::open(place)?), write }))
}

impl Writer for Document {
    fn announce(&mut self, _: &Run, announcement: &Announcement, _: Timestamp) -> io::Result<()> {
        announce_aside(announcement)
    }

    fn observe(&mut self, _: &Run, _: &Observation, _: bool, _: Timestamp) -> io::Result<()> {
        Ok(())
    }

    fn confirm(&mut self, _: &Run, _: &Observation, _: &Confirmation, _: Timestamp) -> io::Result<()> {
        Ok(())
    }

    fn conclude(&mut self, events: &Run, end: &End<'_>, now: Timestamp) -> io::Result<()> {
        if let Some(mut out) = self.out.take() {
            (self.write)(&mut out, end, now)?;
            out.finish()?;
        }
        conclude_aside(events, end)
    }
}
