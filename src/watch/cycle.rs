//! One sweep of a watch: read what holds, sweep, judge, and bring it to the desk.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Display;
use std::io;

use jiff::Timestamp;
use ulid::Ulid;

use super::desk::{Change, Desk};
use super::time::Time;
use crate::alert::advance::Mint;
use crate::alert::book::Book;
use crate::alert::judge::{Seen, judge};
use crate::alert::life::Alert;
use crate::alert::notice::SweepRef;
use crate::config::diagnostic::ConfigError;
use crate::config::file::{Config, load_allowlist};
use crate::config::resolve::system_lookup;
use crate::config::sources::{self, Gathered, SourceError};
use crate::config::watch::WatchConfig;
use crate::job::listener::{Aside, Listener};
use crate::job::{Job, JobError, Opened, Outcome};
use crate::link::packet::RECEIVE_RING_BYTES;
use crate::policy::allowlist::{Allowance, Allowlist};
use crate::policy::class::Class;
use crate::policy::evaluate::expiring;
use crate::policy::expectation::Expectation;
use crate::policy::finding::Finding;
use crate::policy::outage::{check, expected};
use crate::sink::event::Run;
use crate::sink::message::Event;
use crate::store::Transaction;
use crate::sweep::plan::StateSet;
use crate::sweep::report::{Observation, Verdict};
use crate::sweep::run::{Observer, Progress};
use crate::sweep::verified::Confirmation;
use crate::sync::{Ordering, SignalFlag};
use crate::target::Target;
use crate::target::scope::Scope;

/// Why a sweep came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CycleError {
    /// Its files cannot be read.
    #[error(transparent)]
    Sources(#[from] SourceError),
    /// Its allowlist cannot be read, and there is none from before.
    #[error(transparent)]
    Allowlist(#[from] ConfigError),
    /// It could not be made.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Somebody stopped it.
    #[error("stopped")]
    Stopped,
}

/// What a sweep came to, when everything that it has to say is on its way.
#[derive(Debug)]
pub struct Cycled {
    /// What it is worth.
    pub verdict: Verdict,
    /// The alerts that have changed by it.
    pub changed: Vec<Alert>,
    /// What was swept.
    pub scope: Scope,
    /// The interface that it was bound to.
    pub interface: Option<String>,
}

/// One watch, and what it remembers from one sweep to the next.
#[derive(Debug, Default)]
pub struct Watcher {
    /// The last allowlist without mistakes.
    allowances: Option<Vec<Allowance>>,
}

impl Watcher {
    /// Makes one sweep.
    ///
    /// # Errors
    /// See [`CycleError`]. What was found before an error is nothing that anybody vouches for, and is not told.
    pub fn cycle(
        &mut self,
        watch: &WatchConfig,
        config: &Config,
        desk: &Desk,
        time: &Time,
        interrupt: &SignalFlag,
    ) -> Result<Cycled, CycleError> {
        let began = time.wall();
        let allowlist = self.allowlist(config, desk, time)?;
        let gathered = sources::read(watch.settings.clone(), &mut io::empty())?.resolve(system_lookup)?;
        let interface = gathered.settings.interface.clone();
        let watched = watched(watch, config, desk, &gathered);
        let Opened { events: run, course, .. } = open(gathered, &allowlist, watched, interrupt)?;
        let outcome = course.run(&run, &mut Ear, &|| time.now())?;
        if interrupt.load(Ordering::Relaxed) {
            return Err(CycleError::Stopped);
        }
        let changed =
            Swept { watch, config, allowlist: &allowlist, outcome: &outcome, run: &run, began }.bring(desk);
        Ok(Cycled { verdict: outcome.report.verdict, changed, scope: outcome.scope, interface })
    }

    /// What may be open now. Where the file of it has come to have mistakes, what it said before holds on.
    fn allowlist(&mut self, config: &Config, desk: &Desk, time: &Time) -> Result<Allowlist, CycleError> {
        let mut allowances = config.allow.clone();
        if let Some(path) = &config.settings.allowlist {
            let name = path.display().to_string();
            match load_allowlist(path) {
                Ok(loaded) => {
                    desk.report(Finding::config_rejected(&name, "", time.now()), false, None, time.now());
                    self.allowances = Some(loaded);
                }
                Err(error) if self.allowances.is_some() => {
                    let finding = Finding::config_rejected(&name, &error.to_string(), time.now());
                    desk.report(finding, true, None, time.now());
                }
                Err(error) => return Err(error.into()),
            }
            allowances.extend(self.allowances.clone().unwrap_or_default());
        }
        // What must be open may be.
        allowances.extend(config.expect.iter().map(Expectation::as_allowance));
        Ok(Allowlist::new(allowances))
    }
}

/// The targets whose state must be known at the end whatever it is: those that must be open, and those that were.
fn watched(watch: &WatchConfig, config: &Config, desk: &Desk, gathered: &Gathered) -> BTreeSet<Target> {
    let known = desk.with_store(|store| store.open_targets(&watch.name)).unwrap_or_default();
    let mut targets = BTreeSet::from_iter(known);
    if let Ok(scope) = gathered.settings.scope() {
        targets.extend(expected(&config.expect, &scope));
    }
    targets
}

fn open<'a>(
    gathered: Gathered,
    allowlist: &'a Allowlist,
    watched: BTreeSet<Target>,
    interrupt: &'a SignalFlag,
) -> Result<Opened<'a>, JobError> {
    let job = Job {
        gathered,
        allowlist,
        senders: None,
        key: None,
        receive_ring_bytes: RECEIVE_RING_BYTES,
        fuse: false,
        verify: true,
        listed: StateSet::default(),
        watched,
    };
    job.prepare()?.open(interrupt, &mut Ear)
}

