//! Exceptions, and how long they hold.

use jiff::Timestamp;
use serde::Serialize;

use crate::evidence::manifest::Exception;

/// What ends within so many days has ended before a next quarterly run.
const SOON_DAYS: i64 = 92;

/// An exception, and how long it holds.
#[derive(Debug, Serialize)]
pub(super) struct ExceptionRow<'a> {
    #[serde(flatten)]
    exception: &'a Exception,
    /// `expired`, `soon`, `current` or `endless`.
    holds: &'static str,
    /// Whole days from the end of the run to its own end.
    days: i64,
}

/// Those that have run out first, then those that end first.
pub(super) fn exceptions(exceptions: &[Exception], now: Timestamp) -> Vec<ExceptionRow<'_>> {
    let mut rows: Vec<ExceptionRow<'_>> = exceptions.iter().map(|exception| row(exception, now)).collect();
    rows.sort_by_key(|row| (row.exception.expires.is_none(), row.days));
    rows
}

/// How many have run out, and how many will soon.
pub(super) fn counts(rows: &[ExceptionRow<'_>]) -> (usize, usize) {
    let count = |holds: &str| rows.iter().filter(|row| row.holds == holds).count();
    (count("expired"), count("soon"))
}

fn row(exception: &Exception, now: Timestamp) -> ExceptionRow<'_> {
    let left = exception.expires.map(|expiry| expiry.end().duration_since(now));
    let days = left.map_or(0, |left| left.as_hours() / 24);
    let holds = match left {
        _ if exception.expired => "expired",
        None => "endless",
        Some(_) if days <= SOON_DAYS => "soon",
        Some(_) => "current",
    };
    ExceptionRow { exception, holds, days }
}
