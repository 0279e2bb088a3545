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

use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use super::board::Board;
use super::host_cap::{HostCap, MOST_WAITING};
use super::pacer::Pacer;
use super::plan::defaults;
use crate::link::clock::Tick;
use crate::link::{LinkError, Probe, Transmit};
use crate::target::table::Void;

/// Probes handed to the link at once. Large enough that the system call's cost is spread thin, small enough that the
/// receiver's core gets the answers while they are fresh.
const BATCH: usize = 256;

/// Positions that the walk looks ahead: enough cache misses in flight at once to hide them behind each other.
const AHEAD: usize = 32;

/// Cells looked at in one step without finding anything to send.
const STRIDE: u64 = 1 << 16;

/// How long the sender rests after the link refused a probe.
const REFUSED_REST: Duration = Duration::from_micros(200);

/// How long the link may refuse everything before the sweep is given up.
const REFUSED_LIMIT: Duration = Duration::from_secs(5);

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

/// Sends the probes of one sweep.
pub struct Sender<'a, T> {
    board: &'a Board<'a>,
    /// Which of the sweep's senders this is, from 0.
    number: usize,
    /// The positions of this sender.
    stretch: Range<u64>,
    link: T,
    pacer: Pacer,
    host_cap: HostCap,
    /// The next position of this lap.
    cursor: u64,
    /// Positions that are about to be probed, and their indexes.
    ahead: Vec<(u64, u64)>,
    /// Whether this lap has found anything to do, so that another must follow.
    lap_worked: bool,
    /// Probes that are marked in the table but not yet taken by the link, and their positions.
    batch: Vec<Probe>,
    positions: Vec<u64>,
    last_sent: Tick,
    refused_since: Option<Tick>,
}

impl<'a, T: Transmit> Sender<'a, T> {
    /// The sweep's sender with this number (from 0), at the beginning of its first lap.
    pub fn new(board: &'a Board<'a>, number: usize, link: T) -> Self {
        let senders = board.senders.len() as u64;
        let cut = |n: u64| (u128::from(board.table.len()) * u128::from(n) / u128::from(senders)) as u64;
        let stretch = cut(number as u64)..cut(number as u64 + 1);
        let share = |rate: Option<NonZeroU32>| {
            // The first senders take the remainder. Never nothing, which would mean no limit.
            let part = |pps: u32| pps / senders as u32 + u32::from((number as u32) < pps % senders as u32);
            rate.and_then(|pps| NonZeroU32::new(part(pps.get()).max(1)))
        };
        Sender {
            board,
            number,
            cursor: stretch.start,
            stretch,
            link,
            pacer: Pacer::new(share(board.plan.rate)),
            host_cap: HostCap::new(board.plan.scope.hosts(), share(board.plan.host_rate)),
            ahead: Vec::with_capacity(AHEAD),
            lap_worked: false,
            batch: Vec::with_capacity(BATCH),
            positions: Vec::with_capacity(BATCH),
            last_sent: Tick::default(),
            refused_since: None,
        }
    }

    /// Does a bounded piece of work.
    ///
    /// # Errors
    /// When the link is broken.
    pub fn step(&mut self, now: Tick) -> Result<Step, LinkError> {
        self.void_blind_slices(now);
        if !self.batch.is_empty() {
            return self.hand_over(now);
        }
        // Between two steps the sender owes nothing, so this is where a sweep may end.
        if self.board.is_all_answered() {
            return Ok(Step::Finished);
        }
        let room = self.pacer.allowance(now, BATCH);
        if room == 0 {
            return Ok(Step::Wait(self.pacer.next_departure()));
        }
        let blocked = self.gather(now, room);
        if self.batch.is_empty() { Ok(self.rest(now, blocked)) } else { self.hand_over(now) }
    }

    /// Takes back what was marked but never left, and waits for nothing more. To be called once the driver is done with
    /// the sender, however it ended.
    pub fn abandon(&mut self) {
        self.board.seeing.end(self.number);
        for position in self.positions.drain(..) {
            self.board.table.unmark_probed(position);
        }
        self.batch.clear();
    }

    /// Fills the batch with at most `room` probes. Says until when the walk is blocked, if it is.
    fn gather(&mut self, now: Tick, room: usize) -> Option<Tick> {
        // FIRST, whoever has waited for its host's slot.
        while self.batch.len() < room {
            let Some(position) = self.host_cap.due(now) else { break };
            if self.board.table.get(position).needs_probe(self.board.plan.tries) {
                let index = self.board.order.index_at(position);
                self.add_probe(position, index, now);
            }
        }
        // THEN, on with the walk, a stride at a time.
        let end = self.stretch.end.min(self.cursor + STRIDE);
        while self.batch.len() < room && self.cursor < end && self.host_cap.waiting() < MOST_WAITING {
            let blocked = self.look_ahead(now, end, room - self.batch.len());
            // Hosts come in no order, so each one's book is a cache miss. Reading all of them before any is needed lets
            // the misses overlap.
            self.host_cap.warm(self.ahead.iter().map(|(_, index)| self.board.plan.scope.host_index(*index)));
            for at in 0..self.ahead.len() {
                let (position, index) = self.ahead[at];
                if self.host_cap.admit(self.board.plan.scope.host_index(index), position, now) {
                    self.add_probe(position, index, now);
                }
            }
            if blocked.is_some() {
                return blocked;
            }
        }
        None
    }

