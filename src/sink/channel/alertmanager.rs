//! `alertmanager`: the API of Prometheus' Alertmanager, version 2.
//!
//! To Alertmanager an alert is its labels: the same ones are the same alert, whatever else is said. So the labels here
//! are what never changes while an alert fires: its fingerprint, and what that is made of. Severity does change, when
//! an alert gets worse or a second look shows less; it is an annotation, and whoever routes by it gives each severity
//! its own sink, with a label of its own. The class is a label, because Alertmanager's routes are for that; where a
//! configuration moves a firing alert to another class, the one under the old label ends by itself, as below.
//!
//! Alertmanager forgets what it is not told again. Each alert that fires is said to end after three times the time
//! between two tellings ([`Channel::refresh_every`]), and each telling puts that off. One that is over is told with the
//! time when it ended.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use ureq::http::{HeaderMap, header};

use super::http::{Client, each, never};
use super::{Channel, Delivery};
use crate::alert::life::{Alert, Phase};
use crate::alert::notice::{Notice, Transition};
use crate::policy::finding::{Finding, FindingKind, milliseconds};
use crate::sink::message::Message;
use crate::sink::options::AlertmanagerOptions;
use crate::sink::plain;
use crate::sink::wording::{lines_of, standing};
use crate::target::foreign::harmless;

/// How many alerts go into one request.
const BATCH: usize = 256;

/// Where it takes alerts.
const PATH: &str = "/api/v2/alerts";

/// How many refreshes may fail before an alert is over for want of them.
const MISSES: u32 = 3;

/// The channel.
#[derive(Clone, Debug)]
pub struct Alertmanager {
    options: AlertmanagerOptions,
    timeout: Duration,
}

impl Alertmanager {
    /// An Alertmanager as it is configured.
    pub fn new(options: AlertmanagerOptions, timeout: Duration) -> Self {
        Alertmanager { options, timeout }
    }

    fn begin(&self) -> Result<(Client, HeaderMap), Delivery> {
        let mut client = Client::open(&self.options.http, PATH, self.timeout)?;
        let mut headers = HeaderMap::new();
        if let Some(place) = &self.options.authorization {
            headers.insert(header::AUTHORIZATION, client.secret_header(place)?);
        }
        Ok((client, headers))
    }

    fn post(&self, (client, headers): &(Client, HeaderMap), posted: &[Posted], now: Timestamp) -> Delivery {
        match plain::to_vec(posted) {
            Ok(body) => client.post("application/json", headers, &body, now),
            Err(error) => never(error.to_string()),
        }
    }

    fn posted(&self, alert: &Alert, is_over: bool, now: Timestamp) -> Posted {
        let began = alert.fired_at.unwrap_or(alert.finding.first_seen).min(now);
        let lasts = SignedDuration::try_from(self.options.refresh.saturating_mul(MISSES));
        let until = lasts.ok().and_then(|lasts| now.checked_add(lasts).ok()).unwrap_or(Timestamp::MAX);
        let ends = if is_over { alert.since.min(now) } else { until };
        // An alert that ends before it begins would be refused.
        let ends_at = ends.max(began);
        let (labels, annotations) = (labels(&self.options.labels, alert), annotations(alert));
        Posted { labels, annotations, starts_at: began, ends_at }
    }
}

impl Channel for Alertmanager {
    fn batch(&self) -> usize {
        BATCH
    }

    fn deliver(&mut self, messages: &[Message], now: Timestamp) -> Vec<Delivery> {
        let begun = match self.begin() {
            Ok(begun) => begun,
            Err(delivery) => return messages.first().map(|_| delivery).into_iter().collect(),
        };
        let posted = |message: &Message| match message {
            Message::Alert(notice) => Some(self.posted(&notice.alert, is_over(notice), now)),
            Message::Event(_) => None,
        };
        let all: Vec<Posted> = messages.iter().filter_map(posted).collect();
        let together = match all.is_empty() {
            true => Delivery::Delivered,
            false => self.post(&begun, &all, now),
        };
        // It refuses a whole request for one alert in it.
        let is_divided = matches!(together, Delivery::Refused { .. }) && all.len() > 1;
        each(messages, self.timeout, |message| match posted(message) {
            None => never("Alertmanager takes alerts and no other events; route these elsewhere"),
            Some(posted) if is_divided => self.post(&begun, &[posted], now),
            Some(_) => together.clone(),
        })
    }

    fn refresh_every(&self) -> Option<Duration> {
        Some(self.options.refresh)
    }

