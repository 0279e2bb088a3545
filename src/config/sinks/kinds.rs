//! What each kind of sink wants to know.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::gatherers::{read_bulk, read_splunk};
use super::keys::{
    CHANNEL, COMMAND, CONTENT_TYPE, ENCRYPTION, FACILITY, FROM, HOST, PASSWORD_FILE, PATH, PORT, REFRESH,
    ROUTING_KEY_FILE, SIGNING_KEY_FILE, TO, TRANSPORT, USER,
};
use super::secret::read_secret;
use super::web::{read_authorization, read_headers, read_http, read_labels, read_template, read_tls};
use crate::config::document::Section;
use crate::config::value::{Key, Value};
use crate::sink::options::{
    AlertmanagerOptions, DEFAULT_CONTENT_TYPE, DEFAULT_REFRESH, EmailOptions, Encryption, ExecOptions,
    FileOptions, PAGERDUTY_URL, PagerDutyOptions, SinkKind, SlackOptions, SyslogOptions, SyslogTransport,
    WebhookOptions,
};
use crate::target::written::{HostName, is_address_form};

const REFRESHES: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(3600);

/// What a sink of this kind, one of [`SinkKind::WORDS`], wants to know.
pub(super) fn read_kind(section: &mut Section<'_>, kind: &str) -> Option<SinkKind> {
    match kind {
        "file" => read_file(section).map(SinkKind::File),
        "stdout" => Some(SinkKind::Stdout),
        "syslog" => read_syslog(section).map(SinkKind::Syslog),
        "webhook" => read_webhook(section).map(SinkKind::Webhook),
        "slack" => read_slack(section).map(SinkKind::Slack),
        "pagerduty" => read_pagerduty(section).map(SinkKind::PagerDuty),
        "alertmanager" => read_alertmanager(section).map(SinkKind::Alertmanager),
        "splunk" => read_splunk(section).map(SinkKind::Splunk),
        "elasticsearch" => read_bulk(section, kind).map(SinkKind::Elasticsearch),
        "opensearch" => read_bulk(section, kind).map(SinkKind::OpenSearch),
        "email" => read_email(section).map(SinkKind::Email),
        "exec" => read_exec(section).map(SinkKind::Exec),
        _ => None,
    }
}

fn read_file(section: &mut Section<'_>) -> Option<FileOptions> {
    let path = section.take(&PATH).and_then(Value::path);
    section.need(&[&PATH]);
    Some(FileOptions { path: path? })
}

/// Facilities by their keywords, RFC 5424 section 6.2.1, in the order of their numbers.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

/// Log audit.
const DEFAULT_FACILITY: u8 = 13;

fn read_syslog(section: &mut Section<'_>) -> Option<SyslogOptions> {
    use SyslogTransport::{Tcp, Tls, Udp};
    let host = section.take(&HOST).and_then(read_host);
    let words = [("udp", Udp), ("tcp", Tcp), ("tls", Tls)];
    let transport = section.take(&TRANSPORT).map(|value| value.choice("way for syslog to travel", &words));
    let port = section.take(&PORT).map(read_port);
    let facility = section.take(&FACILITY).map(read_facility);
    let tls = read_tls(section);
    section.need(&[&HOST, &TRANSPORT]);
    let transport = transport.flatten()?;
    if transport != Tls {
        refuse_tls(section, "transport = \"tls\"");
    }
    let usual = match transport {
        Udp => 514,
        Tcp => 601,
        Tls => 6514,
    };
    let port = port.map_or(Some(usual), |port| port)?;
    let facility = facility.map_or(Some(DEFAULT_FACILITY), |facility| facility)?;
    Some(SyslogOptions { host: host?, port, transport, facility, tls })
}

/// A facility, by its keyword or by its number.
fn read_facility(value: Value<'_>) -> Option<u8> {
    if value.as_text().is_none() {
        return value.integer(0..=23).and_then(|number| number.try_into().ok());
    }
    let numbers: Vec<(&str, u8)> = FACILITIES.into_iter().zip(0..).collect();
    value.choice("facility of syslog", &numbers)
}

fn read_webhook(section: &mut Section<'_>) -> Option<WebhookOptions> {
    let http = read_http(section, "webhook", None);
    let signing_key = read_secret(section, &SIGNING_KEY_FILE);
    let authorization = read_authorization(section);
    let headers = read_headers(section);
    let template = read_template(section);
    let content_type = section.take(&CONTENT_TYPE).and_then(read_content_type);
    let content_type = content_type.unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned());
    Some(WebhookOptions { http: http?, signing_key, authorization, headers, template, content_type })
}

fn read_content_type(value: Value<'_>) -> Option<String> {
    let text = value.text()?;
    let is_token =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    let kind = text.split(';').next().unwrap_or("").trim();
    let is_type = kind.split_once('/').is_some_and(|(one, other)| is_token(one) && is_token(other));
    if is_type && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Some(text);
    }
    value.report(
        format!("`{text}` is no type of content"),
        "write one such as application/json or text/plain",
    );
    None
}

fn read_slack(section: &mut Section<'_>) -> Option<SlackOptions> {
    let http = read_http(section, "slack", None);
    let channel = section.take(&CHANNEL).and_then(Value::text);
    Some(SlackOptions { http: http?, channel })
}

