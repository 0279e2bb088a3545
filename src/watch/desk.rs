//! The desk, where everything comes together that changes alerts: sweeps, people, the clock, failed deliveries.
//!
//! Each change is one transaction: what was observed, what became of alerts, what is to be said to whom. Where the
//! database cannot be written, alerts do not wait for it: the change is made in memory, its messages are delivered from
//! there, and all of it is written as soon as that is possible again, deliveries included. So nothing is told twice for
//! that, and nothing is called delivered that was not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use ulid::Ulid;

use super::afloat::{Afloat, Letter, Outcome, Ticket};
use super::backoff::LONGEST_ASKED;
use super::bell::Bell;
use super::standing::Standing;
use crate::alert::advance::{Judgement, Mint, Patience};
use crate::alert::book::{Book, Word};
use crate::alert::judge;
use crate::alert::life::{Alert, Phase, Resolution};
use crate::alert::notice::SweepRef;
use crate::alert::record::{Record, Told};
use crate::alert::reminder;
use crate::alert::silence::Silence;
use crate::alert::tell::{Happened, Telling, tell};
use crate::policy::finding::Finding;
use crate::policy::kind::FindingKind;
use crate::sink::message::{Event, Message};
use crate::store::error::StoreError;
use crate::store::{Store, Transaction};

/// The desk.
pub struct Desk {
    inner: Mutex<Inner>,
    /// Rung whenever something may be there to be delivered.
    bell: Arc<Bell>,
}

struct Inner {
    store: Store,
    standing: Standing,
    /// The alerts as they were last, for when the database cannot even be read.
    last: Book,
    silences: Vec<Silence>,
    /// What is not in the database and should be.
    afloat: Afloat,
}

/// A change that is brought to the desk.
pub struct Change<'a> {
    /// What happens to alerts. May be called twice: the second time where the first was taken back.
    pub step: &'a dyn Fn(&mut Book, Mint<'_>) -> Happened,
    /// The sweep that it is about, where it is about one.
    pub sweep: Option<&'a SweepRef>,
    /// What else goes into the database with it.
    pub keep: &'a dyn Fn(&Transaction<'_>) -> Result<(), StoreError>,
    /// What is to be said beside, to those who want to hear of everything.
    pub events: Vec<Event>,
    /// The sink that is not told, because it is the one that does not work.
    pub except: Option<&'a str>,
}

impl Change<'_> {
    /// A change of alerts and of nothing else.
    pub fn of(step: &dyn Fn(&mut Book, Mint<'_>) -> Happened) -> Change<'_> {
        Change { step, sweep: None, keep: &|_| Ok(()), events: Vec::new(), except: None }
    }
}

/// A message that is to be delivered now.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// What to hand back with the outcome.
    pub ticket: Ticket,
    /// The message, or why it can never be read.
    pub message: Result<Message, String>,
    /// How often it has been tried.
    pub attempts: u32,
    /// Since when it waits.
    pub since: Timestamp,
}

impl Desk {
    /// A desk over this database.
    pub fn new(store: Store, standing: Standing, bell: Arc<Bell>) -> Self {
        let last = store.records().map(Book::new).unwrap_or_default();
        let inner = Inner { store, standing, last, silences: Vec::new(), afloat: Afloat::default() };
        Desk { inner: Mutex::new(inner), bell }
    }

    /// From now on this holds.
    pub fn stand_by(&self, standing: Standing) {
        self.lock().standing = standing;
    }

    /// Makes a change, and puts everything that it has to say on its way. Gives the alerts that changed.
    pub fn make(&self, change: &Change<'_>, now: Timestamp) -> Vec<Alert> {
        let changed = self.lock().make(change, now);
        self.bell.ring();
        changed
    }

    /// As [`Desk::make`], or not at all: for whoever can be told that it could not be written.
    ///
    /// # Errors
    /// When the database cannot be written. Then nothing has changed.
    pub fn try_make(&self, change: &Change<'_>, now: Timestamp) -> Result<Vec<Alert>, StoreError> {
        let changed = self.lock().write(change, now)?;
        self.bell.ring();
        Ok(changed)
    }

    /// Says something to those who want to hear of everything.
    pub fn announce(&self, event: Event, now: Timestamp) {
        let nothing = |_: &mut Book, _: Mint<'_>| Happened::new();
        self.make(&Change { events: vec![event], ..Change::of(&nothing) }, now);
    }

