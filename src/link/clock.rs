//! Time, as the engine knows it: nanoseconds on a clock that never goes back.

use std::ops::{Add, Sub};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment: nanoseconds since the link's clock began.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tick(u64);

impl Tick {
    /// The moment this many nanoseconds after the clock began.
    pub fn from_nanos(nanos: u64) -> Self {
        Tick(nanos)
    }

    /// Nanoseconds since the clock began.
    pub fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier`; zero if it was not.
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Tick {
    type Output = Tick;

    fn add(self, span: Duration) -> Tick {
        Tick(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Tick {
    type Output = Tick;

    fn sub(self, span: Duration) -> Tick {
        Tick(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Something that knows the time and can wait.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Tick;

    /// Waits until `moment`, or somewhat longer.
    fn sleep_until(&self, moment: Tick);
}

/// The machine's monotonic clock, counted from the moment that the value was made.
#[derive(Clone, Copy, Debug)]
pub struct Monotonic {
    began: Instant,
}

impl Monotonic {
    /// A clock that begins now.
    #[expect(clippy::new_without_default, reason = "two of them differ; a default would hide that")]
    pub fn new() -> Self {
        // Ticks before the beginning must exist, for packets that the kernel stamped a moment earlier.
        Monotonic { began: Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or_else(Instant::now) }
    }

    /// What to take off a time stamp of the kernel's own monotonic clock, in nanoseconds, to get a tick. It never
    /// changes.
    pub fn kernel_offset(&self) -> u64 {
        let kernel = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let kernel = kernel.tv_sec as u64 * 1_000_000_000 + kernel.tv_nsec as u64;
        kernel.saturating_sub(self.now().0)
    }

    /// What to add to a time stamp of the wall clock, in nanoseconds since 1970, to get a tick. The wall clock may be
    /// set at any moment, so ask again for every batch of stamps.
    pub fn wall_offset(&self) -> i128 {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i128);
        i128::from(self.now().0) - wall
    }
}

impl Clock for Monotonic {
    fn now(&self) -> Tick {
        Tick(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn sleep_until(&self, moment: Tick) {
        let wait = moment.since(self.now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
    }
}
