//! The delivery log: rows where something is kept, and what follows from there being none.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row as SqliteRow, ToSql, params};

use super::entries::{COLUMNS, count, entry_of, millis, moment_of, position_of, stored};
use super::failure::Failure;
use super::{reading, references, scheduled};
use crate::audience::Recipient;
use crate::delivery::{
    Delivery, DeliveryPage, DeliveryQuery, Lookup, LookupQuery, Outcome, Record, Row, Scope, Which,
};
use crate::log::Position;
use crate::store::Reach;

/// The most rows that one page of a search looks at: what was asked for may be rare.
const MAX_LOOKED_AT: usize = 10_000;
/// What [`row_of`] reads, in its order.
const ROW: &str = "delivery.state, delivery.owner IS NOT NULL, delivery.attempts, delivery.changed_ms, delivery.next_ms, \
                   delivery.reason";

/// What is known of a notification.
pub(super) fn lookup(connection: &Connection, query: &LookupQuery) -> Result<Lookup, Failure> {
    let given = match &query.which {
        Which::Id(id) => Some((*id, None)),
        Which::Reference(reference) => {
            references::given(connection, reference)?.map(|(id, created_at)| (id, Some(created_at)))
        }
    };
    let Some((id, given_at)) = given else {
        return Ok(Lookup::Unknown);
    };
    if let Some(held) = scheduled::held(connection, id)? {
        return Ok(Lookup::Held(Box::new(held)));
    }
    let found = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, publisher, streams, behind,
                    (SELECT reference FROM reference WHERE reference.id = entry.id), cancelled_ms, cancelled_by
             FROM entry WHERE id = ?1"
        ))?
        .query_row([id.as_bytes()], |row| {
            Ok((
                entry_of(row)?,
                row.get(7)?,
                reach_of(row, 8)?,
                row.get(10)?,
                scheduled::cancellation_of(row, 11)?,
            ))
        })
        .optional()?;
    let Some((entry, publisher, reach, reference, cancelled)) = found else {
        return Ok(match given_at {
            Some(created_at) => Lookup::Pruned { id, created_at },
            None => Lookup::Unknown,
        });
    };
    let settled = entry.position <= settled(connection)?;
    let mut rows = rows_at(connection, entry.position)?;
    let deliveries = entry.audience.recipients().iter().map(|recipient| {
        let row = rows.remove(&recipient.to_string());
        Delivery::of(&entry, recipient.clone(), settled, reach, row)
    });
    let deliveries = deliveries.collect();
    let in_inbox = match &query.viewer {
        Some(viewer) => reading::is_in_inbox(connection, &entry, viewer)?,
        None => false,
    };
    Ok(Lookup::Found(Box::new(Record {
        publisher,
        reference,
        in_inbox,
        deliveries,
        cancelled,
        entry,
    })))
}

fn settled(connection: &Connection) -> rusqlite::Result<Position> {
    connection
        .prepare_cached("SELECT settled FROM hub")?
        .query_row([], |row| position_of(row, 0))
}

/// The rows of one entry, by key.
fn rows_at(connection: &Connection, position: Position) -> rusqlite::Result<HashMap<String, Row>> {
    connection
        .prepare_cached(&format!(
            "SELECT key, {ROW} FROM delivery WHERE position = ?1"
        ))?
        .query_map([stored(position)], |row| Ok((row.get(0)?, row_of(row, 1)?)))?
        .collect()
}

fn row_of(row: &SqliteRow<'_>, at: usize) -> rusqlite::Result<Row> {
    let claimed: bool = row.get(at + 1)?;
    let next: Option<i64> = row.get(at + 4)?;
    Ok(Row {
        outcome: match row.get_ref(at)?.as_str()? {
            "owed" if claimed => Outcome::Processing,
            "owed" => Outcome::Pending,
            "failed" => Outcome::Failed,
            "expired" => Outcome::Expired,
            "cancelled" => Outcome::Cancelled,
            _ => Outcome::Sent,
        },
        asked: row.get(at + 2)?,
        changed_at: moment_of(row, at + 3)?,
        next_at: next.map(|_| moment_of(row, at + 4)).transpose()?,
        reason: row.get(at + 5)?,
    })
}

fn reach_of(row: &SqliteRow<'_>, at: usize) -> rusqlite::Result<Option<Reach>> {
    let live: Option<u32> = row.get(at)?;
    let behind: Option<u32> = row.get(at + 1)?;
    Ok(live.map(|live| Reach {
        live,
        behind: behind.unwrap_or(0),
    }))
}

/// Searches deliveries.
pub(super) fn search(
    connection: &Connection,
    query: &DeliveryQuery,
) -> Result<DeliveryPage, Failure> {
    match &query.scope {
        Scope::Of(recipient, outcome) => of_recipient(connection, query, recipient, *outcome),
        Scope::All(outcome) => changed(connection, query, *outcome),
    }
}

