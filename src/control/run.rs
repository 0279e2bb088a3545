//! Sweeps the tiles of a run, one after the other, and writes down each before the next.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::attempt::{Watching, sweep};
use super::keys::RunKey;
use super::plan::{Request, difference, hours, method};
use super::rest::{LOOK, Rest};
use super::tile::TileMap;
use super::workplace::{Found, Unfinished, Workplace};
use super::{ControlError, plan};
use crate::config::settings::Settings;
use crate::config::sources::Gathered;
use crate::evidence::bundle::PLAN;
use crate::evidence::digest::Digest;
use crate::evidence::journal::{Entry, Journal, Performer, TileDone, What};
use crate::evidence::observation::Line;
use crate::evidence::plan::Plan;
use crate::job::listener::Aside;
use crate::job::settle::settle;
use crate::job::{Job, JobError};
use crate::policy::allowlist::Allowlist;
use crate::sweep::plan::StateSet;
use crate::sweep::run::Progress;
use crate::sync::{Ordering, SignalFlag};
use crate::target::scope::Scope;

/// Between two attempts at a tile: what was in the way may be gone by then.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(5);

/// How hard lines are compressed. Higher levels take many times as long, and save little.
const COMPRESSION: i32 = 9;

/// Hears how a run goes.
pub trait Listener: Aside {
    /// Something is in the journal now.
    ///
    /// # Errors
    /// When it cannot be passed on; that stops the run.
    fn entered(&mut self, entry: &What) -> io::Result<()>;

    /// How far the tile in flight is.
    ///
    /// # Errors
    /// As before.
    fn progressed(&mut self, tile: u64, progress: &Progress) -> io::Result<()>;
}

/// A run that may begin, or go on.
#[derive(Debug)]
pub struct Run<'a> {
    request: &'a Request<'a>,
    workplace: Workplace,
    journal: Journal,
    plan: Plan,
    key: RunKey,
    scope: Scope,
    entries: Vec<Entry>,
    /// How it began, or went on: nobody has been told yet.
    begun: What,
}

/// How far a run has come.
#[derive(Debug)]
pub enum Ended<'a> {
    /// Every tile is done.
    Swept(Box<Run<'a>>),
    /// It was stopped, with so many tiles done.
    Stopped {
        /// Tiles that are done.
        done: u64,
        /// All of them.
        tiles: u64,
    },
}

impl<'a> Run<'a> {
    /// Begins a run in this directory, or goes on with the one that is there. Sends nothing yet.
    ///
    /// # Errors
    /// When the directory is none for it, or what is wanted is not what was begun.
    pub fn enter(
        request: &'a Request<'a>,
        dir: &std::path::Path,
        performer: Performer,
        now: Timestamp,
    ) -> Result<Self, ControlError> {
        let (workplace, found) = Workplace::enter(dir)?;
        let (plan, key) = match found {
            Found::Unfinished(unfinished) => {
                let Unfinished { plan, key } = *unfinished;
                if let Some(what) = difference(&plan, request)? {
                    return Err(ControlError::Differs { dir: dir.to_owned(), what });
                }
                (plan, key)
            }
            Found::Nothing => {
                let key = RunKey::generate().map_err(|cause| ControlError::Random(cause.to_string()))?;
                let plan = plan::decide(request, &key, now)?;
                workplace.begin(&plan, &key)?;
                (plan, key)
            }
        };
        let scope = plan.targets()?;
        let (mut journal, mut entries) = workplace.journal()?;
        let begun = match entries.last().map(|entry| &entry.what) {
            None => What::Begun { plan: workplace.digest(PLAN)?, performer },
            // Nothing is left but to make the evidence, as of then.
            Some(concluded @ What::Concluded { .. }) => concluded.clone(),
            Some(_) => {
                let settled = settle(&request.gathered.settings)?;
                let method = Box::new(method(request, &settled)?);
                let (hours, timezone) = hours(request.control);
                What::Resumed { performer, method, hours, timezone }
            }
        };
        if !matches!(begun, What::Concluded { .. }) {
            entries.push(journal.add(now, begun.clone())?);
        }
        Ok(Run { request, workplace, journal, plan, key, scope, entries, begun })
    }

