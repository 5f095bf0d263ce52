//! Tokens that were found right lately.
//!
//! A backend sends the same token with every request, and checking it costs more than the rest of a small request: two rounds
//! of base64 and JSON and a signature, which with RSA and elliptic curves is tens of microseconds. What cannot change is
//! checked once: the signature, and what the token says. What can change is checked each time, by whoever asks: whether it
//! is time, whether the issuer still has its keys, whether the user was revoked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::issuer::Verified;

/// How many are kept for sure; up to twice as many are.
const KEPT: usize = 512;
/// A longer token is checked each time, so that the texts of all of them together take 2 MB at most.
const MAX_BYTES: usize = 2_048;

#[derive(Default)]
pub(super) struct Known(Mutex<Generations>);

/// Those that were used lately, and those that were before these were [`KEPT`]: what is used moves on, the rest is forgotten
/// with its generation.
#[derive(Default)]
struct Generations {
    young: HashMap<Box<str>, Arc<Verified>>,
    old: HashMap<Box<str>, Arc<Verified>>,
}

impl Known {
    pub(super) fn find(&self, token: &str) -> Option<Arc<Verified>> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = generations.young.get(token) {
            return Some(Arc::clone(known));
        }
        let (token, known) = generations.old.remove_entry(token)?;
        generations.keep(token, Arc::clone(&known));
        Some(known)
    }

    pub(super) fn remember(&self, token: &str, verified: Verified) {
        if token.len() <= MAX_BYTES {
            let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            generations.keep(token.into(), Arc::new(verified));
        }
    }
}

impl Generations {
    fn keep(&mut self, token: Box<str>, verified: Arc<Verified>) {
        if self.young.len() >= KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(token, verified);
    }
}
