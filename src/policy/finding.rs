//! A finding: an observation judged by policy.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::allowlist::{Allowance, Expiry};
use crate::target::ports::{self, Severity};
use crate::target::state::State;
use crate::target::{Target, Transport};

/// An observation judged by policy.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// What was found.
    pub kind: FindingKind,
    /// The same for the same thing in every sweep.
    pub fingerprint: Fingerprint,
    /// How bad it is.
    pub severity: Severity,
    /// The address, where the finding is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// The port, where the finding is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The transport, where the finding is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// The service that usually listens there, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The rule that it breaks.
    pub rule: Rule,
    /// The allowance that once held, or that is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowance: Option<AllowanceNote>,
    /// When it was first seen.
    #[serde(serialize_with = "milliseconds")]
    pub first_seen: Timestamp,
    /// When it was last seen.
    #[serde(serialize_with = "milliseconds")]
    pub last_seen: Timestamp,
    /// One plain sentence: what is found, and why it matters.
    pub message: String,
}

/// Writes a time as every event has it: RFC 3339, UTC, with exactly three decimals.
///
/// # Errors
/// When the serializer fails.
pub fn milliseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

impl Finding {
    /// A target that may not be open, and is, or has answered as open and as closed: no allowance names it, or the one
    /// that did has expired.
    pub fn exposure(target: &Target, state: State, expired: Option<&Allowance>, now: Timestamp) -> Self {
        let target = Target { ip: target.ip.to_canonical(), ..*target };
        let service = ports::service(target.port);
        let why = service.map_or("no service of the catalogue is known for this port", |service| service.why);
        let name = service.map_or_else(String::new, |service| format!(" ({})", service.name));
        let judged = match expired.map(|allowance| (allowance, allowance.expires)) {
            Some((allowance, Some(until))) => {
                format!("was allowed until {until} for {:?} ({}), expired", allowance.reason, allowance.owner)
            }
            _ => "not allowed".to_owned(),
        };
        let does = if state == State::Conflict { "answers as open and as closed" } else { "is open" };
        Finding {
            kind: FindingKind::Exposure,
            fingerprint: Fingerprint::of_target(FindingKind::Exposure, &target),
            severity: service.map_or(Severity::Medium, |service| service.severity),
            ip: Some(target.ip),
            port: Some(target.port),
            transport: Some(target.transport),
            service: service.map(|service| service.name.to_owned()),
            rule: if expired.is_some() { Rule::AllowanceExpired } else { Rule::DefaultClosed },
            allowance: expired.map(AllowanceNote::from),
            first_seen: now,
            last_seen: now,
            message: format!("{target}{name} {does}, {judged}: {why}"),
        }
    }

    /// An allowance that a complete sweep found nothing open for, whether it still holds or not.
    pub fn idle_allowance(allowance: &Allowance, now: Timestamp) -> Self {
        let Allowance { reason, owner, .. } = allowance;
        let about = format!("the allowance of {allowance} for {reason:?} ({owner})");
        let (kind, rule, message) = match allowance.expires.filter(|expiry| expiry.is_past(now)) {
            Some(until) => (
                FindingKind::AllowanceExpired,
                Rule::AllowanceExpired,
                format!("{about} expired after {until} and nothing that it named is open; remove it"),
            ),
            None => (
                FindingKind::AllowanceUnused,
                Rule::AllowanceUnused,
                format!("{about} is not used: nothing that it names is open; remove it if nothing should be"),
            ),
        };
        Finding {
            kind,
            fingerprint: Fingerprint::of_allowance(kind, allowance),
            severity: Severity::Info,
            ip: None,
            port: None,
            transport: None,
            service: None,
            rule,
            allowance: Some(AllowanceNote::from(allowance)),
            first_seen: now,
            last_seen: now,
            message,
        }
    }

    /// Whether something can be reached that must not be.
    pub fn is_exposure(&self) -> bool {
        self.kind == FindingKind::Exposure
    }
}

