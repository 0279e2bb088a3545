//! The drivers of a sweep: one on the machine's clock with two threads, one in virtual time with none. They alone read
//! clocks.

use std::time::Duration;

use jiff::Timestamp;

use super::board::Board;
use super::closing::Driver;
use super::ledger::OpenBooks;
use super::plan::Plan;
use super::receiver::Receiver;
use super::report::{Observation, Report};
use super::sender::{Sender, Step};
use crate::link::clock::Clock;
use crate::link::guard::Guard;
use crate::link::sim::SimNetwork;
use crate::link::{LinkError, Receive, Transmit};
use crate::sync::{Ordering, SignalFlag};
use crate::target::table::TableError;

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
    #[error(transparent)]
    Output(#[from] std::io::Error),
    /// The system gave no random numbers for the key.
    #[error("failed to get a random key from the system: {0}")]
    Random(String),
}

/// The ends of a link, as a sweep takes them: one for each sender, and one that receives.
pub struct Ends {
    /// The sending halves, at least one.
    pub transmit: Vec<Box<dyn Transmit>>,
    /// The receiving half.
    pub receive: Box<dyn Receive>,
    /// Who vouches for the paths.
    pub guard: Box<dyn Guard>,
}

/// Runs a sweep over a real link: a thread for each sender, one for the receiver, and this one to hand on what they
/// find.
///
/// Setting `interrupt` ends it early: whatever is not answered then is `unknown(interrupted)`.
///
/// # Errors
/// See [`RunError`]. A link that breaks on the way is no error but a degraded report, with the rest unknown.
pub fn run(
    plan: &Plan,
    ends: Ends,
    clock: &dyn Clock,
    interrupt: &SignalFlag,
    observer: &mut dyn Observer,
) -> Result<Outcome, RunError> {
    let key = plan.key.map_or_else(random_key, Ok)?;
    let board = &Board::new(plan, &key, ends.transmit.len())?;
    let mut driver = Driver::new(board, observer, Timestamp::now(), clock.now());
    let mut receiver = Receiver::new(board, ends.receive, ends.guard, clock.now())?;
    let senders = ends.transmit.into_iter().enumerate();
    let mut senders: Vec<_> = senders.map(|(number, link)| Sender::new(board, number, link)).collect();
    let mut ending = Ending::Finished;
    for tile in plan.tiles() {
        if tile.start > 0 {
            board.turn_to(&tile);
            senders.iter_mut().for_each(Sender::turn);
        }
        ending = sweep_tile(board, &mut senders, &mut receiver, &mut driver, clock, interrupt)?;
        driver.settle(&ending, &receiver.paths(), clock.now())?;
        if !matches!(ending, Ending::Finished) {
            break;
        }
    }
    driver.close(ending, &receiver.paths(), clock.now(), Timestamp::now())
}

