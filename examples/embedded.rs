//! The hub inside an axum application of your own: your routes and the hub's behind one listener, and your handlers
//! publish without HTTP.
//!
//!     cargo run --example embedded
//!
//! It prints the two `curl` commands to try: one listens, the other places an order.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::post;
use campanile::auth::{Authenticator, Mint, Scopes, Secret};
use campanile::clock::Timestamp;
use campanile::config::Config;
use campanile::notification::Kind;
use campanile::store::sqlite::{SqliteOptions, SqliteStore};
use campanile::{Draft, Hub};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::default();
    let data = std::env::temp_dir().join("campanile-embedded");
    let file = data.join("campanile.db");
    let opened =
        tokio::task::spawn_blocking(move || SqliteStore::open(&file, SqliteOptions::default()))
            .await??;
    let secret = Secret::load_or_create(&data.join("secret"))?;
    let hub = Hub::start(opened, &config, Authenticator::new(secret, &config.auth)).await?;

    let app = axum::Router::new()
        .route("/orders/{customer}", post(place_order))
        .with_state(hub.clone())
        .merge(campanile::http::router(hub.clone(), &config));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:8401").await?;
    let token = hub.authenticator().mint(
        Mint {
            user: "42".into(),
            roles: vec!["SALES".into()],
            scopes: Scopes::default(),
            ttl: Duration::from_secs(3600),
        },
        Timestamp::now(),
    );
    println!(
        "curl -N -H 'Authorization: Bearer {token}' http://127.0.0.1:8401/notifications/stream"
    );
    println!("curl -X POST http://127.0.0.1:8401/orders/42");

    let stopping = hub.clone();
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            // Streams are told to come back, so that the server can end.
            let _ = tokio::signal::ctrl_c().await;
            stopping.drain().await;
        })
        .await?;
    hub.close().await;
    Ok(())
}

/// One of the application's own handlers.
async fn place_order(State(hub): State<Hub>, Path(customer): Path<String>) -> String {
    let draft = Draft {
        target_user_id: Some(customer),
        target_roles: vec!["SALES".into()],
        message: "A new order has come in".into(),
        ..Draft::default()
    };
    let published = match draft.validate(Kind::Notification, Arc::from("orders"), Timestamp::now())
    {
        Ok(validated) => hub.publish(validated).await.map_err(|e| e.to_string()),
        Err(invalid) => Err(invalid.to_string()),
    };
    match published {
        Ok(receipt) => format!("ordered; notified as {}\n", receipt.notification_id),
        Err(error) => format!("ordered, but nobody was told: {error}\n"),
    }
}
