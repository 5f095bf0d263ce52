//! Sessions of NextAuth.js and Auth.js, read as they are: whoever is signed in to the site is signed in here.
//!
//! Such a session is a cookie with an encrypted JWT (RFC 7516, `dir`), whose key follows from the site's secret by HKDF
//! (RFC 5869), with words that the library fixes. Version 5 (`authjs.session-token`) salts it with the cookie's own name
//! and encrypts with A256CBC-HS512, or A256GCM; version 4 (`next-auth.session-token`) with no salt and A256GCM. So one
//! cookie's session is no good under another name. What is longer than a cookie may be comes in parts, `.0`, `.1` ….
//!
//! The tag is checked, in a time that does not depend on it, before anything is decrypted, and every way to fail looks the
//! same from outside. A session carries no scopes of this hub; its roles may (`auth.role_scopes`).

use std::fmt;
use std::fs;
use std::path::PathBuf;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{digest, hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::claims::{self, Claims};
use super::issuer::{Checked, issued_at, lasts};
use super::secret::base64url;
use super::{AuthError, Scopes, User};
use crate::clock::Timestamp;
use crate::config;
use crate::private::tell_if_exposed;

/// The longest session, in bytes, all its parts together.
pub const MAX_SESSION_BYTES: usize = 64 * 1024;
/// The most parts that a session's cookie may come in.
pub const MAX_SESSION_CHUNKS: usize = 16;
/// The most secrets: each is tried.
const MAX_SECRETS: usize = 10;
/// The largest file of them, in bytes.
const MAX_FILE_BYTES: u64 = 4096;
/// Below this length a secret might be found by trying, by whoever has one session.
const SAFE_SECRET_BYTES: usize = 32;

/// What the cookies are called, in version 5 and in version 4.
const NAMES: [&str; 2] = ["authjs.session-token", "next-auth.session-token"];
/// A page without TLS cannot set one with a prefix, so those are believed first (RFC 6265bis, 4.1.3).
const PREFIXES: [&str; 3] = ["__Host-", "__Secure-", ""];

/// What version 4 derives its key with.
const V4_INFO: &str = "NextAuth.js Generated Encryption Key";

/// Why there are no secrets. The messages hold nothing of them.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The file cannot be read.
    #[error("auth.nextauth_secret_file: {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// There is none in it, or too many.
    #[error("auth.nextauth_secret_file: {}: must hold 1 to 10 secrets, one a line", path.display())]
    Secrets {
        /// The file.
        path: PathBuf,
    },
}

/// The cookies of a site's sessions, and what opens them.
pub(super) struct Sessions {
    cookies: Vec<Cookie>,
    user_claim: String,
    role_claims: Vec<String>,
}

struct Cookie {
    name: String,
    keys: Vec<SessionKey>,
}

impl Sessions {
    /// None if the configuration has no secret for them.
    pub(super) fn configured(config: &config::Auth) -> Result<Option<Self>, SessionError> {
        let mut secrets: Vec<String> = Vec::new();
        if let Some(secret) = &config.nextauth_secret {
            secrets.push(secret.text().to_owned());
        }
        if let Some(path) = &config.nextauth_secret_file {
            secrets.extend(read(path)?);
        }
        if secrets.is_empty() {
            return Ok(None);
        }
        if secrets.iter().any(|it| it.len() < SAFE_SECRET_BYTES) {
            tracing::warn!(
                "a NextAuth secret has less than {SAFE_SECRET_BYTES} bytes: whoever has a session may find it by trying"
            );
        }
        let own = config.nextauth_cookie.as_deref();
        let names = match &own {
            Some(name) => std::slice::from_ref(name),
            None => NAMES.as_slice(),
        };
        let cookies = names.iter().flat_map(|name| {
            let prefixes = if own.is_some() {
                &PREFIXES[2..]
            } else {
                &PREFIXES
            };
            prefixes.iter().map(move |prefix| format!("{prefix}{name}"))
        });
        Ok(Some(Self {
            cookies: cookies.map(|name| Cookie::new(name, &secrets)).collect(),
            user_claim: config.nextauth_user_claim.clone(),
            role_claims: config.nextauth_role_claims.clone(),
        }))
    }

