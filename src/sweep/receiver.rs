//! The receiver: parse, validate, classify, record.
//!
//! The link parses. Here a reply is held against the cookie, classified, and entered into the table; the first answer
//! of each target goes on to the driver. Nothing here allocates, locks, logs or calls the system for a packet.

use std::net::IpAddr;
use std::time::Duration;

use super::board::{Answer, Board};
use super::seeing::Watch;
use super::trips::Trips;
use crate::link::clock::{Clock, Tick};
use crate::link::{Arrival, LinkError, Receive};
use crate::target::state::{Reason, State};
use crate::target::table::Recorded;
use crate::target::{Target, Transport};
use crate::wire::reply::{Answer as Said, Reply};

/// Receives the answers of one sweep.
pub struct Receiver<'a, R> {
    board: &'a Board<'a>,
    link: R,
    watch: Watch,
    trips: Trips,
    first_drops: u64,
}

impl<'a, R: Receive> Receiver<'a, R> {
    /// A receiver that begins to watch now.
    ///
    /// # Errors
    /// When the link does not say what it drops.
    pub fn new(board: &'a Board<'a>, mut link: R, now: Tick) -> Result<Self, LinkError> {
        let first_drops = link.dropped()?;
        Ok(Receiver { board, link, watch: Watch::new(now, first_drops), trips: Trips::new(), first_drops })
    }

    /// Handles what is there, waiting for at most `timeout`, and looks after its own eyesight.
    ///
    /// # Errors
    /// When the link is broken.
    pub fn step(&mut self, clock: &dyn Clock, timeout: Duration) -> Result<(), LinkError> {
        let (board, trips) = (self.board, &mut self.trips);
        let emptied = clock.now();
        self.link.receive(timeout, &mut |arrival| handle(board, trips, &arrival))?;
        let now = clock.now();
        if self.watch.is_due(now) {
            let drops = self.link.dropped()?;
            board.dropped.set(drops - self.first_drops);
            board.set_patience(self.trips.patience());
            self.watch.look(&board.seeing, emptied, now, drops);
        }
        Ok(())
    }
}

/// One reply, from the cookie to the table.
#[inline]
fn handle(board: &Board<'_>, trips: &mut Trips, arrival: &Arrival) {
    let reply = &arrival.reply;
    let Some((position, try_number)) = authenticate(board, reply) else {
        board.foreign.add(1);
        return;
    };
    board.received.add(1);
    let Some(reason) = reason_of(reply) else { return };
    let recorded = board.table.record(position, reason);
    if recorded == Recorded::First {
        board.answered.add(1);
    }
    if recorded != Recorded::First && recorded != Recorded::Changed {
        return;
    }
    let state = reason.state();
    if state == State::Open {
        board.open.add(1);
    }
    // The time of sending is that of the last try; an answer to an earlier one cannot be timed.
    let rtt = (board.table.get(position).sent() == try_number)
        .then(|| board.times.elapsed(position, arrival.at))
        .filter(|rtt| *rtt < Duration::from_secs(60));
    if let Some(rtt) = rtt {
        trips.note(rtt);
    }
    if board.plan.wanted.has(state) || recorded == Recorded::Changed {
        let rtt_us = rtt.map(|rtt| rtt.as_micros() as u32);
        // A full queue loses only the round-trip time: the driver finds the target in the table at the end.
        let _ = board.answers.push(Answer { position, rtt_us, ttl: reply.ttl });
    }
}

/// Which try of which target the reply answers, if it answers any of ours.
#[inline]
fn authenticate(board: &Board<'_>, reply: &Reply) -> Option<(u64, u8)> {
    let index = board.plan.scope.index_of(reply.ip, reply.port)?;
    let position = board.order.position_of(index);
    let target = Target { ip: reply.ip, port: reply.port, transport: Transport::Tcp };
    let sent = board.table.get(position).sent();
    let try_number = (1..=sent).rev().find(|try_number| answers(board, reply, &target, *try_number))?;
    Some((position, try_number))
}

/// Whether the reply carries the token of this try.
#[inline]
fn answers(board: &Board<'_>, reply: &Reply, target: &Target, try_number: u8) -> bool {
    let source: IpAddr = reply.source;
    let token = board.cookie.token(source, target, try_number);
    let number = match reply.answer {
        Said::SynAck { ack } | Said::Rst { ack } => ack.wrapping_sub(1),
        Said::Icmp { sequence, .. } | Said::NoNeighbour { sequence } | Said::NoRoute { sequence } => sequence,
    };
    token.sequence == number && token.source_port == reply.source_port
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
        Said::NoRoute { .. } => Some(Reason::NoRoute),
    }
}