/// Sweeps the tile that the board holds. When this returns, nobody uses the board.
fn sweep_tile<T: Transmit, R: Receive, G: Guard>(
    board: &Board<'_>,
    senders: &mut [Sender<'_, T>],
    receiver: &mut Receiver<'_, R, G>,
    driver: &mut Driver<'_>,
    clock: &dyn Clock,
    interrupt: &SignalFlag,
) -> std::io::Result<Ending> {
    let driving = &std::thread::current();
    std::thread::scope(|scope| {
        let mut sending = Vec::new();
        for sender in senders {
            sending.push(spawn(scope, board, "sender", move || {
                let ending = send_all(board, sender, clock);
                if board.leave(matches!(ending, Ending::Finished)) {
                    driving.unpark();
                }
                ending
            }));
        }
        let receiving = spawn(scope, board, "receiver", move || {
            let received = receive_all(board, receiver, clock);
            board.end();
            driving.unpark();
            received
        });
        let mut output = Ok(());
        while !board.is_ending() {
            // Whoever ends the sweep wakes this thread, so that the end does not wait for the beat.
            std::thread::park_timeout(BEAT);
            if interrupt.load(Ordering::Relaxed) {
                board.end();
            }
            output = output.and(driver.hand_on(clock.now()));
            if output.is_err() {
                board.end();
            }
        }
        let endings = sending.into_iter().map(join).collect();
        let received = join(receiving);
        output.map(|()| worst(endings, received))
    })
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
    let board = Board::new(plan, key, 1)?;
    let clock = network.clock();
    let (transmit, receive, guard) = network.link();
    let mut driver = Driver::new(&board, observer, Timestamp::now(), clock.now());
    let mut sender = Sender::new(&board, 0, transmit);
    let mut receiver = Receiver::new(&board, receive, guard, clock.now())?;
    let mut ending = Ending::Finished;
    for tile in plan.tiles() {
        if tile.start > 0 {
            board.turn_to(&tile);
            sender.turn();
        }
        ending = simulate_tile(network, &mut sender, &mut receiver, &mut driver)?;
        sender.abandon();
        driver.settle(&ending, &receiver.paths(), clock.now())?;
        if !matches!(ending, Ending::Finished) {
            break;
        }
    }
    driver.close(ending, &receiver.paths(), clock.now(), Timestamp::now())
}

fn simulate_tile<T: Transmit, R: Receive, G: Guard>(
    network: &SimNetwork,
    sender: &mut Sender<'_, T>,
    receiver: &mut Receiver<'_, R, G>,
    driver: &mut Driver<'_>,
) -> std::io::Result<Ending> {
    let clock = network.clock();
    loop {
        let step = match sender.step(clock.now()) {
            Ok(step) => step,
            Err(error) => return Ok(Ending::Broken(error)),
        };
        let until = match step {
            Step::Finished => return Ok(Ending::Finished),
            Step::Refused => return Ok(Ending::Refused),
            Step::Again => clock.now() + Duration::from_micros(1),
            Step::Wait(until) => until.min(clock.now() + NAP),
        };
        network.advance_to(until);
        if let Err(error) = receiver.step(&clock, Duration::ZERO) {
            return Ok(Ending::Broken(error));
        }
        driver.hand_on(clock.now())?;
    }
}

/// A report, and the error that cut the sweep short, if one did.
#[derive(Debug)]
pub struct Outcome {
    /// What was found out.
    pub report: Report,
    /// What broke on the way.
    pub failure: Option<LinkError>,
    /// The last word on each target of [`Plan::watched`] that is in scope, in their order.
    pub watched: Vec<Observation>,
}

/// How the sending ended.
pub(super) enum Ending {
    Finished,
    Interrupted,
    Refused,
    Broken(LinkError),
    /// A thread could not be started, or panicked.
    Died,
}

impl Ending {
    fn badness(&self) -> u8 {
        match self {
            Ending::Finished => 0,
            Ending::Interrupted => 1,
            Ending::Refused => 2,
            Ending::Broken(_) => 3,
            Ending::Died => 4,
        }
    }
}

fn random_key() -> Result<[u8; 16], RunError> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| RunError::Random(error.to_string()))?;
    Ok(key)
}

type Spawned<'scope, T> = std::io::Result<std::thread::ScopedJoinHandle<'scope, T>>;

/// Starts a thread of the sweep. Where it cannot be started, the others would wait for it for ever.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    board: &Board<'_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Spawned<'scope, T> {
    let spawned = std::thread::Builder::new().name(name.into()).spawn_scoped(scope, work);
    if spawned.is_err() {
        board.end();
    }
    spawned
}

/// What a thread came to; `None` where it could not be started, or panicked. A panic aborts the release binary, and in
/// tests must not pass for a finished sweep.
fn join<T>(thread: Spawned<'_, T>) -> Option<T> {
    thread.ok()?.join().ok()
}

/// How the sweep as a whole ended: as badly as its worst thread.
fn worst(endings: Vec<Option<Ending>>, receiving: Option<Result<(), LinkError>>) -> Ending {
    let received = match receiving {
        Some(Ok(())) => Ending::Finished,
        Some(Err(error)) => Ending::Broken(error),
        None => Ending::Died,
    };
    let endings = endings.into_iter().map(|ending| ending.unwrap_or(Ending::Died));
    endings.fold(received, |worst, ending| if ending.badness() > worst.badness() { ending } else { worst })
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

fn receive_all<R: Receive, G: Guard>(
    board: &Board<'_>,
    receiver: &mut Receiver<'_, R, G>,
    clock: &dyn Clock,
) -> Result<(), LinkError> {
    while !board.is_ending() {
        receiver.step(clock, NAP)?;
    }
    Ok(())
}
