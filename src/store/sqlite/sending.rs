//! Webhooks on their way out: claimed like all timed work (see `claims.rs`), looked at once more just before the act, and
//! settled with what came of it, for their endpoint as well.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::endpoints;
use super::entries::{count, millis};
use super::failure::Failure;
use super::outbox::moment;
use crate::clock::Timestamp;
use crate::store::{
    ClaimedWebhooks, ReclaimedWebhooks, SettledWebhook, WebhookClaim, WebhookOutcome,
};
use crate::webhooks::{Attempt, DisabledBy, MAX_RETRY_AFTER, Outgoing, Schedule, Topic};

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
