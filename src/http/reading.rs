//! Read marks: one notification, or all up to an event id.
//!
//! Both are idempotent and answer 204: a client that is not sure whether its mark arrived sends it again. Whatever is
//! not in the caller's own inbox is 404, whether it exists or not, so that ids cannot be probed.

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use uuid::Uuid;

use super::body::OptionalJson;
use super::problem::Problem;
use crate::auth::{Caller, User};
use crate::hub::{Hub, ReadError};

/// How far to mark all read.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(crate) struct ReadAll {
    /// The event id up to which the reader has seen everything; without it, the last there is.
    up_to: Option<String>,
}

/// `POST /notifications/{id}/read`.
pub(crate) async fn read(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    // Text that is no id names no notification either.
    let Path(id) = id.map_err(|_| ReadError::Unknown)?;
    let id = Uuid::parse_str(&id).map_err(|_| ReadError::Unknown)?;
    hub.mark_read(reader(&caller)?, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /notifications/read-all`.
pub(crate) async fn read_all(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    OptionalJson(ReadAll { up_to }): OptionalJson<ReadAll>,
) -> Result<StatusCode, Problem> {
    hub.mark_all_read(reader(&caller)?, up_to.as_deref())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn reader(caller: &Caller) -> Result<&User, Problem> {
    caller
        .user()
        .ok_or_else(|| Problem::forbidden("an API key has no inbox"))
}
