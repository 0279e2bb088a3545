//! The sender: which probe leaves when.
//!
//! It walks the table front to back, lap after lap. A lap probes every target that still needs it: silent, and with too
//! few tries that count. A target is probed again no sooner than a second after its last try, so a lap catches up with
//! the one before it and then waits. A lap that finds nothing to do is the last, unless the receiver reports that it
//! was blind for a while; then what was in flight is void and the laps go on.
//!
//! Several senders may share a sweep where one core is not enough: each has a stretch of the table to itself, and its
//! share of the rate and of each host's cap.
//!
//! The sender is a state machine that is told the time: the driver's threads run it on the machine's clock, tests run
//! it in virtual time.

mod batch;
mod canaries;
mod voiding;

use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use self::batch::Addressee;
use super::board::Board;
use super::canary::Caller;
use super::caps::{Caps, Entry, Extent};
use super::limited::SlowHosts;
use super::pacer::Pacer;
use super::plan::defaults;
use crate::link::clock::Tick;
use crate::link::{LinkError, Probe, Transmit};
use crate::target::Target;

/// Probes handed to the link at once. Large enough that the system call's cost is spread thin, small enough that the
/// receiver's core gets the answers while they are fresh.
const BATCH: usize = 256;

/// Positions that the walk looks ahead: enough cache misses in flight at once to hide them behind each other.
const AHEAD: usize = super::caps::MOST_AT_ONCE as usize;

/// Cells looked at in one step without finding anything to send.
const STRIDE: u64 = 1 << 16;

/// How long the sender rests after the link refused a probe.
const REFUSED_REST: Duration = Duration::from_micros(200);

/// How long the link may refuse everything before the sweep is given up.
const REFUSED_LIMIT: Duration = Duration::from_secs(5);

/// How long the link may refuse one probe before that is set aside for a later lap; and how many it may refuse
/// at a time while it takes others.
const SET_ASIDE_AFTER: Duration = Duration::from_secs(1);
const MOST_REFUSED: usize = 16;

/// How often the sender looks whether a path is whole again.
const TROUBLE_REST: Duration = Duration::from_millis(20);

/// How often the sender looks whether the last answers are in.
const LINGER_REST: Duration = Duration::from_millis(5);

/// What the driver is to do after a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Step again at once.
    Again,
    /// Step again at this moment, or a little later.
    Wait(Tick),
    /// Every target has its state.
    Finished,
    /// The link has taken no probe for too long.
    Refused,
}

/// A target that is about to be probed.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    position: u64,
    target: Target,
    entry: Entry,
}

/// Sends the probes of one sweep.
pub struct Sender<'a, T> {
    board: &'a Board<'a>,
    /// Which of the sweep's senders this is, from 0.
    number: usize,
    /// The positions of this sender.
    stretch: Range<u64>,
    link: T,
    pacer: Pacer,
    caps: Caps,
    slow_hosts: SlowHosts,
    /// Asks the canaries, if this is the first of the senders.
    caller: Option<Caller>,
    /// What the caps let pass of all senders together, in probes a second.
    capped_pps: u32,
    /// Which slots are given to questions.
    lot: u64,
    /// The next position of this lap.
    cursor: u64,
    /// Where the walk is among the times of sending, of which several targets may share one: the last time was long
    /// enough ago, or was that of this lap's own probes.
    passed: Option<usize>,
    /// What is about to be probed.
    ahead: Vec<Ahead>,
    /// Whether this lap has found anything to do, so that another must follow.
    lap_worked: bool,
    /// Targets that this lap has found to be probed, and how many were set aside in it and in the one before.
    lap_found: u64,
    set_aside: [u64; 2],
    /// What is added to the space between tries in this lap. Loss comes in bursts, and bursts may come by the clock:
    /// tries that are exactly a second apart could all fall into them.
    lap_jitter: Duration,
    /// Probes that are marked in the table but not yet taken by the link, and whom each is for.
    batch: Vec<Probe>,
    addressees: Vec<Addressee>,
    /// Since when each of those that the link refused, which stand first in the batch, has been refused.
    waits: Vec<Tick>,
    /// The places in the batch that the link refused.
    refused: Vec<usize>,
    last_sent: Tick,
    /// Since when the link has refused what it was given: everything, and at least every probe.
    refused_since: Option<Tick>,
    stuck_since: Option<Tick>,
    /// Since when all that the sender waits for has been on its way to the device.
    draining_since: Option<Tick>,
}

