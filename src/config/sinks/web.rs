//! What sinks that speak HTTP have in common: the address, whom it may lead to, headers, templates.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use minijinja::Environment;
use ureq::http::{HeaderName, HeaderValue, Uri};

use super::keys::{
    AUTHORIZATION_FILE, CA_FILE, CERT_FILE, HEADERS, KEY_FILE, LABELS, NETWORKS, TEMPLATE, TEMPLATE_FILE,
    URL, URL_FILE,
};
use super::secret::{read_certificates, read_secret, read_secret_url};
use crate::config::diagnostic::Source;
use crate::config::document::Section;
use crate::config::named::read_file;
use crate::config::value::Value;
use crate::sink::options::{HttpOptions, TlsOptions, Url};
use crate::target::address::AddressRange;

/// Where a sink's messages go. `kind` is what kind of sink it is; `usual` is the address if nobody says.
pub(in crate::config) fn read_http(
    section: &mut Section<'_>,
    kind: &str,
    usual: Option<&str>,
) -> Option<HttpOptions> {
    let written = section.take(&URL);
    let url = written.and_then(|value| read_url(value, kind));
    let place = read_secret_url(section, &URL_FILE);
    let networks = section.list(&NETWORKS, read_network).unwrap_or_default();
    let networks: Vec<IpNetwork> = networks.into_iter().map(|placed| placed.value).collect();
    let tls = read_tls(section);
    if let (Some(value), Some(Url::Written(url))) = (written, &url) {
        refuse_outside(value, url, &networks);
    }
    let url = match (section.has(&URL), section.has(&URL_FILE)) {
        (true, true) => {
            section.refuse("url_file", "`url` and `url_file` exclude each other", "keep one of the two");
            None
        }
        (false, false) => {
            if usual.is_none() {
                section.need(&[if kind == "slack" { &URL_FILE } else { &URL }]);
            }
            usual.map(|usual| Url::Written(usual.to_owned()))
        }
        _ => url.or(place.map(Url::Secret)),
    };
    Some(HttpOptions { url: url?, networks, tls })
}

/// Whom to trust.
pub(in crate::config) fn read_tls(section: &mut Section<'_>) -> TlsOptions {
    let ca_file = read_certificates(section, &CA_FILE);
    let cert_file = read_certificates(section, &CERT_FILE);
    let key_file = read_secret(section, &KEY_FILE);
    for (one, other) in [(&CERT_FILE, &KEY_FILE), (&KEY_FILE, &CERT_FILE)] {
        if section.has(one) && !section.has(other) {
            let message = format!("`{}` is of no use without `{}`", one.name, other.name);
            section.refuse(one.name, message, format!("add {} = {}", other.name, other.example));
        }
    }
    TlsOptions { ca_file, cert_file, key_file }
}

/// What stands in the header `Authorization`.
pub(super) fn read_authorization(section: &mut Section<'_>) -> Option<crate::sink::secret::SecretPlace> {
    read_secret(section, &AUTHORIZATION_FILE)
}

/// Why a text is no address of the web, to go on with behind the address or in its place; it repeats no part of it.
pub(in crate::config) struct UrlMistake {
    pub(in crate::config) message: &'static str,
    pub(in crate::config) help: &'static str,
}

/// Whether a text is an address that messages can be sent to.
pub(in crate::config) fn check_url(text: &str) -> Result<Uri, UrlMistake> {
    let help = "write https:// and the name of the host, such as https://hook.example.net/portreeve";
    let uri: Uri = text.parse().map_err(|_| UrlMistake { message: "is no address of the web", help })?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(_) => return Err(UrlMistake { message: "is neither http nor https", help }),
        None => return Err(UrlMistake { message: "begins with neither http:// nor https://", help }),
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        let help = "put the whole address into a file that only portreeve may read, and write url_file = \
                    \"secrets/...\"";
        return Err(UrlMistake { message: "holds a user or a password", help });
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(UrlMistake { message: "names no host", help });
    }
    Ok(uri)
}

fn read_url(value: Value<'_>, kind: &str) -> Option<Url> {
    let text = value.text()?;
    match check_url(&text) {
        Ok(uri) if is_secret(&uri, kind) => {
            let help = "put it into a file that only portreeve may read, and write url_file = \"secrets/...\" or \
                        url_file = \"credential:NAME\"";
            value.report("whoever knows this address may use it, and too many can read this file", help);
            None
        }
        Ok(_) => Some(Url::Written(text)),
        Err(UrlMistake { message, help }) => {
            value.report(format!("this address {message}"), help);
            None
        }
    }
}

/// Whether an address looks like one that lets in whoever knows it: a token in the path or in the query.
fn is_secret(uri: &Uri, kind: &str) -> bool {
    const SHORTEST_TOKEN: usize = 16;
    const LONGEST_PATH: usize = 16;
    let has = |part: &str, is: fn(&char) -> bool| part.chars().any(|c| is(&c));
    let is_token = |part: &str| {
        let letters = part.chars().filter(char::is_ascii_alphanumeric).count();
        letters >= SHORTEST_TOKEN && has(part, char::is_ascii_digit) && has(part, char::is_ascii_alphabetic)
    };
    let path = uri.path();
    let is_whole = kind == "slack" && (path.len() > LONGEST_PATH || uri.host() == Some("hooks.slack.com"));
    let query = uri.query().unwrap_or_default().to_ascii_lowercase();
    let named = ["key=", "token=", "secret=", "sig=", "signature=", "password=", "auth="];
    is_whole || path.split('/').any(is_token) || named.iter().any(|name| query.contains(name))
}

