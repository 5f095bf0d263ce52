//! Tickets: what a page of another site opens its stream with.
//!
//! An EventSource cannot set headers, and across sites it has no cookie, so its credential has to stand in the URL, where
//! logs, histories and referrers keep it. A ticket may stand there: it is good for one stream, for half a minute, and for
//! nothing else, and whoever finds it later finds it spent. It inherits user, roles and expiry of the token that asked,
//! and none of its scopes.
//!
//! Tickets are kept in memory, as hashes. A restart voids them, and that costs nothing: it ends all streams, and whoever
//! comes back meets a 401 and asks for another one. Redeeming takes a ticket out under a lock, so of two at once one wins.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::secret::{base64url, random_bytes};
use super::{AuthError, Caller, Scopes, sha256};
use crate::clock::Timestamp;

/// How long a ticket is good.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(30);
/// How many may be good at once: some hundred bytes each.
pub const MAX_TICKETS: usize = 100_000;
/// How many of them may be one user's: as many tabs as come back at once, and a few more.
pub const MAX_TICKETS_OF_ONE: usize = 100;

/// A new ticket, to be shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// 256 random bits as 43 characters of base64url.
    pub text: String,
    /// From here on it is refused.
    pub expires_at: Timestamp,
}

/// Leaves the ticket out.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Why there is no ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// An API key asks, which holds no stream.
    #[error("an API key holds no stream")]
    NoUser,
    /// The token that asks ends now.
    #[error("the token has expired")]
    Expired,
    /// This user has as many as one may have, until so much time has passed.
    #[error("this user has as many tickets as one may have")]
    TooMany(Duration),
    /// As many are good as may be, until so much time has passed.
    #[error("as many tickets are good as may be")]
    Full(Duration),
}

/// The tickets that are good.
#[derive(Default)]
pub(super) struct Tickets(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    good: HashMap<[u8; 32], Good>,
    /// The same in the order in which they were made, which is the order in which they lapse.
    made: BTreeMap<u64, [u8; 32]>,
    next: u64,
    of_user: HashMap<Arc<str>, usize>,
}

struct Good {
    caller: Caller,
    user: Arc<str>,
    number: u64,
    made_at: Timestamp,
    expires_at: Timestamp,
}

impl Tickets {
    pub(super) fn issue(&self, caller: &Caller, now: Timestamp) -> Result<Ticket, TicketError> {
        let Caller::User {
            user, publisher, ..
        } = caller
        else {
            return Err(TicketError::NoUser);
        };
        let expires_at = now.saturating_add(TICKET_LIFETIME).min(user.expires_at);
        if expires_at <= now {
            return Err(TicketError::Expired);
        }
        let text = base64url(&random_bytes());
        let mut kept = self.lock();
        kept.forget_lapsed(now);
        if kept.good.len() >= MAX_TICKETS {
            return Err(TicketError::Full(kept.next_lapse(now)));
        }
        let of_user = kept.of_user.entry(Arc::clone(&user.id)).or_insert(0);
        if *of_user >= MAX_TICKETS_OF_ONE {
            return Err(TicketError::TooMany(TICKET_LIFETIME));
        }
        *of_user += 1;
        let (hash, number) = (sha256(text.as_bytes()), kept.next);
        kept.next += 1;
        kept.made.insert(number, hash);
        let good = Good {
            caller: Caller::User {
                user: user.clone(),
                scopes: Scopes::default(),
                publisher: Arc::clone(publisher),
            },
            user: Arc::clone(&user.id),
            number,
            made_at: now,
            expires_at,
        };
        kept.good.insert(hash, good);
        Ok(Ticket { text, expires_at })
    }

    /// Whose ticket this is; it is nobody's afterwards. Looked up by hash: how far a wrong one would have matched cannot be
    /// timed.
    pub(super) fn redeem(&self, text: &str, now: Timestamp) -> Result<Caller, AuthError> {
        let hash = sha256(text.as_bytes());
        let good = self.lock().take(&hash).ok_or(AuthError::Ticket)?;
        if now >= good.expires_at {
            return Err(AuthError::Ticket);
        }
        Ok(good.caller)
    }

    /// Nobody panics while holding it.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn take(&mut self, hash: &[u8; 32]) -> Option<Good> {
        let good = self.good.remove(hash)?;
        self.made.remove(&good.number);
        if let Some(of_user) = self.of_user.get_mut(&good.user) {
            *of_user -= 1;
            if *of_user == 0 {
                self.of_user.remove(&good.user);
            }
        }
        Some(good)
    }

    fn forget_lapsed(&mut self, now: Timestamp) {
        while let Some((_, hash)) = self.made.first_key_value() {
            let hash = *hash;
            let lapsed = |good: &Good| now >= good.made_at.saturating_add(TICKET_LIFETIME);
            if self.good.get(&hash).is_some_and(|good| !lapsed(good)) {
                return;
            }
            self.take(&hash);
        }
    }

    /// How long until the oldest lapses.
    fn next_lapse(&self, now: Timestamp) -> Duration {
        let oldest = self.made.first_key_value();
        oldest
            .and_then(|(_, hash)| self.good.get(hash))
            .map_or(TICKET_LIFETIME, |good| {
                good.made_at.saturating_add(TICKET_LIFETIME).since(now)
            })
    }
}
