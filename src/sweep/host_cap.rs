//! The cap for each host: no address is probed more often than this, whatever the rate of the whole.
//!
//! Probes to one host are booked into slots one gap apart. A probe whose slot is now leaves at once; one whose slot
//! lies ahead waits in a heap until it comes. A probe that comes late to its slot (the sender was stalled) gives it up
//! and books a new one, because leaving late would put it too close to the next: so two probes to one host are never
//! closer than a gap, which is what makes the cap hold in *any* second.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::link::clock::Tick;

/// The finest step of a slot: 2^15 ns, about 33 µs. In 32 bits that wraps after 39 hours, and half of that is what two
/// slots may lie apart before they are mixed up.
const STEP_SHIFT: u32 = 15;

/// With more hosts than this, several share a slot book: 16 MiB are enough. The cap then holds for them together, and
/// so for each.
const MOST_BOOKS: u64 = 1 << 22;

/// Probes that may wait for their slots at once.
pub const MOST_WAITING: usize = 1 << 16;

/// How late a probe may be for its slot.
const LATE: Duration = Duration::from_micros(200);

/// Books the slots of all hosts. Pure: it is told the time.
#[derive(Debug)]
pub struct HostCap {
    /// Steps between two probes to one host; 0 for no cap.
    gap: u32,
    late: u32,
    /// The next free slot of each host (or of each group of hosts), in wrapping steps.
    next_free: Vec<u32>,
    /// Probes that wait for their slot: (when, position, book).
    waiting: BinaryHeap<Reverse<(Tick, u64, u32)>>,
}

impl HostCap {
    /// A cap of this many probes a second for each of `hosts` hosts, or none.
    pub fn new(hosts: u64, cap_pps: Option<NonZeroU32>) -> Self {
        let step = 1_u64 << STEP_SHIFT;
        let late = (LATE.as_nanos() as u64).div_ceil(step) as u32;
        // The lateness, and the part of a step that is rounded away, are added to the gap, so that a probe at the very
        // end of its slot and one at the start of the next are still a full period apart.
        let gap = cap_pps.map_or(0, |cap| {
            1_000_000_000_u64.div_ceil(u64::from(cap.get())).div_ceil(step) as u32 + late + 1
        });
        let books = if gap == 0 { 0 } else { hosts.min(MOST_BOOKS) };
        HostCap { gap, late, next_free: vec![0; books as usize], waiting: BinaryHeap::new() }
    }

    /// Asks to probe a host now. Where its slot is not now, the position is kept until it comes, and `false` said.
    #[inline]
    pub fn admit(&mut self, host: u64, position: u64, now: Tick) -> bool {
        if self.gap == 0 {
            return true;
        }
        let book = (host % self.next_free.len() as u64) as u32;
        self.book_slot(book, position, now)
    }

    /// Reads the books of hosts that are about to be asked for, so that they are in the cache by then.
    #[inline]
    pub fn warm(&self, hosts: impl Iterator<Item = u64>) {
        let books = self.next_free.len() as u64;
        if books > 0 {
            std::hint::black_box(hosts.fold(0, |sum, host| sum ^ self.next_free[(host % books) as usize]));
        }
    }

    /// The next position whose slot has come.
    #[inline]
    pub fn due(&mut self, now: Tick) -> Option<u64> {
        while let Some(Reverse((slot, position, book))) = self.waiting.peek().copied() {
            if slot > now {
                return None;
            }
            self.waiting.pop();
            if steps(now).wrapping_sub(steps(slot)) <= self.late || self.book_slot(book, position, now) {
                return Some(position);
            }
        }
        None
    }

    /// When the next waiting probe has its slot.
    pub fn next_due(&self) -> Option<Tick> {
        self.waiting.peek().map(|Reverse((slot, ..))| *slot)
    }

