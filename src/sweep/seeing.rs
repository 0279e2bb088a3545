//! Seeing: what the receiver tells the sender about its own eyesight.
//!
//! Silence is an answer only while we would have heard one (guarantee G2). The receiver reads the kernel's drop counter
//! many times a second. Where it moved, the slice of time since the last reading is *blind*: whatever was in flight
//! then is void and probed again. Where it did not, everything up to the reading is *seen*.

use std::time::Duration;

use crate::link::clock::Tick;
use crate::sync::{AtomicU64, CachePadded, Ordering, Queue};

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
    /// One queue for each sender, because each has to deal with every slice.
    slices: Vec<Queue<BlindSlice>>,
    /// Everything before this tick is seen, or in `slices`.
    settled_until: CachePadded<AtomicU64>,
}

impl Seeing {
    /// Nothing seen yet, by as many senders.
    pub fn new(senders: usize) -> Self {
        Seeing {
            slices: (0..senders).map(|_| Queue::new(SLICES)).collect(),
            settled_until: CachePadded::new(AtomicU64::new(0)),
        }
    }

    /// Sender: the next blind slice that this sender (from 0) has not dealt with.
    pub fn take_blind(&self, sender: usize) -> Option<BlindSlice> {
        self.slices[sender].pop()
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
            if seeing.slices.iter().any(Queue::is_full) {
                // A sender is behind: the slice goes on growing, and nothing after it counts as settled.
                return;
            }
            for queue in &seeing.slices {
                // Nobody else pushes, so a queue that was not full still is not.
                let _ = queue.push(slice);
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