impl<'a, T: Transmit> Sender<'a, T> {
    /// The sweep's sender with this number (from 0), at the beginning of its first lap.
    pub fn new(board: &'a Board<'a>, number: usize, link: T) -> Self {
        let stretch = stretch(board.table.tile(), number, board.senders.len());
        let share = |rate| share(rate, number, board.senders.len());
        let host_rate = share(board.plan.host_rate);
        let scope = &board.plan.scope;
        let networks = canaries::networks_of(scope);
        let extent = Extent { hosts: scope.hosts(), networks, senders: board.senders.len() };
        Sender {
            board,
            number,
            cursor: stretch.start,
            stretch,
            link,
            pacer: Pacer::new(share(board.rate())),
            caps: Caps::new(extent, host_rate, share(board.plan.network_rate)),
            slow_hosts: SlowHosts::new(host_rate),
            caller: (number == 0).then(|| Caller::new(board.plan.paths())),
            capped_pps: canaries::capped_pps(board.plan, networks),
            lot: board.plan.seed.wrapping_mul(0x2545_f491_4f6c_dd1d),
            passed: None,
            ahead: Vec::with_capacity(AHEAD),
            lap_worked: false,
            lap_found: 0,
            set_aside: [0; 2],
            lap_jitter: Duration::ZERO,
            batch: Vec::with_capacity(BATCH),
            addressees: Vec::with_capacity(BATCH),
            waits: Vec::with_capacity(BATCH),
            refused: Vec::with_capacity(BATCH),
            last_sent: Tick::default(),
            refused_since: None,
            stuck_since: None,
            draining_since: None,
        }
    }

    /// Begins with the tile that the board was turned to. What was learned of hosts and rates remains.
    pub fn turn(&mut self) {
        self.stretch = stretch(self.board.table.tile(), self.number, self.board.senders.len());
        (self.cursor, self.passed) = (self.stretch.start, None);
        // Those who waited for a slot have answered meanwhile.
        self.caps.clear();
        (self.lap_worked, self.lap_found, self.set_aside) = (false, 0, [0; 2]);
        self.lap_jitter = Duration::ZERO;
        (self.refused_since, self.stuck_since) = (None, None);
    }

    /// Does a bounded piece of work.
    ///
    /// # Errors
    /// When the link is broken.
    pub fn step(&mut self, now: Tick) -> Result<Step, LinkError> {
        self.void_blind_slices(now);
        self.slow_down_limited(now);
        if self.board.plan.governed {
            self.pacer.set_rate(share(self.board.rate(), self.number, self.board.senders.len()));
        }
        // Where the sender owes nothing between two steps is where a sweep may end.
        if self.batch.is_empty() && self.board.is_all_answered() && self.board.is_calm(now) {
            // Whoever asks the canaries stays as long as others may have to take back an answer.
            let is_needed = self.caller.is_some() && !self.board.seeing.have_others_ended(self.number);
            return Ok(if is_needed { Step::Wait(now + LINGER_REST) } else { Step::Finished });
        }
        let room = self.pacer.allowance(now, BATCH);
        if room == 0 {
            return Ok(Step::Wait(self.pacer.next_departure()));
        }
        self.ask_canaries(now);
        let blocked = self.gather(now, room);
        self.spread_questions();
        if self.batch.is_empty() { Ok(self.rest(now, blocked)) } else { self.hand_over(now) }
    }

