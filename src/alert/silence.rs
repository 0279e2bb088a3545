//! Who is not to be disturbed, by what, and until when.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::life::Alert;
use crate::policy::class::Class;
use crate::policy::finding::Fingerprint;
use crate::policy::kind::FindingKind;
use crate::target::address::AddressRange;
use crate::target::ports::{PortSet, Severity};

/// Which alerts are meant: those that fit everything that is said. Nothing said fits all.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Matcher {
    /// This very alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// Alerts about addresses in any of these ranges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<AddressRange>,
    /// Alerts about any of these ports, as a text such as `22,6379`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortSet>,
    /// Alerts of any of these kinds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<FindingKind>,
    /// Alerts of any of these classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<Class>,
    /// Alerts that any of these people or teams answer for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
    /// Alerts at least as bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

impl Matcher {
    /// Whether this alert is meant.
    pub fn fits(&self, alert: &Alert) -> bool {
        let finding = &alert.finding;
        let is_any = |ranges: &[AddressRange]| {
            ranges.is_empty() || finding.ip.is_some_and(|ip| ranges.iter().any(|range| range.contains(ip)))
        };
        let has_port = |ports: &PortSet| finding.port.is_some_and(|port| ports.slot_of(port).is_some());
        let is_owned = || finding.owner.as_ref().is_some_and(|owner| self.owners.contains(owner));
        self.fingerprint.as_ref().is_none_or(|fingerprint| *fingerprint == finding.fingerprint)
            && is_any(&self.hosts)
            && self.ports.as_ref().is_none_or(has_port)
            && (self.kinds.is_empty() || self.kinds.contains(&finding.kind))
            && (self.classes.is_empty() || self.classes.contains(&alert.class))
            && (self.owners.is_empty() || is_owned())
            && self.severity.is_none_or(|least| finding.severity >= least)
    }

    /// Whether it says nothing, and so means every alert.
    pub fn is_empty(&self) -> bool {
        *self == Matcher::default()
    }
}

/// Somebody does not want to be disturbed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Silence {
    /// Its number.
    pub id: i64,
    /// By which alerts.
    pub matcher: Matcher,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
    /// Who has said so.
    pub who: String,
}

impl Silence {
    /// Whether it holds.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }

    /// Why an alert that it is about disturbs nobody.
    pub fn in_words(&self) -> String {
        format!("silence {} by {}: {}", self.id, self.who, self.reason)
    }
}
