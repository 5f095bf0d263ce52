//! `axum PORT`: server-sent events as they are usually done with axum. A topic is a broadcast channel of tokio's; each
//! stream is a response whose body is a receiver of it. GET subscribes to the topic in the path, POST publishes its body
//! to it. There is no store and no sign-in; a stream that falls behind by more than the channel keeps is closed.

use std::collections::HashMap;
use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::ListenerExt;
use bytes::Bytes;
use tokio::net::TcpSocket;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

/// How many events a channel keeps for the slowest of its streams.
const KEPT: usize = 256;
/// More than is usual: with 128 connections in its queue a crowd that comes at once waits for half a minute.
const BACKLOG: u32 = 4096;

#[derive(Clone, Default)]
struct Topics(Arc<Mutex<HashMap<String, broadcast::Sender<Bytes>>>>);

impl Topics {
    fn channel(&self, topic: String) -> broadcast::Sender<Bytes> {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        topics
            .entry(topic)
            .or_insert_with(|| broadcast::channel(KEPT).0)
            .clone()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = std::env::args().nth(1).ok_or("usage: axum PORT")?.parse()?;
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    let listener = socket.listen(BACKLOG)?.tap_io(|socket| {
        // Without it an event waits for the acknowledgement of the one before.
        let _ = socket.set_nodelay(true);
    });
    let router = Router::new()
        .route("/{topic}", get(subscribe).post(publish))
        .with_state(Topics::default());
    Ok(axum::serve(listener, router).await?)
}

async fn subscribe(State(topics): State<Topics>, Path(topic): Path<String>) -> impl IntoResponse {
    let events = BroadcastStream::new(topics.channel(topic).subscribe());
    (
        [(header::CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(events),
    )
}

async fn publish(
    State(topics): State<Topics>,
    Path(topic): Path<String>,
    body: String,
) -> StatusCode {
    // An error says that nobody listens, which is none.
    let _ = topics
        .channel(topic)
        .send(Bytes::from(format!("data: {body}\n\n")));
    StatusCode::ACCEPTED
}