    /// Lets an alert about the program itself fire, or ends it.
    pub fn report(&self, finding: Finding, holds: bool, except: Option<&str>, now: Timestamp) {
        let class = finding.kind.class();
        let holds = if holds { Ok(()) } else { Err(Resolution::Seen) };
        let judgement = Judgement { finding, class, holds, patience: Patience::NONE };
        let inner = self.lock();
        let known = inner.last.get(&judgement.finding.fingerprint);
        let fires = known.is_some_and(|record| record.alert.state == Phase::Firing);
        // Most of the time there is nothing to end, and no reason to write.
        if judgement.holds.is_err() && !fires && !inner.afloat.is_any() {
            return;
        }
        let rules = inner.standing.rules.clone();
        drop(inner);
        let step = move |book: &mut Book, mint: Mint<'_>| {
            judge::step(book, std::slice::from_ref(&judgement), &rules, now, mint)
        };
        self.make(&Change { except, ..Change::of(&step) }, now);
    }

    /// What is to be delivered to a sink now, this much at most, in order.
    pub fn parcels(&self, sink: &str, now: Timestamp, limit: usize) -> Vec<Parcel> {
        let inner = self.lock();
        let mut parcels = inner.afloat.parcels(sink, now, limit);
        // What is still in the database goes before what never got there.
        let is_behind = |key: &str| {
            let rows = inner.store.rows_of_key(sink, key).unwrap_or_default();
            rows.into_iter().any(|row| !inner.afloat.is_settled(sink, row))
        };
        parcels.retain(|parcel| parcel.message.as_ref().is_ok_and(|message| !is_behind(message.key())));
        // What has been delivered and could not be noted is still in the database; so more is asked for.
        let asked = limit.saturating_add(inner.afloat.settled(sink));
        if let Ok(rows) = inner.store.due(sink, now, asked) {
            let rows = rows.into_iter().filter(|row| !inner.afloat.holds_back(sink, row.row, now));
            parcels.splice(
                0..0,
                rows.map(|row| Parcel {
                    ticket: Ticket::Row(row.row),
                    message: row.message,
                    attempts: row.attempts + inner.afloat.attempts(sink, row.row),
                    since: row.enqueued,
                }),
            );
        }
        parcels.truncate(limit);
        parcels
    }

    /// When the next message for a sink is due.
    pub fn next_due(&self, sink: &str) -> Option<Timestamp> {
        let inner = self.lock();
        let stored = inner.store.next_due(sink).ok().flatten();
        [stored, inner.afloat.next_due(sink)].into_iter().flatten().min()
    }

    /// Notes what became of messages.
    pub fn settle(&self, sink: &str, outcomes: Vec<(Ticket, Outcome)>, now: Timestamp) {
        self.lock().settle(sink, outcomes, now);
    }

    /// Everything that fires and of which people have been told, and what was resolved since `since`: for receivers
    /// that must be told again and again.
    pub fn standing_alerts(&self, sink: &str, since: Timestamp) -> Vec<Alert> {
        let inner = self.lock();
        let is_for = |record: &&Record| {
            let routes = &inner.standing.routes;
            let is_people = record.told != Told::No || record.alert.state == Phase::Resolved;
            routes.events.iter().any(|name| name == sink)
                || (is_people && routes.sinks(&record.alert).contains(&sink))
        };
        let is_fresh = |alert: &Alert| alert.state == Phase::Firing || alert.since >= since;
        let records = inner.last.records().filter(|record| record.alert.fired_at.is_some()).filter(is_for);
        records.map(|record| &record.alert).filter(|alert| is_fresh(alert)).cloned().collect()
    }

    /// How many alerts fire.
    pub fn firing(&self) -> u64 {
        let inner = self.lock();
        inner.last.records().filter(|record| record.alert.state == Phase::Firing).count() as u64
    }

    /// Whether any alert of this kind fires.
    pub fn fires(&self, kind: FindingKind) -> bool {
        let inner = self.lock();
        let fires =
            |record: &Record| record.alert.finding.kind == kind && record.alert.state == Phase::Firing;
        inner.last.records().any(fires)
    }

    /// Whether something is not in the database that should be; tries to write it.
    pub fn flush(&self, now: Timestamp) -> Result<(), String> {
        let mut inner = self.lock();
        if inner.afloat.is_any() {
            let nothing = |_: &mut Book, _: Mint<'_>| Happened::new();
            inner.make(&Change::of(&nothing), now);
        }
        inner.afloat.trouble().map_or(Ok(()), |why| Err(why.to_owned()))
    }

    /// The clock has been set by this much, to this time: what waits, waits as long as it would have.
    pub fn shift(&self, by: SignedDuration, now: Timestamp) {
        let step = |book: &mut Book, _: Mint<'_>| {
            reminder::shift(book, by);
            Happened::new()
        };
        let keep = |tx: &Transaction<'_>| tx.shift_due(by);
        let mut inner = self.lock();
        inner.make(&Change { keep: &keep, ..Change::of(&step) }, now);
        // What could be written is no longer here, and has been shifted where it is.
        inner.afloat.shift(by);
        drop(inner);
        self.bell.ring();
    }

    /// Takes over what was left by whoever was here before, perhaps by a clock that has been set since then: nothing
    /// waits for longer than anything would that is put off now.
    pub fn take_over(&self, now: Timestamp) {
        let rules = self.lock().standing.rules.clone();
        let step = move |book: &mut Book, _: Mint<'_>| {
            reminder::bound(book, &rules, now);
            Happened::new()
        };
        let keep = |tx: &Transaction<'_>| tx.bound_due(now, LONGEST_ASKED);
        self.make(&Change { keep: &keep, ..Change::of(&step) }, now);
    }

    /// Does something with the database that is about no alert.
    ///
    /// # Errors
    /// When the database does not do it.
    pub fn with_store<T>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        work(&mut self.lock().store)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whoever panicked while holding it has ended the program, but in tests.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn make(&mut self, change: &Change<'_>, now: Timestamp) -> Vec<Alert> {
        self.write(change, now).unwrap_or_else(|error| self.keep_afloat(change, &error, now))
    }

    /// Makes a change in the database, or none at all.
    fn write(&mut self, change: &Change<'_>, now: Timestamp) -> Result<Vec<Alert>, StoreError> {
        let Inner { store, standing, last, silences, afloat } = self;
        let book = store.write(|tx| {
            afloat.write(tx, now)?;
            *silences = tx.silences(now)?;
            let mut book = Book::new(tx.records()?);
            let mut letters = work(&mut book, change, standing, silences, now);
            // That it could not be written is over; and that is said by the very transaction that shows it.
            letters.extend(afloat.end_of_trouble(&mut book, standing, silences, now));
            for record in book.changed() {
                tx.save(record)?;
            }
            post(tx, &letters)?;
            (change.keep)(tx)?;
            Ok::<_, StoreError>(book)
        })?;
        afloat.written();
        Ok(close(book, last))
    }

    /// Makes a change in memory, because the database cannot be written.
    fn keep_afloat(&mut self, change: &Change<'_>, error: &StoreError, now: Timestamp) -> Vec<Alert> {
        let Inner { standing, last, silences, afloat, .. } = self;
        let mut book = last.clone();
        let letters = work(&mut book, change, standing, silences, now);
        let trouble = afloat.begin_of_trouble(error, &mut book, standing, silences, now);
        afloat.keep(&book, letters.into_iter().chain(trouble), now);
        close(book, last)
    }

    fn settle(&mut self, sink: &str, outcomes: Vec<(Ticket, Outcome)>, now: Timestamp) {
        let Inner { store, afloat, .. } = self;
        let mut rows = Vec::new();
        for (ticket, outcome) in outcomes {
            match ticket {
                Ticket::Row(row) => rows.push((row, outcome)),
                Ticket::Letter(id) => afloat.settle_letter(sink, id, outcome),
            }
        }
        if rows.is_empty() {
            return;
        }
        let written = store.write(|tx| super::afloat::settle_rows(tx, &rows, now));
        if written.is_err() {
            afloat.hold(sink, rows);
        }
    }
}

