//! What happens to a notification inside the writer's transaction: it is stored, or answered with an earlier one, or
//! refused.
//!
//! In this order: the key under which it was asked for, its throttle, its reference, its row. The rows that each leaves
//! are in one transaction, so an answer that somebody has heard is kept whole, and one that was refused has used nothing
//! up but numbers.

use std::sync::Arc;

use rusqlite::Connection;

use super::entries::Inserts;
use super::failure::Failure;
use super::{idempotency, references, throttles};
use crate::log::Position;
use crate::notification::Notification;
use crate::reference::Zone;
use crate::store::{Placed, Refused};

/// What became of one that was not refused.
pub(super) enum Accepted {
    /// It stands in the log, with this body.
    New(Placed, Arc<str>),
    /// An earlier one answers for it.
    Earlier(Placed),
}

/// Takes a notification in at `position`, if nothing stands against it. The head is the caller's to move.
pub(super) fn accept(
    connection: &Connection,
    inserts: &mut Inserts<'_>,
    notification: &Notification,
    position: Position,
    zone: &Zone,
) -> Result<Result<Accepted, Refused>, Failure> {
    let placed = |reference| Placed {
        id: notification.id,
        position,
        created_at: notification.created_at,
        reference,
        throttled: false,
        duplicate: false,
    };
    let lapsed = |moment| moment <= notification.created_at;
    let lapsed = notification.expires_at.is_some_and(lapsed);
    if !lapsed && notification.throttle.is_none() && notification.reference.is_none() {
        // Nothing but its key can stand against it, so what it will be answered is known beforehand: keeping that under
        // the key asks in the same breath whether the key is new.
        let placed = placed(None);
        if idempotency::keep(connection, notification, &placed)? {
            inserts.insert(notification, &notification.body, position)?;
            return Ok(Ok(Accepted::New(placed, Arc::clone(&notification.body))));
        }
    }
    if let Some(answer) = idempotency::answer(connection, notification)? {
        return Ok(answer.map(Accepted::Earlier));
    }
    if lapsed {
        return Ok(Err(Refused::Lapsed));
    }
    if let Some(throttle) = &notification.throttle
        && let Some(last) = throttles::held_off_by(connection, notification, throttle)?
    {
        idempotency::keep(connection, notification, &last)?;
        return Ok(Ok(Accepted::Earlier(last)));
    }
    let reference = match &notification.reference {
        None => None,
        Some(wanted) => match references::give(connection, wanted, notification, position, zone)? {
            Ok(reference) => Some(reference),
            Err(refused) => return Ok(Err(refused)),
        },
    };
    let body = match &reference {
        Some(reference) => with_reference(&notification.body, reference),
        None => Arc::clone(&notification.body),
    };
    inserts.insert(notification, &body, position)?;
    let placed = placed(reference);
    if let Some(throttle) = &notification.throttle {
        throttles::accepted(connection, notification, throttle, &placed)?;
    }
    idempotency::keep(connection, notification, &placed)?;
    Ok(Ok(Accepted::New(placed, body)))
}

/// The public part with its reference, which holds no character that JSON would escape.
fn with_reference(body: &str, reference: &str) -> Arc<str> {
    let fields = body.strip_suffix('}').unwrap_or(body);
    format!(r#"{fields},"reference":"{reference}"}}"#).into()
}
