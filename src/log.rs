//! Places in the log: positions, the epoch they belong to, and the event ids that carry both over the wire.
//!
//! The log is the hub's one sequence of entries. A position alone says nothing about *which* log it was counted in: a
//! restored backup counts on from an older place, and a cursor from before would silently skip what came after. So each
//! database has an epoch, and an event id is `<epoch>-<position>`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// An entry's place in the log: 1, 2, 3 … in commit order. Zero is the place before the first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position(pub u64);

impl Position {
    /// Before the first entry.
    pub const START: Position = Position(0);

    /// The place after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What tells one database's positions from another's: 8 random characters of `a-z0-9`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// How many characters an epoch has.
    pub const LENGTH: usize = 8;

    /// A new one, from a random v4 UUID: 36^8 values.
    pub fn random() -> Self {
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut random = uuid::Uuid::new_v4().as_u128();
        let mut text = String::with_capacity(Self::LENGTH);
        for _ in 0..Self::LENGTH {
            // 36 < 2^128 by so much that the remainder's bias cannot be seen.
            let index = usize::try_from(random % 36).unwrap_or(0);
            text.push(char::from(ALPHABET[index]));
            random /= 36;
        }
        Self(text.into())
    }

    /// From the text that a database holds; none if it could not stand in an event id.
    pub fn from_text(text: &str) -> Option<Self> {
        let fits = !text.is_empty()
            && text.len() <= 32
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        fits.then(|| Self(text.into()))
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The event id of `position` in this epoch.
    pub fn event_id(&self, position: Position) -> EventId<'_> {
        EventId {
            epoch: &self.0,
            position,
        }
    }

    /// What a client's cursor means here.
    pub fn locate(&self, cursor: &str) -> Cursor {
        let place = cursor
            .split_once('-')
            .filter(|(epoch, _)| *epoch == self.as_str())
            .map(|(_, digits)| digits)
            .filter(|digits| {
                !digits.is_empty()
                    && digits.len() <= 19
                    && digits.bytes().all(|b| b.is_ascii_digit())
            })
            .and_then(|digits| digits.parse().ok());
        match place {
            Some(position) => Cursor::At(Position(position)),
            None => Cursor::Foreign,
        }
    }
}

/// `<epoch>-<position>`, ASCII: what the stream's `id:` carries and `Last-Event-ID` brings back.
#[derive(Clone, Copy, Debug)]
pub struct EventId<'a> {
    epoch: &'a str,
    position: Position,
}

impl fmt::Display for EventId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.position)
    }
}

/// Where a client says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// It brought none.
    None,
    /// At this position of this epoch; whether the log has come that far is for the hub to see.
    At(Position),
    /// Garbage, or another epoch's: nothing can be told from it, so the stream says `gap`.
    Foreign,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_that_could_not_stand_in_an_event_id_is_none() {
        for text in ["", "Abc", "a-b", "é", &"a".repeat(33)] {
            assert_eq!(Epoch::from_text(text), None, "{text:?}");
        }
        assert!(Epoch::from_text(&"a0".repeat(16)).is_some());
    }

    #[test]
    fn each_character_of_an_epoch_is_drawn() {
        let drawn: Vec<Epoch> = (0..64).map(|_| Epoch::random()).collect();
        for place in 1..Epoch::LENGTH {
            let differs = |epoch: &Epoch| {
                let text = epoch.as_str().as_bytes();
                text[place] != text[place - 1]
            };
            assert!(drawn.iter().any(differs), "character {place}");
        }
    }
}
