//! One attempt at a tile: a sweep, of which everything is written down.

use std::fmt::Display;
use std::io;

use jiff::Timestamp;

use super::ControlError;
use super::run::Listener;
use super::tile::TileMap;
use crate::job::Job;
use crate::job::listener::{Aside, Listener as JobListener};
use crate::sweep::report::{Observation, Report};
use crate::sweep::run::{Observer, Progress};
use crate::sweep::verified::{Confirmation, LookReport};
use crate::sync::{Ordering, SignalFlag};

/// Sweeps a tile once; nothing, if it was stopped before its end.
pub fn sweep(
    job: Job<'_>,
    stop: &SignalFlag,
    watching: &mut Watching<'_>,
    declared: u64,
) -> Result<Option<(Box<Report>, LookReport)>, ControlError> {
    let ready = job.prepare()?;
    let opened = match ready.open(stop, watching) {
        Err(error) if error.is_interrupted() => return Ok(None),
        opened => opened?,
    };
    let found = opened.announcement.scope.declared;
    if found != declared {
        return Err(ControlError::OtherTargets { tile: watching.tile, declared, found });
    }
    let now = watching.now;
    let outcome = opened.course.run(&opened.events, watching, now)?;
    if stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    if let Some(failure) = &outcome.failure {
        watching.warned(failure);
    }
    watching.map.confirm(outcome.findings.known());
    Ok(Some((Box::new(outcome.report), outcome.look)))
}

/// Writes down what a tile's targets say.
pub struct Watching<'a> {
    pub listener: &'a mut dyn Listener,
    pub map: &'a mut TileMap,
    pub tile: u64,
    pub now: &'a dyn Fn() -> Timestamp,
}

impl Observer for Watching<'_> {
    fn observed(&mut self, observation: &Observation) -> io::Result<()> {
        self.map.observe((self.now)(), self.tile, observation);
        Ok(())
    }

    fn progressed(&mut self, progress: &Progress) -> io::Result<()> {
        self.listener.progressed(self.tile, progress)
    }
}

impl Aside for Watching<'_> {
    fn waiting(&mut self, doing: &str) {
        self.listener.waiting(doing);
    }

    fn waited(&mut self) {
        self.listener.waited();
    }

    fn warned(&mut self, what: &dyn Display) {
        self.listener.warned(what);
    }
}

impl JobListener for Watching<'_> {
    fn swept(&mut self) {}

    fn confirmed(&mut self, _: &[(Observation, Confirmation)]) -> io::Result<()> {
        Ok(())
    }
}
