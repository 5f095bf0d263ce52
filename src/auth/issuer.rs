//! Who signs tokens, and what each of them may say: the hub itself, and the issuers that the configuration names.
//!
//! An issuer speaks through its own keys only, and only about this hub: what it has signed for other applications is
//! refused by its audience, and what `scope` means there it does not mean here. All of them speak of the same users: 42 is
//! 42, whoever signed it in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, Header};
use serde_json::Value;

use super::claims::{self, Claims};
use super::jwks::Jwks;
use super::scope::{Scope, Scopes};
use super::verification::{KeyError, VerificationKey};
use super::{AuthError, OWN_ISSUER, Secret, User};
use crate::clock::Timestamp;
use crate::config;
use crate::private::tell_if_exposed;

/// The largest file with keys, in bytes.
const MAX_KEY_FILE_BYTES: u64 = 256 * 1024;

/// What issuers without a name are called where a publisher is named.
const UNNAMED: &str = "jwt";

/// Why the keys of another issuer cannot be used. The message names the file and holds nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The file cannot be read.
    #[error("auth.issuers: {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// There is no key in it.
    #[error("auth.issuers: {}: {problem}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: KeyError,
    },
}

/// Somebody who signs tokens.
pub(super) struct Issuer {
    /// Its `iss`; none: whatever stands there, but for the hub's own.
    name: Option<String>,
    keys: Keys,
    audience: Audience,
    user_claim: String,
    role_claims: Vec<String>,
    scope_claim: String,
    scope_words: fn(&str) -> Option<Scope>,
}

enum Keys {
    Fixed(Vec<VerificationKey>),
    Fetched(Arc<Jwks>),
}

/// Whom a token must be meant for.
enum Audience {
    /// One of these, in this claim.
    Named { claim: String, names: Vec<String> },
    /// Nobody in particular.
    Unnamed,
    /// Anybody.
    Any,
}

/// What a token says of whoever presents it.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) user: User,
    pub(super) scopes: Scopes,
    pub(super) publisher: Arc<str>,
}

/// A token that its issuer has signed, and that is meant for this hub: whenever it was looked at.
pub(super) struct Verified {
    pub(super) checked: Checked,
    lasts: Validity,
    /// Where the issuer may change its keys: where they are found, and those that it was checked with.
    fetched: Option<(Arc<Jwks>, Arc<Vec<VerificationKey>>)>,
}

impl Verified {
    /// Whether it may be used at this moment.
    pub(super) fn at(&self, leeway: Duration, now: Timestamp) -> Result<&Checked, AuthError> {
        self.lasts.at(leeway, now).map(|()| &self.checked)
    }

    /// Whether the keys that it was checked with are the ones that its issuer has now.
    pub(super) fn has_present_keys(&self) -> bool {
        let Some((jwks, then)) = &self.fetched else {
            return true;
        };
        jwks.keys().is_some_and(|now| Arc::ptr_eq(&now, then))
    }
}

/// From when to when a token may be used.
#[derive(Clone, Copy)]
struct Validity {
    not_before: Option<Timestamp>,
    expires_at: Timestamp,
}

impl Validity {
    fn of(claims: &Claims) -> Result<Self, AuthError> {
        let expires_at = claims.get("exp").and_then(claims::moment);
        let expires_at = expires_at.ok_or(AuthError::Claim("exp"))?;
        let not_before = match claims.get("nbf") {
            None => None,
            Some(moment) => Some(claims::moment(moment).ok_or(AuthError::Claim("nbf"))?),
        };
        Ok(Self {
            not_before,
            expires_at,
        })
    }

    fn at(self, leeway: Duration, now: Timestamp) -> Result<(), AuthError> {
        if now >= self.expires_at.saturating_add(leeway) {
            return Err(AuthError::Expired);
        }
        match self.not_before {
            Some(moment) if now.saturating_add(leeway) < moment => Err(AuthError::NotYetValid),
            _ => Ok(()),
        }
    }
}

