//! One request over HTTP/2, and its answer: at the pace at which the client gives credit for it.
//!
//! The one rule is that h2 is given no byte before there is credit for it, the stream's and the connection's. Then nothing
//! stands in the way of a reset, and waiting for credit is a moment that can be seen, and bounded.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, DATE, HOST, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING, UPGRADE,
};
use axum::http::uri::Uri;
use axum::http::{Request, Response};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http_body::Frame;
use tokio::time::timeout;
use tower::ServiceExt;

use super::Service;
use crate::clock::Timestamp;
use crate::fanout::Piped;
use crate::http::Encrypted;

/// The most of a body for which credit is asked at a time, in bytes: a frame's worth.
const PART: usize = 16 * 1024;

/// What every exchange of a connection has.
pub(super) struct Exchange {
    pub(super) service: Service,
    /// How long an answer may wait for credit.
    pub(super) patience: Duration,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was answered, be it in part.
    Answered,
    /// The client took the request back before there was an answer.
    TakenBack,
}

/// Why the rest of an answer is not sent.
enum Broken {
    /// The client, or the connection, is gone.
    Gone,
    /// The client gives no credit.
    NoCredit,
    /// The answer's body has failed.
    Body,
}

impl Exchange {
    pub(super) async fn run(
        self,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) -> Outcome {
        let Service { router, peer, wire } = self.service;
        let answer = router.oneshot(as_http1(request, peer));
        let mut response = tokio::select! {
            biased;
            _ = poll_fn(|context| respond.poll_reset(context)) => return Outcome::TakenBack,
            Ok(response) = answer => response,
        };
        let stream = response.extensions_mut().remove::<Piped>();
        let stream = stream.map(|stream| stream.follow(&wire));
        let (head, body) = as_http2(response).into_parts();
        let ended = body.is_end_stream();
        // An error means that the client is gone, or has taken the request back in this moment.
        let Ok(mut out) = respond.send_response(Response::from_parts(head, ()), ended) else {
            return Outcome::TakenBack;
        };
        if ended {
            return Outcome::Answered;
        }
        let mut body = pin!(body);
        let sending = send(&mut out, body.as_mut(), stream.as_ref(), self.patience);
        match sending.await {
            Ok(()) | Err(Broken::Gone) => {}
            Err(Broken::Body) => out.send_reset(Reason::INTERNAL_ERROR),
            Err(Broken::NoCredit) => {
                // Before the body is dropped, which would look as if the client had gone.
                if let Some(stream) = stream {
                    stream.stalled();
                }
                out.send_reset(Reason::CANCEL);
            }
        }
        Outcome::Answered
    }
}

/// Sends a body, as far as there is credit.
async fn send(
    out: &mut SendStream<Bytes>,
    mut body: Pin<&mut Body>,
    stream: Option<&Piped>,
    patience: Duration,
) -> Result<(), Broken> {
    loop {
        let frame = tokio::select! {
            biased;
            _ = poll_fn(|context| out.poll_reset(context)) => return Err(Broken::Gone),
            frame = poll_fn(|context| body.as_mut().poll_frame(context)) => frame,
        };
        let mut data = match frame {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_)) => return Err(Broken::Body),
            None => break,
        };
        while !data.is_empty() {
            let credit = credit(out, data.len().min(PART));
            let credit = timeout(patience, credit).await;
            let credit = credit.map_err(|_| Broken::NoCredit)?.ok_or(Broken::Gone)?;
            let part = data.split_to(credit.min(data.len()));
            let bytes = part.len();
            out.send_data(part, false).map_err(|_| Broken::Gone)?;
            if let Some(stream) = stream {
                stream.receipts().handed_beside(bytes);
            }
        }
    }
    out.send_data(Bytes::new(), true).map_err(|_| Broken::Gone)
}

/// Waits for credit for some of so many bytes. None if the client is gone.
async fn credit(out: &mut SendStream<Bytes>, wanted: usize) -> Option<usize> {
    out.reserve_capacity(wanted);
    while out.capacity() == 0 {
        poll_fn(|context| out.poll_capacity(context)).await?.ok()?;
    }
    Some(out.capacity())
}

/// A request as the rest of the hub knows them: where it goes to in `Host`, and cookies in one line (RFC 9113, 8.2.3 and
/// 8.3.1; browsers send each in a line of its own).
fn as_http1(request: Request<RecvStream>, peer: SocketAddr) -> Request<Body> {
    let (mut head, body) = request.into_parts();
    let authority = head.uri.authority();
    if let Some(host) = authority.and_then(|it| HeaderValue::from_str(it.as_str()).ok()) {
        head.headers.insert(HOST, host);
    }
    if let Some(path) = head.uri.path_and_query() {
        head.uri = Uri::from(path.clone());
    }
    join_cookies(&mut head.headers);
    head.extensions.insert(ConnectInfo(peer));
    head.extensions.insert(Encrypted);
    Request::from_parts(head, Body::new(RequestBody(body)))
}

fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else {
        return;
    };
    let lines: Vec<_> = [first, second].into_iter().chain(lines).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// An answer as HTTP/2 has them: without what is about a connection of HTTP/1.1 (RFC 9113, 8.2.2), and with what a server of
/// HTTP/1.1 adds.
fn as_http2(mut response: Response<Body>) -> Response<Body> {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    let length = response.body().size_hint().exact();
    let is_empty = response.body().is_end_stream();
    let headers = response.headers_mut();
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE, KEEP_ALIVE] {
        headers.remove(name);
    }
    if let Ok(now) = HeaderValue::from_str(&Timestamp::now().http_date()) {
        headers.entry(DATE).or_insert(now);
    }
    // Of a body that is empty a HEAD may have said more.
    if let (false, Some(length)) = (is_empty, length) {
        headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    response
}

/// A request's body. What is read makes room for more of it.
struct RequestBody(RecvStream);

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let Some(data) = ready!(self.0.poll_data(context)) else {
            return Poll::Ready(None);
        };
        let data = data.and_then(|data| {
            self.0.flow_control().release_capacity(data.len())?;
            Ok(Frame::data(data))
        });
        Poll::Ready(Some(data))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}
