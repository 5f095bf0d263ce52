//! Signing in to the console: a one-time code in a link becomes a cookie that scripts cannot read.
//!
//! The link is printed where the hub runs and may stay in a scrollback or a chat, so the code in it is good once and for
//! a quarter of an hour, and what it buys never stands in a URL. Only hashes are kept, in memory, and few of them: a
//! link from before a restart is as dead as a used one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::{digest, rand};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, LOCATION, SET_COOKIE};
use axum::response::{Html, IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::access::SESSION_COOKIE;
use super::handover::Encrypted;
use super::problem::Problem;
use crate::auth::{Mint, Scopes};
use crate::clock::Timestamp;
use crate::hub::Hub;

/// How long a code is good.
pub const CODE_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// The most codes that are good at once; beyond, the oldest lapses.
pub const MAX_CODES: usize = 100;
/// How long the console stays signed in.
const SESSION_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// The user that the console is, and the role it has.
const CONSOLE_USER: &str = "console";
const CONSOLE_ROLE: &str = "ADMIN";

const REFUSAL: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Campanile: this link is used up</title>
<h1>This link is used up</h1>
<p>A sign-in link works once, within 15 minutes, and not across a restart of the hub.</p>
<p>For a new one, run <code>campanile console</code> on the machine where the hub runs.</p>
"#;

/// The one-time codes that are good. Clones share them.
#[derive(Clone, Default)]
pub struct Codes(Arc<Mutex<HashMap<[u8; 32], Timestamp>>>);

impl Codes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new code: 128 random bits as 22 characters of base64url, and until when it is good. None if the system has no
    /// randomness to give.
    pub fn issue(&self, now: Timestamp) -> Option<(String, Timestamp)> {
        let mut random = [0u8; 16];
        rand::fill(&mut random).ok()?;
        let code = URL_SAFE_NO_PAD.encode(random);
        let expires_at = now.saturating_add(CODE_LIFETIME);
        let mut good = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        good.retain(|_, expires_at| *expires_at > now);
        if good.len() >= MAX_CODES
            && let Some(oldest) = good
                .iter()
                .min_by_key(|(_, at)| **at)
                .map(|(hash, _)| *hash)
        {
            good.remove(&oldest);
        }
        good.insert(hash(&code), expires_at);
        Some((code, expires_at))
    }

    /// Whether this code is good; it is not afterwards. The look-up is by hash, so its time says nothing of the code.
    fn redeem(&self, code: &str, now: Timestamp) -> bool {
        let mut good = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        good.remove(&hash(code))
            .is_some_and(|expires_at| now < expires_at)
    }
}

/// Says nothing of them.
impl std::fmt::Debug for Codes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codes").finish_non_exhaustive()
    }
}

fn hash(code: &str) -> [u8; 32] {
    let mut hash = [0u8; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, code.as_bytes()).as_ref());
    hash
}

/// `POST /console/code`.
pub(crate) async fn code(State(codes): State<Codes>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Issued {
        code: String,
        expires_at: String,
    }
    let Some((code, expires_at)) = codes.issue(Timestamp::now()) else {
        return Err(Problem::unavailable(
            "there is no randomness to make a code of",
            Duration::from_secs(1),
        ));
    };
    let expires_at = expires_at.to_string();
    Ok((StatusCode::CREATED, Json(Issued { code, expires_at })).into_response())
}

/// `GET /sign-in?code=`.
pub(crate) async fn sign_in(
    State(hub): State<Hub>,
    State(codes): State<Codes>,
    encrypted: Option<Extension<Encrypted>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let now = Timestamp::now();
    let code = query.iter().find(|(name, _)| name == "code");
    if !code.is_some_and(|(_, code)| codes.redeem(code, now)) {
        let policy = [(
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        )];
        return (StatusCode::FORBIDDEN, policy, Html(REFUSAL)).into_response();
    }
    let token = hub.authenticator().mint(
        Mint {
            user: CONSOLE_USER.to_owned(),
            roles: vec![CONSOLE_ROLE.to_owned()],
            scopes: Scopes {
                publish: true,
                admin: true,
            },
            ttl: SESSION_LIFETIME,
        },
        now,
    );
    let secure = if encrypted.is_some() { "; Secure" } else { "" };
    let cookie = format!(
        "{SESSION_COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}{secure}",
        SESSION_LIFETIME.as_secs()
    );
    let headers = [(SET_COOKIE, cookie), (LOCATION, "/".to_owned())];
    (StatusCode::SEE_OTHER, headers).into_response()
}
