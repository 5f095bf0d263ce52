//! The inbox over HTTP: a page of it, or one notification.
//!
//! It is the caller's own. An administrator may look into anybody's, as that user would see it with the roles that are
//! named, and the log says who looked into whose. What is not in an inbox is 404, whether it exists or not.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use super::deliveries;
use super::problem::Problem;
use super::query::Fields;
use crate::audience::{InvalidIdentifier, identifier};
use crate::auth::Caller;
use crate::delivery::Which;
use crate::events;
use crate::hub::Hub;
use crate::inbox::{DEFAULT_PAGE, Filter, InboxQuery, MAX_FILTER, MAX_PAGE};
use crate::notification::{MAX_ROLES, Severity};
use crate::store::Viewer;

/// `GET /notifications`: the inbox; with `reference`, the one notification that has it.
pub(crate) async fn list(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    mut fields: Fields,
) -> Result<Response, Problem> {
    if let Some(reference) = fields.text("reference")? {
        fields.nothing_beside("reference")?;
        return deliveries::by_reference(&hub, &caller, reference).await;
    }
    let whose = Whose::asked(&caller, &mut fields)?;
    let query = InboxQuery {
        filter: filter(&mut fields)?,
        before: fields.text("before")?,
        limit: fields.limit_to(MAX_PAGE, DEFAULT_PAGE)?,
    };
    fields.done()?;
    let page = hub.inbox(whose.viewer.clone(), query).await?;
    whose.seen(&caller);
    Ok(Json(page).into_response())
}

/// `GET /notifications/{id}`; the id may also be a reference.
pub(crate) async fn one(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let whose = Whose::asked(&caller, &mut fields)?;
    fields.done()?;
    // Text that is no id names no notification either.
    let Path(id) = id.map_err(|_| Problem::not_in_this_inbox())?;
    let found = hub.inbox_item(whose.viewer.clone(), Which::parse(&id));
    let item = found.await?.ok_or_else(Problem::not_in_this_inbox)?;
    whose.seen(&caller);
    Ok(Json(item).into_response())
}

/// Whose inbox is looked into.
struct Whose {
    viewer: Viewer,
    /// By an administrator, who said whose.
    by_admin: bool,
}

impl Whose {
    /// From `user` and `role`, or the caller's own.
    fn asked(caller: &Caller, fields: &mut Fields) -> Result<Self, Problem> {
        let user = named("user", fields.text("user")?)?.pop();
        let roles = named("role", fields.texts("role", MAX_ROLES)?)?;
        let own = caller.user();
        match user {
            None if !roles.is_empty() => Err(Problem::field("role", "stands beside user only")),
            Some(user) if caller.scopes().admin => Ok(Self {
                viewer: Viewer {
                    user,
                    roles: roles.into(),
                },
                by_admin: true,
            }),
            Some(user) if !roles.is_empty() || own.is_none_or(|own| own.id != user) => {
                Err(Problem::forbidden(
                    "another user's inbox, or one's own with other roles, takes the scope admin",
                ))
            }
            Some(_) | None => Ok(Self {
                viewer: own.map(Viewer::from).ok_or_else(Problem::no_inbox)?,
                by_admin: false,
            }),
        }
    }

    /// Tells the log, if it was somebody else who looked.
    fn seen(&self, caller: &Caller) {
        if self.by_admin {
            tracing::info!(
                event = events::INBOX_VIEWED,
                by = %caller.publisher(),
                user = %self.viewer.user,
                "an administrator looked into an inbox"
            );
        }
    }
}

/// Names as they are compared.
fn named(field: &str, texts: impl IntoIterator<Item = String>) -> Result<Vec<Arc<str>>, Problem> {
    let wrong = |error: InvalidIdentifier| Problem::field(field, error.to_string());
    let names = texts.into_iter().map(|text| identifier(&text));
    names.collect::<Result<_, _>>().map_err(wrong)
}

/// Which part of it. `severity` and `module` may stand there several times.
fn filter(fields: &mut Fields) -> Result<Filter, Problem> {
    let unread = fields.flag("unread")?;
    let severity = |name: &String| {
        let names = Severity::ALL.map(|(_, name)| name).join(", ");
        let unknown = || Problem::field("severity", format!("must be one of {names}"));
        Severity::named(name).ok_or_else(unknown)
    };
    let severities = fields.texts("severity", MAX_FILTER)?;
    Ok(Filter {
        unread,
        severities: severities.iter().map(severity).collect::<Result<_, _>>()?,
        modules: named("module", fields.texts("module", MAX_FILTER)?)?,
    })
}
