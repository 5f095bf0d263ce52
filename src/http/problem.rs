//! Every refusal that goes out: `application/problem+json` (RFC 9457), built here and nowhere else.
//!
//! A problem has two readers. Its client gets a status, a sentence and the fields that are wrong; what the hub knows
//! beyond that (what the store's file said, whose key it was) is for the log and never stands in an answer. So domain
//! errors become problems by the conversions below, which choose the words, and not by their `Display`.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};

use crate::auth::AuthError;
use crate::events;
use crate::hub::{InboxError, OverRate, PublishError, ReadError};
use crate::notification::{FieldError, InvalidDraft, LAPSED};
use crate::store::{Conflict, Refused, StoreError};

const MEDIA_TYPE: &str = "application/problem+json";

/// When a client should try again after the store could not do what was asked.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// When a client should try again whose issuer has not answered.
const KEYS_RETRY: Duration = Duration::from_secs(5);

/// When a publisher should try again who found no room for what is to be held back.
const SCHEDULE_RETRY: Duration = Duration::from_secs(60);

/// The longest message about one field, in characters: what a client sent is not sent back at length.
const MAX_MESSAGE_CHARS: usize = 240;

/// A refusal, before it is written as an answer.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// 400: what came is not what its content type says.
    pub(crate) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 400: plain HTTP came where TLS is spoken. The connection ends with it.
    pub(crate) fn not_encrypted() -> Self {
        let close = HeaderValue::from_static("close");
        Self::bad_request("this address speaks TLS: begin its URL with https://")
            .with(header::CONNECTION, close)
    }

    /// 401: no credential, or one that is not accepted (RFC 6750, section 3).
    pub(crate) fn unauthorized(error: AuthError) -> Self {
        let challenge = match error {
            AuthError::Missing => "Bearer",
            _ => "Bearer error=\"invalid_token\"",
        };
        Self::new(StatusCode::UNAUTHORIZED, error.to_string()).with(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        )
    }

    /// 403: known, but not allowed.
    pub(crate) fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404.
    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 404 for what is not in an inbox, whether it exists or not: ids cannot be probed.
    pub(crate) fn not_in_this_inbox() -> Self {
        Self::not_found("there is no such notification in this inbox")
    }

    /// 403 for whoever has none.
    pub(crate) fn no_inbox() -> Self {
        Self::forbidden(
            "an API key has no inbox; with the scope admin it may look into a user's: ?user=",
        )
    }

    /// 405: the path knows only these methods.
    pub(crate) fn method_not_allowed(allowed: &[Method]) -> Self {
        let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
        let names = names.join(", ");
        let problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("this path takes {names} only"),
        );
        match HeaderValue::try_from(names) {
            Ok(names) => problem.with(header::ALLOW, names),
            Err(_) => problem,
        }
    }

    /// 408: the body took too long.
    pub(crate) fn too_slow(limit: Duration) -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {} s", limit.as_secs_f32()),
        )
        // RFC 9110, 15.5.9: whoever gives up waiting says that the connection ends.
        .with(header::CONNECTION, HeaderValue::from_static("close"))
    }

    /// 409.
    pub(crate) fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 413: more than `limit` bytes.
    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("at most {limit} bytes are accepted here"),
        )
    }

    /// 415: a content type or content coding that is not read here.
    pub(crate) fn unsupported(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    /// 422: readable, but these fields break their rules.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        let errors: Vec<FieldError> = errors.into_iter().map(shortened).collect();
        let detail = match errors.as_slice() {
            [only] => format!("{} {}", only.field, only.message),
            several => format!("{} fields are not valid", several.len()),
        };
        Self {
            errors,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
        }
    }

    /// 422 for one field.
    pub(crate) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError {
            field: field.into(),
            message: message.into(),
        }])
    }

    /// 429.
    pub(crate) fn too_many(detail: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(retry_after)
    }

    /// 503: later it may work.
    pub(crate) fn unavailable(detail: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(retry_after)
    }

    /// 503: whose token it is cannot be known at present.
    pub(crate) fn keys_unavailable() -> Self {
        let detail = AuthError::KeysUnavailable.to_string();
        Self::unavailable(detail, KEYS_RETRY)
    }

    /// 503 while the hub stops.
    pub(crate) fn draining() -> Self {
        Self::unavailable("the hub is stopping; try again in a moment", STORE_RETRY)
    }

    /// The status it will be answered with.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Texts and a number: there is nothing in it that serialisation could refuse.
    fn document(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whole seconds, rounded up, at least one (RFC 9110, section 10.2.3).
    fn retry_after(self, after: Duration) -> Self {
        let seconds = u64::try_from(after.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        self.with(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

fn shortened(mut error: FieldError) -> FieldError {
    for text in [&mut error.field, &mut error.message] {
        if let Some((end, _)) = text.char_indices().nth(MAX_MESSAGE_CHARS) {
            text.truncate(end);
            text.push('…');
        }
    }
    error
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Document<'a> {
            r#type: &'static str,
            title: &'static str,
            status: u16,
            detail: &'a str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [FieldError],
        }
        Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
        }
        .serialize(serializer)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = self.document();
        let content_type = [(header::CONTENT_TYPE, MEDIA_TYPE)];
        let mut response = (self.status, content_type, document).into_response();
        response.headers_mut().extend(self.headers);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(name) => Self::conflict(format!("{name} exists already")),
            StoreError::Full => Self::unavailable(
                "too much is waiting to be stored; nothing of this was",
                STORE_RETRY,
            ),
            // The store has logged what it met, once; here it would be a line for each request.
            StoreError::Unavailable(_) | StoreError::Damaged(_) => Self::unavailable(
                "the store is not available; nothing of this was stored",
                STORE_RETRY,
            ),
        }
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Busy { retry_after } => {
                Self::unavailable("the queue is full; nothing of this was stored", retry_after)
            }
            PublishError::Draining => Self::draining(),
            PublishError::Refused(refused) => refused.into(),
            PublishError::Store(error) => error.into(),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::KeyReused => Self::field(
                "idempotencyKey",
                "was used for another draft; a new one takes a new key",
            ),
            Refused::Lapsed => Self::field("expiresAt", LAPSED),
            Refused::ReferenceTaken(reference) => {
                Self::conflict(format!("the reference {reference} is taken"))
            }
            Refused::Collided(_) => Self::unavailable(
                "no free reference was found; nothing of this was stored",
                STORE_RETRY,
            ),
            Refused::TooManyScheduled => Self::unavailable(
                "as many notifications are held back as may be; nothing of this was stored",
                SCHEDULE_RETRY,
            ),
            Refused::Conflict(conflict) => conflict.into(),
        }
    }
}

