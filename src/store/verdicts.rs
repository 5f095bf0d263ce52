//! What the hub decided about recipients.

use std::sync::Arc;

use crate::audience::Recipient;
use crate::log::Position;

/// What the hub decided about recipients since it last told the store. All of it is applied in one transaction:
/// first the settled position and `owed`, then `reached`, `sent`, `unacknowledged`, then `marks`.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    /// Every entry up to here has been through the fan-out. Never lowers what is stored.
    pub settled: Position,
    /// Recipients that nobody took it for at the first try, and why.
    pub owed: Vec<(Position, Recipient, Missed)>,
    /// How far those went for which nobody is asked after: broadcasts, and what is for everyone.
    pub reached: Vec<(Position, Reach)>,
    /// Owed or failed recipients that have it now. One that has no row is left without: it was never owed.
    pub sent: Vec<(Position, Recipient)>,
    /// Connections that broke with bytes which their clients had not acknowledged.
    pub unacknowledged: Vec<Unacknowledged>,
    /// For each user the highest position served to any of their streams; never lowers what is stored.
    pub marks: Vec<(Arc<str>, Position)>,
}

/// Why nobody took it at the first try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// No stream of this recipient was open.
    NoStream,
    /// Streams were open, and none of them took it at once.
    NotTaken,
    /// It had expired when its turn came.
    Lapsed,
}

/// To how many streams something went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// It was written to so many at once.
    pub live: u32,
    /// So many were behind, and read it from the log.
    pub behind: u32,
}

/// A stretch of the log that was written to a connection whose client may never have had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unacknowledged {
    /// Whom the stream stood for, and no other open stream that has it.
    pub recipients: Vec<Recipient>,
    /// Acknowledged up to here.
    pub after: Position,
    /// Written up to here.
    pub upto: Position,
    /// What was owed from before and was sent without an id: no place that the client comes back with proves that it has
    /// these.
    pub owed: Vec<(Position, Recipient)>,
}