/// What was found.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FindingKind {
    /// A target is open and may not be.
    Exposure,
    /// An allowance has expired, and nothing that it named is open any more. Where something is, that is an exposure.
    AllowanceExpired,
    /// An allowance holds, and nothing that it names is open.
    AllowanceUnused,
}

impl FindingKind {
    /// The word for it, as in events.
    pub fn as_str(self) -> &'static str {
        match self {
            FindingKind::Exposure => "exposure",
            FindingKind::AllowanceExpired => "allowance-expired",
            FindingKind::AllowanceUnused => "allowance-unused",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The rule that a finding breaks.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rule {
    /// Whatever is not allowed must be closed.
    DefaultClosed,
    /// An allowance ends with its expiry.
    AllowanceExpired,
    /// An allowance is there to be used.
    AllowanceUnused,
}

impl Rule {
    /// The word for it, as in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::DefaultClosed => "default-closed",
            Rule::AllowanceExpired => "allowance-expired",
            Rule::AllowanceUnused => "allowance-unused",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a finding tells of an allowance.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AllowanceNote {
    /// Why the ports may or might be open.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Expiry>,
    /// The line of the file where the allowance stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

impl From<&Allowance> for AllowanceNote {
    fn from(allowance: &Allowance) -> Self {
        AllowanceNote {
            reason: allowance.reason.clone(),
            owner: allowance.owner.clone(),
            expires: allowance.expires,
            line: allowance.line,
        }
    }
}

/// What makes a finding the same finding in the next sweep: 32 hexadecimal digits, the first half of a SHA-256.
///
/// # Encoding
/// The hash is of a list of texts, each preceded by its length in bytes as a 64-bit big-endian number, so that no two
/// lists encode alike. The first text is the version, `portreeve/finding/1`; the second is the kind as in events.
/// Behind them stand, for a target: the address (IPv4 dotted, IPv6 as in RFC 5952), the transport and the port in
/// decimal; for an allowance: its ports as printed, then its hosts as printed, sorted. Nothing else goes in: not the
/// sweep, not the time, not the reason, so that a finding keeps its fingerprint when its allowance is reworded or
/// renewed.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of a finding about one target.
    pub fn of_target(kind: FindingKind, target: &Target) -> Self {
        let (ip, port) = (target.ip.to_canonical().to_string(), target.port.to_string());
        Fingerprint::of_texts(&[kind.as_str(), &ip, &target.transport.to_string(), &port])
    }

    /// The fingerprint of a finding about an allowance.
    pub fn of_allowance(kind: FindingKind, allowance: &Allowance) -> Self {
        let mut hosts = allowance.hosts.clone();
        hosts.sort_unstable();
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let ports = allowance.ports.to_string();
        let texts: Vec<&str> =
            [kind.as_str(), &ports].into_iter().chain(hosts.iter().map(String::as_str)).collect();
        Fingerprint::of_texts(&texts)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of_texts(texts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for text in [FINGERPRINT_VERSION].iter().chain(texts) {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        let digest = hash.finalize();
        Fingerprint(digest.iter().take(FINGERPRINT_BYTES).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The first text of the encoding; a change of the encoding changes it.
const FINGERPRINT_VERSION: &str = "portreeve/finding/1";

/// How many bytes of the hash are kept.
const FINGERPRINT_BYTES: usize = 16;

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = FingerprintError;

    fn try_from(text: String) -> Result<Self, FingerprintError> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 2 * FINGERPRINT_BYTES && text.bytes().all(digit) {
            Ok(Fingerprint(text))
        } else {
            Err(FingerprintError { text })
        }
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.0
    }
}

/// A text that is no fingerprint.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{text}` is no fingerprint; fingerprints are 32 hexadecimal digits, lower case")]
pub struct FingerprintError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(ip: &str, port: u16) -> Target {
        Target { ip: ip.parse().expect(ip), port, transport: Transport::Tcp }
    }

    fn bastion() -> Allowance {
        Allowance {
            hosts: vec!["198.18.0.10".parse().expect("a host")],
            ports: "22".parse().expect("a port"),
            reason: "bastion".to_owned(),
            owner: "netops".to_owned(),
            expires: Some("2026-01-31".parse().expect("a day")),
            line: Some(7),
        }
    }

    fn now() -> Timestamp {
        "2026-02-01T00:00:00Z".parse().expect("a time")
    }

    #[test]
    fn says_what_is_open_and_why_it_matters() {
        for (port, expired, severity, rule, message) in [
            (
                6379,
                None,
                Severity::Critical,
                Rule::DefaultClosed,
                "198.18.0.10:6379/tcp (redis) is open, not allowed: no password by default, and a way to write files",
            ),
            (
                22,
                Some(bastion()),
                Severity::High,
                Rule::AllowanceExpired,
                "198.18.0.10:22/tcp (ssh) is open, was allowed until 2026-01-31 for \"bastion\" (netops), expired: \
                 a shell for whoever finds or guesses a key or password",
            ),
            (
                7,
                None,
                Severity::Medium,
                Rule::DefaultClosed,
                "198.18.0.10:7/tcp is open, not allowed: no service of the catalogue is known for this port",
            ),
        ] {
            let finding =
                Finding::exposure(&target("198.18.0.10", port), State::Open, expired.as_ref(), now());
            assert!(finding.is_exposure());
            assert_eq!((finding.severity, finding.rule), (severity, rule));
            assert_eq!(finding.message, message);
            assert_eq!(finding.allowance, expired.as_ref().map(AllowanceNote::from));
        }
    }

    #[test]
    fn says_which_allowance_can_go() {
        let idle = Finding::idle_allowance(&bastion(), now());
        assert_eq!((idle.kind, idle.severity), (FindingKind::AllowanceExpired, Severity::Info));
        assert_eq!(
            idle.message,
            "the allowance of port 22 of 198.18.0.10 for \"bastion\" (netops) expired after 2026-01-31 and nothing \
             that it named is open; remove it"
        );
        let idle = Finding::idle_allowance(&Allowance { expires: None, ..bastion() }, now());
        assert_eq!((idle.kind, idle.rule), (FindingKind::AllowanceUnused, Rule::AllowanceUnused));
        assert!(!idle.is_exposure());
        assert_eq!((idle.ip, idle.port), (None, None));
        assert_eq!(
            idle.message,
            "the allowance of port 22 of 198.18.0.10 for \"bastion\" (netops) is not used: nothing that it names is \
             open; remove it if nothing should be"
        );
    }

    /// Fingerprints are kept in databases and in other people's systems: these may never change.
    #[test]
    fn fingerprints_stay_what_they_are() {
        let of = |ip, port| Fingerprint::of_target(FindingKind::Exposure, &target(ip, port)).to_string();
        assert_eq!(of("198.18.3.4", 6379), "c7f9d4be7f56ab39151510a68a616d91");
        assert_eq!(of("2001:db8::1", 22), "65da34b3034c6f158cfbf0cad8b7e0e9");
        assert_eq!(of("::ffff:198.18.3.4", 6379), of("198.18.3.4", 6379), "one address, two spellings");
        let unused = Fingerprint::of_allowance(FindingKind::AllowanceUnused, &bastion());
        assert_eq!(unused.to_string(), "1fe768b77871cdf275fb182c47986594");
        let renewed = Allowance { expires: None, reason: "other".to_owned(), line: None, ..bastion() };
        assert_eq!(Fingerprint::of_allowance(FindingKind::AllowanceUnused, &renewed), unused);
    }

    #[test]
    fn survives_json() {
        for finding in [
            Finding::exposure(&target("198.18.0.10", 22), State::Open, Some(&bastion()), now()),
            Finding::idle_allowance(&bastion(), now()),
        ] {
            let json = serde_json::to_value(&finding).expect("json");
            assert_eq!(json["kind"], finding.kind.as_str());
            assert_eq!(json["rule"], finding.rule.as_str());
            assert_eq!(json["allowance"]["expires"], "2026-01-31");
            assert_eq!(serde_json::from_value::<Finding>(json).expect("a finding"), finding);
        }
        assert!(serde_json::from_str::<Fingerprint>("\"XYZ\"").is_err());
    }
}
