//! The one place that atomics come from, so that the model checker can take them over.
//!
//! With the feature `loom` (only `tests/model.rs` turns it on) the same code runs on loom's atomics, which try every
//! interleaving that the memory model allows. Nothing else in the crate imports `std::sync::atomic`; `tests/tidy.rs`
//! holds it to that.

pub use crossbeam::utils::CachePadded;

#[cfg(not(feature = "loom"))]
pub use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};

#[cfg(feature = "loom")]
pub use loom::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// A word that the kernel shares with us. Never loom's, which cannot live in memory that it did not allocate.
pub use std::sync::atomic::AtomicU32 as KernelU32;

/// A flag that a signal sets. Never loom's either: signal handlers are given std's.
pub use std::sync::atomic::AtomicBool as SignalFlag;

/// A bounded queue between threads.
#[cfg(not(feature = "loom"))]
pub use crossbeam::queue::ArrayQueue as Queue;

#[cfg(feature = "loom")]
pub use modelled::Queue;

/// What stands in for the queue in a model. crossbeam's works on atomics that loom does not see.
#[cfg(feature = "loom")]
mod modelled {
    use std::collections::VecDeque;

    use super::{AtomicUsize, Ordering};

    /// One producer, one consumer, and no more promised than by the real one: whoever finds an item also finds what its
    /// producer did before, but nobody need find an item as soon as it is there.
    #[derive(Debug)]
    pub struct Queue<T> {
        capacity: usize,
        pushed: AtomicUsize,
        popped: AtomicUsize,
        items: loom::sync::Mutex<VecDeque<T>>,
    }

    impl<T> Queue<T> {
        /// Room for as many items.
        pub fn new(capacity: usize) -> Self {
            Queue {
                capacity,
                pushed: AtomicUsize::new(0),
                popped: AtomicUsize::new(0),
                items: loom::sync::Mutex::new(VecDeque::new()),
            }
        }

        /// Whether there is no room.
        pub fn is_full(&self) -> bool {
            self.pushed.load(Ordering::Relaxed) - self.popped.load(Ordering::Acquire) >= self.capacity
        }

        /// Appends an item.
        ///
        /// # Errors
        /// The item, if there is no room.
        pub fn push(&self, item: T) -> Result<(), T> {
            if self.is_full() {
                return Err(item);
            }
            if let Ok(mut items) = self.items.lock() {
                items.push_back(item);
            }
            self.pushed.store(self.pushed.load(Ordering::Relaxed) + 1, Ordering::Release);
            Ok(())
        }

        /// The item that has waited longest. Looks at a counter first, so that an empty-looking queue is not locked: a
        /// lock would order more than the real queue does.
        pub fn pop(&self) -> Option<T> {
            let popped = self.popped.load(Ordering::Relaxed);
            if self.pushed.load(Ordering::Acquire) == popped {
                return None;
            }
            let item = self.items.lock().ok()?.pop_front();
            self.popped.store(popped + 1, Ordering::Release);
            item
        }
    }
}