fn read_pagerduty(section: &mut Section<'_>) -> Option<PagerDutyOptions> {
    let http = read_http(section, "pagerduty", Some(PAGERDUTY_URL));
    let routing_key = read_secret(section, &ROUTING_KEY_FILE);
    // Who has written the key itself is told where it belongs already.
    if !section.has_name("routing_key") && !section.has_name("integration_key") {
        section.need(&[&ROUTING_KEY_FILE]);
    }
    Some(PagerDutyOptions { http: http?, routing_key: routing_key? })
}

fn read_alertmanager(section: &mut Section<'_>) -> Option<AlertmanagerOptions> {
    let http = read_http(section, "alertmanager", None);
    let authorization = read_authorization(section);
    let labels = read_labels(section);
    let refresh =
        section.take(&REFRESH).and_then(|value| value.duration(REFRESHES)).unwrap_or(DEFAULT_REFRESH);
    Some(AlertmanagerOptions { http: http?, authorization, labels, refresh })
}

fn read_email(section: &mut Section<'_>) -> Option<EmailOptions> {
    let host = section.take(&HOST).and_then(read_host);
    let words = [("starttls", Encryption::StartTls), ("tls", Encryption::Tls), ("none", Encryption::None)];
    let encryption = section.take(&ENCRYPTION).map(|value| value.choice("encryption of mail", &words));
    let port = section.take(&PORT).map(read_port);
    let tls = read_tls(section);
    let user = section.take(&USER).and_then(Value::text);
    let password = read_secret(section, &PASSWORD_FILE);
    let from = section.take(&FROM).and_then(read_mail_address);
    let to = section.list_some(&TO, "recipient", read_mail_address);
    section.need(&[&HOST, &FROM, &TO]);
    go_together(section, &USER, &PASSWORD_FILE);
    let encryption = encryption.map_or(Some(Encryption::StartTls), |encryption| encryption)?;
    if encryption == Encryption::None {
        refuse_tls(section, "encryption = \"tls\" or \"starttls\"");
        if section.has(&PASSWORD_FILE) {
            let message = "without encryption, everybody on the way could read the password";
            section.refuse(
                PASSWORD_FILE.name,
                message,
                "write encryption = \"starttls\", or leave user and password out",
            );
        }
    }
    let usual = match encryption {
        Encryption::StartTls => 587,
        Encryption::Tls => 465,
        Encryption::None => 25,
    };
    let port = port.map_or(Some(usual), |port| port)?;
    let to = to?.into_iter().map(|placed| placed.value).collect();
    Some(EmailOptions { host: host?, port, encryption, tls, user, password, from: from?, to })
}

/// Notes that the one key is of no use without the other, whichever is there alone. A secret that is written out is a
/// mistake of its own.
pub(super) fn go_together(section: &mut Section<'_>, user: &'static Key, password: &'static Key) {
    let is_written = ["password", "pass", "passwd"].iter().any(|key| section.has_name(key));
    for (one, other) in [(user, password), (password, user)] {
        if section.has(one) && !section.has(other) && !is_written {
            let message = format!("`{}` is of no use without `{}`", one.name, other.name);
            section.refuse(one.name, message, format!("add {} = {}", other.name, other.example));
        }
    }
}

fn read_mail_address(value: Value<'_>) -> Option<String> {
    let text = value.text()?;
    match text.parse::<lettre::Address>() {
        Ok(_) => Some(text),
        Err(error) => {
            let help = "write user@host, such as ops@example.net, without a name around it";
            value.report(format!("`{text}` is no mail address: {error}"), help);
            None
        }
    }
}

fn read_exec(section: &mut Section<'_>) -> Option<ExecOptions> {
    let command = section.list_some(&COMMAND, "program", |value| {
        // An argument may be blank, or have blanks around it.
        value.as_text().map(str::to_owned).or_else(|| value.text())
    });
    section.need(&[&COMMAND]);
    let command = command?;
    let program = command.first()?;
    if !program.value.starts_with('/') {
        let message = format!("the program `{}` has no absolute path", program.value);
        section.document().report(program.at, message, "write the whole path, such as /usr/local/bin/page");
        return None;
    }
    if let Some(argument) = command.iter().find(|argument| argument.value.contains('\0')) {
        section.document().report(argument.at, "a NUL stands in an argument", "remove it");
    }
    Some(ExecOptions { command: command.into_iter().map(|placed| placed.value).collect() })
}

/// A host: its name, or its address.
fn read_host(value: Value<'_>) -> Option<String> {
    let text = value.text()?;
    let is_host = if is_address_form(&text) {
        text.parse::<IpAddr>().is_ok()
    } else {
        text.parse::<HostName>().is_ok()
    };
    if !is_host {
        let help = "write its name or its address alone, such as log.example.net or 198.18.0.7";
        value.report(format!("`{text}` is no host"), help);
    }
    is_host.then_some(text)
}

fn read_port(value: Value<'_>) -> Option<u16> {
    value.integer(1..=65535).and_then(|port| port.try_into().ok())
}

/// Notes every option of TLS, where nothing is encrypted.
fn refuse_tls(section: &mut Section<'_>, when: &str) {
    for key in ["ca_file", "cert_file", "key_file"] {
        section.refuse(
            key,
            format!("`{key}` is of no use without TLS"),
            format!("write {when}, or remove it"),
        );
    }
}