/// Ends the work on a book: it is the last one from now on. Gives the alerts that have changed.
fn close(mut book: Book, last: &mut Book) -> Vec<Alert> {
    let changed = book.changed().map(|record| record.alert.clone()).collect();
    book.close();
    *last = book;
    changed
}

/// Makes the change in a book, and addresses what is to be said.
pub(super) fn work(
    book: &mut Book,
    change: &Change<'_>,
    standing: &Standing,
    silences: &[Silence],
    now: Timestamp,
) -> Vec<Letter> {
    let mut mint = Ulid::generate;
    let happened = (change.step)(book, &mut mint);
    let mute = |alert: &Alert| standing.mute(silences, alert, now);
    let telling = Telling { rules: &standing.rules, mute: &mute, sweep: change.sweep, now };
    let words = tell(book, &happened, &telling, &mut mint);
    let mut letter = |word: Word| {
        let sinks = standing.address(&word, book, change.except);
        Letter { message: Message::Alert(Box::new(word.notice)), sinks }
    };
    let mut letters: Vec<Letter> = words.into_iter().map(&mut letter).collect();
    let event =
        |event: &Event| Letter { message: Message::Event(event.clone()), sinks: standing.event_sinks() };
    letters.extend(change.events.iter().map(event));
    letters
}

/// Puts letters into the outbox, and what they say of alerts into the history.
pub(super) fn post(tx: &Transaction<'_>, letters: &[Letter]) -> Result<(), StoreError> {
    for Letter { message, sinks } in letters {
        if let Message::Alert(notice) = message {
            tx.note(notice)?;
        }
        let sinks: Vec<&str> = sinks.iter().map(String::as_str).collect();
        tx.enqueue(message, &sinks)?;
    }
    Ok(())
}
