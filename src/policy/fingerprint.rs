//! Fingerprints: what makes a finding the same finding in the next sweep.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::allowlist::Allowance;
use super::finding::FindingKind;
use crate::target::Target;

/// What makes a finding the same finding in the next sweep: 32 hexadecimal digits, the first half of a SHA-256.
///
/// # Encoding
/// The hash is of a list of texts, each preceded by its length in bytes as a 64-bit big-endian number, so that no two
/// lists encode alike. The first text is the version, `portreeve/finding/1`; the second is the kind as in events.
/// Behind them stand, for a target: the address (IPv4 dotted, IPv6 as in RFC 5952), the transport and the port in
/// decimal; for a host: the address alone; for an allowance: its ports as printed, then its hosts as printed, sorted;
/// for a sweep, a sink or a class: its name.
/// Nothing else goes in: not the sweep, not the time, not the reason, so that a finding keeps its fingerprint when its
/// allowance is reworded or renewed.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of a finding about one target.
    pub fn of_target(kind: FindingKind, target: &Target) -> Self {
        let (ip, port) = (target.ip.to_canonical().to_string(), target.port.to_string());
        Fingerprint::of_texts(&[kind.as_str(), &ip, &target.transport.to_string(), &port])
    }

    /// The fingerprint of a finding about a whole host.
    pub fn of_host(kind: FindingKind, ip: IpAddr) -> Self {
        Fingerprint::of_texts(&[kind.as_str(), &ip.to_canonical().to_string()])
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

    /// The fingerprint of a finding about something that has a name: a sweep, a sink.
    pub fn of_name(kind: FindingKind, name: &str) -> Self {
        Fingerprint::of_texts(&[kind.as_str(), name])
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