    /// The cookies' names, those first that are believed first.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.cookies.iter().map(|cookie| cookie.name.as_str())
    }

    /// What a session says, if it was made with one of the secrets, for a cookie of this name.
    pub(super) fn check(
        &self,
        cookie: &str,
        session: &str,
        leeway: std::time::Duration,
        now: Timestamp,
    ) -> Result<Checked, AuthError> {
        if session.len() > MAX_SESSION_BYTES {
            return Err(AuthError::Malformed);
        }
        // What a database keeps sessions under is a random text, and says nothing to anybody else.
        if !session.contains('.') {
            return Err(AuthError::DatabaseSession);
        }
        let cookie = self.cookies.iter().find(|known| known.name == cookie);
        let claims = cookie.ok_or(AuthError::Session)?.open(session)?;
        let expires_at = lasts(&claims, leeway, now)?;
        let user = claims::at(&claims, &self.user_claim);
        let id = claims::name(user).ok_or(AuthError::Claim("user claim"))?;
        let roles = self.role_claims.iter();
        let roles = roles.filter_map(|path| claims::at(&claims, path));
        Ok(Checked {
            scopes: Scopes::default(),
            publisher: format!("user:nextauth/{id}").into(),
            user: User {
                roles: claims::usable_roles(&id, roles),
                id,
                expires_at,
                issued_at: issued_at(&claims),
            },
        })
    }
}

/// The parts of an encrypted JWT that are looked at (RFC 7516, section 4).
#[derive(Deserialize)]
struct Header {
    alg: String,
    enc: String,
    kid: Option<String>,
    /// An extension that must be understood, and compression: neither is.
    crit: Option<Value>,
    zip: Option<Value>,
}

impl Cookie {
    fn new(name: String, secrets: &[String]) -> Self {
        let v5 = format!("Auth.js Generated Encryption Key ({name})");
        let keys = secrets.iter().flat_map(|secret| {
            let derive = |salt: &str, info: &str, encryption: Encryption| {
                SessionKey::derive(secret.as_bytes(), salt, info, encryption).ok()
            };
            [
                derive(&name, &v5, Encryption::CbcHmac),
                derive(&name, &v5, Encryption::Gcm),
                derive("", V4_INFO, Encryption::Gcm),
            ]
        });
        let keys = keys.flatten().collect();
        Self { name, keys }
    }

    fn open(&self, session: &str) -> Result<Claims, AuthError> {
        let parts: Vec<&str> = session.split('.').collect();
        let &[head, "", iv, sealed, tag] = parts.as_slice() else {
            return Err(AuthError::Malformed);
        };
        let decoded = |part: &str| {
            let decoded = URL_SAFE_NO_PAD.decode(part);
            decoded.map_err(|_| AuthError::Malformed)
        };
        let header: Header =
            serde_json::from_slice(&decoded(head)?).map_err(|_| AuthError::Malformed)?;
        if header.alg != "dir" || header.crit.is_some() || header.zip.is_some() {
            return Err(AuthError::Algorithm);
        }
        let encryption = match header.enc.as_str() {
            "A256CBC-HS512" => Encryption::CbcHmac,
            "A256GCM" => Encryption::Gcm,
            _ => return Err(AuthError::Algorithm),
        };
        let (iv, sealed, tag) = (decoded(iv)?, decoded(sealed)?, decoded(tag)?);
        let fitting = self.keys.iter().filter(|key| {
            let named = header.kid.as_ref().is_none_or(|kid| *kid == key.kid);
            named && key.encryption() == encryption
        });
        for key in fitting {
            let mut sealed = sealed.clone();
            if let Ok(opened) = key.open(head.as_bytes(), &iv, &mut sealed, &tag) {
                return serde_json::from_slice(opened).map_err(|_| AuthError::Malformed);
            }
        }
        Err(AuthError::Session)
    }
}

/// How a session is encrypted (RFC 7518, section 5.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encryption {
    CbcHmac,
    Gcm,
}

struct SessionKey {
    /// Its thumbprint (RFC 7638), by which version 5 names it.
    kid: String,
    cipher: Cipher,
}