impl From<OverRate> for Problem {
    fn from(over: OverRate) -> Self {
        match over {
            OverRate::Wait(wait) => Self::too_many("too many of these for the moment", wait),
            OverRate::MoreThan(burst) => Self::field(
                "body",
                format!(
                    "must hold at most {burst} drafts: that is what a publisher may publish at once"
                ),
            ),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unknown => Self::not_in_this_inbox(),
            ReadError::NotOfThisLog => Self::field("upTo", "is not an event id of this hub's log"),
            ReadError::Draining => Self::draining(),
            ReadError::Store(error) => error.into(),
        }
    }
}

impl From<InboxError> for Problem {
    fn from(error: InboxError) -> Self {
        match error {
            InboxError::NotOfThisLog => {
                Self::field("before", "is not an event id of this hub's log")
            }
            InboxError::Store(error) => error.into(),
        }
    }
}

impl From<InvalidDraft> for Problem {
    fn from(error: InvalidDraft) -> Self {
        Self::invalid(error.errors)
    }
}

impl From<Conflict> for Problem {
    fn from(error: Conflict) -> Self {
        tracing::warn!(event = events::PUBLISH_CONFLICT, %error, "a notification was left out of its commit");
        Self::conflict("it conflicts with a notification that is stored already")
    }
}
