//! Throttles as rows: the last one accepted for each publisher, key and window.

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::entries::{millis, moment_of, place_of, stored_place};
use super::failure::Failure;
use crate::notification::Notification;
use crate::store::Placed;
use crate::throttle::Throttle;

/// How much earlier than the last one accepted a request may say that it is, in milliseconds, because that one overtook it
/// on its way here. Beyond this the clock has been set back.
const OVERTAKEN_MS: i64 = 60_000;

fn window(throttle: &Throttle) -> i64 {
    i64::try_from(throttle.window.as_millis()).unwrap_or(i64::MAX)
}

/// The one that holds this off, if its window is not over.
pub(super) fn held_off_by(
    connection: &Connection,
    notification: &Notification,
    throttle: &Throttle,
) -> Result<Option<Placed>, Failure> {
    let now = millis(notification.created_at);
    let last = connection
        .prepare_cached(
            "SELECT id, position, created_ms, reference, accepted_ms FROM throttle
             WHERE publisher = ?1 AND key = ?2 AND window_ms = ?3",
        )?
        .query_row(
            params![notification.publisher, throttle.key, window(throttle)],
            |row| {
                let placed = Placed {
                    id: Uuid::from_bytes(row.get(0)?),
                    position: place_of(row, 1)?,
                    created_at: moment_of(row, 2)?,
                    reference: row.get(3)?,
                    throttled: true,
                    duplicate: false,
                };
                Ok((placed, row.get::<_, i64>(4)?))
            },
        )
        .optional()?;
    let Some((last, accepted)) = last else {
        return Ok(None);
    };
    let ahead = accepted > now.saturating_add(OVERTAKEN_MS);
    if ahead {
        // The clock was ahead then and has been set back. The window is counted from now on, or it would not end before
        // the clock has come round again.
        connection
            .prepare_cached(
                "UPDATE throttle SET accepted_ms = ?4
                 WHERE publisher = ?1 AND key = ?2 AND window_ms = ?3",
            )?
            .execute(params![
                notification.publisher,
                throttle.key,
                window(throttle),
                now
            ])?;
    }
    let counted_from = if ahead { now } else { accepted };
    Ok((now < counted_from.saturating_add(window(throttle))).then_some(last))
}

/// This one was accepted, and holds off those that follow.
pub(super) fn accepted(
    connection: &Connection,
    notification: &Notification,
    throttle: &Throttle,
    placed: &Placed,
) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "INSERT INTO throttle
                 (publisher, key, window_ms, accepted_ms, id, position, created_ms, reference)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?4, ?7)
             ON CONFLICT (publisher, key, window_ms) DO UPDATE SET
                 accepted_ms = excluded.accepted_ms, id = excluded.id, position = excluded.position,
                 created_ms = excluded.created_ms, reference = excluded.reference",
        )?
        .execute(params![
            notification.publisher,
            throttle.key,
            window(throttle),
            millis(placed.created_at),
            placed.id.as_bytes(),
            stored_place(placed.position),
            placed.reference,
        ])?;
    Ok(())
}
