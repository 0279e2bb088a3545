//! The slot books: when each host, or each network, may be probed next.

use std::collections::HashMap;
use std::num::NonZeroU32;

use super::{LATE, MOST_AT_ONCE, MOST_WAITING};
use crate::link::clock::Tick;

/// Slots are counted in steps of a power of two nanoseconds, in 32 bits that wrap. The coarsest step, about 33 µs,
/// wraps after 39 hours, and half of that is what two slots may lie apart before they are mixed up.
const COARSEST_SHIFT: u32 = 15;

/// The step where there is no cap yet: fine enough for the caps of hosts that are slowed down.
const UNCAPPED_SHIFT: u32 = 12;

/// A gap has at least 2^8 steps, where nanoseconds allow it, so that no more than 0.4 % of a cap is rounded away.
const GAP_BITS: u32 = 8;

/// And at most so many, or what may wait for one book's slots would reach beyond half of the steps.
const MOST_GAP: u64 = (1 << 31) / (MOST_WAITING as u64 + 2 * MOST_AT_ONCE);

/// The slot books of one kind.
#[derive(Debug)]
pub(super) struct Books {
    /// A step is 2 to the power of this, in nanoseconds.
    shift: u32,
    /// Between two probes, in nanoseconds and in steps; 0 for no cap.
    gap_nanos: u64,
    gap: u32,
    /// How late a probe may be, in steps.
    late: u32,
    /// How many books there are, once they are needed.
    members: u64,
    /// The next free slot of each, in wrapping steps, and 0 where none was ever booked; empty where there is no cap.
    next_free: Vec<u32>,
    /// The gaps, in nanoseconds, of those that are to be probed more slowly than the rest.
    slower: HashMap<u32, u64>,
}

impl Books {
    pub fn new(members: u64, cap_pps: Option<NonZeroU32>) -> Self {
        let gap_nanos = cap_pps.map_or(0, gap_of);
        let fitting = |log: u32| log.saturating_sub(GAP_BITS).min(COARSEST_SHIFT);
        let mut books = Books {
            shift: 0,
            gap_nanos,
            gap: 0,
            late: 0,
            members,
            next_free: Vec::new(),
            slower: HashMap::new(),
        };
        books.count_in(gap_nanos.checked_ilog2().map_or(UNCAPPED_SHIFT, fitting));
        if gap_nanos > 0 {
            books.open();
        }
        books
    }

    /// Lays out the books, where no cap has needed them so far.
    fn open(&mut self) {
        if !self.are_open() {
            self.next_free = vec![0; self.members as usize];
        }
    }

    /// Whether anything is booked at all.
    #[inline]
    pub fn are_open(&self) -> bool {
        !self.next_free.is_empty()
    }

    /// Counts in steps of this size.
    fn count_in(&mut self, shift: u32) {
        self.shift = shift;
        self.gap = self.steps_of(self.gap_nanos);
        // Two steps less, because both the slot and the moment are rounded down.
        self.late = ((LATE.as_nanos() as u64 >> shift) as u32).saturating_sub(2);
    }

    /// Sees to it that a gap this long can be booked for all that may wait, by coarser steps where it must be.
    fn make_room_for(&mut self, gap_nanos: u64, now: Tick) {
        let mut shift = self.shift;
        while gap_nanos >> shift >= MOST_GAP {
            shift += 1;
        }
        if shift == self.shift {
            return;
        }
        let (before, after) = (self.steps(now), (now.as_nanos() >> shift) as u32);
        for free in &mut self.next_free {
            let ahead = free.wrapping_sub(before) as i32;
            let is_booked = *free != 0 && ahead > 0;
            *free =
                if is_booked { after.wrapping_add((ahead as u32 >> (shift - self.shift)) + 2) } else { 0 };
        }
        self.count_in(shift);
    }

    /// A moment in wrapping steps.
    #[inline]
    fn steps(&self, at: Tick) -> u32 {
        (at.as_nanos() >> self.shift) as u32
    }

    /// A gap in steps. What is rounded is rounded up, so that no cap is exceeded.
    #[inline]
    fn steps_of(&self, gap_nanos: u64) -> u32 {
        ((gap_nanos + (1 << self.shift) - 1) >> self.shift) as u32
    }

    /// The moment that lies so many steps ahead of now.
    #[inline]
    fn moment(&self, now: Tick, ahead: u32) -> Tick {
        Tick::from_nanos(((now.as_nanos() >> self.shift) + u64::from(ahead)) << self.shift)
    }

