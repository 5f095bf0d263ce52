//! Webhook endpoints over HTTP: made, changed and tried out by administrators. `history.rs` has what became of what was sent there.
//!
//! A secret stands in two answers, the one to its making and the one to its rotation, and in no other.

mod history;

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) use self::history::{Told, history, of_notification, redeliver_failed, redeliver_one};
use super::body::Json;
use super::problem::Problem;
use crate::audience::identifier;
use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::events;
use crate::hub::{Hub, TestError};
use crate::notification::{FieldError, Severity};
use crate::store::EndpointChange;
use crate::webhooks::{
    DisabledBy, Endpoint, Filter, MAX_ENDPOINTS, MAX_FILTER, MAX_URL_BYTES, On, Reach,
};

const UNKNOWN: &str = "there is no such webhook endpoint";

/// What an endpoint is to be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewEndpoint {
    url: String,
    on: On,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    modules: Vec<String>,
    #[serde(default)]
    severities: Vec<Severity>,
}

/// What is to change about one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    url: Option<String>,
    on: Option<On>,
    roles: Option<Vec<String>>,
    modules: Option<Vec<String>>,
    severities: Option<Vec<Severity>>,
    enabled: Option<bool>,
}

/// An endpoint as it is listed; `secret` only when that has just been drawn.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    id: Uuid,
    url: &'a str,
    on: On,
    roles: &'a [Arc<str>],
    modules: &'a [Arc<str>],
    severities: &'a [Severity],
    enabled: bool,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_by: Option<DisabledBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// Until when the secret before signs as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_secret_until: Option<String>,
}

impl<'a> Listed<'a> {
    fn new(endpoint: &'a Endpoint) -> Self {
        let old = endpoint.old_secret.as_ref().map(|(_, until)| *until);
        Self {
            id: endpoint.id,
            url: &endpoint.url,
            on: endpoint.on,
            roles: &endpoint.filter.roles,
            modules: &endpoint.filter.modules,
            severities: &endpoint.filter.severities,
            enabled: endpoint.disabled.is_none(),
            created_at: endpoint.created_at.to_string(),
            failing_since: endpoint.failing_since.map(|moment| moment.to_string()),
            disabled_at: endpoint.disabled.map(|disabled| disabled.at.to_string()),
            disabled_by: endpoint.disabled.map(|disabled| disabled.by),
            secret: None,
            old_secret_until: old
                .filter(|until| *until > Timestamp::now())
                .map(|until| until.to_string()),
        }
    }

    fn with_secret(endpoint: &'a Endpoint) -> Self {
        Self {
            secret: Some(endpoint.secret.reveal()),
            ..Self::new(endpoint)
        }
    }
}

/// The fields that are wrong.
#[derive(Default)]
struct Wrong(Vec<FieldError>);

impl Wrong {
    fn push(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError {
            field: field.into(),
            message: message.into(),
        });
    }

    fn url(&mut self, text: &str, reach: &Reach) -> Option<String> {
        let long = |text: &str| text.len() > MAX_URL_BYTES;
        let problem = match reach.url(text) {
            _ if long(text) => format!("must be at most {MAX_URL_BYTES} bytes"),
            // It is kept as it is sent to, with a slash after its host and with letters beyond ASCII encoded.
            Ok(url) if long(url.as_str()) => {
                format!("must be at most {MAX_URL_BYTES} bytes when it is written out")
            }
            Ok(url) => return Some(url.into()),
            Err(error) => error.to_string(),
        };
        self.push("url", problem);
        None
    }

    fn words(&mut self, field: &str, words: &[String]) -> Vec<Arc<str>> {
        self.bounded(field, words);
        let mut checked = Vec::with_capacity(words.len());
        for (i, word) in words.iter().enumerate() {
            match identifier(word) {
                Ok(word) => checked.push(word),
                Err(error) => self.push(format!("{field}[{i}]"), error.to_string()),
            }
        }
        checked
    }

    fn bounded<T>(&mut self, field: &str, list: &[T]) {
        if list.len() > MAX_FILTER {
            self.push(field, format!("must name at most {MAX_FILTER}"));
        }
    }

    fn done(self) -> Result<(), Problem> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Problem::invalid(self.0))
        }
    }
}

fn id_of(id: Result<Path<String>, PathRejection>, unknown: &'static str) -> Result<Uuid, Problem> {
    let Path(id) = id.map_err(|_| Problem::not_found(unknown))?;
    Uuid::parse_str(&id).map_err(|_| Problem::not_found(unknown))
}

