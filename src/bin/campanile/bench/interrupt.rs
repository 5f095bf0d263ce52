//! Ctrl-C and SIGTERM: the load ends where it is, and with it the hub that was started for it and its directory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Somebody wants it to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; whatever was started for it has been ended")]
pub(super) struct Interrupted;

/// A thread that waits for a signal, and the word that one came: whoever waits for anything else looks for it.
pub(super) struct Interrupt {
    came: Arc<AtomicBool>,
    waiting: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Interrupt {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("cannot start the runtime")?;
        let entered = runtime.enter();
        let terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
        let interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
        drop(entered);
        let (mut terminate, mut interrupt) = (terminate, interrupt);
        let came = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&came);
        let (stop, mut stopping) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    loop {
                        tokio::select! {
                            _ = terminate.recv() => {}
                            _ = interrupt.recv() => {}
                            _ = &mut stopping => return,
                        }
                        tell.store(true, Ordering::Release);
                    }
                });
            })
            .context("cannot start a thread")?;
        Ok(Self {
            came,
            waiting: Some((stop, thread)),
        })
    }

    /// # Errors
    /// Once a signal has come.
    pub(super) fn check(&self) -> Result<(), Interrupted> {
        if self.came.load(Ordering::Acquire) {
            return Err(Interrupted);
        }
        Ok(())
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.waiting.take() {
            // An error of either means that the thread has ended already.
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}
