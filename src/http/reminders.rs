//! Reminders over HTTP: a publisher keeps its own, by its own keys, and looks at what came of them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::body::{JsonText, object};
use super::problem::Problem;
use super::publish::Fields as BodyFields;
use super::query::Fields;
use super::webhooks::Told as Webhook;
use crate::audience::identifier;
use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::config::duration;
use crate::hub::{Hub, Sweep};
use crate::notification::Draft;
use crate::reminders::{Reminder, ReminderDraft, overdue_in_words};
use crate::store::{Kept, ReminderQuery};

/// When a publisher should try again who found no room for another reminder.
const FULL_RETRY: std::time::Duration = std::time::Duration::from_secs(60);

/// A reminder as it is listed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    key: &'a str,
    publisher: &'a str,
    due_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_every: Option<String>,
    overdue: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    overdue_text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_sent_at: Option<String>,
    sent: u64,
    created_at: String,
    changed_at: String,
    draft: &'a RawValue,
}

impl<'a> Told<'a> {
    fn new(reminder: &'a Reminder, now: Timestamp) -> Self {
        let overdue = reminder.overdue(now);
        Self {
            key: &reminder.key,
            publisher: &reminder.publisher,
            due_at: reminder.due_at.to_string(),
            repeat_every: reminder.repeat_every.map(duration::format),
            overdue: overdue.is_some(),
            overdue_text: overdue.map(overdue_in_words),
            next_at: reminder.next_at.map(|moment| moment.to_string()),
            last_sent_at: reminder.last_at.map(|moment| moment.to_string()),
            sent: reminder.sent,
            created_at: reminder.created_at.to_string(),
            changed_at: reminder.changed_at.to_string(),
            // It was written as JSON.
            draft: serde_json::from_str(&reminder.draft).unwrap_or(RawValue::NULL),
        }
    }
}

fn unknown() -> Problem {
    Problem::not_found("there is no reminder of this key")
}

/// Whose reminder is meant: the caller's own, or that of the publisher whom an administrator names.
fn whose(caller: &Caller, fields: &mut Fields) -> Result<Arc<str>, Problem> {
    let own = caller.publisher();
    match fields.text("publisher")? {
        None => Ok(own),
        Some(named) if caller.scopes().admin || *named == *own => Ok(named.into()),
        Some(_) => Err(Problem::forbidden(
            "another publisher's reminders take the scope admin",
        )),
    }
}

/// The key in a path; one that cannot be a key is nobody's.
fn key_of(key: Result<Path<String>, PathRejection>) -> Result<Arc<str>, Problem> {
    let Path(key) = key.map_err(|_| unknown())?;
    identifier(&key).map_err(|_| unknown())
}

/// `PUT /reminders/{key}`: `dueAt`, `repeatEvery`, and what a draft has.
pub(crate) async fn keep(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    key: Result<Path<String>, PathRejection>,
    JsonText(text): JsonText,
) -> Result<Response, Problem> {
    let Path(key) = key.map_err(|_| unknown())?;
    hub.publishing_allowed(&caller.publisher(), 1)?;
    let mut fields: BodyFields<'_> = object(&text)?;
    let mut take = |name: &str| -> Result<Option<String>, Problem> {
        let text = match fields.take(name).as_slice() {
            [] => return Ok(None),
            [only] => serde_json::from_str(only.get()),
            [_, _, ..] => return Err(Problem::field(name, "stands there twice")),
        };
        text.map_err(|_| Problem::field(name, "must be a text"))
    };
    let (due_at, repeat_every) = (take("dueAt")?, take("repeatEvery")?);
    let rest = serde_json::to_string(&fields).unwrap_or_default();
    let draft: Draft = object(&rest)?;
    let draft = ReminderDraft {
        due_at,
        repeat_every,
        draft,
    };
    let now = Timestamp::now();
    let (reminder, status) = match hub
        .keep_reminder(draft.validate(&key, caller.publisher(), now)?)
        .await?
    {
        Kept::New(reminder) => (reminder, StatusCode::CREATED),
        Kept::Changed(reminder) => (reminder, StatusCode::OK),
        Kept::TooMany => {
            return Err(Problem::unavailable(
                "there are as many reminders as may be",
                FULL_RETRY,
            ));
        }
    };
    Ok((status, axum::Json(Told::new(&reminder, now))).into_response())
}

/// `GET /reminders/{key}`.
pub(crate) async fn get(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    key: Result<Path<String>, PathRejection>,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let publisher = whose(&caller, &mut fields)?;
    fields.done()?;
    let found = hub.reminder(publisher, key_of(key)?).await?;
    let reminder = found.ok_or_else(unknown)?;
    Ok(axum::Json(Told::new(&reminder, Timestamp::now())).into_response())
}

