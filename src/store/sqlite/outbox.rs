//! The outbox: webhooks are put in by the transaction that decided about their notification, claimed like all timed work
//! (see `claims.rs`), and stay as history.
//!
//! What was decided in a transaction is collected by triggers (schema 4), whichever statement gave the verdict: the settled
//! position passing an entry, or an owed recipient becoming anything else. [`decide`] looks at those before the commit. An
//! entry of which anybody is still owed is left; it comes here again with its last verdict. One that was decided before, and
//! is again because a connection broke, meets the row that it made then.

use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Deserialize;
use uuid::Uuid;

use super::entries::{count, millis, moment_of, position_of, stored, unsigned};
use super::failure::Failure;
use super::{delivery_log, endpoints};
use crate::audience::identifier;
use crate::clock::Timestamp;
use crate::delivery::{Lookup, LookupQuery, Outcome, Record, Which};
use crate::log::Position;
use crate::notification::Severity;
use crate::store::{
    ClaimedWebhooks, OutboxCounts, ReclaimedWebhooks, Redeliver, Redelivered, SettledWebhook,
    Webhook, WebhookClaim, WebhookOutcome, WebhookQuery, WebhookState, WebhooksOf,
};
use crate::webhooks::{
    Attempt, Choice, Decided, DisabledBy, Endpoint, MAX_RETRY_AFTER, Outgoing, Schedule, Topic,
    recipients_and, test as test_data,
};

/// Why a webhook has failed whose leases lapsed until no try was left.
const LEASES_LAPSED: &str = "whoever sent it stopped half way, until no try was left";

/// Claims for an owner (?1) at a time (?2) so many (?3), one for each endpoint that is not in a list (?4).
const CLAIM_SQL: &str = "UPDATE webhook SET owner = ?1, leased_ms = ?2, attempts = attempts + 1, tries = tries + 1
    WHERE n IN (
        SELECT first FROM (
            SELECT (SELECT n FROM webhook INDEXED BY webhook_due
                    WHERE endpoint = webhook_endpoint.id AND state = 'waiting' AND owner IS NULL AND next_ms <= ?2
                    ORDER BY next_ms, n LIMIT 1) AS first
            FROM webhook_endpoint INDEXED BY webhook_enabled
            WHERE disabled_ms IS NULL AND hex(id) NOT IN (SELECT value FROM json_each(?4)))
        WHERE first IS NOT NULL ORDER BY first LIMIT ?3)
    RETURNING id, endpoint, attempts";

/// When the next one is due at an endpoint that is not in a list (?1).
const NEXT_DUE_SQL: &str = "SELECT min((SELECT next_ms FROM webhook INDEXED BY webhook_due
        WHERE endpoint = webhook_endpoint.id AND state = 'waiting' AND owner IS NULL ORDER BY next_ms LIMIT 1))
    FROM webhook_endpoint INDEXED BY webhook_enabled
    WHERE disabled_ms IS NULL AND hex(id) NOT IN (SELECT value FROM json_each(?1))";

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
        Lookup::Pruned { .. } | Lookup::Unknown => None,
    })
}

