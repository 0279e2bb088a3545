//! Whom a channel trusts, by TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret;
use thiserror::Error;

use crate::sink::options::TlsOptions;
use crate::sink::secret::{SecretError, SecretPlace};

/// Why nobody can be trusted.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file of certificates cannot be read.
    #[error("failed to read certificates from {}: {why}; name a file of PEM certificates", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The system trusts nobody.
    #[error(
        "this system trusts no certificate authority ({why}); install ca-certificates, or name a ca_file"
    )]
    NoRoots {
        /// What the search for them said.
        why: String,
    },
    /// The private key cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The private key is none.
    #[error("{place} holds no private key that can be used: {why}; name one in PEM, PKCS#8")]
    Key {
        /// Where it is kept.
        place: SecretPlace,
        /// Why.
        why: String,
    },
    /// Our own certificate lacks its key, or the key its certificate.
    #[error("cert_file and key_file go together; name both, or none")]
    Half,
}

/// The client's side of TLS, with the authorities that the options name or that the system trusts.
///
/// # Errors
/// See [`TlsError`].
pub fn client_config(options: &TlsOptions) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::NoRoots { why: error.to_string() })?
        .with_root_certificates(roots(options)?);
    let config = match (&options.cert_file, &options.key_file) {
        (None, None) => builder.with_no_client_auth(),
        (Some(chain), Some(place)) => {
            let unfit = |why: String| TlsError::Key { place: place.clone(), why };
            let pem = place.read()?;
            let key = PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes());
            let key = key.map_err(|error| unfit(error.to_string()))?;
            builder
                .with_client_auth_cert(certificates(chain)?, key)
                .map_err(|error| unfit(error.to_string()))?
        }
        _ => return Err(TlsError::Half),
    };
    Ok(Arc::new(config))
}

/// The authorities that are trusted.
///
/// # Errors
/// When there are none.
pub fn authorities(options: &TlsOptions) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    if let Some(path) = &options.ca_file {
        return certificates(path);
    }
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoRoots { why: why.join(", ") });
    }
    Ok(found.certs)
}

fn roots(options: &TlsOptions) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // Systems have some that are odd, and those are of no use to anybody.
    let (added, _) = roots.add_parsable_certificates(authorities(options)?);
    match (added, &options.ca_file) {
        (0, Some(path)) => {
            Err(TlsError::Certificates { path: path.clone(), why: "none in it can be used".to_owned() })
        }
        (0, None) => Err(TlsError::NoRoots { why: "none can be used".to_owned() }),
        _ => Ok(roots),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fail = |why: String| TlsError::Certificates { path: path.to_path_buf(), why };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| fail(error.to_string()))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| fail(error.to_string()))?;
    if found.is_empty() { Err(fail("there is none in it".to_owned())) } else { Ok(found) }
}
