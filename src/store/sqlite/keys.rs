//! API keys as rows. Only a key's SHA-256 is here; the name is what people know it by, and is never free again.

use rusqlite::{Connection, Row, params};

use super::entries::{millis, moment_of};
use super::failure::Failure;
use crate::auth::{Scopes, StoredKey};
use crate::clock::Timestamp;

/// Keeps a key; false if its name is taken.
pub(super) fn insert(connection: &Connection, key: &StoredKey) -> Result<bool, Failure> {
    let inserted = connection
        .prepare_cached(
            "INSERT INTO api_key (name, hash, publish, admin, created_ms, revoked_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name) DO NOTHING",
        )?
        .execute(params![
            key.name,
            key.hash,
            key.scopes.publish,
            key.scopes.admin,
            millis(key.created_at),
            key.revoked_at.map(millis),
        ])?;
    Ok(inserted == 1)
}

/// Every key, by name.
pub(super) fn all(connection: &Connection) -> Result<Vec<StoredKey>, Failure> {
    let keys: rusqlite::Result<Vec<StoredKey>> = connection
        .prepare_cached(
            "SELECT name, hash, publish, admin, created_ms, revoked_ms FROM api_key ORDER BY name",
        )?
        .query_map([], key_of)?
        .collect();
    Ok(keys?)
}

fn key_of(row: &Row<'_>) -> rusqlite::Result<StoredKey> {
    let revoked: Option<i64> = row.get(5)?;
    Ok(StoredKey {
        name: row.get(0)?,
        hash: row.get(1)?,
        scopes: Scopes {
            publish: row.get(2)?,
            admin: row.get(3)?,
        },
        created_at: moment_of(row, 4)?,
        revoked_at: revoked.map(|_| moment_of(row, 5)).transpose()?,
    })
}

/// Revokes a key; false if there is none of that name that is not revoked.
pub(super) fn revoke(connection: &Connection, name: &str, now: Timestamp) -> Result<bool, Failure> {
    let revoked = connection
        .prepare_cached(
            "UPDATE api_key SET revoked_ms = ?2 WHERE name = ?1 AND revoked_ms IS NULL",
        )?
        .execute(params![name, millis(now)])?;
    Ok(revoked == 1)
}
