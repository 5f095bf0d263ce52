//! `POST /notifications/batch`: many drafts in one request and one commit, each with an answer of its own.
//!
//! The answer is 200 as soon as the batch can be read, with one result for each draft in the order in which they came:
//! a draft that is refused takes none of its neighbours with it. Only what concerns all of them fails all of them: a
//! body that is no batch, and a store that cannot store.

use std::fmt;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::body::{BodyTimeout, JSON, NDJSON, content_type, not_json, object, read};
use super::problem::Problem;
use super::publish::{KEY_HEADER, status_of};
use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::hub::{Hub, Receipt};
use crate::metrics::Refused;
use crate::notification::{
    Draft, Ephemeral, Kind, MAX_BATCH_BYTES, MAX_BATCH_DRAFTS, MAX_DRAFT_BYTES, Validated,
};

/// `POST /notifications/batch`.
pub(crate) async fn batch(
    State(hub): State<Hub>,
    State(timeout): State<BodyTimeout>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    if request.headers().contains_key(KEY_HEADER) {
        return Err(Problem::field(
            KEY_HEADER,
            "cannot stand for several drafts: each has its own idempotencyKey",
        ));
    }
    let form = content_type(request.headers(), &[JSON, NDJSON])?;
    let text = read(request, MAX_BATCH_BYTES, timeout).await?;
    let drafts = if form == JSON {
        elements(&text)?
    } else {
        lines(&text)?
    };

    hub.publishing_allowed(&caller.publisher(), drafts.len())?;
    let now = Timestamp::now();
    let mut stored = Vec::with_capacity(drafts.len());
    let checked: Vec<Result<Checked, Problem>> = drafts
        .into_iter()
        .map(|draft| {
            match validated(draft, &caller, now)
                .inspect_err(|_| hub.counted().refused(Refused::Invalid, 1))?
            {
                Validated::Notification(notification) => {
                    stored.push(notification);
                    Ok(Checked::Stored)
                }
                Validated::Ephemeral(ephemeral) => Ok(Checked::Ephemeral(ephemeral)),
            }
        })
        .collect();
    let receipts = if stored.is_empty() {
        Vec::new()
    } else {
        hub.publish_all(stored).await?
    };
    let mut receipts = receipts.into_iter();
    let results = checked.into_iter().map(|checked| {
        let receipt = match checked? {
            Checked::Stored => receipts.next().ok_or_else(Problem::draining)??,
            Checked::Ephemeral(ephemeral) => hub.pass_on(&ephemeral)?,
        };
        Ok(receipt)
    });
    let results = results.map(Outcome);
    Ok(axum::Json(Results {
        results: results.collect(),
    })
    .into_response())
}

/// A draft that is not refused by itself. Those that are not stored go out when the others are.
enum Checked {
    Stored,
    Ephemeral(Ephemeral),
}

fn validated(draft: &str, caller: &Caller, now: Timestamp) -> Result<Validated, Problem> {
    if draft.len() > MAX_DRAFT_BYTES {
        return Err(Problem::too_large(MAX_DRAFT_BYTES));
    }
    let draft: Draft = object(draft)?;
    Ok(draft.validate(Kind::Notification, caller.publisher(), now)?)
}

/// The drafts of NDJSON; empty lines, such as the one after the last line's end, are none.
fn lines(text: &str) -> Result<Vec<&str>, Problem> {
    let drafts: Vec<&str> = text
        .split('\n')
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take(MAX_BATCH_DRAFTS + 1)
        .collect();
    bounded(drafts)
}

/// The drafts of a JSON array, not looked at yet.
fn elements(text: &str) -> Result<Vec<&str>, Problem> {
    let Elements(drafts) = serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            Problem::field("body", "must be a JSON array of drafts")
        } else {
            not_json(&error)
        }
    })?;
    bounded(drafts)
}

fn bounded(drafts: Vec<&str>) -> Result<Vec<&str>, Problem> {
    if drafts.len() > MAX_BATCH_DRAFTS {
        return Err(Problem::field(
            "body",
            format!("must hold at most {MAX_BATCH_DRAFTS} drafts"),
        ));
    }
    Ok(drafts)
}

/// The text of each element, up to one more than there may be.
struct Elements<'a>(Vec<&'a str>);

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<&'de str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element::<&'de RawValue>()? {
                    if elements.len() <= MAX_BATCH_DRAFTS {
                        elements.push(element.get());
                    }
                }
                Ok(elements)
            }
        }
        deserializer.deserialize_seq(Collect).map(Elements)
    }
}

#[derive(Serialize)]
struct Results {
    results: Vec<Outcome>,
}

/// What became of one draft.
struct Outcome(Result<Receipt, Problem>);

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut outcome = serializer.serialize_struct("Outcome", 2)?;
        match &self.0 {
            Ok(receipt) => {
                outcome.serialize_field("status", &status_of(receipt).as_u16())?;
                outcome.serialize_field("notification", receipt)?;
            }
            Err(problem) => {
                outcome.serialize_field("status", &problem.status().as_u16())?;
                outcome.serialize_field("problem", problem)?;
            }
        }
        outcome.end()
    }
}
