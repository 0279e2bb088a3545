//! What stands on the page but for its long lists.

use std::collections::BTreeMap;

use minijinja::Value;
use serde::Serialize;

use super::charts::{severities, timeline};
use super::exceptions::{ExceptionRow, counts, exceptions};
use super::heat::HeatMap;
use super::heat_view::{HeatView, view};
use super::states::{StateRow, UnknownRow, states, unknown};
use super::words::share;
use crate::evidence::judge::{COVERAGE, EXCEPTIONS, EXPOSURES};
use crate::evidence::manifest::{Assessment, Completeness, Manifest, Times, UnwatchedPort, Verdict};
use crate::evidence::plan::{Plan, RunReference};
use crate::evidence::recount::Recount;
use crate::policy::finding::Finding;
use crate::sweep::report::Vantage;
use crate::target::ports::Severity;

/// Ports to add that are listed one by one, those of most hosts first.
const MOST_UNWATCHED: usize = 100;

/// All but the long lists.
#[derive(Debug, Serialize)]
pub(super) struct Page<'a> {
    verdict: &'static str,
    verdict_means: &'static str,
    assessments: Vec<Asked<'a>>,
    plan: &'a Plan,
    port_count: usize,
    time: &'a Times,
    vantages: &'a [Vantage],
    completeness: &'a Completeness,
    hosts_with_open_ports: u64,
    classified: u64,
    classified_share: String,
    lost_share: String,
    states: Vec<StateRow>,
    unknown: Vec<UnknownRow>,
    heat: Option<HeatView>,
    finding_count: usize,
    objections: usize,
    severities: Vec<(&'static str, u64)>,
    severity_chart: Value,
    timeline: Option<Value>,
    exceptions: Vec<ExceptionRow<'a>>,
    expired: usize,
    ending_soon: usize,
    comparison: Option<Compared<'a>>,
    unwatched: Vec<&'a UnwatchedPort>,
    unwatched_left_out: Vec<u16>,
    merkle_root: String,
    lines: u64,
    journal_head: String,
    key: &'a str,
    signer: Option<&'a str>,
}

/// Something that was asked of the run.
#[derive(Debug, Serialize)]
struct Asked<'a> {
    question: &'a str,
    met: bool,
    statement: &'a str,
}

/// How much has changed.
#[derive(Debug, Serialize)]
struct Compared<'a> {
    with: &'a RunReference,
    new: usize,
    fixed: usize,
    excepted: usize,
    persisting: usize,
    not_seen: usize,
}

impl<'a> Page<'a> {
    pub(super) fn of(manifest: &'a Manifest, recount: &'a Recount) -> Self {
        let Manifest { plan, time, completeness, findings, integrity, .. } = manifest;
        let ledger = &completeness.ledger;
        let classified = ledger.declared.saturating_sub(ledger.unknown);
        let exceptions = exceptions(&manifest.exceptions, time.completed);
        let (expired, ending_soon) = counts(&exceptions);
        let by_severity = by_severity(findings);
        let (unwatched, unwatched_left_out) = unwatched(&manifest.unwatched_ports);
        Page {
            verdict: manifest.conclusion.verdict.as_str(),
            verdict_means: means(manifest.conclusion.verdict),
            assessments: manifest.conclusion.assessments.iter().map(asked).collect(),
            plan,
            port_count: plan.scope.ports.len(),
            time,
            vantages: &manifest.vantages,
            completeness,
            hosts_with_open_ports: plan.scope.hosts.saturating_sub(completeness.hosts_without_open_ports),
            classified,
            classified_share: share(classified, ledger.declared),
            lost_share: share(completeness.canaries.lost, completeness.canaries.asked),
            states: states(completeness),
            unknown: unknown(completeness),
            heat: view(&HeatMap::of(findings, recount)),
            finding_count: findings.len(),
            objections: findings.iter().filter(|finding| finding.is_objection()).count(),
            severity_chart: Value::from_safe_string(severities(&by_severity)),
            severities: by_severity.into_iter().map(|(severity, count)| (severity.as_str(), count)).collect(),
            timeline: (!time.pauses.is_empty()).then(|| Value::from_safe_string(timeline(time))),
            exceptions,
            expired,
            ending_soon,
            comparison: manifest.comparison.as_ref().map(|comparison| Compared {
                with: &comparison.with,
                new: comparison.new.len(),
                fixed: comparison.fixed.len(),
                excepted: comparison.excepted.len(),
                persisting: comparison.persisting.len(),
                not_seen: comparison.not_seen.len(),
            }),
            unwatched,
            unwatched_left_out,
            merkle_root: integrity.merkle_root.to_string(),
            lines: integrity.lines,
            journal_head: integrity.journal_head.to_string(),
            key: &integrity.key,
            signer: integrity.signer.as_deref(),
        }
    }
}

fn means(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "Everything in scope was looked at, and nothing is open that may not be.",
        Verdict::Fail => "Something is open that may not be, or an exception has run out.",
        Verdict::Inconclusive => {
            "Not everything in scope is known, and nothing that is known speaks against it. This is no pass."
        }
    }
}

fn asked(assessment: &Assessment) -> Asked<'_> {
    let question = match assessment.name.as_str() {
        COVERAGE => "Everything in scope was looked at",
        EXPOSURES => "Nothing is open without an exception",
        EXCEPTIONS => "No exception has run out",
        name => name,
    };
    Asked { question, met: assessment.met, statement: &assessment.statement }
}

/// The severities that there are, the worst first.
fn by_severity(findings: &[Finding]) -> Vec<(Severity, u64)> {
    let mut counts: BTreeMap<Severity, u64> = BTreeMap::new();
    findings.iter().for_each(|finding| *counts.entry(finding.severity).or_default() += 1);
    counts.into_iter().rev().collect()
}

/// The ports of most hosts one by one, and the numbers of the others.
fn unwatched(ports: &[UnwatchedPort]) -> (Vec<&UnwatchedPort>, Vec<u16>) {
    let mut ports: Vec<&UnwatchedPort> = ports.iter().collect();
    ports.sort_by_key(|port| (std::cmp::Reverse(port.hosts), port.port));
    let others = ports.split_off(ports.len().min(MOST_UNWATCHED));
    let mut others: Vec<u16> = others.into_iter().map(|port| port.port).collect();
    others.sort_unstable();
    (ports, others)
}
