//! What must be open: the other half of the policy.

use std::time::Duration;

use super::allowlist::{Allowance, Approval};
use super::class::Class;
use crate::target::Target;
use crate::target::address::AddressRange;
use crate::target::ports::{PortSet, Severity};

/// How many failures in a row make an outage, if nobody says: two may be a restart.
pub const DEFAULT_FAILURES: u32 = 3;

/// How many successes in a row end one, if nobody says.
pub const DEFAULT_RECOVERIES: u32 = 2;

/// One service that must be open: each of these TCP ports of each of these hosts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expectation {
    /// What the service is called.
    pub name: String,
    /// Its hosts.
    pub hosts: Vec<AddressRange>,
    /// Its ports.
    pub ports: PortSet,
    /// How many failures in a row make an outage.
    pub failures: u32,
    /// How many successes in a row end it.
    pub recoveries: u32,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Who is to hear of an outage, where that is not the class of all outages.
    pub class: Option<Class>,
    /// How bad an outage is, where that is not what all outages are.
    pub severity: Option<Severity>,
    /// The line of the file where its table begins.
    pub line: u32,
}

impl Expectation {
    /// What must be open may be.
    pub fn as_allowance(&self) -> Allowance {
        Allowance {
            hosts: self.hosts.clone(),
            ports: self.ports.clone(),
            reason: self.name.clone(),
            owner: self.owner.clone().unwrap_or_else(|| self.name.clone()),
            approval: Approval::default(),
            expires: None,
            warn_before: Duration::ZERO,
            line: Some(self.line),
        }
    }

    /// Whether this target must be open.
    pub fn names(&self, target: &Target) -> bool {
        self.ports.slot_of(target.port).is_some() && self.hosts.iter().any(|range| range.contains(target.ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Transport;

    #[test]
    fn names_each_port_of_each_host_and_nothing_else() {
        let expectation = Expectation {
            name: "orders database".to_owned(),
            hosts: ["198.18.0.20", "2001:db8::/126"].map(|text| text.parse().expect(text)).to_vec(),
            ports: "5432,6432".parse().expect("ports"),
            failures: DEFAULT_FAILURES,
            recoveries: DEFAULT_RECOVERIES,
            owner: None,
            class: None,
            severity: None,
            line: 1,
        };
        for (ip, port, named) in [
            ("198.18.0.20", 5432, true),
            ("198.18.0.20", 6432, true),
            ("::ffff:198.18.0.20", 5432, true),
            ("2001:db8::3", 5432, true),
            ("198.18.0.20", 22, false),
            ("198.18.0.21", 5432, false),
            ("2001:db8::4", 5432, false),
        ] {
            let target = Target { ip: ip.parse().expect(ip), port, transport: Transport::Tcp };
            assert_eq!(expectation.names(&target), named, "{target}");
        }
    }
}
