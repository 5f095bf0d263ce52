//! One request, and what came of it.
//!
//! No redirect is followed, no proxy of the environment is used, and no connection is kept for the next time. Of the
//! answer no more is read than is kept, and a little more so that its sender is not cut off in mid-sentence.

use std::error::Error;
use std::fmt::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER, USER_AGENT};
use reqwest::{Client, Response, redirect};
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::address::{Guarded, Reach, Resolve, Unreachable};
use super::{MAX_ANSWER_BYTES, MAX_RETRY_AFTER, Secret, Topic, payload};
use crate::clock::Timestamp;

/// How much of an answer is read beyond what is kept, in bytes.
const MAX_DRAINED_BYTES: usize = 16 * 1024;
/// The longest error that is kept, in characters.
const MAX_ERROR_CHARS: usize = 500;

/// A webhook on its way out.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its `webhook-id`.
    pub id: Uuid,
    /// What it tells of.
    pub topic: Topic,
    /// The `data` in its body, as JSON.
    pub data: String,
    /// Where to.
    pub url: String,
    /// What signs it; the latest first.
    pub secrets: Vec<Secret>,
}

/// What came of sending one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// When it was sent.
    pub at: Timestamp,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// The beginning of its body.
    pub answer: Option<String>,
    /// Why it is no success, in words.
    pub error: Option<String>,
    /// When it may be tried again, if the answer said so; at most [`MAX_RETRY_AFTER`].
    pub retry_after: Option<Duration>,
}

impl Attempt {
    /// Whether its receiver has it: any 2xx says so, and nothing else.
    pub fn is_success(&self) -> bool {
        self.error.is_none()
    }

    /// Its receiver wants no more of them.
    pub fn is_gone(&self) -> bool {
        self.status == Some(410)
    }
}

/// Sends webhooks.
pub struct Sender {
    reach: Reach,
    resolver: Arc<dyn Resolve>,
    timeout: Duration,
    plain: OnceLock<Result<Client, String>>,
    tls: OnceLock<Result<Client, String>>,
}

impl Sender {
    /// One that goes where `reach` allows, looks names up with `resolver`, and waits so long for an answer.
    pub fn new(reach: Reach, resolver: Arc<dyn Resolve>, timeout: Duration) -> Self {
        Self {
            reach,
            resolver,
            timeout,
            plain: OnceLock::new(),
            tls: OnceLock::new(),
        }
    }

    /// Where it goes.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Sends one, signed by each of its secrets.
    pub async fn send(&self, outgoing: &Outgoing, now: Timestamp) -> Attempt {
        let mut attempt = Attempt {
            at: now,
            ..Attempt::default()
        };
        let deadline = Instant::now() + self.timeout;
        match timeout(self.timeout, self.head(outgoing, now)).await {
            Err(_) => {
                attempt.error = Some(format!("no answer within {:?}", self.timeout));
            }
            Ok(Err(error)) => attempt.error = Some(shortened(error)),
            Ok(Ok(response)) => {
                let status = response.status();
                attempt.status = Some(status.as_u16());
                if !status.is_success() {
                    attempt.error = Some(if status.is_redirection() {
                        format!("answered {status}, and redirects are not followed")
                    } else {
                        format!("answered {status}")
                    });
                    attempt.retry_after = retry_after(response.headers(), now);
                }
                attempt.answer = Some(beginning(response, deadline).await);
            }
        }
        attempt
    }

    /// Sends it and waits for the head of the answer.
    async fn head(&self, outgoing: &Outgoing, now: Timestamp) -> Result<Response, String> {
        let url = self
            .reach
            .url(&outgoing.url)
            .map_err(|error| error.to_string())?;
        let client = self.client(url.scheme() == "https")?;
        let body = payload::body(outgoing.topic, now, &outgoing.data);
        let (id, seconds) = (outgoing.id.to_string(), now.as_millis() / 1000);
        let mut signatures = String::new();
        for secret in &outgoing.secrets {
            let gap = if signatures.is_empty() { "" } else { " " };
            // Writing to a string does not fail.
            let _ = write!(signatures, "{gap}{}", secret.sign(&id, seconds, &body));
        }
        client
            .post(url)
            .header(USER_AGENT, concat!("campanile/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signatures)
            .body(body)
            .send()
            .await
            .map_err(|error| in_words(&error))
    }

    /// The client, made when it is first needed: a machine that sends nothing needs no certificates.
    fn client(&self, tls: bool) -> Result<&Client, String> {
        let client = if tls { &self.tls } else { &self.plain };
        let made = client.get_or_init(|| {
            let builder = Client::builder()
                .dns_resolver(Guarded {
                    resolver: Arc::clone(&self.resolver),
                    reach: self.reach.clone(),
                    tls,
                })
                .redirect(redirect::Policy::none())
                .no_proxy()
                .referer(false)
                .pool_max_idle_per_host(0);
            let builder = if tls {
                builder.https_only(true)
            } else {
                builder.tls_certs_only([])
            };
            builder
                .build()
                .map_err(|error| format!("no HTTP client: {}", in_words(&error)))
        });
        made.as_ref().map_err(Clone::clone)
    }
}

/// What an answer begins with, as text, whatever it is. One that breaks off or dawdles is kept as far as it came.
async fn beginning(mut response: Response, deadline: Instant) -> String {
    let mut kept = Vec::with_capacity(MAX_ANSWER_BYTES);
    let mut read = 0;
    while read < MAX_ANSWER_BYTES + MAX_DRAINED_BYTES {
        match timeout_at(deadline, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                let room = MAX_ANSWER_BYTES.saturating_sub(kept.len());
                kept.extend(chunk.iter().take(room));
                read += chunk.len();
            }
            Ok(Ok(None) | Err(_)) | Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&kept);
    // A character that the bound cut in two is no fault of theirs.
    let text = if read > MAX_ANSWER_BYTES {
        text.trim_end_matches(char::REPLACEMENT_CHARACTER)
    } else {
        &text
    };
    text.to_owned()
}

/// Seconds, or a date (RFC 9110, 10.2.3), within the bound.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let after = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => Timestamp::parse_http_date(text).ok()?.since(now),
    };
    Some(after.min(MAX_RETRY_AFTER))
}

/// What the client met, without the URL: its path may be a secret. Ours is said as it is, and of the others the cause.
fn in_words(error: &reqwest::Error) -> String {
    let mut cause: &(dyn Error + 'static) = error;
    loop {
        if let Some(ours) = cause.downcast_ref::<Unreachable>() {
            return ours.to_string();
        }
        match cause.source() {
            Some(source) => cause = source,
            None => break,
        }
    }
    if std::ptr::addr_eq(cause, std::ptr::from_ref(error)) {
        return "the request could not be sent".to_owned();
    }
    if error.is_connect() {
        format!("no connection: {cause}")
    } else {
        format!("the connection broke: {cause}")
    }
}

fn shortened(error: String) -> String {
    match error.char_indices().nth(MAX_ERROR_CHARS) {
        Some((end, _)) => format!("{}…", &error[..end]),
        None => error,
    }
}
