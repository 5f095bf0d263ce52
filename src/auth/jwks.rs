//! The keys that another issuer publishes, fetched from its URL and kept.
//!
//! Issuers change their keys: the new one first stands in the set beside the old one, then signs. So the set is fetched
//! anew every few minutes, and at once when a token names a key that is not in it, but for that no more than once in 30 s:
//! anybody can make up a key's name. An issuer that is down takes nothing away from what it has published; what it has
//! taken out of its set is refused once that set has been fetched.
//!
//! One task for each issuer does the fetching, so there is never more than one request under way. Whoever waits for it
//! waits a bounded time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jsonwebtoken::Algorithm;
use reqwest::{Client, Url, redirect};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::verification::VerificationKey;

/// How long after a fetch for an unknown key there is no other one.
pub(super) const REFETCH: Duration = Duration::from_secs(30);
/// The first wait after a fetch that failed while there are no keys at all; it doubles up to [`REFETCH`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// How long an issuer may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest set, in bytes.
const MAX_SET_BYTES: usize = 256 * 1024;

/// A set of keys at a URL.
pub(super) struct Jwks {
    issuer: String,
    url: String,
    algorithms: Vec<Algorithm>,
    refresh: Duration,
    state: Mutex<State>,
    wanted: Notify,
    /// How often fetching has come to an end.
    fetched: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// None until it was fetched for the first time.
    keys: Option<Arc<Vec<VerificationKey>>>,
    fetching: bool,
    /// When an unknown key last led to a fetch.
    refetched: Option<Instant>,
}

impl Jwks {
    pub(super) fn new(
        issuer: &str,
        url: &str,
        algorithms: Vec<Algorithm>,
        refresh: Duration,
    ) -> Self {
        Self {
            issuer: issuer.to_owned(),
            url: url.to_owned(),
            algorithms,
            refresh,
            state: Mutex::default(),
            wanted: Notify::new(),
            fetched: watch::Sender::new(0),
        }
    }

    /// The keys, if the issuer has ever been reached.
    pub(super) fn keys(&self) -> Option<Arc<Vec<VerificationKey>>> {
        self.lock().keys.clone()
    }

    /// Waits for the fetch that is under way, or for another one, if there may be one now.
    pub(super) async fn look_again(&self) {
        let mut fetched = self.fetched.subscribe();
        {
            let mut state = self.lock();
            if !state.fetching {
                let now = Instant::now();
                if state.refetched.is_some_and(|at| now < at + REFETCH) {
                    return;
                }
                state.refetched = Some(now);
                state.fetching = true;
                self.wanted.notify_one();
            }
        }
        // However it ends: the keys that are there then are the ones to check with.
        let _ = timeout(TIMEOUT + FIRST_RETRY, fetched.changed()).await;
    }

    /// Fetches the keys, again and again, until it is told to stop.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut client = None;
        let mut retry = FIRST_RETRY;
        loop {
            self.lock().fetching = true;
            let outcome = tokio::select! {
                outcome = self.fetch(&mut client) => outcome,
                () = stop.cancelled() => return,
            };
            let next = self.note(outcome, &mut retry);
            tokio::select! {
                () = sleep_until(Instant::now() + next) => {}
                () = self.wanted.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Keeps what came, and says when to look again uncalled.
    fn note(
        &self,
        outcome: Result<Vec<VerificationKey>, String>,
        retry: &mut Duration,
    ) -> Duration {
        let mut state = self.lock();
        state.fetching = false;
        let next = match outcome {
            Ok(keys) => {
                tracing::debug!(issuer = %self.issuer, keys = keys.len(), "the issuer's keys are fetched");
                state.keys = Some(Arc::new(keys));
                *retry = FIRST_RETRY;
                self.refresh
            }
            Err(error) => {
                let kept = state.keys.is_some();
                tracing::warn!(
                    issuer = %self.issuer,
                    kept,
                    %error,
                    "the issuer's keys could not be fetched; those from before go on being used, if there are any"
                );
                let next = if kept { REFETCH } else { *retry };
                *retry = (2 * *retry).min(REFETCH);
                next.min(self.refresh)
            }
        };
        drop(state);
        self.fetched.send_modify(|count| *count += 1);
        next
    }

    /// The error is in words and without the URL, which may hold what is not for the log.
    async fn fetch(&self, client: &mut Option<Client>) -> Result<Vec<VerificationKey>, String> {
        if client.is_none() {
            *client = Some(self.client()?);
        }
        let Some(client) = client else {
            return Err("no HTTP client".to_owned());
        };
        let body = timeout(TIMEOUT, self.body(client)).await;
        let body = body.map_err(|_| format!("no answer within {TIMEOUT:?}"))??;
        VerificationKey::set(&body, &self.algorithms).map_err(|error| format!("its answer {error}"))
    }

    async fn body(&self, client: &Client) -> Result<Vec<u8>, String> {
        let broken = |error: reqwest::Error| error.without_url().to_string();
        let mut response = client.get(&self.url).send().await.map_err(broken)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("it answered {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > MAX_SET_BYTES {
                return Err("its answer is larger than 256 KiB".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Follows no redirect: whom keys are taken from is for the configuration to say, and not for an answer.
    fn client(&self) -> Result<Client, String> {
        let tls = Url::parse(&self.url).is_ok_and(|url| url.scheme() == "https");
        let builder = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .pool_max_idle_per_host(0)
            .user_agent(concat!("campanile/", env!("CARGO_PKG_VERSION")));
        let builder = if tls {
            builder.https_only(true)
        } else {
            builder.tls_certs_only([])
        };
        let built = builder.build();
        built.map_err(|error| format!("no HTTP client: {error}"))
    }

    /// Nobody panics while holding it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
