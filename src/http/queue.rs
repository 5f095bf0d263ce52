//! What waits, what is wrong with it, and claims that are taken back by hand: for administrators.
//!
//! `campanile queue` speaks to these routes when a hub runs, because it has its store to itself.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use super::body::OptionalJson;
use super::problem::Problem;
use super::query::Fields;
use crate::auth::Caller;
use crate::clock::{Timestamp, rfc3339};
use crate::config::duration;
use crate::diagnosis::LEASE;
use crate::hub::Hub;
use crate::waiting::{Owed, WaitingCursor, WaitingQuery};

/// `GET /queue`.
pub(crate) async fn waiting(
    State(hub): State<Hub>,
    mut fields: Fields,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        /// Entries that are not through the fan-out, and when the first of them was accepted.
        depth: u64,
        #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
        oldest_queued_at: Option<Timestamp>,
        pending: u64,
        #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
        oldest_owed_at: Option<Timestamp>,
        processing: u64,
        #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
        oldest_claim_at: Option<Timestamp>,
        failed: u64,
        #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
        oldest_failed_at: Option<Timestamp>,
        owed: Vec<Owed>,
        /// For `after`, if there may be more.
        #[serde(skip_serializing_if = "Option::is_none")]
        next_cursor: Option<String>,
    }
    let after = fields.text("after")?;
    let after = after.map(|text| {
        WaitingCursor::parse(&text)
            .ok_or_else(|| Problem::field("after", "must be the nextCursor of the page before"))
    });
    let query = WaitingQuery {
        after: after.transpose()?,
        limit: fields.limit()?,
    };
    fields.done()?;
    let waiting = hub.waiting(query).await?;
    Ok(Json(Page {
        depth: waiting.queue.depth(),
        oldest_queued_at: waiting.queue.oldest_at,
        pending: waiting.counts.pending,
        oldest_owed_at: waiting.counts.oldest_owed_at,
        processing: waiting.counts.processing,
        oldest_claim_at: waiting.oldest_claim,
        failed: waiting.counts.failed,
        oldest_failed_at: waiting.oldest_failed,
        owed: waiting.owed,
        next_cursor: waiting.next.map(|cursor| cursor.to_string()),
    })
    .into_response())
}

/// `GET /queue/diagnosis`.
pub(crate) async fn diagnosis(
    State(hub): State<Hub>,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let deep = fields.flag("deep")?;
    fields.done()?;
    Ok(Json(hub.diagnose(deep).await?).into_response())
}

/// Which claims are to be taken back.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(crate) struct Unlock {
    execute: bool,
    force: bool,
    older_than: Option<String>,
}

/// `POST /queue/unlock`.
pub(crate) async fn unlock(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    OptionalJson(unlock): OptionalJson<Unlock>,
) -> Result<Response, Problem> {
    let older_than: Duration = match &unlock.older_than {
        None => LEASE,
        Some(text) => {
            duration::parse(text).map_err(|error| Problem::field("olderThan", error.to_string()))?
        }
    };
    let by = caller.publisher();
    let unlocked = hub
        .unlock(older_than, unlock.force, unlock.execute, &by)
        .await?;
    Ok(Json(unlocked).into_response())
}
