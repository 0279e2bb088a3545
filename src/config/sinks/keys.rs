//! The keys of `[[sink]]` tables, and which kinds have which.

use crate::config::value::Key;

pub(super) static SINK: Key = Key { name: "sink", example: "[{ name = \"soc\", kind = \"webhook\" }]" };
pub(super) static NAME: Key = Key { name: "name", example: "\"soc\"" };
pub(super) static KIND: Key = Key { name: "kind", example: "\"webhook\"" };
pub(super) static TIMEOUT: Key = Key { name: "timeout", example: "\"15s\"" };
pub(super) static GIVE_UP_AFTER: Key = Key { name: "give_up_after", example: "\"3d\"" };
pub(super) static FORMAT: Key = Key { name: "format", example: "\"ecs\"" };
pub(super) static STORM: Key = Key { name: "storm", example: "\"digest\"" };

pub(super) static PATH: Key = Key { name: "path", example: "\"/var/log/portreeve/events.jsonl\"" };
pub(super) static HOST: Key = Key { name: "host", example: "\"log.example.net\"" };
pub(super) static PORT: Key = Key { name: "port", example: "6514" };
pub(super) static TRANSPORT: Key = Key { name: "transport", example: "\"tls\"" };
pub(super) static FACILITY: Key = Key { name: "facility", example: "\"audit\"" };
pub(super) static CA_FILE: Key = Key { name: "ca_file", example: "\"ca.pem\"" };
pub(super) static CERT_FILE: Key = Key { name: "cert_file", example: "\"client.pem\"" };
pub(super) static KEY_FILE: Key = Key { name: "key_file", example: "\"secrets/client-key.pem\"" };
pub(super) static URL: Key = Key { name: "url", example: "\"https://hook.example.net/portreeve\"" };
pub(super) static URL_FILE: Key = Key { name: "url_file", example: "\"secrets/soc-url\"" };
pub(super) static NETWORKS: Key = Key { name: "networks", example: "[\"198.18.0.0/24\"]" };
pub(super) static SIGNING_KEY_FILE: Key =
    Key { name: "signing_key_file", example: "\"secrets/soc-signing-key\"" };
pub(super) static AUTHORIZATION_FILE: Key =
    Key { name: "authorization_file", example: "\"secrets/soc-authorization\"" };
pub(super) static HEADERS: Key = Key { name: "headers", example: "{ X-Team = \"netops\" }" };
pub(super) static TEMPLATE: Key = Key { name: "template", example: "'{\"text\": {{ message|tojson }}}'" };
pub(super) static TEMPLATE_FILE: Key = Key { name: "template_file", example: "\"soc.json.j2\"" };
pub(super) static CONTENT_TYPE: Key = Key { name: "content_type", example: "\"application/json\"" };
pub(super) static CHANNEL: Key = Key { name: "channel", example: "\"#alerts\"" };
pub(super) static ROUTING_KEY_FILE: Key =
    Key { name: "routing_key_file", example: "\"secrets/pagerduty-key\"" };
pub(super) static LABELS: Key = Key { name: "labels", example: "{ team = \"netops\" }" };
pub(super) static REFRESH: Key = Key { name: "refresh", example: "\"60s\"" };
pub(super) static TOKEN_FILE: Key = Key { name: "token_file", example: "\"secrets/siem-token\"" };
pub(super) static API_KEY_FILE: Key = Key { name: "api_key_file", example: "\"secrets/siem-api-key\"" };
pub(super) static INDEX: Key = Key { name: "index", example: "\"portreeve\"" };
pub(super) static SOURCE: Key = Key { name: "source", example: "\"portreeve\"" };
pub(super) static SOURCE_TYPE: Key = Key { name: "sourcetype", example: "\"portreeve:exposure\"" };
pub(super) static ACKNOWLEDGE: Key = Key { name: "acknowledge", example: "true" };
pub(super) static ENCRYPTION: Key = Key { name: "encryption", example: "\"starttls\"" };
pub(super) static USER: Key = Key { name: "user", example: "\"portreeve\"" };
pub(super) static PASSWORD_FILE: Key = Key { name: "password_file", example: "\"secrets/mail-password\"" };
pub(super) static FROM: Key = Key { name: "from", example: "\"portreeve@example.net\"" };
pub(super) static TO: Key = Key { name: "to", example: "[\"ops@example.net\"]" };
pub(super) static COMMAND: Key =
    Key { name: "command", example: "[\"/usr/local/bin/page\", \"--team\", \"netops\"]" };

