//! Who is told of what: once each time an alert fires, and once when it no longer does.
//!
//! Events are told of everything. People are told by comparing what they have been told with how things are: an alert
//! that fires while they are not to be disturbed is told when the silence ends, if it still fires then, and is never
//! told if it does not; one that they have been told of is always told to be over.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::advance::{Judgement, Mint, Patience};
use super::book::{Audience, Book, Word};
use super::life::{Acknowledgement, Alert, Annotation, Phase, Resolution};
use super::notice::{SweepRef, Transition};
use super::record::{Record, Told};
use super::rules::AlertRules;
use crate::policy::class::Class;
use crate::policy::finding::{Finding, Fingerprint};
use crate::policy::kind::FindingKind;

/// Says why nobody is to be disturbed by an alert, if nobody is.
pub type Mute<'a> = &'a dyn Fn(&Alert) -> Option<String>;

/// What has happened to alerts, in order.
pub type Happened = Vec<(Fingerprint, Transition)>;

/// What telling depends on.
#[derive(Clone, Copy)]
pub struct Telling<'a> {
    /// What the operator has said.
    pub rules: &'a AlertRules,
    /// Who is not to be disturbed.
    pub mute: Mute<'a>,
    /// The sweep that has shown it, where one has.
    pub sweep: Option<&'a SweepRef>,
    /// The time.
    pub now: Timestamp,
}

/// Says what has happened, tells people what they have not been told, and reminds them of the rest.
pub fn tell(book: &mut Book, happened: &Happened, telling: &Telling<'_>, mint: Mint<'_>) -> Vec<Word> {
    note_mutes(book, telling);
    let mut words = Vec::new();
    for (fingerprint, transition) in happened {
        let Some(record) = book.get(fingerprint) else { continue };
        let (told, muted) = (record.told, record.alert.muted.is_some());
        let audience = match transition {
            // Decided below, by how things are.
            Transition::Firing | Transition::FlappingStarted if told == Told::No => Audience::Events,
            Transition::Resolved | Transition::FlappingEnded if told != Told::No => Audience::Everybody,
            Transition::Annotated if record.alert.annotation == Some(Annotation::Confirmed) => {
                Audience::Events
            }
            _ if told != Told::No && !muted => Audience::Everybody,
            _ => Audience::Events,
        };
        let in_storm = told == Told::Storm;
        let notice = book.notice(fingerprint, *transition, telling.sweep, telling.now, mint);
        words.extend(notice.map(|notice| Word { notice, audience, in_storm }));
        if record_is_over(book, fingerprint) {
            book.change(fingerprint, |record| (record.told, record.remind_at) = (Told::No, None));
        }
    }
    tell_people(book, &mut words, telling, mint);
    words.extend(reminders(book, telling, mint));
    words
}

/// Whether people are no longer waiting for a word on it.
fn record_is_over(book: &Book, fingerprint: &Fingerprint) -> bool {
    book.get(fingerprint)
        .is_some_and(|record| record.alert.state == Phase::Resolved && record.told != Told::No)
}

/// Writes into each alert whether anybody may be disturbed by it now.
fn note_mutes(book: &mut Book, telling: &Telling<'_>) {
    let changed: Vec<(Fingerprint, Option<String>)> = book
        .records()
        .filter(|record| record.alert.state == Phase::Firing)
        .map(|record| (record, (telling.mute)(&record.alert)))
        .filter(|(record, muted)| record.alert.muted != *muted)
        .map(|(record, muted)| (record.alert.finding.fingerprint.clone(), muted))
        .collect();
    for (fingerprint, muted) in changed {
        book.change(&fingerprint, |record| record.alert.muted = muted);
    }
}

