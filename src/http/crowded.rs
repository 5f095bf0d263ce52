//! What a client is told whose connection is not served, because there are too many in all or from its address.
//!
//! Its first request is read and answered, whatever it asks for, and then the connection ends: only so can an EventSource
//! be told what it survives, which is a 200 that says when to come back, and every other client a status.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONNECTION;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::stream::{RetrySpread, accepts_event_stream, event_stream};
use super::{Assembly, Codes};
use crate::config::Config;
use crate::hub::Hub;
use crate::metrics::Crowded;
use crate::sse::{self, Bye};

/// When a client that found no connection free should try again.
const FULL_RETRY: Duration = Duration::from_secs(5);
/// When one at an address that holds too many should: some of those must have been closed by then.
const ADDRESS_RETRY: Duration = Duration::from_secs(60);

/// Answers every request with this refusal.
pub(crate) fn refusing(hub: Hub, config: &Config, reason: Crowded) -> Router {
    let refuse = move |State(spread): State<RetrySpread>, headers: HeaderMap| async move {
        let mut response = refusal(reason, spread, &headers);
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
        response
    };
    Assembly::new(hub, config, Codes::new())
        .refusing(refuse)
        .finish()
}

fn refusal(reason: Crowded, spread: RetrySpread, headers: &HeaderMap) -> Response {
    if accepts_event_stream(headers) {
        let retry = match reason {
            Crowded::Address => ADDRESS_RETRY,
            Crowded::Full => spread.draw(),
        };
        return event_stream(sse::refusal(Bye::Busy, retry).into());
    }
    match reason {
        Crowded::Address => Problem::too_many(
            "this address holds as many connections as one may",
            ADDRESS_RETRY,
        ),
        Crowded::Full => {
            Problem::unavailable("the hub has as many connections as it may have", FULL_RETRY)
        }
    }
    .into_response()
}