    /// Fills the batch with at most `room` probes. Says until when the walk is blocked, if it is.
    fn gather(&mut self, now: Tick, room: usize) -> Option<Tick> {
        // FIRST, whoever has waited for its host's slot.
        while self.batch.len() < room {
            let Some(position) = self.caps.due(now) else { break };
            if !self.board.table.get(position).needs_probe(self.board.plan.tries) {
                continue;
            }
            let index = self.board.order.index_at(position);
            if self.is_held_up(index) {
                // The slot is gone. The next lap finds the target again.
                self.lap_worked = true;
            } else if !self.draws_question(now) || self.gets_slot(position, index, now) {
                if self.batch.len() < room {
                    self.add_probe(position, &self.board.plan.scope.target(index), now);
                } else {
                    // The question has taken the last place.
                    self.lap_worked = true;
                }
            }
        }
        // THEN, on with the walk, a stride at a time.
        let end = self.stretch.end.min(self.cursor + STRIDE);
        while self.batch.len() < room && self.cursor < end && self.caps.has_room() {
            let blocked = self.look_ahead(now, end, room - self.batch.len());
            // Hosts come in no order, so each one's book is a cache miss. Reading all of them before any is needed lets
            // the misses overlap.
            self.caps.warm(self.ahead.iter().map(|ahead| ahead.entry));
            for at in 0..self.ahead.len() {
                let Ahead { position, target, entry } = self.ahead[at];
                if self.caps.admit(entry, position, now) {
                    self.add_probe(position, &target, now);
                }
            }
            if blocked.is_some() {
                return blocked;
            }
        }
        None
    }

    /// Whether a probe whose slot may be taken by a question leaves all the same. If not, it has booked another slot.
    fn gets_slot(&mut self, position: u64, index: u64, now: Tick) -> bool {
        let ip = self.board.plan.scope.target(index).ip;
        let place = self.board.place_of(index, ip);
        !self.ask_canary_at(place, self.board.plan.path_of(ip), now)
            || self.caps.admit(self.caps.entry_of(place), position, now)
    }

    /// Walks on to the next targets that need a probe, at most `most` and [`AHEAD`] of them, and notes them. Says until
    /// when the walk is blocked, if it is.
    fn look_ahead(&mut self, now: Tick, end: u64, most: usize) -> Option<Tick> {
        let space = self.board.patience().max(defaults::SPACE_BETWEEN_TRIES) + self.lap_jitter;
        let seeing = &self.board.seeing;
        let (troubled, lost) = (seeing.troubled(), seeing.lost());
        self.ahead.clear();
        while self.ahead.len() < most.min(AHEAD) && self.cursor < end {
            let position = self.cursor;
            let cell = self.board.table.get(position);
            if cell.needs_probe(self.board.plan.tries) {
                let index = self.board.order.index_at(position);
                let target = self.board.plan.scope.target(index);
                if troubled | lost != 0 {
                    let path = self.board.plan.path_of(target.ip);
                    if seeing.is_troubled(path) {
                        return Some(now + TROUBLE_REST);
                    }
                    if seeing.is_lost(path) {
                        self.cursor += 1;
                        continue;
                    }
                }
                // A target that was probed less than a second ago holds up the walk: those behind it were probed later.
                let block = self.board.times.block_of(position);
                if cell.sent() > 0 && self.passed != Some(block) {
                    let elapsed = self.board.times.elapsed(position, now);
                    if elapsed < space {
                        return Some(now + (space - elapsed));
                    }
                    self.passed = Some(block);
                }
                self.lap_worked = true;
                self.lap_found += 1;
                let entry = self.caps.entry_of(self.board.place_of(index, target.ip));
                self.ahead.push(Ahead { position, target, entry });
            }
            self.cursor += 1;
        }
        None
    }

    /// Whether the path to a target is in trouble, or lost.
    fn is_held_up(&self, index: u64) -> bool {
        let seeing = &self.board.seeing;
        if seeing.troubled() | seeing.lost() == 0 {
            return false;
        }
        let path = self.board.plan.path_of(self.board.plan.scope.target(index).ip);
        seeing.is_troubled(path) || seeing.is_lost(path)
    }

