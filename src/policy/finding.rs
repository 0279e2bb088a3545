//! A finding: an observation judged by policy.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use super::allowlist::{Allowance, Expiry};
pub use super::fingerprint::{Fingerprint, FingerprintError};
pub use super::kind::{FindingKind, Rule};
use crate::sweep::banner::Banner;
use crate::sweep::verified::{AnswersAll, Conduct, Confirmation, Verification};
use crate::target::foreign::Harmless;
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
    /// What the address is called, where anything says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
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
    /// Whether the target finished a whole handshake; only for exposures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// How that was tried; only for exposures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// What the target did after the handshake, where somebody waited for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conduct: Option<Conduct>,
    /// What it said, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub banner: Option<Banner>,
    /// The host that answers everything, where the finding is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers_all: Option<AnswersAllNote>,
    /// The name of the expectation that is not met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expectation: Option<String>,
    /// Who answers for it, where the configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The sweep or the sink that it is about, where it is about the program itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
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
    /// How bad a host is that accepts every port.
    pub(super) const SEVERITY_OF_ANSWERS_ALL: Severity = Severity::Medium;

    /// A finding that says nothing yet beside this.
    pub(super) fn bare(
        kind: FindingKind,
        rule: Rule,
        fingerprint: Fingerprint,
        severity: Severity,
        now: Timestamp,
        message: String,
    ) -> Self {
        Finding {
            kind,
            fingerprint,
            severity,
            ip: None,
            names: Vec::new(),
            port: None,
            transport: None,
            service: None,
            rule,
            allowance: None,
            verified: None,
            verification: None,
            conduct: None,
            banner: None,
            answers_all: None,
            expectation: None,
            owner: None,
            about: None,
            first_seen: now,
            last_seen: now,
            message,
        }
    }

    /// A target that may not be open, and is, or has answered as open and as closed: no allowance names it, or the one
    /// that did has expired. One packet is no proof: where the handshake failed that should have confirmed it, the
    /// finding says so, and is one step less severe.
    pub fn exposure(
        target: &Target,
        state: State,
        expired: Option<&Allowance>,
        confirmation: Confirmation,
        now: Timestamp,
    ) -> Self {
        let target = Target { ip: target.ip.to_canonical(), ..*target };
        let service = ports::service(target.port);
        let why = service.map_or("no service of the catalogue is known for this port", |service| service.why);
        let name = service.map_or_else(String::new, |service| format!(" ({})", service.name));
        let judged = match expired.map(|allowance| (allowance, allowance.expires)) {
            Some((allowance, Some(until))) => {
                format!("was allowed until {until} for {}, expired", in_words(allowance))
            }
            _ => "not allowed".to_owned(),
        };
        let verification = confirmation.verification;
        let severity = severity_of_exposure(target.port, verification);
        let does = match (verification, state) {
            (Verification::Refused, _) => "answered a probe but refused the handshake twice",
            (Verification::Silent, _) => "answered a probe but no handshake, twice",
            (Verification::Unreachable, _) => {
                "answered a probe but could not be reached for a handshake, twice"
            }
            (_, State::Conflict) => "answers as open and as closed",
            _ => "is open",
        };
        let fingerprint = Fingerprint::of_target(FindingKind::Exposure, &target);
        let rule = if expired.is_some() { Rule::AllowanceExpired } else { Rule::DefaultClosed };
        let message = format!("{target}{name} {does}, {judged}: {why}");
        Finding {
            ip: Some(target.ip),
            port: Some(target.port),
            transport: Some(target.transport),
            service: service.map(|service| service.name.to_owned()),
            allowance: expired.map(AllowanceNote::from),
            owner: expired.map(|allowance| allowance.owner.clone()),
            verified: Some(verification == Verification::Verified),
            verification: Some(verification),
            conduct: confirmation.conduct,
            banner: confirmation.banner,
            ..Finding::bare(FindingKind::Exposure, rule, fingerprint, severity, now, message)
        }
    }

    /// An allowance that a complete sweep found nothing open for, whether it still holds or not.
    pub fn idle_allowance(allowance: &Allowance, now: Timestamp) -> Self {
        let about = format!("the allowance of {allowance} for {}", in_words(allowance));
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
        let fingerprint = Fingerprint::of_allowance(kind, allowance);
        Finding {
            allowance: Some(AllowanceNote::from(allowance)),
            owner: Some(allowance.owner.clone()),
            ..Finding::bare(kind, rule, fingerprint, Severity::Info, now, message)
        }
    }

    /// An allowance that will end soon: whatever it names and is open will be an exposure then.
    pub fn expiring_allowance(allowance: &Allowance, now: Timestamp) -> Self {
        let (kind, rule) = (FindingKind::AllowanceExpiring, Rule::AllowanceExpiring);
        let until = allowance.expires.map_or_else(String::new, |expiry| format!(" after {expiry}"));
        let message = format!(
            "the allowance of {allowance} for {} expires{until}; what it names is an exposure from then on: renew it, or \
             close what it names",
            in_words(allowance)
        );
        Finding {
            allowance: Some(AllowanceNote::from(allowance)),
            owner: Some(allowance.owner.clone()),
            ..Finding::bare(
                kind,
                rule,
                Fingerprint::of_allowance(kind, allowance),
                Severity::Low,
                now,
                message,
            )
        }
    }

    /// A host that accepts every port, so that its open ports say nothing one by one: this many of them are not
    /// allowed, and nothing tells them from ports that nobody uses.
    pub fn answers_all(ip: IpAddr, folded: Folded, host: &AnswersAll, now: Timestamp) -> Self {
        let ip = ip.to_canonical();
        let Folded { ports, listened_to } = folded;
        let kind = FindingKind::AnswersAll;
        let (fingerprint, rule) = (Fingerprint::of_host(kind, ip), Rule::DefaultClosed);
        let message = accepts_everything(ip, folded, host);
        let note = AnswersAllNote { ports, listened_to, canary_ports: host.canary_ports.clone() };
        Finding {
            ip: Some(ip),
            transport: Some(Transport::Tcp),
            answers_all: Some(note),
            ..Finding::bare(kind, rule, fingerprint, Self::SEVERITY_OF_ANSWERS_ALL, now, message)
        }
    }

    /// Whether something can be reached that must not be.
    pub fn is_exposure(&self) -> bool {
        self.kind == FindingKind::Exposure
    }

    /// Whether a sweep with this finding is one that found something, and no mere note on the allowlist.
    pub fn is_objection(&self) -> bool {
        matches!(self.kind, FindingKind::Exposure | FindingKind::AnswersAll)
    }
}

