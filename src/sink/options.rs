//! What a configuration can say of sinks: one type for each kind, filled in by `config`, used by the channel itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::secret::SecretPlace;

/// One sink.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkOptions {
    /// Its name, for routes and for people.
    pub name: String,
    /// What kind of sink it is, and what that kind wants to know.
    pub kind: SinkKind,
    /// How long one attempt may take, connecting included.
    pub timeout: Duration,
    /// How long a message is tried before it is given up.
    pub give_up_after: Duration,
    /// Whether it is told of each alert in a storm, or of the storm alone.
    pub tells_each: bool,
    /// In which format it is told of events, where its kind leaves a choice.
    pub format: LineFormat,
    /// The line of the file where its table begins.
    pub line: u32,
}

/// How long one attempt may take, if nobody says.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a message is tried, if nobody says: long enough for a weekend.
pub const DEFAULT_GIVE_UP_AFTER: Duration = Duration::from_secs(3 * 24 * 3600);

/// What the body of a webhook is, if nobody says.
pub const DEFAULT_CONTENT_TYPE: &str = "application/json";

/// How often an Alertmanager is told of what fires, if nobody says.
pub const DEFAULT_REFRESH: Duration = Duration::from_secs(60);

/// A format that tells one event at a time. [`super::format`] writes them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LineFormat {
    /// The events of this program itself, in JSON.
    #[default]
    Jsonl,
    /// The Elastic Common Schema.
    Ecs,
    /// The Open Cybersecurity Schema Framework.
    Ocsf,
    /// The envelope of Splunk's HTTP Event Collector, with fields of its Common Information Model.
    Hec,
    /// The Common Event Format, in syslog's.
    Cef,
}

impl LineFormat {
    /// All of them, by their words.
    pub const ALL: [(&'static str, LineFormat); 5] = [
        ("jsonl", LineFormat::Jsonl),
        ("ecs", LineFormat::Ecs),
        ("ocsf", LineFormat::Ocsf),
        ("hec", LineFormat::Hec),
        ("cef", LineFormat::Cef),
    ];

    /// The word for it, as in a configuration.
    pub fn as_str(self) -> &'static str {
        LineFormat::ALL.into_iter().find(|(_, format)| *format == self).map_or("", |(word, _)| word)
    }

    /// Those that sinks of a kind can be told in; none where the kind has one form alone.
    pub fn of_kind(kind: &str) -> &'static [(&'static str, LineFormat)] {
        use LineFormat::{Cef, Ecs, Hec, Jsonl, Ocsf};
        match kind {
            "file" | "stdout" => &LineFormat::ALL,
            "syslog" => &[("jsonl", Jsonl), ("ecs", Ecs), ("ocsf", Ocsf), ("cef", Cef)],
            "webhook" => &[("jsonl", Jsonl), ("ecs", Ecs), ("ocsf", Ocsf), ("hec", Hec)],
            "opensearch" => &[("ecs", Ecs), ("ocsf", Ocsf)],
            _ => &[],
        }
    }

    /// What sinks of a kind are told in, if nobody says.
    pub fn usual_of_kind(kind: &str) -> LineFormat {
        match kind {
            "splunk" => LineFormat::Hec,
            "elasticsearch" | "opensearch" => LineFormat::Ecs,
            _ => LineFormat::default(),
        }
    }
}

/// The kinds of sinks.
#[derive(Clone, Debug, PartialEq)]
pub enum SinkKind {
    /// `file`: lines, appended to a file that others may rotate.
    File(FileOptions),
    /// `stdout`: lines on standard output.
    Stdout,
    /// `syslog`: RFC 5424.
    Syslog(SyslogOptions),
    /// `webhook`: an HTTP POST, signed after the Standard Webhooks specification.
    Webhook(WebhookOptions),
    /// `slack`: what Slack's incoming webhooks take, and Mattermost's and Rocket.Chat's.
    Slack(SlackOptions),
    /// `pagerduty`: PagerDuty's Events API, version 2.
    PagerDuty(PagerDutyOptions),
    /// `alertmanager`: the API of Prometheus' Alertmanager, version 2.
    Alertmanager(AlertmanagerOptions),
    /// `splunk`: Splunk's HTTP Event Collector.
    Splunk(SplunkOptions),
    /// `elasticsearch`: Elasticsearch's bulk API.
    Elasticsearch(BulkOptions),
    /// `opensearch`: OpenSearch's bulk API.
    OpenSearch(BulkOptions),
    /// `email`: SMTP.
    Email(EmailOptions),
    /// `exec`: a program of the operator's.
    Exec(ExecOptions),
}

impl SinkKind {
    /// The word for it, as in a configuration.
    pub fn as_str(&self) -> &'static str {
        match self {
            SinkKind::File(_) => "file",
            SinkKind::Stdout => "stdout",
            SinkKind::Syslog(_) => "syslog",
            SinkKind::Webhook(_) => "webhook",
            SinkKind::Slack(_) => "slack",
            SinkKind::PagerDuty(_) => "pagerduty",
            SinkKind::Alertmanager(_) => "alertmanager",
            SinkKind::Splunk(_) => "splunk",
            SinkKind::Elasticsearch(_) => "elasticsearch",
            SinkKind::OpenSearch(_) => "opensearch",
            SinkKind::Email(_) => "email",
            SinkKind::Exec(_) => "exec",
        }
    }

    /// All the words.
    pub const WORDS: [&'static str; 12] = [
        "file",
        "stdout",
        "syslog",
        "webhook",
        "slack",
        "pagerduty",
        "alertmanager",
        "splunk",
        "elasticsearch",
        "opensearch",
        "email",
        "exec",
    ];
}

