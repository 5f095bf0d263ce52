//! Who may call what: the check that stands in front of every route that is not public.
//!
//! A credential is a bearer token in `Authorization`, or else a cookie. A part of the URL would end in logs and histories:
//! only the stream takes one, a ticket that is worth nothing afterwards, and a token if the configuration insists. What
//! was sent on purpose wins over a cookie, for a browser sends its cookies with everything. For that same reason a cookie may change things only for requests that a page of this
//! hub, or of an origin that the configuration names, has sent: the browser says so in `Sec-Fetch-Site` and `Origin`,
//! which scripts cannot set (Fetch Metadata; RFC 6454).

use std::sync::Arc;

use axum::extract::{Query, Request};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::stream::{self, RetrySpread};
use crate::auth::{
    AuthError, Authenticator, Caller, KEY_PREFIX, MAX_SESSION_BYTES, MAX_SESSION_CHUNKS,
};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::hub::Hub;

/// The cookie that signing in to the console sets.
pub(crate) const SESSION_COOKIE: &str = "campanile_session";

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// A user, for what is theirs: not an API key, which holds no stream and no inbox.
    Reader,
    /// The same, who may also come with a ticket in the URL: a browser's EventSource has nowhere else to put one.
    Stream,
    /// A user, or an administrator's API key, which then sees the administrator's view.
    ReaderOrAdmin,
    /// Anybody with a valid credential; the action in the body decides what it takes.
    ByAction,
    /// Anybody with a valid credential; who they are decides what they see.
    Known,
    /// The scope `publish`.
    Publish,
    /// The scope `admin`.
    Admin,
    /// Whoever has the cron secret, and nobody else: it is no token, and opens nothing else.
    Cron,
}

impl Access {
    /// Whether this caller may.
    ///
    /// # Errors
    /// 403, with what is missing.
    pub(crate) fn check(self, caller: &Caller) -> Result<(), Problem> {
        let scopes = caller.scopes();
        match self {
            Self::Public | Self::ByAction | Self::Known => Ok(()),
            Self::Reader | Self::Stream if caller.user().is_some() => Ok(()),
            Self::ReaderOrAdmin if caller.user().is_some() || scopes.admin => Ok(()),
            Self::Publish if scopes.publish || scopes.admin => Ok(()),
            Self::Admin if scopes.admin => Ok(()),
            Self::Cron => Err(Problem::unauthorized(AuthError::Cron)),
            Self::Reader | Self::Stream | Self::ReaderOrAdmin => Err(Problem::forbidden(
                "this is for users: an API key holds no stream and no inbox",
            )),
            Self::Publish => Err(Problem::forbidden("this takes the scope publish")),
            Self::Admin => Err(Problem::forbidden("this takes the scope admin")),
        }
    }
}

/// Where credentials are looked for, and which pages a cookie is believed from.
#[derive(Clone, Debug)]
pub(crate) struct CredentialRules {
    cookies: Arc<[String]>,
    /// Those that may hold a site's session, in the order in which they are looked for.
    sessions: Arc<[String]>,
    origins: Arc<[String]>,
    /// Whether a token may stand in the stream's URL.
    query_token: bool,
}

impl CredentialRules {
    pub(crate) fn new(config: &Config, authenticator: &Authenticator) -> Self {
        let own = [SESSION_COOKIE.to_owned()];
        Self {
            cookies: own.into_iter().chain(config.auth.cookie.clone()).collect(),
            sessions: authenticator.session_cookies().map(str::to_owned).collect(),
            origins: config.serve.cors_origins.clone().into(),
            query_token: config.auth.query_token,
        }
    }

    /// The credential of a request for a stream: in `Authorization`, in the URL, or in a cookie.
    fn find_for_stream(&self, request: &Parts) -> Result<Credential, AuthError> {
        match self.in_header(&request.headers) {
            Err(AuthError::Missing) => {}
            found => return found,
        }
        match self.in_url(&request.uri) {
            Err(AuthError::Missing) => self.in_cookie(&request.headers),
            found => found,
        }
    }

    /// The credential of any other: in `Authorization`, or in a cookie.
    fn find(&self, headers: &HeaderMap) -> Result<Credential, AuthError> {
        match self.in_header(headers) {
            Err(AuthError::Missing) => self.in_cookie(headers),
            found => found,
        }
    }

    fn in_header(&self, headers: &HeaderMap) -> Result<Credential, AuthError> {
        let mut bearers = headers.get_all(AUTHORIZATION).iter();
        let value = bearers.next().ok_or(AuthError::Missing)?;
        let token = value.to_str().ok().and_then(bearer);
        match (token, bearers.next()) {
            (Some(token), None) => Ok(Credential::Bearer(token.to_owned())),
            _ => Err(AuthError::Malformed),
        }
    }

