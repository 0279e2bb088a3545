//! The table: one atomic cell for each target, shared by sender and receiver without any lock.
//!
//! # A cell
//! Sixteen bits: `reason` (5), tries `sent` (4), tries that `count` (4), `reported` (1), `retracted` (1), one spare.
//! Who writes what:
//!
//! | bits | sender | receiver | reporter |
//! |---|---|---|---|
//! | sent, count | adds before each probe leaves; takes back what was refused or void | reads | reads |
//! | reason | takes back what is not to be believed | merges each valid answer | reads |
//! | reported | takes back with the reason | takes back when the reason changes | sets |
//! | retracted | sets when it takes back what was reported | – | reads |
//!
//! A try *counts* if we would have heard the answer to it. A target is silent while no answer is in; only silence after
//! enough tries that count is `filtered`, everything else that is silent is `unknown`.
//!
//! # Tiles
//! A sweep of more targets than there is memory for is swept tile by tile: the table then holds one stretch of the
//! order at a time, and is turned to the next one while nobody else uses it. Positions are always those of the whole.
//!
//! # Orderings
//! Each cell is a world of its own: no other memory is published through it, so the cell's own modification order is
//! all that is needed and `Relaxed` is enough for every access here. What must be visible *across* cells (the times of
//! sending, the end of a sweep) goes over channels, thread joins, or the counters in `sweep::seeing`, which order
//! themselves. The sender's mark and the receiver's read of it are ordered by the network: no answer that carries a
//! valid cookie exists before the probe has left, and the probe leaves by a system call made after the mark.

use std::ops::Range;

use super::state::{Reason, State};
use crate::sync::{AtomicU16, AtomicU64, Ordering};

/// The most probes that one target ever gets in one sweep, void ones included.
pub const MAX_SENT: u8 = 15;

const REASON: u16 = 0x001f;
const SENT_SHIFT: u32 = 5;
const SENT_ONE: u16 = 1 << SENT_SHIFT;
const COUNT_SHIFT: u32 = 9;
const COUNT_ONE: u16 = 1 << COUNT_SHIFT;
const FOUR_BITS: u16 = 0xf;
const REPORTED: u16 = 1 << 13;
const RETRACTED: u16 = 1 << 14;

/// One reading of a cell.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Cell(u16);

impl Cell {
    /// Why the target is in its state; `NoResponse` while nothing was heard.
    #[inline]
    pub fn reason(self) -> Reason {
        // The five bits are only ever written from a `Reason`.
        Reason::from_code((self.0 & REASON) as u8).unwrap_or(Reason::NoResponse)
    }

    /// Whether no answer is in yet.
    #[inline]
    pub fn is_silent(self) -> bool {
        self.0 & REASON == Reason::NoResponse as u16
    }

    /// Probes sent.
    #[inline]
    pub fn sent(self) -> u8 {
        (self.0 >> SENT_SHIFT & FOUR_BITS) as u8
    }

    /// Probes whose answer we would have heard.
    #[inline]
    pub fn counted(self) -> u8 {
        (self.0 >> COUNT_SHIFT & FOUR_BITS) as u8
    }

    /// Whether the target has been handed to the reporter.
    #[inline]
    pub fn is_reported(self) -> bool {
        self.0 & REPORTED != 0
    }

    /// Whether something was reported of the target that has been taken back since.
    #[inline]
    pub fn is_retracted(self) -> bool {
        self.0 & RETRACTED != 0
    }

    /// Whether another probe is due: nothing is settled, and too few tries count.
    #[inline]
    pub fn needs_probe(self, tries: u8) -> bool {
        !self.is_settled() && self.counted() < tries && self.sent() < MAX_SENT
    }

    /// Whether no further try could tell more: something was heard, and it is neither a mere hint nor a contradiction.
    #[inline]
    pub fn is_settled(self) -> bool {
        !(self.is_silent() || self.is_contradictory() || self.reason().is_hint())
    }

    /// Whether the answers so far contradict each other.
    #[inline]
    pub fn is_contradictory(self) -> bool {
        self.0 & REASON == Reason::Contradiction as u16
    }

    /// What can be said of the target if this is the end: silence is `filtered`, and a hint is what it says, only after
    /// `tries` that count.
    pub fn state(self, tries: u8) -> State {
        let is_open_question = self.is_silent() || self.reason().is_hint();
        if is_open_question && self.counted() < tries { State::Unknown } else { self.reason().state() }
    }
}

/// Which probes of a target are void.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Void {
    /// The last one.
    Last,
    /// Every one so far.
    All,
}

/// What one answer did to its cell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recorded {
    /// The first answer of this target.
    First,
    /// An answer that changed the reason.
    Changed,
    /// An answer that changed nothing.
    Repeated,
    /// An answer to a target that was never probed; nothing was recorded.
    NeverProbed,
}

/// One cell for each target, by position in the order of probing.
#[derive(Debug)]
pub struct Table {
    cells: Box<[AtomicU16]>,
    /// The position that has the first cell, and the one after the last that has any.
    first: AtomicU64,
    end: AtomicU64,
}

