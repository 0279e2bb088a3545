//! One pass over all that is due, for cron and for systemd's timers: sweep, tell, and end when everything is delivered.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::cycle::{CycleError, Watcher, last_started};
use super::daemon::StartError;
use super::desk::Desk;
use super::housekeeping::{begin, keep_house, tick};
use super::messenger::Messenger;
use super::recheck::Recheck;
use super::schedule::{Calendar, Due};
use super::shared::Shared;
use super::time::Time;
use crate::config::file::Config;
use crate::config::watch::{Schedule, WatchConfig};
use crate::policy::finding::Finding;
use crate::sink::channel;
use crate::sink::options::{SinkKind, SinkOptions};
use crate::sweep::report::Verdict;
use crate::sync::SignalFlag;

/// How long each sink has in a pass, all in all: after the sweeps, after the second looks, and when its receiver is
/// told again of what fires. What is not delivered then waits for the next pass.
const PATIENCE: Duration = Duration::from_secs(30);

/// Under this name the store keeps when the last pass ended.
const PASSED: &str = "passed";

/// Passes that are this far apart are not taken for how far apart they are meant to be: somebody was away.
const FARTHEST_APART: Duration = Duration::from_secs(24 * 3600);

/// What a pass came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passed {
    /// Sweeps that were due and could not be made.
    pub unmade: u32,
    /// Sweeps that did not see everything.
    pub incomplete: u32,
    /// Alerts that fire.
    pub firing: u64,
}

/// Makes one pass.
///
/// # Errors
/// When no thread can be started.
pub fn run(shared: &Shared, interrupt: &SignalFlag) -> Result<Passed, StartError> {
    begin(shared);
    let config = shared.config();
    let mut crew = Crew::of(&config, apart(shared, &config));
    let mut passed = Passed::default();
    let mut rechecks = Vec::new();
    for watch in config.watches.iter().filter(|watch| is_due(shared, watch)) {
        match Watcher::default().cycle(watch, &config, &shared.desk, &shared.time, interrupt) {
            Err(CycleError::Stopped) => break,
            Err(error) => {
                tracing::error!(watch = %watch.name, %error, "a sweep was missed");
                passed.unmade += 1;
                let now = shared.time.now();
                let finding = Finding::sweep_missed(&watch.name, &error.to_string(), now);
                shared.desk.report(finding, true, None, now);
            }
            Ok(cycled) => {
                passed.incomplete += u32::from(cycled.verdict != Verdict::Complete);
                let now = shared.time.now();
                shared.desk.report(Finding::sweep_missed(&watch.name, "", now), false, None, now);
                shared.note_scope(&watch.name, cycled.scope.clone());
                rechecks.extend(Recheck::of(&cycled, shared));
            }
        }
    }
    shared.plan();
    tick(shared);
    keep_house(shared);
    crew.carry(&shared.desk, &shared.time)?;
    for recheck in &rechecks {
        std::thread::sleep(recheck.due.saturating_sub(shared.time.since_boot()));
        recheck.take(shared, interrupt);
    }
    if !rechecks.is_empty() {
        crew.carry(&shared.desk, &shared.time)?;
    }
    crew.refresh(&shared.desk, &shared.time)?;
    note_end(shared);
    passed.firing = shared.desk.firing();
    Ok(passed)
}

/// Whether a watch is due. A timer that is a little early, as timers are now and then, is on time.
fn is_due(shared: &Shared, watch: &WatchConfig) -> bool {
    let Some(last) = last_started(&shared.desk, &watch.name) else { return true };
    let now = shared.time.wall();
    match &watch.schedule {
        Schedule::Every { interval } => {
            let passed = now.duration_since(last);
            let early = (*interval / 10).min(Duration::from_secs(5));
            let least = SignedDuration::try_from(*interval - early).unwrap_or_default();
            // A clock that has gone back says nothing of how long it was.
            passed.is_negative() || passed >= least
        }
        Schedule::Cron { cron, zone } => {
            let mut calendar = Calendar::new((**cron).clone(), zone.clone(), Some(last), now);
            matches!(calendar.due(now), Due::Now { .. })
        }
    }
}

