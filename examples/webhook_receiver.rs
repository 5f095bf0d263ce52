//! A program that webhooks go to: it believes what its secret signed within the last five minutes, and nothing else.
//!
//!     campanile serve --webhook-allow 127.0.0.0/8
//!     WEBHOOK_SECRET=$(campanile webhook add http://127.0.0.1:8401/ --on always) cargo run --example webhook_receiver
//!     campanile send --everyone --message 'The shop is open'
//!
//! Whoever hears of something twice (a retry after an answer that was lost) knows it by its `webhook-id`.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac::{HMAC_SHA256, Key, verify};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Whether the headers prove that the body is from whoever has the secret, and was sent just now.
fn is_genuine(key: &Key, headers: &HeaderMap, body: &str) -> Option<bool> {
    let header = |name: &str| headers.get(name)?.to_str().ok();
    let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    let is_fresh = now.abs_diff(timestamp.parse().ok()?) <= 300;
    let signed = format!("{id}.{timestamp}.{body}");
    // While a secret is being rotated there are two signatures; one that fits is enough.
    let fits = header("webhook-signature")?.split(' ').any(|signature| {
        let tag = signature
            .strip_prefix("v1,")
            .map(|tag| STANDARD.decode(tag));
        matches!(tag, Some(Ok(tag)) if verify(key, signed.as_bytes(), &tag).is_ok())
    });
    Some(is_fresh && fits)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = std::env::var("WEBHOOK_SECRET")?;
    let secret = secret
        .trim()
        .strip_prefix("whsec_")
        .ok_or("it begins with whsec_")?;
    let key = Key::new(HMAC_SHA256, &STANDARD.decode(secret)?);
    let receive = async move |headers: HeaderMap, body: String| {
        if is_genuine(&key, &headers, &body) != Some(true) {
            return StatusCode::UNAUTHORIZED;
        }
        println!("{body}");
        StatusCode::NO_CONTENT
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8401").await?;
    axum::serve(listener, axum::Router::new().route("/", post(receive))).await?;
    Ok(())
}
