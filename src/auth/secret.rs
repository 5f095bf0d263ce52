//! The hub's signing secret: 32 random bytes in a file that only its owner may read.
//!
//! The first command that needs it makes it, and several may at once (`serve` and `token` in one script). So it is
//! written beside its place and linked into it, which either happens whole or finds another's there: nobody ever reads
//! half a secret, and none is overwritten, for that would sign everybody out.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::private::tell_if_exposed;

/// The least length of a secret, in bytes: that of HS256's output (RFC 7518, section 3.2).
const MIN_BYTES: usize = 32;

/// The longest file that can be a secret, in bytes.
const MAX_FILE_BYTES: u64 = 4096;

const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why there is no secret. The messages name the file and hold nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file or its directory cannot be read or made.
    #[error("the signing secret {}: {reason}", path.display())]
    Io {
        /// The secret's file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The file holds something else. It is left as it is.
    #[error("the signing secret {}: must be at least 32 bytes in base64url; remove the file to have a new one made, which signs everybody out", path.display())]
    Unusable {
        /// The secret's file.
        path: PathBuf,
    },
}

/// What the hub signs its own tokens with.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Reads the secret at `path`, or makes one there (mode 0600), with its directory (mode 0700) if that is missing.
    /// A file that others than its owner can read works, and is warned about.
    ///
    /// # Errors
    /// If the file cannot be read or made, or holds no secret; it is never overwritten.
    pub fn load_or_create(path: &Path) -> Result<Self, SecretError> {
        let outcome = match Self::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(path).and_then(|()| Self::read(path))
            }
            outcome => outcome,
        };
        let unusable = || SecretError::Unusable {
            path: path.to_owned(),
        };
        match outcome {
            Ok(secret) => secret.ok_or_else(unusable),
            Err(reason) => Err(SecretError::Io {
                path: path.to_owned(),
                reason,
            }),
        }
    }

    /// A new one that is kept nowhere: tokens signed with it end with the process.
    pub fn random() -> Self {
        Self(random_bytes().to_vec())
    }

    /// As its file has it.
    pub(super) fn text(&self) -> String {
        BASE64URL.encode(&self.0)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// None if what is there is no secret.
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        tell_if_exposed(path, &file.metadata()?);
        let mut text = Vec::new();
        file.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
        let decoded = BASE64URL.decode(text.trim_ascii());
        Ok(decoded
            .ok()
            .filter(|bytes| bytes.len() >= MIN_BYTES)
            .map(Self))
    }
}

/// Says nothing of the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Makes a secret at `path`, unless somebody else does first.
fn create(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let draft = directory.join(format!(".secret-{}", uuid::Uuid::new_v4().simple()));
    let linked = write_new(&draft).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let removed = fs::remove_file(&draft);
    linked.and(removed)?;
    // The name is durable once its directory is: tokens must not outlive the secret that they were signed with.
    File::open(directory)?.sync_all()
}

fn write_new(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{}", BASE64URL.encode(random_bytes()))?;
    file.sync_all()
}

/// 32 bytes that nobody can guess.
///
/// # Panics
/// If the system has no randomness to give; nothing safe could follow.
pub(super) fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// As the secret's file and API keys write bytes: base64url without padding (RFC 4648, section 5).
pub(super) fn base64url(bytes: &[u8]) -> String {
    BASE64URL.encode(bytes)
}