    /// How many probes wait for their slot.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Books the next free slot of a book; says whether that is now.
    fn book_slot(&mut self, book: u32, position: u64, now: Tick) -> bool {
        let free = &mut self.next_free[book as usize];
        // Slots wrap, so a book that nobody has asked for in a day may seem to lie ahead; but no slot that was really
        // booked is further ahead than all that may wait.
        let ahead = free.wrapping_sub(steps(now)) as i32;
        let never_booked = *free == 0;
        if never_booked || ahead <= 0 || i64::from(ahead) > i64::from(self.gap) * (MOST_WAITING as i64 + 1) {
            *free = steps(now).wrapping_add(self.gap);
            return true;
        }
        let slot = Tick::from_nanos(((now.as_nanos() >> STEP_SHIFT) + ahead as u64) << STEP_SHIFT);
        *free = free.wrapping_add(self.gap);
        self.waiting.push(Reverse((slot, position, book)));
        false
    }
}

/// A moment in wrapping steps.
#[inline]
fn steps(at: Tick) -> u32 {
    (at.as_nanos() >> STEP_SHIFT) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Asks for every probe at once, then drains with the given stalls; returns when each probe of each host left.
    fn drive(hosts: u64, each: u64, cap: u32, mut stall: impl FnMut(u64) -> u64) -> Vec<Vec<u64>> {
        let mut caps = HostCap::new(hosts, NonZeroU32::new(cap));
        let mut left = vec![Vec::new(); hosts as usize];
        let mut now = Tick::from_nanos(1_000_000_000);
        for position in 0..hosts * each {
            if caps.admit(position % hosts, position, now) {
                left[(position % hosts) as usize].push(now.as_nanos());
            }
        }
        let mut turn = 0;
        while let Some(next) = caps.next_due() {
            turn += 1;
            now = Tick::from_nanos(next.as_nanos().max(now.as_nanos()) + stall(turn));
            while let Some(position) = caps.due(now) {
                left[(position % hosts) as usize].push(now.as_nanos());
            }
        }
        left
    }

    fn check(left: &[Vec<u64>], each: u64, cap: u32) {
        for times in left {
            assert_eq!(times.len() as u64, each, "every probe leaves once");
            let gap = 1_000_000_000 / u64::from(cap);
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= gap), "two probes closer than {gap} ns");
        }
    }

    #[test]
    fn no_host_is_probed_faster_than_its_cap() {
        for cap in [1, 10, 200, 3000] {
            check(&drive(5, 40, cap, |_| 0), 40, cap);
            check(&drive(5, 40, cap, |n| if n % 7 == 0 { 900_000_000 } else { 50_000 }), 40, cap);
        }
    }

    #[test]
    fn is_not_much_slower_than_its_cap() {
        let left = drive(1, 1000, 200, |_| 30_000);
        let took = left[0].last().unwrap() - left[0][0];
        assert!(took < 5_600_000_000, "1000 probes at 200 a second took {took} ns");
    }

    /// Slots wrap after 39 hours; a host that nobody has asked for in that time must not seem booked out.
    #[test]
    fn an_old_book_is_a_free_one() {
        let hours = |n: u64| Tick::from_nanos(n * 3_600_000_000_000);
        for hour in 1..100 {
            let mut caps = HostCap::new(1, NonZeroU32::new(200));
            assert!(caps.admit(0, 0, hours(hour)), "after {hour} h");
            assert!(!caps.admit(0, 1, hours(hour)), "the cap still holds");
        }
    }

    #[test]
    fn lets_everything_pass_without_a_cap() {
        let mut caps = HostCap::new(1, None);
        assert!((0..1000).all(|n| caps.admit(0, n, Tick::from_nanos(0))));
    }

    proptest! {
        #[test]
        fn holds_under_any_stalls(seed: u64, cap in 1_u32..2000) {
            let mut state = seed | 1;
            let left = drive(3, 20, cap, |_| {
                state ^= state << 13; state ^= state >> 7; state ^= state << 17;
                state % 40_000_000
            });
            check(&left, 20, cap);
        }
    }
}
