//! What must be open.

use crate::policy::class::Class;
use crate::target::address::AddressRange;
use crate::target::ports::{PortSet, Severity};

/// These ports of these hosts must be open.
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
    /// Who is to hear of an outage, if not those of health.
    pub class: Option<Class>,
    /// How bad an outage is.
    pub severity: Option<Severity>,
    /// The line of the file where the entry stands.
    pub line: u32,
}
