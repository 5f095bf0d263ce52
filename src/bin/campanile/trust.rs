//! Whom a command that calls a hub believes to be that hub.
//!
//! A hub on this machine is called at the address that it listens on, which is in no certificate. But it has written into its
//! data directory, which nobody else can write to, which certificates it serves: those are trusted, whatever stands in
//! them, and no others. Any other hub must have a certificate for its name, from an authority that this system trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use campanile::server::Fingerprint;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
};

/// The longest file of certificates that is read, in bytes.
const MAX_BYTES: usize = 1024;

/// What vouches for a hub.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// The authorities that this system trusts.
    System,
    /// What the hub has written into this file. It is read for each client anew, since certificates are renewed.
    Written(PathBuf),
}

/// Takes these certificates, whatever stands in them, from whoever has their key.
#[derive(Debug)]
struct Pinned {
    certificates: Vec<Fingerprint>,
    provider: Arc<CryptoProvider>,
}

/// What TLS is spoken with to a hub whose certificates stand in this file.
pub(crate) fn pinned(path: &Path) -> anyhow::Result<ClientConfig> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let certificates: Option<Vec<_>> = text.lines().map(Fingerprint::parse).collect();
    let certificates = certificates.filter(|it| !it.is_empty() && text.len() <= MAX_BYTES);
    let certificates = certificates
        .with_context(|| format!("{} holds no certificates' SHA-256", path.display()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Pinned {
        certificates,
        provider: Arc::clone(&provider),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("cannot set TLS up")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.certificates.contains(&Fingerprint::of(end_entity)) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
