//! One pass over all that is due, for cron and for systemd's timers: sweep, tell, and end when everything is delivered.

use std::time::Duration;

use jiff::SignedDuration;

use super::cycle::{CycleError, Watcher, last_started};
use super::daemon::StartError;
use super::housekeeping::{begin, keep_house, tick};
use super::messenger::Messenger;
use super::recheck::Recheck;
use super::schedule::{Calendar, Due};
use super::shared::Shared;
use crate::config::watch::{Schedule, WatchConfig};
use crate::policy::finding::Finding;
use crate::sink::channel;
use crate::sweep::report::Verdict;
use crate::sync::SignalFlag;

/// How long is gone on with messages that are due, after the sweeps and again after the second looks. What is not
/// delivered then waits for the next pass.
const PATIENCE: Duration = Duration::from_secs(30);

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
    carry(shared)?;
    for recheck in &rechecks {
        std::thread::sleep(recheck.due.saturating_sub(shared.time.since_boot()));
        recheck.take(shared, interrupt);
    }
    if !rechecks.is_empty() {
        carry(shared)?;
    }
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

/// Delivers what is due, each sink on a thread of its own.
///
/// # Errors
/// When no thread can be started.
pub fn carry(shared: &Shared) -> Result<(), StartError> {
    let config = shared.config();
    let until = shared.time.since_boot() + PATIENCE;
    std::thread::scope(|scope| {
        for sink in &config.sinks {
            let mut messenger = Messenger::new(&sink.name, channel::open(sink), sink.give_up_after);
            std::thread::Builder::new().name("messenger".to_owned()).spawn_scoped(scope, move || {
                while shared.time.since_boot() < until && messenger.carry(&shared.desk, &shared.time) > 0 {}
            })?;
        }
        Ok(())
    })
}
