//! The receiver: parse, validate, classify, record.
//!
//! The link parses. Here a reply is held against the cookie, classified, and entered into the table; the first answer
//! of each target goes on to the driver. Nothing here allocates, locks, logs or calls the system for a packet.

use std::time::Duration;

use super::board::{Answer, Board};
use super::canary::{Kind, Listener, Tally};
use super::governor::{Counts, Governor};
use super::limited::LateAnswers;
use super::trips::Trips;
use super::watch::{Outage, Testimony, Watch, Witness};
use crate::link::clock::{Clock, Tick};
use crate::link::guard::{Guard, Word};
use crate::link::{Arrival, LinkError, Receive};
use crate::target::state::Reason;
use crate::target::table::{Cell, MAX_SENT, Recorded};
use crate::target::{Target, Transport};
use crate::wire::reply::{Answer as Said, Reply};

/// What seems to have taken longer has not: its probe shares its time of sending with others, one of which was sent
/// since.
const LONGEST_TRIP: Duration = Duration::from_secs(60);

/// Receives the answers of one sweep.
pub struct Receiver<'a, R, G> {
    board: &'a Board<'a>,
    link: R,
    guard: G,
    watch: Watch,
    ear: Ear,
    governor: Option<Governor>,
    first_drops: u64,
}

/// What the receiver learns from answers, beside what goes into the table.
struct Ear {
    trips: Trips,
    canaries: Listener,
    late: LateAnswers,
    /// Paths by which an answer has come for the first time since the last look, and when its probe was sent.
    first_words: Vec<(usize, Tick)>,
}

/// What is known of one path at the end.
#[derive(Clone, Debug, Default)]
pub struct PathRecord {
    /// What its canaries said.
    pub canaries: Tally,
    /// When it was in trouble.
    pub outages: Vec<Outage>,
}

impl<'a, R: Receive, G: Guard> Receiver<'a, R, G> {
    /// A receiver that begins to watch now.
    ///
    /// # Errors
    /// When the link does not say what it drops.
    pub fn new(board: &'a Board<'a>, mut link: R, guard: G, now: Tick) -> Result<Self, LinkError> {
        let first_drops = link.dropped()?;
        let paths = board.plan.paths();
        let governor = board.plan.rate.filter(|_| board.plan.governed);
        let governor = governor.map(|most| Governor::new(now, most.get()));
        if let Some(governor) = &governor {
            board.set_rate(governor.rate_pps());
        }
        let ear = Ear {
            trips: Trips::new(),
            canaries: Listener::new(paths),
            late: LateAnswers::new(),
            first_words: Vec::with_capacity(paths),
        };
        let watch = Watch::new(now, first_drops, paths);
        Ok(Receiver { board, link, guard, watch, ear, governor, first_drops })
    }

    /// Handles what is there, waiting for at most `timeout`, and looks after its own eyesight.
    ///
    /// # Errors
    /// When the link is broken.
    pub fn step(&mut self, clock: &dyn Clock, timeout: Duration) -> Result<(), LinkError> {
        let (board, ear) = (self.board, &mut self.ear);
        let emptied = clock.now();
        self.link.receive(timeout, &mut |arrival| handle(board, ear, &arrival))?;
        let now = clock.now();
        if self.watch.is_due(now) {
            self.look(emptied, now)?;
        }
        Ok(())
    }

    /// What is known of each path so far.
    pub fn paths(&self) -> Vec<PathRecord> {
        let tallies = self.ear.canaries.tallies().iter().copied();
        let outages = self.watch.outages();
        tallies.zip(outages).map(|(canaries, outages)| PathRecord { canaries, outages }).collect()
    }