/// Those of a recipient, off the list of their entries, the latest first.
fn of_recipient(
    connection: &Connection,
    query: &DeliveryQuery,
    recipient: &Recipient,
    outcome: Option<Outcome>,
) -> Result<DeliveryPage, Failure> {
    let settled = settled(connection)?;
    let before = query.cursor.as_deref().and_then(|at| at.parse().ok());
    let mut statement = connection.prepare_cached(&of_recipient_sql())?;
    let mut rows = statement.query(params![recipient.to_string(), before.unwrap_or(i64::MAX)])?;
    let mut page = DeliveryPage::default();
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        let position = position_of(row, 0)?;
        if moment_of(row, 4)? >= query.since && is_own(row, query)? {
            let entry = entry_of(row)?;
            let kept: Option<String> = row.get(10)?;
            let kept = kept.map(|_| row_of(row, 10)).transpose()?;
            let reach = reach_of(row, 8)?;
            let is_settled = entry.position <= settled;
            let delivery = Delivery::of(&entry, recipient.clone(), is_settled, reach, kept);
            if outcome.is_none_or(|outcome| outcome == delivery.outcome) {
                page.deliveries.push(delivery);
            }
        }
        looked_at += 1;
        if page.deliveries.len() == query.limit || looked_at == MAX_LOOKED_AT {
            page.next = Some(position.to_string());
            break;
        }
    }
    Ok(page)
}

/// Whether whoever asks published it, or may see everybody's. Looked at before the entry is read, which may be large.
fn is_own(row: &SqliteRow<'_>, query: &DeliveryQuery) -> rusqlite::Result<bool> {
    let publisher = row.get_ref(7)?.as_str()?;
    let asks = query.publisher.as_deref();
    Ok(asks.is_none_or(|own| own == publisher))
}

fn of_recipient_sql() -> String {
    let columns = COLUMNS.replace("position", "audience.position AS position");
    let columns = columns.replace("expires_ms", "entry.expires_ms");
    // What is in the key's inbox, and what is not, lie apart: two lists, merged.
    let lists = [1, 0].map(|inbox| {
        format!(
            "SELECT {columns}, publisher, streams, behind, {ROW}
             FROM audience CROSS JOIN entry ON entry.position = audience.position
             LEFT JOIN delivery ON delivery.position = audience.position AND delivery.key = audience.key
             WHERE audience.key = ?1 AND audience.inbox = {inbox} AND audience.position < ?2"
        )
    });
    format!("{} ORDER BY position DESC", lists.join(" UNION ALL "))
}

/// Everybody's of one outcome, the latest change first.
fn changed(
    connection: &Connection,
    query: &DeliveryQuery,
    outcome: Outcome,
) -> Result<DeliveryPage, Failure> {
    let state = match outcome {
        Outcome::Pending | Outcome::Processing => "owed",
        Outcome::Sent => "sent",
        Outcome::Failed => "failed",
        Outcome::Expired => "expired",
        Outcome::Cancelled => "cancelled",
    };
    let (at, position, key) = query.cursor.as_deref().and_then(changed_cursor).unwrap_or((
        i64::MAX,
        i64::MAX,
        String::new(),
    ));
    let mut statement = connection.prepare_cached(&changed_sql())?;
    let since = millis(query.since);
    let limit = count(MAX_LOOKED_AT);
    let values: [&dyn ToSql; 6] = [&state, &since, &at, &position, &key, &limit];
    let mut rows = statement.query(&values[..])?;
    let mut page = DeliveryPage::default();
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        let position = position_of(row, 0)?;
        let key: String = row.get(8)?;
        let changed_ms: i64 = row.get(12)?;
        if is_own(row, query)? {
            page.deliveries.extend(found(row, &key, outcome)?);
        }
        looked_at += 1;
        if page.deliveries.len() == query.limit || looked_at == MAX_LOOKED_AT {
            page.next = Some(format!("{changed_ms}-{position}-{key}"));
            break;
        }
    }
    Ok(page)
}

fn found(row: &SqliteRow<'_>, key: &str, outcome: Outcome) -> Result<Option<Delivery>, Failure> {
    let kept = row_of(row, 9)?;
    let recipient = Recipient::parse(key)
        .ok_or_else(|| Failure::Damaged(format!("{key:?} is no recipient")))?;
    let delivery = Delivery::of(&entry_of(row)?, recipient, true, None, Some(kept));
    Ok(Some(delivery).filter(|delivery| delivery.outcome == outcome))
}

/// What [`changed`] ends a page with.
fn changed_cursor(text: &str) -> Option<(i64, i64, String)> {
    let (at, rest) = text.split_once('-')?;
    let (position, key) = rest.split_once('-')?;
    Some((at.parse().ok()?, position.parse().ok()?, key.to_owned()))
}

fn changed_sql() -> String {
    let columns = COLUMNS.replace("position", "entry.position");
    format!(
        "SELECT {columns}, publisher, delivery.key, {ROW}
         FROM delivery CROSS JOIN entry ON entry.position = delivery.position
         WHERE delivery.state = ?1 AND delivery.changed_ms >= ?2
           AND (delivery.changed_ms, delivery.position, delivery.key) < (?3, ?4, ?5)
         ORDER BY delivery.changed_ms DESC, delivery.position DESC, delivery.key DESC LIMIT ?6"
    )
}

#[cfg(test)]
mod tests {
    use super::super::pages::tests::searches_only;
    use super::*;

    #[test]
    fn a_search_is_read_off_its_index_and_never_scanned_or_sorted() {
        searches_only(&of_recipient_sql(), 2);
        searches_only(&changed_sql(), 6);
    }
}