/// How far apart passes are, as far as anybody can tell: as far as the last one is from now, and no less than watches
/// are to be swept.
fn apart(shared: &Shared, config: &Config) -> Duration {
    let last = shared.desk.with_store(|store| store.get(PASSED)).ok().flatten();
    let last = last.and_then(|text| text.parse::<Timestamp>().ok());
    let passed = last.map(|last| shared.time.now().duration_since(last));
    let passed = passed.filter(SignedDuration::is_positive);
    let passed = passed.map(|passed| passed.unsigned_abs().min(FARTHEST_APART));
    let scheduled = config.watches.iter().filter_map(|watch| watch.schedule.apart());
    scheduled.chain(passed).max().unwrap_or_default()
}

/// Notes that a pass has ended now.
fn note_end(shared: &Shared) {
    let now = shared.time.now().to_string();
    if let Err(error) = shared.desk.with_store(|store| store.write(|tx| tx.put(PASSED, &now))) {
        tracing::warn!(%error, "the end of the pass was not noted");
    }
}

/// A sink as a pass needs it. A receiver that takes for over what it is not told again is to wait for the next pass.
fn patient(sink: &SinkOptions, apart: Duration) -> SinkOptions {
    let mut sink = sink.clone();
    if let SinkKind::Alertmanager(options) = &mut sink.kind {
        options.refresh = options.refresh.max(apart);
    }
    sink
}

/// Delivers what is due, each sink on a thread of its own.
///
/// # Errors
/// When no thread can be started.
pub fn carry(shared: &Shared) -> Result<(), StartError> {
    Crew::of(&shared.config(), Duration::ZERO).carry(&shared.desk, &shared.time)
}

/// The messengers of a pass, and how long each still has. They remember from one round to the next who does not answer.
pub struct Crew(Vec<(Messenger, Duration)>);

impl Crew {
    /// Messengers who have not begun.
    pub fn new(messengers: Vec<Messenger>) -> Self {
        Crew(messengers.into_iter().map(|messenger| (messenger, PATIENCE)).collect())
    }

    /// Those of a configuration, for passes that are so far apart.
    fn of(config: &Config, apart: Duration) -> Self {
        let sinks = config.sinks.iter().map(|sink| patient(sink, apart));
        Crew::new(
            sinks.map(|sink| Messenger::new(&sink.name, channel::open(&sink), sink.give_up_after)).collect(),
        )
    }

    /// Delivers what is due, each sink on a thread of its own.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn carry(&mut self, desk: &Desk, time: &Time) -> Result<(), StartError> {
        self.each(
            time,
            |messenger, until| {
                while time.since_boot() < until && messenger.carry(desk, time) > 0 {}
            },
        )
    }

    /// Tells those again of everything that fires who would forget it before the next pass.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn refresh(&mut self, desk: &Desk, time: &Time) -> Result<(), StartError> {
        self.each(time, |messenger, _| messenger.refresh(desk, time))
    }

    /// Does this with each messenger who still has time, on a thread of its own, and says until when that is.
    fn each(
        &mut self,
        time: &Time,
        work: impl Fn(&mut Messenger, Duration) + Sync,
    ) -> Result<(), StartError> {
        let work = &work;
        std::thread::scope(|scope| {
            for (messenger, left) in self.0.iter_mut().filter(|(_, left)| !left.is_zero()) {
                std::thread::Builder::new().name("messenger".to_owned()).spawn_scoped(scope, move || {
                    let began = time.since_boot();
                    work(messenger, began + *left);
                    *left = left.saturating_sub(time.since_boot().saturating_sub(began));
                })?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diagnostic::Source;

    #[test]
    fn a_receiver_that_forgets_waits_for_the_next_pass() {
        let text = "[[sink]]\nname = \"am\"\nkind = \"alertmanager\"\nurl = \"http://127.0.0.1:9093\"\n";
        let config = Config::parse(&Source::new("c.toml", text)).unwrap_or_else(|error| panic!("{error}"));
        let refresh = |apart| match patient(&config.sinks[0], Duration::from_secs(apart)).kind {
            SinkKind::Alertmanager(options) => options.refresh.as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!([refresh(0), refresh(60), refresh(3600)], [60, 60, 3600]);
    }
}