/// Tells people of everything that fires and that they have not been told of; many at once by one message.
fn tell_people(book: &mut Book, words: &mut Vec<Word>, telling: &Telling<'_>, mint: Mint<'_>) {
    let is_untold = |record: &&Record| {
        record.alert.state == Phase::Firing
            && record.told == Told::No
            && record.alert.muted.is_none()
            && record.alert.finding.kind != FindingKind::Storm
    };
    let mut untold: BTreeMap<Class, Vec<Fingerprint>> = BTreeMap::new();
    for record in book.records().filter(is_untold) {
        let fingerprint = record.alert.finding.fingerprint.clone();
        untold.entry(record.alert.class.clone()).or_default().push(fingerprint);
    }
    let remind_at = next_reminder(telling.rules, telling.now);
    let begins =
        |word: &Word| matches!(word.notice.transition, Transition::Firing | Transition::FlappingStarted);
    // What events are told of an alert is told to people too, so that both have one identifier.
    let said: BTreeMap<Fingerprint, usize> = (0..)
        .zip(&*words)
        .filter(|(_, word)| begins(word))
        .map(|(at, word)| (word.notice.alert.finding.fingerprint.clone(), at))
        .collect();
    let mut stormy = Vec::new();
    for (class, fingerprints) in untold {
        let is_storm = fingerprints.len() > telling.rules.storm_above as usize;
        let told = if is_storm { Told::Storm } else { Told::Each };
        for fingerprint in &fingerprints {
            book.change(fingerprint, |record| {
                record.told = told;
                // The storm reminds of its own.
                record.remind_at = remind_at.filter(|_| !is_storm);
            });
            match said.get(fingerprint).and_then(|at| words.get_mut(*at)) {
                Some(word) => (word.audience, word.in_storm) = (Audience::Everybody, is_storm),
                None => {
                    let notice =
                        book.notice(fingerprint, Transition::Firing, telling.sweep, telling.now, mint);
                    let say = |notice| Word { notice, audience: Audience::People, in_storm: is_storm };
                    words.extend(notice.map(say));
                }
            }
        }
        if is_storm {
            stormy.push(class);
        }
    }
    tell_storms(book, &stormy, words, telling, mint);
}

/// Begins a storm for each class that has one now, goes on with those that have not ended, and ends the others.
fn tell_storms(
    book: &mut Book,
    stormy: &[Class],
    words: &mut Vec<Word>,
    telling: &Telling<'_>,
    mint: Mint<'_>,
) {
    // A storm that nothing is left of has ended, and is told of as well.
    let is_storm = |record: &&Record| {
        record.alert.finding.kind == FindingKind::Storm && record.alert.state == Phase::Firing
    };
    let going_on = book.records().filter(is_storm).map(|record| &record.alert.class);
    let classes: BTreeSet<&Class> = stormy.iter().chain(going_on).collect();
    let judge = |class: &Class| {
        let found: Vec<&Finding> = book.in_storm(class).map(|alert| &alert.finding).collect();
        let finding = Finding::storm(class, &found, telling.now);
        let holds = if found.is_empty() { Err(Resolution::Seen) } else { Ok(()) };
        let class = class.clone();
        (Judgement { finding, class, holds, patience: Patience::NONE }, found.len())
    };
    let judgements: Vec<(Judgement, usize)> = classes.into_iter().map(judge).collect();
    for (judgement, count) in judgements {
        let fingerprint = judgement.finding.fingerprint.clone();
        let transition = book.advance(&judgement, telling.rules, telling.now, mint);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if book.get(&fingerprint).is_some_and(|record| record.alert.members != count) {
            book.change(&fingerprint, |record| record.alert.members = count);
        }
        // More of the same, and again too many at once: that is told too.
        let grown = stormy.contains(&judgement.class).then_some(Transition::Escalated);
        words.extend(tell_storm(book, &fingerprint, transition.or(grown), telling, mint));
    }
}

/// Tells of one storm, as of any alert: people are left alone while it is muted, are told afterwards if it still goes
/// on, and of its end if they have been told of it.
fn tell_storm(
    book: &mut Book,
    fingerprint: &Fingerprint,
    transition: Option<Transition>,
    telling: &Telling<'_>,
    mint: Mint<'_>,
) -> Option<Word> {
    let record = book.get(fingerprint)?;
    let fires = record.alert.state == Phase::Firing;
    let muted = (telling.mute)(&record.alert).filter(|_| fires);
    let (is_known, may_disturb) = (record.told != Told::No, muted.is_none());
    let is_due = fires && !is_known && may_disturb;
    let told = if fires && (is_known || may_disturb) { Told::Each } else { Told::No };
    let audience = match transition {
        None => Audience::People,
        Some(_) if is_due || is_known && (may_disturb || !fires) => Audience::Everybody,
        Some(_) => Audience::Events,
    };
    let transition = transition.or(is_due.then_some(Transition::Firing))?;
    let remind_at = next_reminder(telling.rules, telling.now).filter(|_| told != Told::No);
    book.change(fingerprint, |record| {
        (record.told, record.remind_at, record.alert.muted) = (told, remind_at, muted);
    });
    let notice = book.notice(fingerprint, transition, telling.sweep, telling.now, mint)?;
    Some(Word { notice, audience, in_storm: false })
}

