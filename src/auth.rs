//! Tokens and keys in, a [`Caller`] out. Nothing here knows of HTTP, so the same rules hold wherever a token comes from.
//!
//! A credential is either a JWT, which names a user, or an API key (`cmp_…`), which names a program and holds no
//! stream. Each verification key has one issuer and one family of algorithms, fixed here and never taken from the token's
//! header (RFC 8725, sections 3.1 and 3.8): the hub's own secret with HS256, and the keys of the issuers that the
//! configuration names. What goes wrong is told in words that are safe to show: no message and no log line ever holds a
//! token.

mod claims;
mod error;
mod issuer;
mod jwks;
mod keys;
mod known;
mod nextauth;
mod revocations;
mod scope;
mod secret;
mod tickets;
mod verification;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use futures::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use self::error::AuthError;
pub use self::issuer::IssuerError;
use self::issuer::{Checked, Issuer, Verified};
pub use self::keys::{KEY_PREFIX, KeyRing, StoredKey, new_key};
use self::known::Known;
use self::nextauth::Sessions;
pub use self::nextauth::{MAX_SESSION_BYTES, MAX_SESSION_CHUNKS, SessionError};
pub use self::revocations::Revocations;
pub use self::scope::{Scope, Scopes, UnknownScope};
pub use self::secret::{Secret, SecretError};
use self::tickets::Tickets;
pub use self::tickets::{MAX_TICKETS, MAX_TICKETS_OF_ONE, TICKET_LIFETIME, Ticket, TicketError};
pub use self::verification::KeyError;
use crate::audience::identifier;
use crate::clock::Timestamp;
use crate::config;

/// The issuer of the hub's own tokens, and the one that is meant when a token names none.
pub const OWN_ISSUER: &str = "campanile";

/// How many of a token's usable roles count; the rest is left out, and logged.
pub const MAX_TOKEN_ROLES: usize = 32;

/// The longest credential that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// A user as a token describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The token's `sub`, as [`identifier`] normalises it.
    pub id: Arc<str>,
    /// Their roles, normalised, each once, in the token's order; at most [`MAX_TOKEN_ROLES`].
    pub roles: Arc<[Arc<str>]>,
    /// The token's `exp`: their streams end then.
    pub expires_at: Timestamp,
    /// The token's `iat`. Without it, or with one from before, a user who was revoked is refused.
    pub issued_at: Option<Timestamp>,
}

/// Whoever calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Somebody with a token.
    User {
        /// Who.
        user: User,
        /// From the token's `scope`, and from the roles that the configuration gives scopes.
        scopes: Scopes,
        /// See [`Caller::publisher`].
        publisher: Arc<str>,
    },
    /// A program with an API key.
    Key {
        /// The key's name.
        name: Arc<str>,
        /// What the key was made for.
        scopes: Scopes,
    },
}

impl Caller {
    /// What they may do beyond reading what is theirs.
    pub fn scopes(&self) -> Scopes {
        match self {
            Self::User { scopes, .. } | Self::Key { scopes, .. } => *scopes,
        }
    }

    /// The user; none for an API key, which holds no stream and no inbox.
    pub fn user(&self) -> Option<&User> {
        match self {
            Self::User { user, .. } => Some(user),
            Self::Key { .. } => None,
        }
    }

    /// Under which name they publish: `key:<name>`, or `user:<issuer>/<sub>`. It stays the same when a token is
    /// renewed or a signing key is changed, for idempotency is scoped to it.
    pub fn publisher(&self) -> Arc<str> {
        match self {
            Self::User { publisher, .. } => Arc::clone(publisher),
            Self::Key { name, .. } => format!("key:{name}").into(),
        }
    }
}

/// What [`Authenticator::mint`] writes into a token.
#[derive(Debug, Clone)]
pub struct Mint {
    /// `sub`.
    pub user: String,
    /// `roles`.
    pub roles: Vec<String>,
    /// `scope`.
    pub scopes: Scopes,
    /// From now to `exp`, rounded up to whole seconds.
    pub ttl: Duration,
}

/// Checks credentials, and mints the hub's own tokens.
pub struct Authenticator {
    own: Issuer,
    /// The others that the configuration names.
    issuers: Vec<Issuer>,
    sessions: Option<Sessions>,
    signing: EncodingKey,
    keys: KeyRing,
    leeway: Duration,
    audience: Option<String>,
    role_scopes: BTreeMap<Arc<str>, Scopes>,
    /// The SHA-256 of the cron secret's text, if there is one.
    cron: Option<[u8; 32]>,
    known: Known,
    tickets: Tickets,
    revocations: Revocations,
}

impl Authenticator {
    /// With this secret, these rules and no API keys yet: see [`Authenticator::keys`].
    pub fn new(secret: Secret, config: &config::Auth) -> Self {
        let role_scopes = config.role_scopes.iter().filter_map(|(role, scopes)| {
            Some((identifier(role).ok()?, scopes.iter().copied().collect()))
        });
        Self {
            own: Issuer::own(&secret, config),
            issuers: Vec::new(),
            sessions: None,
            signing: EncodingKey::from_secret(secret.bytes()),
            keys: KeyRing::default(),
            leeway: config.leeway,
            audience: config.audience.clone(),
            role_scopes: role_scopes.collect(),
            cron: None,
            known: Known::default(),
            tickets: Tickets::default(),
            revocations: Revocations::default(),
        }
    }

