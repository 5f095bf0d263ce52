//! What became of webhooks, by endpoint and by notification, and sending them again.

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{UNKNOWN, id_of};
use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::http::body::Json;
use crate::http::deliveries::own;
use crate::http::problem::Problem;
use crate::http::query::{Fields, MAX_LIMIT, moment};
use crate::hub::Hub;
use crate::store::{Redeliver, Redelivered, Webhook, WebhookQuery, WebhookState, WebhooksOf};
use crate::webhooks::MAX_REDELIVERED;

/// Since when what has failed is sent again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Since {
    since: String,
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
        limit: MAX_LIMIT,
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
    let since = moment("since", &wanted.since, Timestamp::now())?;
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
