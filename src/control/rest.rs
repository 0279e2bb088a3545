//! When a run rests: outside of the hours in which it may send, and once somebody has stopped it.

use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::hours::OpeningHours;
use crate::sync::{AtomicBool, Ordering, SignalFlag};

/// How often is looked whether the run has to rest.
pub const LOOK: Duration = Duration::from_millis(100);

/// Stops a tile when somebody stops the run, or when the hours are over in which it may send.
pub struct Rest<'a> {
    pub interrupt: &'a SignalFlag,
    pub opening: &'a OpeningHours,
    pub now: &'a (dyn Fn() -> Timestamp + Sync),
}

impl Rest<'_> {
    /// Does what can be stopped by the flag that it is given.
    pub fn during<T>(&self, work: impl FnOnce(&SignalFlag) -> T) -> T {
        let (stop, over) = (SignalFlag::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let watch = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let is_open = self.opening.open_until((self.now)()).is_some();
                    if self.interrupt.load(Ordering::Relaxed) || !is_open {
                        stop.store(true, Ordering::Relaxed);
                    }
                    thread::park_timeout(LOOK);
                }
            });
            // However the work ends, the watch ends with it.
            let _end = End { over: &over, watch: watch.thread() };
            work(&stop)
        })
    }
}

/// Ends a watch when it goes.
struct End<'a> {
    over: &'a AtomicBool,
    watch: &'a thread::Thread,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.watch.unpark();
    }
}
