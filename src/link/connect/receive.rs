//! The receiving half: waits for handshakes to end, says how, and closes them.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Receiver;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::Socket;

use super::notice::{self, Notice};
use super::{Attempt, Handover, Shared, sys};
use crate::link::clock::{Clock, Monotonic, Tick};
use crate::link::{Arrival, LinkError, Probe, Receive};
use crate::sync::Ordering;
use crate::wire::reply::{Answer, Reply};

/// The token of the waker; those of attempts are their slots.
pub(super) const WAKE: Token = Token(usize::MAX);

/// Events taken at once.
const EVENTS: usize = 1024;

/// The receiving half of a connect link.
pub struct ConnectReceive {
    poll: Poll,
    events: Events,
    newcomers: Receiver<Handover>,
    shared: Arc<Shared>,
    clock: Monotonic,
    /// Attempts in flight; the slot of each is its token.
    slots: Vec<Option<Attempt>>,
    /// Slots that are empty.
    free: Vec<usize>,
    /// Slots in the order that their attempts began. All have the same patience, so the first to begin is the first to
    /// expire. An attempt that ended early leaves its entry behind, which then finds another deadline in the slot, or
    /// none.
    deadlines: VecDeque<(Tick, usize)>,
    /// Handed over to us, ever.
    taken: u64,
}

impl ConnectReceive {
    pub(super) fn new(
        poll: Poll,
        newcomers: Receiver<Handover>,
        shared: Arc<Shared>,
        clock: Monotonic,
    ) -> Self {
        ConnectReceive {
            poll,
            events: Events::with_capacity(EVENTS),
            newcomers,
            shared,
            clock,
            slots: Vec::new(),
            free: Vec::new(),
            deadlines: VecDeque::new(),
            taken: 0,
        }
    }

    /// Takes over what was handed over, and says how many attempts of it were over already.
    fn welcome(&mut self, each: &mut dyn FnMut(Arrival)) -> Result<usize, LinkError> {
        let mut delivered = 0;
        // Ends because no more can be handed over than may be in flight. A disconnected channel is just empty: the
        // attempts that are in flight still end.
        while let Ok(handover) = self.newcomers.try_recv() {
            self.taken += 1;
            match handover {
                Handover::Begun(attempt) => self.watch(attempt)?,
                Handover::Ended(arrival) => {
                    self.count_closed();
                    each(arrival);
                    delivered += 1;
                }
            }
        }
        Ok(delivered)
    }

    /// Has the poll tell when the attempt ends. If it has ended already, the next poll tells.
    fn watch(&mut self, attempt: Attempt) -> Result<(), LinkError> {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let descriptor = attempt.socket.as_raw_fd();
        self.poll
            .registry()
            .register(&mut SourceFd(&descriptor), Token(slot), Interest::WRITABLE)
            .map_err(|cause| super::poll_failed("add a socket to", cause))?;
        self.deadlines.push_back((attempt.deadline, slot));
        self.slots[slot] = Some(attempt);
        Ok(())
    }

    /// Waits for attempts to end, until `until` at most, and settles those that did.
    fn settle_ended(&mut self, until: Tick, each: &mut dyn FnMut(Arrival)) -> Result<usize, LinkError> {
        let mut delivered = 0;
        let mut wait = until.since(self.clock.now());
        loop {
            self.wait(wait)?;
            let now = self.clock.now();
            let mut seen = 0;
            // Taken out for the loop because the loop needs all of `self`.
            let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
            for event in &events {
                seen += 1;
                // Newcomers are welcomed by the caller. A slot is reused only after this loop, so no event can be
                // meant for an earlier attempt in it.
                let Some(attempt) = self.slots.get_mut(event.token().0).and_then(Option::take) else {
                    continue;
                };
                if let Some(answer) = judge_socket(&attempt.socket, &attempt.probe, attempt.on_link) {
                    each(Arrival { at: now, reply: reply(&attempt.probe, answer) });
                    delivered += 1;
                }
                self.close(event.token().0, attempt);
            }
            self.events = events;
            // A full batch may have left some behind, and what has been answered must not expire unread.
            if seen < EVENTS {
                return Ok(delivered);
            }
            wait = Duration::ZERO;
        }
    }

