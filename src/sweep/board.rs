//! The board: all that sender, receiver and driver share. Nothing on it is ever locked.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use super::canary::Canaries;
use super::caps::Place;
use super::cookie::Cookie;
use super::plan::{Plan, defaults};
use super::seeing::Seeing;
use super::times::SendTimes;
use crate::link::clock::Tick;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, CachePadded, Ordering, Queue};
use crate::target::Target;
use crate::target::address::number_of;
use crate::target::order::Order;
use crate::target::state::{Reason, State};
use crate::target::table::{Recorded, Table, TableError};

/// Answers that may wait for the driver. What does not fit is found in the table at the end, without its round-trip
/// time.
const ANSWERS: usize = 1 << 15;

/// How long one canary that has changed keeps the sweep from ending: long enough to ask several others.
const DOUBT: Duration = Duration::from_secs(1);

/// Hosts that may wait to be slowed down. One that finds no room is noticed again a little later.
const LIMITED: usize = 1 << 10;

/// Shared by the threads of one sweep. It holds one tile at a time: the whole, mostly.
#[derive(Debug)]
pub struct Board<'a> {
    /// What the sweep is to do.
    pub plan: &'a Plan,
    /// The order of probing.
    pub order: Order,
    /// What is known of each target of this tile.
    pub table: Table,
    /// When each was probed last.
    pub times: SendTimes,
    /// What probes carry.
    pub cookie: Cookie,
    /// What the receiver tells of its eyesight.
    pub seeing: Seeing,
    /// Targets that have answered and are asked on.
    pub canaries: Canaries,
    /// Hosts that answer only when they are asked again, on their way to each sender.
    pub limited: Vec<Queue<u64>>,
    /// Answers on their way to the driver.
    pub answers: Queue<Answer>,
    /// Counted by each sender.
    pub senders: Vec<SenderCounters>,
    /// How many senders have not ended yet.
    sending: AtomicUsize,
    /// Counted by the receiver: targets that have answered.
    pub answered: Counter,
    /// Those of them that are of the tiles before this one.
    answered_before: Counter,
    /// Counted by the receiver: targets that answered only to a later try that counts.
    pub late: Counter,
    /// Counted by the receiver: answers that did not settle their target, because they contradict others or are hints.
    pub unsettled: Counter,
    /// Counted by the receiver: targets that have been open at some time.
    pub open: Counter,
    /// Counted by the receiver: answers with a valid cookie.
    pub received: Counter,
    /// Counted by the receiver: probes that the link answered by itself, so that nothing left.
    pub known: Counter,
    /// Counted by the receiver: frames that are no answer to us.
    pub foreign: Counter,
    /// Read by the receiver from the kernel.
    pub dropped: Counter,
    /// Decided by the receiver: until when the answers of late may be somebody else's, in nanoseconds.
    doubted_until: Counter,
    /// Reckoned by the receiver: how long an answer may take, in nanoseconds.
    patience: Counter,
    /// Decided by the receiver: probes a second over all; 0 for no limit.
    rate: Counter,
    /// Noted by the receiver: whether an answer came by each path.
    heard: Box<[AtomicBool]>,
    /// Set to end the sweep early.
    pub stop: CachePadded<AtomicBool>,
}

/// What one sender counts.
#[derive(Debug, Default)]
pub struct SenderCounters {
    /// Probes that the link took.
    pub sent: Counter,
    /// Questions to canaries that it took.
    pub canaries: Counter,
    /// Times that it took no more of what it was given.
    pub refused: Counter,
    /// Answers that it took back.
    pub retracted: Counter,
    /// Probes that were set aside because it refused them again and again.
    pub set_aside: Counter,
    /// Times that what was set aside was given up at last.
    pub given_up: Counter,
}

/// An answer on its way to the driver.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Whose.
    pub position: u64,
    /// Round-trip time in microseconds, where it could be measured.
    pub rtt_us: Option<u32>,
    /// Hops left; 0 where the link does not know.
    pub ttl: u8,
    /// Whether something else was said of the target before.
    pub corrects: bool,
}