    /// Walks on to the next positions that need a probe, at most `most` and [`AHEAD`] of them, and notes them with
    /// their indexes. Says until when the walk is blocked, if it is.
    fn look_ahead(&mut self, now: Tick, end: u64, most: usize) -> Option<Tick> {
        let space = self.board.patience().max(defaults::SPACE_BETWEEN_TRIES);
        self.ahead.clear();
        while self.ahead.len() < most.min(AHEAD) && self.cursor < end {
            let position = self.cursor;
            let cell = self.board.table.get(position);
            if cell.needs_probe(self.board.plan.tries) {
                // A target that was probed less than a second ago holds up the walk: those behind it were probed later.
                if cell.sent() > 0 {
                    let elapsed = self.board.times.elapsed(position, now);
                    if elapsed < space {
                        return Some(now + (space - elapsed));
                    }
                }
                self.lap_worked = true;
                self.ahead.push((position, self.board.order.index_at(position)));
            }
            self.cursor += 1;
        }
        None
    }

    /// Makes the probe, and marks it before it can possibly be answered.
    #[inline]
    fn add_probe(&mut self, position: u64, index: u64, now: Tick) {
        let target = self.board.plan.scope.target(index);
        let source = self.link.source(target.ip);
        let try_number = self.board.table.mark_probed(position);
        self.board.times.note(position, now);
        let token = self.board.cookie.token(source, &target, try_number);
        self.positions.push(position);
        self.batch.push(Probe {
            ip: target.ip,
            port: target.port,
            source,
            source_port: token.source_port,
            sequence: token.sequence,
        });
    }

    /// Gives the batch to the link. What it refuses stays, and goes first next time.
    fn hand_over(&mut self, now: Tick) -> Result<Step, LinkError> {
        let taken = self.link.transmit(&self.batch)?;
        if taken > 0 {
            self.pacer.spend(now, taken);
            self.board.senders[self.number].sent.add(taken as u64);
            self.last_sent = now;
            self.refused_since = None;
        }
        if taken == self.batch.len() {
            self.batch.clear();
            self.positions.clear();
            return Ok(Step::Again);
        }
        self.batch.drain(..taken);
        self.positions.drain(..taken);
        for position in &self.positions {
            self.board.times.note(*position, now);
        }
        self.board.senders[self.number].refused.add(1);
        let since = *self.refused_since.get_or_insert(now);
        if now.since(since) > REFUSED_LIMIT { Ok(Step::Refused) } else { Ok(Step::Wait(now + REFUSED_REST)) }
    }

    /// What to do when nothing can be sent now.
    fn rest(&mut self, now: Tick, blocked: Option<Tick>) -> Step {
        let walk_on = match blocked {
            Some(until) => Some(until),
            None if self.host_cap.waiting() >= MOST_WAITING => None,
            None if self.cursor < self.stretch.end => return Step::Again,
            None => None,
        };
        match (walk_on, self.host_cap.next_due()) {
            (Some(walk), Some(due)) => return Step::Wait(walk.min(due)),
            (Some(moment), None) | (None, Some(moment)) => return Step::Wait(moment),
            (None, None) => {}
        }
        if std::mem::take(&mut self.lap_worked) {
            self.cursor = self.stretch.start;
            return Step::Again;
        }
        self.linger(now)
    }

    /// Waits for the last answers, until all of the waiting has provably been seen.
    fn linger(&mut self, now: Tick) -> Step {
        let until = self.last_sent + self.board.patience();
        if self.board.seeing.settled_until() < until {
            return Step::Wait(now + LINGER_REST);
        }
        // The slices once more, and only now: one may have come in, together with the moment that was just read, since
        // this step began.
        self.void_blind_slices(now);
        if self.lap_worked { Step::Again } else { Step::Finished }
    }

    /// Makes void what was in flight while the receiver was blind.
    fn void_blind_slices(&mut self, now: Tick) {
        while let Some(slice) = self.board.seeing.take_blind(self.number) {
            // A slice longer than the space between tries may have swallowed the answers to several.
            let which = if slice.to.since(slice.from) + self.board.patience() < defaults::SPACE_BETWEEN_TRIES
            {
                Void::Last
            } else {
                Void::All
            };
            // Up to now, not to the slice's end: a target that was probed again in between had its last try then.
            let from = slice.from - self.board.patience();
            self.board.times.sent_between(self.stretch.clone(), from, now, |position| {
                self.lap_worked |= self.board.table.void(position, which);
            });
        }
    }
}
