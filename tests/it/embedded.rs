//! The library in somebody else's axum application: the same promises over their server.

use serde_json::json;

use crate::support::{EventStream, Open, TestHub, soon};

#[tokio::test]
async fn the_router_mounts_in_another_application_and_streams_through_its_server() {
    // The hub's own server is only borrowed for its store and tokens here.
    let own = TestHub::start().await;
    let app = axum::Router::new()
        .route("/", axum::routing::get(|| async { "theirs" }))
        .merge(campanile::http::router(
            own.hub().clone(),
            &campanile::config::Config::default(),
        ));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });

    let token = own.token("ann", &["CREW"], &[]);
    let mut stream = EventStream::open(addr, &token, Open::default()).await;
    for number in 0..500 {
        own.publish(json!({"targetRoles": ["CREW"], "message": format!("n{number}")}))
            .await;
    }
    let expected: Vec<String> = (0..500).map(|number| format!("n{number}")).collect();
    assert_eq!(stream.messages(500).await, expected);

    // A client that goes away is noticed here too.
    drop(stream);
    own.until("no streams", |s| s["streams"]["total"] == 0)
        .await;

    // And one that is there when the hub stops is told.
    let mut stream = EventStream::open(addr, &token, Open::default()).await;
    let (_, bye) = tokio::join!(own.hub().drain(), stream.last_word());
    assert_eq!(bye.data["data"]["reason"], "draining");
    assert_eq!(soon("the end", stream.try_next()).await, None);
    serving.abort();
    own.stop().await;
}

#[tokio::test]
async fn what_the_other_application_answers_itself_is_left_to_it() {
    let own = TestHub::start().await;
    let mut config = campanile::config::Config::default();
    config.serve.cors_origins = vec!["https://app.example".to_owned()];
    let app = axum::Router::new()
        .route("/theirs", axum::routing::get(|| async { "theirs" }))
        .merge(campanile::http::router(own.hub().clone(), &config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });

    let of_ours = ["x-content-type-options", "access-control-allow-origin"];
    for (path, status, ours) in [
        ("/theirs", 200, false),
        ("/nowhere", 404, false),
        ("/notifications", 401, true),
    ] {
        let asked = own.client().get(format!("{base}{path}"));
        let asked = asked.header("origin", "https://app.example");
        let answer = soon("an answer", asked.send()).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        for name in of_ours {
            assert_eq!(answer.headers().contains_key(name), ours, "{path}: {name}");
        }
    }
    serving.abort();
    own.stop().await;
}
