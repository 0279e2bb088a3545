//! Files that a configuration names and that are needed later: secrets, certificates.
//!
//! They are no part of the grammar. Whoever sweeps by a configuration may well be forbidden to read its secrets; only
//! who checks it, or watches by it, must be able to.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::ExposeSecret;

use super::diagnostic::Diagnostic;
use super::sinks::web::{UrlMistake, check_url};
use crate::sink::secret::{SecretError, SecretPlace};

/// A file that will be needed, and where the configuration names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedFile {
    /// The configuration.
    pub file: PathBuf,
    /// The line, from 1, of the name.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// The key that names it.
    pub key: &'static str,
    /// What it is needed for.
    pub need: Need,
}

/// What a file is needed for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Need {
    /// It holds a secret.
    Secret(SecretPlace),
    /// It holds an address of the web, which is a secret.
    SecretUrl(SecretPlace),
    /// It holds certificates, PEM.
    Certificates(PathBuf),
}

impl NamedFile {
    /// What is wrong with it. A credential is there only while the service runs, so nothing is said of it.
    pub fn check(&self) -> Option<Diagnostic> {
        match &self.need {
            Need::Secret(place) | Need::SecretUrl(place) => self.check_secret(place),
            Need::Certificates(path) => self.check_certificates(path),
        }
    }

    fn check_secret(&self, place: &SecretPlace) -> Option<Diagnostic> {
        let SecretPlace::File(path) = place else { return None };
        let is_file = path.metadata().map(|metadata| metadata.is_file());
        let key = self.key;
        match is_file {
            Err(cause) => {
                let advice = "write the secret into that file, or name the right one";
                return Some(self.mistake(
                    format!("`{key}` names no file that can be read: {}: {cause}", Seen(path)),
                    advice,
                ));
            }
            Ok(false) => {
                return Some(
                    self.mistake(format!("`{key}` names no file, but {}", Seen(path)), "name a file"),
                );
            }
            Ok(true) => {}
        }
        match place.read() {
            Ok(secret) if matches!(self.need, Need::SecretUrl(_)) => {
                let UrlMistake { message, help } = check_url(secret.expose_secret()).err()?;
                Some(self.mistake(format!("the address in {} {message}", Seen(path)), help))
            }
            Ok(_) => None,
            Err(SecretError::Unreadable { cause, .. }) => {
                let message = format!("`{key}` names a file that cannot be read: {}: {cause}", Seen(path));
                Some(self.mistake(message, "make it readable to the user that this program runs as"))
            }
            Err(SecretError::Empty { .. }) => {
                Some(self.mistake(
                    format!("`{key}` names an empty file: {}", Seen(path)),
                    "write the secret into it",
                ))
            }
            Err(SecretError::TooLong { .. } | SecretError::NoCredentials { .. }) => {
                let message = format!("`{key}` names a file that is too long for a secret: {}", Seen(path));
                Some(self.mistake(message, "name the file of the secret alone"))
            }
        }
    }

    fn check_certificates(&self, path: &Path) -> Option<Diagnostic> {
        let key = self.key;
        let text = match read_file(path, MOST_CERTIFICATES) {
            Ok(text) => text,
            Err(why) => {
                let message = format!("`{key}` names a file that cannot be read: {}: {why}", path.display());
                return Some(self.mistake(message, "name a file of PEM certificates"));
            }
        };
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        if found.is_ok_and(|found| !found.is_empty()) {
            return None;
        }
        let message = format!("`{key}` names a file without a certificate: {}", path.display());
        Some(self.mistake(message, "name a file of PEM certificates"))
    }

    fn mistake(&self, message: impl Into<String>, help: impl Into<String>) -> Diagnostic {
        let NamedFile { file, line, column, .. } = self;
        Diagnostic {
            file: file.clone(),
            line: *line,
            column: *column,
            message: message.into(),
            help: help.into(),
        }
    }
}

/// The most bytes of certificates that are read: a system's whole list has a quarter of it.
const MOST_CERTIFICATES: u64 = 1 << 20;

/// The text of a file that is no device and no pipe, which might never end.
///
/// # Errors
/// Why not, in words.
pub(super) fn read_file(path: &Path, most: u64) -> Result<String, String> {
    let fail = |cause: std::io::Error| cause.to_string();
    if !path.metadata().map_err(fail)?.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut text = String::new();
    File::open(path).map_err(fail)?.take(most + 1).read_to_string(&mut text).map_err(fail)?;
    if text.len() as u64 > most { Err(format!("it has more than {most} bytes")) } else { Ok(text) }
}

/// The path of a secret's file. A last part that looks like no name of a file may be the secret itself, written where
/// its file should be named, and is not shown.
struct Seen<'p>(&'p Path);

impl fmt::Display for Seen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST_WORD: usize = 20;
        let path = self.0;
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let is_word = |part: &str| {
            part.len() <= LONGEST_WORD
                && !(part.contains(|c: char| c.is_ascii_digit()) && part.len() > LONGEST_WORD / 2)
        };
        if path.exists() || name.split(['-', '_', '.']).all(is_word) {
            return write!(f, "{}", path.display());
        }
        match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => write!(f, "a name in {}", parent.display()),
            None => f.write_str("a name beside the configuration"),
        }
    }
}
