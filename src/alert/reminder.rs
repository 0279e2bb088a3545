//! Reminders, when the clock has been set: each is due at a time of day, and means a length of time.

use jiff::{SignedDuration, Timestamp};

use super::book::Book;
use super::rules::AlertRules;

/// The clock has been set by this much: whatever is to be reminded of is so after as long as it would have been.
pub fn shift(book: &mut Book, by: SignedDuration) {
    change(book, |at| at.checked_add(by).unwrap_or(at));
}

/// Bounds reminders to the time in which one comes at the latest: one that is further ahead was noted by a clock that
/// was wrong, or under other rules.
pub fn bound(book: &mut Book, rules: &AlertRules, now: Timestamp) {
    let every = rules.remind_every.and_then(|every| SignedDuration::try_from(every).ok());
    let Some(latest) = every.and_then(|every| now.checked_add(every).ok()) else { return };
    change(book, |at| at.min(latest));
}

/// Changes the reminders that this changes, and leaves the other alerts as they are.
fn change(book: &mut Book, new: impl Fn(Timestamp) -> Timestamp) {
    let changed: Vec<_> = book
        .records()
        .filter(|record| record.remind_at.is_some_and(|at| new(at) != at))
        .map(|record| record.alert.finding.fingerprint.clone())
        .collect();
    for fingerprint in changed {
        book.change(&fingerprint, |record| record.remind_at = record.remind_at.map(&new));
    }
}
