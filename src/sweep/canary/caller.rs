//! The sender's side of the canaries: who is asked, and when.

use std::time::Duration;

use super::{Canaries, PLACES, Question};
use crate::link::clock::Tick;

/// One canary is asked no more often than this.
const REST: Duration = Duration::from_millis(100);

/// Questions a second: a fiftieth of the probes, but enough to notice an outage soon, and never a burden.
const SHARE: u32 = 50;
const LEAST_PPS: u32 = 50;
const MOST_PPS: u32 = 1000;

/// But never more than this part of them.
const MOST_SHARE: u32 = 20;

/// How soon to look again when there was nobody to ask.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Questions that may follow each other without a pause.
pub const MOST_AT_ONCE: u32 = 8;

/// Decides who is asked, and when.
#[derive(Debug)]
pub struct Caller {
    next_serial: u32,
    next_place: usize,
    next_at: Tick,
    /// When to look again whether there is anybody to ask.
    next_look: Tick,
    asked: Vec<Tick>,
    /// Whether there was somebody to ask last time, whom no cap let pass.
    booked_out: bool,
}

impl Caller {
    /// Nobody asked yet, on as many paths.
    pub fn new(paths: usize) -> Self {
        Caller {
            next_serial: 0,
            next_place: 0,
            next_at: Tick::default(),
            next_look: Tick::default(),
            asked: vec![Tick::default(); paths * PLACES],
            booked_out: false,
        }
    }

    /// Whether a question is due, and there was somebody to ask last time, whom no cap let pass.
    #[inline]
    pub fn is_booked_out(&self, now: Tick) -> bool {
        self.booked_out && now >= self.next_at
    }

    /// Whether a question is due.
    #[inline]
    pub fn is_due(&self, now: Tick) -> bool {
        now >= self.next_at && now >= self.next_look
    }

    /// The next question, to somebody that `may_ask` lets pass, while probes leave at this rate. Where nobody can be
    /// asked now, the next attempt is a moment later.
    pub fn next(
        &mut self,
        canaries: &Canaries,
        now: Tick,
        rate_pps: u32,
        mut may_ask: impl FnMut(u64) -> bool,
    ) -> Option<Question> {
        let pps = (rate_pps / SHARE).clamp(LEAST_PPS, MOST_PPS).min((rate_pps / MOST_SHARE).max(1));
        let gap = Duration::from_secs(1) / pps;
        self.booked_out = false;
        for step in 0..self.asked.len() {
            let place = (self.next_place + step) % self.asked.len();
            let Some((position, kind)) = canaries.seated(place) else { continue };
            if now.since(self.asked[place]) < REST {
                continue;
            }
            if may_ask(position) {
                // A sender that works in batches makes good what it missed since the last one.
                self.next_at = (self.next_at + gap).max(now - gap * MOST_AT_ONCE);
                self.asked[place] = now;
                self.next_place = place + 1;
                self.next_serial = self.next_serial.wrapping_add(1);
                self.booked_out = false;
                return Some(Question { serial: self.next_serial, place, position, kind, at: now });
            }
            self.booked_out = true;
        }
        self.next_look = now + LOOK_AGAIN;
        None
    }
}