impl<'a> Board<'a> {
    /// A board for one sweep by as many senders, under this key.
    ///
    /// # Errors
    /// When there is no memory for the table.
    pub fn new(plan: &'a Plan, key: &[u8; 16], senders: usize) -> Result<Self, TableError> {
        let order = Order::new(plan.scope.len(), plan.seed);
        let longest = plan.tile.map_or(plan.scope.len(), |most| most.get().min(plan.scope.len()));
        let board = Board {
            plan,
            table: Table::new(longest)?,
            times: SendTimes::new(longest),
            cookie: Cookie::new(key, plan.source_ports),
            seeing: Seeing::new(senders).for_paths(plan.paths()),
            canaries: named_canaries(plan, &order),
            order,
            limited: (0..senders).map(|_| Queue::new(LIMITED)).collect(),
            answers: Queue::new(ANSWERS),
            senders: (0..senders).map(|_| SenderCounters::default()).collect(),
            sending: AtomicUsize::new(senders),
            answered: Counter::default(),
            answered_before: Counter::default(),
            late: Counter::default(),
            unsettled: Counter::default(),
            open: Counter::default(),
            received: Counter::default(),
            known: Counter::default(),
            foreign: Counter::default(),
            dropped: Counter::default(),
            doubted_until: Counter::default(),
            patience: Counter::default(),
            rate: Counter(CachePadded::new(AtomicU64::new(plan.rate.map_or(0, |pps| pps.get().into())))),
            heard: (0..plan.paths()).map(|_| AtomicBool::new(false)).collect(),
            stop: CachePadded::new(AtomicBool::new(false)),
        };
        board.turn_to(&plan.tiles().next().unwrap_or(0..longest));
        Ok(board)
    }

    /// Clears the board for a tile, of which nothing is known yet. To be called while no sender and no receiver runs.
    pub fn turn_to(&self, tile: &Range<u64>) {
        self.table.turn_to(tile);
        self.times.turn_to(tile.start);
        self.answered_before.set(self.answered());
        self.unsettled.set(0);
        self.senders.iter().for_each(|sender| sender.given_up.set(0));
        self.seeing.begin();
        self.sending.store(self.senders.len(), Ordering::Relaxed);
        self.stop.store(false, Ordering::Relaxed);
    }

    /// How long an answer may take.
    pub fn patience(&self) -> Duration {
        match self.patience.get() {
            0 => defaults::FIRST_PATIENCE,
            nanos => Duration::from_nanos(nanos),
        }
    }

    /// Receiver: says how long an answer may take, by what it has seen so far.
    pub fn set_patience(&self, patience: Duration) {
        self.patience.set(patience.as_nanos() as u64);
    }

    /// Receiver: a canary has answered otherwise than before. Whether somebody else has begun to answer for everybody
    /// is known when more of them have been asked.
    pub fn doubt_answers(&self, at: Tick) {
        self.doubted_until.set((at + DOUBT).as_nanos());
    }

    /// Sender: whether nothing speaks against the answers so far.
    pub fn is_calm(&self, now: Tick) -> bool {
        self.seeing.troubled() == 0 && now.as_nanos() >= self.doubted_until.get()
    }

    /// Probes a second over all, by what is known now; `None` for no limit.
    #[inline]
    pub fn rate(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(u32::try_from(self.rate.get()).unwrap_or(u32::MAX))
    }

    /// Receiver: says how fast the sweep may go from now on.
    pub fn set_rate(&self, pps: u32) {
        self.rate.set(u64::from(pps.max(1)));
    }

    /// Whether an answer has come by a path.
    #[inline]
    pub fn has_heard(&self, path: usize) -> bool {
        // Relaxed: it only ever becomes true, and is asked for in earnest once the threads have joined.
        self.heard.get(path).is_some_and(|heard| heard.load(Ordering::Relaxed))
    }

    /// Receiver: an answer has come by a path.
    pub fn note_heard(&self, path: usize) {
        if let Some(heard) = self.heard.get(path) {
            heard.store(true, Ordering::Relaxed);
        }
    }

    /// The target in a place of the order.
    #[inline]
    pub fn target_at(&self, position: u64) -> Target {
        self.plan.scope.target(self.order.index_at(position))
    }