impl Table {
    /// A table of `len` targets, none of them probed.
    ///
    /// # Errors
    /// When there is not enough memory for two bytes a target.
    pub fn new(len: u64) -> Result<Self, TableError> {
        let bytes = len.saturating_mul(2);
        let len = usize::try_from(len).map_err(|_| TableError { len, bytes })?;
        let mut cells = Vec::new();
        cells.try_reserve_exact(len).map_err(|_| TableError { len: len as u64, bytes })?;
        cells.resize_with(len, || AtomicU16::new(0));
        let end = AtomicU64::new(cells.len() as u64);
        Ok(Table { cells: cells.into_boxed_slice(), first: AtomicU64::new(0), end })
    }

    /// Forgets everything, and holds these positions from now on. To be called while nobody else uses the table:
    /// whoever does so later is started after that.
    ///
    /// # Panics
    /// When there are more of them than cells: a bug of the caller.
    pub fn turn_to(&self, tile: &Range<u64>) {
        let len = (tile.end - tile.start) as usize;
        assert!(len <= self.cells.len(), "a tile of {len} targets in a table of {}", self.cells.len());
        self.cells[..len].iter().for_each(|cell| cell.store(0, Ordering::Relaxed));
        self.first.store(tile.start, Ordering::Relaxed);
        self.end.store(tile.end, Ordering::Relaxed);
    }

    /// The positions that it holds.
    #[inline]
    pub fn tile(&self) -> Range<u64> {
        self.first.load(Ordering::Relaxed)..self.end.load(Ordering::Relaxed)
    }

    /// Whether it holds this one.
    #[inline]
    pub fn holds(&self, position: u64) -> bool {
        self.tile().contains(&position)
    }

    /// The number of targets.
    pub fn len(&self) -> u64 {
        let tile = self.tile();
        tile.end - tile.start
    }

    /// Whether there is no target.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cell as it is now.
    #[inline]
    pub fn get(&self, position: u64) -> Cell {
        Cell(self.cell(position).load(Ordering::Relaxed))
    }

    /// Sender: a probe is about to leave. Returns the number of this try, from 1. Never call it where
    /// [`Cell::needs_probe`] says no: the four bits would run over.
    #[inline]
    pub fn mark_probed(&self, position: u64) -> u8 {
        let before = self.cell(position).fetch_add(SENT_ONE + COUNT_ONE, Ordering::Relaxed);
        debug_assert!(Cell(before).sent() < MAX_SENT, "a sixteenth probe");
        Cell(before).sent() + 1
    }

    /// Sender: the probe that was marked last did not leave after all. It may have been made void in between, so there
    /// may be no try left that counts.
    pub fn unmark_probed(&self, position: u64) {
        let take_back = |bits| {
            let cell = Cell(bits);
            let counted = if cell.counted() > 0 { COUNT_ONE } else { 0 };
            (cell.sent() > 0).then(|| bits - SENT_ONE - counted)
        };
        let before = self.cell(position).fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_back);
        debug_assert!(before.is_ok(), "nothing to take back");
    }

    /// Sender: we may not have heard the answer to the last probe, or to any so far, so they do not count. Says whether
    /// that changed anything; a target that has answered is beyond doubt and is left alone.
    pub fn void(&self, position: u64, probes: Void) -> bool {
        self.cell(position)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
                let cell = Cell(bits);
                let void = if probes == Void::All { cell.counted() } else { cell.counted().min(1) };
                let is_open_question = cell.is_silent() || cell.reason().is_hint();
                (is_open_question && void > 0).then(|| bits - u16::from(void) * COUNT_ONE)
            })
            .is_ok()
    }

    /// Sender: what was heard of the target may have been somebody else's word, so neither that nor any try so far
    /// counts. Says whether there was anything to take back. A target that has been open once is left alone: whoever is
    /// about to report it makes sure of that by a handshake.
    pub fn retract(&self, position: u64) -> bool {
        self.cell(position)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
                let cell = Cell(bits);
                let is_said =
                    !cell.is_silent() && !matches!(cell.reason().state(), State::Open | State::Conflict);
                let retracted = if cell.is_reported() { RETRACTED } else { 0 };
                let kept = bits & !(REASON | REPORTED | FOUR_BITS << COUNT_SHIFT);
                is_said.then_some(kept | retracted)
            })
            .is_ok()
    }

    /// Receiver: a valid answer came in.
    #[inline]
    pub fn record(&self, position: u64, reason: Reason) -> Recorded {
        let cell = self.cell(position);
        let mut bits = cell.load(Ordering::Relaxed);
        loop {
            let before = Cell(bits);
            if before.sent() == 0 {
                return Recorded::NeverProbed;
            }
            let merged = before.reason().merge(reason);
            if merged == before.reason() {
                return Recorded::Repeated;
            }
            // Whatever the reporter was told before, it must be told again.
            let after = bits & !(REASON | REPORTED) | merged as u16;
            match cell.compare_exchange_weak(bits, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) if before.is_silent() => return Recorded::First,
                Ok(_) => return Recorded::Changed,
                Err(now) => bits = now,
            }
        }
    }

    /// Reporter: a target that has answered is about to be handed on. Returns the cell to hand on, or `None` if that
    /// was done before and nothing has changed since, or if the answer has been taken back.
    pub fn mark_reported(&self, position: u64) -> Option<Cell> {
        let report = |bits| {
            let cell = Cell(bits);
            (!cell.is_silent() && !cell.is_reported()).then_some(bits | REPORTED)
        };
        self.cell(position).fetch_update(Ordering::Relaxed, Ordering::Relaxed, report).ok().map(Cell)
    }

    #[inline]
    fn cell(&self, position: u64) -> &AtomicU16 {
        &self.cells[(position - self.first.load(Ordering::Relaxed)) as usize]
    }
}

