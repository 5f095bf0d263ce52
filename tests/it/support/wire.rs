//! A connection that a test speaks on byte by byte, well or badly.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

/// The connection, and what has come and was not looked at yet.
pub struct Wire {
    pub socket: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub async fn to(addr: SocketAddr) -> Self {
        let socket = TcpStream::connect(addr).await.expect("a connection");
        Self {
            socket,
            read: Vec::new(),
        }
    }

    pub async fn send(&mut self, text: &str) {
        self.socket
            .write_all(text.as_bytes())
            .await
            .expect("the bytes are taken");
    }

    /// Everything up to and including the first `end`.
    pub async fn until(&mut self, end: &str) -> String {
        loop {
            let found = self
                .read
                .windows(end.len())
                .position(|window| window == end.as_bytes());
            if let Some(place) = found {
                let rest = self.read.split_off(place + end.len());
                let text = std::mem::replace(&mut self.read, rest);
                return String::from_utf8(text).expect("UTF-8");
            }
            let read = soon("more bytes", self.socket.read_buf(&mut self.read)).await;
            let so_far = String::from_utf8_lossy(&self.read);
            assert!(
                matches!(read, Ok(n) if n > 0),
                "the end came before {end:?}: {so_far}"
            );
        }
    }

    /// Everything until the server closes, in order or not.
    pub async fn rest(mut self) -> String {
        let _ = soon("the end", self.socket.read_to_end(&mut self.read)).await;
        String::from_utf8(self.read).expect("UTF-8")
    }
}

/// A request for a stream, with further header lines.
pub fn get_stream(token: &str, version: &str, more: &str) -> String {
    format!(
        "GET /notifications/stream HTTP/{version}\r\nHost: x\r\nAccept: text/event-stream\r\n\
         Authorization: Bearer {token}\r\n{more}\r\n"
    )
}