    /// What to do when nothing can be sent now.
    fn rest(&mut self, now: Tick, blocked: Option<Tick>) -> Step {
        let walk_on = match blocked {
            Some(until) => Some(until),
            None if !self.caps.has_room() => None,
            None if self.cursor < self.stretch.end => return Step::Again,
            None => None,
        };
        match (walk_on, self.caps.next_due()) {
            (Some(walk), Some(due)) => return Step::Wait(walk.min(due)),
            (Some(moment), None) | (None, Some(moment)) => return Step::Wait(moment),
            (None, None) => {}
        }
        if std::mem::take(&mut self.lap_worked) {
            (self.cursor, self.passed) = (self.stretch.start, None);
            self.lap_found = 0;
            self.set_aside = [0, self.set_aside[0]];
            let share = self.last_sent.as_nanos().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
            self.lap_jitter = defaults::MOST_LAP_JITTER * share as u32 / 256;
            return Step::Again;
        }
        self.linger(now)
    }

    /// Waits for the last answers, until all of the waiting has provably been seen.
    fn linger(&mut self, now: Tick) -> Step {
        self.press_for_word(now);
        if self.link.is_draining() {
            // Whoever watches a path in trouble decides when to give up.
            if self.board.seeing.troubled() != 0 {
                (self.last_sent, self.draining_since) = (now, None);
                return Step::Wait(now + TROUBLE_REST);
            }
            let since = *self.draining_since.get_or_insert(now);
            if now.since(since) <= REFUSED_LIMIT {
                // Nothing is waited for before it has left.
                self.last_sent = now;
                return Step::Wait(now + LINGER_REST);
            }
            // What waits for a path that is given up never leaves, and is void. The others are not to suffer for it.
            if self.board.seeing.lost() == 0 {
                return Step::Refused;
            }
        } else {
            self.draining_since = None;
        }
        let until = self.last_sent + self.board.patience();
        if self.board.seeing.settled_until() < until || !self.board.is_calm(now) {
            return Step::Wait(now + LINGER_REST);
        }
        // The slices once more, and only now: one may have come in, together with the moment that was just read, since
        // this step began.
        self.void_blind_slices(now);
        if self.lap_worked {
            return Step::Again;
        }
        // Whoever asks the canaries goes on as long as anybody needs their word.
        if self.caller.is_some() && !self.board.seeing.have_others_ended(self.number) {
            return Step::Wait(now + LINGER_REST);
        }
        Step::Finished
    }
}

/// This sender's part of a tile: the parts of all senders follow each other from its beginning to its end.
fn stretch(tile: Range<u64>, number: usize, senders: usize) -> Range<u64> {
    let len = u128::from(tile.end - tile.start);
    let cut = |n: usize| tile.start + (len * n as u128 / senders as u128) as u64;
    cut(number)..cut(number + 1)
}

/// This sender's part of a rate. The first senders take the remainder. Never nothing, which would mean no limit.
fn share(rate: Option<NonZeroU32>, number: usize, senders: usize) -> Option<NonZeroU32> {
    let (number, senders) = (number as u32, senders as u32);
    let part = |pps: u32| pps / senders + u32::from(number < pps % senders);
    rate.and_then(|pps| NonZeroU32::new(part(pps.get()).max(1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stretches_follow_each_other_from_end_to_end(
            start in 0_u64..1 << 62,
            len in 1_u64..=1 << 62,
            senders in 1_usize..65,
        ) {
            let tile = start..start + len;
            let stretches: Vec<_> = (0..senders).map(|number| stretch(tile.clone(), number, senders)).collect();
            prop_assert_eq!((stretches[0].start, stretches[senders - 1].end), (start, start + len));
            for pair in stretches.windows(2) {
                prop_assert!(pair[0].start <= pair[0].end && pair[0].end == pair[1].start);
            }
        }
    }
}
