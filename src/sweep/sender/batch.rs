//! The batch: probes that are marked in the table, and questions that are announced, on their way to the link.

use std::net::IpAddr;

use super::{REFUSED_LIMIT, REFUSED_REST, Sender, Step, TROUBLE_REST};
use crate::link::clock::Tick;
use crate::link::{LinkError, Probe, Transmit};
use crate::sweep::canary::Question;
use crate::sweep::cookie::Token;
use crate::target::Target;

/// Whom a probe of the batch is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Addressee {
    /// The target in this place of the order.
    Target(u64),
    /// The canary in this place, by the question with this number.
    Canary { place: usize, serial: u32 },
}

impl<T: Transmit> Sender<'_, T> {
    /// Takes back what was marked but never left, and waits for nothing more. To be called once the driver is done with
    /// the sender, however it ended.
    pub fn abandon(&mut self) {
        self.board.seeing.end(self.number);
        for at in 0..self.batch.len() {
            self.take_back(self.addressees[at]);
        }
        self.batch.clear();
        self.addressees.clear();
    }

    /// Makes the probe, and marks it before it can possibly be answered.
    #[inline]
    pub(super) fn add_probe(&mut self, position: u64, index: u64, now: Tick) {
        let target = self.board.plan.scope.target(index);
        let source = self.link.source(target.ip);
        let try_number = self.board.table.mark_probed(position);
        self.board.times.note(position, now);
        let token = self.board.cookie.token(source, &target, try_number);
        self.addressees.push(Addressee::Target(position));
        self.batch.push(probe_to(&target, source, token));
    }

    /// Makes the question.
    pub(super) fn add_question(&mut self, question: &Question) {
        let target = self.board.target_at(question.position);
        let source = self.link.source(target.ip);
        let token = self.board.cookie.canary_token(source, &target, question.serial);
        self.addressees.push(Addressee::Canary { place: question.place, serial: question.serial });
        self.batch.push(probe_to(&target, source, token));
    }

    /// Spreads the questions, which were made first, among the probes of the batch: where a queue on the way runs full
    /// towards the end of each batch, whoever always comes first never notices.
    pub(super) fn spread_questions(&mut self) {
        for at in 0..self.batch.len() {
            let Addressee::Canary { .. } = self.addressees[at] else { break };
            // The number of a question is as good as chance.
            let anywhere = ((u64::from(self.batch[at].sequence) * self.batch.len() as u64) >> 32) as usize;
            self.batch.swap(at, anywhere);
            self.addressees.swap(at, anywhere);
        }
    }

    /// Gives the batch to the link. What it refuses stays, and goes first next time.
    pub(super) fn hand_over(&mut self, now: Tick) -> Result<Step, LinkError> {
        self.refused.clear();
        let handed = self.link.transmit(&self.batch, &mut self.refused);
        let taken = self.batch.len() - self.refused.len();
        let questions_before = self.questions();
        // In front stays what was refused. The places ascend, so nothing is overwritten before its turn.
        for (to, from) in self.refused.iter().enumerate() {
            self.batch[to] = self.batch[*from];
            self.addressees[to] = self.addressees[*from];
        }
        self.batch.truncate(self.refused.len());
        self.addressees.truncate(self.refused.len());
        if taken > 0 {
            let questions = questions_before - self.questions();
            let counters = &self.board.senders[self.number];
            counters.sent.add((taken - questions) as u64);
            counters.canaries.add(questions as u64);
            self.pacer.spend(now, taken);
            self.refused_since = None;
            if taken > questions {
                // Only probes are waited for: questions go on as long as anybody waits.
                self.last_sent = now;
            }
        }
        self.drop_hopeless();
        handed?;
        if self.batch.is_empty() {
            return Ok(Step::Again);
        }
        for addressee in &self.addressees {
            if let Addressee::Target(position) = addressee {
                self.board.times.note(*position, now);
            }
        }
        self.board.senders[self.number].refused.add(1);
        if self.board.seeing.troubled() != 0 {
            // Whoever watches the path decides when to give up.
            self.refused_since = None;
            return Ok(Step::Wait(now + TROUBLE_REST));
        }
        let since = *self.refused_since.get_or_insert(now);
        if now.since(since) > REFUSED_LIMIT { Ok(Step::Refused) } else { Ok(Step::Wait(now + REFUSED_REST)) }
    }

    fn questions(&self) -> usize {
        self.addressees.iter().filter(|addressee| matches!(addressee, Addressee::Canary { .. })).count()
    }

    /// Takes out of the batch what is not to be tried again: questions, for a later one is as good; and probes by a
    /// path that is lost.
    fn drop_hopeless(&mut self) {
        let seeing = &self.board.seeing;
        let any_lost = seeing.lost() != 0;
        for at in (0..self.batch.len()).rev() {
            let addressee = self.addressees[at];
            let is_lost = || any_lost && seeing.is_lost(self.board.plan.path_of(self.batch[at].ip));
            if matches!(addressee, Addressee::Canary { .. }) || is_lost() {
                self.take_back(addressee);
                self.addressees.remove(at);
                self.batch.remove(at);
            }
        }
    }

    fn take_back(&self, addressee: Addressee) {
        match addressee {
            Addressee::Target(position) => self.board.table.unmark_probed(position),
            Addressee::Canary { place, serial } => self.board.canaries.take_back(place, serial),
        }
    }
}

fn probe_to(target: &Target, source: IpAddr, token: Token) -> Probe {
    Probe {
        ip: target.ip,
        port: target.port,
        source,
        source_port: token.source_port,
        sequence: token.sequence,
    }
}
