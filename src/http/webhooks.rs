//! Webhook endpoints over HTTP: made, changed, tried out and looked into by administrators.
//!
//! A secret stands in two answers, the one to its making and the one to its rotation, and in no other.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::body::Json;
use super::deliveries::own;
use super::problem::Problem;
use super::query::Fields;
use crate::audience::identifier;
use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::config::duration;
use crate::events;
use crate::hub::{Hub, TestError};
use crate::notification::{FieldError, Severity};
use crate::store::{
    EndpointChange, Redeliver, Redelivered, Webhook, WebhookQuery, WebhookState, WebhooksOf,
};
use crate::webhooks::{
    DisabledBy, Endpoint, Filter, MAX_ENDPOINTS, MAX_FILTER, MAX_REDELIVERED, MAX_URL_BYTES, On,
    Reach,
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

/// Since when what has failed is sent again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Since {
    since: String,
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

/// A webhook and what became of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told<'a> {
    id: Uuid,
    endpoint_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification_id: Option<Uuid>,
    r#type: &'static str,
    status: &'static str,
    attempts: u32,
    created_at: String,
    changed_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> Told<'a> {
    pub(crate) fn new(webhook: &'a Webhook) -> Self {
        Self {
            id: webhook.id,
            endpoint_id: webhook.endpoint,
            notification_id: webhook.notification,
            r#type: webhook.topic.name(),
            status: webhook.state.name(),
            attempts: webhook.attempts,
            created_at: webhook.made_at.to_string(),
            changed_at: webhook.changed_at.to_string(),
            // A test is due before everything else, and so at no moment that would mean anything.
            next_at: webhook
                .next_at
                .filter(|moment| *moment > Timestamp::default())
                .map(|moment| moment.to_string()),
            answer_status: webhook.status,
            answer: webhook.answer.as_deref(),
            error: webhook.error.as_deref(),
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
        if text.len() > MAX_URL_BYTES {
            self.push("url", format!("must be at most {MAX_URL_BYTES} bytes"));
            return None;
        }
        match reach.url(text) {
            Ok(url) => Some(url.into()),
            Err(error) => {
                self.push("url", error.to_string());
                None
            }
        }
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

/// `GET /webhooks/{id}/deliveries`.
pub(crate) async fn history(
    State(hub): State<Hub>,
    id: Result<Path<String>, PathRejection>,
    mut fields: Fields,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Page<'a> {
        deliveries: Vec<Told<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_cursor: Option<i64>,
    }
    let id = id_of(id, UNKNOWN)?;
    let state = match fields.text("status")? {
        None => None,
        Some(name) => Some(WebhookState::named(&name).ok_or_else(|| {
            let names: Vec<&str> = WebhookState::ALL.iter().map(|(_, name)| *name).collect();
            Problem::field("status", format!("must be one of {}", names.join(", ")))
        })?),
    };
    let query = WebhookQuery {
        of: WebhooksOf::Endpoint(id),
        state,
        before: fields.number("before", 1..=i64::MAX)?,
        limit: fields.limit()?,
    };
    fields.done()?;
    let webhooks = hub.webhooks(query).await?;
    if webhooks.is_empty() && hub.endpoint(id).await?.is_none() {
        return Err(Problem::not_found(UNKNOWN));
    }
    let more = webhooks.len() == query.limit;
    Ok(axum::Json(Page {
        deliveries: webhooks.iter().map(Told::new).collect(),
        next_cursor: webhooks.last().filter(|_| more).map(|last| last.number),
    })
    .into_response())
}

/// `GET /notifications/{id}/webhooks`; the id may also be a reference.
pub(crate) async fn of_notification(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Of<'a> {
        webhooks: Vec<Told<'a>>,
    }
    let own = own(&hub, &caller, id).await?;
    let query = WebhookQuery {
        of: WebhooksOf::Notification(own.id()),
        state: None,
        before: None,
        // One for each endpoint that there is or was.
        limit: super::query::MAX_LIMIT,
    };
    let webhooks = hub.webhooks(query).await?;
    let webhooks = webhooks.iter().map(Told::new).collect();
    Ok(axum::Json(Of { webhooks }).into_response())
}

/// `POST /webhooks/deliveries/{id}/redeliver`.
pub(crate) async fn redeliver_one(
    State(hub): State<Hub>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let unknown = "there is no such webhook";
    let id = id_of(id, unknown)?;
    redelivered(hub.redeliver(Redeliver::One(id)).await?, unknown)
}

/// `POST /webhooks/{id}/redeliver`.
pub(crate) async fn redeliver_failed(
    State(hub): State<Hub>,
    id: Result<Path<String>, PathRejection>,
    Json(wanted): Json<Since>,
) -> Result<Response, Problem> {
    let endpoint = id_of(id, UNKNOWN)?;
    let ago = |ago| Timestamp::now().saturating_sub(ago);
    let since = Timestamp::parse_rfc3339(&wanted.since)
        .or_else(|_| duration::parse(&wanted.since).map(ago))
        .map_err(|_| {
            Problem::field(
                "since",
                "must be a time in RFC 3339, such as 2026-12-01T09:00:00Z, or how long ago, such as 24h",
            )
        })?;
    let which = Redeliver::Failed {
        endpoint,
        since,
        limit: MAX_REDELIVERED,
    };
    redelivered(hub.redeliver(which).await?, UNKNOWN)
}

/// 202: they wait.
fn redelivered(outcome: Redelivered, unknown: &'static str) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Waiting {
        redelivered: usize,
        more: bool,
    }
    match outcome {
        Redelivered::Waiting(redelivered) => {
            let more = redelivered == MAX_REDELIVERED;
            let waiting = axum::Json(Waiting { redelivered, more });
            Ok((StatusCode::ACCEPTED, waiting).into_response())
        }
        Redelivered::Unknown => Err(Problem::not_found(unknown)),
        Redelivered::Already => Err(Problem::conflict("it is waiting to be sent already")),
        Redelivered::Disabled => Err(Problem::conflict(
            "its endpoint is disabled or gone; nothing is sent there",
        )),
    }
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