    /// With the other issuers that the configuration names. Where their keys are in files, those are read; where they are at
    /// URLs, the hub fetches them once it has started.
    ///
    /// # Errors
    /// A file that cannot be read, or holds no key.
    pub fn with_issuers(self, config: &config::Auth) -> Result<Self, IssuerError> {
        let issuers = config.issuers.iter();
        let issuers = issuers.map(|issuer| Issuer::configured(issuer, config));
        Ok(Self {
            issuers: issuers.collect::<Result<_, _>>()?,
            ..self
        })
    }

    /// With the sessions of the site whose secret the configuration has, if it has one.
    ///
    /// # Errors
    /// A file that cannot be read, or holds no secret.
    pub fn with_sessions(self, config: &config::Auth) -> Result<Self, SessionError> {
        Ok(Self {
            sessions: Sessions::configured(config)?,
            ..self
        })
    }

    /// With a cron secret, which opens `/cron/check-overdue` and nothing else.
    #[must_use]
    pub fn with_cron_secret(self, secret: &Secret) -> Self {
        Self {
            cron: Some(sha256(secret.text().as_bytes())),
            ..self
        }
    }

    /// Whether this is the cron secret. What was sent and what is expected are compared as hashes, in a time that depends on
    /// neither.
    ///
    /// # Errors
    /// [`AuthError::Cron`] if it is not, or there is none.
    pub fn cron(&self, credential: &str) -> Result<(), AuthError> {
        let given = sha256(credential.as_bytes());
        let expected = self.cron.ok_or(AuthError::Cron)?;
        verify_slices_are_equal(&given, &expected).map_err(|_| AuthError::Cron)
    }

    /// The users whose credentials were taken back.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// The API keys.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Whose credential this is: an API key if it begins with [`KEY_PREFIX`], else a JWT. Keys of other issuers are taken
    /// as they have been fetched so far: see [`Authenticator::authenticate`].
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn token(&self, token: &str, now: Timestamp) -> Result<Caller, AuthError> {
        match self.api_key(token)? {
            Some(caller) => Ok(caller),
            None => self.caller(&self.verify(token, now)?.checked),
        }
    }

