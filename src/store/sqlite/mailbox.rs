//! Verdicts on their way to the next commit.
//!
//! The queue and the streams hand their verdicts in without waiting, and the writer empties the box into whatever it
//! commits next, so a delivered notification costs no write of its own. What a failed commit carried is put back in
//! front of what came since: verdicts are applied in the order in which they were given.
//!
//! The box is bounded. What is owed is never forgotten: the fan-out looks at how many wait and lets nothing further through
//! while they are too many. What does not fit of the rest is forgotten in the safe direction: a forgotten `sent` is sent
//! again.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::audience::Recipient;
use crate::events;
use crate::log::Position;
use crate::store::{Missed, Reach, Unacknowledged, Verdicts};

/// The most changes that wait before a `sent` is forgotten, and the most users whose marks wait: some 20 MB.
const MAX_WAITING: usize = 200_000;

/// One recipient's verdict.
#[derive(Debug)]
pub(super) enum Change {
    /// Nobody took it at the first try.
    Owed(Position, Recipient, Missed),
    /// If it was owed or failed, it is so no longer.
    Sent(Position, Recipient),
    /// What had been written to a stream is owed again.
    Unacknowledged(Unacknowledged),
    /// To how many streams one went for which nobody is asked after.
    Reached(Position, Reach),
}

/// What one commit applies.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Every entry up to here has been through the fan-out.
    pub(super) settled: Position,
    /// In the order in which they were given.
    pub(super) changes: VecDeque<Change>,
    /// The highest position served, by user.
    pub(super) marks: HashMap<Arc<str>, Position>,
    /// How many times something had been recorded when this was taken.
    recorded: u64,
}

impl Batch {
    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.settled == Position::START && self.changes.is_empty() && self.marks.is_empty()
    }
}

/// The box.
pub(super) struct Mailbox(Mutex<Contents>);

struct Contents {
    batch: Batch,
    /// `batch.recorded` of what has been committed.
    written: u64,
    /// The writer has been told since it last looked.
    woken: bool,
    full: bool,
}

impl Mailbox {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Contents {
            batch: Batch::default(),
            written: 0,
            woken: false,
            full: false,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        // Nothing below panics half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds verdicts. Whether the writer must be woken: no if it has been since it last emptied the box.
    pub(super) fn record(&self, verdicts: Verdicts) -> bool {
        let mut contents = self.lock();
        for (position, recipient, missed) in verdicts.owed {
            let change = Change::Owed(position, recipient, missed);
            contents.batch.changes.push_back(change);
        }
        for (position, reach) in verdicts.reached {
            if contents.has_room() {
                let change = Change::Reached(position, reach);
                contents.batch.changes.push_back(change);
            }
        }
        for (position, recipient) in verdicts.sent {
            if contents.has_room() {
                let change = Change::Sent(position, recipient);
                contents.batch.changes.push_back(change);
            }
        }
        for broken in verdicts.unacknowledged {
            let change = Change::Unacknowledged(broken);
            contents.batch.changes.push_back(change);
        }
        for (user, position) in verdicts.marks {
            let marks = &mut contents.batch.marks;
            if marks.len() < MAX_WAITING || marks.contains_key(&user) {
                let mark = marks.entry(user).or_default();
                *mark = position.max(*mark);
            }
        }
        contents.batch.settled = contents.batch.settled.max(verdicts.settled);
        contents.batch.recorded += 1;
        !std::mem::replace(&mut contents.woken, true)
    }

    /// Whether anything recorded is not committed yet.
    pub(super) fn waiting(&self) -> bool {
        let contents = self.lock();
        contents.batch.recorded > contents.written
    }

    /// How many changes wait.
    pub(super) fn len(&self) -> usize {
        self.lock().batch.changes.len()
    }

    /// Empties the box into a commit that is about to be made.
    pub(super) fn take(&self) -> Batch {
        let mut contents = self.lock();
        contents.woken = false;
        let recorded = contents.batch.recorded;
        let emptied = Batch {
            recorded,
            ..Batch::default()
        };
        std::mem::replace(&mut contents.batch, emptied)
    }

    /// The commit that carried it is durable.
    pub(super) fn written(&self, batch: &Batch) {
        self.lock().written = batch.recorded;
    }

    /// The commit that would have carried it failed.
    pub(super) fn put_back(&self, mut batch: Batch) {
        let mut contents = self.lock();
        let newer = &mut contents.batch;
        batch.settled = batch.settled.max(newer.settled);
        batch.changes.append(&mut newer.changes);
        for (user, position) in newer.marks.drain() {
            let mark = batch.marks.entry(user).or_default();
            *mark = position.max(*mark);
        }
        batch.recorded = newer.recorded;
        contents.batch = batch;
    }
}

impl Contents {
    fn has_room(&mut self) -> bool {
        let full = self.batch.changes.len() >= MAX_WAITING;
        if full && !self.full {
            tracing::warn!(
                event = events::VERDICTS_LOST,
                "more than {MAX_WAITING} verdicts wait for the store; what was sent meanwhile will be sent again"
            );
        }
        self.full = full;
        !full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> Recipient {
        Recipient::User("42".into())
    }

    fn owed(positions: impl Iterator<Item = u64>) -> Vec<(Position, Recipient, Missed)> {
        positions
            .map(|p| (Position(p), user(), Missed::NoStream))
            .collect()
    }

    fn sent(positions: impl Iterator<Item = u64>) -> Vec<(Position, Recipient)> {
        positions.map(|p| (Position(p), user())).collect()
    }

    #[test]
    fn what_a_failed_commit_carried_comes_before_what_came_since() {
        let mailbox = Mailbox::new();
        let wake = mailbox.record(Verdicts {
            settled: Position(2),
            owed: owed(1..=2),
            marks: vec![("42".into(), Position(9))],
            ..Verdicts::default()
        });
        assert!(wake);
        let failed = mailbox.take();
        let later = Verdicts {
            settled: Position(1),
            sent: sent(1..=1),
            marks: vec![("42".into(), Position(3))],
            ..Verdicts::default()
        };
        assert!(mailbox.record(later.clone()), "once for each emptying");
        assert!(!mailbox.record(later), "and no more");
        mailbox.put_back(failed);
        assert!(mailbox.waiting());
        let batch = mailbox.take();
        assert_eq!(batch.settled, Position(2));
        assert_eq!(batch.marks.get("42"), Some(&Position(9)));
        let kinds: Vec<bool> = batch
            .changes
            .iter()
            .map(|change| matches!(change, Change::Owed(..)))
            .collect();
        assert_eq!(kinds, [true, true, false, false]);
        mailbox.written(&batch);
        assert!(!mailbox.waiting());
    }

    #[test]
    fn a_full_box_forgets_what_is_only_sent_again_and_never_what_is_owed() {
        let mailbox = Mailbox::new();
        let last = MAX_WAITING as u64 + 10;
        mailbox.record(Verdicts {
            settled: Position(last),
            owed: owed(1..=last),
            sent: sent(1..=last),
            ..Verdicts::default()
        });
        let batch = mailbox.take();
        let owed = |change: &&Change| matches!(change, Change::Owed(..));
        assert_eq!(batch.changes.iter().filter(owed).count() as u64, last);
        assert_eq!(batch.changes.len() as u64, last);
        assert_eq!(batch.settled, Position(last));
    }
}
