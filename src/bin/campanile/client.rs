//! Calling a hub over HTTP: where it is, with what credentials, and what its refusals mean. Shared by `send`, `listen`,
//! `key`, `prune` and `console`.
//!
//! The commands run beside the hub more often than not. So without `--url` the address is the one that the hub wrote
//! into its data directory, and without a token one is minted with the secret that lies there. A minted token is never
//! sent to a `--url` unless `--data` says that the two belong together.

use std::time::Duration;

use anyhow::Context;
use campanile::auth::{Authenticator, Mint, Scope};
use campanile::clock::Timestamp;
use campanile::config::Config;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url, redirect};
use serde::Deserialize;
use serde_json::Value;

use crate::exit::Usage;
use crate::settings::{Settings, authenticator};
use crate::trust::{self, Trust};

/// Where a hub is if nothing says otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:8400";

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a hub may take to begin its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest answer that is read, in bytes; more could not come from a hub.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// The longest `address` file that is read, in bytes.
const MAX_ADDRESS_BYTES: usize = 1024;

/// How long a token for one call lives.
const CALL_TTL: Duration = Duration::from_secs(60);

/// The user that minted tokens name when a command calls for itself.
const OWN_USER: &str = "command-line";

/// Which hub to call, and as whom.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Target {
    /// The hub's address [default: what a hub wrote into the data directory, or http://127.0.0.1:8400].
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The data directory of a hub on this machine [default: ./campanile-data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<String>,
    /// A token or API key; CAMPANILE_TOKEN is not seen in the list of processes. Without either, a token is signed
    /// with the secret in the data directory; with --url, only if --data is given too.
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
}

/// Where a hub is, and what vouches for it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    base: Url,
    trust: Trust,
}

impl Place {
    /// A hub of which nothing is known but its URL.
    fn elsewhere(base: Url) -> Self {
        let trust = Trust::System;
        Self { base, trust }
    }
}

impl Place {
    /// The URL below which its routes lie.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }
}

impl Target {
    /// The token that was given, on the command line or in the environment.
    pub(crate) fn given_token(&self, settings: &Settings) -> anyhow::Result<Option<String>> {
        match &self.token {
            Some(token) => Ok(Some(token.clone())),
            None => Ok(settings.environment().token()?.map(str::to_owned)),
        }
    }

    /// What signs tokens for this hub, if it is one whose secret is ours to use.
    pub(crate) fn own_secret(&self, settings: &Settings) -> anyhow::Result<Authenticator> {
        let needs_token = "a token is needed: --token, CAMPANILE_TOKEN, or --data with the data directory of the hub";
        if self.url.is_some() && self.data.is_none() {
            return Err(Usage(needs_token.to_owned()).into());
        }
        let config = settings.load_for(self.data.as_deref())?;
        if !config.serve.secret_path().exists() {
            let place = config.serve.data.display();
            return Err(Usage(format!("{needs_token}; there is no secret in {place}")).into());
        }
        authenticator(&config)
    }

    /// Where the hub is.
    pub(crate) fn place(&self, settings: &Settings) -> anyhow::Result<Place> {
        let elsewhere = |url: &str| base_url(url).map(Place::elsewhere);
        match &self.url {
            Some(url) => Ok(elsewhere(url).map_err(|problem| Usage(format!("--url: {problem}")))?),
            None => {
                let config = settings.load_for(self.data.as_deref())?;
                Ok(running_at(&config)?.unwrap_or(elsewhere(DEFAULT_URL).map_err(Usage)?))
            }
        }
    }

    /// A client that may do `scope`.
    pub(crate) fn client(&self, settings: &Settings, scope: Scope) -> anyhow::Result<Client> {
        let token = match self.given_token(settings)? {
            Some(token) => token,
            None => call_token(&self.own_secret(settings)?, scope),
        };
        Client::new(self.place(settings)?, &token)
    }
}

