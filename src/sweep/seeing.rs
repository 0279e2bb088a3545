//! Seeing: what the receiver tells the sender about its own eyesight, and about the paths.
//!
//! Silence is an answer only while we would have heard one (guarantee G2). The receiver reads the kernel's drop counter
//! many times a second. Where it moved, the slice of time since the last reading is *blind*: whatever was in flight
//! then is void and probed again. Where it did not, everything up to the reading is *seen*.
//!
//! A path is a matter of eyesight too. Two witnesses vouch for each: the link's guard for the way to the next hop, and
//! the canaries for the way beyond it. While one of them reports trouble, nothing is sent there; when it is over, all
//! that was in flight since the witness last vouched is a blind slice of that path. Trouble that does not end makes the
//! path lost: its silent targets are unknown, and the sweep goes on without them.

use std::net::IpAddr;

use super::paths::PathMarks;
use super::report::UnknownReason;
use crate::link::clock::Tick;
use crate::sync::{AtomicBool, AtomicU64, CachePadded, Ordering, Queue};

/// Paths that have a bit of their own in the word that is looked at first. Those beyond share its last one.
pub const MOST_PATHS: usize = 64;

/// Slices that may wait for the sender. The receiver merges what does not fit.
pub(super) const SLICES: usize = 256;

/// A span of time in which frames were lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BlindSlice {
    /// The last moment known to have been seen.
    pub from: Tick,
    /// The first moment that may be seen again.
    pub to: Tick,
    /// The one path that was broken; `None` where it was ourselves, so that all are concerned.
    pub path: Option<usize>,
    /// The one host of that path that was out of reach; `None` where it was everybody.
    pub host: Option<IpAddr>,
    /// Why nothing was seen.
    pub reason: UnknownReason,
}

/// Shared by sender and receiver.
#[derive(Debug)]
pub struct Seeing {
    /// One for each sender, because each has to deal with every slice.
    pub(super) senders: Vec<Told>,
    /// Everything before this tick is seen, or told to every sender.
    pub(super) settled_until: CachePadded<AtomicU64>,
    /// One bit for each path that is in trouble, and for each that is lost.
    pub(super) troubled: CachePadded<AtomicU64>,
    pub(super) lost: CachePadded<AtomicU64>,
    /// What there is to say of each path beyond that.
    pub(super) marks: PathMarks,
}

/// What one sender is told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) slices: Queue<BlindSlice>,
    /// Set once the sender has ended: nobody takes its slices any more.
    ended: AtomicBool,
}

impl Told {
    /// `Relaxed`: a slice too many in the queue of a sender that has just ended harms nobody.
    pub(super) fn is_behind(&self) -> bool {
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
            troubled: CachePadded::new(AtomicU64::new(0)),
            lost: CachePadded::new(AtomicU64::new(0)),
            marks: PathMarks::default(),
        }
    }

    /// The same, told how many paths there are: each has a fate of its own, and is given up only after questions.
    #[must_use]
    pub fn for_paths(self, paths: usize) -> Self {
        Seeing { marks: PathMarks::new(paths), ..self }
    }

    /// Sender: the next blind slice that this sender (from 0) has not dealt with.
    pub fn take_blind(&self, sender: usize) -> Option<BlindSlice> {
        self.senders[sender].slices.pop()
    }

    /// Every sender is about to begin, or to begin anew.
    pub fn begin(&self) {
        self.senders.iter().for_each(|told| told.ended.store(false, Ordering::Relaxed));
    }

    /// Sender: this one has ended, and must not hold up the others by slices that it never takes.
    pub fn end(&self, sender: usize) {
        self.senders[sender].ended.store(true, Ordering::Relaxed);
    }

    /// Sender: whether all others have ended.
    pub fn have_others_ended(&self, sender: usize) -> bool {
        // Relaxed: whoever sees it a moment later waits a moment longer.
        let mut others = self.senders.iter().zip(0..).filter(|(_, number)| *number != sender);
        others.all(|(told, _)| told.ended.load(Ordering::Relaxed))
    }

    /// Sender: up to when it is known what was seen. `Acquire` pairs with the `Release` in
    /// [`super::watch::Watch::look`], so that a sender that reads the moment also finds every blind slice before it.
    pub fn settled_until(&self) -> Tick {
        Tick::from_nanos(self.settled_until.load(Ordering::Acquire))
    }

    /// Sender: somebody on this path is asked whether it is whole, or would be if there was anybody.
    pub fn note_asked(&self, path: usize, now: Tick) {
        self.marks.note_asked(path, now);
    }

    /// Sender: whether this path must wait.
    #[inline]
    pub fn is_troubled(&self, path: usize) -> bool {
        self.troubled() & bit(path) != 0 && self.marks.is_troubled(path)
    }

    /// Sender: whether this path is given up.
    #[inline]
    pub fn is_lost(&self, path: usize) -> bool {
        self.lost() & bit(path) != 0 && self.marks.is_lost(path)
    }

    /// Sender: the paths that must wait, a bit for each. `Relaxed` like the next: a probe that leaves a moment too late
    /// is made void by the slice that follows.
    #[inline]
    pub fn troubled(&self) -> u64 {
        self.troubled.load(Ordering::Relaxed)
    }

    /// Sender: the paths that are given up, a bit for each.
    #[inline]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The bit of a path.
#[inline]
pub fn bit(path: usize) -> u64 {
    1 << path.min(MOST_PATHS - 1)
}
