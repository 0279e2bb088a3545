//! Signatures over files, in OpenSSH's own form (PROTOCOL.sshsig of OpenSSH), by Ed25519 keys: whoever has `ssh-keygen`
//! can check them without us.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

use crate::sink::secret::SecretPlace;

/// What our signatures are for; one that was made for something else counts for nothing here.
pub const NAMESPACE: &str = "portreeve-evidence";

/// Why a key cannot sign, or a signature does not hold.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The file of a key or of signers cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// It is no key that signs here.
    #[error("the signing key in {place}: {why}")]
    NoKey {
        /// Where it is.
        place: String,
        /// What it is instead.
        why: String,
    },
    /// The file of signers has a line that says nothing.
    #[error("{}, line {line}: {why}", path.display())]
    NoSigner {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The library could not sign.
    #[error("cannot sign: {0}")]
    Failed(String),
    /// What should be a signature is none.
    #[error("this is no signature of OpenSSH's kind: {0}")]
    NoSignature(String),
    /// It is one over something else.
    #[error("the signature is not one over this file: the file has been changed since, or the signature has")]
    Wrong,
}

/// A key that signs.
#[derive(Clone, Debug)]
pub struct Signer {
    key: PrivateKey,
}

impl Signer {
    /// Reads a private key in OpenSSH's form, without a passphrase.
    ///
    /// # Errors
    /// When there is none, when others may read it, or when it is of another kind.
    pub fn load(place: &SecretPlace) -> Result<Self, SignError> {
        let no_key = |why: &str| SignError::NoKey { place: place.to_string(), why: why.to_owned() };
        let text = place.read().map_err(|cause| no_key(&cause.to_string()))?;
        if let SecretPlace::File(path) = place {
            refuse_open_to_all(path).map_err(|why| no_key(&why))?;
        }
        let key = PrivateKey::from_openssh(format!("{}\n", text.expose_secret()))
            .map_err(|cause| no_key(&format!("this is no private key in OpenSSH's form ({cause})")))?;
        if key.is_encrypted() {
            return Err(no_key("the key has a passphrase, and nobody is there to type it"));
        }
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(no_key(&format!("the key is of the kind {}, not ssh-ed25519", key.algorithm())));
        }
        Ok(Signer { key })
    }

    /// The fingerprint of the key, as `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Signs these bytes; the signature comes armoured, as a file holds it.
    ///
    /// # Errors
    /// When the library cannot.
    pub fn sign(&self, bytes: &[u8]) -> Result<String, SignError> {
        let failed = |cause: ssh_key::Error| SignError::Failed(cause.to_string());
        let signature = self.key.sign(NAMESPACE, HashAlg::Sha512, bytes).map_err(failed)?;
        signature.to_pem(LineEnding::LF).map_err(failed)
    }
}

/// Checks that an armoured signature is one over these bytes, and says by which key it was made: its fingerprint.
///
/// # Errors
/// When it is none.
pub fn check(bytes: &[u8], armoured: &[u8]) -> Result<String, SignError> {
    let no_signature = |cause: &dyn std::fmt::Display| SignError::NoSignature(cause.to_string());
    let text = std::str::from_utf8(armoured).map_err(|cause| no_signature(&cause))?;
    let signature = SshSig::from_pem(text).map_err(|cause| no_signature(&cause))?;
    // What stands around the signature, or is written otherwise than we write it, was put there by somebody.
    let again = signature.to_pem(LineEnding::LF).map_err(|cause| no_signature(&cause))?;
    if again != text {
        return Err(SignError::NoSignature("it is not written as it was made".to_owned()));
    }
    // Neither is under the signature, so that the library takes them as they come.
    if signature.version() != SshSig::VERSION || !signature.reserved().is_empty() {
        return Err(SignError::NoSignature("it is of another version".to_owned()));
    }
    let key = PublicKey::from(signature.public_key().clone());
    key.verify(NAMESPACE, bytes, &signature).map_err(|_| SignError::Wrong)?;
    Ok(key.fingerprint(HashAlg::Sha256).to_string())
}

/// Who may sign: the fingerprints of a file in the form of OpenSSH's `allowed_signers` (ssh-keygen(1), "ALLOWED
/// SIGNERS").
///
/// # Errors
/// When the file cannot be read, or a line is about something that is not understood here.
pub fn allowed_signers(path: &Path) -> Result<Vec<(String, String)>, SignError> {
    let text = read(path)?;
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(line, number)| {
            allowed_signer(line).map_err(|why| SignError::NoSigner {
                path: path.to_owned(),
                line: number,
                why,
            })
        })
        .collect()
}

/// The principals of a line, and the fingerprint of their key.
fn allowed_signer(line: &str) -> Result<(String, String), String> {
    let mut words = line.split_whitespace();
    let principals = words.next().unwrap_or_default();
    let mut kind = words.next().ok_or("a line names principals, a kind of key and a key")?;
    if let Some(namespaces) = kind.strip_prefix("namespaces=") {
        let mut named = namespaces.trim_matches('"').split(',');
        if !named.any(|name| name == NAMESPACE || name == "*") {
            return Err(format!("the key is for the namespaces {namespaces}, and not for {NAMESPACE}"));
        }
        kind = words.next().ok_or("behind the namespaces stand a kind of key and a key")?;
    }
    if kind != "ssh-ed25519" {
        return Err(format!(
            "`{kind}` is neither ssh-ed25519 nor namespaces=, which is all that is understood here"
        ));
    }
    let key = words.next().ok_or("the key itself is missing")?;
    let key = PublicKey::from_openssh(&format!("{kind} {key}"))
        .map_err(|cause| format!("this is no key: {cause}"))?;
    Ok((principals.to_owned(), key.fingerprint(HashAlg::Sha256).to_string()))
}

fn read(path: &Path) -> Result<String, SignError> {
    fs::read_to_string(path).map_err(|cause| SignError::Unreadable { path: path.to_owned(), cause })
}

/// A key that others may read is nobody's signature.
fn refuse_open_to_all(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let found = fs::metadata(path).map_err(|cause| cause.to_string())?;
    match found.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => Err("others than its owner may read or change it (chmod 600)".to_owned()),
    }
}