const BY_HTTP: &[&str] =
    &["webhook", "slack", "pagerduty", "alertmanager", "splunk", "elasticsearch", "opensearch"];

const BY_TLS: &[&str] = &[
    "syslog",
    "webhook",
    "slack",
    "pagerduty",
    "alertmanager",
    "splunk",
    "elasticsearch",
    "opensearch",
    "email",
];

/// Which kinds have a key that not all have.
const OWNERS: &[(&str, &[&str])] = &[
    ("path", &["file"]),
    ("format", &["file", "stdout", "syslog", "webhook", "opensearch"]),
    ("host", &["syslog", "email", "splunk"]),
    ("port", &["syslog", "email"]),
    ("transport", &["syslog"]),
    ("facility", &["syslog"]),
    ("ca_file", BY_TLS),
    ("cert_file", BY_TLS),
    ("key_file", BY_TLS),
    ("url", BY_HTTP),
    ("url_file", BY_HTTP),
    ("networks", BY_HTTP),
    ("signing_key_file", &["webhook"]),
    ("authorization_file", &["webhook", "alertmanager"]),
    ("headers", &["webhook"]),
    ("template", &["webhook"]),
    ("template_file", &["webhook"]),
    ("content_type", &["webhook"]),
    ("channel", &["slack"]),
    ("routing_key_file", &["pagerduty"]),
    ("labels", &["alertmanager"]),
    ("refresh", &["alertmanager"]),
    ("token_file", &["splunk", "elasticsearch", "opensearch"]),
    ("api_key_file", &["elasticsearch", "opensearch"]),
    ("index", &["splunk", "elasticsearch", "opensearch"]),
    ("source", &["splunk"]),
    ("sourcetype", &["splunk"]),
    ("acknowledge", &["splunk"]),
    ("encryption", &["email"]),
    ("user", &["email", "elasticsearch", "opensearch"]),
    ("password_file", &["email", "elasticsearch", "opensearch"]),
    ("from", &["email"]),
    ("to", &["email"]),
    ("command", &["exec"]),
];

/// Keys that this kind does not have and others do, with the kinds that do.
pub(super) fn foreign(kind: &str) -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    OWNERS.iter().copied().filter(move |(_, kinds)| !kinds.contains(&kind))
}

/// Every key that some kind has, or that somebody might take for one.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    OWNERS.iter().map(|(key, _)| *key).chain(WRITTEN_SECRETS.iter().map(|(key, _)| *key))
}

/// Keys under which people write a secret into the configuration itself, and where it belongs: the first of these
/// keys that the kind has.
const WRITTEN_SECRETS: &[(&str, &[&str])] = &[
    ("password", &["password_file", "authorization_file"]),
    ("pass", &["password_file", "authorization_file"]),
    ("passwd", &["password_file", "authorization_file"]),
    ("token", &["token_file", "routing_key_file", "authorization_file", "password_file", "url_file"]),
    ("bearer", &["token_file", "authorization_file"]),
    ("auth", &["token_file", "authorization_file", "password_file"]),
    ("authorization", &["token_file", "authorization_file", "password_file"]),
    ("api_key", &["api_key_file", "routing_key_file", "authorization_file", "password_file", "url_file"]),
    ("routing_key", &["routing_key_file"]),
    ("integration_key", &["routing_key_file"]),
    ("signing_key", &["signing_key_file"]),
    (
        "secret",
        &["signing_key_file", "routing_key_file", "token_file", "authorization_file", "password_file"],
    ),
    ("key", &["key_file"]),
    ("private_key", &["key_file"]),
    ("passphrase", &["password_file"]),
    ("credentials", &["token_file", "authorization_file", "password_file"]),
];

/// Keys that hold secrets, and the key of this kind that names a secret's file.
pub(super) fn written_secrets(kind: &str) -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    let has =
        move |key: &&&'static str| OWNERS.iter().any(|(owned, kinds)| owned == *key && kinds.contains(&kind));
    WRITTEN_SECRETS.iter().map(move |(written, places)| (*written, places.iter().find(has).copied()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::options::SinkKind;

    #[test]
    fn keys_belong_to_kinds_that_there_are() {
        for (key, kinds) in OWNERS {
            assert!(!kinds.is_empty() && kinds.iter().all(|kind| SinkKind::WORDS.contains(kind)), "{key}");
        }
        for (written, places) in WRITTEN_SECRETS {
            let known = places.iter().all(|place| OWNERS.iter().any(|(key, _)| key == place));
            assert!(known && crate::config::value::is_secret(written), "{written}");
        }
    }
}
