//! The lines that people watch while a sweep runs.

use std::fmt::Display;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{self, RecvTimeoutError, Sender};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output;
use crate::job::listener::Aside;
use crate::sweep::run::Progress;

/// How often the line is drawn, a second.
const DRAWS: u8 = 5;

/// A line on standard error: how far, how fast, what was found, what was lost, how long it will still take.
#[derive(Debug)]
pub struct ProgressLine {
    bar: ProgressBar,
    tries: u64,
    last: Option<(Duration, u64)>,
    pps: f64,
}

impl ProgressLine {
    /// A line for a sweep of this many targets, with as many tries at the silent ones.
    pub fn new(declared: u64, tries: u8) -> Self {
        let bar = ProgressBar::with_draw_target(Some(declared), ProgressDrawTarget::stderr_with_hz(DRAWS));
        if let Ok(style) = ProgressStyle::with_template("{bar:24.cyan/dim} {percent:>3}%  {msg}") {
            bar.set_style(style);
        }
        ProgressLine { bar, tries: u64::from(tries), last: None, pps: 0.0 }
    }

    /// Shows how far the sweep is.
    pub fn show(&mut self, progress: &Progress) {
        self.measure(progress);
        // What has not answered by now will be tried again, as far as anybody can tell.
        let silent = progress.sent.min(progress.declared).saturating_sub(progress.answered);
        let expected = progress.declared + silent * (self.tries - 1);
        let left = expected.saturating_sub(progress.sent);
        self.bar.set_length(expected.max(progress.sent));
        self.bar.set_position(progress.sent);
        let eta = if left == 0 {
            "waiting for the last answers".to_owned()
        } else if self.pps < 1.0 {
            "ETA ?".to_owned()
        } else {
            format!("ETA {}", in_words(Duration::from_secs_f64(left as f64 / self.pps)))
        };
        self.bar.set_message(format!(
            "{:.0} pps  {} answered  {} open  {} dropped  {eta}",
            self.pps, progress.answered, progress.open, progress.dropped
        ));
    }

    /// Takes the line away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// The rate over the last half second, at least.
    fn measure(&mut self, progress: &Progress) {
        match self.last {
            Some((then, sent)) if progress.elapsed - then >= Duration::from_millis(500) => {
                self.pps = (progress.sent - sent) as f64 / (progress.elapsed - then).as_secs_f64();
                self.last = Some((progress.elapsed, progress.sent));
            }
            Some(_) => {}
            None => self.last = Some((progress.elapsed, progress.sent)),
        }
    }
}

/// How long something may take before people are told what they wait for.
const SHORT: Duration = Duration::from_secs(1);

/// A line on standard error that says what is being waited for, from the second second on until it is dropped.
#[derive(Debug)]
struct Waiting {
    over: Option<Sender<()>>,
    teller: Option<JoinHandle<()>>,
}

impl Waiting {
    /// Waiting for this begins.
    fn begin(doing: &str) -> Self {
        let (over, is_over) = channel::bounded(0);
        let doing = doing.to_owned();
        let tell = move || {
            // Nothing is ever sent; the other end goes when it is over.
            if is_over.recv_timeout(SHORT) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(DRAWS));
            if let Ok(style) = ProgressStyle::with_template("{msg}: {elapsed}") {
                bar.set_style(style);
            }
            bar.set_message(doing);
            while is_over.recv_timeout(SHORT / u32::from(DRAWS)) == Err(RecvTimeoutError::Timeout) {
                bar.tick();
            }
            bar.finish_and_clear();
        };
        let teller = thread::Builder::new().name("waiting".to_owned());
        // Without a thread nobody is told, and nothing else is lost.
        let teller = if output::aside_is_seen() { teller.spawn(tell).ok() } else { None };
        Waiting { over: Some(over), teller }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.over.take());
        // The line must be gone before anything else is written there.
        if let Some(teller) = self.teller.take() {
            let _ = teller.join();
        }
    }
}

/// Standard error, where a run says what it waits for, and what broke on the way.
#[derive(Debug, Default)]
pub struct Terminal {
    waiting: Option<Waiting>,
}

impl Aside for Terminal {
    fn waiting(&mut self, doing: &str) {
        self.waiting = Some(Waiting::begin(doing));
    }

    fn waited(&mut self) {
        self.waiting = None;
    }

    fn warned(&mut self, what: &dyn Display) {
        output::complain(what);
    }
}

/// A time as people say it.
pub fn in_words(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_long_in_words() {
        for (seconds, words) in [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7320, "2 h 2 min")] {
            assert_eq!(in_words(Duration::from_secs(seconds)), words);
        }
    }
}
