//! One sweep, from settings to findings, for whoever wants it done: the command line, or a program that does it again
//! and again.
//!
//! Three steps, with room between them for what the caller has to do:
//! 1. [`Job::prepare`] settles what may be probed, and sends nothing.
//! 2. [`Ready::open`] makes sure of the fuse and opens the engine, which may ask who is there on a local network. Then
//!    all is known that can be announced.
//! 3. [`Course::run`] sweeps, takes the second look, and judges.
//!
//! Nothing is printed here: a [`Listener`] hears what goes on.

mod announce;
pub mod engine;
pub mod fuse;
pub mod listener;
pub mod rates;
mod second_look;
pub mod settle;
pub mod vitals;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use ulid::Ulid;

use self::announce::announcement;
use self::engine::{Engine, OpenError, Wanted, advice};
use self::fuse::{Backing, BackingError};
use self::listener::{Aside, Listener};
use self::second_look::SecondLook;
use self::settle::{SettleError, Settled, settle};
use crate::config::options::EngineChoice;
use crate::config::pace::Pace;
use crate::config::settings::SettingsError;
use crate::config::sources::Gathered;
use crate::link::LinkError;
use crate::link::clock::Monotonic;
use crate::policy::allowlist::Allowlist;
use crate::policy::evaluate::{evaluate, keep_last_words, objectionable};
use crate::policy::findings::Findings;
use crate::sink::event::{Announcement, Run};
use crate::sweep::plan::{Plan, StateSet, defaults};
use crate::sweep::report::{Observation, Report, Verdict};
use crate::sweep::run::{Ends, Observer, Progress, RunError, run as sweep};
use crate::sweep::verified::{Ending, LookReport};
use crate::sync::SignalFlag;
use crate::target::Target;
use crate::target::scope::Scope;
use crate::target::state::State;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// The settings, and where their targets come from.
    pub gathered: Gathered,
    /// What may be open.
    pub allowlist: &'a Allowlist,
    /// Sending threads of the packet engine; `None` for as many as the rate needs.
    pub senders: Option<u8>,
    /// Size of the packet engine's receive ring.
    pub receive_ring_bytes: usize,
    /// The secret that probes are made with; `None` for a fresh one.
    pub key: Option<[u8; 16]>,
    /// Whether it may run only with the fuse of this very sweep behind it.
    pub fuse: bool,
    /// Whether what is about to be reported gets a second look.
    pub verify: bool,
    /// The states that the listener wants to hear of, beside open and conflict.
    pub listed: StateSet,
    /// Targets whose last state is wanted whatever it is, see [`Outcome::watched`].
    pub watched: BTreeSet<Target>,
}

/// Why a job has no outcome.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The settings contradict each other.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Nothing may be probed.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// No fuse can stand behind it.
    #[error(transparent)]
    Backing(#[from] BackingError),
    /// The engine cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The sweep has no report.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The listener could not pass on what the second look found.
    #[error(transparent)]
    Output(#[from] io::Error),
}

impl JobError {
    /// Whether somebody stopped it when something had been sent, and before there was anything to report.
    pub fn is_interrupted(&self) -> bool {
        matches!(self, JobError::Open(OpenError::Interrupted { .. }))
    }
}

impl<'a> Job<'a> {
    /// Settles what may be probed, and how it is reached. Sends nothing.
    ///
    /// # Errors
    /// When nothing may be, or when the settings do not go together.
    pub fn prepare(self) -> Result<Ready<'a>, JobError> {
        let settings = &self.gathered.settings;
        let pace = settings.pace().map_err(SettingsError::from)?;
        let settled = settle(settings)?;
        let canaries = settings.canaries(&settled.scope)?;
        Ok(Ready { job: self, pace, settled, canaries })
    }
}

/// A job of which nothing more can go wrong without asking the network.
#[derive(Debug)]
pub struct Ready<'a> {
    job: Job<'a>,
    pace: Pace,
    settled: Settled,
    canaries: Vec<Target>,
}

/// A job whose engine stands by, and what can be said of it before the first probe.
pub struct Opened<'a> {
    /// What all its events have in common.
    pub events: Run,
    /// What is about to be swept, and how.
    pub announcement: Announcement,
    /// Whether an open target has been through a whole handshake when it is observed.
    pub verifies: bool,
    /// What remains to be done.
    pub course: Course<'a>,
}

impl<'a> Ready<'a> {
    /// What it was made of.
    pub fn gathered(&self) -> &Gathered {
        &self.job.gathered
    }

    /// What is to be said for another engine than the one that will run, if anything.
    pub fn advice(&self) -> Option<String> {
        let Settled { scope, routes, .. } = &self.settled;
        advice::faster(&self.job.gathered.settings, scope, Some(routes))
    }

