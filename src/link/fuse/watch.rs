//! The watch over a fuse while a sweep runs: a thread reads it, a guard ends the sweep.
//!
//! Reading means a child process, which takes too long for the receiver. So a thread of its own reads twice a second
//! and publishes what it saw; the guard, which the receiver asks all the time, only compares numbers.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::loaded::Loaded;
use super::{Fuse, FuseError};
use crate::link::LinkError;
use crate::link::clock::Tick;
use crate::link::guard::{Guard, Word};
use crate::sync::{AtomicU64, Ordering};

/// How often the fuse is read.
const BEAT: Duration = Duration::from_millis(500);

/// How long a sweep goes on without a reading: longer than an overloaded host needs, short enough to be no sweep
/// without a fuse.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the reading thread has seen.
#[derive(Debug, Default)]
struct Seen {
    /// Frames caught since the watch began.
    caught: AtomicU64,
    /// How often it was read.
    readings: AtomicU64,
    /// Why it can no longer be relied on.
    lost: OnceLock<FuseError>,
}

impl Seen {
    fn verdict(&self) -> Result<(), LinkError> {
        // The count first: what was caught is worse than not to know what else will be.
        match (self.caught.load(Ordering::Acquire), self.lost.get()) {
            (0, None) => Ok(()),
            (0, Some(why)) => Err(LinkError::FuseLost { why: why.clone() }),
            (caught, _) => Err(LinkError::Fuse { caught }),
        }
    }
}

/// A fuse under watch. Dropping it ends the watch.
#[derive(Debug)]
pub struct FuseWatch {
    seen: Arc<Seen>,
    /// Nothing is ever sent: that it is gone ends the thread.
    stop: mpsc::Sender<()>,
    /// Nothing is ever sent here either: that the other end is gone says that the thread has ended.
    ended: mpsc::Receiver<()>,
}

impl FuseWatch {
    /// Makes sure that this fuse is loaded, and watches it from now on.
    ///
    /// # Errors
    /// When it is not, or cannot be read.
    pub fn begin(fuse: Fuse) -> Result<Self, FuseError> {
        Self::over(move || {
            let loaded = Loaded::read()?;
            loaded.check(&fuse)?;
            Ok(loaded.caught)
        })
    }

    /// Watches whatever this reads.
    fn over(read: impl Fn() -> Result<u64, FuseError> + Send + 'static) -> Result<Self, FuseError> {
        let before = read()?;
        let seen = Arc::new(Seen::default());
        let (stop, stopped) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let shared = Arc::clone(&seen);
        let work = move || {
            watch(&shared, &stopped, before, &read);
            drop(end);
        };
        let thread = std::thread::Builder::new().name("fuse".into()).spawn(work);
        thread.map_err(|cause| FuseError::Unreadable { said: format!("no thread for it: {cause}") })?;
        Ok(FuseWatch { seen, stop, ended })
    }

    /// A guard that does what `inner` does and looks after the fuse as well.
    pub fn guard<G: Guard>(&self, inner: G) -> FuseGuard<G> {
        FuseGuard { inner, seen: Arc::clone(&self.seen), last: (0, None) }
    }

    /// Reads once more, now that the sweep is over, and ends the watch.
    ///
    /// # Errors
    /// When the fuse has caught anything, or can no longer be relied on.
    pub fn finish(self) -> Result<(), LinkError> {
        drop(self.stop);
        if self.ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            self.seen.verdict()?;
            return Err(LinkError::FuseLost { why: unheard() });
        }
        self.seen.verdict()
    }
}

/// Reads at every beat, and a last time when it is told to stop.
fn watch(seen: &Seen, stopped: &mpsc::Receiver<()>, before: u64, read: &impl Fn() -> Result<u64, FuseError>) {
    loop {
        let is_last = stopped.recv_timeout(BEAT) != Err(RecvTimeoutError::Timeout);
        match read().and_then(|count| count.checked_sub(before).ok_or(FuseError::Replaced)) {
            Ok(caught) => seen.caught.store(caught, Ordering::Release),
            Err(error) => {
                // It is set once only, for the thread ends with it.
                let _ = seen.lost.set(error);
            }
        }
        seen.readings.fetch_add(1, Ordering::Release);
        if is_last || seen.lost.get().is_some() {
            return;
        }
    }
}