/// How bad it is that this port is open: one step less where the handshake failed that should have confirmed it.
pub(super) fn severity_of_exposure(port: u16, verification: Verification) -> Severity {
    let severity = ports::service(port).map_or(Severity::Medium, |service| service.severity);
    if verification.has_failed() { severity.one_step_less() } else { severity }
}

/// Why an allowance is there and who answers for it: what people wrote, and others read on their terminals.
fn in_words(allowance: &Allowance) -> String {
    format!("\"{}\" ({})", Harmless(&allowance.reason), Harmless(&allowance.owner))
}

/// What is said of a host that accepts every port, and of no port more than was heard from it.
fn accepts_everything(ip: IpAddr, folded: Folded, host: &AnswersAll) -> String {
    let Folded { ports, listened_to } = folded;
    let canaries: Vec<String> = host.canary_ports.iter().map(u16::to_string).collect();
    let canaries = canaries.join(", ");
    let count = if ports == 1 { "1 open port".to_owned() } else { format!("{ports} open ports") };
    let accepts =
        format!("{ip} accepts every port, {count} that are not allowed and canary ports {canaries} too,");
    let (does, what) = if host.conduct.contains(&Conduct::Spoke) {
        ("speaks on", "a decoy, or a device that answers for it")
    } else if host.conduct.contains(&Conduct::Quiet) {
        ("never speaks on", "a SYN proxy, or a device that answers for it")
    } else {
        ("hangs up at once on", "a SYN proxy, or a device that answers for it")
    };
    let unheard = ports.saturating_sub(listened_to);
    let remedy = "sweep fewer ports of this host at a time";
    match (listened_to, unheard) {
        (_, 0) => {
            let them = if ports == 1 { "it" } else { "them" };
            format!(
                "{accepts} and {does} them: {what}; whether anybody listens behind {them} cannot be told from here"
            )
        }
        (0, _) => format!(
            "{accepts} and {does} the canary ports: {what}; not one of the others could be listened to, and a real \
             server may be behind any of them: {remedy}"
        ),
        _ => format!(
            "{accepts} and {does} the canary ports and the {listened_to} others that were listened to: {what}; \
             {unheard} of {ports} could not be listened to, and a real server may be behind any of them: {remedy}"
        ),
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

/// The open ports of a host that have one finding together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Folded {
    /// All of them.
    pub ports: usize,
    /// Those that were listened to, and did what the canary ports did.
    pub listened_to: usize,
}

/// What a finding tells of a host that answers everything.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AnswersAllNote {
    /// Open ports that are in this finding instead of having one each.
    pub ports: usize,
    /// How many of these were listened to, and did what the canary ports did. Nothing is known of the others.
    pub listened_to: usize,
    /// The ports that nobody uses, and that it accepts too.
    pub canary_ports: Vec<u16>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::allowlist::{Approval, DEFAULT_WARN_BEFORE};
    use crate::sweep::banner::Protocol;

    fn target(ip: &str, port: u16) -> Target {
        Target { ip: ip.parse().expect(ip), port, transport: Transport::Tcp }
    }

    fn bastion() -> Allowance {
        Allowance {
            hosts: vec!["198.18.0.10".parse().expect("a host")],
            ports: "22".parse().expect("a port"),
            reason: "bastion".to_owned(),
            owner: "netops".to_owned(),
            approval: Approval::default(),
            expires: Some("2026-01-31".parse().expect("a day")),
            warn_before: DEFAULT_WARN_BEFORE,
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
            let finding = Finding::exposure(
                &target("198.18.0.10", port),
                State::Open,
                expired.as_ref(),
                Confirmation::default(),
                now(),
            );
            assert!(finding.is_exposure());
            assert_eq!((finding.severity, finding.rule), (severity, rule));
            assert_eq!(finding.message, message);
            assert_eq!(finding.allowance, expired.as_ref().map(AllowanceNote::from));
        }
    }

    /// A target that finished a handshake and said something.
    fn spoken() -> Confirmation {
        let banner = Banner { protocol: Protocol::Ssh, text: b"SSH-2.0-\x1b[2J"[..].into() };
        Confirmation {
            verification: Verification::Verified,
            conduct: Some(Conduct::Spoke),
            banner: Some(banner),
        }
    }

    #[test]
    fn a_handshake_that_fails_takes_a_step_off_and_says_so() {
        let redis = |verification| {
            let confirmation = Confirmation { verification, ..Confirmation::default() };
            Finding::exposure(&target("198.18.0.10", 6379), State::Open, None, confirmation, now())
        };
        for (verification, severity, verified, says) in [
            (Verification::Verified, Severity::Critical, true, "(redis) is open, not allowed"),
            (Verification::Skipped, Severity::Critical, false, "(redis) is open, not allowed"),
            (
                Verification::Refused,
                Severity::High,
                false,
                "(redis) answered a probe but refused the handshake twice,",
            ),
            (
                Verification::Silent,
                Severity::High,
                false,
                "(redis) answered a probe but no handshake, twice,",
            ),
            (
                Verification::Unreachable,
                Severity::High,
                false,
                "could not be reached for a handshake, twice,",
            ),
        ] {
            let finding = redis(verification);
            assert_eq!((finding.severity, finding.verified), (severity, Some(verified)), "{verification:?}");
            assert!(finding.is_exposure() && finding.message.contains(says), "{}", finding.message);
            assert_eq!(finding.fingerprint, redis(Verification::Verified).fingerprint);
        }
    }

    #[test]
    fn a_host_that_answers_everything_is_one_finding() {
        let host = |conduct| AnswersAll {
            canary_ports: vec![50_001, 60_001],
            conduct: [conduct].into(),
            ..AnswersAll::default()
        };
        let of = |conduct, ports, listened_to| {
            let folded = Folded { ports, listened_to };
            Finding::answers_all([198, 18, 0, 10].into(), folded, &host(conduct), now())
        };
        let finding = |conduct| of(conduct, 1000, 1000);
        let quiet = finding(Conduct::Quiet);
        assert!(!quiet.is_exposure() && quiet.is_objection());
        assert_eq!((quiet.severity, quiet.port), (Severity::Medium, None));
        assert_eq!(
            quiet.message,
            "198.18.0.10 accepts every port, 1000 open ports that are not allowed and canary ports 50001, 60001 \
             too, and never speaks on them: a SYN proxy, or a device that answers for it; whether anybody listens \
             behind them cannot be told from here"
        );
        let partly = of(Conduct::Quiet, 1000, 250);
        assert_eq!(
            partly.message,
            "198.18.0.10 accepts every port, 1000 open ports that are not allowed and canary ports 50001, 60001 \
             too, and never speaks on the canary ports and the 250 others that were listened to: a SYN proxy, or a \
             device that answers for it; 750 of 1000 could not be listened to, and a real server may be behind any of \
             them: sweep fewer ports of this host at a time"
        );
        let note = partly.answers_all.as_ref().expect("a note");
        assert_eq!((note.ports, note.listened_to), (1000, 250));
        let unheard = of(Conduct::Quiet, 1000, 0).message;
        assert!(unheard.contains("not one of the others could be listened to"), "{unheard}");
        assert!(finding(Conduct::Spoke).message.contains("a decoy"));
        assert!(finding(Conduct::Reset).message.contains("hangs up at once"));
        assert_eq!(quiet.fingerprint, finding(Conduct::Spoke).fingerprint);
    }

    #[test]
    fn what_people_wrote_works_on_no_terminal() {
        let odd =
            Allowance { reason: "a\x1b[2J\u{115f}".into(), owner: "b\n\x1b]0;x\x07".into(), ..bastion() };
        let told = Finding::idle_allowance(&odd, now());
        assert!(told.message.contains(r#"for "a\x1b[2J\u{115f}" (b\n\x1b]0;x\x07)"#), "{}", told.message);
        let target = target("198.18.0.10", 22);
        let told = Finding::exposure(&target, State::Open, Some(&odd), Confirmation::default(), now());
        assert!(told.message.contains(r#"for "a\x1b[2J\u{115f}" (b\n\x1b]0;x\x07)"#), "{}", told.message);
        assert_eq!(told.allowance.expect("a note").owner, odd.owner, "machines get it as it is");
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
            Finding::exposure(&target("198.18.0.10", 22), State::Open, Some(&bastion()), spoken(), now()),
            Finding::idle_allowance(&bastion(), now()),
            Finding::answers_all([198, 18, 0, 10].into(), Folded::default(), &AnswersAll::default(), now()),
        ] {
            let json = serde_json::to_value(&finding).expect("json");
            assert_eq!(json["kind"], finding.kind.as_str());
            assert_eq!(json["rule"], finding.rule.as_str());
            assert!(finding.allowance.is_none() || json["allowance"]["expires"] == "2026-01-31");
            assert_eq!(serde_json::from_value::<Finding>(json).expect("a finding"), finding);
        }
        assert!(serde_json::from_str::<Fingerprint>("\"XYZ\"").is_err());
    }
}