/// A sweep that has been made.
struct Swept<'a> {
    watch: &'a WatchConfig,
    config: &'a Config,
    allowlist: &'a Allowlist,
    outcome: &'a Outcome<'a>,
    run: &'a Run,
    began: Timestamp,
}

impl Swept<'_> {
    /// Brings what was seen to the desk: one transaction. Gives the alerts that have changed by it.
    fn bring(&self, desk: &Desk) -> Vec<Alert> {
        let Swept { config, outcome, .. } = self;
        let (report, name, now) = (&outcome.report, &self.watch.name, outcome.judged);
        let complete = report.verdict == Verdict::Complete;
        let open: HashSet<Target> = outcome.opens.iter().map(|open| open.target).collect();
        let checks = check(&config.expect, &outcome.watched, &config.grades, now);
        let covers = |target: &Target| outcome.scope.index_of(target.ip, target.port).is_some();
        let findings = self.findings();
        let objections = findings.iter().filter(|(finding, _)| finding.is_objection()).count() as u64;
        let sight = self.grade(Finding::vantage_blind(name, report, now));
        let seen = Seen { complete, findings, open: &open, covers: &covers, checks: &checks, sight };
        let step = |book: &mut Book, mint: Mint<'_>| judge(book, &seen, &config.alerting, now, mint);
        let is_gone = |seen: &&Observation| !open.contains(&seen.target);
        let gone = outcome.watched.iter().filter(is_gone);
        let gone: Vec<_> = gone.map(|seen| (seen.target, seen.state, seen.reason)).collect();
        let keep = |tx: &Transaction<'_>| {
            tx.sweep(name, report, objections)?;
            if complete {
                tx.observe(name, report.sweep, now, &outcome.opens, &gone)?;
            }
            tx.put(&started_key(name), &self.began.to_string())
        };
        let completed = self.run.completed(now, report, &outcome.look, objections);
        let events = vec![event("sweep.completed", now, &completed, Some(name))];
        let sweep = SweepRef { id: report.sweep, name: name.clone() };
        desk.make(&Change { step: &step, sweep: Some(&sweep), keep: &keep, events, except: None }, now)
    }

    /// What policy objects to, and what it warns of.
    fn findings(&self) -> Vec<(Finding, Class)> {
        let warnings = expiring(self.allowlist, self.outcome.judged);
        self.outcome.findings.iter().chain(warnings).map(|finding| self.grade(finding)).collect()
    }

    fn grade(&self, mut finding: Finding) -> (Finding, Class) {
        let class = self.config.grades.apply(&mut finding);
        (finding, class)
    }
}

/// When the last sweep of a watch began that anything came of, as far as the database knows.
pub fn last_started(desk: &Desk, watch: &str) -> Option<Timestamp> {
    let last = desk.with_store(|store| store.get(&started_key(watch))).ok().flatten();
    last.and_then(|text| text.parse().ok())
}

/// The key under which the store keeps that.
fn started_key(watch: &str) -> String {
    format!("started:{watch}")
}

/// An event of the contract, as a message.
pub fn event(kind: &str, now: Timestamp, body: &impl serde::Serialize, watch: Option<&str>) -> Event {
    // Our own events are objects and can be written.
    let mut body = serde_json::to_value(body).unwrap_or_default();
    let id = Ulid::generate();
    if let Some(object) = body.as_object_mut() {
        object.insert("id".to_owned(), id.to_string().into());
        object.extend(watch.map(|watch| ("watch".to_owned(), watch.into())));
    }
    Event { id, kind: kind.to_owned(), time: now, body }
}

/// Hears of a sweep only what has gone wrong: what it saw comes with its outcome.
struct Ear;

impl Observer for Ear {
    fn observed(&mut self, _: &Observation) -> io::Result<()> {
        Ok(())
    }

    fn progressed(&mut self, _: &Progress) -> io::Result<()> {
        Ok(())
    }
}

impl Aside for Ear {
    fn waiting(&mut self, doing: &str) {
        tracing::debug!("{doing}");
    }

    fn waited(&mut self) {}

    fn warned(&mut self, what: &dyn Display) {
        tracing::warn!("{what}");
    }
}

impl Listener for Ear {
    fn swept(&mut self) {}

    fn confirmed(&mut self, _: &[(Observation, Confirmation)]) -> io::Result<()> {
        Ok(())
    }
}
