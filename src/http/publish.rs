//! Publishing one notification: `create-and-notify`, `broadcast`, `test`, and the one-endpoint form.
//!
//! Every way in ends in [`publish`]: the draft is validated, stored, and only then answered with 201. Older clients
//! send everything to one path and say in `action` what they mean; they get the same handlers and the same answers,
//! and what they send along without meaning anything by it is passed over.

use std::convert::Infallible;
use std::fmt;

use axum::Extension;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::access::Access;
use super::body::{Json, JsonText, OptionalJson, object};
use super::problem::Problem;
use super::status;
use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::hub::{Hub, Receipt};
use crate::idempotency::key_in_header;
use crate::metrics::Refused;
use crate::notification::{Draft, Kind};
use crate::webhooks::Choice;

/// What a test says if its sender says nothing.
const TEST_MESSAGE: &str = "This is a test notification. It arrived.";

/// The header that carries an idempotency key.
pub(crate) const KEY_HEADER: &str = "idempotency-key";

/// What the one-endpoint form carries besides a draft, and what is passed over.
const FORM_FIELDS: [&str; 4] = ["action", "timestamp", "type", "userRole"];
/// What it calls the idempotency key.
const FORM_KEYS: [&str; 2] = ["id", "notificationId"];

/// `POST /notifications/create-and-notify`.
pub(crate) async fn create_and_notify(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    header: KeyHeader,
    Json(draft): Json<Draft>,
) -> Result<Response, Problem> {
    publish(&hub, &caller, header, draft, Kind::Notification).await
}

/// `POST /notifications/broadcast`.
pub(crate) async fn broadcast(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    header: KeyHeader,
    Json(draft): Json<Draft>,
) -> Result<Response, Problem> {
    publish(&hub, &caller, header, draft, Kind::Broadcast).await
}

/// `POST /notifications/test`.
pub(crate) async fn test(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    header: KeyHeader,
    OptionalJson(test): OptionalJson<Test>,
) -> Result<Response, Problem> {
    publish_test(&hub, &caller, header, test).await
}

/// `POST /notifications`: a draft, or the one-endpoint form.
pub(crate) async fn one_endpoint(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    header: KeyHeader,
    JsonText(text): JsonText,
) -> Result<Response, Problem> {
    #[derive(Deserialize)]
    struct Form {
        action: Option<Action>,
    }
    let Form { action } = object(&text)?;
    let kind = match action {
        None | Some(Action::CreateAndNotify) => Kind::Notification,
        Some(Action::Broadcast) => Kind::Broadcast,
        Some(Action::Test) => {
            Access::Reader.check(&caller)?;
            let test = object(&without_form(&text)?)?;
            return publish_test(&hub, &caller, header, test).await;
        }
        Some(Action::Status) => {
            Access::ReaderOrAdmin.check(&caller)?;
            return status::of(&hub, &caller).await;
        }
    };
    Access::Publish.check(&caller)?;
    let draft = match action {
        None => object(&text)?,
        Some(_) => object(&without_form(&text)?)?,
    };
    publish(&hub, &caller, header, draft, kind).await
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
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(crate) struct Test {
    message: Option<String>,
    idempotency_key: Option<String>,
}

/// The one path on which a single notification goes out.
async fn publish(
    hub: &Hub,
    caller: &Caller,
    header: KeyHeader,
    mut draft: Draft,
    kind: Kind,
) -> Result<Response, Problem> {
    hub.publishing_allowed(&caller.publisher(), 1)?;
    draft.idempotency_key = header.or(draft.idempotency_key)?;
    let validated = draft.validate(kind, caller.publisher(), Timestamp::now());
    let validated = validated.inspect_err(|_| hub.counted().refused(Refused::Invalid, 1))?;
    let receipt = hub.publish(validated).await?;
    Ok(answer(&receipt))
}

async fn publish_test(
    hub: &Hub,
    caller: &Caller,
    header: KeyHeader,
    test: Test,
) -> Result<Response, Problem> {
    let Some(user) = caller.user() else {
        return Err(Problem::forbidden(
            "an API key has nobody to send a test to",
        ));
    };
    let draft = Draft {
        target_user_id: Some(user.id.to_string()),
        title: Some("Test".to_owned()),
        message: test.message.unwrap_or_else(|| TEST_MESSAGE.to_owned()),
        idempotency_key: header.or(test.idempotency_key)?,
        // Nobody but its sender is meant.
        webhook: Some(Choice::Never),
        ..Draft::default()
    };
    let validated = draft.validate(Kind::Broadcast, caller.publisher(), Timestamp::now());
    let validated = validated.inspect_err(|_| hub.counted().refused(Refused::Invalid, 1))?;
    // After validation: a test that was refused for its text does not count.
    hub.test_allowed(&user.id)?;
    let receipt = hub.publish(validated).await?;
    Ok(answer(&receipt))
}

/// What stands in the header that carries a key: nothing, mostly.
pub(crate) struct KeyHeader {
    first: Option<HeaderValue>,
    twice: bool,
}

impl<S: Sync> FromRequestParts<S> for KeyHeader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let mut given = parts.headers.get_all(KEY_HEADER).iter();
        Ok(Self {
            first: given.next().cloned(),
            twice: given.next().is_some(),
        })
    }
}

