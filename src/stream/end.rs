//! Why a stream has ended, as it is counted.

use crate::sse::Bye;

/// Why a stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The hub said bye.
    Said(Bye),
    /// Its client went away, or broke the protocol.
    Client,
    /// Its socket took nothing for too long, or its client acknowledged nothing.
    Stalled,
    /// It gave its place to a newer stream of the same user.
    Replaced,
    /// Its client was gone before the answer's head was written.
    Unopened,
    /// The hub stopped before it could say bye.
    Cut,
}

impl End {
    /// Each with the word that is told of it.
    pub(crate) const ALL: [(Self, &'static str); 10] = [
        (Self::Said(Bye::Draining), "draining"),
        (Self::Said(Bye::TokenExpired), "token-expired"),
        (Self::Said(Bye::Reauth), "reauth"),
        (Self::Said(Bye::Revoked), "revoked"),
        (Self::Said(Bye::Busy), "busy"),
        (Self::Client, "client"),
        (Self::Stalled, "stalled"),
        (Self::Replaced, "replaced"),
        (Self::Unopened, "unopened"),
        (Self::Cut, "cut"),
    ];

    /// Its place among them.
    pub(crate) fn index(self) -> usize {
        let place = Self::ALL.iter().position(|(end, _)| *end == self);
        place.unwrap_or(Self::ALL.len() - 1)
    }
}