/// `POST /webhooks`.
pub(crate) async fn create(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Json(wanted): Json<NewEndpoint>,
) -> Result<Response, Problem> {
    let mut wrong = Wrong::default();
    let url = wrong.url(&wanted.url, hub.webhook_reach());
    let filter = Filter {
        roles: wrong.words("roles", &wanted.roles),
        modules: wrong.words("modules", &wanted.modules),
        severities: wanted.severities,
    };
    wrong.bounded("severities", &filter.severities);
    wrong.done()?;
    let endpoint = hub
        .create_endpoint(url.unwrap_or_default(), wanted.on, filter)
        .await?;
    let endpoint = endpoint.ok_or_else(|| {
        Problem::conflict(format!(
            "there are {MAX_ENDPOINTS} webhook endpoints already"
        ))
    })?;
    tracing::info!(event = events::ENDPOINT_CREATED, endpoint = %endpoint.id, by = %caller.publisher(), "a webhook endpoint was made");
    let listed = axum::Json(Listed::with_secret(&endpoint));
    Ok((StatusCode::CREATED, listed).into_response())
}

/// `GET /webhooks`.
pub(crate) async fn list(State(hub): State<Hub>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Endpoints<'a> {
        endpoints: Vec<Listed<'a>>,
    }
    let endpoints = hub.endpoints().await?;
    let endpoints = endpoints.iter().map(Listed::new).collect();
    Ok(axum::Json(Endpoints { endpoints }).into_response())
}

/// `GET /webhooks/{id}`.
pub(crate) async fn one(
    State(hub): State<Hub>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let endpoint = hub.endpoint(id_of(id, UNKNOWN)?).await?;
    let endpoint = endpoint.ok_or_else(|| Problem::not_found(UNKNOWN))?;
    Ok(axum::Json(Listed::new(&endpoint)).into_response())
}

/// `PATCH /webhooks/{id}`.
pub(crate) async fn change(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
    Json(wanted): Json<Change>,
) -> Result<Response, Problem> {
    let id = id_of(id, UNKNOWN)?;
    let mut wrong = Wrong::default();
    let reach = hub.webhook_reach();
    let change = EndpointChange {
        url: wanted.url.and_then(|url| wrong.url(&url, reach)),
        on: wanted.on,
        roles: wanted.roles.map(|words| wrong.words("roles", &words)),
        modules: wanted.modules.map(|words| wrong.words("modules", &words)),
        severities: wanted.severities,
        enabled: wanted.enabled,
        ..EndpointChange::default()
    };
    wrong.bounded(
        "severities",
        change.severities.as_deref().unwrap_or_default(),
    );
    wrong.done()?;
    let endpoint = hub.change_endpoint(id, change).await?;
    let endpoint = endpoint.ok_or_else(|| Problem::not_found(UNKNOWN))?;
    tracing::info!(event = events::ENDPOINT_CHANGED, endpoint = %id, by = %caller.publisher(), "a webhook endpoint was changed");
    Ok(axum::Json(Listed::new(&endpoint)).into_response())
}

/// `DELETE /webhooks/{id}`.
pub(crate) async fn remove(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let id = id_of(id, UNKNOWN)?;
    if !hub.remove_endpoint(id).await? {
        return Err(Problem::not_found(UNKNOWN));
    }
    tracing::info!(event = events::ENDPOINT_DELETED, endpoint = %id, by = %caller.publisher(), "a webhook endpoint was deleted");
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /webhooks/{id}/rotate`.
pub(crate) async fn rotate(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let id = id_of(id, UNKNOWN)?;
    let endpoint = hub.rotate_secret(id).await?;
    let endpoint = endpoint.ok_or_else(|| Problem::not_found(UNKNOWN))?;
    tracing::info!(event = events::ENDPOINT_CHANGED, endpoint = %id, by = %caller.publisher(), "a webhook endpoint has a new secret");
    Ok(axum::Json(Listed::with_secret(&endpoint)).into_response())
}

/// `POST /webhooks/{id}/test`: the answer says what came of it.
pub(crate) async fn test(
    State(hub): State<Hub>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let webhook = hub.test_endpoint(id_of(id, UNKNOWN)?).await?;
    Ok(axum::Json(Told::new(&webhook)).into_response())
}

impl From<TestError> for Problem {
    fn from(error: TestError) -> Self {
        match error {
            TestError::Unknown => Self::not_found(UNKNOWN),
            TestError::Disabled => {
                Self::conflict("the endpoint is disabled; enable it to try it out")
            }
            TestError::Draining => Self::draining(),
            TestError::Store(error) => error.into(),
        }
    }
}