/// There is not enough memory for the table.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "no memory for a table of {len} targets ({bytes} bytes); have fewer swept at a time, by less --memory"
)]
pub struct TableError {
    /// Targets asked for.
    pub len: u64,
    /// Bytes that they need.
    pub bytes: u64,
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::new(4).expect("memory")
    }

    #[test]
    fn counts_tries_and_knows_when_silence_is_an_answer() {
        let table = table();
        assert_eq!(table.get(0).state(2), State::Unknown);
        assert_eq!((table.mark_probed(0), table.mark_probed(0)), (1, 2));
        assert_eq!(table.get(0).state(2), State::Filtered);
        assert!(table.void(0, Void::Last));
        assert_eq!(table.get(0).state(2), State::Unknown);
        assert!(table.get(0).needs_probe(2));
        assert_eq!(table.mark_probed(0), 3);
        table.unmark_probed(0);
        assert_eq!((table.get(0).sent(), table.get(0).counted()), (2, 1));
    }

    #[test]
    fn takes_back_what_was_void_before_it_left() {
        let table = table();
        table.mark_probed(0);
        assert!(table.void(0, Void::Last));
        table.unmark_probed(0);
        assert_eq!(table.get(0), Cell::default());
    }

    #[test]
    fn gives_up_after_fifteen() {
        let table = table();
        for n in 1..=MAX_SENT {
            assert!(table.get(1).needs_probe(3));
            assert_eq!(table.mark_probed(1), n);
            assert!(table.void(1, Void::Last));
        }
        assert!(!table.get(1).needs_probe(3));
        assert_eq!(table.get(1).state(3), State::Unknown);
        assert!(!table.void(1, Void::Last), "nothing left to take back");
    }

    #[test]
    fn records_the_first_answer_and_the_better_one() {
        let table = table();
        assert_eq!(table.record(2, Reason::SynAck), Recorded::NeverProbed);
        table.mark_probed(2);
        assert_eq!(table.record(2, Reason::IcmpAdminProhibited), Recorded::First);
        assert_eq!(table.record(2, Reason::IcmpAdminProhibited), Recorded::Repeated);
        assert_eq!(table.record(2, Reason::SynAck), Recorded::Changed);
        assert_eq!(table.get(2).state(4), State::Open);
        assert_eq!(table.record(2, Reason::IcmpHostUnreachable), Recorded::Repeated);
        assert_eq!(table.record(2, Reason::Rst), Recorded::Changed);
        assert_eq!(table.get(2).state(4), State::Conflict);
        assert!(!table.void(2, Void::All), "an answer is beyond doubt");
        assert_eq!((table.get(2).sent(), table.get(2).counted()), (1, 1));
        assert!(table.mark_reported(2).is_some() && table.mark_reported(2).is_none());
        assert_eq!(table.get(2).reason(), Reason::Contradiction);
    }

    #[test]
    fn asks_to_be_reported_again_after_a_change() {
        let table = table();
        table.mark_probed(3);
        table.record(3, Reason::SynAck);
        assert_eq!(table.mark_reported(3).map(Cell::reason), Some(Reason::SynAck));
        table.record(3, Reason::SynAck);
        assert_eq!(table.mark_reported(3), None);
        table.record(3, Reason::Rst);
        assert_eq!(table.mark_reported(3).map(Cell::reason), Some(Reason::Contradiction));
        table.mark_probed(0);
        table.mark_probed(0);
        assert!(table.void(0, Void::All));
        assert_eq!((table.get(0).sent(), table.get(0).counted()), (2, 0));
    }

    #[test]
    fn holds_one_tile_at_a_time_and_forgets_the_one_before() {
        let table = table();
        table.mark_probed(3);
        table.turn_to(&(4..7));
        assert_eq!((table.len(), table.tile()), (3, 4..7));
        assert!(table.holds(4) && table.holds(6) && !table.holds(3) && !table.holds(7));
        assert!((4..7).all(|position| table.get(position) == Cell::default()));
        assert_eq!(table.mark_probed(6), 1);
    }

    #[test]
    fn refuses_what_no_memory_holds() {
        assert!(Table::new(u64::MAX / 2).is_err());
    }
}