impl KeyHeader {
    /// The key under which this is asked for: the header's, or the body's; both, if they are the same.
    fn or(self, in_body: Option<String>) -> Result<Option<String>, Problem> {
        let Some(header) = self.first else {
            return Ok(in_body);
        };
        let wrong = |message| Problem::field(KEY_HEADER, message);
        let header = std::str::from_utf8(header.as_bytes()).map_err(|_| wrong("must be UTF-8"))?;
        let header = key_in_header(header);
        if self.twice {
            return Err(wrong("stands there twice"));
        }
        if in_body.is_some_and(|in_body| in_body != header) {
            return Err(wrong("differs from the key in the body"));
        }
        Ok(Some(header))
    }
}

/// 201 with the receipt of what was made now; 200 with that of an earlier one.
fn answer(receipt: &Receipt) -> Response {
    (status_of(receipt), axum::Json(receipt)).into_response()
}

/// As [`answer`] has it.
pub(crate) fn status_of(receipt: &Receipt) -> StatusCode {
    if receipt.is_new() {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    }
}

/// The same object as a draft: without the form's own fields, its key under the name that a draft has for it, and every
/// other field as it stood, so that a draft's rule about unknown and repeated fields holds here as well. A key may be a
/// whole number, since some clients count theirs, and may be said twice, since some use both names.
fn without_form(text: &str) -> Result<String, Problem> {
    let mut key: Option<(&str, Box<RawValue>)> = None;
    let mut fields: Fields<'_> = object(text)?;
    for name in FORM_KEYS {
        let said = fields.take(name).into_iter();
        for value in said.filter(|value| value.get() != "null") {
            let value = as_text(value);
            match &key {
                Some((first, other)) if other.get() != value.get() => {
                    return Err(Problem::field(name, format!("differs from {first}")));
                }
                _ => key = Some((name, value)),
            }
        }
    }
    fields
        .0
        .retain(|(name, _)| !FORM_FIELDS.contains(&name.as_str()));
    if let Some((_, key)) = &key {
        fields.0.push(("idempotencyKey".to_owned(), key));
    }
    serde_json::to_string(&fields).map_err(|error| Problem::bad_request(error.to_string()))
}

/// A whole number as a string of its digits; anything else as it is.
fn as_text(value: &RawValue) -> Box<RawValue> {
    let digits = value.get().parse::<i64>().ok();
    let text = digits.and_then(|digits| RawValue::from_string(format!("\"{digits}\"")).ok());
    text.unwrap_or_else(|| value.to_owned())
}

/// An object's fields in their order, repeated ones too, their values not looked at.
pub(crate) struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Takes out all fields of a name.
    pub(crate) fn take(&mut self, name: &str) -> Vec<&'a RawValue> {
        let taken = self.0.extract_if(.., |(field, _)| field == name);
        taken.map(|(_, value)| value).collect()
    }
}

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
