//! Certificates for receivers in tests: an authority that nobody else trusts, and whom it vouches for.
//! Each test program uses its own part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// An authority, with its certificate as a file.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

/// A certificate and its key as files.
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(directory: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, directory.to_string_lossy().into_owned());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let authority = Authority { issuer, directory: directory.to_path_buf() };
        std::fs::write(authority.file(), authority.issuer.pem()).expect("write");
        authority
    }

    /// The certificate of the authority itself, PEM.
    pub fn file(&self) -> PathBuf {
        self.directory.join("authority.pem")
    }

    /// Vouches for somebody of this name.
    pub fn vouch(&self, name: &str) -> Identity {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let file = |end: &str| self.directory.join(format!("{name}.{end}"));
        let identity = Identity { certificate: file("pem"), key: file("key") };
        std::fs::write(&identity.certificate, certificate.pem()).expect("write");
        std::fs::write(&identity.key, key.serialize_pem()).expect("write");
        identity
    }

    /// A server of this name; one that wants to see the client's certificate, if it is so.
    pub fn server(&self, name: &str, asks: bool) -> Arc<ServerConfig> {
        let identity = self.vouch(name);
        let certificate = |path: &Path| CertificateDer::from_pem_file(path).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(&identity.key).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().expect("versions");
        let builder = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(certificate(&self.file())).expect("a root");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let config = builder.with_single_cert(vec![certificate(&identity.certificate)], key);
        Arc::new(config.expect("a server"))
    }
}
