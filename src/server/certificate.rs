//! A certificate and its key: two PEM files, read and checked together, and shown to other commands of this machine.
//!
//! Whoever renews a certificate replaces two files, one after the other, by whatever means: written over, renamed, or
//! behind a symbolic link that is turned (certbot, Kubernetes). So what is in them is compared, not their times, and a
//! pair that does not fit together is not a failure yet: the second file may be on its way.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{CertificateError as Untrusted, Error, RootCertStore};

use crate::clock::Timestamp;

/// The largest file that is read: chains are some kilobytes, and a slip such as naming the store must not be read whole.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Why there is no certificate to serve with. Each is one line that names the file.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{}: {problem}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The key is another certificate's.
    #[error("{}: is not the key of the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The file with the key.
        key: PathBuf,
        /// The file with the certificate.
        certificate: PathBuf,
    },
    /// What tells other commands which certificate to trust cannot be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no randomness to make keys of.
    #[error("TLS cannot be set up: {0}")]
    Crypto(#[from] Error),
}

/// Where the two files are.
#[derive(Clone, Debug)]
pub(crate) struct PemFiles {
    certificate: PathBuf,
    key: PathBuf,
}

/// What is in them. Never printed.
pub(crate) struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// A certificate that can be served with.
pub(crate) struct Certificate {
    pub(crate) key: CertifiedKey,
    pub(crate) fingerprint: Fingerprint,
    /// When it expires, if that can be read.
    pub(crate) expires_at: Option<Timestamp>,
}

/// The SHA-256 of something: of a server's own certificate, or of a `Pair`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl PemFiles {
    pub(crate) fn new(certificate: &Path, key: &Path) -> Self {
        Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        }
    }

    /// What is in them now.
    pub(crate) fn read(&self) -> Result<Pair, CertificateError> {
        Ok(Pair {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        })
    }

    /// The pair as something that can be served with.
    pub(crate) fn understand(
        &self,
        pair: &Pair,
        provider: &CryptoProvider,
    ) -> Result<Certificate, CertificateError> {
        let chain = self.chain(&pair.certificate)?;
        let own = chain.first().ok_or_else(|| self.no_certificate())?.clone();
        let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|_| {
            let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
            unusable(
                &self.key,
                if contains(&pair.key, encrypted) {
                    "the private key is encrypted, and nobody is there to give the password"
                } else {
                    "must hold a private key in PEM form (-----BEGIN PRIVATE KEY-----)"
                },
            )
        })?;
        // Read by itself first, so that the file that is wrong is the one that is named.
        let parsed = ParsedCertificate::try_from(&own)
            .map_err(|error| unusable(&self.certificate, error))?;
        let expires_at = expiry(&parsed, provider);
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            Error::InconsistentKeys(_) => CertificateError::Mismatch {
                key: self.key.clone(),
                certificate: self.certificate.clone(),
            },
            error => unusable(&self.key, error),
        })?;
        Ok(Certificate {
            key,
            fingerprint: Fingerprint::of(&own),
            expires_at,
        })
    }

    /// Whether others than its owner can read the key.
    pub(crate) fn is_key_open(&self) -> bool {
        std::fs::metadata(&self.key).is_ok_and(|key| key.mode() & 0o007 != 0)
    }

    pub(crate) fn key(&self) -> &Path {
        &self.key
    }

    fn chain(&self, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| self.no_certificate())
    }

    fn no_certificate(&self) -> CertificateError {
        let problem = "must hold a certificate in PEM form (-----BEGIN CERTIFICATE-----), and those that lead to its issuer";
        unusable(&self.certificate, problem)
    }
}

impl Pair {
    /// Tells it from others without keeping a key.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let both = [
            digest(&SHA256, &self.certificate),
            digest(&SHA256, &self.key),
        ];
        Fingerprint::of(&both.map(|half| half.as_ref().to_vec()).concat())
    }
}

impl Fingerprint {
    /// That of these bytes: of a certificate, its DER.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Self(hash)
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:")?;
        let mut hash = [0; 32];
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// When a certificate expires. rustls has no accessor for it, but an error that tells it: so it is asked what it thinks of
/// the certificate at the end of time, which is the first thing that it looks at.
fn expiry(certificate: &ParsedCertificate<'_>, provider: &CryptoProvider) -> Option<Timestamp> {
    let end_of_time = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
    let verdict = verify_server_cert_signed_by_trust_anchor(
        certificate,
        &RootCertStore::empty(),
        &[],
        end_of_time,
        provider.signature_verification_algorithms.all,
    );
    match verdict {
        Err(Error::InvalidCertificate(Untrusted::ExpiredContext { not_after, .. })) => Some(
            Timestamp::from_millis(not_after.as_secs().saturating_mul(1000)),
        ),
        _ => None,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(read) if read as u64 > MAX_FILE_BYTES => Err(unusable(
            path,
            "is larger than 1 MiB, which no certificate is",
        )),
        Ok(_) => Ok(bytes),
        Err(source) => Err(CertificateError::Unreadable {
            path: path.to_owned(),
            source,
        }),
    }
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

fn unusable(path: &Path, problem: impl fmt::Display) -> CertificateError {
    CertificateError::Unusable {
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}
