//! Whether a stream's client still knows how much of its user's inbox is unread.
//!
//! What is read or withdrawn is told as soon as the stream is live. What is new for the inbox is told when the stream's turn
//! comes, because one notification is new for thousands of streams; its owner keeps the turns.

use crate::log::Position;

#[derive(Debug)]
pub(super) struct Count {
    /// To be counted when the client can be told. However often it changes before, it is counted once.
    due: bool,
    news: News,
    /// What the first count it was told covers: what is read from the log up to here is no news for it.
    covers: Position,
}

/// Whether there is something that the last count did not know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Nothing,
    /// Its owner has not been told.
    Something,
    /// Its owner has it counted when its turn comes.
    Queued,
}

impl Count {
    pub(super) fn new() -> Self {
        Self {
            due: false,
            news: News::Nothing,
            covers: Position::START,
        }
    }

    /// The client is told a count that has everything up to there.
    pub(super) fn begin(&mut self, covers: Position) {
        self.covers = covers;
    }

    /// What was offered is for inboxes.
    pub(super) fn offered(&mut self) {
        if self.news == News::Nothing {
            self.news = News::Something;
        }
    }

    /// What was read from the log, up to there, is for inboxes.
    pub(super) fn read(&mut self, upto: Position) {
        if upto > self.covers {
            self.offered();
        }
    }

    /// Whether its owner has to give it a turn; says so once until that has come.
    pub(super) fn wants_turn(&mut self) -> bool {
        let news = self.news == News::Something;
        if news {
            self.news = News::Queued;
        }
        news
    }

    /// Its turn has come.
    pub(super) fn turn(&mut self) {
        self.news = News::Nothing;
        self.due = true;
    }

    /// To be counted, again if it has been.
    pub(super) fn again(&mut self) {
        self.due = true;
    }

    /// Whether to count now. What changes from here on is counted after the count that is asked for now.
    pub(super) fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.due)
    }
}
