//! Whether what must be open is.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::class::Class;
use super::expectation::Expectation;
use super::finding::{Finding, Fingerprint};
use super::kind::{FindingKind, Rule};
use crate::sweep::report::Observation;
use crate::target::address::address_of;
use crate::target::ports::{self, Severity};
use crate::target::scope::Scope;
use crate::target::state::State;
use crate::target::{Target, Transport};

/// How bad an outage is, if nobody says.
const DEFAULT_SEVERITY: Severity = Severity::High;

/// A target that must be open, and whether it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Check<'a> {
    /// What names it.
    pub expectation: &'a Expectation,
    /// What would be or is found, and for whom.
    pub finding: Finding,
    /// For whom.
    pub class: Class,
    /// Whether it was open.
    pub is_up: bool,
}

/// The targets of a scope that must be open, each with the first expectation that names it.
pub fn expected<'a>(expectations: &'a [Expectation], scope: &Scope) -> BTreeMap<Target, &'a Expectation> {
    let mut expected = BTreeMap::new();
    for expectation in expectations {
        let numbers = expectation.hosts.iter().flat_map(|range| {
            let (first, last) = range.numbers();
            first..=last
        });
        for ip in numbers.map(address_of) {
            for port in expectation.ports.iter().filter(|port| scope.index_of(ip, *port).is_some()) {
                let target = Target { ip: ip.to_canonical(), port, transport: Transport::Tcp };
                expected.entry(target).or_insert(expectation);
            }
        }
    }
    expected
}

/// Judges what a complete sweep has seen of the targets that must be open. What has answered as open and as closed, or
/// is not known, is neither a failure nor a success.
pub fn check<'a>(
    expected: &BTreeMap<Target, &'a Expectation>,
    seen: &HashMap<Target, Observation>,
    now: Timestamp,
) -> Vec<Check<'a>> {
    let judge = |(target, expectation): (&Target, &&'a Expectation)| {
        let observation = seen.get(target)?;
        let is_up = match observation.state {
            State::Open => true,
            State::Closed | State::Filtered | State::Unreachable => false,
            State::Conflict | State::Unknown => return None,
        };
        let finding = Finding::outage(target, observation, expectation, now);
        let class = expectation.class.clone().unwrap_or_else(Class::health);
        Some(Check { expectation, finding, class, is_up })
    };
    expected.iter().filter_map(judge).collect()
}

impl Finding {
    /// A target that must be open, and is as it was observed.
    fn outage(target: &Target, seen: &Observation, expectation: &Expectation, now: Timestamp) -> Self {
        let kind = FindingKind::Outage;
        let fingerprint = Fingerprint::of_target(kind, target);
        let severity = expectation.severity.unwrap_or(DEFAULT_SEVERITY);
        let reason = seen.reason.map_or_else(String::new, |reason| format!(" ({})", reason.as_str()));
        let state = seen.state.as_str();
        let name = crate::target::foreign::harmless(&expectation.name).into_owned();
        let message = format!("{target} must be open for \"{name}\" and is {state}{reason}");
        Finding {
            ip: Some(target.ip),
            port: Some(target.port),
            transport: Some(target.transport),
            service: ports::service(target.port).map(|service| service.name.to_owned()),
            expectation: Some(expectation.name.clone()),
            owner: expectation.owner.clone(),
            ..Finding::bare(kind, Rule::MustBeOpen, fingerprint, severity, now, message)
        }
    }
}
