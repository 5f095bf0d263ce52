//! What nobody took, or everything, is told to other programs: once, signed, at their pace, and to nobody inside.

mod addresses;
mod command;
mod crash;
mod endpoints;
mod failures;
mod verdicts;

use std::time::Duration;

use campanile::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Sink, TestHub, soon};

/// Lets webhooks go to this machine, and makes retries come soon.
fn locally(config: &mut Config) {
    config.webhooks.allow = vec!["127.0.0.0/8".parse().expect("a block")];
    config.webhooks.retry = vec![Duration::from_millis(50); 3];
    config.webhooks.pace = Duration::from_millis(1);
}

async fn hub() -> TestHub {
    TestHub::with(locally).await
}

/// Calls a route as an administrator.
async fn call(hub: &TestHub, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let request = hub
        .client()
        .request(method, hub.url(path))
        .bearer_auth(hub.token("root", &[], &["admin"]));
    let request = match &body {
        Some(body) => request.json(body),
        None => request,
    };
    let response = soon("an answer", request.send()).await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

async fn get(hub: &TestHub, path: &str) -> Value {
    let (status, answer) = call(hub, Method::GET, path, None).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// An endpoint that was made.
struct Made {
    id: String,
    secret: String,
}

impl Made {
    fn path(&self, more: &str) -> String {
        format!("/webhooks/{}{more}", self.id)
    }
}

/// Makes an endpoint.
async fn endpoint(hub: &TestHub, wanted: Value) -> Made {
    let (status, answer) = call(hub, Method::POST, "/webhooks", Some(wanted)).await;
    assert_eq!(status, 201, "{answer}");
    let text = |field: &str| answer[field].as_str().expect("text").to_owned();
    Made {
        id: text("id"),
        secret: text("secret"),
    }
}

/// Makes one that hears of everything, or of what nobody took.
async fn endpoint_at(hub: &TestHub, sink: &Sink, on: &str) -> Made {
    endpoint(hub, json!({"url": sink.url(), "on": on})).await
}

/// Waits until the latest webhook of an endpoint is as it should be.
async fn until(hub: &TestHub, made: &Made, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let looked = async {
        loop {
            let history = get(hub, &made.path("/deliveries?limit=1")).await;
            let latest = &history["deliveries"][0];
            if holds(latest) {
                return latest.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    soon(what, looked).await
}
