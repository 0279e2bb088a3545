//! What policy objects to, in full: each finding is made when somebody asks for it.
//!
//! A finding has a message, a fingerprint and names, and is many times as large as the target that it is about. Where a
//! whole network is exposed there are hundreds of thousands of them, and nobody needs more than one at a time.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

use super::allowlist::{Allowance, Allowlist, Judgement};
use super::finding::{Finding, Folded, severity_of_exposure};
use crate::sweep::verified::Verifications;
use crate::target::names::Names;
use crate::target::ports::Severity;
use crate::target::state::State;
use crate::target::{Target, Transport};

/// What policy objects to, the worst first, and then what it notes of the allowlist.
///
/// Invariants: `entries` are sorted by [`Entry::rank`], without repeats; each host in `folded` has one entry without a
/// target, and is one of those that `known` says accept everything.
#[derive(Debug)]
pub struct Findings<'a> {
    entries: Vec<Entry>,
    folded: BTreeMap<IpAddr, Folded>,
    idle: Vec<&'a Allowance>,
    allowlist: &'a Allowlist,
    known: Verifications,
    names: Option<&'a Names>,
    now: Timestamp,
}

/// What has to be kept of a finding to make it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    severity: Severity,
    ip: IpAddr,
    /// The port that is exposed, and its state; none for a host that accepts everything.
    exposed: Option<(u16, Transport, State)>,
}

/// The order of findings.
type Rank = (Reverse<Severity>, IpAddr, Option<(u16, Transport)>);

impl Entry {
    fn rank(&self) -> Rank {
        let port = self.exposed.map(|(port, transport, _)| (port, transport));
        (Reverse(self.severity), self.ip, port)
    }

    fn target(&self) -> Option<Target> {
        self.exposed.map(|(port, transport, _)| Target { ip: self.ip, port, transport })
    }
}

impl<'a> Findings<'a> {
    /// The findings on these targets, which have accepted a handshake, sorted and each once; of them, only those count
    /// that may not be open. `idle` are the allowances that nothing makes use of.
    pub(super) fn new(
        mut targets: Vec<(Target, State)>,
        idle: Vec<&'a Allowance>,
        allowlist: &'a Allowlist,
        known: Verifications,
        now: Timestamp,
    ) -> Self {
        let mut folded: BTreeMap<IpAddr, Folded> = BTreeMap::new();
        targets.retain(|(target, _)| {
            let Some(host) = known.folds(target) else { return objection(target, allowlist, now).is_some() };
            if objection(target, allowlist, now).is_some() {
                let folded = folded.entry(target.ip).or_default();
                folded.ports += 1;
                folded.listened_to += usize::from(host.heard.contains(&target.port));
            }
            false
        });
        let mut entries = Vec::with_capacity(targets.len() + folded.len());
        entries.extend(targets.into_iter().map(|(target, state)| Entry {
            severity: severity_of_exposure(target.port, known.verification(&target)),
            ip: target.ip,
            exposed: Some((target.port, target.transport, state)),
        }));
        entries.extend(folded.keys().map(|ip| Entry {
            severity: Finding::SEVERITY_OF_ANSWERS_ALL,
            ip: *ip,
            exposed: None,
        }));
        entries.sort_unstable_by_key(Entry::rank);
        Findings { entries, folded, idle, allowlist, known, names: None, now }
    }

    /// The same, with what their addresses are called.
    #[must_use]
    pub fn with_names(self, names: &'a Names) -> Self {
        Findings { names: Some(names), ..self }
    }

    /// What they were judged by, beside the allowlist.
    pub fn known(&self) -> &Verifications {
        &self.known
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len() + self.idle.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of them are exposures.
    pub fn count_exposures(&self) -> usize {
        self.entries.len() - self.folded.len()
    }

    /// How many of them are hosts that accept everything.
    pub fn count_answers_all(&self) -> usize {
        self.folded.len()
    }

    /// How many of them are mere notes on the allowlist.
    pub fn count_notes(&self) -> usize {
        self.idle.len()
    }

    /// Whether a sweep with them is one that found something.
    pub fn has_objections(&self) -> bool {
        !self.entries.is_empty()
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Finding> {
        self.except(|_| false)
    }

    /// All of them but those on the targets that `is_told` names, which are not even made.
    pub fn except(&self, is_told: impl Fn(&Target) -> bool) -> impl Iterator<Item = Finding> {
        let rest = self.entries.iter().filter(move |entry| !entry.target().is_some_and(|at| is_told(&at)));
        rest.filter_map(|entry| self.made(entry)).chain(self.notes())
    }

    /// The exposures.
    pub fn exposures(&self) -> impl Iterator<Item = Finding> {
        let exposed = self.entries.iter().filter(|entry| entry.exposed.is_some());
        exposed.filter_map(|entry| self.made(entry))
    }

    /// The hosts that accept everything.
    pub fn answers_all(&self) -> impl Iterator<Item = Finding> {
        let hosts = self.entries.iter().filter(|entry| entry.exposed.is_none());
        hosts.filter_map(|entry| self.made(entry))
    }

    /// The notes on the allowlist.
    pub fn notes(&self) -> impl Iterator<Item = Finding> {
        self.idle.iter().map(|allowance| Finding::idle_allowance(allowance, self.now))
    }

    /// The exposure of this target, if it is one. Its address is in its one spelling.
    pub fn on(&self, target: &Target) -> Option<Finding> {
        let severity = severity_of_exposure(target.port, self.known.verification(target));
        let rank = (Reverse(severity), target.ip, Some((target.port, target.transport)));
        let at = self.entries.binary_search_by_key(&rank, Entry::rank).ok()?;
        self.made(self.entries.get(at)?)
    }

    fn made(&self, entry: &Entry) -> Option<Finding> {
        let finding = match entry.exposed {
            Some((port, transport, state)) => {
                let target = Target { ip: entry.ip, port, transport };
                let expired = objection(&target, self.allowlist, self.now)?;
                Finding::exposure(&target, state, expired, self.known.of(&target), self.now)
            }
            None => {
                let (folded, host) = (self.folded.get(&entry.ip)?, self.known.answers_all.get(&entry.ip)?);
                Finding::answers_all(entry.ip, *folded, host, self.now)
            }
        };
        let names = self.names.map(|names| names.owned(entry.ip)).unwrap_or_default();
        Some(Finding { names, ..finding })
    }
}

/// What policy has against this target being open: nothing, or that it is not allowed, or no longer.
pub(super) fn objection<'a>(
    target: &Target,
    allowlist: &'a Allowlist,
    now: Timestamp,
) -> Option<Option<&'a Allowance>> {
    match allowlist.judge(target, now) {
        Judgement::Allowed(_) => None,
        Judgement::Expired(allowance) => Some(Some(allowance)),
        Judgement::NotAllowed => Some(None),
    }
}
