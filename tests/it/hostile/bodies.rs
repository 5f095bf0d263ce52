//! Bodies that would cost more than they weigh: compressed ones are not read, and deep ones are refused on every route that
//! reads JSON.

use reqwest::Method;
use serde_json::Value;

use super::Besieged;
use crate::support::soon;

const JSON: &str = "application/json";

async fn send(
    besieged: &Besieged,
    (method, path): (Method, &str),
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> (u16, Value) {
    let mut request = besieged
        .hub
        .client()
        .request(method, besieged.hub.url(path))
        .bearer_auth(besieged.hub.token("root", &[], &["admin"]));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = soon("an answer", request.body(body).send()).await;
    let response = response.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

/// Every route that reads a JSON body.
fn readers() -> Vec<(Method, &'static str)> {
    vec![
        (Method::POST, "/notifications"),
        (Method::POST, "/notifications/create-and-notify"),
        (Method::POST, "/notifications/broadcast"),
        (Method::POST, "/notifications/batch"),
        (Method::POST, "/notifications/test"),
        (Method::POST, "/notifications/read-all"),
        (Method::PUT, "/reminders/key"),
        (Method::POST, "/keys"),
        (Method::POST, "/webhooks"),
        (Method::POST, "/prune"),
        (Method::POST, "/queue/unlock"),
    ]
}

#[tokio::test]
async fn json_that_nests_without_end_is_refused_by_every_route() {
    let mut besieged = Besieged::with(|_| {}).await;
    for depth in [200, 30_000] {
        let arrays = "[".repeat(depth);
        let objects = r#"{"data":"#.repeat(depth.min(7_000));
        let closed = format!("{arrays}{}", "]".repeat(depth));
        let within = format!(r#"{{"everyone":true,"message":"m","data":{closed}}}"#);
        for (method, path) in readers() {
            for body in [&arrays, &objects, &closed, &within] {
                let (status, answer) = send(
                    &besieged,
                    (method.clone(), path),
                    &[("content-type", JSON)],
                    body.clone(),
                )
                .await;
                // A batch answers for each of its drafts, and here none of them is one.
                let refused = matches!(status, 400 | 413 | 422)
                    || status == 200 && answer["results"][0]["status"] == 422;
                assert!(refused, "{path} {depth}: {status} {answer}");
            }
        }
        besieged.serves().await;
    }
    let lines = format!("{}\n{}\n", "[".repeat(30_000), r#"{"data":"#.repeat(7_000));
    let ndjson = [("content-type", "application/x-ndjson")];
    let (status, answer) = send(
        &besieged,
        (Method::POST, "/notifications/batch"),
        &ndjson,
        lines,
    )
    .await;
    assert_eq!(status, 200, "{answer}");
    for result in answer["results"].as_array().expect("results") {
        assert_eq!(result["status"], 400, "{answer}");
    }
    besieged.stop().await;
}

#[tokio::test]
async fn compressed_bodies_are_refused_by_every_route_before_a_byte_of_them_is_unpacked() {
    let besieged = Besieged::with(|_| {}).await;
    // What a gzip bomb begins with.
    let bomb = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255].repeat(100);
    for (method, path) in readers() {
        for coding in ["gzip", "deflate", "br", "zstd", "identity, gzip"] {
            let headers = [("content-type", JSON), ("content-encoding", coding)];
            let (status, answer) =
                send(&besieged, (method.clone(), path), &headers, bomb.clone()).await;
            assert_eq!(status, 415, "{path} {coding}: {answer}");
        }
    }
    besieged.stop().await;
}
