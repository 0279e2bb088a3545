//! The board: all that sender, receiver and driver share. Nothing on it is ever locked.

use std::time::Duration;

use super::cookie::Cookie;
use super::plan::{Plan, defaults};
use super::seeing::Seeing;
use super::times::SendTimes;
use crate::sync::{AtomicBool, AtomicU64, CachePadded, Ordering, Queue};
use crate::target::order::Order;
use crate::target::table::{Table, TableError};

/// Answers that may wait for the driver. What does not fit is found in the table at the end, without its round-trip
/// time.
const ANSWERS: usize = 1 << 16;

/// Shared by the threads of one sweep.
#[derive(Debug)]
pub struct Board<'a> {
    /// What the sweep is to do.
    pub plan: &'a Plan,
    /// The order of probing.
    pub order: Order,
    /// What is known of each target.
    pub table: Table,
    /// When each was probed last.
    pub times: SendTimes,
    /// What probes carry.
    pub cookie: Cookie,
    /// What the receiver tells of its eyesight.
    pub seeing: Seeing,
    /// Answers on their way to the driver.
    pub answers: Queue<Answer>,
    /// Counted by each sender.
    pub senders: Vec<SenderCounters>,
    /// Counted by the receiver: targets that have answered.
    pub answered: Counter,
    /// Counted by the receiver: targets that have been open at some time.
    pub open: Counter,
    /// Counted by the receiver: answers with a valid cookie.
    pub received: Counter,
    /// Counted by the receiver: frames that are no answer to us.
    pub foreign: Counter,
    /// Read by the receiver from the kernel.
    pub dropped: Counter,
    /// Reckoned by the receiver: how long an answer may take, in nanoseconds.
    patience: Counter,
    /// Set to end the sweep early.
    pub stop: CachePadded<AtomicBool>,
}

/// What one sender counts.
#[derive(Debug, Default)]
pub struct SenderCounters {
    /// Probes that the link took.
    pub sent: Counter,
    /// Times that it refused one.
    pub refused: Counter,
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
}

impl<'a> Board<'a> {
    /// A board for one sweep by as many senders, under this key.
    ///
    /// # Errors
    /// When there is no memory for the table.
    pub fn new(plan: &'a Plan, key: &[u8; 16], senders: usize) -> Result<Self, TableError> {
        let len = plan.scope.len();
        Ok(Board {
            plan,
            order: Order::new(len, plan.seed),
            table: Table::new(len)?,
            times: SendTimes::new(len),
            cookie: Cookie::new(key, plan.source_ports),
            seeing: Seeing::new(senders),
            answers: Queue::new(ANSWERS),
            senders: (0..senders).map(|_| SenderCounters::default()).collect(),
            answered: Counter::default(),
            open: Counter::default(),
            received: Counter::default(),
            foreign: Counter::default(),
            dropped: Counter::default(),
            patience: Counter::default(),
            stop: CachePadded::new(AtomicBool::new(false)),
        })
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

    /// Probes that the link took, of all senders.
    pub fn sent(&self) -> u64 {
        self.senders.iter().map(|sender| sender.sent.get()).sum()
    }

    /// Times that the link refused a probe, of all senders.
    pub fn refused(&self) -> u64 {
        self.senders.iter().map(|sender| sender.refused.get()).sum()
    }

    /// Whether every target has answered.
    pub fn is_all_answered(&self) -> bool {
        self.answered.get() == self.table.len()
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
