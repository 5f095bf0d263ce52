//! The store's threads: how work gets in, and how they end.
//!
//! SQLite blocks, so it lives on threads of its own and not on the runtime's. A thread takes its work from one bounded
//! channel and ends when that is closed and empty: nothing that was accepted is left undone.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use super::failure::{Health, closed};
use crate::store::StoreError;

/// The sending end of a thread's work, which can be closed while others hold it.
pub(super) struct Feed<T>(RwLock<Option<SyncSender<T>>>);

impl<T> Feed<T> {
    /// A channel that holds at most `bound`.
    pub(super) fn new(bound: usize) -> (Self, Receiver<T>) {
        let (sender, receiver) = sync_channel(bound);
        (Self(RwLock::new(Some(sender))), receiver)
    }

    /// Hands in work without waiting.
    ///
    /// # Errors
    /// [`StoreError::Full`] if the channel is; [`StoreError::Unavailable`] if it is closed.
    pub(super) fn send(&self, work: T) -> Result<(), StoreError> {
        let sender = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = sender.as_ref() else {
            return Err(closed());
        };
        sender.try_send(work).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Full,
            TrySendError::Disconnected(_) => closed(),
        })
    }

    /// Takes no more.
    pub(super) fn close(&self) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

/// Starts a named thread. If it ever panics the store counts as damaged, and the hub stops: a hub that waits for a
/// thread that is gone would look healthy and deliver nothing.
pub(super) fn spawn(
    name: &str,
    health: Arc<Health>,
    work: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _alarm = Alarm(health);
            work();
        })
}

struct Alarm(Arc<Health>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.damaged("a thread of the store stopped on a defect");
        }
    }
}