/// Networks that leave out the very address that is written could never be reached.
fn refuse_outside(value: Value<'_>, url: &str, networks: &[IpNetwork]) {
    let host = url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    if let Ok(ip) = ip
        && !networks.is_empty()
        && !networks.iter().any(|network| network.contains(ip))
    {
        value.report(
            format!("{ip} is in none of the `networks` of this sink"),
            "name its network there, or none",
        );
    }
}

fn read_network(value: Value<'_>) -> Option<IpNetwork> {
    let range: AddressRange = value.parsed()?;
    let network = range.prefix_len().and_then(|prefix| IpNetwork::new(range.first(), prefix).ok());
    if network.is_none() {
        value.report(
            format!("{range} is no network"),
            "write the networks that it consists of, such as 198.18.0.0/24",
        );
    }
    network
}

/// Headers that are ours to set, or the library's.
const OWN_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// Headers that hold secrets.
const SECRET_HEADERS: [&str; 8] = [
    "api-key",
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-access-token",
    "x-api-key",
    "x-auth-token",
    "x-token",
];

/// Further headers.
pub(super) fn read_headers(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let Some(mut table) = section.table(&HEADERS) else { return BTreeMap::new() };
    let mut headers = BTreeMap::new();
    for (name, value) in table.others(&HEADERS) {
        let document = section.document();
        let lower = name.value.to_ascii_lowercase();
        if HeaderName::from_bytes(name.value.as_bytes()).is_err() {
            let help = "write letters, digits and hyphens, such as X-Team";
            document.report(name.at, format!("`{}` is no name of a header", name.value), help);
        } else if SECRET_HEADERS.contains(&lower.as_str()) {
            let help = "put it into a file that only portreeve may read, and write authorization_file = \
                        \"secrets/...\"; \
                        it goes into the header Authorization";
            let message =
                format!("the header `{}` holds a secret, and too many can read this file", name.value);
            document.report(name.at, message, help);
        } else if OWN_HEADERS.contains(&lower.as_str()) {
            let help = if lower == "content-type" { "use the key content_type" } else { "remove it" };
            document.report(name.at, format!("the header `{}` is set by portreeve itself", name.value), help);
        } else if let Some(text) = value.text() {
            if HeaderValue::from_str(&text).is_err() {
                let message =
                    format!("the value of the header `{}` has signs that no header can have", name.value);
                value.report(message, "write visible ASCII characters and blanks");
            }
            headers.insert(name.value.to_owned(), text);
        }
    }
    headers
}

/// Labels of alerts: names as Prometheus has them, and texts.
pub(super) fn read_labels(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let Some(mut table) = section.table(&LABELS) else { return BTreeMap::new() };
    let mut labels = BTreeMap::new();
    for (name, value) in table.others(&LABELS) {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.value.starts_with(|c: char| c.is_ascii_digit()) || !name.value.chars().all(fits) {
            let help = "write letters, digits and _, the first of them no digit";
            section.document().report(name.at, format!("`{}` is no name of a label", name.value), help);
        } else if let Some(text) = value.text() {
            labels.insert(name.value.to_owned(), text);
        }
    }
    labels
}

/// The longest template.
const LONGEST_TEMPLATE: u64 = 64 << 10;

/// The template of a body, from the configuration or from a file of its own.
pub(super) fn read_template(section: &mut Section<'_>) -> Option<String> {
    let written = section.take(&TEMPLATE);
    let file = section.take(&TEMPLATE_FILE);
    if let (Some(_), Some(_)) = (written, file) {
        let message = "`template` and `template_file` exclude each other";
        section.refuse("template_file", message, "keep one of the two");
        return None;
    }
    match (written, file) {
        (Some(value), _) => written_template(value),
        (_, Some(value)) => template_of_file(value),
        _ => None,
    }
}

fn written_template(value: Value<'_>) -> Option<String> {
    value.text()?;
    let text = value.as_text()?.to_owned();
    let Err((line, why)) = check_template(&text) else { return Some(text) };
    // Where the text stands in the file as it is, without escapes, its lines are lines of the file.
    let source = value.document().source().text();
    let place = source.get(value.at()..value.end()).and_then(|raw| raw.find(&text));
    let inside: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let at = place.map_or(value.at(), |begin| value.at() + begin + inside);
    value.document().report(at, format!("line {line} of this template: {why}"), TEMPLATE_HELP);
    None
}

fn template_of_file(value: Value<'_>) -> Option<String> {
    let path = value.path()?;
    let text = match read_file(&path, LONGEST_TEMPLATE) {
        Ok(text) => text,
        Err(why) => {
            let message =
                format!("`template_file` names a file that cannot be read: {}: {why}", path.display());
            value.report(message, "name a file that the user of this program may read");
            return None;
        }
    };
    let Err((line, why)) = check_template(&text) else { return Some(text) };
    let inside = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let mistake = Source::new(path, text).diagnostic(inside, format!("this template: {why}"), TEMPLATE_HELP);
    value.document().report_elsewhere(mistake);
    None
}

const TEMPLATE_HELP: &str =
    "write text with {{ message }} and {% if ... %} ... {% endif %}, as Jinja has them";

/// The line of the mistake and what the template engine says of it.
fn check_template(text: &str) -> Result<(), (usize, String)> {
    let checked = Environment::new().template_from_named_str("body", text).map(|_| ());
    checked.map_err(|error| {
        let why = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        (error.line().unwrap_or(1).max(1), why)
    })
}