    /// Whose book is the one of this member.
    #[inline]
    pub fn book_of(&self, member: u64) -> u32 {
        // Mostly there is one for each, and a division would be as dear as all the rest.
        (if member < self.members { member } else { member % self.members }) as u32
    }

    #[inline]
    fn gap_of_book(&self, book: u32) -> u32 {
        if self.slower.is_empty() {
            return self.gap;
        }
        self.slower.get(&book).map_or(self.gap, |gap_nanos| self.steps_of(*gap_nanos).max(self.gap))
    }

    /// Reads these books.
    #[inline]
    pub fn warm(&self, books: impl Iterator<Item = u32>) {
        if self.are_open() {
            std::hint::black_box(books.fold(0, |sum, book| sum ^ self.next_free[book as usize]));
        }
    }

    /// How many steps ahead of now the next free slot of a book is, if it is not now, and is `most` ahead at most.
    /// Slots wrap, so a book that nobody has asked for in a while may seem to lie ahead; but no slot that was really
    /// booked is further ahead than that.
    #[inline]
    fn ahead(&self, book: u32, now: Tick, most: i64) -> Option<u32> {
        let free = self.next_free[book as usize];
        let ahead = free.wrapping_sub(self.steps(now)) as i32;
        let never_booked = free == 0;
        if never_booked || ahead <= 0 || i64::from(ahead) > most { None } else { Some(ahead as u32) }
    }

    /// When the next slot is, if it is not now.
    #[inline]
    pub fn free_at(&self, book: u32, now: Tick) -> Option<Tick> {
        if !self.are_open() {
            return None;
        }
        let most = i64::from(self.gap_of_book(book)) * (MOST_WAITING as i64 + MOST_AT_ONCE as i64 + 1);
        self.ahead(book, now, most).map(|ahead| self.moment(now, ahead))
    }

    /// Takes a slot that is free.
    #[inline]
    pub fn book(&mut self, book: u32, slot: Tick) {
        if self.are_open() {
            self.next_free[book as usize] = self.steps(slot).wrapping_add(self.gap_of_book(book)).max(1);
        }
    }

    /// Where nobody waits for a slot, but what leaves uses slots up, and may use some up in advance: when that is few
    /// enough again, if it is not now. They are made good just as far as one may be late for a slot.
    #[inline]
    pub fn room_at(&self, book: u32, now: Tick) -> Option<Tick> {
        if !self.are_open() {
            return None;
        }
        let ahead = self.ahead(book, now, i64::from(self.late) + i64::from(self.gap))?;
        ahead.checked_sub(self.late).filter(|ahead| *ahead > 0).map(|ahead| self.moment(now, ahead))
    }

    /// Uses up a slot, where there was room.
    #[inline]
    pub fn use_up(&mut self, book: u32, now: Tick) {
        if self.are_open() {
            let ahead = self.ahead(book, now, self.late.into()).unwrap_or(0);
            let next = self.steps(now).wrapping_add(ahead).wrapping_add(self.gap);
            self.next_free[book as usize] = next.max(1);
        }
    }

    pub fn is_in_time(&self, slot: Tick, now: Tick) -> bool {
        !self.are_open() || self.steps(now).wrapping_sub(self.steps(slot)) <= self.late
    }

    pub fn slow_down(&mut self, book: u32, cap: NonZeroU32, now: Tick) {
        self.open();
        self.make_room_for(gap_of(cap), now);
        self.slower.insert(book, gap_of(cap));
    }

    pub fn restore(&mut self, book: u32) {
        self.slower.remove(&book);
    }

    /// Where there was no cap, there is one now.
    pub fn halve(&mut self, floor: NonZeroU32, now: Tick) {
        self.open();
        let (slowest, fastest) = (gap_of(floor), gap_of(FIRST_CAP));
        let gap_nanos = (self.gap_nanos * 2).clamp(fastest, slowest.max(self.gap_nanos).max(fastest));
        self.make_room_for(gap_nanos, now);
        self.gap_nanos = gap_nanos;
        self.gap = self.steps_of(gap_nanos);
    }
}

/// The cap of hosts that had none, once there is reason for one, in probes a second.
const FIRST_CAP: NonZeroU32 = NonZeroU32::new(2000).expect("not zero");

/// The nanoseconds between two slots at this rate.
pub(super) fn gap_of(cap: NonZeroU32) -> u64 {
    (1_000_000_000 + LATE.as_nanos() as u64).div_ceil(u64::from(cap.get()))
}
