//! Webhook endpoints as rows.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::entries::{count, millis, moment_of};
use super::failure::Failure;
use crate::clock::Timestamp;
use crate::store::EndpointChange;
use crate::webhooks::{Disabled, DisabledBy, Endpoint, Filter, MAX_ENDPOINTS, On, Secret};

/// What [`endpoint_of`] reads, in its order.
const COLUMNS: &str = "id, url, fires, roles, modules, severities, secret, old_secret, old_until_ms, created_ms, failing_ms, \
                       disabled_ms, disabled_by, told";

/// Keeps an endpoint; false if there are too many.
pub(super) fn insert(connection: &Connection, endpoint: &Endpoint) -> Result<bool, Failure> {
    let inserted = connection
        .prepare_cached(
            "INSERT INTO webhook_endpoint (id, url, fires, roles, modules, severities, secret, created_ms)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE (SELECT count(*) FROM webhook_endpoint) < ?9",
        )?
        .execute(params![
            endpoint.id.as_bytes(),
            endpoint.url,
            fires(endpoint.on),
            written(&endpoint.filter.roles),
            written(&endpoint.filter.modules),
            written(&endpoint.filter.severities),
            endpoint.secret.as_bytes(),
            millis(endpoint.created_at),
            count(MAX_ENDPOINTS),
        ])?;
    Ok(inserted == 1)
}

/// Every endpoint, in the order in which they were made.
pub(super) fn all(connection: &Connection) -> Result<Vec<Endpoint>, Failure> {
    let endpoints: rusqlite::Result<Vec<Endpoint>> = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM webhook_endpoint ORDER BY created_ms, id"
        ))?
        .query_map([], endpoint_of)?
        .collect();
    Ok(endpoints?)
}

/// Those that get something.
pub(super) fn enabled(connection: &Connection) -> rusqlite::Result<Vec<Endpoint>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM webhook_endpoint INDEXED BY webhook_enabled WHERE disabled_ms IS NULL"
        ))?
        .query_map([], endpoint_of)?
        .collect()
}

/// One of them.
pub(super) fn get(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<Endpoint>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM webhook_endpoint WHERE id = ?1"
        ))?
        .query_row([id.as_bytes()], endpoint_of)
        .optional()
}

/// Changes an endpoint: as it is then.
pub(super) fn change(
    connection: &Connection,
    id: Uuid,
    change: &EndpointChange,
    now: Timestamp,
) -> Result<Option<Endpoint>, Failure> {
    let Some(before) = get(connection, id)? else {
        return Ok(None);
    };
    let list = |list: Option<String>, before: String| list.unwrap_or(before);
    connection
        .prepare_cached(
            "UPDATE webhook_endpoint SET url = ?2, fires = ?3, roles = ?4, modules = ?5, severities = ?6, told = told OR ?7
             WHERE id = ?1",
        )?
        .execute(params![
            id.as_bytes(),
            change.url.as_deref().unwrap_or(&before.url),
            fires(change.on.unwrap_or(before.on)),
            list(change.roles.as_ref().map(written), written(&before.filter.roles)),
            list(change.modules.as_ref().map(written), written(&before.filter.modules)),
            list(change.severities.as_ref().map(written), written(&before.filter.severities)),
            change.told,
        ])?;
    if let Some((secret, until)) = &change.secret {
        connection
            .prepare_cached(
                "UPDATE webhook_endpoint SET old_secret = secret, old_until_ms = ?3, secret = ?2 WHERE id = ?1",
            )?
            .execute(params![id.as_bytes(), secret.as_bytes(), millis(*until)])?;
    }
    match (change.enabled, before.disabled) {
        (Some(true), Some(_)) => enable(connection, id)?,
        (Some(false), None) => disable(connection, id, DisabledBy::Admin, now)?,
        _ => {}
    }
    Ok(get(connection, id)?)
}

fn enable(connection: &Connection, id: Uuid) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE webhook_endpoint SET disabled_ms = NULL, disabled_by = NULL, failing_ms = NULL, told = 1 WHERE id = ?1",
        )?
        .execute([id.as_bytes()])?;
    Ok(())
}

/// From now on it gets nothing, and what waits for it has failed.
pub(super) fn disable(
    connection: &Connection,
    id: Uuid,
    by: DisabledBy,
    now: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE webhook_endpoint SET disabled_ms = ?2, disabled_by = ?3, told = ?4
             WHERE id = ?1 AND disabled_ms IS NULL",
        )?
        .execute(params![
            id.as_bytes(),
            millis(now),
            by.name(),
            by == DisabledBy::Admin
        ])?;
    give_up(connection, id, by.in_words(), now)
}

/// What waits for an endpoint fails. One that is being sent is its sender's to settle.
fn give_up(connection: &Connection, id: Uuid, why: &str, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE webhook SET state = 'failed', next_ms = NULL, changed_ms = ?2, error = ?3
             WHERE endpoint = ?1 AND state = 'waiting' AND owner IS NULL",
        )?
        .execute(params![id.as_bytes(), millis(now), why])?;
    Ok(())
}

/// Forgets an endpoint; false if there is none.
pub(super) fn remove(connection: &Connection, id: Uuid, now: Timestamp) -> Result<bool, Failure> {
    give_up(connection, id, "the endpoint was deleted", now)?;
    let removed = connection
        .prepare_cached("DELETE FROM webhook_endpoint WHERE id = ?1")?
        .execute([id.as_bytes()])?;
    Ok(removed == 1)
}

const fn fires(on: On) -> &'static str {
    match on {
        On::Undelivered => "undelivered",
        On::Always => "always",
    }
}

/// A list as it is kept: words, in JSON.
fn written<T: Serialize>(list: &Vec<T>) -> String {
    serde_json::to_string(list).unwrap_or_default()
}

fn list_of<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<T>> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

fn endpoint_of(row: &Row<'_>) -> rusqlite::Result<Endpoint> {
    let moment = |column| {
        let value: Option<i64> = row.get(column)?;
        value.map(|_| moment_of(row, column)).transpose()
    };
    let old: Option<Vec<u8>> = row.get(7)?;
    let by: Option<String> = row.get(12)?;
    let by = by.as_deref().and_then(DisabledBy::named);
    let told = row.get(13)?;
    Ok(Endpoint {
        id: Uuid::from_bytes(row.get(0)?),
        url: row.get(1)?,
        on: match row.get_ref(2)?.as_str()? {
            "always" => On::Always,
            _ => On::Undelivered,
        },
        filter: Filter {
            roles: list_of(row, 3)?,
            modules: list_of(row, 4)?,
            severities: list_of(row, 5)?,
        },
        secret: Secret::from_bytes(row.get(6)?),
        old_secret: old.map(Secret::from_bytes).zip(moment(8)?),
        created_at: moment_of(row, 9)?,
        failing_since: moment(10)?,
        disabled: moment(11)?
            .zip(by)
            .map(|(at, by)| Disabled { at, by, told }),
    })
}
