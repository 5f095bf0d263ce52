//! What became of recipients: `owed → sent | failed | expired`.
//!
//! Only those that nobody took it for at the first try have a row; see the contract in [`crate::store`]. All of this
//! runs on the writer, inside its transaction.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::entries::{count, millis, stored};
use super::failure::Failure;
use super::mailbox::{Batch, Change};
use crate::audience::Recipient;
use crate::clock::Timestamp;
use crate::log::Position;
use crate::store::{Missed, Reach, Unacknowledged};

/// Why a recipient is sent that was not at first, as the delivery's reason says it.
const TAKEN_LATER: &str = "a stream took it later";
/// Why one is sent that a crash had made doubtful.
const HAD_IT: &str = "the client came back and had it";
/// Why one is owed that had been written to a stream.
const NOT_ACKNOWLEDGED: &str = "the connection broke before it was acknowledged";
/// The most entries that one broken connection re-opens for each recipient; what lies further back was written long
/// before.
const MAX_REOPENED: usize = 10_000;

/// What every recipient has that is neither owed nor failed. A row that is worked on is owed, so whoever ends that takes
/// the lease with it.
pub(super) const CLOSED: &str = "next_ms = NULL, owner = NULL, leased_ms = NULL, reopened = 0";

/// The positions that were committed but not settled when the store was opened: whether their recipients had them, a
/// crash made unknown.
#[derive(Clone, Copy, Debug)]
pub(super) struct InDoubt {
    /// The settled position at open.
    pub(super) after: Position,
    /// The head at open.
    pub(super) upto: Position,
}

impl InDoubt {
    fn contains(self, position: Position) -> bool {
        self.after < position && position <= self.upto
    }
}

/// Writes verdicts.
pub(super) fn apply(
    connection: &Connection,
    batch: &Batch,
    in_doubt: InDoubt,
    now: Timestamp,
    first_ask: Duration,
) -> Result<(), Failure> {
    if batch.settled > Position::START {
        connection
            .prepare_cached("UPDATE hub SET settled = max(settled, min(?1, head)) WHERE id = 1")?
            .execute([stored(batch.settled)])?;
    }
    // From `entry`, so that a verdict about one that is pruned meanwhile comes to nothing.
    let mut owe = connection.prepare_cached(
        "INSERT INTO delivery (position, key, state, next_ms, reopened, changed_ms, reason)
         SELECT position, ?2, 'owed', ?3, ?4, ?5, ?6 FROM entry WHERE position = ?1
         ON CONFLICT (position, key) DO NOTHING",
    )?;
    let mut send = connection.prepare_cached(&format!(
        "UPDATE delivery SET state = 'sent', {CLOSED}, changed_ms = ?3, reason = '{TAKEN_LATER}'
         WHERE position = ?1 AND key = ?2 AND state IN ('owed', 'failed')"
    ))?;
    let first_ask = millis(now.saturating_add(first_ask));
    let mut broken = Broken::default();
    for change in &batch.changes {
        match change {
            Change::Owed(position, recipient, missed) => {
                owe.execute(params![
                    stored(*position),
                    recipient.to_string(),
                    first_ask,
                    in_doubt.contains(*position),
                    millis(now),
                    in_words(*missed),
                ])?;
            }
            Change::Sent(position, recipient) => {
                send.execute(params![
                    stored(*position),
                    recipient.to_string(),
                    millis(now)
                ])?;
            }
            Change::Unacknowledged(one) => {
                broken.add(one);
                owe_again(connection, &one.owed, first_ask, now)?;
            }
            Change::Reached(position, reach) => count_reach(connection, *position, *reach)?,
        }
    }
    reopen(connection, &broken, first_ask, now)?;
    let mut mark = connection.prepare_cached(
        "INSERT INTO mark (user, position, since) VALUES (?1, ?2, ?2)
         ON CONFLICT (user) DO UPDATE SET position = max(position, excluded.position)",
    )?;
    for (user, position) in &batch.marks {
        mark.execute(params![user, stored(*position)])?;
    }
    Ok(())
}

