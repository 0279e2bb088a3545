//! A second look at what has just begun to fire, some seconds later and from another source port.
//!
//! It changes nothing about the alert: an exposure that is gone again after five seconds was one. It says more about
//! it: that it is there to stay, that it was gone again, or that its host accepts whatever one asks for.

use std::time::Duration;

use super::cycle::Cycled;
use super::desk::Change;
use super::shared::Shared;
use crate::alert::advance::Mint;
use crate::alert::book::Book;
use crate::alert::judge::target_of;
use crate::alert::life::{Alert, Annotation, Phase};
use crate::alert::tell::{Happened, annotate};
use crate::link::LinkError;
use crate::link::clock::Monotonic;
use crate::link::fence::Fence;
use crate::link::handshake::{HandshakeOptions, Handshakes, Patience};
use crate::policy::finding::Fingerprint;
use crate::policy::kind::FindingKind;
use crate::sweep::verified::{Verification, Verifications};
use crate::sweep::verify::{Limits, VerifyPlan, verify};
use crate::sync::SignalFlag;
use crate::target::Target;
use crate::target::scope::Scope;

/// More than this many are a storm, and nobody reads a second look at each.
const MOST: usize = 256;

/// What is to be looked at again.
#[derive(Clone, Debug)]
pub struct Recheck {
    /// The alerts and their targets.
    pub targets: Vec<(Fingerprint, Target)>,
    /// Nothing outside of it is asked.
    pub scope: Scope,
    /// The interface that the sweep was bound to.
    pub interface: Option<String>,
    /// When, since boot.
    pub due: Duration,
}

impl Recheck {
    /// What of the alerts that have changed by a sweep is worth a second look, if any is to be taken.
    pub fn of(cycled: &Cycled, shared: &Shared) -> Option<Self> {
        let due = shared.time.since_boot() + shared.config().alerting.second_look_after?;
        let is_new = |alert: &&Alert| {
            alert.state == Phase::Firing
                && alert.finding.kind == FindingKind::Exposure
                && alert.fired_at == Some(alert.since)
                && alert.since == alert.finding.last_seen
                && alert.annotation.is_none()
        };
        let found = cycled.changed.iter().filter(is_new).take(MOST);
        let targets: Vec<(Fingerprint, Target)> = found
            .filter_map(|alert| Some((alert.finding.fingerprint.clone(), target_of(&alert.finding)?)))
            .collect();
        let (scope, interface) = (cycled.scope.clone(), cycled.interface.clone());
        (!targets.is_empty()).then_some(Recheck { targets, scope, interface, due })
    }

    /// Looks again, and notes with each alert what that has shown. Where nobody can be asked, the alerts stay as they
    /// are.
    pub fn take(&self, shared: &Shared, interrupt: &SignalFlag) {
        match self.look(interrupt) {
            Err(error) => tracing::warn!(%error, "no second look"),
            Ok(shown) => {
                let step = |book: &mut Book, _: Mint<'_>| -> Happened {
                    shown.iter().flat_map(|(alert, shown)| annotate(book, alert, *shown)).collect()
                };
                shared.desk.make(&Change::of(&step), shared.time.now());
            }
        }
    }

    fn look(&self, interrupt: &SignalFlag) -> Result<Vec<(Fingerprint, Annotation)>, LinkError> {
        let clock = Monotonic::new();
        let options = HandshakeOptions {
            fence: Fence::new(self.scope.ends(), self.scope.ports().iter()),
            interface: self.interface.clone(),
            patience: Patience::default(),
        };
        let plan = VerifyPlan {
            targets: self.targets.iter().map(|(_, target)| *target).collect(),
            // Whether a host accepts everything has been asked in the first look.
            canary_ports: Vec::new(),
            banner: false,
            already: false,
            rate: None,
            host_rate: None,
            limits: Limits::default(),
        };
        let mut calls = Handshakes::open(options, clock)?;
        let known = verify(&plan, &mut calls, &clock, interrupt).verifications;
        let shown = |(fingerprint, target): &(Fingerprint, Target)| {
            Some((fingerprint.clone(), annotation(&known, target)?))
        };
        Ok(self.targets.iter().filter_map(shown).collect())
    }
}

fn annotation(known: &Verifications, target: &Target) -> Option<Annotation> {
    if known.folds(target).is_some() {
        return Some(Annotation::AnswersAll);
    }
    match known.of(target).verification {
        Verification::Verified => Some(Annotation::Confirmed),
        Verification::Skipped => None,
        _ => Some(Annotation::Transient),
    }
}
