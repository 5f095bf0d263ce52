//! `[[auth.issuers]]`: somebody else who signs tokens for this hub.

use std::net::IpAddr;
use std::path::PathBuf;

use jsonwebtoken::Algorithm;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::auth::OWN_ISSUER;

/// The longest name, path or URL, in bytes.
const MAX_TEXT_BYTES: usize = 512;
/// The most paths, and the most audiences.
const MAX_LISTED: usize = 20;

/// Somebody who signs tokens for this hub; `[[auth.issuers]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Issuer {
    /// Its `iss`; none takes any that no other issuer has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Where it publishes its keys, as a JWKS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// A file with its public keys: a JWKS, or one in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// A file with a secret that it shares with the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// Whether `jwks_url` may do without TLS.
    pub allow_http: bool,
    /// What it signs with; empty: what its keys are for.
    pub algorithms: Vec<SigningAlgorithm>,
    /// Whom its tokens must be meant for, one of these; empty: `auth.audience`.
    pub audience: Vec<String>,
    /// Whether they may be meant for anybody.
    pub any_audience: bool,
    /// The claim with the audience.
    pub audience_claim: String,
    /// The path of the claim with the user.
    pub user_claim: String,
    /// The paths of the claims with roles.
    pub role_claims: Vec<String>,
    /// The path of the claim with scopes.
    pub scope_claim: String,
}

impl Default for Issuer {
    fn default() -> Self {
        Self {
            issuer: None,
            jwks_url: None,
            key_file: None,
            secret_file: None,
            allow_http: false,
            algorithms: Vec::new(),
            audience: Vec::new(),
            any_audience: false,
            audience_claim: "aud".to_owned(),
            user_claim: "sub".to_owned(),
            role_claims: vec!["roles".to_owned()],
            scope_claim: "scope".to_owned(),
        }
    }
}

/// What a token may be signed with (RFC 7518, section 3.1; RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "their names are the standard's")]
pub enum SigningAlgorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl From<SigningAlgorithm> for Algorithm {
    fn from(algorithm: SigningAlgorithm) -> Self {
        match algorithm {
            SigningAlgorithm::HS256 => Self::HS256,
            SigningAlgorithm::HS384 => Self::HS384,
            SigningAlgorithm::HS512 => Self::HS512,
            SigningAlgorithm::RS256 => Self::RS256,
            SigningAlgorithm::RS384 => Self::RS384,
            SigningAlgorithm::RS512 => Self::RS512,
            SigningAlgorithm::PS256 => Self::PS256,
            SigningAlgorithm::PS384 => Self::PS384,
            SigningAlgorithm::PS512 => Self::PS512,
            SigningAlgorithm::ES256 => Self::ES256,
            SigningAlgorithm::ES384 => Self::ES384,
            SigningAlgorithm::EdDSA => Self::EdDSA,
        }
    }
}

impl Issuer {
    /// Checks it by itself; the error is a sentence without its subject.
    pub(super) fn fits(&self, hub_has_audience: bool) -> Result<(), String> {
        let sources = [
            self.jwks_url.is_some(),
            self.key_file.is_some(),
            self.secret_file.is_some(),
        ];
        if sources.into_iter().filter(|given| *given).count() != 1 {
            return Err("must have one of jwks_url, key_file and secret_file".to_owned());
        }
        if let Some(name) = &self.issuer {
            text("issuer", name)?;
        }
        if let Some(url) = &self.jwks_url {
            jwks_url(url, self.allow_http)?;
        }
        for (key, texts) in [
            ("audience", &self.audience),
            ("role_claims", &self.role_claims),
        ] {
            if texts.len() > MAX_LISTED {
                return Err(format!("{key} must be at most {MAX_LISTED}"));
            }
            texts.iter().try_for_each(|it| text(key, it))?;
        }
        text("audience_claim", &self.audience_claim)?;
        text("user_claim", &self.user_claim)?;
        text("scope_claim", &self.scope_claim)?;
        if self.audience.is_empty() && !hub_has_audience && !self.any_audience {
            return Err(
                "must have an audience, or what it signs for other applications opens this hub as well; any_audience = true says that this is meant"
                    .to_owned(),
            );
        }
        if !self.audience.is_empty() && self.any_audience {
            return Err("must have an audience or any_audience, not both".to_owned());
        }
        Ok(())
    }

    /// Checks that nobody's publisher can be taken for another's: it is called `<issuer>/<user>`, and a user's name may
    /// hold a slash.
    pub(super) fn is_apart_from(&self, earlier: &[Self]) -> Result<(), String> {
        let Some(name) = self.issuer.as_deref() else {
            return Ok(());
        };
        let within = |one: &str, other: &str| {
            one == other
                || one
                    .strip_prefix(other)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        let others = earlier.iter().filter_map(|other| other.issuer.as_deref());
        for other in others.chain([OWN_ISSUER, "jwt", "nextauth"]) {
            if within(name, other) || within(other, name) {
                return Err(format!(
                    "issuer must not be {other:?}, nor what that begins with, nor begin with it and a slash"
                ));
            }
        }
        Ok(())
    }
}

fn text(key: &str, text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control) {
        return Err(format!("{key} must be 1 to {MAX_TEXT_BYTES} bytes"));
    }
    Ok(())
}

/// Keys that come without TLS are whoever's stands in between: so only from this machine, or if the configuration says so.
fn jwks_url(url: &str, allow_http: bool) -> Result<(), String> {
    let parsed = Url::parse(url).ok().filter(|_| url.len() <= MAX_TEXT_BYTES);
    let parsed =
        parsed.ok_or("jwks_url must be a URL such as https://login.example.com/jwks.json")?;
    let host = parsed.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let local = host == "localhost" || address.is_ok_and(|it| it.is_loopback());
    match parsed.scheme() {
        "https" => Ok(()),
        "http" if local || allow_http => Ok(()),
        "http" => Err(
            "jwks_url must begin with https://, or else allow_http = true says that whoever stands in between is trusted"
                .to_owned(),
        ),
        _ => Err("jwks_url must begin with https://".to_owned()),
    }
}
