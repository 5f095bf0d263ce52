//! `/users/{user}/revoke`: taking a user's credentials back.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::Serialize;

use super::problem::Problem;
use crate::audience::identifier;
use crate::auth::Caller;
use crate::events;
use crate::hub::Hub;

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Revoked {
    user_id: String,
    revoked_at: String,
    streams_ended: usize,
}

/// `POST /users/{user}/revoke`. What is in the body, if anything, is not looked at.
pub(crate) async fn revoke(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    user: Result<Path<String>, PathRejection>,
) -> Result<Json<Revoked>, Problem> {
    let no_user = || Problem::not_found("this can be no user's name");
    let Path(user) = user.map_err(|_| no_user())?;
    let user = identifier(&user).map_err(|_| no_user())?;
    let revoked = hub.revoke_user(user.clone()).await?;
    tracing::info!(
        event = events::USER_REVOKED,
        %user,
        by = %caller.publisher(),
        streams = revoked.streams,
        "a user's credentials were taken back"
    );
    Ok(Json(Revoked {
        user_id: user.to_string(),
        revoked_at: revoked.at.to_string(),
        streams_ended: revoked.streams,
    }))
}
