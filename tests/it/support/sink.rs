//! A program that webhooks go to. It answers by a script, and takes nothing that is not signed as Standard Webhooks says.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::soon;

/// How the sink answers one request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A status, further header lines, and a body.
    Answer(u16, &'static str, String),
    /// The head and a part of the body, and then the end.
    CutOff,
    /// What is no HTTP.
    Garbage,
    /// The end, without a word.
    HangUp,
    /// Nothing, for as long as the other side waits.
    Silence,
}

impl Reply {
    /// A status with a word.
    pub fn status(status: u16) -> Self {
        Self::Answer(status, "", "noted".to_owned())
    }

    /// A status with a header.
    pub fn with(status: u16, header: &'static str) -> Self {
        Self::Answer(status, header, String::new())
    }
}

/// A webhook that arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub at: Instant,
    pub id: String,
    pub signatures: Vec<String>,
    pub headers: HeaderMap,
    pub text: String,
    pub body: Value,
}

impl Received {
    /// The message of the notification that it tells of.
    pub fn message(&self) -> &str {
        let message = &self.body["data"]["notification"]["message"];
        message.as_str().unwrap_or_else(|| panic!("{}", self.body))
    }

    /// Whether this secret signed it.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let webhook = Webhook::new(secret).expect("a secret");
        webhook.verify(self.text.as_bytes(), &self.headers).is_ok()
    }
}

/// The program.
pub struct Sink {
    pub addr: SocketAddr,
    arrived: mpsc::UnboundedReceiver<Received>,
    accepting: JoinHandle<()>,
}

impl Sink {
    /// One that answers by this script, and 200 once that is at its end.
    pub async fn start(script: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let script = Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>()));
        let (tell, arrived) = mpsc::unbounded_channel();
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (replies, tell) = (Arc::clone(&script), tell.clone());
                tokio::spawn(async move {
                    let _ = serve(socket, &replies, &tell).await;
                });
            }
        });
        Self {
            addr,
            arrived,
            accepting,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?for=campanile", self.addr)
    }

    /// The next one to arrive.
    pub async fn next(&mut self) -> Received {
        soon("a webhook", self.arrived.recv())
            .await
            .expect("the sink runs")
    }

    /// The next one, signed by this secret.
    pub async fn signed(&mut self, secret: &str) -> Received {
        let received = self.next().await;
        assert!(received.is_signed_by(secret), "{received:?}");
        received
    }

    /// That nothing more has arrived.
    pub fn expect_nothing(&mut self) {
        if let Ok(received) = self.arrived.try_recv() {
            panic!("nothing was due, and there came {received:?}");
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    mut socket: TcpStream,
    replies: &Mutex<VecDeque<Reply>>,
    tell: &mpsc::UnboundedSender<Received>,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break String::from_utf8_lossy(&bytes[..end]).into_owned();
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    };
    let at = Instant::now();
    let mut lines = head.split("\r\n");
    let request = lines.next().unwrap_or_default();
    assert!(request.starts_with("POST "), "{request}");
    let headers: HeaderMap = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| {
            let name: HeaderName = name.parse().expect("a header");
            (name, HeaderValue::from_str(value).expect("a value"))
        })
        .collect();
    let text_of = |name: &str| headers[name].to_str().expect("text").to_owned();
    let length: usize = text_of("content-length").parse().expect("a length");
    while bytes.len() < head.len() + 4 + length {
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8(bytes[head.len() + 4..].to_vec()).expect("UTF-8");
    let reply = replies.lock().unwrap().pop_front();
    let received = Received {
        at,
        id: text_of("webhook-id"),
        signatures: text_of("webhook-signature")
            .split(' ')
            .map(str::to_owned)
            .collect(),
        body: serde_json::from_str(&text).expect("JSON"),
        text,
        headers,
    };
    let _ = tell.send(received);
    let answer = match reply.unwrap_or(Reply::status(200)) {
        Reply::Answer(status, header, body) => {
            let gap = if header.is_empty() { "" } else { "\r\n" };
            format!(
                "HTTP/1.1 {status} Said\r\ncontent-length: {}{gap}{header}\r\n\r\n{body}",
                body.len()
            )
        }
        Reply::CutOff => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf".to_owned(),
        Reply::Garbage => "\u{1f514} ding dong\r\n\r\n".to_owned(),
        Reply::HangUp => return Ok(()),
        Reply::Silence => {
            // Until the other side has had enough.
            while socket.read_buf(&mut bytes).await? > 0 {}
            return Ok(());
        }
    };
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await?;
    tokio::time::timeout(Duration::from_secs(1), socket.read_buf(&mut bytes))
        .await
        .ok();
    Ok(())
}
