//! API keys over HTTP: made, listed and revoked by administrators.
//!
//! The key itself stands in one answer, the one to its making; the store keeps its hash. `campanile key` speaks to
//! these routes when a hub runs, because only the hub that serves a key can stop serving it at once.

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::body::Json;
use super::problem::Problem;
use crate::audience::identifier;
use crate::auth::{Caller, Scope, Scopes, StoredKey};
use crate::events;
use crate::hub::Hub;
use crate::notification::FieldError;

/// What a new key is to be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    name: String,
    scopes: Vec<Scope>,
}

/// A key as it is listed; `key` only when it has just been made.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    name: &'a str,
    scopes: Vec<Scope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
}

impl<'a> Listed<'a> {
    fn new(stored: &'a StoredKey, key: Option<&'a str>) -> Self {
        Self {
            name: &stored.name,
            scopes: stored.scopes.list(),
            key,
            created_at: stored.created_at.to_string(),
            revoked_at: stored.revoked_at.map(|moment| moment.to_string()),
        }
    }
}

/// `POST /keys`.
pub(crate) async fn create(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Json(wanted): Json<NewKey>,
) -> Result<Response, Problem> {
    let mut wrong = Vec::new();
    let mut check = |field: &str, message: String| {
        wrong.push(FieldError {
            field: field.to_owned(),
            message,
        });
    };
    let name = identifier(&wanted.name)
        .map_err(|error| check("name", error.to_string()))
        .ok();
    let scopes: Scopes = wanted.scopes.into_iter().collect();
    if scopes == Scopes::default() {
        check("scopes", "must name publish or admin".to_owned());
    }
    let (Some(name), true) = (name, wrong.is_empty()) else {
        return Err(Problem::invalid(wrong));
    };
    let (key, stored) = hub.create_key(&name, scopes).await?;
    tracing::info!(event = events::KEY_CREATED, name = %stored.name, by = %caller.publisher(), "an API key was made");
    let listed = Listed::new(&stored, Some(&key));
    Ok((StatusCode::CREATED, axum::Json(listed)).into_response())
}

/// `GET /keys`.
pub(crate) async fn list(State(hub): State<Hub>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Keys<'a> {
        keys: Vec<Listed<'a>>,
    }
    let stored = hub.keys().await?;
    let keys = stored.iter().map(|key| Listed::new(key, None)).collect();
    Ok(axum::Json(Keys { keys }).into_response())
}

/// `DELETE /keys/{name}`.
pub(crate) async fn revoke(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    name: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let unknown = || Problem::not_found("there is no key of this name that is not revoked");
    let Path(name) = name.map_err(|_| unknown())?;
    let name = identifier(&name).map_err(|_| unknown())?;
    if !hub.revoke_key(&name).await? {
        return Err(unknown());
    }
    tracing::info!(event = events::KEY_REVOKED, %name, by = %caller.publisher(), "an API key was revoked");
    Ok(StatusCode::NO_CONTENT)
}
