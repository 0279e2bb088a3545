//! The paths one by one, however many there are: which are in trouble or lost, and how long nobody has vouched for
//! each.
//!
//! What the sender looks at for every probe is one word ([`super::seeing`]), which has a bit for each of the first
//! paths and one for all others. Only where a bit is set that several paths share, it looks here.

use std::time::Duration;

use super::seeing::MOST_PATHS;
use crate::link::clock::Tick;
use crate::sync::{AtomicU64, Ordering};

/// How long a path may go without a good word after somebody was asked for one, even if there is no bad one, and how
/// many more must have been asked, before it is given up.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(40);
const FORGOTTEN_QUESTIONS: u32 = 6;

/// Shared by sender and receiver. Everything here is `Relaxed`, as the word that is looked at first is: whoever sees
/// it a moment later sends a probe that is made void, or is patient for a moment longer.
#[derive(Debug, Default)]
pub struct PathMarks {
    /// Troubled and lost, for each 64 paths; empty where one word has a bit for each.
    wide: Box<[[AtomicU64; 2]]>,
    /// When somebody was last asked for a word on each path.
    asked: Box<[AtomicU64]>,
}

impl PathMarks {
    /// Nothing to say yet, of as many paths.
    pub fn new(paths: usize) -> Self {
        let words = if paths < MOST_PATHS { 0 } else { paths.div_ceil(64) };
        PathMarks {
            wide: (0..words).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect(),
            asked: (0..paths).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Sender: somebody on this path is asked, or would be if there was anybody.
    pub fn note_asked(&self, path: usize, now: Tick) {
        if let Some(asked) = self.asked.get(path) {
            asked.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    /// Receiver: when that was; `None` where nobody keeps count.
    pub fn asked(&self, path: usize) -> Option<Tick> {
        self.asked.get(path).map(|asked| Tick::from_nanos(asked.load(Ordering::Relaxed)))
    }

    /// Whether a path whose bit is set among the troubled is meant by that.
    pub fn is_troubled(&self, path: usize) -> bool {
        self.is_marked(path, 0)
    }

    /// Whether a path whose bit is set among the lost is meant by that.
    pub fn is_lost(&self, path: usize) -> bool {
        self.is_marked(path, 1)
    }

    fn is_marked(&self, path: usize, which: usize) -> bool {
        let word = self.wide.get(path / 64).map(|word| word[which].load(Ordering::Relaxed));
        word.is_none_or(|word| word >> (path % 64) & 1 == 1)
    }

    /// Receiver: marks each path as troubled, as lost, or as neither.
    pub fn mark(&self, fate_of: impl Fn(usize) -> Option<(bool, bool)>) {
        for (n, [troubled, lost]) in self.wide.iter().enumerate() {
            let fates = (0..64).map(|bit| fate_of(n * 64 + bit).unwrap_or_default());
            let (t, l) = fates.zip(0..).fold((0, 0), |(t, l), ((troubled, lost), bit)| {
                (t | u64::from(troubled) << bit, l | u64::from(lost) << bit)
            });
            troubled.store(t, Ordering::Relaxed);
            lost.store(l, Ordering::Relaxed);
        }
    }
}

/// How long nobody has answered on one path, of those that were asked. That nobody was asked is no fault of the path.
#[derive(Debug, Default)]
pub struct Unanswered {
    /// When somebody was asked last.
    asked: Tick,
    /// When somebody was asked first since the last good word, and how often since then.
    missed: Option<Tick>,
    times: u32,
}

impl Unanswered {
    /// Enters up to when the path is vouched for and when somebody was asked last, and says whether there has been no
    /// good word for too long. Where nobody keeps count, somebody is taken to be asked all the time.
    pub fn is_too_long(&mut self, vouched: Tick, asked: Option<Tick>, now: Tick) -> bool {
        let Some(asked) = asked else { return now.since(vouched) > FORGOTTEN_AFTER };
        if self.missed.is_none_or(|missed| missed <= vouched) {
            self.missed = (asked > vouched).then_some(asked);
            self.times = 0;
        }
        self.times += u32::from(asked != std::mem::replace(&mut self.asked, asked));
        let for_long = self.missed.is_some_and(|missed| now.since(missed) > FORGOTTEN_AFTER);
        for_long && self.times >= FORGOTTEN_QUESTIONS
    }
}
