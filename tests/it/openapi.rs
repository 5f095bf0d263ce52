//! The OpenAPI document tells what the hub does: its routes, limits and examples are the real ones.

mod answers;
mod document;

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use campanile::http::{Access, route_table};
use campanile::hub::Published;
use campanile::notification::Severity;
use campanile::sse::Bye;
use campanile::{
    Draft, audience, auth, diagnosis, inbox, notification as limits, waiting, webhooks,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use self::document::Document;
use crate::support::TestHub;

/// Whether a path is a file of the page, and no part of the API.
fn is_file(path: &str) -> bool {
    path == "/"
        || [".js", ".css", ".svg"]
            .iter()
            .any(|ending| path.ends_with(ending))
}

/// The routes of the API, with who may call each.
fn routes() -> impl Iterator<Item = (String, String, Access)> {
    route_table()
        .into_iter()
        .filter(|(_, path, _)| !is_file(path))
        .map(|(method, path, access)| (method.to_string(), path, access))
}

/// The names of an object's fields.
fn names(object: &Value) -> BTreeSet<&str> {
    let fields = object.as_object().expect("an object");
    fields.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn each_route_of_the_api_is_in_the_document_and_no_other() {
    let hub = TestHub::start().await;
    let document = Document::of(&hub).await;
    let documented: BTreeSet<(String, String)> = document
        .operations()
        .iter()
        .map(|operation| (operation.method.to_string(), operation.path.to_owned()))
        .collect();
    let real: BTreeSet<(String, String)> =
        routes().map(|(method, path, _)| (method, path)).collect();
    assert_eq!(documented, real);
    assert_eq!(document.at("/info/version"), env!("CARGO_PKG_VERSION"));
    hub.stop().await;
}

#[tokio::test]
async fn each_operation_says_who_may_call_it() {
    let hub = TestHub::start().await;
    let document = Document::of(&hub).await;
    let operations = document.operations();
    for (method, path, access) in routes() {
        let security = match access {
            Access::Public => json!([]),
            Access::Reader => json!([{"bearer": ["reader"]}]),
            Access::Stream => json!([{"bearer": ["reader"]}, {"ticket": []}]),
            Access::ReaderOrAdmin => json!([{"bearer": ["reader"]}, {"bearer": ["admin"]}]),
            Access::ByAction | Access::Known => json!([{"bearer": []}]),
            Access::Publish => json!([{"bearer": ["publish"]}]),
            Access::Admin => json!([{"bearer": ["admin"]}]),
            Access::Cron => json!([{"cron": []}]),
        };
        let documented = operations
            .iter()
            .find(|operation| operation.path == path && operation.method.as_str() == method)
            .expect("it is documented");
        assert_eq!(documented.object["security"], security, "{method} {path}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn limits_in_the_document_are_those_of_the_code() {
    let hub = TestHub::start().await;
    let document = Document::of(&hub).await;
    let draft = "/components/schemas/DraftFields/properties";
    let batch = "/paths/~1notifications~1batch/post/requestBody";
    let listing = "/paths/~1notifications/get/parameters";
    for (place, limit) in [
        (
            "/components/schemas/Draft/x-max-bytes",
            limits::MAX_DRAFT_BYTES,
        ),
        (&format!("{batch}/x-max-bytes"), limits::MAX_BATCH_BYTES),
        (
            &format!("{batch}/content/application~1json/schema/maxItems"),
            limits::MAX_BATCH_DRAFTS,
        ),
        (
            &format!("{draft}/targetUserIds/maxItems"),
            limits::MAX_USERS,
        ),
        (&format!("{draft}/targetRoles/maxItems"), limits::MAX_ROLES),
        (
            &format!("{draft}/message/maxLength"),
            limits::MAX_MESSAGE_CHARS,
        ),
        (
            "/components/schemas/Test/properties/message/maxLength",
            limits::MAX_MESSAGE_CHARS,
        ),
        (
            "/components/schemas/TestAction/properties/message/maxLength",
            limits::MAX_MESSAGE_CHARS,
        ),
        (&format!("{draft}/title/maxLength"), limits::MAX_TITLE_CHARS),
        (
            &format!("{draft}/details/maxLength"),
            limits::MAX_DETAILS_BYTES,
        ),
        (
            &format!("{draft}/details/x-max-bytes"),
            limits::MAX_DETAILS_BYTES,
        ),
        (&format!("{draft}/link/maxLength"), limits::MAX_LINK_BYTES),
        (&format!("{draft}/link/x-max-bytes"), limits::MAX_LINK_BYTES),
        (&format!("{draft}/data/x-max-bytes"), limits::MAX_DATA_BYTES),
        (&format!("{draft}/data/x-max-depth"), limits::MAX_DATA_DEPTH),
        (
            "/components/schemas/Identifier/maxLength",
            audience::MAX_IDENTIFIER_BYTES,
        ),
        (
            "/components/schemas/Identifier/x-max-bytes",
            audience::MAX_IDENTIFIER_BYTES,
        ),
        (
            "/components/schemas/Diagnosis/properties/compared/maximum",
            diagnosis::MAX_COMPARED,
        ),
        (
            "/components/schemas/Diagnosis/properties/stuck/properties/first/maxItems",
            diagnosis::MAX_NAMED,
        ),
        (
            "/components/schemas/Unlocked/properties/claims/maxItems",
            waiting::MAX_UNLOCKED_NAMED,
        ),
        (
            "/components/schemas/NewEndpoint/properties/url/maxLength",
            webhooks::MAX_URL_BYTES,
        ),
        (
            "/components/schemas/NewEndpoint/properties/roles/maxItems",
            webhooks::MAX_FILTER,
        ),
        (
            "/components/schemas/Unread/oneOf/0/maximum",
            inbox::MAX_UNREAD,
        ),
        (
            "/components/schemas/Inbox/properties/notifications/maxItems",
            inbox::MAX_PAGE,
        ),
        (&format!("{listing}/1/schema/maxItems"), inbox::MAX_FILTER),
        (&format!("{listing}/2/schema/maxItems"), inbox::MAX_FILTER),
        (&format!("{listing}/3/schema/maximum"), inbox::MAX_PAGE),
        (&format!("{listing}/3/schema/default"), inbox::DEFAULT_PAGE),
        (
            "/components/parameters/InboxRole/schema/maxItems",
            limits::MAX_ROLES,
        ),
    ] {
        assert_eq!(document.at(place), &json!(limit), "{place}");
    }
    let (low, high) = (Severity::Low, Severity::High);
    for (schema, words) in [
        (
            "Severity",
            json!([low, Severity::Medium, high, Severity::Critical]),
        ),
        ("Scope", json!([auth::Scope::Publish, auth::Scope::Admin])),
        (
            "NewEndpoint/properties/on",
            json!([webhooks::On::Undelivered, webhooks::On::Always]),
        ),
        (
            "DraftFields/properties/webhook",
            json!([
                webhooks::Choice::Undelivered,
                webhooks::Choice::Always,
                webhooks::Choice::Never
            ]),
        ),
        (
            "Webhook/properties/type",
            json!([
                webhooks::Topic::Undelivered,
                webhooks::Topic::Created,
                webhooks::Topic::Test
            ]),
        ),
        (
            "Endpoint/properties/disabledBy",
            json!([
                webhooks::DisabledBy::Admin,
                webhooks::DisabledBy::Gone,
                webhooks::DisabledBy::Failing
            ]),
        ),
        (
            "Receipt/properties/status",
            json!([Published::Scheduled, Published::Pending, Published::Sent]),
        ),
        (
            "ByeEvent/properties/data/properties/reason",
            json!([
                Bye::Draining,
                Bye::TokenExpired,
                Bye::Reauth,
                Bye::Revoked,
                Bye::Busy
            ]),
        ),
    ] {
        let place = format!("/components/schemas/{schema}/enum");
        assert_eq!(document.at(&place), &words, "{place}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_draft_has_the_documented_fields_and_no_other_and_the_hub_takes_the_examples_of_each() {
    let hub = TestHub::start().await;
    let document = Document::of(&hub).await;
    let fields = document.at("/components/schemas/DraftFields/properties");

    // Whoever writes a field that is not known is told by the parser which are.
    let refused = serde_json::from_value::<Draft>(json!({"": 0})).unwrap_err();
    let refused = refused.to_string();
    let known: BTreeSet<&str> = refused.split('`').skip(3).step_by(2).collect();
    assert_eq!(names(fields), known);

    for (name, field) in fields.as_object().unwrap() {
        for example in field["examples"].as_array().expect("examples") {
            let mut draft = json!({"message": "m", name: example});
            if !name.starts_with("target") {
                draft["everyone"] = true.into();
            }
            document.check(document.at("/components/schemas/Draft"), &draft);
            hub.publish(draft).await;
        }
    }
    hub.stop().await;
}

#[tokio::test]
async fn an_item_of_the_inbox_has_what_receivers_see_its_place_and_whether_it_is_read() {
    let hub = TestHub::start().await;
    let document = Document::of(&hub).await;
    let mut due = names(document.at("/components/schemas/Notification/properties"));
    due.extend(["eventId", "read"]);
    let item = names(document.at("/components/schemas/InboxItem/properties"));
    assert_eq!(item, due);
    hub.stop().await;
}

#[tokio::test]
async fn examples_of_requests_are_accepted_and_answered_as_documented() {
    let hub = TestHub::start().await;
    let document = Document::of(&hub).await;
    let endpoint = json!({"url": "https://hooks.example/", "on": "undelivered"});
    let (_, endpoint) = hub.administer("/webhooks", &endpoint).await;
    let of_it = format!("/webhooks/{}", endpoint["id"].as_str().expect("an id"));
    let mut accepted = 0;
    for operation in document.operations() {
        for (media_type, body) in operation.bodies(&document) {
            let text = body
                .as_str()
                .map_or_else(|| body.to_string(), str::to_owned);
            let path = operation.path.replace("/webhooks/{id}", &of_it);
            let (url, token) = (hub.url(&path), operation.token(&hub));
            let answer = document
                .call(&operation, url, Some(token), Some((media_type, text)))
                .await;
            let value = document.check_answer(&operation, &answer);
            assert!(answer.status < 300, "{body} was answered {}", answer.text);
            for result in value["results"].as_array().into_iter().flatten() {
                assert_eq!(result["status"], 201, "{body}");
            }
            accepted += 1;
        }
    }
    assert!(accepted >= 15, "there are {accepted} examples");
    for example in document
        .at("/components/schemas/Draft/examples")
        .as_array()
        .unwrap()
    {
        hub.publish(example.clone()).await;
    }
    hub.stop().await;
}

#[tokio::test]
async fn examples_fit_their_schemas() {
    let hub = TestHub::start().await;
    let document = Document::of(&hub).await;
    let examples = document.examples();
    assert!(
        examples.len() >= 40,
        "there are {} examples",
        examples.len()
    );
    for (schema, example) in examples {
        document.check(schema, example);
    }

    let content = "/paths/~1notifications~1stream/get/responses/200/content/text~1event-stream";
    let stream = document.at(&format!("{content}/examples/begin/value"));
    let events = stream
        .as_str()
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    let kinds: Vec<String> = events
        .map(|event| {
            let event: Value = serde_json::from_str(event).unwrap();
            document.check_closed("Event", &event);
            event["type"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(kinds, ["connected", "status", "notification"]);
    hub.stop().await;
}

#[tokio::test]
async fn a_hub_in_another_application_serves_the_document_too() {
    let hub = TestHub::start().await;
    let router = campanile::http::router(hub.hub().clone(), &campanile::config::Config::default());
    let request = Request::get("/openapi.json").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(document["info"]["title"], "Campanile");
    hub.stop().await;
}
