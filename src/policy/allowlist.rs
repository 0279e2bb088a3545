//! The allowlist: what may be open. It never says what to scan; that is the scope.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::index::RangeIndex;
use crate::target::Target;
use crate::target::address::AddressRange;
use crate::target::ports::PortSet;

/// What may be open, for which reason and until when.
#[derive(Clone, Debug, Default)]
pub struct Allowlist {
    allowances: Vec<Allowance>,
    index: RangeIndex,
}

impl Allowlist {
    /// The list of these allowances; they may overlap.
    pub fn new(allowances: Vec<Allowance>) -> Self {
        let ranges = allowances
            .iter()
            .enumerate()
            .flat_map(|(at, allowance)| allowance.hosts.iter().map(move |range| (*range, at)));
        let index = RangeIndex::new(ranges);
        Allowlist { allowances, index }
    }

    /// The allowances, in the order in which they were given.
    pub fn allowances(&self) -> &[Allowance] {
        &self.allowances
    }

    /// Whether this target may be open now.
    ///
    /// An allowance that has not expired wins over any that has. Of several that say the same, the first of the list is
    /// named if they hold, and the one that held longest if they do not.
    pub fn judge(&self, target: &Target, now: Timestamp) -> Judgement<'_> {
        let mut holds: Option<usize> = None;
        let mut expired: Option<(Timestamp, usize)> = None;
        self.visit(target, |at| match self.allowances[at].expires {
            Some(expiry) if expiry.is_past(now) => {
                let end = expiry.end();
                // A tie goes to the first of the list.
                if expired.is_none_or(|(longest, first)| end > longest || (end == longest && at < first)) {
                    expired = Some((end, at));
                }
            }
            _ => holds = Some(holds.map_or(at, |first| first.min(at))),
        });
        match (holds, expired) {
            (Some(at), _) => Judgement::Allowed(&self.allowances[at]),
            (None, Some((_, at))) => Judgement::Expired(&self.allowances[at]),
            (None, None) => Judgement::NotAllowed,
        }
    }

    /// Calls `visit` with the place of every allowance that names this target, expired or not.
    pub fn visit(&self, target: &Target, mut visit: impl FnMut(usize)) {
        self.index.visit(target.ip, |at| {
            if self.allowances[at].ports.slot_of(target.port).is_some() {
                visit(at);
            }
        });
    }
}

/// What the allowlist says of a target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Judgement<'a> {
    /// It may be open.
    Allowed(&'a Allowance),
    /// It might have been open, but no longer.
    Expired(&'a Allowance),
    /// Nobody ever said that it may be open.
    NotAllowed,
}

/// One entry of the allowlist: these TCP ports of these hosts may be open.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Allowance {
    /// The hosts.
    pub hosts: Vec<AddressRange>,
    /// The ports.
    pub ports: PortSet,
    /// Why they may be open.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// What an auditor asks for beside that.
    pub approval: Approval,
    /// Until when; `None` for as long as the entry stands.
    pub expires: Option<Expiry>,
    /// How long before its end whoever answers for it is warned; nothing for never.
    pub warn_before: Duration,
    /// The line of the file where the entry stands, if it came from a file.
    pub line: Option<u32>,
}

/// How an exception came to be, where anybody says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Approval {
    /// What the operator calls the exception: a ticket, mostly.
    pub id: Option<String>,
    /// Who has approved it.
    pub approver: Option<String>,
    /// What makes up for it: a firewall in front, a list of those who may come.
    pub compensating: Option<String>,
}

/// How long before the end of an allowance is warned, if nobody says.
pub const DEFAULT_WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 3600);

impl Allowance {
    /// Whether the entry names this target, expired or not.
    pub fn names(&self, target: &Target) -> bool {
        self.ports.slot_of(target.port).is_some() && self.hosts.iter().any(|range| range.contains(target.ip))
    }

    /// Whether the entry holds, and will not much longer.
    pub fn ends_soon(&self, now: Timestamp) -> bool {
        let Some(end) = self.expires.map(Expiry::end).filter(|end| *end > now) else { return false };
        let warning = SignedDuration::try_from(self.warn_before).unwrap_or(SignedDuration::MAX);
        end.duration_since(now) <= warning && !warning.is_zero()
    }

    /// Whether the entry no longer holds.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expiry| expiry.is_past(now))
    }
}

/// How many hosts and how many characters of ports are worth printing in one sentence.
const HOSTS_NAMED: usize = 3;
const PORTS_WIDTH: usize = 40;

/// What the entry is about, short enough for a sentence: `port 22 of 198.18.0.10`.
impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = self.ports.to_string();
        match self.ports.len() {
            1 => write!(f, "port {ports} of ")?,
            count if ports.len() > PORTS_WIDTH => write!(f, "{count} ports of ")?,
            _ => write!(f, "ports {ports} of ")?,
        }
        let named: Vec<String> = self.hosts.iter().take(HOSTS_NAMED).map(ToString::to_string).collect();
        f.write_str(&named.join(", "))?;
        match self.hosts.len().saturating_sub(HOSTS_NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// When an allowance ends.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Expiry {
    /// With the end of this day, UTC.
    Day(Date),
    /// At this moment.
    Instant(Timestamp),
}

impl Expiry {
    /// The first moment at which the allowance no longer holds.
    pub fn end(self) -> Timestamp {
        match self {
            // The last day of the calendar has no morrow; what holds until then holds for good.
            Expiry::Day(day) => day
                .checked_add(1.day())
                .and_then(|next| next.to_zoned(TimeZone::UTC))
                .map_or(Timestamp::MAX, |midnight| midnight.timestamp()),
            Expiry::Instant(instant) => instant,
        }
    }

