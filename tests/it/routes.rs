//! Every route says who may call it, and refuses everybody else; what the routes answer to those who may.

use campanile::auth::{Mint, Scopes};
use campanile::clock::Timestamp;
use campanile::http::{Access, route_table};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, Response, redirect};
use serde_json::{Value, json};

use crate::support::{Open, TestHub};

fn call(hub: &TestHub, method: &Method, path: &str) -> RequestBuilder {
    let request = hub
        .client()
        .request(method.clone(), hub.url(&path.replace("{name}", "billing")));
    if *method == Method::POST {
        request
            .header("content-type", "application/json")
            .body("{}")
    } else {
        request
    }
}

async fn send(request: RequestBuilder) -> Response {
    request.send().await.expect("an answer")
}

/// Sends a request that must be answered with a problem of this status.
async fn problem(request: RequestBuilder, status: u16, about: &str) -> (HeaderMap, Value) {
    let response = send(request).await;
    assert_eq!(response.status().as_u16(), status, "{about}");
    let headers = response.headers().clone();
    assert_eq!(
        headers["content-type"], "application/problem+json",
        "{about}"
    );
    let problem: Value = response.json().await.expect("JSON");
    assert_eq!(problem["status"], status, "{about}: {problem}");
    (headers, problem)
}

fn expired(hub: &TestHub) -> String {
    let mint = Mint {
        user: "42".to_owned(),
        roles: vec![],
        scopes: Scopes {
            publish: true,
            admin: true,
        },
        ttl: std::time::Duration::from_secs(60),
    };
    hub.hub()
        .authenticator()
        .mint(mint, Timestamp::from_millis(1_000_000))
}

async fn key(hub: &TestHub, name: &str, scope: &str) -> String {
    let request = call(hub, &Method::POST, "/keys")
        .bearer_auth(hub.token("root", &[], &["admin"]))
        .body(json!({"name": name, "scopes": [scope]}).to_string());
    let response = send(request).await;
    assert_eq!(response.status(), 201);
    let made: Value = response.json().await.expect("JSON");
    made["key"].as_str().expect("a key").to_owned()
}