    /// Waits for events, or a newcomer.
    fn wait(&mut self, wait: Duration) -> Result<(), LinkError> {
        // SeqCst on both sides: either we see the count of what was handed over, or the other half sees that we wait.
        self.shared.waiting.store(true, Ordering::SeqCst);
        let newcomers = self.shared.handed.load(Ordering::SeqCst) != self.taken;
        let polled = self.poll.poll(&mut self.events, Some(if newcomers { Duration::ZERO } else { wait }));
        // Only saves the other half a system call, so it needs no order.
        self.shared.waiting.store(false, Ordering::Relaxed);
        match polled {
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            result => result.map_err(|cause| super::poll_failed("wait", cause)),
        }
    }

    /// Closes what has been silent for too long. The sweep counts the silence.
    fn expire(&mut self) {
        let now = self.clock.now();
        while let Some(&(deadline, slot)) = self.deadlines.front() {
            let lives = self.slots[slot].as_ref().is_some_and(|attempt| attempt.deadline == deadline);
            if lives && deadline > now {
                return;
            }
            self.deadlines.pop_front();
            if lives && let Some(attempt) = self.slots[slot].take() {
                self.close(slot, attempt);
            }
        }
    }

    /// Closes the socket, which takes it out of the poll as well, and only then counts it as closed.
    fn close(&mut self, slot: usize, attempt: Attempt) {
        drop(attempt);
        self.free.push(slot);
        self.count_closed();
    }

    fn count_closed(&self) {
        // Release pairs with the acquire in `Shared::in_flight`: the descriptor is free before the count says so.
        self.shared.closed.fetch_add(1, Ordering::Release);
    }
}

impl Receive for ConnectReceive {
    fn receive(&mut self, timeout: Duration, each: &mut dyn FnMut(Arrival)) -> Result<(), LinkError> {
        let end = self.clock.now() + timeout;
        loop {
            let mut delivered = self.welcome(each)?;
            let until = match self.deadlines.front() {
                _ if delivered > 0 => self.clock.now(),
                Some(&(deadline, _)) => deadline.min(end),
                None => end,
            };
            delivered += self.settle_ended(until, each)?;
            self.expire();
            if delivered > 0 || self.clock.now() >= end {
                return Ok(());
            }
        }
    }

    /// Always 0: the kernel tracks every connection by itself, and nothing between it and us could overflow.
    fn dropped(&mut self) -> Result<u64, LinkError> {
        Ok(0)
    }
}

/// Says how the handshake of this socket ended. `None` if nothing was heard.
pub(super) fn judge_socket(socket: &Socket, probe: &Probe, on_link: bool) -> Option<Answer> {
    let error = socket.take_error().ok().flatten();
    let local = socket.local_addr().ok().and_then(|local| local.as_socket());
    // Asked even if there was no error: while `connect` itself still runs, the kernel files an ICMP error in the queue
    // and leaves the attempt alive.
    if error.is_none() && socket.peer_addr().is_ok() {
        let ack = probe.sequence.wrapping_add(1);
        let oneself = local.is_some_and(|local| is_same(local, probe));
        return Some(if oneself { Answer::Rst { ack } } else { Answer::SynAck { ack } });
    }
    let notice = sys::read_error_queue(socket).ok().and_then(|(bytes, len)| Notice::parse(&bytes[..len]));
    let errno = error.and_then(|error| error.raw_os_error()).unwrap_or(0);
    notice::judge(probe, errno, notice, local.map(|local| local.ip()), on_link)
}

/// The reply that the probe would have got.
pub(super) fn reply(probe: &Probe, answer: Answer) -> Reply {
    Reply {
        ip: probe.ip,
        port: probe.port,
        source: probe.source,
        source_port: probe.source_port,
        answer,
        ttl: 0,
    }
}

fn is_same(local: SocketAddr, probe: &Probe) -> bool {
    (local.ip(), local.port()) == (probe.ip, probe.port)
}
