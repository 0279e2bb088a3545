//! `defectdojo`: a document for DefectDojo's Generic Findings Import, which refuses a finding with any key that it does
//! not know.
//!
//! A sweep that was not whole is a finding by itself. Whoever imports again and closes what is missing then sees why it
//! is missing, and should not close anything on the strength of such a document.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::parts::Text;
use super::told;
use crate::policy::finding::Finding;
use crate::policy::findings::Findings;
use crate::policy::kind::FindingKind;
use crate::sink::plain;
use crate::sweep::report::{Report, Verdict};
use crate::target::foreign::harmless;
use crate::target::ports::Severity;

/// The most characters of a title that DefectDojo keeps.
const LONGEST_TITLE: usize = 500;

/// Writes a sweep's findings as one document, one finding at a time.
///
/// # Errors
/// When the output fails.
pub fn write(
    out: &mut dyn Write,
    report: &Report,
    findings: &Findings<'_>,
    now: Timestamp,
) -> io::Result<()> {
    let about = format!("sweep {}: {}", report.sweep, report.verdict);
    let version = env!("CARGO_PKG_VERSION");
    write!(out, "{{\"name\":\"portreeve\",\"type\":\"portreeve\",\"version\":\"{version}\",")?;
    write!(out, "\"description\":\"{about}\",\"findings\":[")?;
    let incomplete = (report.verdict != Verdict::Complete).then(|| incomplete(report, now));
    let all = incomplete.into_iter().chain(findings.iter().map(|finding| entry(&finding, now)));
    for (number, entry) in all.enumerate() {
        out.write_all(if number == 0 { b"\n" } else { b",\n" })?;
        out.write_all(&plain::to_vec(&entry)?)?;
    }
    out.write_all(b"\n]}\n")
}

/// One finding.
fn entry(finding: &Finding, now: Timestamp) -> Value {
    let endpoint = finding.ip.map(|ip| {
        json!({"host": ip, "port": finding.port, "protocol": finding.transport.map(|transport| transport.to_string())})
    });
    told(json!({
        "title": title(finding), "severity": severity(finding.severity), "description": description(finding),
        "date": day(now), "active": true, "verified": finding.verified.unwrap_or(false),
        "static_finding": false, "dynamic_finding": true,
        "unique_id_from_tool": finding.fingerprint, "vuln_id_from_tool": finding.rule,
        "service": finding.service, "endpoints": endpoint.into_iter().collect::<Vec<_>>(),
        "mitigation": mitigation(finding), "tags": ["portreeve", finding.kind.as_str()],
    }))
}

fn incomplete(report: &Report, now: Timestamp) -> Value {
    let unknown = report.unknown_reasons.iter().map(|(reason, count)| format!("{count} {reason}"));
    let description = format!(
        "Sweep {} is {}: {} of {} targets are unknown ({}). What is missing here may be there all the same; close no finding \
         because of it.",
        report.sweep,
        report.verdict,
        report.ledger.unknown,
        report.ledger.declared,
        unknown.collect::<Vec<_>>().join(", ")
    );
    let level = if report.verdict == Verdict::Blind { Severity::Medium } else { Severity::Low };
    json!({
        "title": format!("Sweep was not complete: {}", report.verdict), "severity": severity(level),
        "description": description, "date": day(now), "active": true, "verified": true,
        "static_finding": false, "dynamic_finding": true, "unique_id_from_tool": "portreeve-sweep-not-complete",
        "vuln_id_from_tool": "sight", "tags": ["portreeve", "sweep-not-complete"],
    })
}

fn title(finding: &Finding) -> String {
    let at = match (finding.ip, finding.port) {
        (Some(ip), Some(port)) => format!(": {ip} tcp/{port}"),
        (Some(ip), None) => format!(": {ip}"),
        (None, _) => String::new(),
    };
    let what = match finding.kind {
        FindingKind::Exposure => "Port open that is not allowed",
        FindingKind::AnswersAll => "Host accepts every port",
        FindingKind::AllowanceExpired => "Allowance has expired",
        FindingKind::AllowanceUnused => "Allowance is not used",
        other => other.as_str(),
    };
    // Two allowances are two findings, and DefectDojo tells findings apart by their titles, among others.
    let owner = finding.allowance.as_ref().filter(|_| finding.ip.is_none());
    let owner = owner.map(|allowance| format!(" ({})", harmless(&allowance.owner))).unwrap_or_default();
    format!("{what}{at}{owner}").chars().take(LONGEST_TITLE).collect()
}

/// What DefectDojo shows as Markdown.
fn description(finding: &Finding) -> String {
    let mut lines = vec![code(&finding.message)];
    let names: Vec<String> = finding.names.iter().take(12).map(|name| code(name)).collect();
    if !names.is_empty() {
        lines.push(format!("names: {}", names.join(", ")));
    }
    if let Some(owner) = &finding.owner {
        lines.push(format!("owner: {}", code(owner)));
    }
    if let Some(banner) = &finding.banner {
        lines.push(format!(
            "says ({}): {}",
            banner.protocol.as_str(),
            code(&String::from(banner.text.clone()))
        ));
    }
    if let Some(verification) = finding.verification {
        lines.push(format!("handshake: {}", verification.as_str()));
    }
    lines.push(format!("rule: {}; fingerprint: {}", finding.rule, finding.fingerprint));
    lines.join("\n\n")
}

fn mitigation(finding: &Finding) -> &'static str {
    match finding.kind {
        FindingKind::Exposure => "Close the port, or allow it with a reason, an owner and an expiry.",
        FindingKind::AnswersAll => {
            "Look at what stands before this host, or sweep fewer of its ports at a time."
        }
        _ => "Renew the allowance, or remove it.",
    }
}

/// Others' words as code, in which Markdown and HTML mean nothing: the one place where they are made fit for this
/// format, beside the escapes of JSON itself.
fn code(text: &str) -> String {
    format!("`{}`", harmless(&Text::new(text)).replace('`', "'"))
}

fn day(now: Timestamp) -> String {
    now.strftime("%Y-%m-%d").to_string()
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "Info",
        Severity::Low => "Low",
        Severity::Medium => "Medium",
        Severity::High => "High",
        Severity::Critical => "Critical",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_means_nothing_in_what_others_wrote() {
        assert_eq!(code("a `b` ![x](http://x)\n<b>"), "`a 'b' ![x](http://x)\\n<b>`");
        assert_eq!(code(&"x".repeat(5000)).len(), 1025);
    }
}
