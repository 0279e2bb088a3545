//! Where the results of a sweep go: each format is a [`Writer`], and a row in [`formats`].

mod document;
pub mod formats;
mod lines;
mod list;
mod survey;
mod text;

use std::fmt::Display;
use std::io;

use jiff::Timestamp;

use super::output;
use super::progress::{ProgressLine, Terminal};
use crate::job::listener::{Aside, Listener};
use crate::policy::findings::Findings;
use crate::sink::event::{Announcement, Run};
use crate::sink::text::{Summary, write_announcement, write_conclusion};
use crate::sweep::plan::StateSet;
use crate::sweep::report::{Observation, Report};
use crate::sweep::run::{Observer, Progress};
use crate::sweep::verified::{Confirmation, LookReport};
use crate::target::Target;
use crate::target::state::State;

/// Everything that is known in the end.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// What was swept.
    pub announced: &'a Announcement,
    /// How that went.
    pub report: &'a Report,
    /// How the second look went.
    pub second_look: &'a LookReport,
    /// What policy objects to.
    pub findings: &'a Findings<'a>,
}

impl<'a> End<'a> {
    /// The same for people, with these targets listed.
    fn summary(&self, events: &'a Run, listed: &'a [(Target, State)]) -> Summary<'a> {
        let End { announced, report, second_look, findings } = *self;
        Summary { announced, report, second_look, findings, listed, names: events.names() }
    }
}

/// Writes results in one format. All fail when the output does.
pub trait Writer {
    /// Tells what is about to be swept.
    fn announce(&mut self, events: &Run, announcement: &Announcement, now: Timestamp) -> io::Result<()>;

    /// Tells what one target said. `verified` says whether a whole handshake was made.
    fn observe(
        &mut self,
        events: &Run,
        observation: &Observation,
        verified: bool,
        now: Timestamp,
    ) -> io::Result<()>;

    /// Tells again of a target that has finished a whole handshake since.
    fn confirm(
        &mut self,
        events: &Run,
        observation: &Observation,
        known: &Confirmation,
        now: Timestamp,
    ) -> io::Result<()>;

    /// Passes on what was gathered, so that whoever follows the output sees what was found when it was found.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Tells how it went, and what policy objects to. `now` is when that became known: after the second look.
    fn conclude(&mut self, events: &Run, end: &End<'_>, now: Timestamp) -> io::Result<()>;
}

/// Tells people what is about to be swept, where the format itself does not.
fn announce_aside(announcement: &Announcement) -> io::Result<()> {
    write_announcement(&mut output::aside(), announcement)
}

/// Tells people how it went, likewise.
fn conclude_aside(events: &Run, end: &End<'_>) -> io::Result<()> {
    write_conclusion(&mut output::aside(), &end.summary(events, &[]))
}

/// Hears what the job finds, and passes on what was asked for.
pub struct Console<'a> {
    /// Where results go.
    pub writer: &'a mut dyn Writer,
    /// What all events have in common.
    pub events: &'a Run,
    /// Which states are passed on.
    pub states: StateSet,
    /// Whether an open target has been through a whole handshake.
    pub verified: bool,
    /// The line that somebody watches, if somebody does.
    pub progress: Option<ProgressLine>,
    /// Where all else is told.
    pub terminal: Terminal,
}

/// Whether somebody asked for targets in such a state. Conflicts are passed on always.
fn is_wanted(states: StateSet, observation: &Observation) -> bool {
    states.has(observation.state) || observation.state == State::Conflict
}

impl Observer for Console<'_> {
    fn observed(&mut self, observation: &Observation) -> io::Result<()> {
        if is_wanted(self.states, observation) || observation.corrects {
            self.writer.observe(self.events, observation, self.verified, Timestamp::now())?;
        }
        Ok(())
    }

    fn progressed(&mut self, progress: &Progress) -> io::Result<()> {
        if let Some(line) = &mut self.progress {
            line.show(progress);
        }
        self.writer.flush()
    }
}

impl Aside for Console<'_> {
    fn waiting(&mut self, doing: &str) {
        self.terminal.waiting(doing);
    }

    fn waited(&mut self) {
        self.terminal.waited();
    }

    fn warned(&mut self, what: &dyn Display) {
        self.terminal.warned(what);
    }
}

impl Listener for Console<'_> {
    fn swept(&mut self) {
        if let Some(progress) = &self.progress {
            progress.clear();
        }
    }

    fn confirmed(&mut self, news: &[(Observation, Confirmation)]) -> io::Result<()> {
        let wanted = news.iter().filter(|(seen, _)| is_wanted(self.states, seen));
        for (observation, known) in wanted {
            self.writer.confirm(self.events, observation, known, Timestamp::now())?;
        }
        Ok(())
    }
}
