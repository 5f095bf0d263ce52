//! A file that an earlier version made is brought to the present schema, wholly or not at all, after a copy of it is on the
//! disk: whatever is wrong with the newer version, there is a way back.

use std::path::Path;

use rusqlite::Connection;

use super::copy::{open_unseen, vacuum_into};
use super::open::{beside, dated, io, known_version, refused};
use super::schema;
use super::unfinished::Unfinished;
use crate::clock::Timestamp;
use crate::log::Epoch;
use crate::store::OpenStoreError;

/// Takes the file to [`schema::VERSION`], if it is older. Nobody else may be opening it.
pub(super) fn bring_up_to_date(path: &Path, connection: &Connection) -> Result<(), OpenStoreError> {
    let sql = |error| refused(path, &error);
    // Read here and not off the header, since a change may stand in the write-ahead log and not yet in the file.
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(sql)?;
    known_version(path, version)?;
    if version == schema::VERSION {
        return Ok(());
    }
    tracing::info!(
        from = version,
        to = schema::VERSION,
        "the store is of an older version: it is copied, then brought up to date"
    );
    // The copy gets its name when the file is up to date. Under that name it is whole, and one that is there already is
    // not ours to touch; what a crash leaves is cleared away by the next start, which finds the file as it was.
    let copy = beside(path, &format!(".v{version}"));
    let unfinished = Unfinished::beside(&copy).map_err(|error| io(&copy, error))?;
    copy_into(connection, unfinished.path()).map_err(|error| match refused(path, &error) {
        damaged @ OpenStoreError::Damaged { .. } => damaged,
        _ => io(&copy, error),
    })?;
    unfinished.sync().map_err(|error| io(&copy, error))?;
    let transaction = connection.unchecked_transaction().map_err(sql)?;
    schema::build(&transaction, version).map_err(sql)?;
    transaction.commit().map_err(sql)?;
    let copy = if copy.symlink_metadata().is_ok() {
        dated(&copy, Timestamp::now())
    } else {
        copy
    };
    match unfinished.finish(&copy, false) {
        Ok(()) => tracing::info!(copy = %copy.display(), "the store is up to date"),
        Err(error) => {
            tracing::warn!(%error, "the store is up to date; its copy from before could not be kept");
        }
    }
    Ok(())
}

/// Copies the store into an empty file. The copy has an epoch of its own: whoever puts it back gives positions a second
/// time, and its version may know nothing of marks.
fn copy_into(connection: &Connection, copy: &Path) -> rusqlite::Result<()> {
    vacuum_into(connection, copy)?;
    let copy = open_unseen(copy)?;
    copy.execute("UPDATE hub SET epoch = ?1", [Epoch::random().as_str()])?;
    copy.close().map_err(|(_, error)| error)
}