    fn look(&mut self, emptied: Tick, now: Tick) -> Result<(), LinkError> {
        let (board, watch) = (self.board, &mut self.watch);
        if watch.wake(now) {
            self.ear.canaries.void_open();
        }
        let drops = self.link.dropped()?;
        board.dropped.set(drops - self.first_drops);
        let patience = self.ear.trips.patience();
        board.set_patience(patience);
        self.guard.look(now, &mut |path, word| {
            let testimony = match word {
                Word::Good(until) => Testimony::Good(until),
                Word::Bad(trouble) => Testimony::Bad(trouble.into()),
                Word::Host { ip, since, trouble } => {
                    return watch.hear_of_host(path, ip, since, trouble.into(), now);
                }
            };
            watch.hear(path, Witness::Guard, testimony, now);
        })?;
        if drops != watch.drops() {
            // Whoever has not answered by now may have, and was not heard.
            self.ear.canaries.void_open();
        }
        self.ear.canaries.look(&board.canaries, now, patience, |path, testimony| {
            watch.hear(path, Witness::Canaries, testimony, now);
        });
        for (path, sent) in self.ear.first_words.drain(..) {
            watch.hear_first(path, sent, patience);
        }
        watch.look(&board.seeing, emptied, now, drops, patience);
        if let Some(governor) = &mut self.governor {
            governor.step(now, counts(board, self.ear.canaries.tallies()), watch.is_troubled(), patience);
            board.set_rate(governor.rate_pps());
        }
        Ok(())
    }
}

fn counts(board: &Board<'_>, tallies: &[Tally]) -> Counts {
    let late = board.late.get();
    Counts {
        sent: board.sent(),
        refused: board.refused(),
        dropped: board.dropped.get(),
        prompt: board.answered.get().saturating_sub(late),
        late,
        asked: tallies.iter().map(|tally| tally.asked).sum(),
        lost: tallies.iter().map(|tally| tally.lost).sum(),
    }
}

/// One reply, from the cookie to the table.
#[inline]
fn handle(board: &Board<'_>, ear: &mut Ear, arrival: &Arrival) {
    let reply = &arrival.reply;
    let Some(Found { index, position, cell, try_number }) = authenticate(board, ear, arrival) else {
        board.foreign.add(1);
        return;
    };
    // The link's own word never was on the network.
    let by_link = matches!(reply.answer, Said::NoNeighbour { .. });
    match (by_link, try_number) {
        (false, _) => board.received.add(1),
        (true, Some(_)) => board.known.add(1),
        (true, None) => {}
    }
    let path = board.plan.path_of(reply.ip);
    if !board.has_heard(path) && is_by_target(reply) {
        board.note_heard(path);
        let is_last_try = try_number == Some(cell.sent());
        let elapsed = || Some(board.times.elapsed(position, arrival.at)).filter(|rtt| *rtt < LONGEST_TRIP);
        let ago = is_last_try.then(elapsed).flatten().unwrap_or_default();
        ear.first_words.push((path, arrival.at - ago));
    }
    // Whoever is of another tile has answered too late, or answers as a canary.
    let Some(try_number) = try_number.filter(|_| board.table.holds(position)) else { return };
    let Some(reason) = reason_of(reply) else { return };
    let recorded = board.enter(position, reason);
    if recorded == Recorded::First {
        // A try before this one counts, and was not answered. (An answer to an earlier try than the last was slow.)
        let late = cell.counted() > 1 && try_number == cell.sent();
        first_answer(board, ear, &Answering { index, position, path, late }, reason);
    } else if recorded != Recorded::Changed {
        return;
    }
    // The time of sending is that of the last try; an answer to an earlier one cannot be timed.
    let rtt = (!by_link && board.table.get(position).sent() == try_number)
        .then(|| board.times.elapsed(position, arrival.at))
        .filter(|rtt| *rtt < LONGEST_TRIP);
    if let Some(rtt) = rtt {
        ear.trips.note(rtt);
    }
    let corrects = cell.is_reported() || cell.is_retracted();
    if board.plan.wanted.has(board.table.get(position).reason().state()) || corrects {
        let rtt_us = rtt.map(|rtt| rtt.as_micros() as u32);
        // A full queue loses only the round-trip time: the driver finds the target in the table at the end.
        let _ = board.answers.push(Answer { position, rtt_us, ttl: reply.ttl, corrects });
    }
}

/// A target that has answered for the first time.
struct Answering {
    index: u64,
    position: u64,
    path: usize,
    /// Whether it did not answer a try before this one.
    late: bool,
}

/// What the first answer of a target tells beside its state.
#[inline]
fn first_answer(board: &Board<'_>, ear: &mut Ear, answering: &Answering, reason: Reason) {
    if !matches!(reason, Reason::SynAck | Reason::Rst) {
        return;
    }
    let kind = if reason == Reason::SynAck { Kind::Open } else { Kind::Closed };
    board.canaries.offer(answering.path, answering.position, kind);
    if answering.late {
        board.late.add(1);
        let host = board.plan.scope.host_index(answering.index);
        if reason == Reason::Rst && ear.late.note(host) {
            // Where there is no room, the host is noticed again a little later.
            for sender in &board.limited {
                let _ = sender.push(host);
            }
        }
    }
}