/// A token for one call of our own.
fn call_token(authenticator: &Authenticator, scope: Scope) -> String {
    let mint = Mint {
        user: OWN_USER.to_owned(),
        roles: Vec::new(),
        scopes: [scope].into_iter().collect(),
        ttl: CALL_TTL,
    };
    authenticator.mint(mint, Timestamp::now())
}

/// The address that a hub has written into this data directory, if one has.
pub(crate) fn running_at(config: &Config) -> anyhow::Result<Option<Place>> {
    let path = config.serve.address_path();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    let fits = text.len() <= MAX_ADDRESS_BYTES;
    let url = fits.then(|| base_url(text.trim()).ok()).flatten();
    let base = url.with_context(|| format!("{} holds no hub's address", path.display()))?;
    let trust = Trust::Written(config.serve.trusted_path());
    Ok(Some(Place { base, trust }))
}

/// A URL below which a hub's routes lie.
fn base_url(text: &str) -> Result<Url, String> {
    let problem = || format!("must be a hub's address such as {DEFAULT_URL}, not {text:?}");
    let mut url = Url::parse(text).map_err(|_| problem())?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !plain {
        return Err(problem());
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// Why a call to a hub came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No connection, or one that broke.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// The hub.
        url: String,
        /// What went wrong on the way.
        reason: String,
    },
    /// An answer that says no.
    #[error("the hub answered {status}: {problem}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the hub said.
        problem: String,
    },
    /// An answer that no hub gives.
    #[error("{url} does not answer like a hub: {reason}")]
    NotAHub {
        /// Who answered.
        url: String,
        /// What is odd about it.
        reason: String,
    },
}

