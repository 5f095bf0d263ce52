//! How long a client may take no byte of what is there for it.
//!
//! A server that writes to a socket which takes nothing waits for ever, and so would hyper and h2. Linux ends such a
//! connection by itself if it is told to (`TCP_USER_TIMEOUT`); other systems do not, so this does not rely on it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

/// How long the writes of one connection may wait, and since when they do.
pub(crate) struct Patience {
    limit: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            stalled: None,
        }
    }

    /// What has come of a write; [`io::ErrorKind::TimedOut`] if nothing has come of any for too long. Whoever waits for a write
    /// is woken for that.
    pub(crate) fn written(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.limit;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        stalled
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_byte_that_is_taken_renews_it() {
        const LIMIT: Duration = Duration::from_secs(60);
        const NEARLY: Duration = Duration::from_secs(59);
        let mut patience = Patience::new(LIMIT);
        let mut after = async |outcome: fn() -> Poll<io::Result<usize>>| {
            poll_fn(|context| Poll::Ready(patience.written(outcome(), context))).await
        };
        for _ in 0..3 {
            assert!(after(|| Poll::Pending).await.is_pending());
            advance(NEARLY).await;
            assert!(after(|| Poll::Pending).await.is_pending());
            assert!(after(|| Poll::Ready(Ok(1))).await.is_ready());
        }
        assert!(after(|| Poll::Pending).await.is_pending());
        advance(NEARLY).await;
        assert!(after(|| Poll::Pending).await.is_pending());
        advance(LIMIT - NEARLY).await;
        let Poll::Ready(Err(error)) = after(|| Poll::Pending).await else {
            panic!("it waits on");
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
