//! A client that speaks HTTP/2: with credit as a test wants it, and frame by frame where a well-behaved library would not.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::{Request, Response};
use bytes::{Buf, Bytes};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{PingPong, Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;

use super::tls::Pem;
use super::{EventStream, Open, Socket, soon};

/// A connection.
pub struct Http2 {
    pub send: SendRequest<Bytes>,
    pub pings: PingPong,
    addr: SocketAddr,
    driver: JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    pub async fn to(addr: SocketAddr, pem: &Pem) -> Self {
        Self::with(addr, pem, &roomy()).await
    }

    /// With settings of its own.
    pub async fn with(addr: SocketAddr, pem: &Pem, builder: &Builder) -> Self {
        let io = pem.connect(addr, "h2").await.expect("a TLS connection");
        assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let speaking = Self::speaking(addr, io, builder).await;
        speaking.expect("a connection")
    }

    /// On a connection that is there already.
    pub async fn on(addr: SocketAddr, io: impl Socket + 'static) -> Self {
        let speaking = Self::speaking(addr, io, &roomy()).await;
        speaking.expect("a connection")
    }

    /// The same over a network that may fail, with credit for so much more than was read, or for as much as is usual.
    pub async fn try_on(
        addr: SocketAddr,
        io: impl Socket + 'static,
        credit: Option<u32>,
    ) -> Result<Self, h2::Error> {
        let mut settings = roomy();
        if let Some(bytes) = credit {
            settings.initial_window_size(bytes);
        }
        Self::speaking(addr, io, &settings).await
    }

    async fn speaking(
        addr: SocketAddr,
        io: impl Socket + 'static,
        builder: &Builder,
    ) -> Result<Self, h2::Error> {
        let (send, mut connection) = soon("a handshake", builder.handshake(io)).await?;
        Ok(Self {
            send,
            pings: connection.ping_pong().expect("pings"),
            addr,
            driver: tokio::spawn(connection),
        })
    }

    /// A request to a path, with these headers.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.addr));
        let with = |request: axum::http::request::Builder, (name, value): &(&str, &str)| {
            request.header(*name, *value)
        };
        let request = headers.iter().fold(request, with);
        request.body(()).expect("a request")
    }

    /// Sends the head of a request.
    pub async fn begin(
        &mut self,
        request: Request<()>,
        ended: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut send = soon("room for a request", self.send.clone().ready())
            .await
            .expect("an open connection");
        send.send_request(request, ended).expect("a request")
    }

    /// Sends a request with a body, and waits for the head of the answer.
    pub async fn call(&mut self, request: Request<()>, body: &str) -> Response<RecvStream> {
        let (answer, mut out) = self.begin(request, body.is_empty()).await;
        if !body.is_empty() {
            out.send_data(Bytes::copy_from_slice(body.as_bytes()), true)
                .expect("the body is taken");
        }
        soon("an answer", answer).await.expect("an answer")
    }

    /// Opens a stream and waits for `connected`.
    pub async fn stream(&mut self, token: &str, cursor: Option<&str>) -> EventStream {
        let answer = self.request_stream(token, after(cursor)).await;
        answer.expect("an answer").opened().await
    }

    /// Asks for a stream over a network that may fail.
    pub async fn request_stream(
        &mut self,
        token: &str,
        open: Open,
    ) -> Result<EventStream, h2::Error> {
        let request = self.stream_request(token, &open);
        let answer = self.send.clone().ready().await?.send_request(request, true);
        let answer = answer?.0.await?;
        let head = head(&answer);
        Ok(EventStream::of_body(head, Body::new(answer.into_body())))
    }

    /// Opens a stream of which a test reads the body itself.
    pub async fn open(&mut self, token: &str, cursor: Option<&str>) -> Response<RecvStream> {
        let request = self.stream_request(token, &after(cursor));
        self.call(request, "").await
    }

    fn stream_request(&self, token: &str, open: &Open) -> Request<()> {
        let headers = open.headers(token);
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.request("GET", &open.target(), &headers)
    }

    /// Waits for the connection's end: in order, or for a reason.
    pub async fn ended(self) -> Result<(), Option<Reason>> {
        let ended = soon("the connection's end", self.driver).await;
        ended.expect("no panic").map_err(|error| error.reason())
    }
}

