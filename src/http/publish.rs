//! Publishing one notification: `create-and-notify`, `broadcast`, `test`, and the one-endpoint form.
//!
//! Every way in ends in [`publish`]: the draft is validated, stored, and only then answered with 201. Older clients
//! send everything to one path and say in `action` what they mean; they get the same handlers and the same answers,
//! and what they send along without meaning anything by it is passed over.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::fmt;

use super::access::Access;
use super::body::{Json, JsonText, OptionalJson, object, refuse_idempotency_key};
use super::problem::Problem;
use super::status;
use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::hub::{Hub, Receipt};
use crate::metrics::Refused;
use crate::notification::{Draft, Kind};

/// What a test says if its sender says nothing.
const TEST_MESSAGE: &str = "This is a test notification. It arrived.";

/// What the one-endpoint form carries besides a draft, and what is passed over.
const FORM_FIELDS: [&str; 4] = ["action", "timestamp", "type", "userRole"];

/// `POST /notifications/create-and-notify`.
pub(crate) async fn create_and_notify(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Json(draft): Json<Draft>,
) -> Result<Response, Problem> {
    refuse_idempotency_key(&headers)?;
    publish(&hub, &caller, draft, Kind::Notification).await
}

/// `POST /notifications/broadcast`.
pub(crate) async fn broadcast(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Json(draft): Json<Draft>,
) -> Result<Response, Problem> {
    refuse_idempotency_key(&headers)?;
    publish(&hub, &caller, draft, Kind::Broadcast).await
}

/// `POST /notifications/test`.
pub(crate) async fn test(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    OptionalJson(test): OptionalJson<Test>,
) -> Result<Response, Problem> {
    refuse_idempotency_key(&headers)?;
    publish_test(&hub, &caller, test).await
}

/// `POST /notifications`: a draft, or the one-endpoint form.
pub(crate) async fn one_endpoint(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    JsonText(text): JsonText,
) -> Result<Response, Problem> {
    #[derive(Deserialize)]
    struct Form {
        action: Option<Action>,
    }
    let Form { action } = object(&text)?;
    match action {
        None | Some(Action::CreateAndNotify | Action::Broadcast) => {
            Access::Publish.check(&caller)?;
        }
        Some(Action::Test) => Access::Reader.check(&caller)?,
        Some(Action::Status) => Access::ReaderOrAdmin.check(&caller)?,
    }
    if action != Some(Action::Status) {
        refuse_idempotency_key(&headers)?;
    }
    match action {
        None => publish(&hub, &caller, object(&text)?, Kind::Notification).await,
        Some(Action::CreateAndNotify) => {
            let draft = object(&without_form(&text)?)?;
            publish(&hub, &caller, draft, Kind::Notification).await
        }
        Some(Action::Broadcast) => {
            let draft = object(&without_form(&text)?)?;
            publish(&hub, &caller, draft, Kind::Broadcast).await
        }
        Some(Action::Test) => {
            let test = object(&without_form(&text)?)?;
            publish_test(&hub, &caller, test).await
        }
        Some(Action::Status) => status::of(&hub, &caller).await,
    }
}

/// What the one-endpoint form asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    CreateAndNotify,
    Broadcast,
    Test,
    Status,
}

/// A test to oneself.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Test {
    message: Option<String>,
}

/// The one path on which a single notification goes out.
async fn publish(
    hub: &Hub,
    caller: &Caller,
    draft: Draft,
    kind: Kind,
) -> Result<Response, Problem> {
    let validated = draft.validate(kind, caller.publisher(), Timestamp::now());
    let notification = validated.inspect_err(|_| hub.counted().refused(Refused::Invalid, 1))?;
    let receipt = hub.publish(notification).await?;
    Ok(created(&receipt))
}

async fn publish_test(hub: &Hub, caller: &Caller, test: Test) -> Result<Response, Problem> {
    let Some(user) = caller.user() else {
        return Err(Problem::forbidden(
            "an API key has nobody to send a test to",
        ));
    };
    let draft = Draft {
        target_user_id: Some(user.id.to_string()),
        title: Some("Test".to_owned()),
        message: test.message.unwrap_or_else(|| TEST_MESSAGE.to_owned()),
        ..Draft::default()
    };
    let validated = draft.validate(Kind::Broadcast, caller.publisher(), Timestamp::now());
    let notification = validated.inspect_err(|_| hub.counted().refused(Refused::Invalid, 1))?;
    // After validation: a test that was refused for its text does not count.
    hub.test_allowed(&user.id)
        .map_err(|wait| Problem::too_many("too many test notifications", wait))?;
    let receipt = hub.publish(notification).await?;
    Ok(created(&receipt))
}

/// 201 with the receipt.
fn created(receipt: &Receipt) -> Response {
    (StatusCode::CREATED, axum::Json(Created::from(receipt))).into_response()
}

/// A receipt as it is answered.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Created<'a> {
    notification_id: uuid::Uuid,
    event_id: &'a str,
    status: &'a crate::hub::Published,
    created_at: String,
    duplicate: bool,
}

impl<'a> From<&'a Receipt> for Created<'a> {
    fn from(receipt: &'a Receipt) -> Self {
        Self {
            notification_id: receipt.notification_id,
            event_id: &receipt.event_id,
            status: &receipt.status,
            created_at: receipt.created_at.to_string(),
            duplicate: false,
        }
    }
}

/// The same object without the form's own fields, every other one as it stood: so that a draft's rule about unknown
/// and repeated fields holds here as well.
fn without_form(text: &str) -> Result<String, Problem> {
    let mut fields: Fields<'_> = object(text)?;
    fields
        .0
        .retain(|(name, _)| !FORM_FIELDS.contains(&name.as_str()));
    serde_json::to_string(&fields).map_err(|error| Problem::bad_request(error.to_string()))
}

/// An object's fields in their order, repeated ones too, their values not looked at.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Collect).map(Fields)
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