/// One hub, and the credentials for it.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    /// For the hub at this place, presenting `token`.
    pub(crate) fn new(place: Place, token: &str) -> anyhow::Result<Self> {
        let Place { base, trust } = place;
        let mut bearer = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Usage("the token holds characters that no token has".to_owned()))?;
        bearer.set_sensitive(true);
        let builder = reqwest::Client::builder()
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect would carry the token to wherever somebody points it.
            .redirect(redirect::Policy::none())
            .no_proxy();
        // Without TLS no certificates are needed, and a slim container may have none to load.
        let builder = match (base.scheme(), trust) {
            ("http", _) => builder.tls_certs_only([]),
            (_, Trust::System) => builder,
            (_, Trust::Written(path)) => builder.tls_backend_preconfigured(trust::pinned(&path)?),
        };
        let http = builder.build().context("cannot make an HTTP client")?;
        Ok(Self { http, base })
    }

    /// For the hub that runs on this data directory, as its administrator.
    pub(crate) fn of_running(
        config: &Config,
        authenticator: &Authenticator,
    ) -> anyhow::Result<Self> {
        let place = running_at(config)?.with_context(|| {
            let path = config.serve.address_path();
            format!("no hub has written its address into {}", path.display())
        })?;
        Self::new(place, &call_token(authenticator, Scope::Admin))
    }

    /// The hub's base URL, ending in a slash.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// A request to the route whose path has these segments.
    pub(crate) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.request_with(method, path, &[])
    }

    /// The same with a query.
    pub(crate) fn request_with(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> RequestBuilder {
        let mut url = self.base.clone();
        // An http URL always has segments; were there none, the hub would answer 404.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, url)
    }

    /// Sends it and waits for the answer's head, whatever its status.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, CallError> {
        match tokio::time::timeout(ANSWER_TIMEOUT, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.unreachable(error)),
            Err(_) => Err(CallError::Unreachable {
                url: self.base.to_string(),
                reason: format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()),
            }),
        }
    }

    /// Sends it and reads an answer of success; nothing in it is `null`.
    pub(crate) async fn call(&self, request: RequestBuilder) -> Result<Value, CallError> {
        let response = self.send(request).await?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let body = self.body(response).await?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|_| self.odd("its answer is not JSON"))
    }

    /// What an answer that is no success says.
    pub(crate) async fn refusal(&self, response: Response) -> CallError {
        let status = response.status();
        let body = match self.body(response).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        let problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
        let problem = problem.in_words();
        CallError::Refused {
            status: status.as_u16(),
            problem: if problem.is_empty() {
                status.canonical_reason().unwrap_or("refused").to_owned()
            } else {
                problem
            },
        }
    }

    /// An answer that no hub gives.
    pub(crate) fn odd(&self, reason: &str) -> CallError {
        CallError::NotAHub {
            url: self.base.to_string(),
            reason: reason.to_owned(),
        }
    }

    /// A connection that did not come about, or broke.
    pub(crate) fn unreachable(&self, error: reqwest::Error) -> CallError {
        // The outermost message only repeats the URL; the innermost one says what happened.
        let error = error.without_url();
        let causes =
            std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        let reason = causes
            .last()
            .map_or_else(|| error.to_string(), ToString::to_string);
        CallError::Unreachable {
            url: self.base.to_string(),
            reason,
        }
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, CallError> {
        let mut body = Vec::new();
        let read = async {
            while let Some(chunk) = response.chunk().await.map_err(|e| self.unreachable(e))? {
                if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                    return Err(self.odd("its answer is too long"));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(())
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, read).await {
            Ok(read) => read.map(|()| body),
            Err(_) => Err(CallError::Unreachable {
                url: self.base.to_string(),
                reason: "its answer does not end".to_owned(),
            }),
        }
    }
}

/// An error as the hub tells it (RFC 9457).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
    errors: Vec<FieldProblem>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FieldProblem {
    field: String,
    message: String,
}

impl Problem {
    /// The detail or else the title, and the fields; without anything that could move a terminal's cursor.
    fn in_words(&self) -> String {
        let mut words = if self.detail.is_empty() {
            self.title.clone()
        } else {
            self.detail.clone()
        };
        for FieldProblem { field, message } in &self.errors {
            let field = format!("{field} {message}");
            // A detail often sums the fields up already.
            if !words.contains(&field) {
                let separator = if words.is_empty() { "" } else { "; " };
                words = format!("{words}{separator}{field}");
            }
        }
        words.replace(char::is_control, " ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_keeps_its_path_and_nothing_that_is_secret() {
        let base = |text: &str| base_url(text).map(|url| url.to_string());
        assert_eq!(
            base("http://localhost:1"),
            Ok("http://localhost:1/".to_owned())
        );
        assert_eq!(
            base("https://a.example/hub"),
            Ok("https://a.example/hub/".to_owned())
        );
        for wrong in [
            "localhost:8400",
            "ftp://a.example",
            "http://u:p@a.example",
            "http://a.example?x",
        ] {
            assert!(base(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_in_a_path_or_a_query_are_escaped() {
        let base = base_url("http://localhost:1/hub").expect("a URL");
        let client = Client::new(Place::elsewhere(base), "x").expect("a client");
        let request = client.request(Method::DELETE, &["keys", "a/b ?é"]);
        let url = request.build().expect("a request").url().to_string();
        assert_eq!(url, "http://localhost:1/hub/keys/a%2Fb%20%3F%C3%A9");
        let query = [("user", "a&role=ADMIN"), ("role", "Chef d'équipe")];
        let request = client.request_with(Method::GET, &["notifications"], &query);
        let url = request.build().expect("a request").url().to_string();
        let due = "user=a%26role%3DADMIN&role=Chef+d%27%C3%A9quipe";
        assert_eq!(url, format!("http://localhost:1/hub/notifications?{due}"));
    }

    #[test]
    fn a_problem_is_told_with_its_fields_and_without_control_characters() {
        let text = r#"{"title":"Unprocessable","detail":"the draft is not valid\u001b[2J",
            "errors":[{"field":"targetRoles[0]","message":"must not be empty"}]}"#;
        let problem: Problem = serde_json::from_str(text).expect("JSON");
        let expected = "the draft is not valid [2J; targetRoles[0] must not be empty";
        assert_eq!(problem.in_words(), expected);
    }
}