impl Issuer {
    /// The hub itself.
    pub(super) fn own(secret: &Secret, config: &config::Auth) -> Self {
        let key = VerificationKey::secret(secret.bytes(), &[Algorithm::HS256]);
        Self {
            name: Some(OWN_ISSUER.to_owned()),
            keys: Keys::Fixed(vec![key]),
            audience: match &config.audience {
                Some(audience) => Audience::Named {
                    claim: "aud".to_owned(),
                    names: vec![audience.clone()],
                },
                None => Audience::Unnamed,
            },
            user_claim: "sub".to_owned(),
            role_claims: vec!["roles".to_owned()],
            scope_claim: "scope".to_owned(),
            scope_words: |word| word.parse().ok(),
        }
    }

    /// One of the configuration's; its files are read.
    pub(super) fn configured(
        issuer: &config::Issuer,
        auth: &config::Auth,
    ) -> Result<Self, IssuerError> {
        let names = match (&issuer.audience, &auth.audience) {
            (named, _) if !named.is_empty() => named.clone(),
            (_, Some(audience)) => vec![audience.clone()],
            _ => Vec::new(),
        };
        Ok(Self {
            name: issuer.issuer.clone(),
            keys: Keys::of(issuer, auth.jwks_refresh)?,
            audience: if issuer.any_audience || names.is_empty() {
                Audience::Any
            } else {
                Audience::Named {
                    claim: issuer.audience_claim.clone(),
                    names,
                }
            },
            user_claim: issuer.user_claim.clone(),
            role_claims: issuer.role_claims.clone(),
            scope_claim: issuer.scope_claim.clone(),
            scope_words: |word| word.strip_prefix("campanile:")?.parse().ok(),
        })
    }

    /// Whether a token that names this issuer, or none, may be its.
    pub(super) fn may_be(&self, named: Option<&str>) -> bool {
        match (&self.name, named) {
            (Some(own), Some(named)) => own == named,
            (Some(own), None) => own == OWN_ISSUER,
            (None, named) => named != Some(OWN_ISSUER),
        }
    }

    /// Whether it has this very name.
    pub(super) fn is_called(&self, name: Option<&str>) -> bool {
        self.name.is_some() && self.name.as_deref() == name
    }

    /// The set that it publishes its keys in, if it does.
    pub(super) fn jwks(&self) -> Option<&Arc<Jwks>> {
        match &self.keys {
            Keys::Fixed(_) => None,
            Keys::Fetched(jwks) => Some(jwks),
        }
    }

    /// What a token of its says, if it has signed it and it is meant for this hub now.
    pub(super) fn check(
        &self,
        token: &str,
        header: &Header,
        leeway: Duration,
        now: Timestamp,
    ) -> Result<Verified, AuthError> {
        let (claims, fetched) = match &self.keys {
            Keys::Fixed(keys) => (claims_by(keys, token, header)?, None),
            Keys::Fetched(jwks) => {
                let keys = jwks.keys().ok_or(AuthError::KeysUnavailable)?;
                let claims = claims_by(&keys, token, header)?;
                (claims, Some((Arc::clone(jwks), keys)))
            }
        };
        self.is_meant(&claims)?;
        let lasts = Validity::of(&claims)?;
        lasts.at(leeway, now)?;
        let subject = claims::at(&claims, &self.user_claim);
        let missing = match self.user_claim.as_str() {
            "sub" => AuthError::Claim("sub"),
            _ => AuthError::Claim("user claim"),
        };
        let id = claims::name(subject).ok_or(missing)?;
        let roles = self.role_claims.iter();
        let roles = roles.filter_map(|path| claims::at(&claims, path));
        let roles = claims::usable_roles(&id, roles);
        let scopes = claims::texts(claims::at(&claims, &self.scope_claim));
        let scopes = scopes.flat_map(str::split_whitespace);
        let issuer = self.name.as_deref().unwrap_or(UNNAMED);
        let checked = Checked {
            scopes: scopes.filter_map(self.scope_words).collect(),
            publisher: format!("user:{issuer}/{id}").into(),
            user: User {
                id,
                roles,
                expires_at: lasts.expires_at,
                issued_at: issued_at(&claims),
            },
        };
        Ok(Verified {
            checked,
            lasts,
            fetched,
        })
    }

