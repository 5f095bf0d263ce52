//! The outbox: webhooks are put in by the transaction that decided about their notification, and stay as history when they
//! are sent; `sending.rs` has how.
//!
//! What was decided in a transaction is collected by triggers (schema 4), whichever statement gave the verdict: the settled
//! position passing an entry, or an owed recipient becoming anything else. [`decide`] looks at those before the commit. An
//! entry of which anybody is still owed is left; it comes here again with its last verdict. One that was decided before, and
//! is again because a connection broke, meets the row that it made then.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::entries::{count, millis, moment_of, position_of, stored, unsigned};
use super::failure::Failure;
use super::{delivery_log, endpoints};
use crate::clock::Timestamp;
use crate::delivery::{Lookup, LookupQuery, Outcome, Record, Which};
use crate::log::Position;
use crate::notification::Labels;
use crate::store::{
    OutboxCounts, Redeliver, Redelivered, Webhook, WebhookQuery, WebhookState, WebhooksOf,
};
use crate::webhooks::{Choice, Decided, Endpoint, Topic, recipients_and, test as test_data};

/// Puts into the outbox what this transaction has decided; whether anything was. Called last in each.
pub(super) fn decide(connection: &Connection, now: Timestamp) -> Result<bool, Failure> {
    let decided: Vec<Position> = connection
        .prepare_cached("SELECT position FROM webhook_verdict ORDER BY position")?
        .query_map([], |row| position_of(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    if decided.is_empty() {
        return Ok(false);
    }
    connection
        .prepare_cached("DELETE FROM webhook_verdict")?
        .execute([])?;
    let endpoints = endpoints::enabled(connection)?;
    let mut filled = false;
    for position in decided {
        if let Some(entry) = last_verdict_at(connection, position)? {
            filled |= tell_of(connection, &endpoints, &entry, now)?;
        }
    }
    Ok(filled)
}

/// An entry of which nobody is owed any more, and what its draft said about webhooks.
struct Known {
    record: Box<Record>,
    choice: Option<Choice>,
}

fn last_verdict_at(connection: &Connection, position: Position) -> Result<Option<Known>, Failure> {
    let found: Option<(Uuid, Option<String>)> = connection
        .prepare_cached(
            "SELECT id, webhook FROM entry WHERE position = ?1 AND webhook IS NOT 'never' AND NOT EXISTS (
                 SELECT 1 FROM delivery WHERE delivery.position = entry.position AND state = 'owed')",
        )?
        .query_row([stored(position)], |row| {
            Ok((Uuid::from_bytes(row.get(0)?), row.get(1)?))
        })
        .optional()?;
    let Some((id, choice)) = found else {
        return Ok(None);
    };
    let query = LookupQuery {
        which: Which::Id(id),
        viewer: None,
    };
    Ok(match delivery_log::lookup(connection, &query)? {
        Lookup::Found(record) => Some(Known {
            record,
            choice: choice.as_deref().and_then(Choice::named),
        }),
        Lookup::Held(_) | Lookup::Pruned { .. } | Lookup::Unknown => None,
    })
}

/// One webhook for each endpoint that wants to hear of it, if there is none yet.
fn tell_of(
    connection: &Connection,
    endpoints: &[Endpoint],
    known: &Known,
    now: Timestamp,
) -> Result<bool, Failure> {
    let record = &known.record;
    let labels = Labels::of(&record.entry.body);
    let failed = |outcome| outcome == Outcome::Failed;
    let decided = Decided {
        audience: &record.entry.audience,
        publisher: &record.publisher,
        module: labels.module.as_deref(),
        severity: labels.severity,
        choice: known.choice,
        undelivered: record.deliveries.iter().any(|it| failed(it.outcome)),
    };
    let mut data = None;
    let mut filled = false;
    for endpoint in endpoints {
        let Some(topic) = endpoint.wants(&decided) else {
            continue;
        };
        let data: &String =
            data.get_or_insert_with(|| recipients_and(&record.entry.body, &record.deliveries));
        let inserted = connection
            .prepare_cached(
                "INSERT INTO webhook (id, endpoint, notification, type, data, state, next_ms, made_ms, changed_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, 'waiting', ?6, ?6, ?6)
                 ON CONFLICT (notification, endpoint) DO NOTHING",
            )?
            .execute(params![
                Uuid::now_v7().as_bytes(),
                endpoint.id.as_bytes(),
                record.entry.id.as_bytes(),
                topic.name(),
                data,
                millis(now),
            ])?;
        filled |= inserted > 0;
    }
    Ok(filled)
}

/// A test for an endpoint, due before everything else; its id, if the endpoint gets something.
pub(super) fn test(
    connection: &Connection,
    endpoint: Uuid,
    now: Timestamp,
) -> Result<Option<Uuid>, Failure> {
    let id = Uuid::now_v7();
    let inserted = connection
        .prepare_cached(
            "INSERT INTO webhook (id, endpoint, type, data, state, next_ms, made_ms, changed_ms)
             SELECT ?1, id, ?3, ?4, 'waiting', 0, ?5, ?5 FROM webhook_endpoint WHERE id = ?2 AND disabled_ms IS NULL",
        )?
        .execute(params![
            id.as_bytes(),
            endpoint.as_bytes(),
            Topic::Test.name(),
            test_data(endpoint),
            millis(now),
        ])?;
    Ok((inserted == 1).then_some(id))
}

/// Has webhooks sent again.
pub(super) fn redeliver(
    connection: &Connection,
    which: Redeliver,
    now: Timestamp,
) -> Result<Redelivered, Failure> {
    let endpoint = match which {
        Redeliver::Failed { endpoint, .. } => Some(endpoint),
        Redeliver::One(id) => {
            let found: Option<(Uuid, bool)> = connection
                .prepare_cached("SELECT endpoint, state = 'waiting' FROM webhook WHERE id = ?1")?
                .query_row([id.as_bytes()], |row| {
                    Ok((Uuid::from_bytes(row.get(0)?), row.get(1)?))
                })
                .optional()?;
            match found {
                None => None,
                Some((_, true)) => return Ok(Redelivered::Already),
                Some((endpoint, false)) => Some(endpoint),
            }
        }
    };
    let Some(id) = endpoint else {
        return Ok(Redelivered::Unknown);
    };
    match (endpoints::get(connection, id)?, which) {
        (Some(endpoint), _) if endpoint.disabled.is_none() => {}
        (None, Redeliver::Failed { .. }) => return Ok(Redelivered::Unknown),
        _ => return Ok(Redelivered::Disabled),
    }
    let again =
        "UPDATE webhook SET state = 'waiting', tries = 0, next_ms = ?1, changed_ms = ?1 WHERE";
    let waiting = match which {
        Redeliver::One(id) => connection
            .prepare_cached(&format!("{again} id = ?2"))?
            .execute(params![millis(now), id.as_bytes()])?,
        Redeliver::Failed {
            endpoint,
            since,
            limit,
        } => connection
            .prepare_cached(&format!(
                "{again} n IN (SELECT n FROM webhook INDEXED BY webhook_history
                     WHERE endpoint = ?2 AND state = 'failed' AND made_ms >= ?3 AND type <> 'webhook.test'
                     ORDER BY n LIMIT ?4)"
            ))?
            .execute(params![
                millis(now),
                endpoint.as_bytes(),
                millis(since),
                count(limit)
            ])?,
    };
    Ok(Redelivered::Waiting(waiting))
}

