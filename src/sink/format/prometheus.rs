//! `prometheus`: how a sweep went, for the textfile collector of Prometheus' node exporter.
//!
//! There is a series for each state, severity and verdict, whether there is anything in it or not, and none for an
//! address or a port: those would be as many as there are targets. A sweep that was not whole says so by its verdict.

use std::collections::BTreeMap;
use std::io::{self, Write};

use jiff::Timestamp;

use crate::policy::findings::Findings;
use crate::sweep::report::{Report, Verdict};
use crate::target::ports::Severity;
use crate::target::state::State;

const VERDICTS: [Verdict; 3] = [Verdict::Complete, Verdict::Degraded, Verdict::Blind];

/// Writes how a sweep went.
///
/// # Errors
/// When the output fails.
pub fn write(
    out: &mut dyn Write,
    report: &Report,
    findings: &Findings<'_>,
    now: Timestamp,
) -> io::Result<()> {
    let mut by_severity: BTreeMap<Severity, u64> = Severity::ALL.map(|severity| (severity, 0)).into();
    for finding in findings.iter() {
        *by_severity.entry(finding.severity).or_default() += 1;
    }
    let engine = report.vantage.engine.as_str();
    let info = [("engine", engine), ("version", env!("CARGO_PKG_VERSION"))];
    about(out, "portreeve_sweep_info", "What has swept.")?;
    sample(out, "portreeve_sweep_info", &info, 1)?;
    about(out, "portreeve_sweep_targets", "Targets of the last sweep, by the state that was seen.")?;
    for state in State::ALL {
        let labels = [("state", state.as_str())];
        sample(out, "portreeve_sweep_targets", &labels, report.ledger.count(state))?;
    }
    about(out, "portreeve_sweep_verdict", "Whether the last sweep saw everything: 1 for what it came to.")?;
    for verdict in VERDICTS {
        let labels = [("verdict", &*verdict.to_string())];
        sample(out, "portreeve_sweep_verdict", &labels, u8::from(report.verdict == verdict))?;
    }
    about(out, "portreeve_sweep_findings", "Findings of the last sweep, by severity.")?;
    for (severity, count) in by_severity {
        sample(out, "portreeve_sweep_findings", &[("severity", severity.as_str())], count)?;
    }
    let name = "portreeve_sweep_completed_timestamp_seconds";
    about(out, name, "When the last sweep was over, whatever it came to.")?;
    sample(out, name, &[], seconds(now.as_millisecond().unsigned_abs()))?;
    let name = "portreeve_sweep_duration_seconds";
    about(out, name, "How long the last sweep took, without its second look.")?;
    sample(out, name, &[], seconds(report.duration_ms))
}

fn about(out: &mut dyn Write, name: &str, help: &str) -> io::Result<()> {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge")
}

fn sample(
    out: &mut dyn Write,
    name: &str,
    labels: &[(&str, &str)],
    value: impl std::fmt::Display,
) -> io::Result<()> {
    let labels = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
    let labels = labels.collect::<Vec<_>>().join(",");
    let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
    writeln!(out, "{name}{labels} {value}")
}

/// A label's value. None of them is anybody else's word today; should one ever be, it ends here.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_leave_its_place() {
        let mut out = Vec::new();
        sample(&mut out, "m", &[("a", "\"} 1\n\\"), ("b", "c")], seconds(1005)).expect("memory");
        assert_eq!(String::from_utf8(out).expect("text"), "m{a=\"\\\"} 1\\n\\\\\",b=\"c\"} 1.005\n");
    }
}