/// Whether the target itself has answered. An error of a router on the way shows that we reach the router.
#[inline]
fn is_by_target(reply: &Reply) -> bool {
    match reply.answer {
        Said::SynAck { .. } | Said::Rst { .. } => true,
        Said::Icmp { by, .. } => by == reply.ip,
        Said::NoNeighbour { .. } => false,
    }
}

/// A target of ours whose answer is authentic.
struct Found {
    index: u64,
    position: u64,
    /// The target's cell before the answer; an empty one where it is of another tile.
    cell: Cell,
    /// The try that was answered; `None` if it was a question to a canary.
    try_number: Option<u8>,
}

/// Which of our targets the reply is from, if it answers any probe of ours.
#[inline]
fn authenticate(board: &Board<'_>, ear: &mut Ear, arrival: &Arrival) -> Option<Found> {
    let Arrival { at, reply } = arrival;
    let index = board.plan.scope.index_of(reply.ip, reply.port)?;
    let position = board.order.position_of(index);
    let target = Target { ip: reply.ip, port: reply.port, transport: Transport::Tcp };
    let is_held = board.table.holds(position);
    let cell = if is_held { board.table.get(position) } else { Cell::default() };
    let mut tries = (1..=if is_held { cell.sent() } else { MAX_SENT }).rev();
    let answered = tries.find(|try_number| {
        let token = board.cookie.token(reply.source, &target, *try_number);
        (token.sequence, token.source_port) == acknowledged(reply)
    });
    if answered.is_none() {
        ear.canaries.catch_up(&board.canaries);
        let is_answer = |serial| {
            let token = board.cookie.canary_token(reply.source, &target, serial);
            (token.sequence, token.source_port) == acknowledged(reply)
        };
        let path = board.plan.path_of(reply.ip);
        let before = if is_held { cell.reason() } else { board.canaries.known(path, position) };
        let as_before = is_as_before(before, reply);
        if !ear.canaries.hear(path, position, as_before, is_answer) {
            return None;
        }
        // Of a path that is given up, nobody waits for more.
        if as_before == Some(false) && !board.seeing.is_lost(path) {
            board.doubt_answers(*at);
        }
    }
    Some(Found { index, position, cell, try_number: answered })
}

/// Whether a canary answers as a target does that is in a state for this reason: open as open, closed as closed. From
/// one that has not said yet what it is, either will do. `None` where it does not answer at all: that a host is not
/// there, or that a router does not know the way, is no sign of life and no sign of anybody else's.
#[inline]
fn is_as_before(before: Reason, reply: &Reply) -> Option<bool> {
    match reply.answer {
        Said::SynAck { .. } => Some(before != Reason::Rst),
        Said::Rst { .. } => Some(before != Reason::SynAck),
        Said::Icmp { .. } => reason_of(reply).is_some_and(|reason| !reason.is_hint()).then_some(false),
        Said::NoNeighbour { .. } => None,
    }
}

/// The sequence number and the source port that the reply answers.
#[inline]
fn acknowledged(reply: &Reply) -> (u32, u16) {
    let sequence = match reply.answer {
        Said::SynAck { ack } | Said::Rst { ack } => ack.wrapping_sub(1),
        Said::Icmp { sequence, .. } | Said::NoNeighbour { sequence } => sequence,
    };
    (sequence, reply.source_port)
}

/// What the reply means for the target, or `None` where it settles nothing.
#[inline]
fn reason_of(reply: &Reply) -> Option<Reason> {
    match reply.answer {
        Said::SynAck { .. } => Some(Reason::SynAck),
        Said::Rst { .. } => Some(Reason::Rst),
        Said::Icmp { icmp_type, code, .. } if reply.ip.is_ipv4() => Reason::of_icmpv4(icmp_type, code),
        Said::Icmp { icmp_type, code, .. } => Reason::of_icmpv6(icmp_type, code),
        Said::NoNeighbour { .. } => Some(Reason::NoNeighbour),
    }
}
