//! One host that is looked at again: what is still to be asked of it, and what its answers mean. Pure: it is told the
//! time.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::VerifyPlan;
use crate::link::clock::Tick;
use crate::link::handshake::{Call, Conduct, Opening, Outcome, Reached};
use crate::sweep::banner::{banner, opening};
use crate::sweep::verified::{AnswersAll, Confirmation, Verification, Verifications};
use crate::target::Target;

/// How long a canary may take to accept. Its host has just answered, so what comes later is worth no more waiting; one
/// lost packet, which the kernel sends again after a second, is still made good.
const CANARY_PATIENCE: Duration = Duration::from_millis(1500);

/// Between a handshake that failed and the next try, at least: whatever was in the way may be gone by then.
const BEFORE_ANOTHER_TRY: Duration = Duration::from_secs(1);

/// One conversation that is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Job {
    /// With a canary port: its place among them.
    Canary(usize),
    /// With a target: its place, and which try it is.
    Target { at: usize, another: bool },
}

impl Job {
    pub(super) fn is_canary(self) -> bool {
        matches!(self, Job::Canary(_))
    }

    /// The place of its target, by which the worst come first.
    fn place(self) -> Option<usize> {
        match self {
            Job::Canary(_) => None,
            Job::Target { at, .. } => Some(at),
        }
    }
}

/// What is known of one target.
struct Look {
    target: Target,
    confirmation: Confirmation,
}

/// A host, and what is wanted of it.
pub(super) struct Host {
    ip: IpAddr,
    looks: Vec<Look>,
    jobs: VecDeque<(Tick, Job)>,
    in_flight: usize,
    /// When it may be called next, and how long after each call.
    next: Tick,
    gap: Duration,
    /// What the canaries did that were accepted.
    canaries: Vec<Conduct>,
    answers_all: bool,
}

impl Host {
    pub(super) fn new(ip: IpAddr, targets: &[Target], plan: &VerifyPlan, next: Tick, gap: Duration) -> Self {
        let verification = if plan.already { Verification::Verified } else { Verification::Skipped };
        let look = |target: &Target| Look {
            target: *target,
            confirmation: Confirmation { verification, ..Confirmation::default() },
        };
        let mut host = Host {
            ip,
            looks: targets.iter().map(look).collect(),
            jobs: VecDeque::new(),
            in_flight: 0,
            next,
            gap,
            canaries: Vec::new(),
            answers_all: false,
        };
        if !plan.canary_ports.is_empty() {
            host.jobs.push_back((next, Job::Canary(0)));
        }
        if !plan.already || plan.banner {
            let jobs = (0..targets.len()).map(|at| (next, Job::Target { at, another: false }));
            host.jobs.extend(jobs);
        }
        host
    }

