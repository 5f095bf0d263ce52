//! Taking a user's credentials back.

use std::sync::Arc;

use super::Hub;
use crate::clock::Timestamp;
use crate::store::StoreError;

/// A user whose credentials were taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRevoked {
    /// What was issued before is refused.
    pub at: Timestamp,
    /// How many of their streams ended with it.
    pub streams: usize,
}

impl Hub {
    /// Refuses from now on whatever was issued to this user before, for good, and ends their streams. A caller that goes
    /// away does not cut it in two.
    ///
    /// The order is what makes it sound: durable, then known to whoever checks credentials, then told to the stream
    /// thread. A stream that is admitted after the thread was told finds out by the check that follows its admission.
    ///
    /// # Errors
    /// If the store does not answer; nothing has changed then.
    pub async fn revoke_user(&self, user: Arc<str>) -> Result<UserRevoked, StoreError> {
        let hub = self.clone();
        let revoking = self.0.tasks.spawn(async move {
            let at = Timestamp::now();
            hub.0.store.revoke_user(Arc::clone(&user), at).await?;
            let revocations = hub.0.authenticator.revocations();
            revocations.add([(Arc::clone(&user), at)]);
            let streams = hub.0.fanout.revoke(user).await;
            Ok(UserRevoked { at, streams })
        });
        match revoking.await {
            Ok(outcome) => outcome,
            Err(error) => Err(StoreError::Unavailable(error.to_string())),
        }
    }
}
