//! Whether what must be open is.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::class::Class;
use super::expectation::Expectation;
use super::finding::{Finding, Fingerprint};
use super::grade::Grades;
use super::kind::{FindingKind, Rule};
use crate::sweep::report::Observation;
use crate::target::address::address_of;
use crate::target::ports::{self, Severity};
use crate::target::scope::{Scope, merge, subtract};
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

/// The targets of a scope that must be open. An expectation may name more addresses than anybody can count; a scope
/// never does.
pub fn expected(expectations: &[Expectation], scope: &Scope) -> BTreeSet<Target> {
    let mut expected = BTreeSet::new();
    for expectation in expectations {
        let outside = subtract(scope.ranges(), &merge(&expectation.hosts));
        let ports: Vec<u16> =
            expectation.ports.iter().filter(|port| scope.ports().slot_of(*port).is_some()).collect();
        for range in subtract(scope.ranges(), &outside) {
            let (first, last) = range.numbers();
            for ip in (first..=last).map(address_of) {
                let target = |port: &u16| Target { ip, port: *port, transport: Transport::Tcp };
                expected.extend(ports.iter().map(target));
            }
        }
    }
    expected
}

/// Judges what a complete sweep has seen of the targets that must be open, each by the first expectation that names it.
/// What has answered as open and as closed, or is not known, is neither a failure nor a success. What an expectation
/// says of itself counts for more than a grade.
pub fn check<'a>(
    expectations: &'a [Expectation],
    seen: &[Observation],
    grades: &Grades,
    now: Timestamp,
) -> Vec<Check<'a>> {
    let judge = |seen: &Observation| {
        let expectation = expectations.iter().find(|expectation| expectation.names(&seen.target))?;
        let is_up = match seen.state {
            State::Open => true,
            State::Closed | State::Filtered | State::Unreachable => false,
            State::Conflict | State::Unknown => return None,
        };
        let mut finding = Finding::outage(seen, expectation, now);
        let class = grades.apply(&mut finding);
        let class = expectation.class.clone().unwrap_or(class);
        finding.severity = expectation.severity.unwrap_or(finding.severity);
        Some(Check { expectation, finding, class, is_up })
    };
    seen.iter().filter_map(judge).collect()
}

impl Finding {
    /// A target that must be open, and is as it was observed.
    fn outage(seen: &Observation, expectation: &Expectation, now: Timestamp) -> Self {
        let (kind, target) = (FindingKind::Outage, &seen.target);
        let fingerprint = Fingerprint::of_target(kind, target);
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
            ..Finding::bare(kind, Rule::MustBeOpen, fingerprint, DEFAULT_SEVERITY, now, message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::expectation::{DEFAULT_FAILURES, DEFAULT_RECOVERIES};
    use crate::policy::grade::Grade;
    use crate::target::state::Reason;

    fn expectation(name: &str, hosts: &[&str], ports: &str) -> Expectation {
        Expectation {
            name: name.to_owned(),
            hosts: hosts.iter().map(|text| text.parse().expect(text)).collect(),
            ports: ports.parse().expect(ports),
            failures: DEFAULT_FAILURES,
            recoveries: DEFAULT_RECOVERIES,
            owner: None,
            class: None,
            severity: None,
            line: 1,
        }
    }

    fn target(ip: &str, port: u16) -> Target {
        Target { ip: ip.parse().expect(ip), port, transport: Transport::Tcp }
    }

    fn closed(target: Target) -> Observation {
        Observation {
            target,
            state: State::Closed,
            reason: Some(Reason::Rst),
            unknown: None,
            tries: 1,
            rtt_us: None,
            ttl: None,
            corrects: false,
        }
    }

    #[test]
    fn only_what_is_in_scope_is_listed_however_much_is_named() {
        let networks = ["198.18.0.0/30", "2001:db8::/126"].map(|text| text.parse().expect(text));
        let exclude = ["198.18.0.1".parse().expect("an address")];
        let scope = Scope::new(&networks, &exclude, "22,5432".parse().expect("ports")).expect("a scope");
        let expectations = [
            expectation("everything", &["2001:db8::/64", "198.18.0.0/31"], "5432,6432"),
            expectation("again", &["198.18.0.0", "::ffff:198.18.0.3"], "22,5432"),
        ];
        let mut meant: Vec<Target> =
            ["2001:db8::", "2001:db8::1", "2001:db8::2", "2001:db8::3", "198.18.0.0"]
                .iter()
                .map(|ip| target(ip, 5432))
                .chain([target("198.18.0.0", 22), target("198.18.0.3", 22), target("198.18.0.3", 5432)])
                .collect();
        meant.sort_unstable();
        assert_eq!(expected(&expectations, &scope).into_iter().collect::<Vec<_>>(), meant);
    }

    #[test]
    fn a_grade_says_what_the_expectation_does_not() {
        let (plain, mut own) =
            (expectation("plain", &["198.18.0.1"], "22"), expectation("own", &["198.18.0.2"], "22"));
        own.severity = Some(Severity::Low);
        own.class = Some("own".parse().expect("a class"));
        let grade = Grade {
            kinds: vec![FindingKind::Outage],
            severity: Some(Severity::Critical),
            class: Some("graded".parse().expect("a class")),
            ..Grade::default()
        };
        let seen = ["198.18.0.1", "198.18.0.2", "198.18.0.3"].map(|ip| closed(target(ip, 22)));
        let expectations = [plain, own];
        let now = "2026-06-01T00:00:00Z".parse().expect("a time");
        let told = |grades: &Grades| -> Vec<(String, Severity)> {
            let checks = check(&expectations, &seen, grades, now);
            checks.iter().map(|check| (check.class.as_str().to_owned(), check.finding.severity)).collect()
        };
        let own = ("own".to_owned(), Severity::Low);
        assert_eq!(told(&Grades::default()), [("health".to_owned(), Severity::High), own.clone()]);
        assert_eq!(told(&Grades(vec![grade])), [("graded".to_owned(), Severity::Critical), own]);
    }
}