    /// Whether anything is wanted of it.
    pub(super) fn is_waiting(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// What to do with it now, if anything may be done; no canary unless there `is_room` for one.
    pub(super) fn next_job(&mut self, plan: &VerifyPlan, is_room: bool, now: Tick) -> Option<Job> {
        let limits = &plan.limits;
        let most = if self.answers_all { limits.at_device } else { limits.at_host };
        if self.in_flight >= most || now < self.next {
            return None;
        }
        let may_begin = |(from, job): &(Tick, Job)| now >= *from && (is_room || !job.is_canary());
        let at = self.jobs.iter().position(may_begin)?;
        let (_, job) = self.jobs.remove(at)?;
        self.next = now + self.gap;
        self.in_flight += 1;
        Some(job)
    }

    /// It could not be begun after all.
    pub(super) fn take_back(&mut self, job: Job) {
        self.in_flight -= 1;
        self.jobs.push_front((self.next, job));
    }

    /// The call to make for it.
    pub(super) fn call(&self, job: Job, plan: &VerifyPlan) -> Call {
        let (port, opening, patience) = match job {
            Job::Canary(at) => {
                let port = plan.canary_ports.get(at).copied().unwrap_or_default();
                (port, opening(port), Some(CANARY_PATIENCE))
            }
            Job::Target { at, .. } => {
                let port = self.looks.get(at).map_or(0, |look| look.target.port);
                let listens = plan.banner || self.answers_all;
                (port, if listens { opening(port) } else { Opening::Close }, None)
            }
        };
        Call { ip: self.ip, port, opening, patience }
    }

    /// Takes in how it went.
    pub(super) fn ended(&mut self, job: Job, outcome: &Outcome, plan: &VerifyPlan, now: Tick) {
        self.in_flight -= 1;
        match job {
            Job::Canary(at) => self.canary_ended(at, outcome, plan, now),
            Job::Target { at, another } => self.target_ended(at, another, outcome, plan, now),
        }
    }

    fn canary_ended(&mut self, at: usize, outcome: &Outcome, plan: &VerifyPlan, now: Tick) {
        // One that is shut is enough: the host does not accept everything.
        if outcome.reached != Reached::Completed {
            return;
        }
        self.canaries.push(outcome.conduct.unwrap_or(Conduct::Quiet));
        if at == 0 {
            (1..plan.canary_ports.len()).rev().for_each(|at| self.jobs.push_front((now, Job::Canary(at))));
        }
        if self.canaries.len() < plan.canary_ports.len() {
            return;
        }
        self.answers_all = true;
        // What was not listened to while acceptance still seemed to say something. Those are the worst ports, which
        // came first; they come first again, because time may end the listening before all have had their turn.
        let wanted: BTreeSet<usize> = self.jobs.iter().filter_map(|(_, job)| job.place()).collect();
        let is_to_be_heard = |(at, look): &(usize, &Look)| {
            let Confirmation { verification, conduct, .. } = &look.confirmation;
            *verification == Verification::Verified && conduct.is_none() && !wanted.contains(at)
        };
        let again = self.looks.iter().enumerate().filter(is_to_be_heard);
        self.jobs.extend(again.map(|(at, _)| (now, Job::Target { at, another: false })));
        self.jobs.make_contiguous().sort_by_key(|(_, job)| job.place());
    }

    /// Wants one more job. Where everything is listened to, it gets the place that its port has among the others.
    fn want(&mut self, from: Tick, job: Job) {
        let behind = |(_, other): &(Tick, Job)| !self.answers_all || other.place() <= job.place();
        let at = self.jobs.partition_point(behind);
        self.jobs.insert(at, (from, job));
    }

    fn target_ended(&mut self, at: usize, another: bool, outcome: &Outcome, plan: &VerifyPlan, now: Tick) {
        let answers_all = self.answers_all;
        let Some(look) = self.looks.get_mut(at) else { return };
        let known = &mut look.confirmation;
        if outcome.reached == Reached::Completed {
            known.verification = Verification::Verified;
            known.conduct = outcome.conduct;
            if plan.banner {
                known.banner = banner(look.target.port, outcome);
            }
            // It was begun before its host was known for what it is.
            if answers_all && outcome.conduct.is_none() {
                self.want(now, Job::Target { at, another: true });
            }
            return;
        }
        // What has finished a handshake once is verified, whatever comes later.
        if known.verification == Verification::Verified {
            return;
        }
        if another {
            known.verification = Verification::from(outcome.reached);
        } else {
            self.want(now + BEFORE_ANOTHER_TRY, Job::Target { at, another: true });
        }
    }

    /// Files what is known.
    pub(super) fn finish(self, plan: &VerifyPlan, verifications: &mut Verifications) {
        if self.answers_all {
            let conduct: BTreeSet<Conduct> = self.canaries.iter().copied().collect();
            let does = |look: &Look| Some((look.target.port, look.confirmation.conduct?));
            let heard = self.looks.iter().filter_map(does);
            let real = heard.clone().filter(|(_, does)| !conduct.contains(does));
            let host = AnswersAll {
                canary_ports: plan.canary_ports.clone(),
                real: real.map(|(port, _)| port).collect(),
                heard: heard.map(|(port, _)| port).collect(),
                conduct: conduct.clone(),
            };
            verifications.answers_all.insert(self.ip, host);
        }
        let known = self.looks.into_iter().map(|look| (look.target, look.confirmation));
        verifications.targets.extend(known);
    }
}
