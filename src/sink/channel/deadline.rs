//! How long one attempt may take, over all that it does: a receiver that sends a byte now and then would otherwise
//! hold it for ever, as each byte begins the timeout of a socket anew.
//!
//! It is the one place among the channels that looks at a clock, and that clock is good for nothing but giving up.

use std::io;
use std::time::{Duration, Instant};

/// When to give up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
}

/// The longest that anything may take, whatever is configured: a sum of times must fit a clock.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

impl Deadline {
    /// So long from now.
    pub fn after(timeout: Duration) -> Self {
        Deadline { at: Instant::now() + timeout.min(LONGEST) }
    }

    /// How long there is still; never nothing.
    ///
    /// # Errors
    /// When there is no time left.
    pub fn left(self) -> io::Result<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    /// The end of the first of so many equal parts of what is left: one address of several that says nothing must not
    /// take the time of the others.
    ///
    /// # Errors
    /// When there is no time left.
    pub fn part(self, of: usize) -> io::Result<Self> {
        let parts = u32::try_from(of.max(1)).unwrap_or(u32::MAX);
        Ok(Deadline::after(self.left()? / parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_runs_out_and_is_shared_evenly() {
        let over = Deadline::after(Duration::ZERO);
        assert_eq!(over.left().expect_err("over").kind(), io::ErrorKind::TimedOut);
        assert!(over.part(2).is_err());
        let long = Deadline::after(Duration::from_secs(100));
        let part = long.part(4).and_then(Deadline::left).expect("time");
        assert!((24..=25).contains(&part.as_secs()), "{part:?}");
        assert!(long.part(0).is_ok(), "no address at all is nobody's fault");
        assert!(Deadline::after(Duration::MAX).left().expect("time") <= LONGEST);
    }
}
