//! What publishing comes to, and the record of keys that were used again.

use std::sync::Arc;

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::log::Position;

/// The most notifications that may be held back at a time.
pub const MAX_SCHEDULED: usize = 1_000_000;

/// What the store answers an [`Store::append`](super::Store::append) with, for each notification in order.
pub type Appended = Result<Placed, Refused>;

/// The notification that answers an append: the one that was appended, or an earlier one in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its id.
    pub id: Uuid,
    /// Its place in the log; none while it is held back.
    pub position: Option<Position>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// The reference that it has.
    pub reference: Option<Arc<str>>,
    /// Nothing was stored: a throttle holds it off, and this is the one that was accepted last.
    pub throttled: bool,
    /// Nothing was stored: this was the answer under the same key before.
    pub duplicate: bool,
}

/// Why a notification was left out while its neighbours were stored. Its key is not used up by that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The key stands for another draft.
    #[error("its idempotency key was used for another draft")]
    KeyReused,
    /// It lapsed before it was accepted.
    #[error("it has expired")]
    Lapsed,
    /// Somebody has the reference that it brings.
    #[error("the reference {0} is taken")]
    ReferenceTaken(Arc<str>),
    /// The number drawn for it had been brought by somebody; the next try draws another.
    #[error("the reference {0}, which was drawn, is taken")]
    Collided(Arc<str>),
    /// As many as [`MAX_SCHEDULED`] are held back.
    #[error("too many are held back")]
    TooManyScheduled,
    /// It breaks a constraint of the database.
    #[error(transparent)]
    Conflict(#[from] Conflict),
}

/// A row or a name that breaks a constraint of the database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it conflicts with what is stored: {0}")]
pub struct Conflict(pub String);

/// Which uses of idempotency keys are asked for.
#[derive(Clone, Debug)]
pub struct DuplicateQuery {
    /// Under this key.
    pub key: Option<String>,
    /// By this publisher.
    pub publisher: Option<String>,
    /// At this moment or later.
    pub since: Timestamp,
    /// Before this moment.
    pub until: Timestamp,
    /// Before the one of this number, for the next page.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// A request under a key that had an answer already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// Rising with time.
    pub number: i64,
    /// Who asked.
    pub publisher: Arc<str>,
    /// Under which key.
    pub key: Arc<str>,
    /// What it came to.
    pub outcome: DuplicateOutcome,
    /// The notification that the key stands for.
    pub notification_id: Uuid,
    /// When.
    pub at: Timestamp,
}

/// What a request under a used key came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicateOutcome {
    /// It was the same draft, and got the same answer.
    Answered,
    /// It was another draft.
    Refused,
}
