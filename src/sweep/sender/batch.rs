//! The batch: probes that are marked in the table, and questions that are announced, on their way to the link.

use std::net::IpAddr;

use super::{MOST_REFUSED, REFUSED_LIMIT, REFUSED_REST, SET_ASIDE_AFTER, Sender, Step, TROUBLE_REST};
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
        self.empty_batch();
    }

    fn empty_batch(&mut self) {
        for at in 0..self.batch.len() {
            self.take_back(self.addressees[at]);
        }
        self.batch.clear();
        self.addressees.clear();
        self.waits.clear();
    }

    /// Makes the probe, and marks it before it can possibly be answered.
    #[inline]
    pub(super) fn add_probe(&mut self, position: u64, target: &Target, now: Tick) {
        let source = self.link.source(target.ip);
        let try_number = self.board.table.mark_probed(position);
        self.board.times.note(position, now);
        let token = self.board.cookie.token(source, target, try_number);
        self.addressees.push(Addressee::Target(position));
        self.batch.push(probe_to(target, source, token));
    }

    /// Makes the question.
    pub(super) fn add_question(&mut self, question: &Question) {
        let target = self.board.target_at(question.position);
        let source = self.link.source(target.ip);
        let token = self.board.cookie.canary_token(source, &target, question.serial);
        self.addressees.push(Addressee::Canary { place: question.place, serial: question.serial });
        self.batch.push(probe_to(&target, source, token));
    }

    /// Spreads the questions, which were made first, among the new probes of the batch: where a queue on the way runs
    /// full towards the end of each batch, whoever always comes first never notices.
    pub(super) fn spread_questions(&mut self) {
        let (first, all) = (self.waits.len(), self.batch.len());
        for at in first..all {
            let Addressee::Canary { .. } = self.addressees[at] else { break };
            // The number of a question is as good as chance.
            let anywhere = ((u64::from(self.batch[at].sequence) * (all - first) as u64) >> 32) as usize;
            let anywhere = first + anywhere;
            self.batch.swap(at, anywhere);
            self.addressees.swap(at, anywhere);
        }
    }

    /// Gives the batch to the link. What it refuses stays, and goes first next time; what it refuses again and again,
    /// while others may leave, must not hold them up.
    pub(super) fn hand_over(&mut self, now: Tick) -> Result<Step, LinkError> {
        self.refused.clear();
        let handed = self.link.transmit(&self.batch, &mut self.refused);
        let taken = self.batch.len() - self.refused.len();
        // A device that is full says so of the last; a rule against somebody, of him.
        let is_full = self.refused.last().is_some_and(|last| last + 1 == self.batch.len());
        let questions_before = self.questions();
        self.keep_refused(now);
        let questions = questions_before - self.questions();
        if taken > 0 {
            let counters = &self.board.senders[self.number];
            counters.sent.add((taken - questions) as u64);
            counters.canaries.add(questions as u64);
            self.pacer.spend(now, taken);
            self.refused_since = None;
        }
        if taken > questions {
            // Only probes are waited for: questions go on as long as anybody waits.
            self.last_sent = now;
            self.link.mark();
            (self.stuck_since, self.draining_since) = (None, None);
        }
        self.drop_hopeless();
        handed?;
        if self.batch.is_empty() {
            return Ok(Step::Again);
        }
        if taken == 0 {
            // Whoever stands first may be the one that the link is waiting for.
            self.batch.rotate_left(1);
            self.addressees.rotate_left(1);
            self.waits.rotate_left(1);
        }
        for addressee in &self.addressees {
            if let Addressee::Target(position) = addressee {
                self.board.times.note(*position, now);
            }
        }
        self.board.senders[self.number].refused.add(u64::from(is_full));
        if self.board.seeing.troubled() != 0 {
            // Whoever watches the path decides when to give up.
            (self.refused_since, self.stuck_since) = (None, None);
            return Ok(Step::Wait(now + TROUBLE_REST));
        }
        self.set_aside(now, is_full);
        Ok(self.wait_or_give_up(now, taken))
    }

    /// Keeps what was refused in front. The places ascend, so nothing is overwritten before its turn.
    fn keep_refused(&mut self, now: Tick) {
        let waited = self.waits.len();
        for (to, from) in self.refused.iter().enumerate() {
            self.batch[to] = self.batch[*from];
            self.addressees[to] = self.addressees[*from];
            let since = if *from < waited { self.waits[*from] } else { now };
            match self.waits.get_mut(to) {
                Some(wait) => *wait = since,
                None => self.waits.push(since),
            }
        }
        self.batch.truncate(self.refused.len());
        self.addressees.truncate(self.refused.len());
        self.waits.truncate(self.refused.len());
    }

    /// Sets aside what has been refused for too long, and what is too much to be tried again each time beside others
    /// that leave. A later lap finds it.
    fn set_aside(&mut self, now: Tick, is_full: bool) {
        let too_many = if is_full { 0 } else { self.batch.len().saturating_sub(MOST_REFUSED) };
        for at in (0..self.batch.len()).rev() {
            if at < too_many || now.since(self.waits[at]) > SET_ASIDE_AFTER {
                self.remove(at);
                self.lap_worked = true;
                self.set_aside[0] += 1;
                self.board.senders[self.number].set_aside.add(1);
            }
        }
    }

    /// What follows from a refusal. Where no probe has left for too long, that is the end: of the sweep, if nothing
    /// else can leave either; or only of what is refused, if that is all that is left to send.
    fn wait_or_give_up(&mut self, now: Tick, taken: usize) -> Step {
        let too_long = |since: Option<Tick>| since.is_some_and(|since| now.since(since) > REFUSED_LIMIT);
        if taken == 0 {
            self.refused_since.get_or_insert(now);
        }
        self.stuck_since.get_or_insert(now);
        if !too_long(self.stuck_since) {
            return Step::Wait(now + REFUSED_REST);
        }
        let has_sent = self.last_sent != Tick::default();
        let is_known = self.cursor >= self.stretch.end && self.lap_found <= self.set_aside[1];
        if too_long(self.refused_since) && !(has_sent && is_known) {
            return Step::Refused;
        }
        self.empty_batch();
        self.caps.clear();
        self.cursor = self.stretch.end;
        self.lap_worked = false;
        (self.refused_since, self.stuck_since) = (None, None);
        self.board.senders[self.number].given_up.add(1);
        Step::Again
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
                self.remove(at);
            }
        }
    }

    /// Takes out of the batch, and back, what was refused.
    fn remove(&mut self, at: usize) {
        self.take_back(self.addressees[at]);
        self.addressees.remove(at);
        self.batch.remove(at);
        self.waits.remove(at);
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
