//! Secrets: where each is kept, and never what it is.
//!
//! A configuration names the place of a secret. It is read when it is needed, so that a new one is used from the next
//! message on, and it is forgotten afterwards. No event, no log, no error and no database holds it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use thiserror::Error;

/// The most bytes that a secret has.
const LONGEST: u64 = 64 << 10;

/// Where a secret is kept.
#[derive(Clone, Eq, PartialEq)]
pub enum SecretPlace {
    /// In a file of its own.
    File(PathBuf),
    /// With systemd (LoadCredential=, SetCredentialEncrypted=), by its name.
    Credential(String),
}

/// What a configuration writes before the name of a credential.
pub const CREDENTIAL_PREFIX: &str = "credential:";

impl SecretPlace {
    /// The secret as it is now, without the blanks around it.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        let path = self.path()?;
        let fail = |cause| SecretError::Unreadable { place: self.clone(), cause };
        let mut text = String::new();
        let file = File::open(&path).map_err(fail)?;
        file.take(LONGEST + 1).read_to_string(&mut text).map_err(fail)?;
        if text.len() as u64 > LONGEST {
            return Err(SecretError::TooLong { place: self.clone() });
        }
        match text.trim() {
            "" => Err(SecretError::Empty { place: self.clone() }),
            secret => Ok(SecretString::from(secret)),
        }
    }

    fn path(&self) -> Result<PathBuf, SecretError> {
        match self {
            SecretPlace::File(path) => Ok(path.clone()),
            SecretPlace::Credential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
                Some(directory) => Ok(Path::new(&directory).join(name)),
                None => Err(SecretError::NoCredentials { name: name.clone() }),
            },
        }
    }
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretPlace::File(path) => write!(f, "the file {}", path.display()),
            SecretPlace::Credential(name) => write!(f, "the credential {name}"),
        }
    }
}

impl fmt::Debug for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a secret cannot be had.
#[derive(Debug, Error)]
pub enum SecretError {
    /// Its file cannot be read.
    #[error(
        "failed to read the secret in {place}: {cause}; make it readable to the user that this program runs as"
    )]
    Unreadable {
        /// Where it is kept.
        place: SecretPlace,
        /// Why.
        cause: io::Error,
    },
    /// Its file is empty.
    #[error("the secret in {place} is empty; write it there")]
    Empty {
        /// Where it is kept.
        place: SecretPlace,
    },
    /// Its file is no secret.
    #[error("the secret in {place} is longer than {LONGEST} bytes; name the file of the secret alone")]
    TooLong {
        /// Where it is kept.
        place: SecretPlace,
    },
    /// Nobody has handed credentials over.
    #[error(
        "the credential {name} is not there, because this program was not started by systemd with credentials; add \
         LoadCredential={name}:FILE to its unit, or name a file"
    )]
    NoCredentials {
        /// Its name.
        name: String,
    },
}
