//! The alerts while they are worked on: what is known of each, and which of them have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::advance::{Judgement, Mint, advance};
use super::life::{Alert, Phase};
use super::notice::{Notice, SweepRef, Transition};
use super::record::{Record, Told};
use super::rules::AlertRules;
use crate::policy::class::Class;
use crate::policy::finding::Fingerprint;

/// How long a firing alert's last sight may be ahead of what is kept of it: ten thousand alerts that only go on are
/// not worth ten thousand writes a minute.
const LAST_SEEN_GRAIN: Duration = Duration::from_secs(300);

/// The alerts of a store, taken out to be worked on.
#[derive(Clone, Debug, Default)]
pub struct Book {
    records: BTreeMap<Fingerprint, Record>,
    changed: BTreeSet<Fingerprint>,
}

/// What has happened to an alert and to whom it is to be said.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// What is said.
    pub notice: Notice,
    /// To whom.
    pub audience: Audience,
    /// Whether people have been or will be told by one message about many, so that only those who want to hear of each
    /// alert hear this.
    pub in_storm: bool,
}

/// To whom a word is said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Audience {
    /// To people, and to whatever records events.
    Everybody,
    /// To people, because events have told it before.
    People,
    /// To whatever records events.
    Events,
}

impl Book {
    /// A book of these alerts.
    pub fn new(records: Vec<Record>) -> Self {
        let keyed = records.into_iter().map(|record| (record.alert.finding.fingerprint.clone(), record));
        Book { records: keyed.collect(), changed: BTreeSet::new() }
    }

    /// Every alert.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// One alert.
    pub fn get(&self, fingerprint: &Fingerprint) -> Option<&Record> {
        self.records.get(fingerprint)
    }

    /// What has changed since the book was made.
    pub fn changed(&self) -> impl Iterator<Item = &Record> {
        self.changed.iter().filter_map(|fingerprint| self.records.get(fingerprint))
    }

    /// From now on nothing has changed.
    pub fn close(&mut self) {
        self.changed.clear();
    }

    /// Notes which sinks of people are told this. Whoever has been told that it is over has heard nothing.
    pub fn note_heard(&mut self, word: &Word, people: BTreeSet<String>) {
        let alert = &word.notice.alert;
        let fingerprint = &alert.finding.fingerprint;
        let is_over = alert.state == Phase::Resolved;
        let is_known = |record: &Record| match is_over {
            true => record.heard.is_empty(),
            false => people.is_subset(&record.heard),
        };
        if self.get(fingerprint).is_none_or(is_known) {
            return;
        }
        self.change(fingerprint, |record| match is_over {
            true => record.heard.clear(),
            false => record.heard.extend(people),
        });
    }

    /// The alerts of a class that people have been told of by the one message about a storm, and that go on.
    pub fn in_storm(&self, class: &Class) -> impl Iterator<Item = &Alert> {
        let is_meant = move |record: &&Record| {
            record.told == Told::Storm && record.alert.state == Phase::Firing && record.alert.class == *class
        };
        self.records().filter(is_meant).map(|record| &record.alert)
    }

    /// Changes one alert, and notes that.
    pub(super) fn change(&mut self, fingerprint: &Fingerprint, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.records.get_mut(fingerprint) {
            change(record);
            self.changed.insert(fingerprint.clone());
        }
    }

    /// Takes the alert that a judgement is about one step further; gives what has happened.
    pub(super) fn advance(
        &mut self,
        judgement: &Judgement,
        rules: &AlertRules,
        now: Timestamp,
        mint: Mint<'_>,
    ) -> Option<Transition> {
        let fingerprint = &judgement.finding.fingerprint;
        let known = self.records.get(fingerprint).cloned();
        let advanced = advance(known.clone(), judgement, rules, now, mint);
        let has_changed = match (&known, &advanced.record) {
            (Some(old), Some(new)) => is_worth_keeping(old, new),
            (None, None) => false,
            _ => true,
        };
        if let Some(record) = advanced.record {
            // What has not changed enough to be kept is still compared with what is kept.
            if has_changed {
                self.records.insert(fingerprint.clone(), record);
            }
        } else if let Some(record) = self.records.get_mut(fingerprint) {
            record.alert.state = Phase::Resolved;
            record.tally = super::record::Tally::default();
        }
        if has_changed {
            self.changed.insert(fingerprint.clone());
        }
        advanced.transition
    }

    /// A notice of an alert as it is now.
    pub(super) fn notice(
        &self,
        fingerprint: &Fingerprint,
        transition: Transition,
        sweep: Option<&SweepRef>,
        now: Timestamp,
        mint: Mint<'_>,
    ) -> Option<Notice> {
        let alert = self.records.get(fingerprint)?.alert.clone();
        Some(Notice { id: mint(), time: now, transition, sweep: sweep.cloned(), alert })
    }
}

fn is_worth_keeping(old: &Record, new: &Record) -> bool {
    let (before, after) = (old.alert.finding.last_seen, new.alert.finding.last_seen);
    if after.duration_since(before).unsigned_abs() >= LAST_SEEN_GRAIN {
        return true;
    }
    let mut same = new.clone();
    same.alert.finding.last_seen = before;
    // How often in a row something has been seen that fires long since is of no use either.
    if old.alert.state == Phase::Firing && new.alert.state == Phase::Firing {
        same.alert.failures = old.alert.failures;
    }
    same != *old
}
