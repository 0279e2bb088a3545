//! What should be in the database and is not, because it cannot be written: alerts that changed, messages, and what
//! became of messages. It is delivered from here, and written when that is possible again.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use ulid::Ulid;

use super::desk::{Change, Parcel, post, work};
use super::standing::Standing;
use crate::alert::advance::{Judgement, Mint, Patience};
use crate::alert::book::Book;
use crate::alert::judge;
use crate::alert::life::Resolution;
use crate::alert::record::Record;
use crate::alert::silence::Silence;
use crate::policy::finding::{Finding, Fingerprint};
use crate::sink::message::Message;
use crate::store::Transaction;
use crate::store::error::StoreError;
use crate::store::outbox::Row;

/// Events, which are about no alert, are kept up to this many: they come with every sweep, for as long as it lasts.
const MOST_EVENTS: usize = 1000;

/// A message, and the sinks that it is for.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The message.
    pub message: Message,
    /// The sinks.
    pub sinks: Vec<String>,
}

/// What names a message while it is delivered.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Ticket {
    /// A row of the database.
    Row(Row),
    /// A letter that is in no database.
    Letter(Ulid),
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// It is tried again then.
    Retry {
        /// Why.
        why: String,
        /// When.
        due: Timestamp,
    },
    /// It is given up.
    Dead {
        /// Why.
        why: String,
    },
}

/// What is not in the database.
#[derive(Debug, Default)]
pub struct Afloat {
    /// Why the database cannot be written, if it cannot.
    trouble: Option<String>,
    changed: BTreeMap<Fingerprint, Record>,
    letters: Vec<Floating>,
    events: usize,
    held: HashMap<(String, Row), Held>,
}

#[derive(Debug)]
struct Floating {
    letter: Letter,
    since: Timestamp,
    /// What became of it, sink by sink; a sink that is not here has not been tried.
    outcomes: BTreeMap<String, (u32, Outcome)>,
}

#[derive(Debug)]
struct Held {
    attempts: u32,
    outcome: Outcome,
}

impl Afloat {
    /// Whether there is anything, or the last attempt to write has failed.
    pub fn is_any(&self) -> bool {
        self.trouble.is_some() || !self.held.is_empty()
    }

    /// Why the database cannot be written, if it cannot.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// When it still cannot be written.
    pub fn write(&self, tx: &Transaction<'_>, now: Timestamp) -> Result<(), StoreError> {
        let held: Vec<(Row, Outcome)> =
            self.held.iter().map(|((_, row), held)| (*row, held.outcome.clone())).collect();
        settle_rows(tx, &held, now)?;
        for record in self.changed.values() {
            tx.save(record)?;
        }
        for floating in &self.letters {
            post(tx, std::slice::from_ref(&floating.letter))?;
            for (sink, (_, outcome)) in &floating.outcomes {
                if let Some(row) = tx.row_of(sink, floating.letter.message.id())? {
                    settle_rows(tx, &[(row, outcome.clone())], now)?;
                }
            }
        }
        Ok(())
    }

    /// It has been written.
    pub fn written(&mut self) {
        *self = Afloat::default();
    }

    /// Keeps what has changed in a book, and what is to be said of that.
    pub fn keep(&mut self, book: &Book, letters: impl Iterator<Item = Letter>, now: Timestamp) {
        for record in book.changed() {
            self.changed.insert(record.alert.finding.fingerprint.clone(), record.clone());
        }
        for letter in letters {
            if matches!(letter.message, Message::Event(_)) {
                if self.events >= MOST_EVENTS {
                    tracing::warn!(
                        event = letter.message.key(),
                        "an event is lost: too many wait for the database"
                    );
                    continue;
                }
                self.events += 1;
            }
            self.letters.push(Floating { letter, since: now, outcomes: BTreeMap::new() });
        }
    }

    /// Notes that the database cannot be written, and what is to be said of that the first time.
    pub fn begin_of_trouble(
        &mut self,
        error: &StoreError,
        book: &mut Book,
        standing: &Standing,
        silences: &[Silence],
        now: Timestamp,
    ) -> Vec<Letter> {
        let is_first = self.trouble.is_none();
        self.trouble = Some(error.to_string());
        if !is_first {
            return Vec::new();
        }
        say(Finding::store_failed(&error.to_string(), now), Ok(()), book, standing, silences, now)
    }

    /// What is to be said when it can be written again.
    pub fn end_of_trouble(
        &self,
        book: &mut Book,
        standing: &Standing,
        silences: &[Silence],
        now: Timestamp,
    ) -> Vec<Letter> {
        let Some(why) = &self.trouble else { return Vec::new() };
        say(Finding::store_failed(why, now), Err(Resolution::Seen), book, standing, silences, now)
    }

