//! Seeing: what the receiver tells the sender about its own eyesight.
//!
//! Silence is an answer only while we would have heard one (guarantee G2). The receiver reads the kernel's drop counter
//! many times a second. Where it moved, the slice of time since the last reading is *blind*: whatever was in flight
//! then is void and probed again. Where it did not, everything up to the reading is *seen*.

use std::time::Duration;

use crate::link::clock::Tick;
use crate::sync::{AtomicBool, AtomicU64, CachePadded, Ordering, Queue};

/// How long a frame may lie in the kernel's ring before the receiver gets it: the ring's own timer, and room for a busy
/// machine. Readings of the drop counter say nothing of frames younger than this.
pub const RING_DELAY: Duration = Duration::from_millis(50);

/// Slices that may wait for the sender. The receiver merges what does not fit.
const SLICES: usize = 256;

/// A span of time in which frames were lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BlindSlice {
    /// The last moment known to have been seen.
    pub from: Tick,
    /// The first moment that may be seen again.
    pub to: Tick,
}

/// Shared by sender and receiver.
#[derive(Debug)]
pub struct Seeing {
    /// One for each sender, because each has to deal with every slice.
    senders: Vec<Told>,
    /// Everything before this tick is seen, or told to every sender.
    settled_until: CachePadded<AtomicU64>,
}

/// What one sender is told.
#[derive(Debug)]
struct Told {
    slices: Queue<BlindSlice>,
    /// Set once the sender has ended: nobody takes its slices any more.
    ended: AtomicBool,
}

impl Told {
    /// `Relaxed`: a slice too many in the queue of a sender that has just ended harms nobody.
    fn is_behind(&self) -> bool {
        self.slices.is_full() && !self.ended.load(Ordering::Relaxed)
    }
}

impl Seeing {
    /// Nothing seen yet, by as many senders.
    pub fn new(senders: usize) -> Self {
        Seeing {
            senders: (0..senders)
                .map(|_| Told { slices: Queue::new(SLICES), ended: AtomicBool::new(false) })
                .collect(),
            settled_until: CachePadded::new(AtomicU64::new(0)),
        }
    }

    /// Sender: the next blind slice that this sender (from 0) has not dealt with.
    pub fn take_blind(&self, sender: usize) -> Option<BlindSlice> {
        self.senders[sender].slices.pop()
    }

    /// Sender: this one has ended, and must not hold up the others by slices that it never takes.
    pub fn end(&self, sender: usize) {
        self.senders[sender].ended.store(true, Ordering::Relaxed);
    }

    /// Sender: up to when it is known what was seen. `Acquire` pairs with the `Release` in [`Watch::look`], so that a
    /// sender that reads the moment also finds every blind slice before it.
    pub fn settled_until(&self) -> Tick {
        Tick::from_nanos(self.settled_until.load(Ordering::Acquire))
    }
}

/// The receiver's side: turns readings of the drop counter into seen and blind spans.
#[derive(Debug)]
pub struct Watch {
    drops: u64,
    looked: Tick,
    /// Everything before this was seen, or has been called blind.
    seen_to: Tick,
    pending: Option<BlindSlice>,
}

impl Watch {
    /// Begins to watch; `drops` is the counter's first reading.
    pub fn new(now: Tick, drops: u64) -> Self {
        Watch { drops, looked: now, seen_to: now - RING_DELAY, pending: None }
    }

    /// Whether it is time to look again.
    pub fn is_due(&self, now: Tick) -> bool {
        now.since(self.looked) >= Duration::from_millis(20)
    }

    /// Enters a reading of the drop counter, made at `now`. Every frame that was in the ring at `emptied`, somewhat
    /// earlier, has been handled.
    pub fn look(&mut self, seeing: &Seeing, emptied: Tick, now: Tick, drops: u64) {
        let seen_to = emptied - RING_DELAY;
        if drops != self.drops {
            let from = self.pending.map_or(self.seen_to, |slice| slice.from);
            self.pending = Some(BlindSlice { from, to: now });
            self.drops = drops;
        }
        self.looked = now;
        self.seen_to = seen_to;
        if let Some(slice) = self.pending {
            if seeing.senders.iter().any(Told::is_behind) {
                // A sender is behind: the slice goes on growing, and nothing after it counts as settled.
                return;
            }
            for sender in &seeing.senders {
                // Nobody else pushes, so the queue of a sender that was not behind has room.
                let _ = sender.slices.push(slice);
            }
            self.pending = None;
        }
        seeing.settled_until.store(seen_to.as_nanos(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Tick {
        Tick::from_nanos(n * 1_000_000)
    }

    #[test]
    fn calls_blind_what_lies_between_two_readings() {
        let seeing = Seeing::new(1);
        let mut watch = Watch::new(ms(1000), 5);
        watch.look(&seeing, ms(1100), ms(1100), 5);
        assert_eq!((seeing.take_blind(0), seeing.settled_until()), (None, ms(1050)));
        watch.look(&seeing, ms(1200), ms(1200), 6);
        assert_eq!(seeing.take_blind(0), Some(BlindSlice { from: ms(1050), to: ms(1200) }));
        assert_eq!(seeing.settled_until(), ms(1150));
        watch.look(&seeing, ms(1300), ms(1300), 6);
        assert_eq!((seeing.take_blind(0), seeing.settled_until()), (None, ms(1250)));
    }

    #[test]
    fn a_sender_that_has_ended_holds_nobody_up() {
        let seeing = Seeing::new(2);
        let mut watch = Watch::new(ms(0), 0);
        seeing.end(0);
        for n in 1..=SLICES as u64 + 10 {
            watch.look(&seeing, ms(n * 100), ms(n * 100), n);
            assert!(seeing.take_blind(1).is_some(), "slice {n} never came");
            assert_eq!(seeing.settled_until(), ms(n * 100) - RING_DELAY);
        }
    }

    #[test]
    fn forgets_nothing_when_the_sender_is_behind() {
        let seeing = Seeing::new(1);
        let mut watch = Watch::new(ms(0), 0);
        for n in 1..=SLICES as u64 + 10 {
            watch.look(&seeing, ms(n * 100), ms(n * 100), n);
        }
        let settled = seeing.settled_until();
        let mut last = ms(0);
        while let Some(slice) = seeing.take_blind(0) {
            assert!(slice.from <= last, "no gap");
            last = slice.to;
        }
        assert!(settled <= last);
        watch.look(&seeing, ms(100_000), ms(100_000), SLICES as u64 + 10);
        let rest = seeing.take_blind(0).expect("the merged rest");
        assert!(rest.from <= last && rest.to >= ms((SLICES as u64 + 10) * 100));
    }
}