    /// Whom a probe to a target goes to, as the caps see it.
    #[inline]
    pub fn place_of(&self, index: u64, ip: IpAddr) -> Place {
        let (number, host_bits) = (number_of(ip), if ip.is_ipv4() { 8 } else { 64 });
        Place { host: self.plan.scope.host_index(index), network: (number >> host_bits) as u64 }
    }

    /// Questions to canaries that the link took.
    pub fn asked(&self) -> u64 {
        self.senders.iter().map(|sender| sender.canaries.get()).sum()
    }

    /// Probes that the link took, of all senders.
    pub fn sent(&self) -> u64 {
        self.senders.iter().map(|sender| sender.sent.get()).sum()
    }

    /// Times that the link refused a probe, of all senders.
    pub fn refused(&self) -> u64 {
        self.senders.iter().map(|sender| sender.refused.get()).sum()
    }

    /// Targets whose answers stand. A sender that reads it sees at least what it took back itself, and so does not
    /// believe its own part to be done when it is not.
    pub fn answered(&self) -> u64 {
        let retracted: u64 = self.senders.iter().map(|sender| sender.retracted.get()).sum();
        self.answered.get().saturating_sub(retracted)
    }

    /// Probes that were set aside because the link refused them again and again, of all senders.
    pub fn set_aside(&self) -> u64 {
        self.senders.iter().map(|sender| sender.set_aside.get()).sum()
    }

    /// Whether targets that need a probe were left without, because the link refused it to the end.
    pub fn has_given_up(&self) -> bool {
        self.senders.iter().any(|sender| sender.given_up.get() > 0)
    }

    /// Whether every target of this tile has answered, and none needs to be asked again.
    pub fn is_all_answered(&self) -> bool {
        let answered = self.answered().saturating_sub(self.answered_before.get());
        answered == self.table.len() && self.unsettled.get() == 0
    }

    /// Receiver: enters an answer to a probe of this target into the table and the counts.
    #[inline]
    pub fn enter(&self, position: u64, reason: Reason) -> Recorded {
        let recorded = self.table.record(position, reason);
        if recorded == Recorded::First || recorded == Recorded::Changed {
            if reason.state() == State::Open {
                self.open.add(1);
            }
            let is_contradiction =
                recorded == Recorded::Changed && self.table.get(position).is_contradictory();
            // Before it counts as answered, so that nobody takes the sweep for done in between.
            if is_contradiction || reason.is_hint() {
                self.unsettled.add(1);
            }
        }
        if recorded == Recorded::First {
            self.answered.add(1);
        }
        recorded
    }

    /// A sender has ended, and has come to the end of its part or not. The last one ends the sweep, and so does one
    /// that gave up. Says whether it is over by that. `AcqRel`, so that whoever finds the end finds what every sender
    /// did.
    pub fn leave(&self, is_done: bool) -> bool {
        let is_last = self.sending.fetch_sub(1, Ordering::AcqRel) == 1;
        let is_over = is_last || !is_done;
        if is_over {
            self.end();
        }
        is_over
    }

    /// Asks all threads to end.
    pub fn end(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether all threads were asked to end.
    pub fn is_ending(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// Those that somebody has named, in their places from the beginning.
fn named_canaries(plan: &Plan, order: &Order) -> Canaries {
    let mut canaries = Canaries::new(plan.paths());
    for target in &plan.canaries {
        if let Some(index) = plan.scope.index_of(target.ip, target.port) {
            canaries.seat(plan.path_of(target.ip), order.position_of(index));
        }
    }
    canaries
}

/// A number that one thread counts and others read. `Relaxed`, because nothing is concluded from it about other memory;
/// the one conclusion that ends a sweep ("every target has answered") is checked again after the threads have joined.
#[derive(Debug, Default)]
pub struct Counter(CachePadded<AtomicU64>);

impl Counter {
    /// The count.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Owner: sets it.
    #[inline]
    pub fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    /// Owner: adds to it. Not atomic as a whole, which is why it is the owner's alone.
    #[inline]
    pub fn add(&self, more: u64) {
        self.set(self.get() + more);
    }
}
