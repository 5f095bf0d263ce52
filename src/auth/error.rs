//! Why a credential is not accepted, in words for whoever presented it.

/// Why a credential is not accepted. The messages are for whoever presented it and hold nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is none.
    #[error("credentials are required: a bearer token or an API key")]
    Missing,
    /// It is neither a JWT nor an API key.
    #[error("the credential is neither a JSON Web Token nor an API key of this hub")]
    Malformed,
    /// Its header asks for an algorithm, or an extension, that its key is not for.
    #[error("the token is not signed in a way that this hub accepts")]
    Algorithm,
    /// Somebody else signed it, or it was changed.
    #[error("the token's signature does not match")]
    BadSignature,
    /// A claim is missing or cannot be used.
    #[error("the token's `{0}` is missing or cannot be used")]
    Claim(&'static str),
    /// It is over.
    #[error("the token has expired")]
    Expired,
    /// Its `nbf` lies ahead.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Its issuer publishes no key of the name that it gives.
    #[error("the token is signed with a key that its issuer does not publish")]
    UnknownKeyId,
    /// Its issuer's keys have not been had yet: this passes.
    #[error("the keys of the token's issuer cannot be had at present")]
    KeysUnavailable,
    /// None of the site's secrets opens it, or it was changed.
    #[error("the session's cookie does not open with the secrets that this hub has")]
    Session,
    /// It names a row in the site's database.
    #[error(
        "the session is kept in the site's database, which only the site can read; set session: {{ strategy: \"jwt\" }} in its NextAuth, or send a token"
    )]
    DatabaseSession,
    /// It names an issuer that this key does not sign for.
    #[error("the token's issuer is not one that this hub knows")]
    Issuer,
    /// It is meant for somebody else.
    #[error("the token is not meant for this hub: its audience is another")]
    Audience,
    /// It is no ticket that is good.
    #[error("the ticket is spent, expired or unknown; each is good for one stream, within 30 s")]
    Ticket,
    /// It stands in the URL, and that is switched off.
    #[error(
        "a token in the URL is not accepted, for URLs are kept in logs and histories: ask for a ticket, POST /notifications/stream/ticket, or have auth.query_token switched on"
    )]
    TokenInUrl,
    /// It is not the cron secret.
    #[error("this takes the hub's cron secret, and no other credential")]
    Cron,
    /// No such API key.
    #[error("the API key is not known to this hub")]
    UnknownKey,
    /// What was issued to its user until then was taken back.
    #[error("what was issued to this user before was revoked: sign in again")]
    UserRevoked,
    /// The API key was taken back.
    #[error("the API key has been revoked")]
    Revoked,
}