const fn in_words(missed: Missed) -> &'static str {
    match missed {
        Missed::NoStream => "no stream was open",
        Missed::NotTaken => "no open stream took it",
        Missed::Lapsed => "it had expired when its turn came",
    }
}

/// What broken connections left in doubt, put together for each recipient: when a network goes, thousands of streams of one
/// role end at once, with much the same stretch of the log.
#[derive(Default)]
struct Broken(HashMap<Recipient, (Position, Position)>);

impl Broken {
    fn add(&mut self, one: &Unacknowledged) {
        for recipient in &one.recipients {
            let range = self.0.entry(recipient.clone());
            let (after, upto) = range.or_insert((one.after, one.upto));
            *after = one.after.min(*after);
            *upto = one.upto.max(*upto);
        }
    }
}

/// Connections broke with bytes that their clients never acknowledged: what they stood for is owed again, and a client that
/// comes back with a later place settles it.
fn reopen(
    connection: &Connection,
    broken: &Broken,
    first_ask: i64,
    now: Timestamp,
) -> Result<(), Failure> {
    let mut owe = connection.prepare_cached(&format!(
        "INSERT INTO delivery (position, key, state, next_ms, reopened, changed_ms, reason)
         SELECT position, key, 'owed', ?4, 1, ?5, '{NOT_ACKNOWLEDGED}' FROM audience
         WHERE key = ?1 AND inbox = 1 AND position > ?2 AND position <= ?3
         ORDER BY position DESC LIMIT ?6
         ON CONFLICT (position, key) DO UPDATE SET
             state = 'owed', attempts = 0, next_ms = excluded.next_ms, reopened = 1, changed_ms = excluded.changed_ms,
             reason = excluded.reason
         WHERE state = 'sent'",
    ))?;
    for (recipient, (after, upto)) in &broken.0 {
        owe.execute(params![
            recipient.to_string(),
            stored(*after),
            stored(*upto),
            first_ask,
            millis(now),
            count(MAX_REOPENED)
        ])?;
    }
    Ok(())
}

/// What had been owed before that, and only this connection was given, is as it was.
fn owe_again(
    connection: &Connection,
    owed: &[(Position, Recipient)],
    first_ask: i64,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let mut owe = connection.prepare_cached(&format!(
        "UPDATE delivery SET state = 'owed', next_ms = ?3, changed_ms = ?4, reason = '{NOT_ACKNOWLEDGED}'
         WHERE position = ?1 AND key = ?2 AND state = 'sent' AND reason = '{TAKEN_LATER}'"
    ))?;
    for (position, recipient) in owed {
        owe.execute(params![
            stored(*position),
            recipient.to_string(),
            first_ask,
            millis(now)
        ])?;
    }
    Ok(())
}

/// To how many streams one went for which nobody is asked after.
fn count_reach(connection: &Connection, position: Position, reach: Reach) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE entry SET streams = ?2, behind = ?3 WHERE position = ?1")?
        .execute(params![stored(position), reach.live, reach.behind])?;
    Ok(())
}

/// A client has come back with a place: what a crash had re-opened for these keys up to there was taken after all.
pub(super) fn settle_reopened(
    connection: &Connection,
    keys: &[String],
    place: Position,
    now: Timestamp,
) -> Result<(), Failure> {
    let mut send = connection.prepare_cached(&format!(
        "UPDATE delivery SET state = 'sent', {CLOSED}, changed_ms = ?3, reason = '{HAD_IT}'
         WHERE key = ?1 AND position <= ?2 AND reopened = 1"
    ))?;
    for key in keys {
        send.execute(params![key, stored(place), millis(now)])?;
    }
    Ok(())
}

/// A stream is told a place before it is sent what is owed at or below it, and may never get that far: coming back with
/// that place proves nothing, and what a crash had re-opened for its user there is simply owed.
pub(super) fn leave_owed(
    connection: &Connection,
    own_key: &str,
    head: Position,
) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "UPDATE delivery SET reopened = 0 WHERE key = ?1 AND position <= ?2 AND reopened = 1",
        )?
        .execute(params![own_key, stored(head)])?;
    Ok(())
}
