//! Every answer, whatever it is, tells the browser not to frame, sniff, keep or leak it.

use campanile::http::{Access, route_table};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, redirect};

use crate::support::{TestHub, Wire, soon};

#[track_caller]
fn secured(about: &str, headers: &HeaderMap) {
    let of = |name: &str| {
        let value = headers.get(name);
        let value = value.unwrap_or_else(|| panic!("{about}: no {name} in {headers:?}"));
        value.to_str().expect("text").to_owned()
    };
    assert_eq!(of("x-content-type-options"), "nosniff", "{about}");
    assert_eq!(of("referrer-policy"), "no-referrer", "{about}");
    assert_eq!(of("x-frame-options"), "DENY", "{about}");
    assert!(of("cache-control").starts_with("no-"), "{about}");
    let policy = of("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'"),
        "{about}: {policy}"
    );
    assert!(
        policy.contains("frame-ancestors 'none'"),
        "{about}: {policy}"
    );
    assert!(!policy.contains("unsafe"), "{about}: {policy}");
    let shared = ["GET /campanile.js", "GET /react.js"].contains(&about);
    let readers = if shared {
        "cross-origin"
    } else {
        "same-origin"
    };
    assert_eq!(of("cross-origin-resource-policy"), readers, "{about}");
    let is_page = headers
        .get("content-type")
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    assert_eq!(
        headers.contains_key("cross-origin-opener-policy"),
        is_page,
        "{about}"
    );
    assert_eq!(
        headers.contains_key("permissions-policy"),
        is_page,
        "{about}"
    );
    // Without TLS this would be a promise that the hub cannot keep.
    assert!(
        !headers.contains_key("strict-transport-security"),
        "{about}"
    );
}

async fn headers(request: RequestBuilder) -> (u16, HeaderMap) {
    let response = soon("an answer", request.send()).await.expect("an answer");
    (response.status().as_u16(), response.headers().clone())
}

#[tokio::test]
async fn every_answer_of_every_route_is_secured() {
    every_answer_is_secured(&[]).await;
}

#[tokio::test]
async fn every_answer_of_every_route_is_secured_where_other_origins_may_ask_too() {
    every_answer_is_secured(&["https://app.example"]).await;
}

async fn every_answer_is_secured(origins: &[&str]) {
    let hub = TestHub::with(|config| {
        config.serve.cors_origins = origins.iter().map(ToString::to_string).collect();
    })
    .await;
    let client = reqwest::Client::builder().redirect(redirect::Policy::none());
    let client = client.build().expect("a client");
    let admin = hub.token("root", &[], &["admin"]);
    let ask = |method: &Method, path: &str| client.request(method.clone(), hub.url(path));
    let mut statuses = std::collections::BTreeSet::new();
    for (method, path, access) in route_table() {
        let about = format!("{method} {path}");
        // With all that it takes but a body; without credentials; by a method that it does not take; from a page.
        let (status, found) = headers(ask(&method, &path).bearer_auth(&admin)).await;
        secured(&about, &found);
        statuses.insert(status);
        let (status, found) = headers(ask(&method, &path)).await;
        secured(&about, &found);
        if access != Access::Public {
            assert_eq!(status, 401, "{about}");
        }
        let (status, found) = headers(ask(&Method::TRACE, &path)).await;
        assert_eq!(status, 405, "{about}");
        secured("405", &found);
        let preflight = ask(&Method::OPTIONS, &path)
            .header("origin", "https://app.example")
            .header("access-control-request-method", method.as_str());
        let (status, found) = headers(preflight).await;
        assert_eq!(
            status,
            if origins.is_empty() { 405 } else { 200 },
            "{about}"
        );
        secured("a preflight", &found);
        let allowed = found.get("access-control-allow-methods");
        let allowed = allowed.map_or("", |allowed| allowed.to_str().unwrap());
        let is_allowed = allowed.split(',').any(|one| one == method.as_str());
        assert_eq!(is_allowed, !origins.is_empty(), "{about}: {allowed}");
    }
    let (status, found) = headers(ask(&Method::GET, "/nowhere")).await;
    assert_eq!(status, 404);
    secured("404", &found);
    let (_, page) = headers(ask(&Method::GET, "/")).await;
    let known = ask(&Method::GET, "/").header("if-none-match", &page["etag"]);
    let (status, found) = headers(known).await;
    assert_eq!(status, 304);
    secured("304", &found);
    for expected in [200, 403, 404, 415] {
        assert!(statuses.contains(&expected), "{expected}: {statuses:?}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_connection_that_is_refused_is_answered_no_less_securely() {
    let hub = TestHub::with(|config| config.serve.max_connections = 1).await;
    let _held = Wire::to(hub.addr()).await;
    let (status, found) = headers(hub.client().get(hub.url("/"))).await;
    assert_eq!(status, 503);
    secured("503", &found);
    hub.stop().await;
}