    fn refresh(&mut self, alerts: &[Alert], now: Timestamp) -> Result<(), String> {
        let is_over = |alert: &Alert| alert.state == Phase::Resolved && !alert.flapping;
        let is_told = |alert: &&Alert| alert.state != Phase::Pending || alert.flapping;
        let told = alerts.iter().filter(is_told).map(|alert| self.posted(alert, is_over(alert), now));
        let told: Vec<Posted> = told.collect();
        let begun = self.begin().map_err(why)?;
        let alarm = crossbeam::channel::after(self.timeout);
        let mut refused = Ok(());
        for some in told.chunks(BATCH) {
            match self.post(&begun, some, now) {
                Delivery::Delivered | Delivery::Untried => {}
                Delivery::Refused { why } => refused = Err(why),
                Delivery::Retry { why, .. } => return Err(why),
            }
            if alarm.try_recv().is_ok() {
                return Err(format!("{} alerts took longer than {:?} to tell", told.len(), self.timeout));
            }
        }
        refused
    }
}

/// Whether labels can be Alertmanager's: letters, digits and underscores, the first of them no digit; and none that
/// every alert has anyway.
///
/// # Errors
/// The first one that cannot, and why.
pub fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), String> {
    let is_name = |name: &str| {
        !name.starts_with(|letter: char| letter.is_ascii_digit())
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            && !name.is_empty()
    };
    for name in labels.keys() {
        if !is_name(name) {
            return Err(format!("`{name}` is no name of a label; write letters, digits and underscores"));
        }
        if OWN_LABELS.contains(&name.as_str()) {
            return Err(format!("every alert has its own label `{name}`; choose another name"));
        }
    }
    Ok(())
}

/// What we say of every alert.
const OWN_LABELS: [&str; 9] =
    ["alertname", "fingerprint", "kind", "class", "instance", "ip", "port", "transport", "about"];

/// One alert, as the API has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<&'static str, String>,
    #[serde(serialize_with = "milliseconds")]
    starts_at: Timestamp,
    #[serde(serialize_with = "milliseconds")]
    ends_at: Timestamp,
}

fn labels(fixed: &BTreeMap<String, String>, alert: &Alert) -> BTreeMap<String, String> {
    let finding = &alert.finding;
    let own = [
        Some(name_of(finding.kind)),
        Some(finding.fingerprint.to_string()),
        Some(finding.kind.to_string()),
        Some(alert.class.to_string()),
        instance(finding),
        finding.ip.map(|ip| ip.to_string()),
        finding.port.map(|port| port.to_string()),
        finding.transport.map(|transport| transport.to_string()),
        finding.about.as_deref().map(|about| harmless(about).into_owned()),
    ];
    let own = OWN_LABELS.into_iter().map(str::to_owned).zip(own);
    let own = own.filter_map(|(name, value)| Some((name, value?)));
    fixed.iter().map(|(name, value)| (name.clone(), value.clone())).chain(own).collect()
}

/// What is said of an alert as it is, so that a refresh says no less than the message did.
fn annotations(alert: &Alert) -> BTreeMap<&'static str, String> {
    let finding = &alert.finding;
    let lines: Vec<String> =
        lines_of(alert).iter().map(|line| format!("{}: {}", line.label, line.text)).collect();
    let owner = finding.owner.as_deref().map(|owner| ("owner", harmless(owner).into_owned()));
    [
        ("summary", standing(alert)),
        ("description", lines.join("\n")),
        ("severity", finding.severity.to_string()),
    ]
    .into_iter()
    .chain(owner)
    .collect()
}

/// The name of a kind of alert in the way that Prometheus' rules have theirs: `PortreeveExposure`.
fn name_of(kind: FindingKind) -> String {
    let words = kind.as_str().split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        format!("{}{rest}", first.to_ascii_uppercase())
    });
    std::iter::once("Portreeve".to_owned()).chain(words).collect()
}

/// What Prometheus would have as its target.
fn instance(finding: &Finding) -> Option<String> {
    match (finding.ip, finding.port) {
        (Some(ip), Some(port)) => Some(SocketAddr::from((ip, port)).to_string()),
        (Some(ip), None) => Some(ip.to_string()),
        _ => None,
    }
}

fn is_over(notice: &Notice) -> bool {
    notice.alert.state == Phase::Resolved && notice.transition != Transition::FlappingStarted
}

fn why(delivery: Delivery) -> String {
    match delivery {
        Delivery::Retry { why, .. } | Delivery::Refused { why } => why,
        Delivery::Delivered | Delivery::Untried => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_called_as_rules_are() {
        assert_eq!(name_of(FindingKind::Exposure), "PortreeveExposure");
        assert_eq!(name_of(FindingKind::AnswersAll), "PortreeveAnswersAll");
    }

    #[test]
    fn labels_that_alertmanager_would_refuse_are_found() {
        for (name, is_one) in [
            ("team", true),
            ("_x1", true),
            ("1x", false),
            ("a-b", false),
            ("", false),
            ("caf\u{e9}", false),
            ("fingerprint", false),
        ] {
            let labels = [(name.to_owned(), "x".to_owned())].into();
            assert_eq!(check_labels(&labels).is_ok(), is_one, "{name}");
        }
    }
}
