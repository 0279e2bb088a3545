//! The drivers of a sweep: one on the machine's clock with two threads, one in virtual time with none. They alone read
//! clocks.

use std::time::Duration;

use jiff::Timestamp;

use super::board::{Answer, Board};
use super::ledger::{Ledger, OpenBooks};
use super::plan::Plan;
use super::receiver::Receiver;
use super::report::{Observation, Packets, Report, UnknownReason, Verdict};
use super::sender::{Sender, Step};
use crate::link::clock::{Clock, Tick};
use crate::link::sim::SimNetwork;
use crate::link::{LinkError, Receive, Transmit};
use crate::sync::{AtomicBool, Ordering};
use crate::target::state::State;
use crate::target::table::{Cell, TableError};

/// How often the driver hands on answers and progress.
const BEAT: Duration = Duration::from_millis(50);

/// The longest that sender and receiver sleep without looking whether the sweep has ended.
const NAP: Duration = Duration::from_millis(10);

/// Hears what a sweep finds, while it runs.
pub trait Observer {
    /// A target has answered (or, at the end, has not). May come twice for one target: the later is right.
    ///
    /// # Errors
    /// When it cannot be passed on; that ends the sweep.
    fn observed(&mut self, observation: &Observation) -> std::io::Result<()>;

    /// How far the sweep is.
    ///
    /// # Errors
    /// When the output fails; that ends the sweep.
    fn progressed(&mut self, progress: &Progress) -> std::io::Result<()>;
}

/// How far a sweep is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Targets of the sweep.
    pub declared: u64,
    /// Targets that have answered.
    pub answered: u64,
    /// Targets that answered open.
    pub open: u64,
    /// Probes sent.
    pub sent: u64,
    /// Answers that the kernel dropped.
    pub dropped: u64,
    /// Since the beginning.
    pub elapsed: Duration,
}

/// Why a sweep has no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No memory.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The link was broken before the first probe.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A bug of ours.
    #[error(transparent)]
    Books(#[from] OpenBooks),
    /// The observer could not pass on what it heard.
    #[error("failed to write the results: {0}; check the output's disk and reader")]
    Output(#[from] std::io::Error),
    /// The system gave no random numbers for the key.
    #[error("failed to get a random key from the system: {0}")]
    Random(String),
}

/// Runs a sweep over a real link: a sender thread, a receiver thread, and this one to hand on what they find.
///
/// Setting `interrupt` ends it early: whatever is not answered then is `unknown(interrupted)`.
///
/// # Errors
/// See [`RunError`]. A link that breaks on the way is no error but a degraded report, with the rest unknown.
pub fn run(
    plan: &Plan,
    link: (Box<dyn Transmit>, Box<dyn Receive>),
    clock: &dyn Clock,
    interrupt: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Outcome, RunError> {
    let board = Board::new(plan, &random_key()?)?;
    let mut driver = Driver { board: &board, observer, started: Timestamp::now(), began: clock.now() };
    let mut sender = Sender::new(&board, link.0);
    let mut receiver = Receiver::new(&board, link.1, clock.now())?;
    let (ending, receiving, output) = std::thread::scope(|scope| {
        let sending = std::thread::Builder::new().name("sender".into()).spawn_scoped(scope, || {
            let ending = send_all(&board, &mut sender, clock);
            board.end();
            ending
        });
        let receiving = std::thread::Builder::new().name("receiver".into()).spawn_scoped(scope, || {
            let received = receive_all(&board, &mut receiver, clock);
            board.end();
            received
        });
        let mut output = Ok(());
        while !board.is_ending() {
            std::thread::sleep(BEAT);
            if interrupt.load(Ordering::Relaxed) {
                board.end();
            }
            output = driver.hand_on(clock.now());
            if output.is_err() {
                board.end();
            }
        }
        (join(sending), join(receiving), output)
    });
    output?;
    let ending = match (ending, receiving) {
        (_, Some(Err(error))) => Ending::Broken(error),
        (Some(ending), Some(Ok(()))) => ending,
        (None, _) | (_, None) => Ending::Refused,
    };
    driver.close(ending, clock.now())
}

/// Runs a sweep over a simulated network, in its virtual time, on this thread: the same seed, the same sweep.
///
/// # Errors
/// As [`run`].
pub fn run_simulated(
    plan: &Plan,
    network: &SimNetwork,
    key: &[u8; 16],
    observer: &mut dyn Observer,
) -> Result<Outcome, RunError> {
    let board = Board::new(plan, key)?;
    let clock = network.clock();
    let (transmit, receive) = network.link();
    let mut driver = Driver { board: &board, observer, started: Timestamp::now(), began: clock.now() };
    let mut sender = Sender::new(&board, transmit);
    let mut receiver = Receiver::new(&board, receive, clock.now())?;
    let ending = loop {
        let step = match sender.step(clock.now()) {
            Ok(step) => step,
            Err(error) => break Ending::Broken(error),
        };
        let until = match step {
            Step::Finished => break Ending::Finished,
            Step::Refused => break Ending::Refused,
            Step::Again => clock.now() + Duration::from_micros(1),
            Step::Wait(until) => until.min(clock.now() + NAP),
        };
        network.advance_to(until);
        if let Err(error) = receiver.step(&clock, Duration::ZERO) {
            break Ending::Broken(error);
        }
        driver.hand_on(clock.now())?;
    };
    sender.abandon();
    driver.close(ending, clock.now())
}

/// A report, and the error that cut the sweep short, if one did.
#[derive(Debug)]
pub struct Outcome {
    /// What was found out.
    pub report: Report,
    /// What broke on the way.
    pub failure: Option<LinkError>,
}

/// How the sending ended.
enum Ending {
    Finished,
    Interrupted,
    Refused,
    Broken(LinkError),
}

fn random_key() -> Result<[u8; 16], RunError> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| RunError::Random(error.to_string()))?;
    Ok(key)
}