enum Cipher {
    CbcHmac {
        mac: Box<hmac::Key>,
        encryption: [u8; 32],
    },
    Gcm(LessSafeKey),
}

impl SessionKey {
    fn derive(
        secret: &[u8],
        salt: &str,
        info: &str,
        encryption: Encryption,
    ) -> Result<Self, Unspecified> {
        let mut key = [0; 64];
        let key = match encryption {
            Encryption::CbcHmac => &mut key[..],
            Encryption::Gcm => &mut key[..32],
        };
        hkdf::Salt::new(hkdf::HKDF_SHA256, salt.as_bytes())
            .extract(secret)
            .expand(&[info.as_bytes()], Length(key.len()))?
            .fill(key)?;
        let jwk = format!(r#"{{"k":"{}","kty":"oct"}}"#, base64url(key));
        let (hash, cipher) = match encryption {
            Encryption::CbcHmac => {
                let (mac, rest) = key.split_at(32);
                let mut encryption = [0; 32];
                encryption.copy_from_slice(rest);
                let mac = Box::new(hmac::Key::new(hmac::HMAC_SHA512, mac));
                (&digest::SHA512, Cipher::CbcHmac { mac, encryption })
            }
            Encryption::Gcm => {
                let key = UnboundKey::new(&AES_256_GCM, key)?;
                (&digest::SHA256, Cipher::Gcm(LessSafeKey::new(key)))
            }
        };
        Ok(Self {
            kid: base64url(digest::digest(hash, jwk.as_bytes()).as_ref()),
            cipher,
        })
    }

    fn encryption(&self) -> Encryption {
        match self.cipher {
            Cipher::CbcHmac { .. } => Encryption::CbcHmac,
            Cipher::Gcm(_) => Encryption::Gcm,
        }
    }

    /// What was sealed, if the tag is right.
    fn open<'a>(
        &self,
        head: &[u8],
        iv: &[u8],
        sealed: &'a mut Vec<u8>,
        tag: &[u8],
    ) -> Result<&'a [u8], Unspecified> {
        match &self.cipher {
            Cipher::CbcHmac { mac, encryption } => {
                let iv: [u8; 16] = iv.try_into().map_err(|_| Unspecified)?;
                // RFC 7518, 5.2.2.1: head, vector, text and the head's length in bits; the first half is the tag.
                let mut signed = hmac::Context::with_key(mac);
                signed.update(head);
                signed.update(&iv);
                signed.update(sealed);
                signed.update(&(8 * head.len() as u64).to_be_bytes());
                let expected = signed.sign();
                verify_slices_are_equal(tag, &expected.as_ref()[..32])?;
                let key = UnboundCipherKey::new(&AES_256, encryption)?;
                let context = DecryptionContext::Iv128(FixedLength::from(iv));
                let opened = PaddedBlockDecryptingKey::cbc_pkcs7(key)?.decrypt(sealed, context)?;
                Ok(opened)
            }
            Cipher::Gcm(key) => {
                let iv: [u8; 12] = iv.try_into().map_err(|_| Unspecified)?;
                // A shorter tag would be easier to guess.
                if tag.len() != AES_256_GCM.tag_len() {
                    return Err(Unspecified);
                }
                sealed.extend_from_slice(tag);
                let nonce = Nonce::assume_unique_for_key(iv);
                let opened = key.open_in_place(nonce, Aad::from(head), sealed)?;
                Ok(opened)
            }
        }
    }
}

/// How many bytes HKDF is to give.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// The secrets in a file, one a line: the site's present one, and those from before.
fn read(path: &std::path::Path) -> Result<Vec<String>, SessionError> {
    let unreadable = |reason| SessionError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    tell_if_exposed(path, &metadata);
    let wrong = || SessionError::Secrets {
        path: path.to_owned(),
    };
    if metadata.len() > MAX_FILE_BYTES {
        return Err(wrong());
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let secrets: Vec<String> = lines.map(str::to_owned).collect();
    if secrets.is_empty() || secrets.len() > MAX_SECRETS {
        return Err(wrong());
    }
    Ok(secrets)
}

/// Says nothing of the secrets.
impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}
