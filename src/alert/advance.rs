//! One step in the life of one alert.

use jiff::Timestamp;
use ulid::Ulid;

use super::life::{Alert, Phase, Resolution};
use super::notice::Transition;
use super::record::{Record, Tally};
use super::rules::AlertRules;
use crate::policy::class::Class;
use crate::policy::finding::Finding;

/// What is to be said of one alert now.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// What it is about, as it looks now.
    pub finding: Finding,
    /// Who is to hear of it.
    pub class: Class,
    /// Whether it holds, or why it does not.
    pub holds: Result<(), Resolution>,
    /// How often it must hold, and fail to hold, before that counts.
    pub patience: Patience,
}

/// How often something must be seen before it counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Patience {
    /// Failures in a row before it fires.
    pub failures: u32,
    /// Successes in a row before it is resolved.
    pub recoveries: u32,
    /// Whether too many changes are an alert of their own.
    pub flaps: bool,
}

impl Patience {
    /// None: the first sight counts.
    pub const NONE: Patience = Patience { failures: 1, recoveries: 1, flaps: false };
}

/// Gives identifiers, each only once. Drivers make them of the time and of chance, tests count.
pub type Mint<'a> = &'a mut dyn FnMut() -> Ulid;

/// An alert after a judgement, and what has happened to it by that.
#[derive(Clone, Debug, PartialEq)]
pub struct Advanced {
    /// The alert; `None` where there is nothing to remember.
    pub record: Option<Record>,
    /// What has happened.
    pub transition: Option<Transition>,
}

/// Takes an alert one step further.
pub fn advance(
    known: Option<Record>,
    judgement: &Judgement,
    rules: &AlertRules,
    now: Timestamp,
    mint: Mint<'_>,
) -> Advanced {
    let Some(mut record) = begin(known, judgement, now, mint) else {
        return Advanced { record: None, transition: None };
    };
    let (was, before) = (record.alert.state, record.alert.finding.severity);
    let flapped = record.alert.flapping;
    match judgement.holds {
        Ok(()) => hold(&mut record.alert, &mut record.tally, judgement, now),
        Err(why) => fail_to_hold(&mut record.alert, &mut record.tally, judgement, why, now),
    }
    if judgement.patience.flaps {
        // What has gone for good cannot flap.
        let is_gone = judgement.holds.is_err_and(|why| why != Resolution::Seen);
        record.tally.judge(judgement.holds.is_err(), rules.flap_window);
        let flips = record.tally.flips(rules.flap_window);
        record.alert.flapping = match record.alert.flapping {
            true => !is_gone && flips > u32::from(rules.flap_flips / 2),
            false => !is_gone && flips >= u32::from(rules.flap_flips),
        };
    }
    settle(&mut record.alert, record.tally, judgement, flapped, now);
    // What has been as bad before, and was better meanwhile, is no news.
    let worst = Some(record.worst.unwrap_or(before)).filter(|_| was == Phase::Firing);
    let severity = record.alert.finding.severity;
    record.worst =
        (record.alert.state == Phase::Firing).then(|| worst.map_or(severity, |worst| worst.max(severity)));
    let transition = match (flapped, record.alert.flapping, was, record.alert.state) {
        (false, true, ..) => Some(Transition::FlappingStarted),
        (true, false, ..) => Some(Transition::FlappingEnded),
        (true, true, ..) => None,
        (.., Phase::Firing, Phase::Resolved) => Some(Transition::Resolved),
        (.., Phase::Firing, Phase::Firing) => (record.worst > worst).then_some(Transition::Escalated),
        (.., Phase::Firing) => Some(Transition::Firing),
        _ => None,
    };
    let is_idle = record.alert.state == Phase::Resolved && transition.is_none() && record.tally.is_clean();
    let record = (!is_idle || record.alert.fired_at.is_some()).then_some(record);
    Advanced { record, transition }
}

/// The alert that the judgement is about; a new one where there is none, or where the last one is over.
fn begin(known: Option<Record>, judgement: &Judgement, now: Timestamp, mint: Mint<'_>) -> Option<Record> {
    let (tally, is_over) = match &known {
        Some(record) => (record.tally, record.alert.state == Phase::Resolved),
        None => (Tally::default(), true),
    };
    if !is_over || judgement.holds.is_err() {
        return known;
    }
    let alert = Alert::pending(judgement.finding.clone(), judgement.class.clone(), mint(), now);
    Some(Record { tally, ..Record::new(alert) })
}

fn hold(alert: &mut Alert, tally: &mut Tally, judgement: &Judgement, now: Timestamp) {
    tally.recoveries = 0;
    alert.failures = alert.failures.saturating_add(1);
    let first_seen = alert.finding.first_seen;
    alert.finding = Finding { first_seen, last_seen: now, ..judgement.finding.clone() };
    alert.class = judgement.class.clone();
}

fn fail_to_hold(
    alert: &mut Alert,
    tally: &mut Tally,
    judgement: &Judgement,
    why: Resolution,
    now: Timestamp,
) {
    if alert.state != Phase::Resolved {
        tally.recoveries = tally.recoveries.saturating_add(1);
    }
    let is_enough = tally.recoveries >= judgement.patience.recoveries || why != Resolution::Seen;
    match alert.state {
        Phase::Firing if is_enough && !alert.flapping => resolve(alert, why, now),
        Phase::Firing | Phase::Resolved => {}
        Phase::Pending => {
            alert.state = Phase::Resolved;
            alert.since = now;
        }
    }
    alert.failures = 0;
}

/// Lets an alert fire that has been seen often enough, and ends one that flapped and is well again.
fn settle(alert: &mut Alert, tally: Tally, judgement: &Judgement, flapped: bool, now: Timestamp) {
    let is_enough = alert.failures >= judgement.patience.failures;
    if alert.state != Phase::Firing && (alert.flapping || (alert.state == Phase::Pending && is_enough)) {
        alert.state = Phase::Firing;
        alert.since = now;
        alert.fired_at = Some(now);
        alert.resolution = None;
    }
    if flapped && !alert.flapping {
        let why = judgement.holds.err();
        let is_well = tally.recoveries >= judgement.patience.recoveries;
        if let Some(why) = why.filter(|why| is_well || *why != Resolution::Seen) {
            resolve(alert, why, now);
        }
    }
}

fn resolve(alert: &mut Alert, why: Resolution, now: Timestamp) {
    alert.state = Phase::Resolved;
    alert.since = now;
    alert.resolution = Some(why);
}

impl Tally {
    /// Notes one more judgement.
    fn judge(&mut self, is_well: bool, window: u8) {
        self.history = self.history << 1 | u32::from(!is_well);
        self.judged = self.judged.saturating_add(1).min(window);
        if self.judged < 32 {
            self.history &= (1 << self.judged) - 1;
        }
    }

    /// How often the judgement has changed within the window. What was before the first failure was well.
    fn flips(self, window: u8) -> u32 {
        let judged = u32::from(self.judged.min(window).min(32));
        let older = if judged < u32::from(window) { judged } else { judged.saturating_sub(1) };
        let pairs = if older == 0 { 0 } else { u32::MAX >> (32 - older) };
        ((self.history ^ self.history >> 1) & pairs).count_ones()
    }

    /// Whether there is nothing in it that could come to matter.
    pub fn is_clean(self) -> bool {
        self.history == 0
    }
}