/// A stream that resumes.
fn after(cursor: Option<&str>) -> Open {
    Open {
        last_event_id: cursor.map(str::to_owned),
        ..Open::default()
    }
}

/// The head of an answer as HTTP/1.1 would tell it.
fn head(answer: &Response<RecvStream>) -> String {
    let mut head = format!("HTTP/1.1 {}\r\n", answer.status());
    for (name, value) in answer.headers() {
        let value = value.to_str().expect("a header in ASCII");
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head
}

/// With so much credit for all streams together that one which is not read just then keeps none from the others.
fn roomy() -> Builder {
    let mut settings = Builder::new();
    settings.initial_connection_window_size(10_000_000);
    settings
}

/// What an answer says.
pub async fn text(answer: Response<RecvStream>) -> String {
    let mut text = String::new();
    let mut body = Body::new(answer.into_body());
    soon("the end of an answer", body.read_to_string(&mut text))
        .await
        .expect("an answer");
    text
}

/// A body that is read as it comes, giving credit for what has been read.
struct Body {
    stream: RecvStream,
    left: Bytes,
}

impl Body {
    fn new(stream: RecvStream) -> Self {
        let left = Bytes::new();
        Self { stream, left }
    }
}

impl AsyncRead for Body {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left.is_empty() {
            let Some(data) = ready!(self.stream.poll_data(context)) else {
                return Poll::Ready(Ok(()));
            };
            let data = data.map_err(io::Error::other)?;
            let credit = self.stream.flow_control().release_capacity(data.len());
            credit.map_err(io::Error::other)?;
            self.left = data;
        }
        let part = self.left.len().min(into.remaining());
        into.put_slice(&self.left[..part]);
        self.left.advance(part);
        Poll::Ready(Ok(()))
    }
}

/// A connection of which a test writes and reads the frames.
pub struct Frames {
    io: TlsStream<TcpStream>,
}

/// A frame: its type, flags, stream and payload.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;

    /// `GET` to a path, with nothing else; indexed as RFC 7541, appendix A, has it.
    pub fn get(stream: u32, path: &str) -> Self {
        let mut payload = vec![0x82, 0x87, 0x41, 1, b'x', 0x44];
        payload.push(u8::try_from(path.len()).expect("a short path"));
        payload.extend_from_slice(path.as_bytes());
        Self {
            kind: Self::HEADERS,
            // END_STREAM and END_HEADERS.
            flags: 0x05,
            stream,
            payload,
        }
    }

    pub fn reset(stream: u32, reason: Reason) -> Self {
        let payload = u32::from(reason).to_be_bytes().to_vec();
        let (kind, flags) = (Self::RST_STREAM, 0);
        Self {
            kind,
            flags,
            stream,
            payload,
        }
    }

    /// The reason in a RST_STREAM or GOAWAY.
    pub fn reason(&self) -> Reason {
        let at = if self.kind == Self::GOAWAY { 4 } else { 0 };
        let bytes = self.payload[at..at + 4].try_into().expect("four bytes");
        Reason::from(u32::from_be_bytes(bytes))
    }

    pub fn write(&self, into: &mut Vec<u8>) {
        let length = u32::try_from(self.payload.len()).expect("a short frame");
        into.extend_from_slice(&length.to_be_bytes()[1..]);
        into.extend_from_slice(&[self.kind, self.flags]);
        into.extend_from_slice(&self.stream.to_be_bytes());
        into.extend_from_slice(&self.payload);
    }
}

impl Frames {
    /// A connection that has sent its preface, and settings of which there are none.
    pub async fn to(addr: SocketAddr, pem: &Pem) -> Self {
        let io = pem.connect(addr, "h2").await.expect("a TLS connection");
        let mut frames = Self { io };
        let mut preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let settings = Frame {
            kind: Frame::SETTINGS,
            flags: 0,
            stream: 0,
            payload: Vec::new(),
        };
        settings.write(&mut preface);
        frames.send(&preface).await.expect("the preface is taken");
        frames
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    /// The next frame, or none at the end, in order or not.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        let read = soon("a frame", self.io.read_exact(&mut head)).await;
        read.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.io.read_exact(&mut payload).await.ok()?;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    }

    /// The next frame of a kind, whatever comes before it.
    pub async fn next_of(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await;
            let frame = frame.unwrap_or_else(|| panic!("the end came before a frame {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }
}
