//! One runner for each watch, on a thread of its own: waits until its sweep is due, and makes it.

use std::time::Duration;

use super::cycle::{CycleError, Cycled, Watcher, event, last_started};
use super::housekeeping::Skip;
use super::recheck::Recheck;
use super::schedule::{Beat, Calendar, Due};
use super::shared::Shared;
use super::time::Time;
use crate::config::watch::{Schedule, WatchConfig};
use crate::policy::finding::Finding;
use crate::sweep::report::Verdict;

/// How often a runner looks at the time of day while it waits for one: it may be set.
const LOOK: Duration = Duration::from_secs(1);

/// Who makes the sweeps of one watch.
pub struct Runner<'a> {
    shared: &'a Shared,
    name: String,
    watcher: Watcher,
    /// What the agenda was made of.
    schedule: Schedule,
    agenda: Agenda,
    rechecks: Vec<Recheck>,
    /// Sweeps in a row that were not over when the next one was due.
    overruns: u32,
}

/// So many overruns in a row are an alert; fewer are said, and nothing more.
const MOST_OVERRUNS: u32 = 3;

/// When the next sweep is due.
enum Agenda {
    Beat(Beat),
    Calendar(Box<Calendar>),
}

/// What comes next.
enum Next {
    /// A sweep; so many before it were missed.
    Sweep { missed: u32 },
    /// A second look.
    Recheck,
    /// The configuration is another, or the daemon is to stop.
    Orders,
}

impl<'a> Runner<'a> {
    /// A runner for this watch.
    pub fn new(shared: &'a Shared, watch: &WatchConfig) -> Self {
        let agenda = Agenda::of(shared, watch);
        let (name, schedule, watcher) = (watch.name.clone(), watch.schedule.clone(), Watcher::default());
        Runner { shared, name, watcher, schedule, agenda, rechecks: Vec::new(), overruns: 0 }
    }

    /// Makes sweeps until the watch is no longer in the configuration, or the daemon stops.
    pub fn run(mut self) {
        loop {
            let config = self.shared.config();
            let Some(watch) = config.watches.iter().find(|watch| watch.name == self.name) else { return };
            if self.shared.is_stopping() {
                return;
            }
            if self.schedule != watch.schedule {
                self.schedule = watch.schedule.clone();
                self.agenda = Agenda::of(self.shared, watch);
            }
            match self.wait(watch) {
                Next::Orders => {}
                Next::Recheck => self.recheck(),
                Next::Sweep { missed } => self.sweep(watch, missed),
            }
        }
    }

    /// Waits for whatever comes next.
    fn wait(&mut self, watch: &WatchConfig) -> Next {
        let heard = self.shared.orders.rung();
        let jitter = jitter(watch.jitter);
        loop {
            if self.shared.is_stopping() || self.shared.orders.rung() != heard {
                return Next::Orders;
            }
            let now = self.shared.time.since_boot();
            if self.rechecks.iter().any(|recheck| recheck.due <= now) {
                return Next::Recheck;
            }
            let left = self.agenda.left(&self.shared.time, jitter);
            if left.is_zero() {
                return Next::Sweep { missed: self.agenda.begin(&self.shared.time) };
            }
            let until_recheck = self.rechecks.iter().map(|recheck| recheck.due.saturating_sub(now)).min();
            self.shared.orders.wait(heard, left.min(until_recheck.unwrap_or(left)));
        }
    }

    fn sweep(&mut self, watch: &WatchConfig, missed: u32) {
        let shared = self.shared;
        let config = shared.config();
        let began = shared.time.since_boot();
        let result = self.watcher.cycle(watch, &config, &shared.desk, &shared.time, &shared.stop);
        let now = shared.time.now();
        let took = shared.time.since_boot().saturating_sub(began);
        let trouble = match result {
            Err(CycleError::Stopped) => return,
            Err(error) => Some(error.to_string()),
            Ok(cycled) => {
                self.note(&cycled, took);
                None
            }
        };
        let skipped = missed + self.agenda.skip(&shared.time);
        self.overruns = if skipped > 0 { self.overruns.saturating_add(1) } else { 0 };
        let late = (skipped > 0).then(|| {
            let why = if missed > 0 { "nobody could make a sweep then" } else { "the sweep was still busy" };
            format!("{skipped} due times passed, because {why} (the last one took {} s)", took.as_secs())
        });
        if let Some(why) = trouble.as_ref().or(late.as_ref()) {
            tracing::warn!(watch = %self.name, %why, "a sweep was missed");
            let skip = Skip::new(&self.name, skipped, why, now);
            shared.desk.announce(event("sweep.skipped", now, &skip, None), now);
        }
        let is_slow = self.overruns >= MOST_OVERRUNS;
        let lasting = trouble.or(late.filter(|_| is_slow));
        let finding = Finding::sweep_missed(&self.name, lasting.as_deref().unwrap_or_default(), now);
        shared.desk.report(finding, lasting.is_some(), None, now);
    }