/// A file of lines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileOptions {
    /// Its path.
    pub path: PathBuf,
}

/// A syslog server.
#[derive(Clone, Debug, PartialEq)]
pub struct SyslogOptions {
    /// Its host name or address.
    pub host: String,
    /// Its port: 514 by UDP, 601 by TCP, 6514 by TLS, if nobody says.
    pub port: u16,
    /// How messages travel.
    pub transport: SyslogTransport,
    /// The facility, 0 to 23 (RFC 5424, section 6.2.1); 13, log audit, if nobody says.
    pub facility: u8,
    /// Whom to trust, by TLS.
    pub tls: TlsOptions,
}

/// How syslog messages travel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SyslogTransport {
    /// A datagram each (RFC 5426). Nobody knows what arrives.
    Udp,
    /// A stream with octet counts (RFC 6587, section 3.4.1).
    Tcp,
    /// The same by TLS (RFC 5425).
    Tls,
}

/// Whom to trust.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsOptions {
    /// A file of certificates, PEM, of whoever is trusted instead of the authorities that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, PEM, with its chain, for servers that ask for one.
    pub cert_file: Option<PathBuf>,
    /// Its private key, PEM.
    pub key_file: Option<SecretPlace>,
}

/// Where an HTTP request goes.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpOptions {
    /// The address, where it is no secret or where it is kept.
    pub url: Url,
    /// The networks that the host's addresses must be in; empty for wherever its name leads.
    pub networks: Vec<IpNetwork>,
    /// Whom to trust, by HTTPS.
    pub tls: TlsOptions,
}

/// The address of a web server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Url {
    /// Written in the configuration: http or https, checked when it was read.
    Written(String),
    /// Kept elsewhere, because whoever knows it may use it.
    Secret(SecretPlace),
}

/// A web server that takes what we make of messages.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookOptions {
    /// Where it is.
    pub http: HttpOptions,
    /// The key that messages are signed with (`whsec_` and base64, as the Standard Webhooks specification has it).
    pub signing_key: Option<SecretPlace>,
    /// What stands in the header `Authorization`.
    pub authorization: Option<SecretPlace>,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// The body, as a template with the event as its variables; the event itself as JSON, if there is none.
    pub template: Option<String>,
    /// What the body is.
    pub content_type: String,
}

/// A Slack-compatible webhook.
#[derive(Clone, Debug, PartialEq)]
pub struct SlackOptions {
    /// Where it is; the address is the secret.
    pub http: HttpOptions,
    /// The channel, where the webhook lets it be chosen.
    pub channel: Option<String>,
}

/// A PagerDuty service.
#[derive(Clone, Debug, PartialEq)]
pub struct PagerDutyOptions {
    /// Where events go: PagerDuty's own address, if nobody says.
    pub http: HttpOptions,
    /// The integration key of the service.
    pub routing_key: SecretPlace,
}

/// Where PagerDuty takes events.
pub const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// An Alertmanager.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertmanagerOptions {
    /// Where it is, without `/api/v2/alerts`.
    pub http: HttpOptions,
    /// What stands in the header `Authorization`.
    pub authorization: Option<SecretPlace>,
    /// Labels that every alert gets.
    pub labels: BTreeMap<String, String>,
    /// How often it is told of what fires. It takes an alert for over when it has not heard of it for three times as
    /// long.
    pub refresh: Duration,
}

/// Splunk's HTTP Event Collector.
#[derive(Clone, Debug, PartialEq)]
pub struct SplunkOptions {
    /// Where it is, without `/services/collector`.
    pub http: HttpOptions,
    /// The token that it knows us by.
    pub token: SecretPlace,
    /// The index that events go to; the token's own, if nobody says.
    pub index: Option<String>,
    /// What is said of where events are from, instead of what the format says.
    pub source: Option<String>,
    /// The type of all events, instead of one for each of their kinds.
    pub source_type: Option<String>,
    /// The host that tells, instead of this one's name.
    pub host: Option<String>,
    /// Whether a message is delivered only when indexers have acknowledged it, not when the collector has taken it.
    pub acknowledge: bool,
}

/// Elasticsearch or OpenSearch.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkOptions {
    /// Where it is, without the name of the index.
    pub http: HttpOptions,
    /// The index, alias or data stream that events go to.
    pub index: String,
    /// How it knows us.
    pub access: BulkAccess,
}

/// How Elasticsearch or OpenSearch knows us.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BulkAccess {
    /// Not at all.
    Open,
    /// By a user and a password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: SecretPlace,
    },
    /// By an API key, encoded as the server has given it.
    ApiKey(SecretPlace),
    /// By a bearer's token.
    Bearer(SecretPlace),
}

/// A mail server.
#[derive(Clone, Debug, PartialEq)]
pub struct EmailOptions {
    /// The server's host name or address.
    pub host: String,
    /// Its port: 587, or 465 with `Encryption::Tls`, or 25 with `Encryption::None`, if nobody says.
    pub port: u16,
    /// How the connection is protected.
    pub encryption: Encryption,
    /// Whom to trust.
    pub tls: TlsOptions,
    /// The user, where the server wants one.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<SecretPlace>,
    /// Who mails.
    pub from: String,
    /// To whom.
    pub to: Vec<String>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Encryption {
    /// By STARTTLS, without which nothing is sent (RFC 3207).
    StartTls,
    /// By TLS from the first byte (RFC 8314).
    Tls,
    /// Not at all; for a server on this very host.
    None,
}

/// A program of the operator's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExecOptions {
    /// The program, by its absolute path, and its arguments.
    pub command: Vec<String>,
}
