//! Asking the canaries, among the probes.

use super::{Sender, rate_of};
use crate::link::Transmit;
use crate::link::clock::Tick;
use crate::sweep::canary::{MOST_AT_ONCE, Question};

impl<T: Transmit> Sender<'_, T> {
    /// Puts questions to canaries into the batch, if it is time, somebody has a place, and rate and caps let them pass.
    pub(super) fn ask_canaries(&mut self, now: Tick) {
        for _ in 0..MOST_AT_ONCE {
            let Some(caller) = self.caller.as_mut().filter(|caller| caller.is_due(now)) else { break };
            let queued = self.batch.len();
            if self.pacer.allowance(now, queued + 1) <= queued {
                break;
            }
            let (board, caps) = (self.board, &mut self.caps);
            let question = caller.next(&board.canaries, now, rate_of(board), |position| {
                let index = board.order.index_at(position);
                caps.try_now(board.place_of(index, board.plan.scope.target(index).ip), now)
            });
            let Some(question) = question else { break };
            self.ask(&question);
        }
    }

    /// The slot of a host has come. Where the canaries are booked out because every slot of their hosts is taken by
    /// probes, one of this host is asked in the probe's place.
    pub(super) fn ask_canary_of(&mut self, host: u64, now: Tick) -> bool {
        let Some(caller) = self.caller.as_mut().filter(|caller| caller.is_booked_out(now)) else {
            return false;
        };
        let board = self.board;
        let question = caller.next(&board.canaries, now, rate_of(board), |position| {
            board.plan.scope.host_index(board.order.index_at(position)) == host
        });
        question.is_some_and(|question| self.ask(&question))
    }

    /// Announces a question and makes it. The receiver must know of it before there can be an answer.
    fn ask(&mut self, question: &Question) -> bool {
        let announced = self.board.canaries.announce(*question);
        if announced {
            self.add_question(question);
        }
        announced
    }
}
