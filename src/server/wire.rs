//! A socket below TLS, of which somebody else can ask what the peer has acknowledged, and which does not wait for ever for a
//! peer that takes nothing.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::http::Patience;
use crate::sink::Wire;

/// The socket, and what is known of it.
pub(super) struct Watched {
    socket: Arc<TcpStream>,
    wire: Arc<Wire>,
    patience: Patience,
}

impl Watched {
    /// Its peer may take no byte of what is written for `patience`.
    pub(super) fn new(socket: TcpStream, patience: Duration) -> Self {
        let socket = Arc::new(socket);
        let wire = Wire::new(Arc::clone(&socket));
        let patience = Patience::new(patience);
        Self {
            socket,
            wire,
            patience,
        }
    }

    pub(super) fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// Writes when the socket takes something, or says that it has not for too long.
    fn write(
        &mut self,
        context: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let written = self.try_write(context, write);
        let written = self.patience.written(written, context);
        if let Poll::Ready(Err(error)) = &written {
            self.wire.broke(error);
        }
        written
    }

    fn try_write(
        &self,
        context: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.socket.poll_write_ready(context)?.is_pending() {
                self.wire.blocked();
                return Poll::Pending;
            }
            match write(&self.socket) {
                Ok(written) => {
                    self.wire.took(written);
                    return Poll::Ready(Ok(written));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.poll_read_ready(context))?;
            match self.socket.try_read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.wire.broke(&error);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(context, |socket| socket.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(context, |socket| socket.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.shut();
        Poll::Ready(SockRef::from(&*self.socket).shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Two ends of a connection. The kernel is told nothing of any patience.
    async fn connection() -> (Watched, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let peer = TcpStream::connect(address).await.expect("a connection");
        let (socket, _) = listener.accept().await.expect("a connection");
        (Watched::new(socket, PATIENCE), peer)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_no_byte_is_waited_for_so_long_and_no_longer() {
        let (mut watched, _peer) = connection().await;
        let begun = Instant::now();
        let part = vec![0; 64 * 1024];
        let error = loop {
            if let Err(error) = watched.write_all(&part).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
        assert!(watched.wire().has_timed_out());
    }
}
