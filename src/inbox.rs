//! A user's inbox: a page of it, and what of it they have not read yet, as a number.
//!
//! A user's inbox is what was stored for them to find: notifications (never broadcasts) addressed to them by name, and
//! those to their roles or to everyone since they first opened a stream. There is no list of it anywhere: it is computed
//! from the log by audience key. What they have read is one watermark for each user, and a mark for each notification
//! above it that was read by itself.
//!
//! The count has to be cheap, because every stream begins with it. So it stops where a person stops counting. Listing is as
//! cheap, however much is stored: a page is read from its place on, and looks at so much and no more.

mod listing;

use std::fmt;

use serde::{Serialize, Serializer};

pub use self::listing::{
    DEFAULT_PAGE, Filter, InboxItem, InboxPage, InboxQuery, MAX_FILTER, MAX_PAGE,
};

/// Up to here an unread count is exact; what is beyond is "1000+", and is not counted.
pub const MAX_UNREAD: usize = 1_000;

/// How many notifications of an inbox have not been read: exact to [`MAX_UNREAD`].
///
/// In JSON a number, or the text `"1000+"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread(Count);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Exactly(usize),
    More,
}

impl Unread {
    /// Of so many, counted up to one past [`MAX_UNREAD`] at least.
    pub const fn counted(unread: usize) -> Self {
        if unread > MAX_UNREAD {
            Self(Count::More)
        } else {
            Self(Count::Exactly(unread))
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Count::Exactly(unread) => unread.fmt(f),
            Count::More => write!(f, "{MAX_UNREAD}+"),
        }
    }
}

impl Serialize for Unread {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Count::Exactly(unread) => serializer.serialize_u64(unread as u64),
            Count::More => serializer.collect_str(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_number_to_a_thousand_and_then_a_text() {
        let json = |unread| serde_json::to_string(&Unread::counted(unread)).expect("JSON");
        assert_eq!(
            [0, 1, 1_000, 1_001, 50_000].map(json),
            ["0", "1", "1000", "\"1000+\"", "\"1000+\""]
        );
    }
}
