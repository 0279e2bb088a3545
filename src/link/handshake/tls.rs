//! As much of TLS as shows a certificate. It is looked at, never trusted: what the other side proves is nothing that
//! anybody here relies on, so the handshake ends as soon as the certificate is there.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, OtherError, SignatureScheme};

/// Begins TLS conversations.
pub(super) struct Greeter {
    provider: Arc<CryptoProvider>,
}

impl Greeter {
    pub(super) fn new() -> Self {
        Greeter { provider: Arc::new(ring::default_provider()) }
    }

    /// A conversation to come, with its first message ready.
    pub(super) fn greet(&self, ip: IpAddr) -> Option<Greeting> {
        let shown = Arc::new(Shown { provider: Arc::clone(&self.provider), certificate: Mutex::new(None) });
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .ok()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&shown) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        let client = ClientConnection::new(Arc::new(config), ServerName::IpAddress(ip.into())).ok()?;
        Some(Greeting { client, shown })
    }
}

/// A TLS conversation.
pub(super) struct Greeting {
    client: ClientConnection,
    shown: Arc<Shown>,
}

/// What came of the last bytes.
pub(super) enum Heard {
    /// More is needed.
    More,
    /// There is a certificate, or it is no TLS, or none that we speak.
    Enough,
}

impl Greeting {
    /// Understands what came in, and answers it.
    pub(super) fn hear(&mut self, mut bytes: &[u8], stream: &mut impl Write) -> Heard {
        while !bytes.is_empty() {
            // A slice gives what it has; nothing but the state of the conversation can refuse it.
            let taken = self.client.read_tls(&mut bytes as &mut dyn Read).unwrap_or(0);
            if taken == 0 || self.client.process_new_packets().is_err() || self.has_certificate() {
                return Heard::Enough;
            }
        }
        self.flush(stream);
        Heard::More
    }

    /// Says what is to be said. What a fresh connection does not take at once is not said: then nobody reads.
    pub(super) fn flush(&mut self, stream: &mut impl Write) {
        while self.client.wants_write() && self.client.write_tls(stream).is_ok_and(|count| count > 0) {}
    }

    /// The certificate, if one was shown.
    pub(super) fn certificate(&self) -> Option<Vec<u8>> {
        self.shown.certificate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn has_certificate(&self) -> bool {
        self.shown.certificate.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// Keeps the certificate and refuses it, which ends the handshake.
#[derive(Debug)]
struct Shown {
    provider: Arc<CryptoProvider>,
    certificate: Mutex<Option<Vec<u8>>>,
}

fn seen_enough() -> Error {
    Error::Other(OtherError(Arc::new(std::io::Error::other("only the certificate was wanted"))))
}

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut certificate = self.certificate.lock().unwrap_or_else(PoisonError::into_inner);
        *certificate = Some(end_entity.to_vec());
        Err(seen_enough())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(seen_enough())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(seen_enough())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
