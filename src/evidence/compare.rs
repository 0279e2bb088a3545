//! What has changed since an earlier run. A finding is *fixed* only if this run has looked at what it was about, and
//! knows.

use std::collections::BTreeMap;

use super::manifest::{Change, Comparison};
use super::plan::RunReference;
use super::recount::Recount;
use crate::policy::finding::Finding;
use crate::policy::fingerprint::Fingerprint;
use crate::target::scope::Scope;

/// Compares the objections of two runs. `scope` is what the newer one looked at, and `recount` what it saw.
pub fn compare(
    with: RunReference,
    older: &[Finding],
    newer: &[Finding],
    scope: &Scope,
    recount: &Recount,
) -> Comparison {
    let (then, now) = (objections(older), objections(newer));
    let mut comparison = Comparison {
        with,
        new: now.iter().filter(|(print, _)| !then.contains_key(*print)).map(change).collect(),
        fixed: Vec::new(),
        excepted: Vec::new(),
        persisting: now.iter().filter(|(print, _)| then.contains_key(*print)).map(change).collect(),
        not_seen: Vec::new(),
    };
    for gone in then.iter().filter(|(print, _)| !now.contains_key(*print)) {
        let list = match (was_seen(gone.1, scope, recount), is_still_open(gone.1, recount)) {
            (_, true) => &mut comparison.excepted,
            (true, false) => &mut comparison.fixed,
            (false, false) => &mut comparison.not_seen,
        };
        list.push(change(gone));
    }
    comparison
}

fn objections(findings: &[Finding]) -> BTreeMap<&Fingerprint, &Finding> {
    let objections = findings.iter().filter(|finding| finding.is_objection());
    objections.map(|finding| (&finding.fingerprint, finding)).collect()
}

fn change((fingerprint, finding): (&&Fingerprint, &&Finding)) -> Change {
    Change {
        fingerprint: (*fingerprint).clone(),
        ip: finding.ip,
        port: finding.port,
        message: finding.message.clone(),
    }
}

/// Whether the newer run knows the state of what a finding is about: of its target, or of its whole host.
fn was_seen(finding: &Finding, scope: &Scope, recount: &Recount) -> bool {
    let Some(ip) = finding.ip else { return false };
    let ports = finding.port.map_or_else(|| scope.ports().iter().collect(), |port| vec![port]);
    ports.into_iter().all(|port| scope.index_of(ip, port).is_some() && !recount.is_unknown(ip, port))
}

/// Whether what a finding is about still accepts handshakes: its target, or its host on every port.
fn is_still_open(finding: &Finding, recount: &Recount) -> bool {
    match (finding.ip, finding.port) {
        (Some(ip), Some(port)) => recount.is_open(ip, port),
        (Some(ip), None) => recount.verifications.answers_all.contains_key(&ip),
        _ => false,
    }
}
