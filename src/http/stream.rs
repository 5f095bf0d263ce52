//! `GET /notifications/stream`: from a request to a registered stream, or to a refusal that a browser survives.
//!
//! An EventSource that meets any status but 200 gives up for good, so whatever will pass (the hub stops, is full, its
//! store does not answer) is told to it within a 200: when to come back, why, and the end. Other clients get a status.
//! A cursor is never an error, whatever is in it: the hub answers garbage with `gap`.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::client::ClientAddress;
use super::handover::{ConnectionBody, Handover, SocketOffer};
use super::problem::Problem;
use crate::auth::{AuthError, Caller};
use crate::config::Config;
use crate::hub::{Hub, Subscribe, SubscribeError};
use crate::sse::{self, Bye};

/// When somebody with too many streams may come back: a tab must have been closed by then.
const TOO_MANY_RETRY: Duration = Duration::from_secs(60);

/// So many times as long as others who are refused stays away who finds even the line full: coming back costs the hub what
/// it is short of.
const RUSH: u32 = 5;

/// The `retry:` from which refused clients draw theirs, so that they do not come back all at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetrySpread {
    min: Duration,
    max: Duration,
}

impl RetrySpread {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            min: config.stream.retry_min,
            max: config.stream.retry_max,
        }
    }

    pub(crate) fn draw(self) -> Duration {
        let width = self.max.saturating_sub(self.min).as_millis();
        let drawn = uuid::Uuid::new_v4().as_u128() % (width + 1);
        self.min + Duration::from_millis(u64::try_from(drawn).unwrap_or(0))
    }
}

/// `GET /notifications/stream`.
pub(crate) async fn stream(
    State(hub): State<Hub>,
    State(spread): State<RetrySpread>,
    Extension(caller): Extension<Caller>,
    socket: Option<Extension<SocketOffer>>,
    ClientAddress(address): ClientAddress,
    query: Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Some(user) = caller.user() else {
        return Err(Problem::forbidden("an API key holds no stream"));
    };
    let asked = |name: &str| {
        let mut pairs = query.iter().filter(|(key, _)| key == name);
        pairs.next().map(|(_, value)| value.as_str())
    };
    let unnamed = match asked("events") {
        None | Some("named") => false,
        Some("unnamed") => true,
        Some(_) => return Err(Problem::field("events", "must be named or unnamed")),
    };
    let from_header = headers
        .get("last-event-id")
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let cursor = from_header
        .filter(|cursor| !cursor.is_empty())
        .or_else(|| asked("lastEventId").map(str::to_owned))
        .filter(|cursor| !cursor.is_empty());

    let request = Subscribe {
        user: user.clone(),
        cursor,
        address,
        unnamed,
    };
    let turn = socket
        .as_ref()
        .and_then(|Extension(SocketOffer(turn))| turn.as_ref()?.take());
    match hub.subscribe_in_turn(request, turn).await {
        Ok(subscription) if socket.is_some() => {
            let mut response = event_stream(Body::new(ConnectionBody::silent()));
            response
                .extensions_mut()
                .insert(Handover::new(subscription));
            Ok(response)
        }
        Ok(subscription) => {
            let (body, piped) = subscription.into_piped();
            let mut response = event_stream(body);
            response.extensions_mut().insert(piped);
            Ok(response)
        }
        Err(refusal) => Ok(refused(refusal, &headers, spread)),
    }
}

/// `GET` on the alias: the stream for clients from before, which only have `onmessage`: unnamed, also where they do not ask
/// for it.
pub(crate) async fn on_alias(
    State(hub): State<Hub>,
    State(spread): State<RetrySpread>,
    Extension(caller): Extension<Caller>,
    socket: Option<Extension<SocketOffer>>,
    address: ClientAddress,
    Query(mut query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if !query.iter().any(|(name, _)| name == "events") {
        query.push(("events".to_owned(), "unnamed".to_owned()));
    }
    let (hub, spread) = (State(hub), State(spread));
    let (caller, query) = (Extension(caller), Query(query));
    stream(hub, spread, caller, socket, address, query, headers).await
}

pub(crate) fn event_stream(body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (CACHE_CONTROL, "no-cache, no-transform"),
        // nginx buffers responses unless it is told not to.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    (headers, body).into_response()
}

fn refused(error: SubscribeError, headers: &HeaderMap, spread: RetrySpread) -> Response {
    let (reason, retry) = match error {
        SubscribeError::Draining => (Bye::Draining, spread.draw()),
        SubscribeError::TooManyStreams | SubscribeError::AddressFull => (Bye::Busy, TOO_MANY_RETRY),
        SubscribeError::Rush => (Bye::Busy, spread.draw() * RUSH),
        SubscribeError::Full | SubscribeError::Store(_) => (Bye::Busy, spread.draw()),
        SubscribeError::Revoked => {
            return Problem::unauthorized(AuthError::UserRevoked).into_response();
        }
    };
    if accepts_event_stream(headers) {
        return event_stream(Body::from(sse::refusal(reason, retry)));
    }
    match error {
        SubscribeError::Draining => Problem::draining(),
        SubscribeError::Revoked => Problem::unauthorized(AuthError::UserRevoked),
        SubscribeError::TooManyStreams => {
            Problem::too_many("this user holds as many streams as one may", retry)
        }
        SubscribeError::AddressFull => {
            Problem::too_many("this address holds as many streams as one may", retry)
        }
        SubscribeError::Rush => {
            Problem::unavailable("too many streams are being opened at the moment", retry)
        }
        SubscribeError::Full => {
            Problem::unavailable("the hub holds as many streams as it may", retry)
        }
        SubscribeError::Store(error) => error.into(),
    }
    .into_response()
}

/// What is told to whoever cannot be known at present, and may be in a moment.
pub(crate) fn busy(headers: &HeaderMap, spread: RetrySpread) -> Response {
    if accepts_event_stream(headers) {
        return event_stream(Body::from(sse::refusal(Bye::Busy, spread.draw())));
    }
    Problem::keys_unavailable().into_response()
}

pub(crate) fn accepts_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case("text/event-stream"))
}
