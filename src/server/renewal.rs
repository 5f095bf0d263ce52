//! The certificate that is served now, and the next one when it has come.
//!
//! The files are read every few seconds and compared with what was read before. A new pair is served from the next handshake
//! on; connections that are open keep what they were made with. A pair that cannot be served changes nothing: it is said
//! once, and not before it has been found twice, for the second file may have been on its way.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::certificate::{Certificate, CertificateError, Fingerprint, PemFiles};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::events;

/// So long before a certificate's end somebody should see to it: what renews it by itself has been failing for weeks.
const EXPIRES_SOON: Duration = Duration::from_hours(7 * 24);
/// How often that is said.
const REMIND: Duration = Duration::from_hours(24);

/// The certificate that is served.
#[derive(Debug)]
pub(super) struct Current(RwLock<Arc<CertifiedKey>>);

/// Looks after it. There is one for each hub.
pub(super) struct Renewal {
    files: PemFiles,
    provider: Arc<CryptoProvider>,
    every: Duration,
    /// Where other commands of this machine read which certificate to trust.
    pins: Option<PathBuf>,
    current: Arc<Current>,
    /// What was in the files when they were last served from.
    served: Fingerprint,
    fingerprint: Fingerprint,
    expires_at: Option<Timestamp>,
    reminded: Option<Instant>,
    doubt: Option<Doubt>,
}

/// Something in the files that cannot be served.
#[derive(PartialEq, Eq)]
struct Doubt {
    error: String,
    pair: Option<Fingerprint>,
    said: bool,
}

/// What a look at the files has found.
enum Found {
    Same,
    New(Fingerprint, Box<Certificate>),
    Unusable(Option<Fingerprint>, CertificateError),
}

impl Renewal {
    /// Reads the files that the configuration names, if it names any. Blocks on the disk.
    pub(super) fn begin(
        config: &Config,
        provider: Arc<CryptoProvider>,
        pins: Option<PathBuf>,
    ) -> Result<Option<Self>, CertificateError> {
        let (Some(certificate), Some(key)) = (&config.tls.certificate, &config.tls.key) else {
            return Ok(None);
        };
        let files = PemFiles::new(certificate, key);
        let pair = files.read()?;
        let certificate = files.understand(&pair, &provider)?;
        if files.is_key_open() {
            let key = files.key().display();
            tracing::warn!("others can read the key of the certificate, {key}: chmod 600 it");
        }
        let renewal = Self {
            files,
            provider,
            every: config.tls.reload,
            pins,
            current: Arc::new(Current(RwLock::new(Arc::new(certificate.key)))),
            served: pair.fingerprint(),
            fingerprint: certificate.fingerprint,
            expires_at: certificate.expires_at,
            reminded: None,
            doubt: None,
        };
        renewal.pin(&[renewal.fingerprint])?;
        Ok(Some(renewal))
    }

    pub(super) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current)
    }

    /// Looks at the files for ever.
    pub(super) async fn watch(mut self) -> Infallible {
        let mut look = interval(self.every);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            self.remind(Timestamp::now());
            let (files, provider, served) =
                (self.files.clone(), Arc::clone(&self.provider), self.served);
            let found = tokio::task::spawn_blocking(move || find(&files, &provider, served));
            match found.await {
                Ok(Found::Same) => self.doubt = None,
                Ok(Found::New(pair, certificate)) => self.renew(pair, *certificate),
                Ok(Found::Unusable(pair, error)) => self.doubt(pair, error.to_string()),
                Err(error) => tracing::warn!(%error, "looking at the certificate was cut short"),
            }
        }
    }

    fn renew(&mut self, pair: Fingerprint, certificate: Certificate) {
        // Before it is served, and with the one before it: a command that has just read this finds either of them.
        if let Err(error) = self.pin(&[certificate.fingerprint, self.fingerprint]) {
            tracing::warn!(%error, "other commands of this machine will not trust the new certificate");
        }
        self.current.set(Arc::new(certificate.key));
        (self.served, self.fingerprint) = (pair, certificate.fingerprint);
        (self.expires_at, self.reminded, self.doubt) = (certificate.expires_at, None, None);
        tracing::info!(
            event = events::CERTIFICATE_RELOADED,
            fingerprint = %self.fingerprint,
            expires = %self.expires_at.unwrap_or(Timestamp::MAX),
            "the new certificate is served"
        );
    }

    fn doubt(&mut self, pair: Option<Fingerprint>, error: String) {
        let new = Doubt {
            error,
            pair,
            said: false,
        };
        match &mut self.doubt {
            Some(doubt) if doubt.pair == new.pair && doubt.error == new.error => {
                if !std::mem::replace(&mut doubt.said, true) {
                    tracing::warn!(
                        event = events::CERTIFICATE_REJECTED,
                        error = %new.error,
                        "what is in the files cannot be served; the certificate from before still is"
                    );
                }
            }
            doubt => *doubt = Some(new),
        }
    }

    fn remind(&mut self, now: Timestamp) {
        let Some(expires_at) = self.expires_at else {
            return;
        };
        let left = expires_at.since(now);
        let reminded = self.reminded.is_some_and(|at| at.elapsed() < REMIND);
        if left > EXPIRES_SOON || reminded {
            return;
        }
        self.reminded = Some(Instant::now());
        tracing::warn!(
            event = events::CERTIFICATE_EXPIRES,
            expires = %expires_at,
            days = left.as_secs() / (24 * 60 * 60),
            "the certificate expires, or has expired, and no new one is in its place"
        );
    }

    /// Written beside its place and renamed: nobody reads half of it.
    fn pin(&self, fingerprints: &[Fingerprint]) -> Result<(), CertificateError> {
        let Some(path) = &self.pins else {
            return Ok(());
        };
        let lines: String = fingerprints.iter().map(|it| format!("{it}\n")).collect();
        let draft = path.with_extension("new");
        let written = std::fs::write(&draft, lines).and_then(|()| std::fs::rename(&draft, path));
        written.map_err(|source| CertificateError::Unwritable {
            path: path.clone(),
            source,
        })
    }
}

/// Looks at the files once.
fn find(files: &PemFiles, provider: &CryptoProvider, served: Fingerprint) -> Found {
    let pair = match files.read() {
        Ok(pair) => pair,
        Err(error) => return Found::Unusable(None, error),
    };
    let fingerprint = pair.fingerprint();
    if fingerprint == served {
        return Found::Same;
    }
    match files.understand(&pair, provider) {
        Ok(certificate) => Found::New(fingerprint, Box::new(certificate)),
        Err(error) => Found::Unusable(Some(fingerprint), error),
    }
}

impl Current {
    fn set(&self, key: Arc<CertifiedKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = key;
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}
