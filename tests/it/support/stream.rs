//! A client of the stream that reads bytes off a socket: chunks, lines, fields, in its own words and not the hub's.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::soon;

/// How a stream is opened.
#[derive(Clone, Debug, Default)]
pub struct Open {
    /// The `Last-Event-ID` header.
    pub last_event_id: Option<String>,
    /// Another path than the stream's own.
    pub path: Option<&'static str>,
    /// What follows the path: `?events=unnamed`.
    pub query: &'static str,
    /// What stands in the URL instead of a header: `ticket=…`.
    pub in_url: Option<String>,
    /// The socket's receive buffer, small for readers that fall behind soon.
    pub receive_buffer: Option<u32>,
}

impl Open {
    /// A socket for it.
    pub async fn connect(&self, addr: SocketAddr) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect(addr).await
    }

    /// The path and what follows it.
    pub fn target(&self) -> String {
        let path = self.path.unwrap_or("/notifications/stream");
        match &self.in_url {
            Some(credential) => format!("{path}?{credential}"),
            None => format!("{path}{}", self.query),
        }
    }

    /// The headers of the request, but for those that belong to the connection.
    pub fn headers(&self, token: &str) -> Vec<(&'static str, String)> {
        let mut headers = vec![("accept", "text/event-stream".to_owned())];
        if self.in_url.is_none() {
            headers.push(("authorization", format!("Bearer {token}")));
        }
        headers.extend(self.last_event_id.clone().map(|id| ("last-event-id", id)));
        headers
    }
}

/// One event as the client sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: Option<String>,
    pub name: Option<String>,
    pub retry: Option<u64>,
    pub data: Value,
}

impl Event {
    pub fn kind(&self) -> &str {
        self.data["type"].as_str().unwrap_or("")
    }

    /// The message of a notification.
    pub fn message(&self) -> &str {
        self.data["data"]["message"].as_str().unwrap_or("")
    }

    /// The number in an event id.
    pub fn position(&self) -> Option<u64> {
        self.id.as_deref()?.split_once('-')?.1.parse().ok()
    }
}

/// What a stream is read from, and asked for on.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// An open stream.
pub struct EventStream {
    socket: Box<dyn Socket>,
    /// Its body comes as it is, and not in chunks.
    bare: bool,
    pub head: String,
    /// Bytes off the socket.
    raw: Vec<u8>,
    /// Bytes of the body.
    body: Vec<u8>,
    /// The first event.
    pub connected: Event,
    /// Every id that came, the last one being where a resume begins.
    pub last_id: Option<String>,
    ended: bool,
}

impl EventStream {
    pub async fn open(addr: SocketAddr, token: &str, open: Open) -> Self {
        Self::request(addr, token, open).await.opened().await
    }

    /// The same on a connection that is there already.
    pub async fn open_on(socket: impl Socket + 'static, token: &str, open: Open) -> Self {
        let answer = soon("the head", Self::request_on(Box::new(socket), token, open)).await;
        answer.expect("the head of an answer").opened().await
    }

    /// A stream of which only the body comes, after a head that is told as HTTP/1.1 would.
    pub fn of_body(head: String, body: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let mut stream = Self::new(Box::new(tokio::io::join(body, tokio::io::empty())));
        stream.bare = true;
        stream.head = head;
        stream
    }

    /// Waits for `connected`.
    pub async fn opened(mut self) -> Self {
        assert!(
            self.head.starts_with("HTTP/1.1 200 OK\r\n"),
            "the stream was answered {}",
            self.head
        );
        let connected = self.next().await;
        assert_eq!(connected.kind(), "connected", "{connected:?}");
        self.connected = connected;
        self
    }

    /// Sends the request and reads the head, whatever it says.
    pub async fn request(addr: SocketAddr, token: &str, open: Open) -> Self {
        let socket = open.connect(addr).await.expect("a connection");
        let answer = soon("the head", Self::request_on(Box::new(socket), token, open)).await;
        answer.expect("the head of an answer")
    }

