//! How the hub is: for its users, its administrators, and whatever starts and stops it.
//!
//! Liveness and readiness are two questions. `/healthz` says that the process answers, and nothing that a restart could
//! not cure makes it fail; `/readyz` says whether traffic should come here now, and fails while the hub stops or its store
//! does not answer.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use super::problem::Problem;
use crate::auth::Caller;
use crate::hub::Hub;
use crate::registry::Connection;

/// When a probe may look again.
const READY_RETRY: Duration = Duration::from_secs(1);

/// `GET /notifications/status`.
pub(crate) async fn status(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    of(&hub, &caller).await
}

/// The status as this caller may see it.
pub(crate) async fn of(hub: &Hub, caller: &Caller) -> Result<Response, Problem> {
    Ok(Json(hub.status(caller).await?).into_response())
}

/// `GET /notifications/connections`.
pub(crate) async fn connections(State(hub): State<Hub>) -> Response {
    #[derive(Serialize)]
    struct Connections {
        connections: Vec<Connection>,
    }
    let connections = hub.connections();
    Json(Connections { connections }).into_response()
}

/// `GET /healthz`.
pub(crate) async fn healthz() -> Response {
    word("ok")
}

/// `GET /readyz`.
pub(crate) async fn readyz(State(hub): State<Hub>) -> Result<Response, Problem> {
    match hub.ready().await {
        Ok(()) => Ok(word("ready")),
        Err(reason) => Err(Problem::unavailable(reason.to_string(), READY_RETRY)),
    }
}

fn word(status: &'static str) -> Response {
    #[derive(Serialize)]
    struct Word {
        status: &'static str,
    }
    Json(Word { status }).into_response()
}
