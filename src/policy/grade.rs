//! Grades: the operator's own view of how bad a finding is, and of whom it is for.

use super::class::Class;
use super::finding::Finding;
use super::kind::FindingKind;
use crate::target::address::AddressRange;
use crate::target::ports::{PortSet, Severity};

/// One rule: which findings are meant, and what they are from then on. Nothing said fits all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Grade {
    /// Findings about addresses in any of these ranges.
    pub hosts: Vec<AddressRange>,
    /// Findings about any of these ports.
    pub ports: Option<PortSet>,
    /// Findings of any of these kinds.
    pub kinds: Vec<FindingKind>,
    /// Findings that any of these people or teams answer for.
    pub owners: Vec<String>,
    /// How bad they are, if that is to change.
    pub severity: Option<Severity>,
    /// Who is to hear of them, if that is to change.
    pub class: Option<Class>,
    /// The line of the file where its table begins.
    pub line: u32,
}

impl Grade {
    /// Whether this finding is meant.
    pub fn fits(&self, finding: &Finding) -> bool {
        let has_host = |ip| self.hosts.iter().any(|range| range.contains(ip));
        let has_port = |ports: &PortSet| finding.port.is_some_and(|port| ports.slot_of(port).is_some());
        let is_owned = || finding.owner.as_ref().is_some_and(|owner| self.owners.contains(owner));
        (self.hosts.is_empty() || finding.ip.is_some_and(has_host))
            && self.ports.as_ref().is_none_or(has_port)
            && (self.kinds.is_empty() || self.kinds.contains(&finding.kind))
            && (self.owners.is_empty() || is_owned())
    }
}

/// All rules, in the order of the file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Grades(pub Vec<Grade>);

impl Grades {
    /// Gives the finding the severity of the first rule that fits it, and says whom it is for: that rule's class, or
    /// the one that the kind of finding has by itself. Where the first rule that fits says only one of the two, no
    /// other rule is asked for the other one.
    pub fn apply(&self, finding: &mut Finding) -> Class {
        let grade = self.0.iter().find(|grade| grade.fits(finding));
        if let Some(severity) = grade.and_then(|grade| grade.severity) {
            finding.severity = severity;
        }
        grade.and_then(|grade| grade.class.clone()).unwrap_or_else(|| finding.kind.class())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::finding::Fingerprint;
    use crate::policy::kind::Rule;
    use crate::target::{Target, Transport};

    fn finding(ip: &str, port: u16, owner: Option<&str>) -> Finding {
        let target = Target { ip: ip.parse().expect(ip), port, transport: Transport::Tcp };
        let fingerprint = Fingerprint::of_target(FindingKind::Exposure, &target);
        let now = "2026-06-01T00:00:00Z".parse().expect("a time");
        let (kind, rule) = (FindingKind::Exposure, Rule::DefaultClosed);
        Finding {
            ip: Some(target.ip),
            port: Some(port),
            owner: owner.map(str::to_owned),
            ..Finding::bare(kind, rule, fingerprint, Severity::High, now, String::new())
        }
    }

    fn class(name: &str) -> Option<Class> {
        Some(name.parse().expect(name))
    }

    #[test]
    fn a_condition_that_is_not_said_fits_all_and_all_that_are_said_must_fit() {
        let hosts = vec!["198.18.1.0/24".parse().expect("a network")];
        let ports = Some("22,80".parse().expect("ports"));
        let kinds = vec![FindingKind::Exposure];
        let owners = vec!["lab".to_owned()];
        let whole = Grade { hosts, ports, kinds, owners, ..Grade::default() };
        let meant = finding("198.18.1.7", 22, Some("lab"));
        assert!(whole.fits(&meant) && Grade::default().fits(&meant));
        for (other, why) in [
            (finding("198.18.2.7", 22, Some("lab")), "the host"),
            (finding("198.18.1.7", 23, Some("lab")), "the port"),
            (finding("198.18.1.7", 22, Some("ops")), "the owner"),
            (finding("198.18.1.7", 22, None), "no owner"),
            (Finding { kind: FindingKind::Outage, ..meant.clone() }, "the kind"),
            (Finding { ip: None, ..meant.clone() }, "no host"),
            (Finding { port: None, ..meant.clone() }, "no port"),
        ] {
            assert!(!whole.fits(&other), "{why}");
            assert!(Grade::default().fits(&other), "{why}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides_alone() {
        let hosts = |text: &str| vec![text.parse().expect(text)];
        let grades = Grades(vec![
            Grade { hosts: hosts("198.18.9.0/24"), severity: Some(Severity::Low), ..Grade::default() },
            Grade {
                hosts: hosts("198.18.0.0/16"),
                severity: Some(Severity::Critical),
                class: class("network"),
                ..Grade::default()
            },
            Grade { hosts: hosts("198.18.9.0/24"), class: class("lab"), ..Grade::default() },
        ]);
        for (ip, severity, told) in [
            ("198.18.9.1", Severity::Low, "security"),
            ("198.18.1.1", Severity::Critical, "network"),
            ("198.19.1.1", Severity::High, "security"),
        ] {
            let mut graded = finding(ip, 22, None);
            assert_eq!(grades.apply(&mut graded).as_str(), told, "{ip}");
            assert_eq!(graded.severity, severity, "{ip}");
        }
    }

    #[test]
    fn without_rules_every_kind_has_its_own_class() {
        for kind in FindingKind::ALL {
            let mut finding = Finding { kind, ..finding("198.18.0.1", 22, None) };
            let before = finding.clone();
            assert_eq!(Grades::default().apply(&mut finding), kind.class());
            assert_eq!(finding, before);
        }
    }
}
