//! Which alerts are meant.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::super::Failure;
use super::short::Short;
use crate::alert::silence::Matcher;
use crate::policy::class::Class;
use crate::policy::kind::FindingKind;
use crate::store::Reader;
use crate::target::address::AddressRange;
use crate::target::foreign::harmless;
use crate::target::ports::{PortSet, Severity};

// Several flags must all fit; of several values of one flag, any. No doc comment: clap would take it for the command's.
#[derive(Clone, Debug, clap::Args)]
pub struct Which {
    /// Alerts about addresses in this network, range or host; may be repeated
    #[arg(long = "host", value_name = "NET")]
    hosts: Vec<AddressRange>,

    /// Alerts about these ports: risky, exposed, numbers, ranges or names
    #[arg(long, value_name = "SPEC")]
    ports: Option<PortSet>,

    /// Alerts of this kind; may be repeated
    #[arg(long = "kind", value_name = "KIND", value_parser = kinds(), hide_possible_values = true)]
    kinds: Vec<FindingKind>,

    /// Alerts of this class: security, health, own, or one of the configuration's; may be repeated
    #[arg(long = "class", value_name = "CLASS")]
    classes: Vec<Class>,

    /// Alerts that this person or team answers for; may be repeated
    #[arg(long = "owner", value_name = "OWNER")]
    owners: Vec<String>,

    /// Alerts that are so severe or more: info, low, medium, high or critical
    #[arg(long, value_name = "SEVERITY", value_parser = severities(), hide_possible_values = true)]
    severity: Option<Severity>,

    /// This alert: its fingerprint, or the first 8 digits or more
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<Short>,
}

fn kinds() -> impl TypedValueParser<Value = FindingKind> {
    // It is one of these, because the parser before takes no other.
    PossibleValuesParser::new(FindingKind::ALL.map(FindingKind::as_str))
        .try_map(|text| FindingKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or("no kind"))
}

fn severities() -> impl TypedValueParser<Value = Severity> {
    PossibleValuesParser::new(Severity::ALL.map(Severity::as_str)).try_map(|text| {
        Severity::ALL.into_iter().find(|severity| severity.as_str() == text).ok_or("no severity")
    })
}

impl Which {
    /// The alerts that are meant. A short fingerprint must be one that is known.
    pub fn matcher(&self, reader: &Reader) -> Result<Matcher, Failure> {
        let fingerprint = self.fingerprint.as_ref().map(|short| short.resolve_or_take(reader)).transpose()?;
        Ok(Matcher {
            fingerprint,
            hosts: self.hosts.clone(),
            ports: self.ports.clone(),
            kinds: self.kinds.clone(),
            classes: self.classes.clone(),
            owners: self.owners.clone(),
            severity: self.severity,
        })
    }
}

/// Which alerts a matcher means, for people.
pub fn in_words(matcher: &Matcher, width: usize) -> String {
    let Matcher { fingerprint, hosts, ports, kinds, classes, owners, severity } = matcher;
    let mut parts = Vec::new();
    parts.extend(
        fingerprint.as_ref().map(|digits| format!("fingerprint {}", super::short::first(digits, width))),
    );
    parts.extend(joined("host", hosts.iter().map(ToString::to_string)));
    parts.extend(ports.as_ref().map(|ports| format!("ports {ports}")));
    parts.extend(joined("kind", kinds.iter().map(ToString::to_string)));
    parts.extend(joined("class", classes.iter().map(ToString::to_string)));
    parts.extend(joined("owner", owners.iter().map(|owner| harmless(owner).into_owned())));
    parts.extend(severity.map(|severity| format!("severity {severity} or worse")));
    if parts.is_empty() { "everything".to_owned() } else { parts.join(", ") }
}

fn joined(what: &str, values: impl Iterator<Item = String>) -> Option<String> {
    let values: Vec<String> = values.collect();
    (!values.is_empty()).then(|| format!("{what} {}", values.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_is_told_and_none_is_everything() {
        assert_eq!(in_words(&Matcher::default(), 8), "everything");
        let whole = serde_json::json!({
            "fingerprint": "0123456789abcdef0123456789abcdef", "hosts": ["198.18.0.0/24", "198.18.1.7"],
            "ports": "22,6379", "kinds": ["exposure"], "classes": ["security", "network"], "owners": ["a\u{1b}[2J"],
            "severity": "high",
        });
        let matcher: Matcher = serde_json::from_value(whole).expect("a matcher");
        assert_eq!(
            in_words(&matcher, 8),
            "fingerprint 01234567, host 198.18.0.0/24 or 198.18.1.7, ports 22,6379, kind exposure, \
             class security or network, owner a\\x1b[2J, severity high or worse"
        );
    }
}