    fn in_url(&self, uri: &Uri) -> Result<Credential, AuthError> {
        let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Err(AuthError::Missing);
        };
        let mut found = pairs
            .into_iter()
            .filter(|(name, _)| matches!(name.as_str(), "ticket" | "token"));
        let (name, value) = found.next().ok_or(AuthError::Missing)?;
        if found.next().is_some() {
            return Err(AuthError::Malformed);
        }
        match name.as_str() {
            "ticket" => Ok(Credential::Ticket(value)),
            _ if !self.query_token => Err(AuthError::TokenInUrl),
            // A key belongs to a program, and programs can set headers.
            _ if value.starts_with(KEY_PREFIX) => Err(AuthError::Malformed),
            _ => Ok(Credential::InUrl(value)),
        }
    }

    fn in_cookie(&self, headers: &HeaderMap) -> Result<Credential, AuthError> {
        let cookies: Vec<(&str, &str)> = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let own = |name: &str| self.cookies.iter().any(|known| known == name);
        if let Some((_, token)) = cookies.iter().find(|(name, _)| own(name)) {
            // A key belongs to a program, and programs have no cookies.
            if token.starts_with(KEY_PREFIX) {
                return Err(AuthError::Malformed);
            }
            return Ok(Credential::Cookie((*token).to_owned()));
        }
        for name in self.sessions.iter() {
            if let Some(value) = session(name, &cookies)? {
                let name = name.clone();
                return Ok(Credential::Session { name, value });
            }
        }
        Err(AuthError::Missing)
    }

    /// Whether one of our own pages, or one of a configured origin, sent this.
    fn believes(&self, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let origin = text(ORIGIN.as_str());
        if origin.is_some_and(|origin| self.origins.iter().any(|known| known == origin)) {
            return true;
        }
        match text("sec-fetch-site") {
            Some(site) => site == "same-origin",
            None => origin
                .and_then(|origin| origin.split_once("://"))
                .zip(text(HOST.as_str()))
                .is_some_and(|((_, authority), host)| authority.eq_ignore_ascii_case(host)),
        }
    }
}

/// A credential, by where it was found.
enum Credential {
    Bearer(String),
    Ticket(String),
    /// A token in the query.
    InUrl(String),
    /// What a browser may have sent without being asked.
    Cookie(String),
    /// The same, of a site's own session.
    Session {
        name: String,
        value: String,
    },
}

/// The session in the cookie of this name: whole, or in parts that are numbered from 0.
fn session(name: &str, cookies: &[(&str, &str)]) -> Result<Option<String>, AuthError> {
    let value = |wanted: &str| {
        let mut found = cookies.iter().filter(|(name, _)| *name == wanted);
        found.next().map(|(_, value)| *value)
    };
    if let Some(whole) = value(name) {
        return Ok(Some(whole.to_owned()));
    }
    let mut joined = String::new();
    for number in 0..MAX_SESSION_CHUNKS {
        let Some(part) = value(&format!("{name}.{number}")) else {
            return Ok((number > 0).then_some(joined));
        };
        joined.push_str(part);
        if joined.len() > MAX_SESSION_BYTES {
            return Err(AuthError::Malformed);
        }
    }
    Err(AuthError::Malformed)
}

/// The token of `Bearer <token>`; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// What the check needs.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) hub: Hub,
    pub(crate) rules: CredentialRules,
    pub(crate) spread: RetrySpread,
}

impl Gate {
    /// Lets a request through, with its [`Caller`] in the extensions where the route asks who calls; or refuses it:
    /// 401, 403, or what [`Gate::refused`] has.
    pub(crate) async fn admit(
        &self,
        access: Access,
        request: Request,
    ) -> Result<Request, Response> {
        match access {
            Access::Public => Ok(request),
            Access::Cron => match self.cron(request.headers()) {
                Ok(()) => Ok(request),
                Err(error) => Err(Problem::unauthorized(error).into_response()),
            },
            access => {
                let (mut parts, body) = request.into_parts();
                let caller = self.caller(access, &parts).await?;
                parts.extensions.insert(caller);
                Ok(Request::from_parts(parts, body))
            }
        }
    }

    /// The cron secret stands in `Authorization`, and nowhere else.
    fn cron(&self, headers: &HeaderMap) -> Result<(), AuthError> {
        match self.rules.find(headers)? {
            Credential::Bearer(credential) => self.hub.authenticator().cron(&credential),
            _ => Err(AuthError::Cron),
        }
    }

    async fn caller(&self, access: Access, request: &Parts) -> Result<Caller, Response> {
        let headers = &request.headers;
        let refused = |error| self.refused(access, error, headers);
        let credential = match access {
            Access::Stream => self.rules.find_for_stream(request),
            _ => self.rules.find(headers),
        }
        .map_err(refused)?;
        let (authenticator, now) = (self.hub.authenticator(), Timestamp::now());
        let caller = match &credential {
            Credential::Ticket(ticket) => authenticator.redeem_ticket(ticket, now),
            Credential::Bearer(token) | Credential::InUrl(token) | Credential::Cookie(token) => {
                match access {
                    // One request for as long as the stream is open, and all of them at once after a restart.
                    Access::Stream => authenticator.authenticate(token, now).await,
                    _ => authenticator.recognise(token, now).await,
                }
            }
            Credential::Session { name, value } => authenticator.session(name, value, now).await,
        }
        .map_err(refused)?;
        let forbidden = |problem: Problem| problem.into_response();
        access.check(&caller).map_err(forbidden)?;
        let reads_only = matches!(request.method, Method::GET | Method::HEAD);
        let unasked = matches!(
            credential,
            Credential::Cookie(_) | Credential::Session { .. }
        );
        if unasked && !reads_only && !self.rules.believes(headers) {
            return Err(forbidden(Problem::forbidden(
                "a cookie is accepted only from this hub's own pages or a configured origin; send a bearer token",
            )));
        }
        Ok(caller)
    }

    /// 401, or 503 where it is not the credential's fault, which an EventSource that asks for a stream must survive.
    fn refused(&self, access: Access, error: AuthError, headers: &HeaderMap) -> Response {
        match (error, access) {
            (AuthError::KeysUnavailable, Access::Stream) => stream::busy(headers, self.spread),
            (AuthError::KeysUnavailable, _) => Problem::keys_unavailable().into_response(),
            _ => Problem::unauthorized(error).into_response(),
        }
    }
}
