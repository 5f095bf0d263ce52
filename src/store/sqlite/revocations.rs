//! Users whose credentials were taken back, as rows.

use rusqlite::{Connection, params};

use super::entries::{millis, moment_of};
use super::failure::Failure;
use crate::clock::Timestamp;
use crate::store::RevokedUsers;

/// Keeps the moment; an earlier one does not replace a later one.
pub(super) fn insert(connection: &Connection, user: &str, at: Timestamp) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "INSERT INTO revocation (user, at_ms) VALUES (?1, ?2)
             ON CONFLICT (user) DO UPDATE SET at_ms = max(at_ms, excluded.at_ms)",
        )?
        .execute(params![user, millis(at)])?;
    Ok(())
}

/// Each user with their moment.
pub(super) fn all(connection: &Connection) -> Result<RevokedUsers, Failure> {
    let revoked: rusqlite::Result<_> = connection
        .prepare_cached("SELECT user, at_ms FROM revocation")?
        .query_map([], |row| Ok((row.get(0)?, moment_of(row, 1)?)))?
        .collect();
    Ok(revoked?)
}
