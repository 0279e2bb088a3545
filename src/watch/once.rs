//! One pass over all that is due, for cron and for systemd's timers: sweep, tell, and end when everything is delivered.

use std::time::Duration;

use jiff::SignedDuration;

use super::cycle::{CycleError, Watcher, started_key};
use super::daemon::StartError;
use super::desk::Change;
use super::housekeeping::{keep_house, tick};
use super::messenger::Messenger;
use super::recheck::Recheck;
use super::schedule::{Calendar, Due};
use super::shared::Shared;
use crate::alert::advance::Mint;
use crate::alert::book::Book;
use crate::alert::tell::{Happened, annotate};
use crate::config::watch::{Schedule, WatchConfig};
use crate::policy::finding::Finding;
use crate::sink::channel;
use crate::sweep::report::Verdict;
use crate::sync::SignalFlag;

/// How long messages are tried at the end. What is not delivered then waits for the next pass.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a pass came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passed {
    /// Sweeps that were due and made.
    pub swept: u32,
    /// Sweeps that did not see everything, or could not be made.
    pub failed: u32,
    /// Alerts that fire.
    pub firing: u64,
    /// Messages that wait for the next pass.
    pub waiting: u64,
}

/// Makes one pass.
///
/// # Errors
/// When no thread can be started.
pub fn run(shared: &Shared, interrupt: &SignalFlag) -> Result<Passed, StartError> {
    let config = shared.config();
    let mut passed = Passed::default();
    let mut rechecks = Vec::new();
    for watch in config.watches.iter().filter(|watch| is_due(shared, watch)) {
        passed.swept += 1;
        match Watcher::default().cycle(watch, &config, &shared.desk, &shared.time, interrupt) {
            Err(CycleError::Stopped) => break,
            Err(error) => {
                tracing::error!(watch = %watch.name, %error, "a sweep was missed");
                passed.failed += 1;
                let now = shared.time.now();
                let finding = Finding::sweep_missed(&watch.name, &error.to_string(), now);
                shared.desk.report(finding, true, None, now);
            }
            Ok(cycled) => {
                passed.failed += u32::from(cycled.verdict != Verdict::Complete);
                let now = shared.time.now();
                shared.desk.report(Finding::sweep_missed(&watch.name, "", now), false, None, now);
                shared.note_scope(&watch.name, cycled.scope.clone());
                let due = config.alerting.second_look_after.map(|after| shared.time.since_boot() + after);
                rechecks.extend(
                    due.and_then(|due| Recheck::of(&cycled.changed, cycled.scope, cycled.interface, due)),
                );
            }
        }
    }
    tick(shared);
    carry(shared)?;
    if !rechecks.is_empty() {
        look_again(shared, &rechecks, interrupt);
        carry(shared)?;
    }
    keep_house(shared);
    passed.firing = shared.desk.firing();
    let sinks = config.sinks.iter();
    let waiting = |sink: &str| shared.desk.with_store(|store| store.backlog(sink));
    passed.waiting = sinks.map(|sink| waiting(&sink.name).map_or(0, |backlog| backlog.pending)).sum();
    Ok(passed)
}

/// Whether a watch is due. A timer that is a little early, as timers are now and then, is on time.
fn is_due(shared: &Shared, watch: &WatchConfig) -> bool {
    let last = shared.desk.with_store(|store| store.get(&started_key(&watch.name))).ok().flatten();
    let Some(last) = last.and_then(|text| text.parse().ok()) else { return true };
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
fn carry(shared: &Shared) -> Result<(), StartError> {
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

fn look_again(shared: &Shared, rechecks: &[Recheck], interrupt: &SignalFlag) {
    for recheck in rechecks {
        std::thread::sleep(recheck.due.saturating_sub(shared.time.since_boot()));
        let Ok(shown) = recheck.look(interrupt) else { continue };
        let step = |book: &mut Book, _: Mint<'_>| -> Happened {
            shown.iter().flat_map(|(alert, shown)| annotate(book, alert, *shown)).collect()
        };
        shared.desk.make(&Change::of(&step), shared.time.now());
    }
}
