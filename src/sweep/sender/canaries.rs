//! Asking the canaries, among the probes.

use std::num::NonZeroU32;

use super::{BATCH, Sender};
use crate::link::Transmit;
use crate::link::clock::Tick;
use crate::sweep::canary::{MOST_AT_ONCE, Question};
use crate::sweep::caps::Place;
use crate::sweep::plan::Plan;
use crate::target::address::number_of;
use crate::target::scope::Scope;

/// A probe gives its slot to a question once in so many slots, by lot: so whatever the order in which slots come, no
/// host and no network loses more of its own.
const SLOTS_FOR_ONE: u64 = 20;

impl<T: Transmit> Sender<'_, T> {
    /// Puts questions to canaries into the batch, if it is time, somebody has a place, and rate and caps let them pass.
    pub(super) fn ask_canaries(&mut self, now: Tick) {
        for _ in 0..MOST_AT_ONCE {
            let rate = self.rate_now();
            let Some(caller) = self.caller.as_mut().filter(|caller| caller.is_due(now)) else { break };
            let queued = self.batch.len();
            if queued >= BATCH || self.pacer.allowance(now, queued + 1) <= queued {
                break;
            }
            let (board, caps) = (self.board, &mut self.caps);
            let question = caller.next(&board.canaries, now, rate, |position| {
                let index = board.order.index_at(position);
                caps.try_now(board.place_of(index, board.plan.scope.target(index).ip), now)
            });
            let Some(question) = question else { break };
            self.ask(&question, now);
        }
    }

    /// A slot has come. Where the canaries are booked out because every slot of their hosts or networks is taken by
    /// probes, one of this host is asked in the probe's place, or one of its network whose host is free.
    pub(super) fn ask_canary_at(&mut self, place: Place, path: usize, now: Tick) -> bool {
        let rate = self.rate_now();
        let Some(caller) = self.caller.as_mut() else { return false };
        let (board, caps) = (self.board, &mut self.caps);
        let question = caller.next_of(path, &board.canaries, now, rate, |position| {
            let index = board.order.index_at(position);
            let canary = board.place_of(index, board.plan.scope.target(index).ip);
            canary.host == place.host || canary.network == place.network && caps.try_host(canary, now)
        });
        question.is_some_and(|question| self.ask(&question, now))
    }

    /// Whether this slot, which has come, may be taken by a question.
    pub(super) fn draws_question(&mut self, now: Tick) -> bool {
        if !self.caller.as_ref().is_some_and(|caller| caller.is_booked_out(now)) {
            return false;
        }
        // Multiples of the golden section, which spread as evenly as numbers can.
        self.lot = self.lot.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.lot < u64::MAX / SLOTS_FOR_ONE
    }

    /// Nothing is left to send. Questions need not be few any more, and who would be asked is told even of paths on
    /// which nobody is left to ask, so that nobody waits for their word for ever.
    pub(super) fn press_for_word(&mut self, now: Tick) {
        let Some(caller) = &mut self.caller else { return };
        caller.hurry();
        let board = self.board;
        for path in (0..board.plan.paths()).filter(|path| board.canaries.is_empty(*path)) {
            board.seeing.note_asked(path, now);
        }
    }

    /// Announces a question and makes it. The receiver must know of it before there can be an answer.
    fn ask(&mut self, question: &Question, now: Tick) -> bool {
        let announced = self.board.canaries.announce(*question);
        if announced {
            self.board.seeing.note_asked(question.path(), now);
            self.add_question(question);
        }
        announced
    }

    /// The rate of all senders that can come about, for what is reckoned from it: caps may be slower than the sweep.
    fn rate_now(&self) -> u32 {
        self.board.rate().map_or(self.capped_pps, |rate| rate.get().min(self.capped_pps))
    }
}

/// How many networks the hosts of a scope are in, as the caps see them.
pub(super) fn networks_of(scope: &Scope) -> u64 {
    let (mut networks, mut last_network) = (0, None);
    for (first, last) in scope.ends() {
        let host_bits = if first.is_ipv4() { 8 } else { 64 };
        let (from, to) = (number_of(first) >> host_bits, number_of(last) >> host_bits);
        // Two ranges may lie in one network.
        let is_new = last_network.replace((host_bits, to)) != Some((host_bits, from));
        networks += (to - from) as u64 + u64::from(is_new);
    }
    networks
}

/// What the caps of all hosts and of all networks let pass, in probes a second.
pub(super) fn capped_pps(plan: &Plan, networks: u64) -> u32 {
    let all = |many: u64, cap: Option<NonZeroU32>| {
        cap.map_or(u32::MAX, |pps| u32::try_from(many.saturating_mul(pps.get().into())).unwrap_or(u32::MAX))
    };
    all(plan.scope.hosts(), plan.host_rate).min(all(networks, plan.network_rate)).max(1)
}
