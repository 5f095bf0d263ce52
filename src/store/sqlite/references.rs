//! References as rows: all that were ever given, and the counters from which they are drawn.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::entries::{millis, moment_of, stored_place, unsigned};
use super::failure::Failure;
use crate::clock::Timestamp;
use crate::log::Position;
use crate::notification::Notification;
use crate::reference::{Reference, Zone, drawn};
use crate::store::Refused;

/// Gives a notification its reference. A number that turns out to be taken stays used, so that the next try draws the
/// one after it.
pub(super) fn give(
    connection: &Connection,
    wanted: &Reference,
    notification: &Notification,
    place: Option<Position>,
    zone: &Zone,
) -> Result<Result<Arc<str>, Refused>, Failure> {
    let reference = match wanted {
        Reference::Bring(reference) => Arc::clone(reference),
        Reference::Draw(prefix) => draw(connection, prefix, &zone.month(notification.created_at))?,
    };
    // The transaction holds the right to write from its beginning, so nobody can come in between. If anything ever did,
    // the primary key would undo this notification.
    if given(connection, &reference)?.is_some() {
        return Ok(Err(match wanted {
            Reference::Bring(_) => Refused::ReferenceTaken(reference),
            Reference::Draw(_) => Refused::Collided(reference),
        }));
    }
    connection
        .prepare_cached(
            "INSERT INTO reference (reference, id, position, created_ms) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            reference,
            notification.id.as_bytes(),
            stored_place(place),
            millis(notification.created_at)
        ])?;
    Ok(Ok(reference))
}

fn draw(connection: &Connection, prefix: &str, month: &str) -> rusqlite::Result<Arc<str>> {
    let number = connection
        .prepare_cached(
            "INSERT INTO reference_counter (prefix, month, last) VALUES (?1, ?2, 1)
             ON CONFLICT (prefix, month) DO UPDATE SET last = last + 1
             RETURNING last",
        )?
        .query_row([prefix, month], |row| unsigned(row, 0))?;
    Ok(drawn(prefix, month, number))
}

/// The notification that has a reference, also after it was pruned, and when it was accepted.
pub(super) fn given(
    connection: &Connection,
    reference: &str,
) -> rusqlite::Result<Option<(Uuid, Timestamp)>> {
    connection
        .prepare_cached("SELECT id, created_ms FROM reference WHERE reference = ?1")?
        .query_row([reference], |row| {
            Ok((Uuid::from_bytes(row.get(0)?), moment_of(row, 1)?))
        })
        .optional()
}