    /// Notes what a sweep has come to, and what is worth a second look.
    fn note(&mut self, cycled: &Cycled, took: Duration) {
        let (shared, verdict) = (self.shared, cycled.verdict);
        tracing::info!(watch = %self.name, ?verdict, ?took, changed = cycled.changed.len(), "swept");
        if verdict != Verdict::Complete {
            tracing::warn!(watch = %self.name, ?verdict, "the sweep did not see everything");
        }
        shared.note_scope(&self.name, cycled.scope.clone());
        self.rechecks.extend(Recheck::of(cycled, shared));
    }

    /// Takes the second looks that are due.
    fn recheck(&mut self) {
        let now = self.shared.time.since_boot();
        let all = std::mem::take(&mut self.rechecks);
        let (due, later): (Vec<Recheck>, _) = all.into_iter().partition(|recheck| recheck.due <= now);
        self.rechecks = later;
        for recheck in due {
            recheck.take(self.shared, &self.shared.stop);
        }
    }
}

impl Agenda {
    /// The agenda of a watch, which goes on where the last one ended: before the daemon was started anew.
    fn of(shared: &Shared, watch: &WatchConfig) -> Self {
        let last = last_started(&shared.desk, &watch.name);
        let (wall, since_boot) = (shared.time.wall(), shared.time.since_boot());
        match &watch.schedule {
            Schedule::Every { interval } => {
                let passed = last.map(|last| wall.duration_since(last)).filter(|d| !d.is_negative());
                let left = passed.map(|passed| interval.saturating_sub(passed.unsigned_abs()));
                Agenda::Beat(Beat::new(*interval, since_boot + left.unwrap_or(Duration::ZERO)))
            }
            Schedule::Cron { cron, zone } => {
                Agenda::Calendar(Box::new(Calendar::new((**cron).clone(), zone.clone(), last, wall)))
            }
        }
    }

    /// How long until the next sweep. A sweep is put off from the first due time that has passed without one: from the
    /// last, a jitter that is longer than the due times are apart would put it off for ever.
    fn left(&mut self, time: &Time, jitter: Duration) -> Duration {
        let due = match self {
            Agenda::Beat(beat) => return (beat.next() + jitter).saturating_sub(time.since_boot()),
            Agenda::Calendar(calendar) => calendar.due(time.wall()),
        };
        match due {
            Due::Now { since, .. } => {
                let late = time.wall().duration_since(since);
                let late = if late.is_negative() { Duration::ZERO } else { late.unsigned_abs() };
                jitter.saturating_sub(late)
            }
            Due::Later(at) => {
                let left = at.duration_since(time.wall()).unsigned_abs();
                left.clamp(Duration::from_millis(1), LOOK)
            }
            Due::Never => LOOK,
        }
    }

    /// Notes that a sweep begins, and says how many due times before it have passed without one.
    fn begin(&mut self, time: &Time) -> u32 {
        match self {
            Agenda::Beat(beat) => beat.begin(time.since_boot()),
            Agenda::Calendar(calendar) => match calendar.due(time.wall()) {
                Due::Now { at, missed, .. } => {
                    calendar.begin(at);
                    missed
                }
                _ => 0,
            },
        }
    }

    /// Leaves out what was due while a sweep was made, and says how much that was.
    fn skip(&mut self, time: &Time) -> u32 {
        match self {
            Agenda::Beat(beat) => beat.skip(time.since_boot()),
            Agenda::Calendar(calendar) => match calendar.due(time.wall()) {
                Due::Now { at, missed, .. } => {
                    calendar.begin(at);
                    missed + 1
                }
                _ => 0,
            },
        }
    }
}

/// A random part of a length of time.
fn jitter(most: Duration) -> Duration {
    let mut bytes = [0; 4];
    if most.is_zero() || getrandom::fill(&mut bytes).is_err() {
        return Duration::ZERO;
    }
    most.mul_f64(f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use jiff::tz::TimeZone;
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::watch::time::TimeSource;

    /// A clock that is turned by hand.
    #[derive(Clone, Default)]
    struct Hands(Arc<Mutex<Duration>>);

    impl TimeSource for Hands {
        fn wall(&self) -> Timestamp {
            let begin: Timestamp = "2026-06-01T00:00:30Z".parse().expect("a time");
            begin + SignedDuration::try_from(self.since_boot()).expect("a length of time")
        }

        fn since_boot(&self) -> Duration {
            *self.0.lock().expect("a clock")
        }
    }

    #[test]
    fn a_jitter_longer_than_the_due_times_are_apart_puts_no_sweep_off_for_ever() {
        let hands = Hands::default();
        let time = Time::new(Box::new(hands.clone()));
        let cron = "* * * * *".parse().expect("a cron expression");
        let calendar = Calendar::new(cron, TimeZone::UTC, None, time.wall());
        let mut agenda = Agenda::Calendar(Box::new(calendar));
        let mut swept = Vec::new();
        for second in 0..1800 {
            if agenda.left(&time, Duration::from_secs(600)).is_zero() {
                agenda.begin(&time);
                swept.push(second);
            }
            *hands.0.lock().expect("a clock") += Duration::from_secs(1);
        }
        // Ten minutes after the first due time without a sweep: that is half a minute after the beginning, and a minute
        // after the run.
        assert_eq!(swept, [630, 1290]);
    }
}
