//! What a run comes to: pass, fail or inconclusive, and every reason for it.
//!
//! What is found is found, however much is not known beside it. But nothing passes of which anything is unknown.

use std::collections::BTreeMap;

use super::manifest::{Assessment, Conclusion, Exception, Verdict};
use crate::policy::finding::Finding;
use crate::sweep::ledger::Ledger;
use crate::sweep::report::UnknownReason;

/// The name of the assessment that all targets have a state.
pub const COVERAGE: &str = "coverage-complete";
/// The name of the assessment that nothing is open that may not be.
pub const EXPOSURES: &str = "no-exposure-without-exception";
/// The name of the assessment that no exception has run out.
pub const EXCEPTIONS: &str = "no-expired-exception";

/// Exceptions that are named in a sentence, at most.
const MOST_NAMED: usize = 3;

/// Judges a run.
pub fn judge(
    ledger: &Ledger,
    unknown: &BTreeMap<UnknownReason, u64>,
    unresolved: &[String],
    findings: &[Finding],
    exceptions: &[Exception],
) -> Conclusion {
    let assessments = vec![coverage(ledger, unknown, unresolved), exposures(findings), expired(exceptions)];
    let is_met = |name: &str| assessments.iter().any(|assessment| assessment.name == name && assessment.met);
    let verdict = match (is_met(EXPOSURES) && is_met(EXCEPTIONS), is_met(COVERAGE)) {
        (false, _) => Verdict::Fail,
        (true, false) => Verdict::Inconclusive,
        (true, true) => Verdict::Pass,
    };
    Conclusion { verdict, assessments }
}

fn coverage(ledger: &Ledger, unknown: &BTreeMap<UnknownReason, u64>, unresolved: &[String]) -> Assessment {
    let known = ledger.declared.saturating_sub(ledger.unknown);
    let mut statement = format!("{known} of {} targets have a state", ledger.declared);
    if ledger.unknown > 0 {
        let reasons: Vec<String> =
            unknown.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        statement.push_str(&format!("; {} are unknown: {}", ledger.unknown, reasons.join(", ")));
    }
    if !unresolved.is_empty() {
        statement.push_str(&format!("; {} host names have no address", unresolved.len()));
    }
    let met = ledger.unknown == 0 && unresolved.is_empty() && ledger.check().is_ok();
    Assessment { name: COVERAGE.to_owned(), met, statement }
}

fn exposures(findings: &[Finding]) -> Assessment {
    let objections: Vec<&Finding> = findings.iter().filter(|finding| finding.is_objection()).collect();
    let statement = match objections.as_slice() {
        [] => "nothing is open that no exception names".to_owned(),
        [one] => one.message.clone(),
        [worst, rest @ ..] => format!("{}; and {} more", worst.message, rest.len()),
    };
    Assessment { name: EXPOSURES.to_owned(), met: objections.is_empty(), statement }
}

fn expired(exceptions: &[Exception]) -> Assessment {
    let expired: Vec<&Exception> = exceptions.iter().filter(|exception| exception.expired).collect();
    let named = expired.iter().take(MOST_NAMED).map(|exception| {
        let what = exception.id.clone().unwrap_or_else(|| format!("\"{}\"", exception.reason));
        let until = exception.expires.map_or_else(String::new, |expiry| format!(", ended {expiry}"));
        format!("{what} ({}{until})", exception.owner)
    });
    let mut named: Vec<String> = named.collect();
    if expired.len() > MOST_NAMED {
        named.push(format!("{} more", expired.len() - MOST_NAMED));
    }
    let statement = match expired.len() {
        0 => format!("none of {} exceptions has run out", exceptions.len()),
        count => format!(
            "{count} of {} exceptions have run out; renew or remove: {}",
            exceptions.len(),
            named.join(", ")
        ),
    };
    Assessment { name: EXCEPTIONS.to_owned(), met: expired.is_empty(), statement }
}
