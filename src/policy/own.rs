//! Findings about the program's own work: what it did not see, could not do, could not deliver.

use jiff::Timestamp;

use super::class::Class;
use super::finding::{Finding, Fingerprint};
use super::kind::{FindingKind, Rule};
use crate::sweep::report::{Report, Verdict};
use crate::target::ports::Severity;

/// How many members of a storm are named.
const NAMED: usize = 5;

impl Finding {
    /// A sweep that did not see everything that it was to see.
    pub fn vantage_blind(watch: &str, report: &Report, now: Timestamp) -> Self {
        let ledger = &report.ledger;
        let most = report.unknown_reasons.iter().max_by_key(|(_, count)| **count);
        let why =
            most.map_or_else(|| "it was cut short".to_owned(), |(reason, _)| reason.as_str().to_owned());
        let (severity, what) = match report.verdict {
            Verdict::Blind => (Severity::High, "saw nothing at all"),
            Verdict::Complete | Verdict::Degraded => (Severity::Medium, "did not see everything"),
        };
        let message = format!(
            "sweep {watch} {what}: {} of {} targets are unknown, mostly {why}; until a complete sweep, nothing of it is \
             called closed and no alert of it is resolved",
            ledger.unknown, ledger.declared
        );
        Finding::own(FindingKind::VantageBlind, Rule::Sight, watch, severity, now, message)
    }

    /// A sweep that could not be made, or did not begin when it was due.
    pub fn sweep_missed(watch: &str, why: &str, now: Timestamp) -> Self {
        let message = format!("sweep {watch} was not made when it was due: {why}");
        Finding::own(FindingKind::SweepMissed, Rule::Schedule, watch, Severity::High, now, message)
    }

    /// A sink that lost a message for good.
    pub fn delivery_failed(sink: &str, lost: u64, why: &str, now: Timestamp) -> Self {
        let (count, is) =
            if lost == 1 { ("1 message".to_owned(), "is") } else { (format!("{lost} messages"), "are") };
        let message =
            format!("{count} for sink {sink} {is} given up: {why}; see `portreeve alerts --deliveries`");
        Finding::own(FindingKind::DeliveryFailed, Rule::Delivery, sink, Severity::High, now, message)
    }

    /// A sink that takes nothing.
    pub fn delivery_late(sink: &str, why: &str, now: Timestamp) -> Self {
        let message = format!(
            "sink {sink} has taken nothing for long, or asks to be left alone for long; what is for it waits: {why}; \
             see `portreeve alerts --deliveries`"
        );
        Finding::own(FindingKind::DeliveryFailed, Rule::Delivery, sink, Severity::Medium, now, message)
    }

    /// A database that cannot be written.
    pub fn store_failed(why: &str, now: Timestamp) -> Self {
        let message =
            format!("the database cannot be written, and alerts are kept in memory until it can: {why}");
        Finding::own(FindingKind::StoreFailed, Rule::Storage, "store", Severity::Critical, now, message)
    }

    /// A database whose file is no longer where it was.
    pub fn store_lost(file: &str, now: Timestamp) -> Self {
        let message = format!(
            "the database {file} has been removed or replaced under the watch, and what is written now is lost with the \
             end of the watch; put the file back where it was, or restart the watch"
        );
        Finding::own(FindingKind::StoreFailed, Rule::Storage, "store", Severity::Critical, now, message)
    }

    /// A file that was changed and cannot be used as it is now.
    pub fn config_rejected(file: &str, why: &str, now: Timestamp) -> Self {
        let message =
            format!("{file} has been changed and is not taken up; what it said before holds on: {why}");
        Finding::own(FindingKind::ConfigRejected, Rule::Configuration, file, Severity::Medium, now, message)
    }

    /// A clock that has jumped.
    pub fn clock_stepped(host: &str, message: String, now: Timestamp) -> Self {
        Finding::own(FindingKind::ClockStepped, Rule::Clock, host, Severity::Medium, now, message)
    }

    /// Many alerts of one class that have one message together. `members` are those of them that still fire.
    pub fn storm(class: &Class, members: &[&Finding], now: Timestamp) -> Self {
        let severity = members.iter().map(|member| member.severity).max().unwrap_or(Severity::Info);
        let mut worst: Vec<&&Finding> = members.iter().collect();
        worst.sort_by_key(|member| (std::cmp::Reverse(member.severity), member.ip, member.port));
        let named: Vec<String> = worst.into_iter().take(NAMED).map(|member| member.subject()).collect();
        let more = match members.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message = match members.len() {
            0 => format!("none of the {class} alerts that came all at once fires any longer"),
            count => format!("{count} {class} alerts at once: {}{more}", named.join(", ")),
        };
        Finding::own(FindingKind::Storm, Rule::StormGuard, class.as_str(), severity, now, message)
    }

    /// Nothing at all, to see whether it arrives.
    pub fn drill(name: &str, now: Timestamp) -> Self {
        let message =
            format!("this is a drill ({name}): somebody tries out whether alerts arrive; nothing is wrong");
        Finding::own(FindingKind::Drill, Rule::Drill, name, Severity::Info, now, message)
    }

    /// What it is about, in as few words as possible.
    pub fn subject(&self) -> String {
        match (self.ip, self.port, self.transport, &self.about) {
            (Some(ip), Some(port), Some(transport), _) => {
                crate::target::Target { ip, port, transport }.to_string()
            }
            (Some(ip), ..) => ip.to_string(),
            (.., Some(about)) => about.clone(),
            _ => self.kind.to_string(),
        }
    }

    fn own(
        kind: FindingKind,
        rule: Rule,
        about: &str,
        severity: Severity,
        now: Timestamp,
        message: String,
    ) -> Self {
        let fingerprint = Fingerprint::of_name(kind, about);
        let about = Some(about.to_owned());
        Finding { about, ..Finding::bare(kind, rule, fingerprint, severity, now, message) }
    }
}