/// One webhook for each endpoint that wants to hear of it, if there is none yet.
fn tell_of(
    connection: &Connection,
    endpoints: &[Endpoint],
    known: &Known,
    now: Timestamp,
) -> Result<bool, Failure> {
    /// What filters look at. What cannot be read counts as not said: it must not hold up the commit.
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Public {
        module: Option<String>,
        severity: Severity,
    }
    let record = &known.record;
    let public: Public = serde_json::from_str(&record.entry.body).unwrap_or_default();
    // Filters hold names in the form in which they are compared; a draft's module stands as it was written.
    let module = public.module.and_then(|module| identifier(&module).ok());
    let failed = |outcome| outcome == Outcome::Failed;
    let decided = Decided {
        audience: &record.entry.audience,
        publisher: &record.publisher,
        module: module.as_deref(),
        severity: public.severity,
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

/// Takes webhooks that are due.
pub(super) fn claim(
    connection: &Connection,
    owner: &str,
    now: Timestamp,
    limit: usize,
    busy: &[Uuid],
) -> Result<ClaimedWebhooks, Failure> {
    let busy: Vec<String> = busy.iter().map(|id| format!("{:X}", id.simple())).collect();
    let busy = serde_json::to_string(&busy).unwrap_or_default();
    let claims: rusqlite::Result<Vec<WebhookClaim>> = connection
        .prepare_cached(CLAIM_SQL)?
        .query_map(params![owner, millis(now), count(limit), busy], |row| {
            Ok(WebhookClaim {
                id: Uuid::from_bytes(row.get(0)?),
                endpoint: Uuid::from_bytes(row.get(1)?),
                attempt: row.get(2)?,
            })
        })?
        .collect();
    let next_due = connection
        .prepare_cached(NEXT_DUE_SQL)?
        .query_row([busy], |row| moment(row, 0))?;
    Ok(ClaimedWebhooks {
        claims: claims?,
        next_due,
    })
}

/// Marks a claimed webhook as being sent, if the claim stands and its endpoint gets something; what is to be sent.
pub(super) fn begin(
    connection: &Connection,
    owner: &str,
    now: Timestamp,
    claim: WebhookClaim,
) -> Result<Option<Outgoing>, Failure> {
    let endpoint = endpoints::get(connection, claim.endpoint)?;
    let Some(endpoint) = endpoint.filter(|endpoint| endpoint.disabled.is_none()) else {
        let why = DisabledBy::Admin.in_words();
        connection
            .prepare_cached(
                "UPDATE webhook SET state = 'failed', next_ms = NULL, owner = NULL, leased_ms = NULL, begun_ms = NULL,
                        changed_ms = ?4, error = ?5
                 WHERE id = ?1 AND owner = ?2 AND attempts = ?3",
            )?
            .execute(params![claim.id.as_bytes(), owner, claim.attempt, millis(now), why])?;
        return Ok(None);
    };
    let found: Option<(String, String)> = connection
        .prepare_cached(
            "UPDATE webhook SET begun_ms = ?4 WHERE id = ?1 AND owner = ?2 AND attempts = ?3 RETURNING type, data",
        )?
        .query_map(
            params![claim.id.as_bytes(), owner, claim.attempt, millis(now)],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .next()
        .transpose()?;
    let Some((topic, data)) = found else {
        return Ok(None);
    };
    let old = endpoint.old_secret.filter(|(_, until)| *until > now);
    let secrets = [endpoint.secret].into_iter().chain(old.map(|(old, _)| old));
    Ok(Some(Outgoing {
        id: claim.id,
        topic: Topic::named(&topic).unwrap_or(Topic::Test),
        data,
        url: endpoint.url,
        secrets: secrets.collect(),
    }))
}

/// Writes what came of sending one, if the claim still stands.
pub(super) fn settle(
    connection: &Connection,
    owner: &str,
    claim: WebhookClaim,
    attempt: &Attempt,
    schedule: &Schedule,
    now: Timestamp,
) -> Result<SettledWebhook, Failure> {
    let tries: Option<(usize, String)> = connection
        .prepare_cached(
            "SELECT tries, type FROM webhook WHERE id = ?1 AND owner = ?2 AND attempts = ?3",
        )?
        .query_row(params![claim.id.as_bytes(), owner, claim.attempt], |row| {
            let tries: i64 = row.get(0)?;
            Ok((usize::try_from(tries).unwrap_or(usize::MAX), row.get(1)?))
        })
        .optional()?;
    let Some((tries, topic)) = tries else {
        return Ok(SettledWebhook {
            outcome: WebhookOutcome::Conflict,
            disabled: false,
        });
    };
    let is_test = topic == Topic::Test.name();
    let retried = !attempt.is_success() && !attempt.is_gone() && !is_test;
    let next = schedule
        .delays
        .get(tries.saturating_sub(1))
        .filter(|_| retried)
        .map(|delay| {
            let asked_for = attempt.retry_after.unwrap_or_default();
            now.saturating_add((*delay).max(asked_for))
        });
    let (state, outcome) = match next {
        _ if attempt.is_success() => ("sent", WebhookOutcome::Sent),
        Some(next) => ("waiting", WebhookOutcome::Waiting(next)),
        None => ("failed", WebhookOutcome::Failed),
    };
    connection
        .prepare_cached(
            "UPDATE webhook SET state = ?2, next_ms = ?3, changed_ms = ?4, status = ?5, answer = ?6, error = ?7,
                    owner = NULL, leased_ms = NULL, begun_ms = NULL
             WHERE id = ?1",
        )?
        .execute(params![
            claim.id.as_bytes(),
            state,
            next.map(millis),
            millis(now),
            attempt.status,
            attempt.answer,
            attempt.error,
        ])?;
    // Whoever tries an endpoint out is told themselves that it failed; that it came through, or is gone, counts.
    let counts = !is_test || attempt.is_success() || attempt.is_gone();
    let disabled = counts && judge(connection, claim.endpoint, attempt, schedule, now)?;
    Ok(SettledWebhook { outcome, disabled })
}

/// What an attempt means for its endpoint; whether it was disabled by that.
fn judge(
    connection: &Connection,
    id: Uuid,
    attempt: &Attempt,
    schedule: &Schedule,
    now: Timestamp,
) -> Result<bool, Failure> {
    let failing_since = (!attempt.is_success()).then(|| millis(now));
    connection
        .prepare_cached(
            "UPDATE webhook_endpoint SET failing_ms = CASE WHEN ?2 IS NULL THEN NULL ELSE coalesce(failing_ms, ?2) END
             WHERE id = ?1 AND failing_ms IS NOT ?2",
        )?
        .execute(params![id.as_bytes(), failing_since])?;
    let Some(endpoint) = endpoints::get(connection, id)? else {
        return Ok(false);
    };
    if endpoint.disabled.is_some() {
        // By hand, while this was on its way: what it left waiting does not go out either.
        endpoints::disable(connection, id, DisabledBy::Admin, now)?;
        return Ok(false);
    }
    let for_too_long = endpoint
        .failing_since
        .is_some_and(|since| now.since(since) >= schedule.disable_after);
    let by = match (attempt.is_gone(), for_too_long) {
        (true, _) => DisabledBy::Gone,
        (false, true) => DisabledBy::Failing,
        (false, false) => return Ok(false),
    };
    endpoints::disable(connection, id, by, now)?;
    Ok(true)
}

/// Takes back leases that have lapsed: of this owner's after `lease`, and of every other's too, at once if only one process
/// may serve the file (`exclusive`).
pub(super) fn reclaim(
    connection: &Connection,
    owner: &str,
    exclusive: bool,
    now: Timestamp,
    lease: Duration,
    schedule: &Schedule,
) -> Result<ReclaimedWebhooks, Failure> {
    put_right(connection, now, schedule)?;
    let lapsed = millis(now.saturating_sub(lease));
    let stale = "owner IS NOT NULL AND (leased_ms <= ?1 OR (?2 AND owner <> ?3)) AND tries";
    let max_tries = count(schedule.max_tries());
    let of = params![lapsed, exclusive, owner, max_tries];
    // Before they are let go, because that forgets that sending had begun.
    let begun: rusqlite::Result<Vec<Uuid>> = connection
        .prepare_cached(&format!(
            "SELECT id FROM webhook WHERE {stale} < ?4 AND begun_ms IS NOT NULL AND type <> 'webhook.test'"
        ))?
        .query_map(of, |row| Ok(Uuid::from_bytes(row.get(0)?)))?
        .collect();
    let change = |set: &str, those: &str| {
        connection
            .prepare_cached(&format!(
                "UPDATE webhook SET owner = NULL, leased_ms = NULL, begun_ms = NULL, changed_ms = ?5, {set}
                 WHERE {stale} {those}"
            ))?
            .execute(params![lapsed, exclusive, owner, max_tries, millis(now)])
    };
    Ok(ReclaimedWebhooks {
        begun: begun?,
        back: change("next_ms = ?5", "< ?4 AND type <> 'webhook.test'")?,
        failed: change(
            &format!("state = 'failed', next_ms = NULL, error = '{LEASES_LAPSED}'"),
            // Nobody waits for the outcome of a test any more.
            ">= CASE type WHEN 'webhook.test' THEN 0 ELSE ?4 END",
        )?,
    })
}

/// A clock that was ahead and has been set back left times that would not come for long.
fn put_right(connection: &Connection, now: Timestamp, schedule: &Schedule) -> Result<(), Failure> {
    let longest = schedule.delays.iter().max().copied().unwrap_or_default();
    let latest = now.saturating_add(longest.max(MAX_RETRY_AFTER));
    for (statement, bound) in [
        (
            "UPDATE webhook SET next_ms = ?2 WHERE state = 'waiting' AND owner IS NULL AND next_ms > ?1",
            latest,
        ),
        (
            "UPDATE webhook SET leased_ms = ?2 WHERE owner IS NOT NULL AND leased_ms > ?1",
            now,
        ),
    ] {
        connection
            .prepare_cached(statement)?
            .execute(params![millis(bound), millis(now)])?;
    }
    Ok(())
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

fn moment(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
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
