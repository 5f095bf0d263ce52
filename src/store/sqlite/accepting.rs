//! What happens to a notification inside the writer's transaction: it is stored, or answered with an earlier one, or
//! refused.
//!
//! In this order: the key under which it was asked for, its throttle, its reference, its row (in the log, or beside it until
//! it is due). The rows that each leaves
//! are in one transaction, so an answer that somebody has heard is kept whole, and one that was refused has used nothing
//! up but numbers.

use std::sync::Arc;

use rusqlite::Connection;

use super::entries::{self, Inserts};
use super::failure::Failure;
use super::idempotency::{self, Keys};
use super::{references, scheduled, throttles};
use crate::clock::Timestamp;
use crate::log::Position;
use crate::notification::{Entry, Notification};
use crate::reference::Zone;
use crate::store::{Placed, Refused};

/// What became of one that was not refused.
pub(super) enum Accepted {
    /// It stands in the log.
    New(Placed, Entry),
    /// It is held back until this moment.
    Held(Placed, Timestamp),
    /// An earlier one answers for it.
    Earlier(Placed),
}

/// Takes a notification in at `position`, if nothing stands against it. The head is the caller's to move.
pub(super) fn accept(
    connection: &Connection,
    (inserts, keys): (&mut Inserts<'_>, &mut Keys<'_>),
    notification: &Notification,
    position: Position,
    zone: &Zone,
) -> Result<Result<Accepted, Refused>, Failure> {
    let place = match notification.deliver_at {
        Some(_) => None,
        None => Some(position),
    };
    let placed = |reference| Placed {
        id: notification.id,
        position: place,
        created_at: notification.created_at,
        reference,
        throttled: false,
        duplicate: false,
    };
    let lapsed = |moment| moment <= notification.created_at;
    let lapsed = notification.expires_at.is_some_and(lapsed);
    let plain = notification.throttle.is_none()
        && notification.reference.is_none()
        && notification.deliver_at.is_none();
    if plain && !lapsed {
        // Nothing but its key can stand against it, so what it will be answered is known beforehand: keeping that under
        // the key asks in the same breath whether the key is new.
        let placed = placed(None);
        if keys.keep(notification, &placed)? {
            let body = Arc::clone(&notification.body);
            return store(connection, inserts, notification, body, position, placed);
        }
    }
    if let Some(answer) = idempotency::answer(connection, notification)? {
        return Ok(answer.map(Accepted::Earlier));
    }
    if lapsed {
        return Ok(Err(Refused::Lapsed));
    }
    if notification.deliver_at.is_some() && !scheduled::has_room(connection)? {
        return Ok(Err(Refused::TooManyScheduled));
    }
    if let Some(throttle) = &notification.throttle
        && let Some(last) = throttles::held_off_by(connection, notification, throttle)?
    {
        keys.keep(notification, &last)?;
        return Ok(Ok(Accepted::Earlier(last)));
    }
    let reference = match &notification.reference {
        None => None,
        Some(wanted) => match references::give(connection, wanted, notification, place, zone)? {
            Ok(reference) => Some(reference),
            Err(refused) => return Ok(Err(refused)),
        },
    };
    let body = match &reference {
        Some(reference) => with_reference(&notification.body, reference),
        None => Arc::clone(&notification.body),
    };
    let placed = placed(reference);
    if let Some(throttle) = &notification.throttle {
        throttles::accepted(connection, notification, throttle, &placed)?;
    }
    keys.keep(notification, &placed)?;
    store(connection, inserts, notification, body, position, placed)
}

/// Puts it into the log at `position`, or, if it is held back, beside it.
fn store(
    connection: &Connection,
    inserts: &mut Inserts<'_>,
    notification: &Notification,
    body: Arc<str>,
    position: Position,
    placed: Placed,
) -> Result<Result<Accepted, Refused>, Failure> {
    Ok(Ok(match notification.deliver_at {
        None => {
            let entry = entries::placed(notification, body, position);
            inserts.entry(&entry, &notification.publisher, notification.webhook)?;
            Accepted::New(placed, entry)
        }
        Some(due) => {
            scheduled::hold(connection, notification, &body, due)?;
            Accepted::Held(placed, due)
        }
    }))
}

/// The public part with its reference, which holds no character that JSON would escape.
fn with_reference(body: &str, reference: &str) -> Arc<str> {
    let fields = body.strip_suffix('}').unwrap_or(body);
    format!(r#"{fields},"reference":"{reference}"}}"#).into()
}