fn unheard() -> FuseError {
    FuseError::Unheard { seconds: PATIENCE.as_secs() }
}

/// A guard that ends the sweep when the fuse has caught anything, or is gone.
#[derive(Debug)]
pub struct FuseGuard<G> {
    inner: G,
    seen: Arc<Seen>,
    /// The number of readings that were there at the last look that found a new one, and when that was.
    last: (u64, Option<Tick>),
}

impl<G: Guard> Guard for FuseGuard<G> {
    fn look(&mut self, now: Tick, tell: &mut dyn FnMut(usize, Word)) -> Result<(), LinkError> {
        self.seen.verdict()?;
        let readings = self.seen.readings.load(Ordering::Acquire);
        match self.last {
            (known, Some(since)) if known == readings => {
                if now.since(since) > PATIENCE {
                    return Err(LinkError::FuseLost { why: unheard() });
                }
            }
            _ => self.last = (readings, Some(now)),
        }
        self.inner.look(now, tell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::guard::NoGuard;

    /// A watch over a counter that this test moves.
    fn watched(counts: Vec<Result<u64, FuseError>>) -> FuseWatch {
        let (send, receive) = mpsc::channel();
        counts.into_iter().for_each(|count| send.send(count).expect("a receiver"));
        // What has been said last holds on.
        let last = std::cell::RefCell::new(Ok(0));
        let read = move || {
            if let Ok(count) = receive.try_recv() {
                *last.borrow_mut() = count;
            }
            last.borrow().clone()
        };
        FuseWatch::over(read).expect("a first reading")
    }

    /// What a guard says in the end, asked for four seconds of a watch.
    fn ending(watch: &FuseWatch) -> Result<(), String> {
        let mut guard = watch.guard(NoGuard { paths: 1 });
        for step in 0..80 {
            let now = Tick::from_nanos(step * 50_000_000);
            guard.look(now, &mut |_, _| {}).map_err(|error| error.to_string())?;
            std::thread::sleep(Duration::from_millis(50));
            if watch.seen.readings.load(Ordering::Acquire) > 2 {
                return Ok(());
            }
        }
        Ok(())
    }

    #[test]
    fn what_was_caught_before_is_none_of_ours() {
        let watch = watched(vec![Ok(5), Ok(5)]);
        assert_eq!(ending(&watch), Ok(()));
        assert!(watch.finish().is_ok());
    }

    #[test]
    fn a_caught_frame_ends_the_sweep() {
        let watch = watched(vec![Ok(5), Ok(5), Ok(8)]);
        let said = ending(&watch).expect_err("an end");
        assert!(said.contains("the fuse caught 3 frames"), "{said}");
        assert!(matches!(watch.finish(), Err(LinkError::Fuse { caught: 3 })));
    }

    #[test]
    fn the_last_look_sees_what_came_after_the_last_beat() {
        let watch = watched(vec![Ok(0), Ok(1)]);
        assert!(matches!(watch.finish(), Err(LinkError::Fuse { caught: 1 })));
    }

    #[test]
    fn a_fuse_that_is_gone_or_new_ends_the_sweep() {
        for (count, why) in [(Err(FuseError::NotLoaded), FuseError::NotLoaded), (Ok(4), FuseError::Replaced)]
        {
            let watch = watched(vec![Ok(5), count]);
            assert_eq!(ending(&watch), Err(LinkError::FuseLost { why }.to_string()));
        }
    }

    #[test]
    fn a_reading_that_never_comes_ends_the_sweep() {
        let watch = watched(vec![Ok(0)]);
        let mut guard = watch.guard(NoGuard { paths: 1 });
        // The clock of the guard may run away; that of the watch does not.
        let mut look = |seconds: u64| guard.look(Tick::from_nanos(seconds * 1_000_000_000), &mut |_, _| {});
        assert!(look(1).is_ok());
        assert!(look(11).is_ok());
        assert!(matches!(look(12), Err(LinkError::FuseLost { why: FuseError::Unheard { .. } })));
    }

    #[test]
    fn without_a_first_reading_there_is_no_watch() {
        assert_eq!(FuseWatch::over(|| Err(FuseError::NotPermitted)).err(), Some(FuseError::NotPermitted));
    }
}
