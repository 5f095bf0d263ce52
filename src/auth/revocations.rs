//! Users whose credentials were taken back: from a moment on, whatever was issued to them before it is refused.
//!
//! One row for each user who was ever revoked, the latest moment, in memory and in the store. It is never forgotten: how
//! long another issuer's tokens last, the hub does not know. The moment is compared with the token's `iat`, which has
//! whole seconds, so what is issued in the very second of the revocation is refused as well.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::{AuthError, User};
use crate::clock::Timestamp;

/// The revocations in memory: a copy of what the store keeps.
#[derive(Default)]
pub struct Revocations(RwLock<HashMap<Arc<str>, Timestamp>>);

impl Revocations {
    /// Adds these; of two moments for a user the later one counts.
    pub fn add(&self, revoked: impl IntoIterator<Item = (Arc<str>, Timestamp)>) {
        // No code panics while it holds the lock.
        let mut users = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (user, at) in revoked {
            let latest = users.entry(user).or_insert(at);
            *latest = at.max(*latest);
        }
    }

    /// Whether what this user has presented still counts.
    ///
    /// # Errors
    /// [`AuthError::UserRevoked`] if it was issued before they were revoked, or does not say when it was.
    pub fn check(&self, user: &User) -> Result<(), AuthError> {
        let users = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match users.get(&user.id) {
            Some(at) if user.issued_at.is_none_or(|issued| issued < *at) => {
                Err(AuthError::UserRevoked)
            }
            _ => Ok(()),
        }
    }
}

/// Says nothing of who they are.
impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").finish_non_exhaustive()
    }
}