    /// Opens the engine. Raising `interrupt` stops that, and the sweep after it.
    ///
    /// # Errors
    /// When the fuse that is wanted is not there, or when the engine cannot be opened.
    pub fn open(self, interrupt: &'a SignalFlag, aside: &mut dyn Aside) -> Result<Opened<'a>, JobError> {
        let settings = &self.job.gathered.settings;
        let clock = Monotonic::new();
        let backing = Backing::begin(self.job.fuse, settings, &self.settled)?;
        let engine = backing.behind(engine::open(&self.wanted(interrupt), clock, aside)?)?;
        let plan = self.plan(&engine);
        let interface = settings.interface.as_deref();
        let second_look =
            SecondLook::new(self.job.verify, settings.banner, interface, engine.verifies, &plan);
        let announcement = announcement(&plan, &self.job.gathered, &self.settled, &second_look);
        let events = Run::new(plan.sweep, settings.authorization.as_deref());
        Ok(Opened {
            events: events.with_names(self.job.gathered.names),
            announcement,
            verifies: engine.verifies,
            course: Course {
                plan,
                ends: engine.ends,
                backing,
                second_look,
                allowlist: self.job.allowlist,
                is_whole: self.job.gathered.unresolved.is_empty(),
                clock,
                interrupt,
            },
        })
    }

    fn wanted<'s>(&'s self, interrupt: &'s SignalFlag) -> Wanted<'s> {
        let (settings, settled) = (&self.job.gathered.settings, &self.settled);
        let caps = [rates::host_rate(settings, settled), rates::network_rate(settings, settled)];
        Wanted {
            choice: settings.engine.unwrap_or(EngineChoice::Auto),
            scope: &settled.scope,
            routes: &settled.routes,
            interface: settings.interface.as_deref(),
            senders: rates::senders(self.job.senders, self.pace.ceiling, caps),
            receive_ring_bytes: self.job.receive_ring_bytes,
            tries: settings.tries.unwrap_or(defaults::TRIES),
            rate: Some(self.pace.ceiling),
            interrupt,
        }
    }

    fn plan(&self, engine: &Engine) -> Plan {
        let (settings, settled) = (&self.job.gathered.settings, &self.settled);
        Plan {
            sweep: Ulid::generate(),
            shard: settings.shard,
            seed: settings.seed.unwrap_or_else(|| Ulid::generate().random() as u64),
            key: self.job.key,
            tile: settle::tile(settings, &settled.scope),
            tries: settings.tries.unwrap_or(defaults::TRIES),
            rate: Some(self.pace.ceiling),
            governed: self.pace.governed,
            host_rate: rates::host_rate(settings, settled),
            network_rate: rates::network_rate(settings, settled),
            canaries: self.canaries.clone(),
            mute: engine.mute.clone(),
            routes: Arc::new(settled.routes.clone()),
            source_ports: engine.source_ports,
            wanted: self.job.listed.with(State::Open).with(State::Conflict),
            watched: self.job.watched.clone(),
            vantage: engine.vantage.clone(),
            scope: settled.scope.clone(),
        }
    }
}

/// A sweep that only waits for the word.
pub struct Course<'a> {
    plan: Plan,
    ends: Ends,
    backing: Backing,
    second_look: SecondLook,
    allowlist: &'a Allowlist,
    /// Whether all that was to be swept has an address.
    is_whole: bool,
    clock: Monotonic,
    interrupt: &'a SignalFlag,
}

/// What came of a job.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// What was swept.
    pub scope: Scope,
    /// How that went.
    pub report: Report,
    /// What broke the sweep, or stopped it, if anything did. The report says what is not known for that.
    pub failure: Option<LinkError>,
    /// The last word on every target that has accepted a handshake, in no order.
    pub opens: Vec<Observation>,
    /// The last word on each target that is watched and in scope.
    pub watched: Vec<Observation>,
    /// How the second look went.
    pub look: LookReport,
    /// What policy objects to, with the names of hosts.
    pub findings: Findings<'a>,
    /// When all this was known. No event of the end may be older than the ones before it.
    pub judged: Timestamp,
}

impl<'a> Course<'a> {
    /// Sweeps, looks again at what is about to be reported, and judges by the time that `now` says it is. `events` are
    /// those that came with it.
    ///
    /// # Errors
    /// When the sweep has no report, or when the listener cannot pass on what it hears.
    pub fn run(
        self,
        events: &'a Run,
        listener: &mut dyn Listener,
        now: &dyn Fn() -> Timestamp,
    ) -> Result<Outcome<'a>, JobError> {
        let Course { plan, clock, allowlist, second_look, .. } = self;
        let mut keeper = Keeper { listener, opens: Vec::new() };
        let swept = sweep(&plan, self.ends, &clock, self.interrupt, &mut keeper);
        let mut opens = keeper.opens;
        keep_last_words(&mut opens, |seen| seen.target);
        listener.swept();
        let mut swept = swept?;
        let is_backed = self.backing.holds(&mut swept);
        let mut report = swept.report;
        // What has no address was to be swept as much as what has one.
        if !self.is_whole {
            report.degrade();
        }
        let complete = report.verdict == Verdict::Complete;
        // Where the fuse has caught anything, nothing more may be sent.
        let stopped = SignalFlag::new(true);
        let interrupt = if is_backed { self.interrupt } else { &stopped };
        let suspects = objectionable(&opens, allowlist, now());
        let (verifications, look) = second_look.take(&plan, suspects, clock, interrupt, listener);
        listener.confirmed(&second_look.news(&verifications, &opens))?;
        if look.ended == Ending::Stopped {
            report.degrade();
        }
        let judged = now();
        let findings = evaluate(&opens, allowlist, verifications, &plan.scope, complete, judged);
        let findings = findings.with_names(events.names());
        let (scope, failure, watched) = (plan.scope, swept.failure, swept.watched);
        Ok(Outcome { scope, report, failure, opens, watched, look, findings, judged })
    }
}

/// Keeps what policy must judge, and passes everything on.
struct Keeper<'a> {
    listener: &'a mut dyn Listener,
    /// Whoever has accepted a handshake, in the order of hearing. A list, because a map of as many as a whole network
    /// may have would take several times the room, beside the table of the sweep.
    opens: Vec<Observation>,
}

impl Observer for Keeper<'_> {
    fn observed(&mut self, observation: &Observation) -> io::Result<()> {
        if matches!(observation.state, State::Open | State::Conflict) {
            self.opens.push(*observation);
        }
        self.listener.observed(observation)
    }

    fn progressed(&mut self, progress: &Progress) -> io::Result<()> {
        self.listener.progressed(progress)
    }
}
