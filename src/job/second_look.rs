//! Between the sweep and the verdict: the second look at what is about to be reported.

use super::listener::{Aside, waiting};
use crate::link::clock::{Clock, Monotonic};
use crate::link::fence::Fence;
use crate::link::handshake::{HandshakeOptions, Handshakes, Patience};
use crate::sink::doubt::not_confirmed;
use crate::sweep::plan::Plan;
use crate::sweep::report::Observation;
use crate::sweep::verified::{Confirmation, Ending, LookReport, Verification, Verifications};
use crate::sweep::verify::{Limits, Verified, VerifyPlan, canary_ports, verify};
use crate::sync::SignalFlag;
use crate::target::Target;

/// The second look to come, settled before the sweep begins.
#[derive(Clone, Debug)]
pub struct SecondLook {
    is_wanted: bool,
    banner: bool,
    /// Whether the engine made whole handshakes by itself.
    already: bool,
    interface: Option<String>,
    /// The ports that nobody uses; none if no second look is wanted.
    pub canary_ports: Vec<u16>,
}

impl SecondLook {
    /// Settles it.
    pub fn new(is_wanted: bool, banner: bool, interface: Option<&str>, already: bool, plan: &Plan) -> Self {
        let probes = (plan.source_ports.first, plan.source_ports.last());
        let canaries = || canary_ports(plan.seed, plan.scope.ports(), probes);
        SecondLook {
            is_wanted,
            banner: banner && is_wanted,
            already,
            interface: interface.map(str::to_owned),
            canary_ports: if is_wanted { canaries() } else { Vec::new() },
        }
    }

    /// Takes it: confirms these targets, which were found open and are not allowed. What breaks on the way, or cuts it
    /// short, is told, and leaves the rest unverified.
    pub fn take(
        &self,
        plan: &Plan,
        suspects: Vec<Target>,
        clock: Monotonic,
        interrupt: &SignalFlag,
        aside: &mut dyn Aside,
    ) -> (Verifications, LookReport) {
        let verify_plan = VerifyPlan {
            targets: suspects,
            canary_ports: self.canary_ports.clone(),
            banner: self.banner,
            already: self.already,
            rate: plan.rate,
            host_rate: plan.host_rate,
            limits: Limits::default(),
        };
        if !self.is_wanted || verify_plan.targets.is_empty() {
            return self.untouched(&verify_plan);
        }
        let begun = clock.now();
        let ports = plan.scope.ports().iter().chain(self.canary_ports.iter().copied());
        let options = HandshakeOptions {
            fence: Fence::new(plan.scope.ends(), ports),
            interface: self.interface.clone(),
            patience: Patience::default(),
        };
        let count = verify_plan.targets.len();
        let doing = format!("confirming {count} open ports that are not allowed");
        let verified = waiting(aside, &doing, || match Handshakes::open(options, clock) {
            Ok(mut calls) => verify(&verify_plan, &mut calls, &clock, interrupt),
            Err(failure) => {
                let verifications = self.known_already();
                Verified { verifications, ended: Ending::Failed, failure: Some(failure) }
            }
        });
        if let Some(failure) = &verified.failure {
            aside.warned(failure);
        }
        let targets = &verify_plan.targets;
        let is_skipped =
            |target: &&Target| verified.verifications.verification(target) == Verification::Skipped;
        let report = LookReport {
            targets: targets.len() as u64,
            skipped: targets.iter().filter(is_skipped).count() as u64,
            ended: verified.ended,
            duration_ms: clock.now().since(begun).as_millis() as u64,
        };
        if let Some(told) = not_confirmed(&report).filter(|_| report.ended == Ending::Stopped) {
            aside.warned(&told);
        }
        (verified.verifications, report)
    }

    /// What is to be told again: the targets that have finished a handshake since they were told.
    pub fn news(&self, known: &Verifications, opens: &[Observation]) -> Vec<(Observation, Confirmation)> {
        let told = opens.iter().map(|seen| (*seen, known.of(&seen.target)));
        told.filter(|(_, known)| {
            known.verification == Verification::Verified && (!self.already || known.banner.is_some())
        })
        .collect()
    }

    /// What is known without a second look.
    fn untouched(&self, plan: &VerifyPlan) -> (Verifications, LookReport) {
        let ended = if self.is_wanted { Ending::Complete } else { Ending::Off };
        let known = self.known_already();
        let targets = plan.targets.len() as u64;
        let skipped = if self.already { 0 } else { targets };
        (known, LookReport { targets, skipped, ended, duration_ms: 0 })
    }

    fn known_already(&self) -> Verifications {
        let otherwise = if self.already { Verification::Verified } else { Verification::Skipped };
        Verifications { otherwise, ..Verifications::default() }
    }
}