/// `DELETE /reminders/{key}`: it is done.
pub(crate) async fn remove(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    key: Result<Path<String>, PathRejection>,
    mut fields: Fields,
) -> Result<StatusCode, Problem> {
    let publisher = whose(&caller, &mut fields)?;
    fields.done()?;
    if hub.remove_reminder(publisher, key_of(key)?).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(unknown())
    }
}

/// `GET /reminders`: one's own; an administrator's view has everybody's.
pub(crate) async fn list(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    mut fields: Fields,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Found<'a> {
        reminders: Vec<Told<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_cursor: Option<String>,
    }
    let now = Timestamp::now();
    let overdue = fields.flag("overdue")?;
    let query = ReminderQuery {
        publisher: (!caller.scopes().admin).then(|| caller.publisher()),
        overdue_at: overdue.then_some(now),
        after: fields.number("after", 0..=i64::MAX)?.unwrap_or_default(),
        limit: fields.limit()?,
    };
    fields.done()?;
    let limit = query.limit;
    let reminders = hub.reminders(query).await?;
    let last = reminders.last().filter(|_| reminders.len() == limit);
    Ok(axum::Json(Found {
        next_cursor: last.map(|reminder| reminder.number.to_string()),
        reminders: reminders.iter().map(|it| Told::new(it, now)).collect(),
    })
    .into_response())
}

/// `GET /reminders/{key}/history`: what was published, and what its webhooks were answered.
pub(crate) async fn history(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    key: Result<Path<String>, PathRejection>,
    mut fields: Fields,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Sent<'a> {
        notification_id: Uuid,
        sent_at: String,
        overdue_text: String,
        webhooks: Vec<Webhook<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Found<'a> {
        key: &'a str,
        history: Vec<Sent<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_cursor: Option<String>,
    }
    let (publisher, key) = (whose(&caller, &mut fields)?, key_of(key)?);
    let before = fields.number("before", 1..=i64::MAX)?.unwrap_or(i64::MAX);
    let limit = fields.limit()?;
    fields.done()?;
    let sent = hub
        .reminded(Arc::clone(&publisher), Arc::clone(&key), before, limit)
        .await?;
    if sent.is_empty() && hub.reminder(publisher, Arc::clone(&key)).await?.is_none() {
        return Err(unknown());
    }
    let last = sent.last().filter(|_| sent.len() == limit);
    let history = sent.iter().map(|(reminded, webhooks)| Sent {
        notification_id: reminded.notification,
        sent_at: reminded.at.to_string(),
        overdue_text: overdue_in_words(reminded.overdue),
        webhooks: webhooks.iter().map(Webhook::new).collect(),
    });
    Ok(axum::Json(Found {
        key: &key,
        history: history.collect(),
        next_cursor: last.map(|(reminded, _)| reminded.number.to_string()),
    })
    .into_response())
}

/// `POST /cron/check-overdue`: sweeps now.
pub(crate) async fn check_overdue(State(hub): State<Hub>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer<'a> {
        message: String,
        total_overdue: u64,
        notifications_sent: usize,
        notifications: Vec<Sent<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Sent<'a> {
        key: &'a str,
        publisher: &'a str,
        title: String,
        overdue_text: String,
        notification_id: Uuid,
        sent_at: String,
        /// None while nobody knows.
        webhook_status: Option<&'static str>,
    }
    let Sweep {
        overdue,
        sent,
        named,
    } = hub.check_overdue().await?;
    let notifications = named.iter().map(|named| Sent {
        key: &named.reminded.key,
        publisher: &named.reminded.publisher,
        title: title(&named.body),
        overdue_text: overdue_in_words(named.reminded.overdue),
        notification_id: named.reminded.notification,
        sent_at: named.reminded.at.to_string(),
        webhook_status: named.webhook.map(|state| state.name()),
    });
    Ok(axum::Json(Answer {
        message: match (overdue, sent) {
            (0, 0) => "nothing is overdue".to_owned(),
            (_, 0) => "whatever is overdue was published within its window".to_owned(),
            (_, 1) => "1 notification was published".to_owned(),
            (_, sent) => format!("{sent} notifications were published"),
        },
        total_overdue: overdue,
        notifications_sent: sent,
        notifications: notifications.collect(),
    })
    .into_response())
}

/// The title in a public part, or else its message.
fn title(body: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Public {
        title: Option<String>,
        message: String,
    }
    serde_json::from_str::<Public>(body)
        .map(|public| public.title.unwrap_or(public.message))
        .unwrap_or_default()
}
