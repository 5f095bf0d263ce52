//! A copy is put back as the store, for the next hub.
//!
//! The copy is checked whole before anything is touched, and what was in its place gets another name. The store that is
//! put in place is marked (see `copy.rs`), whatever the copy was.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, params};
use time::OffsetDateTime;

use super::copy::{
    Copied, CopyError, LOGS, cannot_write, complete, copy_into, has_no_log, is_taken,
    may_be_written, open_beside, there_is_none,
};
use super::entries::millis;
use super::open::{beside, dated, inspect, lock, make_directory, refused};
use super::unfinished::{Unfinished, sync_directory};
use crate::clock::Timestamp;
use crate::store::OpenStoreError;

/// How far the months of a counter may be from UTC's: the zones east and west of it.
const ZONES: [Duration; 2] = [Duration::from_hours(14), Duration::from_hours(12)];

/// How a copy is put back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Restore {
    /// Added to the last number of every reference counter, so that numbers which were given after the copy was made are
    /// not given again. A counter that lacks the present month gets it, and this as its last number.
    pub advance_references: u32,
    /// A store that is in place is moved aside; without this it is left there, and nothing is restored.
    pub replace: bool,
}

/// What was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What is in it.
    pub copied: Copied,
    /// How many reference counters were advanced.
    pub advanced: usize,
    /// Where the store is that was in its place.
    pub set_aside: Option<PathBuf>,
}

/// Puts a copy back as the store in `database`, which no hub may be serving. The copy is checked whole before anything
/// is touched, and stays as it is. Blocks on the disk.
///
/// # Errors
/// [`CopyError`]; then the store that was in place still is.
pub fn restore(backup: &Path, database: &Path, options: Restore) -> Result<Restored, CopyError> {
    if !inspect(backup)? {
        return Err(there_is_none(backup).into());
    }
    make_directory(database)?;
    let lock = lock(database)?;
    // Where a link points to is where the store lies, and what SQLite keeps beside it.
    let database = &std::fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
    may_be_written(database, backup, options.replace)?;
    if !options.replace {
        has_no_log(database)?;
    }
    let source = open_beside(backup)?;
    check_whole(backup, &source)?;
    let unfinished =
        Unfinished::beside(database).map_err(|error| cannot_write(database, &error))?;
    copy_into(&source, &unfinished, backup, database)?;
    drop(source);
    let now = Timestamp::now();
    let (copied, advanced) = complete(unfinished.path(), database, |connection| {
        advance_references(connection, options.advance_references, now)
    })?;
    let set_aside =
        take_place(unfinished, database, now).map_err(|error| cannot_write(database, &error))?;
    drop(lock);
    Ok(Restored {
        copied,
        advanced,
        set_aside,
    })
}

/// Every page and every index. Reads the whole file.
fn check_whole(path: &Path, connection: &Connection) -> Result<(), OpenStoreError> {
    let found: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|error| refused(path, &error))?;
    if found == "ok" {
        return Ok(());
    }
    Err(OpenStoreError::Damaged {
        path: path.display().to_string(),
        reason: found.split_whitespace().collect::<Vec<_>>().join(" "),
    })
}

/// Advances every counter of references by so much. Which months a copy lacks is known, as far as it knows the prefix.
fn advance_references(connection: &Connection, by: u32, now: Timestamp) -> rusqlite::Result<usize> {
    if by == 0 {
        return Ok(0);
    }
    let mut advanced = connection.execute("UPDATE reference_counter SET last = last + ?1", [by])?;
    let [east, west] = ZONES;
    for moment in [now.saturating_sub(west), now.saturating_add(east)] {
        advanced += connection.execute(
            "INSERT INTO reference_counter (prefix, month, last)
             SELECT DISTINCT prefix, ?1, ?2 FROM reference_counter WHERE true
             ON CONFLICT (prefix, month) DO NOTHING",
            params![month(moment), by],
        )?;
    }
    Ok(advanced)
}

/// MMYY.
fn month(moment: Timestamp) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(millis(moment) / 1_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!("{:02}{:02}", u8::from(moment.month()), moment.year() % 100)
}

/// What stands in for a store that is being exchanged.
const STAND_IN: &str = "A restore was cut off here: run campanile restore --force again.\n";

/// Puts a finished store into its place. One that is there gets a name with the moment, and what SQLite kept beside it
/// as well, so that it can be opened like before.
///
/// At each moment in between either the old store is in place, whole, or what is there is refused, or the new one is.
fn take_place(
    unfinished: Unfinished,
    database: &Path,
    now: Timestamp,
) -> std::io::Result<Option<PathBuf>> {
    let mut logs = LOGS.to_vec();
    logs.retain(|suffix| is_taken(&beside(database, suffix)));
    let mut set_aside = None;
    if is_taken(database) || !logs.is_empty() {
        let aside = dated(database, now);
        for suffix in std::iter::once("").chain(logs.iter().copied()) {
            let from = beside(database, suffix);
            if is_taken(&from) {
                second_name(&from, &beside(&aside, suffix))?;
            }
        }
        sync_directory(database)?;
        set_aside = Some(aside);
    }
    if !logs.is_empty() {
        // They must not be read into the new one, and the old database must not be read without them. With neither there,
        // whoever is cut off now would leave room for a new, empty store: so something stands in that is refused.
        stand_in(database)?;
        for suffix in logs {
            std::fs::remove_file(beside(database, suffix))?;
        }
    }
    unfinished.finish(database, true)?;
    Ok(set_aside)
}

/// Puts a file where the database was that no hub takes for one.
fn stand_in(database: &Path) -> std::io::Result<()> {
    let unfinished = beside(database, ".restoring");
    std::fs::write(&unfinished, STAND_IN)?;
    File::open(&unfinished)?.sync_all()?;
    std::fs::rename(&unfinished, database)?;
    sync_directory(database)
}

/// Has a file under another name too, so that there is no moment at which it has none.
fn second_name(from: &Path, to: &Path) -> std::io::Result<()> {
    match std::fs::hard_link(from, to) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            // A file system without links.
            std::fs::copy(from, to)?;
            File::open(to)?.sync_all()
        }
        linked => linked,
    }
}
