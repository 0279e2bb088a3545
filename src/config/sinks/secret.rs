//! Places of secrets in a configuration, and secrets that stand in the configuration itself.

use std::path::PathBuf;

use super::keys::written_secrets;
use crate::config::document::Section;
use crate::config::named::{NamedFile, Need};
use crate::config::value::{Key, Value};
use crate::sink::secret::{CREDENTIAL_PREFIX, SecretPlace};

/// The place of a secret: a file, which begins where the configuration is, or a credential of systemd.
pub(in crate::config) fn read_secret(section: &mut Section<'_>, key: &'static Key) -> Option<SecretPlace> {
    let value = section.take(key)?;
    let place = secret_place(value)?;
    note(value, key, Need::Secret(place.clone()));
    Some(place)
}

/// As [`read_secret`], of an address of the web.
pub(super) fn read_secret_url(section: &mut Section<'_>, key: &'static Key) -> Option<SecretPlace> {
    let value = section.take(key)?;
    let place = secret_place(value)?;
    note(value, key, Need::SecretUrl(place.clone()));
    Some(place)
}

/// A file of certificates.
pub(super) fn read_certificates(section: &mut Section<'_>, key: &'static Key) -> Option<PathBuf> {
    let value = section.take(key)?;
    let path = value.path()?;
    note(value, key, Need::Certificates(path.clone()));
    Some(path)
}

/// Notes every secret that stands in the file itself, and never what it is.
pub(super) fn refuse_written(section: &mut Section<'_>, kind: &str) {
    for (written, place) in written_secrets(kind) {
        if place.is_none_or(|place| !section.has_name(place)) {
            let help = place.map_or_else(
                || format!("remove it: a sink of the kind {kind} has no such secret"),
                |place| {
                    format!(
                        "put it into a file that only portreeve may read, and write {place} = \"secrets/...\" or {place} = \
                         \"credential:NAME\""
                    )
                },
            );
            section.refuse(
                written,
                format!("`{written}` is a secret, and too many can read this file"),
                help,
            );
        } else {
            let message = format!("`{written}` is a secret, and too many can read this file");
            section.refuse(written, message, "remove it; its file is named already");
        }
    }
}

fn note(value: Value<'_>, key: &'static Key, need: Need) {
    let source = value.document().source();
    let (line, column) = source.position(value.at());
    let file = source.file().to_path_buf();
    value.document().name_file(NamedFile { file, line, column, key: key.name, need });
}

fn secret_place(value: Value<'_>) -> Option<SecretPlace> {
    let text = value.text()?;
    if let Some(name) = text.strip_prefix(CREDENTIAL_PREFIX) {
        // systemd.exec: a credential is a file of that name in one directory.
        if name.is_empty()
            || name.starts_with('.')
            || name.contains(['/', ':'])
            || name.contains(char::is_whitespace)
        {
            let help = "write credential:NAME with the name in LoadCredential= of the unit";
            value.report("this is no name of a credential", help);
            return None;
        }
        return Some(SecretPlace::Credential(name.to_owned()));
    }
    if is_itself(&text) {
        let help = "put it into a file that only portreeve may read, and name that file here";
        value.report("this is a secret itself, where the name of its file should be", help);
        return None;
    }
    Some(SecretPlace::File(value.document().resolve(text)))
}

/// Whether a text is the secret, and not the name of a file.
fn is_itself(text: &str) -> bool {
    let begins =
        ["whsec_", "Bearer ", "Basic ", "Token ", "Splunk ", "ApiKey ", "-----BEGIN", "xoxb-", "xoxp-"];
    text.contains("://")
        || text.contains('\n')
        || is_guid(text)
        || begins.iter().any(|begin| text.starts_with(begin))
}

/// Whether a text has the form of a GUID, which tokens of Splunk have and no file.
fn is_guid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths = parts.iter().map(|part| part.len());
    lengths.eq([8, 4, 4, 4, 12]) && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
