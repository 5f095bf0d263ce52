//! The hub's numbers, as Prometheus asks for them. What they are is [`crate::metrics`]'s matter.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::hub::Hub;

/// The text format and its version.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /metrics`.
pub(crate) async fn metrics(State(hub): State<Hub>) -> Response {
    ([(CONTENT_TYPE, MEDIA_TYPE)], hub.metrics().await).into_response()
}