    /// Whether the allowance no longer holds.
    pub fn is_past(self, now: Timestamp) -> bool {
        now >= self.end()
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expiry::Day(day) => day.fmt(f),
            Expiry::Instant(instant) => instant.fmt(f),
        }
    }
}

impl FromStr for Expiry {
    type Err = ExpiryError;

    fn from_str(text: &str) -> Result<Self, ExpiryError> {
        // The date comes first only where it is nothing but a date: jiff reads one out of a full timestamp as well.
        let parsed = if text.contains(['T', 't', ' ']) {
            text.parse().map(Expiry::Instant)
        } else {
            text.parse().map(Expiry::Day)
        };
        parsed.map_err(|_| ExpiryError { text: text.to_owned() })
    }
}

impl TryFrom<String> for Expiry {
    type Error = ExpiryError;

    fn try_from(text: String) -> Result<Self, ExpiryError> {
        text.parse()
    }
}

impl From<Expiry> for String {
    fn from(expiry: Expiry) -> String {
        expiry.to_string()
    }
}

/// A text that is neither a day nor a moment.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{text}` is no date; write 2027-03-31, or 2027-03-31T12:00:00Z for a moment")]
pub struct ExpiryError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Transport;

    fn allowance(hosts: &[&str], ports: &str, expires: Option<&str>) -> Allowance {
        Allowance {
            hosts: hosts.iter().map(|text| text.parse().expect(text)).collect(),
            ports: ports.parse().expect(ports),
            reason: "bastion".to_owned(),
            owner: "netops".to_owned(),
            approval: Approval::default(),
            expires: expires.map(|text| text.parse().expect(text)),
            warn_before: DEFAULT_WARN_BEFORE,
            line: None,
        }
    }

    fn target(ip: &str, port: u16) -> Target {
        Target { ip: ip.parse().expect(ip), port, transport: Transport::Tcp }
    }

    fn time(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    #[test]
    fn a_date_holds_through_the_end_of_its_day_in_utc() {
        let list = Allowlist::new(vec![allowance(&["198.18.0.10"], "22", Some("2026-01-31"))]);
        let ssh = target("198.18.0.10", 22);
        let judge = |now| list.judge(&ssh, time(now));
        assert!(matches!(judge("2026-01-31T23:59:59.999999999Z"), Judgement::Allowed(_)));
        assert!(matches!(judge("2026-02-01T00:00:00Z"), Judgement::Expired(_)));
    }

    #[test]
    fn a_moment_holds_until_it_comes() {
        let list = Allowlist::new(vec![allowance(&["198.18.0.10"], "22", Some("2026-01-31T12:00:00+02:00"))]);
        let ssh = target("198.18.0.10", 22);
        assert!(matches!(list.judge(&ssh, time("2026-01-31T09:59:59Z")), Judgement::Allowed(_)));
        assert!(matches!(list.judge(&ssh, time("2026-01-31T10:00:00Z")), Judgement::Expired(_)));
    }

    #[test]
    fn the_last_day_of_the_calendar_never_ends() {
        assert!(!Expiry::Day(Date::MAX).is_past(time("9999-12-30T21:59:59Z")));
    }

    #[test]
    fn what_holds_wins_over_what_has_expired_and_the_longest_of_those_is_named() {
        let first = allowance(&["198.18.0.0/24"], "22", Some("2025-01-01"));
        let longer = allowance(&["198.18.0.0/16"], "22", Some("2025-06-01"));
        let holds = allowance(&["198.18.0.10"], "22", None);
        let now = time("2026-01-01T00:00:00Z");
        let list = Allowlist::new(vec![first, longer.clone(), holds.clone()]);
        assert_eq!(list.judge(&target("198.18.0.10", 22), now), Judgement::Allowed(&holds));
        assert_eq!(list.judge(&target("198.18.0.11", 22), now), Judgement::Expired(&longer));
        assert_eq!(list.judge(&target("198.18.0.11", 23), now), Judgement::NotAllowed);
        assert_eq!(list.judge(&target("198.19.0.11", 22), now), Judgement::NotAllowed);
    }

    #[test]
    fn is_about_something_in_few_words() {
        let hosts = ["198.18.0.1", "198.18.0.3", "198.18.1.0/24", "198.18.3.0/24", "198.18.5.0/24"];
        for (hosts, ports, says) in [
            (&hosts[..1], "22", "port 22 of 198.18.0.1"),
            (&hosts[..2], "22,80", "ports 22,80 of 198.18.0.1, 198.18.0.3"),
            (&hosts[..], "all", "ports 1-65535 of 198.18.0.1, 198.18.0.3, 198.18.1.0/24 and 2 more"),
            (&hosts[..1], "exposed", "80 ports of 198.18.0.1"),
        ] {
            let count = format!("{} ports", PortSet::exposed().len());
            assert_eq!(allowance(hosts, ports, None).to_string(), says.replace("80 ports", &count));
        }
    }

    #[test]
    fn expiry_reads_what_it_prints() {
        for text in ["2027-03-31", "2027-03-31T12:00:00Z"] {
            let expiry: Expiry = text.parse().expect(text);
            assert_eq!(expiry.to_string(), text);
            assert_eq!(serde_json::to_value(expiry).expect("json"), text);
        }
        for text in ["soon", "2027-02-30", "2027-03-31T12:00:00", ""] {
            assert!(text.parse::<Expiry>().is_err(), "{text}");
        }
    }
}
