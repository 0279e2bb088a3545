//! Where the results of a sweep go: text for people, events for machines, or a list for spreadsheets.

use std::fmt::Display;
use std::io::{self, Write};

use clap::ValueEnum;
use jiff::Timestamp;

use super::output::Place;
use super::progress::{ProgressLine, Terminal};
use super::surveyed::Surveyed;
use super::{Failure, output};
use crate::job::listener::{Aside, Listener};
use crate::policy::findings::Findings;
use crate::sink::csv::List;
use crate::sink::event::{Announcement, Run};
use crate::sink::jsonl::JsonLines;
use crate::sink::text::{self, Summary};
use crate::sink::{masscan, nmap};
use crate::sweep::plan::StateSet;
use crate::sweep::report::{Observation, Report};
use crate::sweep::run::{Observer, Progress};
use crate::sweep::verified::{Confirmation, LookReport};
use crate::target::Target;
use crate::target::state::State;

/// How results are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// For people: findings, a table by host, the ledger
    Text,
    /// For machines: one JSON event a line
    Jsonl,
    /// For spreadsheets: one line a target; how the sweep went is told on standard error
    Csv,
    /// As nmap writes it with -oX; lists every state unless --states says otherwise
    Nmap,
    /// As masscan writes it with -oJ
    Masscan,
}

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

/// Where results go.
pub enum Sink {
    Text { out: Box<dyn Write>, listed: Vec<(Target, State)> },
    Jsonl(JsonLines<Box<dyn Write>>),
    Csv { out: Box<dyn Write>, list: List },
    Survey(Surveyed),
}

impl Sink {
    /// Opens the output: a file, or standard output.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open(format: Format, place: Place) -> Result<Self, Failure> {
        Ok(match format {
            Format::Text => Sink::Text { out: place.styled()?, listed: Vec::new() },
            Format::Jsonl => Sink::Jsonl(JsonLines::new(place.raw()?)),
            Format::Csv => Sink::Csv { out: place.raw()?, list: List::default() },
            Format::Nmap => Sink::Survey(Surveyed::new(place.raw()?, nmap::write)),
            Format::Masscan => Sink::Survey(Surveyed::new(place.raw()?, masscan::write)),
        })
    }

    /// Tells what is about to be swept.
    ///
    /// # Errors
    /// When the output fails, as all that follow.
    pub fn announce(&mut self, events: &Run, announcement: &Announcement) -> io::Result<()> {
        match self {
            Sink::Text { .. } | Sink::Csv { .. } | Sink::Survey(_) => {
                text::write_announcement(&mut output::aside(), announcement)
            }
            Sink::Jsonl(lines) => {
                lines.write(&events.started(Timestamp::now(), announcement))?;
                lines.flush()
            }
        }
    }

    /// Tells what one target said.
    fn observe(&mut self, events: &Run, observation: &Observation, verified: bool) -> io::Result<()> {
        match self {
            Sink::Text { listed, .. } => {
                listed.push((observation.target, observation.state));
                Ok(())
            }
            Sink::Jsonl(lines) => lines.write(&events.port(Timestamp::now(), observation, verified)),
            Sink::Csv { list, .. } => {
                list.observe(Timestamp::now(), observation, verified);
                Ok(())
            }
            Sink::Survey(surveyed) => surveyed.observe(Timestamp::now(), observation, verified),
        }
    }

    /// Tells again of targets that have finished a whole handshake since.
    fn confirm<'n>(
        &mut self,
        events: &Run,
        mut news: impl Iterator<Item = &'n (Observation, Confirmation)>,
    ) -> io::Result<()> {
        match self {
            // Its findings say it.
            Sink::Text { .. } => Ok(()),
            Sink::Jsonl(lines) => news.try_for_each(|(observation, known)| {
                lines.write(&events.verified_port(Timestamp::now(), observation, known.banner.as_ref()))
            }),
            Sink::Csv { list, .. } => {
                for (observation, known) in news {
                    list.confirm(Timestamp::now(), observation, known.banner.as_ref());
                }
                Ok(())
            }
            Sink::Survey(surveyed) => news.try_for_each(|(observation, known)| {
                surveyed.confirm(Timestamp::now(), observation, known.banner.as_ref())
            }),
        }
    }

    /// Tells how it went, and what policy objects to. `now` is when that became known: after the second look.
    pub fn conclude(&mut self, events: &Run, end: &End<'_>, now: Timestamp) -> io::Result<()> {
        let End { announced, report, second_look, findings } = *end;
        let names = events.names();
        let summary = |listed| Summary { announced, report, second_look, findings, listed, names };
        match self {
            Sink::Text { out, listed } => {
                text::write(out, &summary(listed))?;
                out.flush()
            }
            Sink::Jsonl(lines) => {
                for finding in findings.iter() {
                    lines.write(&events.finding(now, &finding))?;
                }
                lines.write(&events.completed(now, report, second_look, findings.len() as u64))?;
                lines.flush()
            }
            Sink::Csv { out, list } => {
                list.write(out, events, now, findings)?;
                text::write_conclusion(&mut output::aside(), &summary(&[]))
            }
            Sink::Survey(surveyed) => {
                surveyed.write(announced, report, names)?;
                text::write_conclusion(&mut output::aside(), &summary(&[]))
            }
        }
    }
}

/// Hears what the job finds, and passes on what was asked for.
pub struct Console<'a> {
    /// Where results go.
    pub sink: &'a mut Sink,
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
            self.sink.observe(self.events, observation, self.verified)?;
        }
        Ok(())
    }

    fn progressed(&mut self, progress: &Progress) -> io::Result<()> {
        if let Some(line) = &mut self.progress {
            line.show(progress);
        }
        match self.sink {
            // So that whoever follows the output sees what was found when it was found.
            Sink::Jsonl(lines) => lines.flush(),
            Sink::Text { .. } | Sink::Csv { .. } | Sink::Survey(_) => Ok(()),
        }
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
        let states = self.states;
        self.sink.confirm(self.events, news.iter().filter(|(seen, _)| is_wanted(states, seen)))
    }
}
