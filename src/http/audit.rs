//! The audit of requests under keys that had an answer already.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use uuid::Uuid;

use super::problem::Problem;
use super::query::Fields;
use crate::clock::Timestamp;
use crate::hub::Hub;
use crate::store::{Duplicate, DuplicateOutcome, DuplicateQuery};

/// One of them as it is listed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    publisher: &'a str,
    key: &'a str,
    outcome: &'static str,
    notification_id: Uuid,
    at: String,
}

impl<'a> From<&'a Duplicate> for Listed<'a> {
    fn from(duplicate: &'a Duplicate) -> Self {
        Self {
            publisher: &duplicate.publisher,
            key: &duplicate.key,
            outcome: match duplicate.outcome {
                DuplicateOutcome::Answered => "answered",
                DuplicateOutcome::Refused => "refused",
            },
            notification_id: duplicate.notification_id,
            at: duplicate.at.to_string(),
        }
    }
}

/// `GET /audit/duplicates`.
pub(crate) async fn duplicates(
    State(hub): State<Hub>,
    mut fields: Fields,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Page<'a> {
        duplicates: Vec<Listed<'a>>,
        /// For `before`, if there may be more.
        #[serde(skip_serializing_if = "Option::is_none")]
        next_cursor: Option<String>,
    }
    let now = Timestamp::now();
    let query = DuplicateQuery {
        key: fields.text("key")?,
        publisher: fields.text("publisher")?,
        since: fields.moment("since", now)?.unwrap_or_default(),
        until: fields.moment("until", now)?.unwrap_or(Timestamp::MAX),
        before: fields.number("before", 0..=i64::MAX)?,
        limit: fields.limit()?,
    };
    fields.done()?;
    let limit = query.limit;
    let found = hub.duplicates(query).await?;
    let more = found.last().filter(|_| found.len() == limit);
    Ok(Json(Page {
        next_cursor: more.map(|last| last.number.to_string()),
        duplicates: found.iter().map(Listed::from).collect(),
    })
    .into_response())
}
