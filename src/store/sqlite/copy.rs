//! Copies of a store, made while it is served or not.
//!
//! A copy is one consistent moment of the store, in one file that needs nothing beside it. It is *marked*: positions that
//! the store gives after that moment may be given again, to other notifications, by whoever serves the copy. So the
//! first hub on it draws a new epoch, and every stream that comes back with a place from before is told of a gap.
//! Every restored store is marked as well, also one that is restored twice from one copy.
//!
//! Nothing is overwritten that was not to be, and what is in its place is whole: see `unfinished.rs`. The secret that
//! signs tokens is a file of its own, and in no copy.

use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::entries::unsigned;
use super::open::{APPLICATION_ID, beside, check, connect, io, known_version, refused};
use super::schema;
use super::unfinished::Unfinished;
use crate::store::OpenStoreError;

/// What SQLite keeps beside a database that is open, or was when its process was killed: a part of what was committed.
pub(super) const LOGS: [&str; 2] = ["-wal", "-journal"];

/// Why there is no copy, or why it was not put back. What was there before still is.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The store cannot be read, is in use where it must not be, or is none of ours.
    #[error(transparent)]
    Open(#[from] OpenStoreError),
    /// Something is in the way that was not to be replaced.
    #[error("{path} is in the way: {reason}")]
    InTheWay {
        /// The file.
        path: String,
        /// What it is.
        reason: &'static str,
    },
    /// The new file cannot be written.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
}

/// What is in a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Notifications.
    pub notifications: u64,
    /// Broadcasts.
    pub broadcasts: u64,
    /// The file's size.
    pub bytes: u64,
}

/// Copies the store in `database` to `target`, whether a hub serves it or not: what was committed before this call is in
/// the copy, and publishing goes on. What is at `target` is only replaced if `replace` says so. Blocks on the disk.
///
/// While it runs, the store's write-ahead log cannot be cut back and grows by what is published.
///
/// # Errors
/// [`CopyError`]; then nothing is at `target` that was not there before.
pub fn back_up(database: &Path, target: &Path, replace: bool) -> Result<Copied, CopyError> {
    let source = open_beside(database)?;
    may_be_written(target, database, replace)?;
    has_no_log(target)?;
    let unfinished = Unfinished::beside(target).map_err(|error| cannot_write(target, &error))?;
    copy_into(&source, &unfinished, database, target)?;
    drop(source);
    let copied = complete(unfinished.path(), target, |_| Ok(()))?.0;
    unfinished
        .finish(target, replace)
        .map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => exists(target),
            _ => cannot_write(target, &error),
        })?;
    Ok(copied)
}

/// Opens a store to read it, whoever serves it meanwhile. With the right to write, if we have it: who closes last, and may
/// not write, leaves a log beside a file that had none. By SQLite alone: to open the file ourselves, and close it, would let go
/// of the locks that a hub in this process has on it (POSIX, fcntl).
pub(super) fn open_beside(path: &Path) -> Result<Connection, OpenStoreError> {
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Err(there_is_none(path)),
        Err(error) => return Err(io(path, error)),
    }
    let foreign = |reason: &str| OpenStoreError::Foreign {
        path: path.display().to_string(),
        reason: reason.to_owned(),
    };
    let sql = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => foreign("it is not an SQLite database"),
        _ => refused(path, &error),
    };
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sql)?;
    let pragma = |name| -> Result<i64, OpenStoreError> {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .map_err(sql)
    };
    if pragma("application_id")? != i64::from(APPLICATION_ID) {
        return Err(foreign("it is an SQLite database of another application"));
    }
    known_version(path, pragma("user_version")?)?;
    Ok(connection)
}

