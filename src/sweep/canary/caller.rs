//! The sender's side of the canaries: who is asked, and when.

use std::time::Duration;

use super::{Canaries, Kind, PLACES, Question};
use crate::link::clock::Tick;

/// One canary is asked no more often than this.
const REST: Duration = Duration::from_millis(100);

/// Questions a second: a fiftieth of the probes, but enough to notice an outage soon, and never a burden.
const SHARE: u32 = 50;
const LEAST_PPS: u32 = 50;
const MOST_PPS: u32 = 1000;

/// But never more than this part of them.
const MOST_SHARE: u32 = 20;

/// While no probe is waiting to leave, one may follow another after this, however few the probes were.
const LINGERING: Duration = Duration::from_secs(1);

/// How soon to look again when there was nobody to ask.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Canaries that are looked at before a question is put off.
const MOST_LOOKED_AT: usize = PLACES;

/// Questions that may follow each other without a pause.
pub const MOST_AT_ONCE: u32 = 8;

/// Decides who is asked, and when. The paths take turns, and on each path the kinds and their places do, so that each
/// path is asked soon again however many there are.
#[derive(Debug)]
pub struct Caller {
    next_serial: u32,
    next_path: usize,
    /// Whose turn it is on each path.
    turns: Vec<Turn>,
    next_at: Tick,
    last_at: Tick,
    /// When to look again whether there is anybody to ask.
    next_look: Tick,
    asked: Vec<Tick>,
    /// Whether there was somebody to ask last time, whom no cap let pass.
    booked_out: bool,
}

/// Whose turn it is on one path: the kinds take turns, and so do the places of each.
#[derive(Clone, Copy, Debug)]
struct Turn {
    kind: Kind,
    next_place: [usize; 2],
}

impl Caller {
    /// Nobody asked yet, on as many paths.
    pub fn new(paths: usize) -> Self {
        Caller {
            next_serial: 0,
            next_path: 0,
            turns: vec![Turn { kind: Kind::Open, next_place: [0; 2] }; paths],
            next_at: Tick::default(),
            last_at: Tick::default(),
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

    /// Nothing else is to be sent at the moment, so questions take no probe's turn.
    pub fn hurry(&mut self) {
        self.next_at = self.next_at.min(self.last_at + LINGERING);
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
        let paths = self.turns.len();
        let mut looked_at = 0;
        for _ in 0..paths {
            let path = self.next_path;
            self.next_path = (path + 1) % paths;
            let may_ask = |position| {
                looked_at += 1;
                may_ask(position)
            };
            if let Some(question) = self.next_of(path, canaries, now, rate_pps, may_ask) {
                self.booked_out = false;
                return Some(question);
            }
            if looked_at >= MOST_LOOKED_AT {
                break;
            }
        }
        self.booked_out = looked_at > 0;
        self.next_look = now + LOOK_AGAIN;
        None
    }

    /// The same for one path, out of turn.
    pub fn next_of(
        &mut self,
        path: usize,
        canaries: &Canaries,
        now: Tick,
        rate_pps: u32,
        mut may_ask: impl FnMut(u64) -> bool,
    ) -> Option<Question> {
        let turn = *self.turns.get(path)?;
        for kind in [turn.kind, turn.kind.other()] {
            let first = turn.next_place[kind as usize];
            for step in 0..PLACES {
                let place = path * PLACES + (first + step) % PLACES;
                let Some((position, _)) = canaries.seated(place).filter(|(_, own)| *own == kind) else {
                    continue;
                };
                if now.since(self.asked[place]) < REST || !may_ask(position) {
                    continue;
                }
                let gap = gap_at(rate_pps);
                // A sender that works in batches makes good what it missed since the last one.
                self.next_at = (self.next_at + gap).max(now - gap * MOST_AT_ONCE);
                self.last_at = now;
                self.asked[place] = now;
                self.turns[path].kind = kind.other();
                self.turns[path].next_place[kind as usize] = (first + step + 1) % PLACES;
                self.next_serial = self.next_serial.wrapping_add(1);
                return Some(Question { serial: self.next_serial, place, position, kind, at: now });
            }
        }
        None
    }
}

/// The time between two questions while probes leave at this rate.
fn gap_at(rate_pps: u32) -> Duration {
    let gap = Duration::from_secs(1) / (rate_pps / SHARE).clamp(LEAST_PPS, MOST_PPS);
    gap.max(Duration::from_secs(MOST_SHARE.into()) / rate_pps.max(1))
}
