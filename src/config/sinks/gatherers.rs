//! What sinks want to know that gather events and are told many at a time: Splunk, Elasticsearch, OpenSearch.

use super::keys::{
    ACKNOWLEDGE, API_KEY_FILE, HOST, INDEX, PASSWORD_FILE, SOURCE, SOURCE_TYPE, TOKEN_FILE, USER,
};
use super::kinds::go_together;
use super::secret::read_secret;
use super::web::read_http;
use crate::config::document::Section;
use crate::config::value::{Key, Value};
use crate::sink::options::{BulkAccess, BulkOptions, SplunkOptions};

pub(super) fn read_splunk(section: &mut Section<'_>) -> Option<SplunkOptions> {
    let http = read_http(section, "splunk", None);
    let token = read_secret(section, &TOKEN_FILE);
    // Who has written the token itself is told where it belongs already.
    if !["token", "authorization", "secret"].iter().any(|key| section.has_name(key)) {
        section.need(&[&TOKEN_FILE]);
    }
    let index = section.take(&INDEX).map(read_index);
    let [source, source_type, host] =
        [&SOURCE, &SOURCE_TYPE, &HOST].map(|key| section.take(key).and_then(Value::text));
    let acknowledge = section.take(&ACKNOWLEDGE).and_then(Value::boolean).unwrap_or(false);
    let index = index.map_or(Some(None), |index| index.map(Some))?;
    Some(SplunkOptions { http: http?, token: token?, index, source, source_type, host, acknowledge })
}

pub(super) fn read_bulk(section: &mut Section<'_>, kind: &str) -> Option<BulkOptions> {
    let http = read_http(section, kind, None);
    let index = section.take(&INDEX).and_then(read_index);
    section.need(&[&INDEX]);
    let access = read_access(section);
    Some(BulkOptions { http: http?, index: index?, access: access? })
}

/// How a server knows us: in one way at most.
fn read_access(section: &mut Section<'_>) -> Option<BulkAccess> {
    let user = section.take(&USER).map(read_user);
    let password = read_secret(section, &PASSWORD_FILE);
    let api_key = read_secret(section, &API_KEY_FILE);
    let token = read_secret(section, &TOKEN_FILE);
    go_together(section, &USER, &PASSWORD_FILE);
    let ways: [&'static Key; 3] = [&PASSWORD_FILE, &API_KEY_FILE, &TOKEN_FILE];
    let mut used = ways.into_iter().filter(|key| section.has(key));
    if let (Some(first), Some(second)) = (used.next(), used.next()) {
        let message = format!("`{}` and `{}` exclude each other", first.name, second.name);
        section.refuse(second.name, message, "keep one of the two");
        return None;
    }
    if section.has(&API_KEY_FILE) {
        return api_key.map(BulkAccess::ApiKey);
    }
    if section.has(&TOKEN_FILE) {
        return token.map(BulkAccess::Bearer);
    }
    match (user, password) {
        (Some(user), password) => Some(BulkAccess::Basic { user: user?, password: password? }),
        (None, _) => Some(BulkAccess::Open),
    }
}

fn read_user(value: Value<'_>) -> Option<String> {
    let user = value.text()?;
    // RFC 7617, section 2.
    if user.contains(':') || user.contains(char::is_control) {
        value
            .report("a colon or a control character stands in the name of this user", "write the name alone");
        return None;
    }
    Some(user)
}

/// The longest name of an index.
const LONGEST_INDEX: usize = 255;

/// The name of an index, an alias or a data stream: it stands in an address, and all three servers take these letters.
fn read_index(value: Value<'_>) -> Option<String> {
    let name = value.text()?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if begins && name.bytes().all(fits) && name.len() <= LONGEST_INDEX {
        return Some(name);
    }
    let help = "write small letters, digits, and -, _ or . between them, such as portreeve";
    value.report(format!("`{name}` is no name of an index"), help);
    None
}