    /// Whose API key it is; none if it is not one.
    fn api_key(&self, token: &str) -> Result<Option<Caller>, AuthError> {
        if token.is_empty() {
            return Err(AuthError::Missing);
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::Malformed);
        }
        if token.starts_with(KEY_PREFIX) {
            return self.keys.caller(token).map(Some);
        }
        Ok(None)
    }

    /// A ticket for one stream of this caller's, good for [`TICKET_LIFETIME`] and no longer than their token.
    ///
    /// # Errors
    /// Why there is none.
    pub fn issue_ticket(&self, caller: &Caller, now: Timestamp) -> Result<Ticket, TicketError> {
        self.tickets.issue(caller, now)
    }

    /// Whose ticket this is: the user as their token described them, without its scopes. It is spent then, whatever the
    /// answer.
    ///
    /// # Errors
    /// [`AuthError::Ticket`] if it is spent, expired or unknown; [`AuthError::UserRevoked`].
    pub fn redeem_ticket(&self, ticket: &str, now: Timestamp) -> Result<Caller, AuthError> {
        let caller = self.tickets.redeem(ticket, now)?;
        match caller.user() {
            Some(user) => self.revocations.check(user).map(|()| caller),
            None => Err(AuthError::Ticket),
        }
    }

    /// The same, and where an issuer's keys have to be fetched for it, that is waited for.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub async fn authenticate(&self, token: &str, now: Timestamp) -> Result<Caller, AuthError> {
        match self.api_key(token)? {
            Some(caller) => Ok(caller),
            None => self.caller(&self.verify_with_latest_keys(token, now).await?.checked),
        }
    }

    /// The same for credentials that come again and again: of a token that was found right lately, only that is checked which
    /// can have changed since.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub async fn recognise(&self, token: &str, now: Timestamp) -> Result<Caller, AuthError> {
        if let Some(caller) = self.api_key(token)? {
            return Ok(caller);
        }
        if let Some(known) = self.known.find(token)
            && known.has_present_keys()
        {
            return self.caller(known.at(self.leeway, now)?);
        }
        let verified = self.verify_with_latest_keys(token, now).await?;
        let caller = self.caller(&verified.checked)?;
        self.known.remember(token, verified);
        Ok(caller)
    }

    /// The cookies that may hold a site's session, those first that are believed first.
    pub fn session_cookies(&self) -> impl Iterator<Item = &str> {
        self.sessions.iter().flat_map(Sessions::names)
    }

    /// Whose session this is, from the cookie of this name, all its parts together. A site may have told its library to
    /// sign sessions instead of encrypting them: then it is checked like any other token.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub async fn session(
        &self,
        cookie: &str,
        session: &str,
        now: Timestamp,
    ) -> Result<Caller, AuthError> {
        let sessions = self.sessions.as_ref().ok_or(AuthError::Missing)?;
        if session.matches('.').count() == 2 {
            return self.authenticate(session, now).await;
        }
        let checked = sessions.check(cookie, session, self.leeway, now)?;
        self.caller(&checked)
    }

    /// What fetches the keys of other issuers, for whoever runs it: none if no issuer has its keys at a URL.
    pub(crate) fn fetching(
        &self,
        stop: &CancellationToken,
    ) -> Vec<impl Future<Output = ()> + Send + use<>> {
        let sets = self.issuers.iter().filter_map(Issuer::jwks);
        sets.map(|jwks| Arc::clone(jwks).run(stop.clone()))
            .collect()
    }

    /// The token's header, and who may have signed it by what it says. Nothing of that is believed.
    fn may_be_from(
        &self,
        token: &str,
    ) -> Result<(Header, impl Iterator<Item = &Issuer>), AuthError> {
        #[derive(Deserialize)]
        struct Named {
            #[serde(default)]
            iss: Value,
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| AuthError::Malformed)?;
        // RFC 7515, 4.1.11: an extension that is marked critical and not understood refuses the token.
        if header.crit.is_some() {
            return Err(AuthError::Algorithm);
        }
        let named = jsonwebtoken::dangerous::insecure_decode_claims::<Named>(token);
        let named = named.map_err(|_| AuthError::Malformed)?;
        // Whose name is known, speaks for it alone: then nobody without a name does.
        let name = named.iss.as_str().map(str::to_owned);
        let is_known = |issuer: &Issuer| issuer.is_called(name.as_deref());
        let known = self.issuers.iter().any(is_known);
        let all = std::iter::once(&self.own).chain(&self.issuers);
        let issuers = all.filter(move |issuer| {
            issuer.may_be(name.as_deref()) && (!known || issuer.is_called(name.as_deref()))
        });
        Ok((header, issuers))
    }

    /// What the token says. Where an issuer's keys have to be fetched for it, that is waited for.
    async fn verify_with_latest_keys(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Verified, AuthError> {
        match self.verify(token, now) {
            Err(AuthError::UnknownKeyId | AuthError::KeysUnavailable) => {}
            outcome => return outcome,
        }
        let (_, issuers) = self.may_be_from(token)?;
        let sets = issuers.filter_map(Issuer::jwks);
        join_all(sets.map(|jwks| jwks.look_again())).await;
        self.verify(token, now)
    }

    /// What the token says, if one of the issuers has signed it.
    fn verify(&self, token: &str, now: Timestamp) -> Result<Verified, AuthError> {
        let (header, issuers) = self.may_be_from(token)?;
        let mut error = AuthError::Issuer;
        for issuer in issuers {
            match issuer.check(token, &header, self.leeway, now) {
                Ok(verified) => return Ok(verified),
                // Another one that names no issuer may have signed it.
                Err(
                    other @ (AuthError::Algorithm
                    | AuthError::BadSignature
                    | AuthError::UnknownKeyId
                    | AuthError::KeysUnavailable),
                ) => error = other,
                Err(other) => return Err(other),
            }
        }
        Err(error)
    }

    /// With the scopes that their roles give them, unless they were revoked since.
    fn caller(&self, checked: &Checked) -> Result<Caller, AuthError> {
        self.revocations.check(&checked.user)?;
        let roles = checked.user.roles.iter();
        let by_role = roles.filter_map(|role| self.role_scopes.get(role));
        let scopes = by_role
            .flat_map(|scopes| scopes.list())
            .chain(checked.scopes.list())
            .collect();
        Ok(Caller::User {
            user: checked.user.clone(),
            scopes,
            publisher: Arc::clone(&checked.publisher),
        })
    }

    /// Signs a token of the hub's own: HS256, with `iss`, `sub`, `roles`, `scope`, `iat`, `exp`, `jti`, and with `aud`
    /// if the configuration asks for one.
    ///
    /// # Panics
    /// Never: the claims are texts and numbers, and HMAC takes a key of any length.
    pub fn mint(&self, mint: Mint, now: Timestamp) -> String {
        let expires_at = now.saturating_add(mint.ttl).as_millis().div_ceil(1000);
        let mut claims = serde_json::json!({
            "iss": OWN_ISSUER,
            "sub": mint.user,
            "roles": mint.roles,
            "scope": mint.scopes.to_string(),
            "iat": now.as_millis() / 1000,
            "exp": expires_at,
            "jti": uuid::Uuid::new_v4().to_string(),
        });
        if let Some(audience) = &self.audience {
            claims["aud"] = audience.as_str().into();
        }
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
            .expect("texts and numbers can be signed with HMAC")
    }
}

/// Says nothing of the keys.
impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}