fn join<T>(thread: std::io::Result<std::thread::ScopedJoinHandle<'_, T>>) -> Option<T> {
    // A panic in a thread aborts the release binary; in tests it must not pass for a finished sweep.
    thread.ok()?.join().ok()
}

fn send_all<T: Transmit>(board: &Board<'_>, sender: &mut Sender<'_, T>, clock: &dyn Clock) -> Ending {
    let ending = loop {
        if board.is_ending() {
            break Ending::Interrupted;
        }
        let now = clock.now();
        match sender.step(now) {
            Ok(Step::Again) => {}
            Ok(Step::Wait(until)) => clock.sleep_until(until.min(now + NAP)),
            Ok(Step::Finished) => break Ending::Finished,
            Ok(Step::Refused) => break Ending::Refused,
            Err(error) => break Ending::Broken(error),
        }
    };
    sender.abandon();
    ending
}

fn receive_all<R: Receive>(
    board: &Board<'_>,
    receiver: &mut Receiver<'_, R>,
    clock: &dyn Clock,
) -> Result<(), LinkError> {
    while !board.is_ending() {
        receiver.step(clock, NAP)?;
    }
    Ok(())
}

/// Hands on what the threads find, and closes the books.
struct Driver<'a> {
    board: &'a Board<'a>,
    observer: &'a mut dyn Observer,
    started: Timestamp,
    began: Tick,
}

impl Driver<'_> {
    /// Hands on the answers that came in since the last beat, and the progress.
    fn hand_on(&mut self, now: Tick) -> std::io::Result<()> {
        while let Some(answer) = self.board.answers.pop() {
            if let Some(cell) = self.board.table.mark_reported(answer.position) {
                self.observer.observed(&self.observation(answer, cell, cell.state(0)))?;
            }
        }
        self.observer.progressed(&Progress {
            declared: self.board.table.len(),
            answered: self.board.answered.get(),
            open: self.board.open.get(),
            sent: self.board.sent.get(),
            dropped: self.board.dropped.get(),
            elapsed: now.since(self.began),
        })
    }

    /// Settles every target, hands on those that were not, and checks the books.
    fn close(mut self, ending: Ending, now: Tick) -> Result<Outcome, RunError> {
        self.hand_on(now)?;
        let (why_unknown, failure) = match ending {
            Ending::Finished => (UnknownReason::ReceiverDropped, None),
            Ending::Interrupted => (UnknownReason::Interrupted, None),
            Ending::Refused => (UnknownReason::SendRefused, None),
            Ending::Broken(error) => (UnknownReason::LinkFailed, Some(error)),
        };
        let finished = why_unknown == UnknownReason::ReceiverDropped;
        let ledger = self.settle(finished)?;
        ledger.check()?;
        let board = self.board;
        let report = Report {
            sweep: board.plan.sweep,
            shard: board.plan.shard,
            vantage: board.plan.vantage.clone(),
            started: self.started,
            completed: Timestamp::now(),
            duration_ms: now.since(self.began).as_millis() as u64,
            verdict: match ledger.unknown {
                0 => Verdict::Complete,
                unknown if unknown == ledger.declared => Verdict::Blind,
                _ => Verdict::Degraded,
            },
            unknown_reasons: (ledger.unknown > 0)
                .then_some((why_unknown, ledger.unknown))
                .into_iter()
                .collect(),
            ledger,
            packets: Packets {
                sent: board.sent.get(),
                received: board.received.get(),
                foreign: board.foreign.get(),
                dropped: board.dropped.get(),
                refused: board.refused.get(),
            },
        };
        Ok(Outcome { report, failure })
    }

    /// Enters every target into the ledger, and hands on the ones that nobody has heard of yet. In a sweep that was cut
    /// short, silence proves nothing, however many tries it lasted: the last may still be on its way. Those targets are
    /// counted, not listed.
    fn settle(&mut self, finished: bool) -> Result<Ledger, RunError> {
        let plan = self.board.plan;
        let mut ledger = Ledger::new(plan.scope.len());
        for position in 0..self.board.table.len() {
            let cell = self.board.table.get(position);
            let state = if finished || !cell.is_silent() { cell.state(plan.tries) } else { State::Unknown };
            ledger.enter(state);
            let listed = plan.wanted.has(state) && (finished || state != State::Unknown);
            if listed && self.board.table.mark_reported(position).is_some() {
                let answer = Answer { position, rtt_us: None, ttl: 0 };
                self.observer.observed(&self.observation(answer, cell, state))?;
            }
        }
        Ok(ledger)
    }

    fn observation(&self, answer: Answer, cell: Cell, state: State) -> Observation {
        let index = self.board.order.index_at(answer.position);
        Observation {
            target: self.board.plan.scope.target(index),
            state,
            reason: (state != State::Unknown).then(|| cell.reason()),
            tries: cell.sent(),
            rtt_us: answer.rtt_us,
            ttl: (answer.ttl > 0).then_some(answer.ttl),
        }
    }
}
