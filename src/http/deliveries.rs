//! Why did she (not) get it: what became of one notification, and a search over all of them.
//!
//! A publisher sees what they published themselves, an administrator everything; what is somebody else's is 404, whether
//! it exists or not.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::problem::Problem;
use super::query::Fields;
use crate::audience::{Recipient, identifier};
use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::delivery::{DeliveryQuery, Held, Lookup, Outcome, Record, Scope, Story, Told, Which};
use crate::hub::Hub;

const UNKNOWN: &str = "there is no such notification";

/// Whether the caller may know what became of what this publisher sent.
fn may_know(caller: &Caller, publisher: &Arc<str>) -> bool {
    let scopes = caller.scopes();
    scopes.admin || (scopes.publish && caller.publisher() == *publisher)
}

/// A notification whose fate the caller may know.
pub(crate) enum Own {
    /// It is in the log.
    Kept(Box<Record>),
    /// It has not come there.
    Held(Box<Held>),
}

impl Own {
    /// Its id.
    pub(crate) fn id(&self) -> Uuid {
        match self {
            Self::Kept(record) => record.entry.id,
            Self::Held(held) => held.id,
        }
    }
}

/// The notification of this id or reference, if the caller may know what became of it.
pub(crate) async fn own(
    hub: &Hub,
    caller: &Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Own, Problem> {
    let Path(id) = id.map_err(|_| Problem::not_found(UNKNOWN))?;
    match hub.lookup(Which::parse(&id), None).await? {
        Lookup::Found(record) if may_know(caller, &record.publisher) => Ok(Own::Kept(record)),
        Lookup::Held(held) if may_know(caller, &held.publisher) => Ok(Own::Held(held)),
        Lookup::Pruned { id, created_at } if caller.scopes().admin => Err(Problem::not_found(
            format!("it was notification {id}, accepted at {created_at}, and is not kept any more"),
        )),
        Lookup::Found(_) | Lookup::Held(_) | Lookup::Pruned { .. } | Lookup::Unknown => {
            Err(Problem::not_found(UNKNOWN))
        }
    }
}

/// `GET /notifications/{id}/deliveries`; the id may also be a reference.
pub(crate) async fn of_one(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let own = own(&hub, &caller, id).await?;
    let story = match &own {
        Own::Kept(record) => Story::whole(record, hub.epoch()),
        Own::Held(held) => Story::held_whole(held),
    };
    Ok(Json(story).into_response())
}

/// `GET /deliveries`.
pub(crate) async fn search(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    mut fields: Fields,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Found<'a> {
        deliveries: Vec<Told<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_cursor: Option<String>,
    }
    let scope = scope(&mut fields)?;
    if matches!(scope, Scope::All(_)) && !caller.scopes().admin {
        // A page's cursor names the recipient that it ends at, and that may be somebody else's.
        return Err(Problem::field(
            "user",
            "is missing: without the scope admin, say user or role",
        ));
    }
    let query = DeliveryQuery {
        scope,
        publisher: (!caller.scopes().admin).then(|| caller.publisher()),
        since: fields
            .moment("since", Timestamp::now())?
            .unwrap_or_default(),
        cursor: fields.text("before")?,
        limit: fields.limit()?,
    };
    fields.done()?;
    let page = hub.deliveries(query).await?;
    let deliveries = page.deliveries.iter();
    Ok(Json(Found {
        deliveries: deliveries
            .map(|delivery| Told::new(delivery, hub.epoch()))
            .collect(),
        next_cursor: page.next,
    })
    .into_response())
}

/// Whose: a user's, a role's, everyone's, or all that came to one outcome.
fn scope(fields: &mut Fields) -> Result<Scope, Problem> {
    let outcome = match fields.text("outcome")? {
        None => None,
        Some(name) => Some(Outcome::named(&name).ok_or_else(|| {
            let names: Vec<&str> = Outcome::ALL.iter().map(|(_, name)| *name).collect();
            Problem::field("outcome", format!("must be one of {}", names.join(", ")))
        })?),
    };
    let named = |field: &str, name: &str| {
        identifier(name).map_err(|error| Problem::field(field, error.to_string()))
    };
    match (fields.text("user")?, fields.text("role")?) {
        (Some(_), Some(_)) => Err(Problem::field("role", "cannot stand together with user")),
        (Some(user), None) => Ok(Scope::Of(Recipient::User(named("user", &user)?), outcome)),
        (None, Some(role)) => Ok(Scope::Of(Recipient::Role(named("role", &role)?), outcome)),
        (None, None) => match outcome {
            Some(Outcome::Sent) => Err(Problem::field(
                "outcome",
                "sent is the rule, and is searched with user or role only",
            )),
            Some(outcome) => Ok(Scope::All(outcome)),
            None => Err(Problem::field(
                "user",
                "is missing: say user, role, or an outcome other than sent",
            )),
        },
    }
}

/// `GET /notifications?reference=`: the notification that has a reference, for whoever may see it.
pub(crate) async fn by_reference(
    hub: &Hub,
    caller: &Caller,
    reference: String,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Found<'a> {
        notifications: Vec<Story<'a>>,
    }
    #[derive(Serialize)]
    struct Seen<'a> {
        notifications: Vec<&'a RawValue>,
    }
    let found = hub
        .lookup(Which::Reference(reference), caller.user())
        .await?;
    let notifications = match &found {
        Lookup::Held(held) if may_know(caller, &held.publisher) => {
            vec![Story::held(held)]
        }
        Lookup::Found(record) if may_know(caller, &record.publisher) => {
            vec![Story::brief(record, hub.epoch())]
        }
        Lookup::Found(record) if record.in_inbox => {
            // Those who are told do not learn who else was, nor who told them.
            let notifications = vec![Story::brief(record, hub.epoch()).notification];
            return Ok(Json(Seen { notifications }).into_response());
        }
        Lookup::Found(_) | Lookup::Held(_) | Lookup::Pruned { .. } | Lookup::Unknown => Vec::new(),
    };
    Ok(Json(Found { notifications }).into_response())
}