    /// What is to be delivered from here to a sink.
    pub fn parcels(&self, sink: &str, now: Timestamp, limit: usize) -> Vec<Parcel> {
        let mut waiting = Vec::new();
        let mut parcels = Vec::new();
        for floating in &self.letters {
            if parcels.len() == limit {
                break;
            }
            let key = floating.letter.message.key();
            let attempts = match floating.outcomes.get(sink) {
                _ if !floating.letter.sinks.iter().any(|other| other == sink) => continue,
                Some((_, Outcome::Delivered | Outcome::Dead { .. })) => continue,
                // Nothing overtakes what has the same key.
                Some((_, Outcome::Retry { due, .. })) if *due > now || waiting.contains(&key) => {
                    waiting.push(key);
                    continue;
                }
                Some((attempts, _)) => *attempts,
                None if waiting.contains(&key) => continue,
                None => 0,
            };
            parcels.push(Parcel {
                ticket: Ticket::Letter(floating.letter.message.id()),
                message: Ok(floating.letter.message.clone()),
                attempts,
                since: floating.since,
            });
        }
        parcels
    }

    /// When the next of these is due for a sink.
    pub fn next_due(&self, sink: &str) -> Option<Timestamp> {
        let mine = self.letters.iter().filter(|floating| floating.letter.sinks.iter().any(|s| s == sink));
        mine.filter_map(|floating| match floating.outcomes.get(sink) {
            None => Some(floating.since),
            Some((_, Outcome::Retry { due, .. })) => Some(*due),
            Some(_) => None,
        })
        .min()
    }

    /// Notes what became of a letter.
    pub fn settle_letter(&mut self, sink: &str, id: Ulid, outcome: Outcome) {
        let found = self.letters.iter_mut().find(|floating| floating.letter.message.id() == id);
        if let Some(floating) = found {
            let tried = floating.outcomes.get(sink).map_or(0, |(attempts, _)| *attempts);
            floating.outcomes.insert(sink.to_owned(), (tried + 1, outcome));
        }
    }

    /// Keeps what became of rows.
    pub fn hold(&mut self, sink: &str, rows: Vec<(Row, Outcome)>) {
        for (row, outcome) in rows {
            let held = self.held.entry((sink.to_owned(), row));
            let held = held.or_insert(Held { attempts: 0, outcome: outcome.clone() });
            held.attempts += 1;
            held.outcome = outcome;
        }
    }

    /// How many rows of a sink have been settled without being noted.
    pub fn settled(&self, sink: &str) -> usize {
        self.held.keys().filter(|(name, _)| name == sink).count()
    }

    /// Whether a row that the database offers is not to be delivered now.
    pub fn holds_back(&self, sink: &str, row: Row, now: Timestamp) -> bool {
        self.held.get(&(sink.to_owned(), row)).is_some_and(|held| match &held.outcome {
            Outcome::Delivered | Outcome::Dead { .. } => true,
            Outcome::Retry { due, .. } => *due > now,
        })
    }

    /// Whether a row that the database still has is over: delivered, or given up.
    pub fn is_settled(&self, sink: &str, row: Row) -> bool {
        let held = self.held.get(&(sink.to_owned(), row));
        held.is_some_and(|held| matches!(held.outcome, Outcome::Delivered | Outcome::Dead { .. }))
    }

    /// How often a row has been tried without that being noted.
    pub fn attempts(&self, sink: &str, row: Row) -> u32 {
        self.held.get(&(sink.to_owned(), row)).map_or(0, |held| held.attempts)
    }

    /// The clock has been set.
    pub fn shift(&mut self, by: SignedDuration) {
        let shift = |outcome: &mut Outcome| {
            if let Outcome::Retry { due, .. } = outcome {
                *due = due.checked_add(by).unwrap_or(*due);
            }
        };
        self.held.values_mut().for_each(|held| shift(&mut held.outcome));
        for floating in &mut self.letters {
            floating.outcomes.values_mut().for_each(|(_, outcome)| shift(outcome));
        }
    }
}

/// Writes what became of rows.
///
/// # Errors
/// When it cannot be written.
pub fn settle_rows(tx: &Transaction<'_>, rows: &[(Row, Outcome)], now: Timestamp) -> Result<(), StoreError> {
    for (row, outcome) in rows {
        match outcome {
            Outcome::Delivered => tx.delivered(&[*row], now)?,
            Outcome::Retry { why, due } => tx.retry(*row, why, *due)?,
            Outcome::Dead { why } => tx.dead(*row, why, now)?,
        }
    }
    Ok(())
}

/// Says that the database cannot be written, or can be again.
fn say(
    finding: Finding,
    holds: Result<(), Resolution>,
    book: &mut Book,
    standing: &Standing,
    silences: &[Silence],
    now: Timestamp,
) -> Vec<Letter> {
    let judgement = Judgement { class: finding.kind.class(), finding, holds, patience: Patience::NONE };
    let step = |book: &mut Book, mint: Mint<'_>| {
        judge::step(book, std::slice::from_ref(&judgement), &standing.rules, now, mint)
    };
    work(book, &Change::of(&step), standing, silences, now)
}