/// Webhooks and what became of them, the latest first.
pub(super) fn list(connection: &Connection, query: &WebhookQuery) -> Result<Vec<Webhook>, Failure> {
    let (of, id) = match query.of {
        WebhooksOf::Endpoint(id) => ("endpoint", id),
        WebhooksOf::Notification(id) => ("notification", id),
        WebhooksOf::Id(id) => ("id", id),
    };
    let state = match query.state {
        None => "",
        Some(WebhookState::Waiting) => "AND state = 'waiting' AND owner IS NULL",
        Some(WebhookState::Sending) => "AND owner IS NOT NULL",
        Some(WebhookState::Sent) => "AND state = 'sent'",
        Some(WebhookState::Failed) => "AND state = 'failed'",
    };
    let webhooks: rusqlite::Result<Vec<Webhook>> = connection
        .prepare_cached(&format!(
            "SELECT n, id, endpoint, notification, type, state, owner IS NOT NULL, attempts, made_ms, changed_ms, next_ms,
                    status, answer, error
             FROM webhook WHERE {of} = ?1 AND n < ?2 {state} ORDER BY n DESC LIMIT ?3"
        ))?
        .query_map(
            params![
                id.as_bytes(),
                query.before.unwrap_or(i64::MAX),
                count(query.limit)
            ],
            webhook_of,
        )?
        .collect();
    Ok(webhooks?)
}

fn webhook_of(row: &Row<'_>) -> rusqlite::Result<Webhook> {
    let notification: Option<[u8; 16]> = row.get(3)?;
    let topic = Topic::named(row.get_ref(4)?.as_str()?);
    Ok(Webhook {
        number: row.get(0)?,
        id: Uuid::from_bytes(row.get(1)?),
        endpoint: Uuid::from_bytes(row.get(2)?),
        notification: notification.map(Uuid::from_bytes),
        topic: topic.ok_or_else(|| {
            rusqlite::Error::FromSqlConversionFailure(4, Type::Text, "an unknown type".into())
        })?,
        state: match (row.get_ref(5)?.as_str()?, row.get(6)?) {
            (_, true) => WebhookState::Sending,
            ("waiting", false) => WebhookState::Waiting,
            ("sent", false) => WebhookState::Sent,
            _ => WebhookState::Failed,
        },
        attempts: row.get(7)?,
        made_at: moment_of(row, 8)?,
        changed_at: moment_of(row, 9)?,
        next_at: moment(row, 10)?,
        status: row.get(11)?,
        answer: row.get(12)?,
        error: row.get(13)?,
    })
}

/// The moment in a column, if there is one.
pub(super) fn moment(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    let value: Option<i64> = row.get(column)?;
    value.map(|_| moment_of(row, column)).transpose()
}

/// How much there is. The cost is the same however much that is.
pub(super) fn counts(connection: &Connection) -> Result<OutboxCounts, Failure> {
    let counts = connection
        .prepare_cached(
            "SELECT (SELECT n FROM counter WHERE name = 'webhook'), count(*), count(disabled_ms) FROM webhook_endpoint",
        )?
        .query_row([], |row| {
            let (all, disabled) = (unsigned(row, 1)?, unsigned(row, 2)?);
            Ok(OutboxCounts {
                waiting: unsigned(row, 0)?,
                enabled: all - disabled,
                disabled,
            })
        })?;
    Ok(counts)
}