    /// What was decided.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What has happened so far.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether every tile was done, and that was said.
    pub fn is_concluded(&self) -> bool {
        matches!(self.entries.last().map(|entry| &entry.what), Some(What::Concluded { .. }))
    }

    /// Sweeps every tile that is not done. Raising `interrupt` stops that; the run can be resumed then.
    ///
    /// # Errors
    /// When a tile cannot be swept, or what was found cannot be kept. The run can be resumed all the same.
    pub fn sweep(
        mut self,
        interrupt: &SignalFlag,
        listener: &mut dyn Listener,
        now: &(dyn Fn() -> Timestamp + Sync),
    ) -> Result<Ended<'a>, ControlError> {
        let begun = self.begun.clone();
        listener.entered(&begun).map_err(JobError::from)?;
        let tiles = self.plan.grid.tiles();
        for tile in 1..=tiles {
            if self.is_done(tile) {
                continue;
            }
            let swept = self.sweep_tile(tile, interrupt, listener, now);
            let why = match &swept {
                Ok(true) => continue,
                Ok(false) => "a signal".to_owned(),
                Err(error) => error.to_string(),
            };
            let noted = self.enter_journal(listener, now(), What::Stopped { why });
            // What stopped it is what people have to hear of, also where it cannot be written down.
            swept?;
            noted?;
            let done = (1..=tiles).filter(|tile| self.is_done(*tile)).count() as u64;
            return Ok(Ended::Stopped { done, tiles });
        }
        Ok(Ended::Swept(Box::new(self)))
    }

    /// Writes an entry, and has it told.
    ///
    /// # Errors
    /// When it cannot be written, or told.
    pub fn enter_journal(
        &mut self,
        listener: &mut dyn Listener,
        time: Timestamp,
        what: What,
    ) -> Result<(), ControlError> {
        let entry = self.journal.add(time, what)?;
        let told = listener.entered(&entry.what);
        self.entries.push(entry);
        told.map_err(|cause| ControlError::Job(JobError::Output(cause)))
    }

    /// Whether the lines of a tile are on the disk, as they were written.
    fn is_done(&self, tile: u64) -> bool {
        let done = |entry: &&Entry| matches!(&entry.what, What::TileDone(done) if done.tile == tile);
        let Some(What::TileDone(done)) = self.entries.iter().rev().find(done).map(|entry| &entry.what) else {
            return false;
        };
        Digest::of_file(&self.workplace.tile(tile)).is_ok_and(|found| found == (done.sha256, done.bytes))
    }

    /// Sweeps a tile until all of it is known, or often enough; `false` if it was stopped.
    fn sweep_tile(
        &mut self,
        tile: u64,
        interrupt: &SignalFlag,
        listener: &mut dyn Listener,
        now: &(dyn Fn() -> Timestamp + Sync),
    ) -> Result<bool, ControlError> {
        let scope = self.plan.grid.tile(&self.scope, tile)?;
        let mut known = TileMap::new(&scope);
        let mut attempts = 0;
        while attempts < self.plan.method.attempts && !known.is_complete() {
            if !self.wait_for_hours(interrupt, listener, now)? {
                return Ok(false);
            }
            let attempt = self.attempts(tile) + 1;
            self.enter_journal(listener, now(), What::TileBegun { tile, attempt })?;
            let job = self.job(&scope, attempt, tile);
            let mut seen = TileMap::new(&scope);
            let opening = &self.request.control.opening;
            let rest = Rest { interrupt, opening, now };
            let mut watching = Watching { listener, map: &mut seen, tile, now };
            let swept = rest.during(|stop| sweep(job, stop, &mut watching, scope.len()))?;
            let Some((report, second_look)) = swept else {
                if interrupt.load(Ordering::Relaxed) {
                    return Ok(false);
                }
                // The hours are over. What was not finished counts for nothing.
                continue;
            };
            self.enter_journal(listener, now(), What::TileSwept { tile, attempt, report, second_look })?;
            known.add(seen);
            attempts += 1;
            if attempts < self.plan.method.attempts && !known.is_complete() {
                wait(BETWEEN_ATTEMPTS, interrupt);
            }
        }
        known.name(&self.request.gathered.names);
        self.keep(tile, attempts, &known, listener, now())?;
        Ok(true)
    }

    fn attempts(&self, tile: u64) -> u32 {
        let begun = |entry: &Entry| match entry.what {
            What::TileBegun { tile: of, attempt } if of == tile => Some(attempt),
            _ => None,
        };
        self.entries.iter().filter_map(begun).max().unwrap_or(0)
    }

    /// Keeps a tile: first its lines, then the word that they are there.
    ///
    /// # Errors
    /// When one of the two cannot be written.
    pub fn keep(
        &mut self,
        tile: u64,
        attempts: u32,
        known: &TileMap,
        listener: &mut dyn Listener,
        now: Timestamp,
    ) -> Result<(), ControlError> {
        let lines = known.lines(tile);
        let bytes = compress(&lines).map_err(|cause| self.workplace.unwritable("work", cause))?;
        self.workplace.keep_tile(tile, &bytes)?;
        let done = TileDone {
            tile,
            attempts,
            ledger: known.ledger(),
            lines: lines.len() as u64,
            sha256: Digest::of(&bytes),
            bytes: bytes.len() as u64,
        };
        self.enter_journal(listener, now, What::TileDone(done))
    }

    /// The sweep of one attempt at a tile.
    fn job(&self, scope: &Scope, attempt: u32, tile: u64) -> Job<'static> {
        let Gathered { settings, names, written, sources, unresolved, inputs } =
            self.request.gathered.clone();
        let canaries = [settings.canary, settings.declared_canaries].concat();
        let settings = Settings {
            networks: scope.ranges().to_vec(),
            ports: Some(scope.ports().clone()),
            // They are taken out already.
            exclude: Vec::new(),
            exclude_file: Vec::new(),
            // Each holds for the tiles that it is in.
            canary: Vec::new(),
            declared_canaries: canaries,
            ..settings
        };
        Job {
            gathered: Gathered { settings, names, written, sources, unresolved, inputs },
            allowlist: nothing_allowed(),
            senders: self.request.senders,
            receive_ring_bytes: self.request.receive_ring_bytes,
            key: Some(self.key.of_tile(tile, attempt)),
            fuse: false,
            verify: self.request.verify,
            listed: StateSet::all(),
            watched: BTreeSet::new(),
        }
    }

    /// Rests until the run may send; `false` if it was stopped meanwhile.
    fn wait_for_hours(
        &mut self,
        interrupt: &SignalFlag,
        listener: &mut dyn Listener,
        now: &dyn Fn() -> Timestamp,
    ) -> Result<bool, ControlError> {
        let opening = self.request.control.opening.clone();
        if opening.open_until(now()).is_none() && !interrupt.load(Ordering::Relaxed) {
            let until = opening.opens(now());
            self.enter_journal(listener, now(), What::Paused { until })?;
            // The clock may be set meanwhile, so it is asked again and again.
            while opening.open_until(now()).is_none() && !interrupt.load(Ordering::Relaxed) {
                thread::sleep(LOOK);
            }
            if opening.open_until(now()).is_some() {
                self.enter_journal(listener, now(), What::Continued)?;
            }
        }
        Ok(!interrupt.load(Ordering::Relaxed))
    }

    /// The parts that the conclusion needs.
    pub(super) fn parts(&self) -> (&'a Request<'a>, &Workplace, &Plan, &RunKey, &Scope) {
        (self.request, &self.workplace, &self.plan, &self.key, &self.scope)
    }

    /// Gives the directory back.
    pub(super) fn into_workplace(self) -> Workplace {
        self.workplace
    }
}

fn nothing_allowed() -> &'static Allowlist {
    static NOTHING: OnceLock<Allowlist> = OnceLock::new();
    NOTHING.get_or_init(|| Allowlist::new(Vec::new()))
}

fn compress(lines: &[Line]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), COMPRESSION)?;
    for line in lines {
        serde_json::to_writer(&mut encoder, line)?;
        encoder.write_all(b"\n")?;
    }
    encoder.finish()
}

fn wait(time: Duration, interrupt: &SignalFlag) {
    let mut left = time;
    while !left.is_zero() && !interrupt.load(Ordering::Relaxed) {
        let nap = LOOK.min(left);
        thread::sleep(nap);
        left -= nap;
    }
}