    /// The same on a connection that may fail.
    ///
    /// # Errors
    /// If it ends before the head has.
    pub async fn request_on(
        mut socket: Box<dyn Socket>,
        token: &str,
        open: Open,
    ) -> io::Result<Self> {
        let headers: String = open
            .headers(token)
            .into_iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let target = open.target();
        let request = format!("GET {target} HTTP/1.1\r\nHost: hub\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut stream = Self::new(socket);
        loop {
            if let Some(end) = find(&stream.raw, b"\r\n\r\n") {
                stream.head = String::from_utf8(stream.raw[..end + 2].to_vec()).expect("a head");
                stream.raw.drain(..end + 4);
                return Ok(stream);
            }
            if !stream.fill().await {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn new(socket: Box<dyn Socket>) -> Self {
        Self {
            socket,
            bare: false,
            head: String::new(),
            raw: Vec::new(),
            body: Vec::new(),
            connected: Event {
                id: None,
                name: None,
                retry: None,
                data: Value::Null,
            },
            last_id: None,
            ended: false,
        }
    }

    /// The next event of any kind.
    pub async fn next(&mut self) -> Event {
        soon("the next event", self.try_next())
            .await
            .expect("an event, and not the end")
    }

    /// The next event, or none at an orderly end.
    pub async fn try_next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = find(&self.body, b"\n\n") {
                let block: Vec<u8> = self.body.drain(..end + 2).collect();
                if let Some(event) = self.event(&block) {
                    return Some(event);
                }
                continue;
            }
            if self.ended {
                return None;
            }
            self.unwrap_chunks();
            if find(&self.body, b"\n\n").is_none() && !self.ended && !self.fill().await {
                return None;
            }
        }
    }

    /// The next event but for what tells the unread count.
    pub async fn next_but_status(&mut self) -> Event {
        loop {
            let event = self.next().await;
            if event.kind() != "status" {
                return event;
            }
        }
    }

    /// The `bye` that is due, whatever heartbeats and unread counts come before it.
    pub async fn last_word(&mut self) -> Event {
        loop {
            let event = self.next().await;
            match event.kind() {
                "bye" => return event,
                "heartbeat" | "status" => {}
                other => panic!("{other} came where the last word was due: {event:?}"),
            }
        }
    }

    /// The next notification, whatever heartbeats and unread counts come before it.
    pub async fn notification(&mut self) -> Event {
        loop {
            let event = self.next().await;
            match event.kind() {
                "notification" => return event,
                "heartbeat" | "status" => {}
                other => panic!("{other} came where a notification was due: {event:?}"),
            }
        }
    }

    /// Reads until it is told that so many are unread: then nothing more is on its way for a while.
    pub async fn counted(&mut self, unread: u64) {
        loop {
            let event = self.next().await;
            if event.kind() == "status" && event.data["data"]["unread"] == unread {
                return;
            }
        }
    }

    /// The messages of the next `count` notifications.
    pub async fn messages(&mut self, count: usize) -> Vec<String> {
        let mut messages = Vec::with_capacity(count);
        while messages.len() < count {
            messages.push(self.notification().await.message().to_owned());
        }
        messages
    }

    /// That no notification is on its way: the next one after `marker` was sent is the marker.
    pub async fn expect_next_message(&mut self, message: &str) {
        assert_eq!(self.notification().await.message(), message);
    }

    /// Whether the server ended the body in order.
    pub fn ended_in_order(&self) -> bool {
        self.ended
    }

    /// The connection itself, for whoever reads it in another way.
    pub fn into_socket(self) -> Box<dyn Socket> {
        self.socket
    }

    fn event(&mut self, block: &[u8]) -> Option<Event> {
        let text = std::str::from_utf8(block).expect("UTF-8");
        let mut event = Event {
            id: None,
            name: None,
            retry: None,
            data: Value::Null,
        };
        let mut data = None;
        for line in text.trim_end_matches('\n').split('\n') {
            assert!(!line.contains('\r'), "a CR on the wire: {line:?}");
            let (field, value) = line.split_once(": ").unwrap_or((line, ""));
            match field {
                "id" => {
                    assert!(value.is_ascii(), "an id that is not ASCII: {value:?}");
                    event.id = Some(value.to_owned());
                }
                "event" => event.name = Some(value.to_owned()),
                "retry" => event.retry = Some(value.parse().expect("milliseconds")),
                "data" => {
                    let earlier = data.replace(value);
                    assert_eq!(earlier, None, "two data lines in {text:?}");
                }
                "" => {}
                other => panic!("an unknown field {other:?} in {text:?}"),
            }
        }
        if event.id.is_some() {
            self.last_id = event.id.clone();
        }
        event.data = serde_json::from_str(data?).expect("one line of JSON");
        Some(event)
    }

    fn unwrap_chunks(&mut self) {
        // A refusal is short and has a length instead.
        if self.bare
            || !self
                .head
                .to_ascii_lowercase()
                .contains("\r\ntransfer-encoding: chunked\r\n")
        {
            self.body.append(&mut self.raw);
            return;
        }
        while let Some(line) = find(&self.raw, b"\r\n") {
            let size = std::str::from_utf8(&self.raw[..line]).expect("a chunk's size");
            let size = usize::from_str_radix(size, 16).expect("a chunk's size in hex");
            let whole = line + 2 + size + 2;
            if self.raw.len() < whole {
                return;
            }
            assert_eq!(&self.raw[whole - 2..whole], b"\r\n", "a chunk's end");
            self.body.extend_from_slice(&self.raw[line + 2..whole - 2]);
            self.raw.drain(..whole);
            if size == 0 {
                self.ended = true;
                return;
            }
        }
    }

    async fn fill(&mut self) -> bool {
        let read = self.socket.read_buf(&mut self.raw).await;
        // The end of a body that comes as it is, is its end in order.
        self.ended |= self.bare && matches!(read, Ok(0));
        matches!(read, Ok(n) if n > 0)
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}