/// Whether a file may be put at `place`, which `source` is copied to.
pub(super) fn may_be_written(place: &Path, source: &Path, replace: bool) -> Result<(), CopyError> {
    if let (Ok(place), Ok(source_file)) = (place.metadata(), source.metadata())
        && (place.dev(), place.ino()) == (source_file.dev(), source_file.ino())
    {
        return Err(in_the_way(source, "it is what is to be copied"));
    }
    if place.is_dir() {
        return Err(in_the_way(place, "it is a directory"));
    }
    if is_taken(place) && !replace {
        return Err(exists(place));
    }
    Ok(())
}

/// A log that lies there would be taken for the new file's; and while a store is served, there is one.
pub(super) fn has_no_log(place: &Path) -> Result<(), CopyError> {
    let logs = LOGS.map(|suffix| beside(place, suffix));
    match logs.iter().find(|log| is_taken(log)) {
        Some(log) => Err(in_the_way(log, "it belongs to another store")),
        None => Ok(()),
    }
}

pub(super) fn is_taken(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Writes one moment of a store into a file, whoever else writes the store.
pub(super) fn copy_into(
    source: &Connection,
    unfinished: &Unfinished,
    from: &Path,
    to: &Path,
) -> Result<(), CopyError> {
    let copied = unfinished
        .syncing_meanwhile(|| vacuum_into(source, unfinished.path()))
        .map_err(|error| cannot_write(to, &error))?;
    copied.map_err(|error| {
        match refused(from, &error) {
            // Reading and writing fail with the same codes, but only what is read can be damaged.
            damaged @ OpenStoreError::Damaged { .. } => damaged.into(),
            _ => cannot_write(to, &error),
        }
    })
}

/// The same, for a file that is already there and empty.
pub(super) fn vacuum_into(source: &Connection, path: &Path) -> rusqlite::Result<()> {
    // The path's own bytes, as everywhere else: they need not be UTF-8.
    let path = ToSqlOutput::Borrowed(ValueRef::Text(path.as_os_str().as_bytes()));
    source.execute("VACUUM INTO ?1", [path]).map(drop)
}

/// Opens a copy that nobody has seen yet and that is synced as a whole: no journal is needed.
pub(super) fn open_unseen(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let _: String =
        connection.pragma_update_and_check(None, "journal_mode", "MEMORY", |row| row.get(0))?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    Ok(connection)
}

/// Brings a copy to the present schema, marks it, and does `more` to it. `place` is what errors name.
pub(super) fn complete<T>(
    path: &Path,
    place: &Path,
    more: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<(Copied, T), CopyError> {
    let work = || -> rusqlite::Result<(Connection, u64, u64, T)> {
        let mut connection = open_unseen(path)?;
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let transaction = connection.transaction()?;
        if version < schema::VERSION {
            schema::build(&transaction, version)?;
        }
        transaction.execute("UPDATE hub SET copied = 1", [])?;
        let more = more(&transaction)?;
        let count = |name| {
            transaction.query_row("SELECT n FROM counter WHERE name = ?1", [name], |row| {
                unsigned(row, 0)
            })
        };
        let (notifications, broadcasts) = (count("notification")?, count("broadcast")?);
        transaction.commit()?;
        Ok((connection, notifications, broadcasts, more))
    };
    let (connection, notifications, broadcasts, more) =
        work().map_err(|error| match refused(place, &error) {
            damaged @ OpenStoreError::Damaged { .. } => CopyError::from(damaged),
            _ => cannot_write(place, &error),
        })?;
    check(place, &connection)?;
    connection
        .close()
        .map_err(|(_, error)| cannot_write(place, &error))?;
    let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
    let copied = Copied {
        notifications,
        broadcasts,
        bytes,
    };
    Ok((copied, more))
}

pub(super) fn there_is_none(path: &Path) -> OpenStoreError {
    io(path, "there is none")
}

fn exists(path: &Path) -> CopyError {
    in_the_way(path, "it exists already")
}

fn in_the_way(path: &Path, reason: &'static str) -> CopyError {
    CopyError::InTheWay {
        path: path.display().to_string(),
        reason,
    }
}

pub(super) fn cannot_write(path: &Path, error: &dyn std::error::Error) -> CopyError {
    CopyError::Write {
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}
