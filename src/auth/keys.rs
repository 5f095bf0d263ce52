//! API keys: made once, shown once, kept as SHA-256.
//!
//! A key is 256 random bits, so a plain hash suffices: there is nothing to guess that a slow one would slow down. Keys
//! are looked up by their hash; how far a wrong one would have matched cannot be timed, because nobody chooses its hash.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use aws_lc_rs::digest::{SHA256, digest};

use super::secret::{base64url, random_bytes};
use super::{AuthError, Caller, Scopes};
use crate::clock::Timestamp;

/// How every API key begins, so that scanners find one in a log or a repository.
pub const KEY_PREFIX: &str = "cmp_";

/// What the store keeps of an API key. The key itself cannot be had from it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its name, unique in the store.
    pub name: Arc<str>,
    /// SHA-256 of the whole key, prefix included.
    pub hash: [u8; 32],
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
}

/// Leaves the hash out.
impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKey")
            .field("name", &self.name)
            .field("scopes", &self.scopes)
            .field("created_at", &self.created_at)
            .field("revoked_at", &self.revoked_at)
            .finish_non_exhaustive()
    }
}

/// A new API key: [`KEY_PREFIX`] and 43 characters of base64url, to be shown once, and what to store of it. The name
/// must have passed [`crate::audience::identifier`].
///
/// # Panics
/// If the system has no randomness to give.
pub fn new_key(name: impl Into<Arc<str>>, scopes: Scopes, now: Timestamp) -> (String, StoredKey) {
    let key = format!("{KEY_PREFIX}{}", base64url(&random_bytes()));
    let stored = StoredKey {
        name: name.into(),
        hash: hash(&key),
        scopes,
        created_at: now,
        revoked_at: None,
    };
    (key, stored)
}

/// The API keys in memory: a copy of what the store keeps, read on each call that presents one.
#[derive(Default)]
pub struct KeyRing(RwLock<HashMap<[u8; 32], Held>>);

struct Held {
    name: Arc<str>,
    scopes: Scopes,
    revoked: bool,
}

impl KeyRing {
    /// Puts these in the place of all that were there.
    pub fn load(&self, keys: impl IntoIterator<Item = StoredKey>) {
        *self.write() = keys.into_iter().map(held).collect();
    }

    /// Adds one.
    pub fn insert(&self, key: StoredKey) {
        let (hash, held) = held(key);
        self.write().insert(hash, held);
    }

    /// Takes the key of this name back; false if there is none that is not.
    pub fn revoke(&self, name: &str) -> bool {
        let mut keys = self.write();
        let current = keys
            .values_mut()
            .find(|held| &*held.name == name && !held.revoked);
        current.map(|held| held.revoked = true).is_some()
    }

    pub(super) fn caller(&self, key: &str) -> Result<Caller, AuthError> {
        let hash = hash(key);
        match self.read().get(&hash) {
            None => Err(AuthError::UnknownKey),
            Some(held) if held.revoked => Err(AuthError::Revoked),
            Some(held) => Ok(Caller::Key {
                name: Arc::clone(&held.name),
                scopes: held.scopes,
            }),
        }
    }

    // No code panics while it holds the lock, so a poisoned map is still whole.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<[u8; 32], Held>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<[u8; 32], Held>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says how many, and nothing of them.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("keys", &self.read().len())
            .finish()
    }
}

fn held(key: StoredKey) -> ([u8; 32], Held) {
    let held = Held {
        name: key.name,
        scopes: key.scopes,
        revoked: key.revoked_at.is_some(),
    };
    (key.hash, held)
}

fn hash(key: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
    hash
}