#[tokio::test]
async fn every_route_that_is_not_public_refuses_callers_without_valid_credentials() {
    let hub = TestHub::start().await;
    let other = TestHub::start().await;
    let good = hub.token("42", &[], &["admin"]);
    let (head, signature) = good.rsplit_once('.').expect("a token has three parts");
    let tampered = format!("{head}.{}", signature.chars().rev().collect::<String>());
    let routes = route_table();
    assert!(
        routes
            .iter()
            .filter(|(_, _, access)| *access != Access::Public)
            .count()
            >= 12
    );

    for (method, path, access) in routes {
        let about = format!("{method} {path}");
        if access == Access::Public {
            let status = send(call(&hub, &method, &path)).await.status();
            assert!(
                status != 401 && !status.is_server_error(),
                "{about}: {status}"
            );
            continue;
        }
        let (headers, _) = problem(call(&hub, &method, &path), 401, &about).await;
        assert_eq!(headers["www-authenticate"], "Bearer", "{about}");
        for (what, token) in [
            ("garbage", "garbage".to_owned()),
            ("expired", expired(&hub)),
            ("tampered", tampered.clone()),
            ("another hub's", other.token("42", &[], &["admin"])),
            (
                "an unknown key",
                "cmp_0123456789012345678901234567890123456789012".to_owned(),
            ),
        ] {
            let about = format!("{about} with {what}");
            let (headers, answer) =
                problem(call(&hub, &method, &path).bearer_auth(&token), 401, &about).await;
            let challenge = headers["www-authenticate"].to_str().expect("text");
            assert!(challenge.starts_with("Bearer "), "{about}: {challenge}");
            assert!(!answer.to_string().contains(&token), "{about}: {answer}");
        }
        for (header, value) in [
            ("authorization", format!("Basic {good}")),
            ("authorization", good.clone()),
            ("cookie", format!("session={good}")),
            ("cookie", "campanile_session=".to_owned()),
        ] {
            problem(
                call(&hub, &method, &path).header(header, value),
                401,
                &about,
            )
            .await;
        }
        for query in ["token", "access_token", "ticket"] {
            let path = format!("{path}?{query}={good}");
            problem(call(&hub, &method, &path), 401, &about).await;
        }
    }
    assert_eq!(hub.status().await["streams"]["total"], 0);
    hub.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn every_route_that_takes_a_scope_refuses_callers_that_do_not_have_it() {
    let hub = TestHub::start().await;
    let publisher = key(&hub, "billing-publisher", "publish").await;
    let reader = hub.token("42", &["ADMIN"], &[]);
    for (method, path, access) in route_table() {
        let too_little = match access {
            // Whoever has the cron secret has all that it takes; everybody else is 401.
            Access::Public | Access::Known | Access::Cron => continue,
            Access::Reader | Access::Stream | Access::ReaderOrAdmin => vec![publisher.clone()],
            Access::Publish | Access::ByAction => vec![reader.clone()],
            Access::Admin => vec![reader.clone(), publisher.clone()],
        };
        for token in too_little {
            let about = format!("{method} {path}");
            let (_, problem) =
                problem(call(&hub, &method, &path).bearer_auth(token), 403, &about).await;
            if matches!(access, Access::Reader | Access::Stream) {
                assert!(
                    problem["detail"]
                        .as_str()
                        .unwrap()
                        .contains("holds no stream"),
                    "{problem}"
                );
            }
        }
    }
    hub.stop().await;
}

#[tokio::test]
async fn the_one_endpoint_form_serves_older_clients_on_its_path_and_on_the_alias() {
    let hub =
        TestHub::with(|config| config.serve.alias = Some("/api/notifications/ws".into())).await;
    let mut admin = hub.stream("1", &["ADMIN"]).await;
    let form = json!({
        "action": "create-and-notify", "targetRoles": ["ADMIN"], "module": "orders", "actionType": "new_order",
        "message": "Nouvelle commande #123", "details": "Commande de produits chimiques", "severity": "medium"
    });
    for path in ["/notifications", "/api/notifications/ws"] {
        let (status, receipt) = hub.post(path, &form).await;
        assert_eq!(status, 201, "{receipt}");
        assert_eq!(receipt["duplicate"], false);
        assert!(
            receipt["createdAt"].as_str().unwrap().ends_with('Z'),
            "{receipt}"
        );
        let event = admin.notification().await;
        assert_eq!(event.data["notificationId"], receipt["notificationId"]);
        assert_eq!(event.id.as_deref(), receipt["eventId"].as_str());
        assert_eq!(
            event.data["data"]["details"],
            "Commande de produits chimiques"
        );
        assert_eq!(event.data["data"].get("targetRoles"), None);
    }

    // What older clients send along is passed over; a broadcast without an audience is for everyone.
    let broadcast = json!({
        "action": "broadcast", "message": "to all", "timestamp": 1, "type": "info", "userRole": "ADMIN"
    });
    let (status, receipt) = hub.post("/notifications", &broadcast).await;
    assert_eq!(status, 201, "{receipt}");
    admin.expect_next_message("to all").await;

    // Testing and asking take no more than being a user.
    let as_reader = |body: Value| {
        call(&hub, &Method::POST, "/notifications")
            .bearer_auth(hub.token("1", &[], &[]))
            .body(body.to_string())
    };
    let response = send(as_reader(
        json!({"action": "test", "message": "hello", "timestamp": 5}),
    ))
    .await;
    assert_eq!(response.status(), 201);
    let event = admin.notification().await;
    assert_eq!(
        (event.message(), &event.data["data"]["title"]),
        ("hello", &json!("Test"))
    );
    let response = send(as_reader(json!({"action": "status"}))).await;
    assert_eq!(response.status(), 200);
    let status: Value = response.json().await.unwrap();
    assert_eq!(status["streams"]["own"], 1, "{status}");
    assert_eq!(status["scopes"], json!([]), "{status}");
    problem(as_reader(form), 403, "a reader must not publish").await;
    hub.stop().await;
}

#[tokio::test]
async fn an_older_clients_id_is_its_key_under_either_name_as_text_or_as_a_number() {
    let hub = TestHub::start().await;
    let form = |more: Value| {
        let mut form = json!({"action": "create-and-notify", "targetUserId": "42", "message": "m"});
        let fields = form.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        form
    };
    let (status, first) = hub.post("/notifications", &form(json!({"id": "7"}))).await;
    assert_eq!(status, 201, "{first}");
    for same in [
        json!({"id": 7}),
        json!({"notificationId": "7"}),
        json!({"id": "7", "notificationId": 7}),
        json!({"idempotencyKey": "7", "id": null}),
    ] {
        let (status, receipt) = hub.post("/notifications", &form(same.clone())).await;
        assert_eq!(status, 200, "{same}: {receipt}");
        assert_eq!(receipt["notificationId"], first["notificationId"], "{same}");
    }
    for (wrong, field) in [
        (json!({"id": "7", "notificationId": "8"}), "notificationId"),
        (json!({"id": 7.5}), "idempotencyKey"),
        (json!({"id": [7]}), "idempotencyKey"),
    ] {
        let (status, problem) = hub.post("/notifications", &form(wrong.clone())).await;
        assert_eq!(status, 422, "{wrong}: {problem}");
        assert_eq!(problem["errors"][0]["field"], field, "{wrong}: {problem}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn the_alias_is_the_stream_as_well_as_older_clients_read_it() {
    const ALIAS: &str = "/api/notifications/ws";
    let hub = TestHub::with(|config| {
        config.serve.alias = Some(ALIAS.into());
        config.auth.cookie = Some("session".into());
    })
    .await;
    let token = hub.token("42", &[], &[]);
    let open = |query| Open {
        path: Some(ALIAS),
        query,
        ..Open::default()
    };
    let mut older = hub.open_stream(&token, open("")).await;
    let mut newer = hub.open_stream(&token, open("?events=named")).await;
    assert_eq!(older.connected.name, None);
    assert_eq!(newer.connected.name.as_deref(), Some("connected"));
    hub.publish(json!({"targetUserId": "42", "message": "first"}))
        .await;
    let event = older.notification().await;
    assert_eq!((event.name.as_deref(), event.message()), (None, "first"));
    let event = newer.notification().await;
    assert_eq!(event.name.as_deref(), Some("notification"));

    // An older page's EventSource comes with its cookie, here to be told of a slip; or with a ticket, from another site.
    let request = format!(
        "GET {ALIAS}?events=all HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: session={token}\r\n\r\n"
    );
    let refused = String::from_utf8(hub.raw(request.as_bytes()).await).expect("UTF-8");
    assert!(refused.starts_with("HTTP/1.1 422"), "{refused}");
    let made = call(&hub, &Method::POST, "/notifications/stream/ticket").bearer_auth(&token);
    let made: Value = send(made).await.json().await.expect("JSON");
    let with_ticket = Open {
        in_url: made["ticket"]
            .as_str()
            .map(|ticket| format!("ticket={ticket}")),
        ..open("")
    };
    let abroad = hub.open_stream("", with_ticket).await;
    assert_eq!(abroad.connected.name, None);

    let mut resumed = Open {
        last_event_id: older.connected.id.clone(),
        ..open("")
    };
    let mut again = hub.open_stream(&token, resumed.clone()).await;
    again.expect_next_message("first").await;
    resumed.last_event_id = Some("of another log".into());
    let mut lost = hub.open_stream(&token, resumed).await;
    assert_eq!(lost.next_but_status().await.kind(), "gap");

    problem(call(&hub, &Method::GET, ALIAS), 401, "nobody").await;
    let head = call(&hub, &Method::HEAD, ALIAS).bearer_auth(&token);
    let response = send(head).await;
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["allow"], "GET, POST");
    hub.stop().await;
}

#[tokio::test]
async fn a_test_goes_to_oneself_with_or_without_a_body_and_only_so_often() {
    let hub = TestHub::with(|config| config.test_rate.per_minute = 3).await;
    let mut own = hub.stream("42", &["ADMIN"]).await;
    let mut other = hub.stream("7", &["ADMIN"]).await;
    let token = hub.token("42", &["ADMIN"], &[]);
    let test = || {
        hub.client()
            .post(hub.url("/notifications/test"))
            .bearer_auth(&token)
    };
    assert_eq!(send(test()).await.status(), 201);
    assert_eq!(send(test().json(&json!({}))).await.status(), 201);
    problem(
        test().json(&json!({"message": " "})),
        422,
        "a refused test does not count",
    )
    .await;
    problem(
        test().json(&json!({"targetUserId": "7"})),
        422,
        "to oneself only",
    )
    .await;
    assert_eq!(
        send(test().json(&json!({"message": "third"})))
            .await
            .status(),
        201
    );
    let (headers, _) = problem(test(), 429, "a fourth within the minute").await;
    let seconds: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");

    assert_eq!(own.messages(3).await[2], "third");
    hub.publish(json!({"targetUserId": "7", "message": "first"}))
        .await;
    other.expect_next_message("first").await;
    assert_eq!(
        hub.status().await["stored"]["notifications"],
        1,
        "tests are of the broadcast kind"
    );
    hub.stop().await;
}

#[tokio::test]
async fn head_on_the_stream_is_405_and_opens_no_stream() {
    let hub = TestHub::start().await;
    let request = hub
        .client()
        .head(hub.url("/notifications/stream"))
        .bearer_auth(hub.token("42", &[], &[]));
    let response = send(request).await;
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["allow"], "GET");
    assert_eq!(hub.status().await["streams"]["total"], 0);
    hub.stop().await;
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let hub = TestHub::start().await;
    problem(call(&hub, &Method::GET, "/nothing"), 404, "an unknown path").await;
    let (headers, _) = problem(
        call(&hub, &Method::GET, "/notifications/batch"),
        405,
        "a wrong method",
    )
    .await;
    assert_eq!(headers["allow"], "POST");
    let (headers, _) = problem(call(&hub, &Method::PUT, "/keys"), 405, "a wrong method").await;
    assert_eq!(headers["allow"], "GET, HEAD, POST");
    for header in ["x-content-type-options", "referrer-policy"] {
        assert!(headers.contains_key(header), "{header}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_cookie_changes_things_only_for_pages_that_are_trusted() {
    let hub = TestHub::with(|config| {
        config.auth.cookie = Some("app_token".into());
        config.serve.cors_origins = vec!["https://app.example".into()];
    })
    .await;
    let token = hub.token("42", &[], &["publish"]);
    let host = hub.addr().to_string();
    let own_origin = format!("http://{host}");
    for cookie in ["campanile_session", "app_token"] {
        let cookie = format!("theme=dark; {cookie}={token}");
        let read = call(&hub, &Method::GET, "/notifications/status").header("cookie", &cookie);
        assert_eq!(send(read).await.status(), 200);
        let write = |headers: &[(&str, &str)]| {
            let request = call(&hub, &Method::POST, "/notifications")
                .header("cookie", &cookie)
                .body(json!({"everyone": true, "message": "m"}).to_string());
            headers.iter().fold(request, |request, (name, value)| {
                request.header(*name, *value)
            })
        };
        for trusted in [
            &[("sec-fetch-site", "same-origin")][..],
            &[("origin", own_origin.as_str())],
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", "https://app.example"),
            ],
        ] {
            assert_eq!(send(write(trusted)).await.status(), 201, "{trusted:?}");
        }
        for foreign in [
            &[][..],
            &[("sec-fetch-site", "cross-site")],
            &[
                ("sec-fetch-site", "same-site"),
                ("origin", own_origin.as_str()),
            ],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
        ] {
            problem(write(foreign), 403, &format!("{foreign:?}")).await;
        }
        let both = call(&hub, &Method::GET, "/notifications/status")
            .header("cookie", &cookie)
            .bearer_auth("garbage");
        problem(both, 401, "a bearer wins over a cookie").await;
    }
    let key = key(&hub, "billing", "admin").await;
    let in_cookie = call(&hub, &Method::GET, "/keys").header("cookie", format!("app_token={key}"));
    problem(in_cookie, 401, "a key is no cookie").await;
    hub.stop().await;
}

#[tokio::test]
async fn a_sign_in_code_works_once_and_buys_a_cookie_that_scripts_cannot_read() {
    let hub = TestHub::start().await;
    let browser = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .build()
        .unwrap();
    let request =
        call(&hub, &Method::POST, "/console/code").bearer_auth(hub.token("root", &[], &["admin"]));
    let response = send(request).await;
    assert_eq!(response.status(), 201);
    let issued: Value = response.json().await.unwrap();
    assert!(issued["expiresAt"].is_string(), "{issued}");
    let link = hub.url(&format!(
        "/sign-in?code={}",
        issued["code"].as_str().unwrap()
    ));

    let looked_at = send(browser.head(&link)).await;
    assert_eq!(
        looked_at.status(),
        405,
        "a preview does not use the link up"
    );
    let response = send(browser.get(&link)).await;
    assert_eq!(response.status(), 303);
    assert_eq!(response.headers()["location"], "/");
    let cookie = response.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .to_owned();
    for attribute in [
        "; HttpOnly",
        "; SameSite=Strict",
        "; Path=/",
        "; Max-Age=43200",
    ] {
        assert!(
            cookie.contains(attribute),
            "{attribute} is not in the cookie's attributes"
        );
    }
    let (session, _) = cookie.split_once(';').unwrap();
    let request = call(&hub, &Method::GET, "/notifications/status").header("cookie", session);
    let status: Value = send(request).await.json().await.unwrap();
    assert!(
        status["hubs"].is_array(),
        "the console is an administrator: {status}"
    );
    let publish = call(&hub, &Method::POST, "/notifications")
        .header("cookie", session)
        .header("sec-fetch-site", "same-origin")
        .body(json!({"targetUserId": "console", "message": "m"}).to_string());
    assert_eq!(send(publish).await.status(), 201);

    for dead in [link, hub.url("/sign-in?code=guessed"), hub.url("/sign-in")] {
        let response = send(browser.get(dead)).await;
        assert_eq!(response.status(), 403);
        assert!(!response.headers().contains_key("set-cookie"));
        assert!(response.headers().contains_key("content-security-policy"));
        assert!(response.text().await.unwrap().contains("campanile console"));
    }
    hub.stop().await;
}

#[tokio::test]
async fn an_api_key_publishes_until_it_is_revoked() {
    let hub = TestHub::start().await;
    let admin = hub.token("root", &[], &["admin"]);
    let billing = key(&hub, "billing/eu", "publish").await;
    assert!(billing.starts_with("cmp_"));
    let publish = || {
        call(&hub, &Method::POST, "/notifications")
            .bearer_auth(&billing)
            .body(json!({"targetUserId": "42", "message": "m"}).to_string())
    };
    assert_eq!(send(publish()).await.status(), 201);

    let again = call(&hub, &Method::POST, "/keys")
        .bearer_auth(&admin)
        .body(json!({"name": "billing/eu", "scopes": ["publish"]}).to_string());
    problem(again, 409, "the name is taken").await;
    let listed: Value = send(call(&hub, &Method::GET, "/keys").bearer_auth(&admin))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(listed["keys"][0]["name"], "billing/eu");
    assert_eq!(listed["keys"][0]["scopes"], json!(["publish"]));
    assert!(!listed.to_string().contains("cmp_"), "{listed}");

    let revoke = || call(&hub, &Method::DELETE, "/keys/billing%2Feu").bearer_auth(&admin);
    assert_eq!(send(revoke()).await.status(), 204);
    problem(publish(), 401, "a revoked key").await;
    problem(revoke(), 404, "revoked already").await;
    problem(
        call(&hub, &Method::DELETE, "/keys/%FF").bearer_auth(&admin),
        404,
        "no such name",
    )
    .await;
    hub.stop().await;
}

#[tokio::test]
async fn an_administrators_key_sees_the_hub_and_its_connections() {
    let hub = TestHub::start().await;
    let admin = key(&hub, "monitor", "admin").await;
    let _stream = hub.stream("42", &["CREW"]).await;
    let status: Value = send(call(&hub, &Method::GET, "/notifications/status").bearer_auth(&admin))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(status["hubs"][0]["streams"]["total"], 1, "{status}");
    let listed: Value =
        send(call(&hub, &Method::GET, "/notifications/connections").bearer_auth(&admin))
            .await
            .json()
            .await
            .unwrap();
    assert_eq!(listed["connections"][0]["userId"], "42", "{listed}");
    hub.stop().await;
}

#[tokio::test]
async fn a_refusal_that_passes_reaches_an_event_source_as_a_stream_that_ends() {
    let hub = TestHub::with(|config| config.stream.per_user = 1).await;
    let _stream = hub.stream("42", &[]).await;
    let token = hub.token("42", &[], &[]);
    let request = format!(
        "GET /notifications/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Accept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let refused = String::from_utf8(hub.raw(request.as_bytes()).await).expect("UTF-8");
    let (head, body) = refused.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    assert!(
        body.starts_with("retry: 60000\nevent: bye\ndata: "),
        "{body}"
    );
    assert!(
        body.contains(r#""reason":"busy""#) && body.ends_with("\n\n"),
        "{body}"
    );

    let request = call(&hub, &Method::GET, "/notifications/stream").bearer_auth(&token);
    let (headers, _) = problem(request, 429, "a client that reads statuses").await;
    assert_eq!(headers["retry-after"], "60");
    let request = call(&hub, &Method::GET, "/notifications/stream?events=all").bearer_auth(&token);
    let (_, answer) = problem(request, 422, "an unknown kind of events").await;
    assert_eq!(answer["errors"][0]["field"], "events");
    hub.stop().await;
}

#[tokio::test]
async fn origins_that_are_configured_may_call_across_sites_and_are_told_errors_too() {
    let hub =
        TestHub::with(|config| config.serve.cors_origins = vec!["https://app.example".into()])
            .await;
    let preflight = |origin: &str| {
        call(&hub, &Method::OPTIONS, "/notifications/stream")
            .header("origin", origin)
            .header("access-control-request-method", "GET")
            .header(
                "access-control-request-headers",
                "authorization,last-event-id",
            )
    };
    let allowed = send(preflight("https://app.example")).await;
    assert_eq!(allowed.status(), 200);
    let headers = allowed.headers();
    assert_eq!(
        headers["access-control-allow-origin"],
        "https://app.example"
    );
    assert_eq!(headers["access-control-allow-credentials"], "true");
    for name in [
        "authorization",
        "content-type",
        "last-event-id",
        "idempotency-key",
        "cache-control",
    ] {
        let listed = headers["access-control-allow-headers"].to_str().unwrap();
        assert!(listed.contains(name), "{name} is not in {listed}");
    }
    let foreign = send(preflight("https://evil.example")).await;
    assert!(
        !foreign
            .headers()
            .contains_key("access-control-allow-origin")
    );

    let request =
        call(&hub, &Method::GET, "/notifications/status").header("origin", "https://app.example");
    let (headers, _) = problem(request, 401, "an error").await;
    assert_eq!(
        headers["access-control-allow-origin"],
        "https://app.example"
    );
    assert_eq!(headers["access-control-expose-headers"], "retry-after");
    assert!(
        headers["vary"].to_str().unwrap().contains("origin"),
        "{headers:?}"
    );
    hub.stop().await;
}

#[tokio::test]
async fn embedded_files_come_once_and_the_page_with_a_strict_policy() {
    let hub = TestHub::start().await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/static/console");
    let console: Vec<String> = std::fs::read_dir(folder)
        .expect("the console's files")
        .map(|file| file.expect("a file").file_name())
        .map(|name| format!("/console/{}", name.to_str().expect("UTF-8")))
        .collect();
    assert!(console.iter().any(|path| path == "/console/main.js"));
    let console = console.iter().map(|path| {
        let content_type = match path.rsplit_once('.') {
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            _ => panic!("{path} is neither code nor looks"),
        };
        (path.as_str(), content_type)
    });
    for (path, content_type) in console.chain([
        ("/", "text/html; charset=utf-8"),
        ("/campanile.js", "text/javascript; charset=utf-8"),
        ("/react.js", "text/javascript; charset=utf-8"),
        ("/favicon.svg", "image/svg+xml"),
        ("/openapi.json", "application/json"),
    ]) {
        let response = send(call(&hub, &Method::GET, path)).await;
        assert_eq!(response.status(), 200, "{path}");
        let headers = response.headers().clone();
        assert_eq!(headers["content-type"], content_type);
        assert_eq!(headers["cache-control"], "no-cache");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        if path == "/" {
            let policy = headers["content-security-policy"].to_str().unwrap();
            assert!(
                policy.starts_with("default-src 'none'; script-src 'self'"),
                "{policy}"
            );
            assert!(!policy.contains("unsafe"), "{policy}");
        }
        let again = call(&hub, &Method::GET, path).header("if-none-match", &headers["etag"]);
        assert_eq!(send(again).await.status(), 304, "{path}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn probes_say_ok_and_ready() {
    let hub = TestHub::start().await;
    for (path, word) in [("/healthz", "ok"), ("/readyz", "ready")] {
        let response = send(call(&hub, &Method::GET, path)).await;
        assert_eq!(response.status(), 200);
        assert_eq!(
            response.json::<Value>().await.unwrap(),
            json!({"status": word})
        );
    }
    hub.hub().drain().await;
    let (headers, _) = problem(call(&hub, &Method::GET, "/readyz"), 503, "while draining").await;
    assert!(headers.contains_key("retry-after"));
    assert_eq!(
        send(call(&hub, &Method::GET, "/healthz")).await.status(),
        200
    );
    let request =
        call(&hub, &Method::GET, "/notifications/stream").bearer_auth(hub.token("42", &[], &[]));
    problem(request, 503, "a stream while draining").await;
    hub.stop().await;
}