    fn is_meant(&self, claims: &Claims) -> Result<(), AuthError> {
        let issuer = claims.get("iss");
        let named = match issuer {
            None | Some(Value::Null) => None,
            Some(Value::String(issuer)) => Some(issuer.as_str()),
            Some(_) => return Err(AuthError::Claim("iss")),
        };
        if !self.may_be(named) {
            return Err(AuthError::Issuer);
        }
        match &self.audience {
            Audience::Any => Ok(()),
            // RFC 7519, 4.1.3: with no name of its own, a hub is not who any audience means.
            Audience::Unnamed if claims.contains_key("aud") => Err(AuthError::Audience),
            Audience::Unnamed => Ok(()),
            Audience::Named { claim, names } => {
                let mut meant = claims::texts(claims::at(claims, claim));
                let ours = |meant: &str| names.iter().any(|name| name == meant);
                meant.any(ours).then_some(()).ok_or(AuthError::Audience)
            }
        }
    }
}

/// The claims, by the key that the token names; if it names none, by the first that it turns out to be.
fn claims_by(keys: &[VerificationKey], token: &str, header: &Header) -> Result<Claims, AuthError> {
    let mut error = AuthError::UnknownKeyId;
    for key in keys {
        if !key.may_be(header.kid.as_deref()) {
            continue;
        }
        match key.verify(token) {
            Ok(claims) => return Ok(claims),
            // A signature that does not match says more than a key that is for something else.
            Err(AuthError::Algorithm) if error == AuthError::BadSignature => {}
            Err(other) => error = other,
        }
    }
    Err(error)
}

/// When the token was issued, if it says so in a way that can be read.
pub(super) fn issued_at(claims: &Claims) -> Option<Timestamp> {
    claims.get("iat").and_then(claims::moment)
}

/// When the token ends, unless that or its beginning keeps it from being used now.
pub(super) fn lasts(
    claims: &Claims,
    leeway: Duration,
    now: Timestamp,
) -> Result<Timestamp, AuthError> {
    let validity = Validity::of(claims)?;
    validity.at(leeway, now).map(|()| validity.expires_at)
}

impl Keys {
    fn of(issuer: &config::Issuer, refresh: Duration) -> Result<Self, IssuerError> {
        let algorithms: Vec<Algorithm> = issuer.algorithms.iter().map(|it| (*it).into()).collect();
        let no_key = |path: &Path, problem| IssuerError::Key {
            path: path.to_owned(),
            problem,
        };
        if let Some(url) = &issuer.jwks_url {
            let name = issuer.issuer.as_deref().unwrap_or(UNNAMED);
            let jwks = Jwks::new(name, url, algorithms, refresh);
            return Ok(Self::Fetched(Arc::new(jwks)));
        }
        if let Some(path) = &issuer.secret_file {
            let (text, metadata) = read(path)?;
            tell_if_exposed(path, &metadata);
            let key = VerificationKey::secret_text(&text, &algorithms);
            let key = key.map_err(|problem| no_key(path, problem))?;
            return Ok(Self::Fixed(vec![key]));
        }
        // That there is exactly one source of keys the configuration has seen to.
        let path = issuer.key_file.clone().unwrap_or_default();
        let (text, _) = read(&path)?;
        let keys = match std::str::from_utf8(&text) {
            Ok(text) => VerificationKey::public(text, &algorithms),
            Err(_) => Err(KeyError::NoKey),
        };
        keys.map(Self::Fixed)
            .map_err(|problem| no_key(&path, problem))
    }
}

/// A file, and what is known of it.
fn read(path: &Path) -> Result<(Vec<u8>, fs::Metadata), IssuerError> {
    let unreadable = |reason| IssuerError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.len() > MAX_KEY_FILE_BYTES {
        return Err(unreadable(std::io::Error::other(
            "it is larger than 256 KiB",
        )));
    }
    let text = fs::read(path).map_err(unreadable)?;
    Ok((text, metadata))
}