fn next_reminder(rules: &AlertRules, now: Timestamp) -> Option<Timestamp> {
    let every = SignedDuration::try_from(rules.remind_every?).ok()?;
    now.checked_add(every).ok()
}

/// Reminds people of what goes on, and that nobody has taken on.
fn reminders(book: &mut Book, telling: &Telling<'_>, mint: Mint<'_>) -> Vec<Word> {
    let is_due = |record: &&Record| {
        record.alert.state == Phase::Firing
            && record.told != Told::No
            && record.alert.acknowledged.is_none()
            && record.alert.muted.is_none()
            && record.remind_at.is_some_and(|at| at <= telling.now)
    };
    let due: Vec<Fingerprint> =
        book.records().filter(is_due).map(|record| record.alert.finding.fingerprint.clone()).collect();
    let mut words = Vec::new();
    for fingerprint in due {
        book.change(&fingerprint, |record| record.remind_at = next_reminder(telling.rules, telling.now));
        let notice = book.notice(&fingerprint, Transition::Reminder, None, telling.now, mint);
        words.extend(notice.map(|notice| Word { notice, audience: Audience::People, in_storm: false }));
    }
    words
}

/// Has people told anew of what fires where none of the sinks that have heard of it is there any longer.
pub fn tell_anew(book: &mut Book, is_sink: &dyn Fn(&str) -> bool) {
    let is_unheard = |record: &&Record| {
        record.alert.state == Phase::Firing
            && record.told != Told::No
            && !record.heard.is_empty()
            && !record.heard.iter().any(|sink| is_sink(sink))
    };
    let unheard: Vec<Fingerprint> =
        book.records().filter(is_unheard).map(|record| record.alert.finding.fingerprint.clone()).collect();
    for fingerprint in unheard {
        book.change(&fingerprint, |record| {
            record.told = Told::No;
            record.heard.clear();
        });
    }
}

/// Notes that somebody has taken an alert on; `None` where it does not fire.
pub fn acknowledge(book: &mut Book, fingerprint: &Fingerprint, by: Acknowledgement) -> Option<Happened> {
    book.get(fingerprint).filter(|record| record.alert.state == Phase::Firing)?;
    book.change(fingerprint, |record| record.alert.acknowledged = Some(by));
    Some(vec![(fingerprint.clone(), Transition::Acknowledged)])
}

/// Notes that nobody has an alert any longer; `None` where nobody had, or where it does not fire. Reminders begin anew.
pub fn give_back(
    book: &mut Book,
    fingerprint: &Fingerprint,
    rules: &AlertRules,
    now: Timestamp,
) -> Option<Happened> {
    let is_taken =
        |record: &&Record| record.alert.state == Phase::Firing && record.alert.acknowledged.is_some();
    book.get(fingerprint).filter(is_taken)?;
    let remind_at = next_reminder(rules, now);
    book.change(fingerprint, |record| {
        record.alert.acknowledged = None;
        // The storm reminds of its own.
        record.remind_at = remind_at.filter(|_| record.told == Told::Each);
    });
    Some(vec![(fingerprint.clone(), Transition::Unacknowledged)])
}

/// Notes what a second look has shown; nothing where that is known, or the alert no longer fires.
pub fn annotate(book: &mut Book, fingerprint: &Fingerprint, shown: Annotation) -> Happened {
    let is_new =
        |record: &&Record| record.alert.state == Phase::Firing && record.alert.annotation != Some(shown);
    if book.get(fingerprint).filter(is_new).is_none() {
        return Happened::new();
    }
    book.change(fingerprint, |record| record.alert.annotation = Some(shown));
    vec![(fingerprint.clone(), Transition::Annotated)]
}
