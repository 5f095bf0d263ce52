//! Opening the file, or refusing it with nothing overwritten.
//!
//! A new database is made whole beside its place and then renamed, so that a file in place always has our header:
//! what has not is somebody else's, or damaged, and is seen to be so by reading its first 100 bytes, before SQLite
//! (which recovers, rolls back and checkpoints) is let near it. What cannot be seen without reading every page, the
//! hub notices in use, and stops.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use super::SqliteOptions;
use super::entries::{millis, position_of, stored};
use super::failure::Failure;
use super::schema;
use super::unfinished::sync_directory;
use super::upgrade;
use super::writer::MAX_WAL_BYTES;
use crate::clock::Timestamp;
use crate::log::{Epoch, Position};
use crate::store::{LogState, OpenStoreError};

/// SQLite file format, 1.3: how the file begins, and how long its header is.
const MAGIC: &[u8] = b"SQLite format 3\0";
const HEADER_BYTES: usize = 100;
/// "CAMP" in ASCII: what the header of a Campanile store says it is.
pub(super) const APPLICATION_ID: i32 = 0x4341_4d50;
/// How long a statement waits for a lock that somebody else holds (a backup, a person with the SQLite shell).
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// More than the statements there are, with those that depend on the number of a viewer's keys.
const CACHED_STATEMENTS: usize = 160;

/// How many pages the write-ahead log gathers before a commit brings them into the file: 32 MB. A page that many commits
/// change is then written there once; with SQLite's own 1,000, publishers wait for it all the time.
const CHECKPOINT_PAGES: i64 = 8_000;

/// How long to wait for the right to serve a file, and how often to look: whoever lets go of it may just be starting a child,
/// which holds on to all that its parent had open until it becomes another program.
const LOCK_PATIENCE: Duration = Duration::from_millis(250);
const LOCK_LOOK: Duration = Duration::from_millis(5);

/// An open file and its connections.
pub(super) struct Database {
    /// The only connection that writes.
    pub(super) writer: Connection,
    /// Connections that cannot.
    pub(super) readers: Vec<Connection>,
    /// Held for as long as the file is served.
    pub(super) lock: Option<File>,
    /// Where the log stands.
    pub(super) log: LogState,
    /// The write-ahead log's file.
    pub(super) wal: PathBuf,
}

/// Opens the store at `path`, or makes it.
pub(super) fn open(path: &Path, options: &SqliteOptions) -> Result<Database, OpenStoreError> {
    // Looked at before anything is put beside it, and once more when nobody else can be making it.
    inspect(path)?;
    make_directory(path)?;
    let lock = if options.shared {
        None
    } else {
        Some(lock(path)?)
    };
    if !inspect(path)? {
        create(path)?;
    }
    let sql = |error| refused(path, &error);
    let writer = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sql)?;
    if writer.is_readonly(rusqlite::MAIN_DB).map_err(sql)? {
        return Err(io(path, "it cannot be written"));
    }
    upgrade::bring_up_to_date(path, &writer)?;
    let mut log = check(path, &writer)?;
    prepare_writer(path, &writer, options)?;
    if options.to_serve {
        draw_epoch(&writer, options.new_epoch, &mut log).map_err(sql)?;
    }
    let readers = (0..options.readers.max(1))
        .map(|_| {
            let reader = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            reader.pragma_update(None, "query_only", true)?;
            Ok(reader)
        })
        .collect::<rusqlite::Result<Vec<Connection>>>()
        .map_err(sql)?;
    Ok(Database {
        writer,
        readers,
        lock,
        log,
        wal: beside(path, "-wal"),
    })
}

/// Draws a new epoch for a store that was put back from a copy, or if `anyway`: positions may mean other entries now. In one
/// statement, so that a crash leaves it marked or drawn.
fn draw_epoch(connection: &Connection, anyway: bool, log: &mut LogState) -> rusqlite::Result<()> {
    let drawn = Epoch::random();
    let changed = connection.execute(
        "UPDATE hub SET epoch = ?1, copied = 0 WHERE copied = 1 OR ?2",
        params![drawn.as_str(), anyway],
    )?;
    if changed > 0 {
        tracing::info!(
            "a new epoch: streams that come back with a place from before are told of a gap"
        );
        log.epoch = drawn;
    }
    Ok(())
}

/// Reads a file that nobody serves, as it is: whatever else would be checked, or brought up to date, when it is opened.
pub(super) fn look<T>(
    path: &Path,
    reading: impl FnOnce(&Connection) -> Result<T, Failure>,
) -> Result<T, OpenStoreError> {
    if !inspect(path)? {
        return Err(io(path, "there is none"));
    }
    let _lock = lock(path)?;
    let sql = |error| refused(path, &error);
    // It may write so far as to take in the write-ahead log that a crash has left, as anybody who reads the file must.
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sql)?;
    connection
        .pragma_update(None, "query_only", true)
        .map_err(sql)?;
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(sql)?;
    known_version(path, version)?;
    if version != schema::VERSION {
        return Err(io(
            path,
            format!(
                "it is of schema version {version}, which the next `campanile serve` brings up to date"
            ),
        ));
    }
    let snapshot = connection.unchecked_transaction().map_err(sql)?;
    reading(&snapshot).map_err(|failure| match failure {
        Failure::Sqlite(error) => refused(path, &error),
        Failure::Damaged(reason) => OpenStoreError::Damaged {
            path: path.display().to_string(),
            reason,
        },
    })
}

/// Whether a store is there. Reads the file's header and nothing else.
pub(super) fn inspect(path: &Path) -> Result<bool, OpenStoreError> {
    let foreign = |reason: &str| OpenStoreError::Foreign {
        path: path.display().to_string(),
        reason: reason.to_owned(),
    };
    let mut header = Vec::with_capacity(HEADER_BYTES);
    match File::open(path) {
        Ok(file) => {
            let mut start = file.take(HEADER_BYTES as u64);
            if let Err(error) = start.read_to_end(&mut header) {
                return Err(io(path, error));
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if path.is_symlink() {
                return Err(io(path, "it is a link to a file that does not exist"));
            }
        }
        Err(error) => return Err(io(path, error)),
    }
    if header.is_empty() {
        // A write-ahead log without its database holds what somebody may still want.
        for suffix in ["-wal", "-journal"] {
            let left = beside(path, suffix);
            if left.exists() {
                return Err(OpenStoreError::Damaged {
                    path: path.display().to_string(),
                    reason: format!("there is nothing in it, but {} is there", left.display()),
                });
            }
        }
        return Ok(false);
    }
    if !header.starts_with(MAGIC) {
        return Err(foreign("it is not an SQLite database"));
    }
    let Some((version, application)) = word(&header, 60).zip(word(&header, 68)) else {
        return Err(foreign("it ends within its header"));
    };
    if application != APPLICATION_ID {
        return Err(foreign("it is an SQLite database of another application"));
    }
    known_version(path, i64::from(version))?;
    Ok(true)
}

/// A big-endian word of the header.
fn word(header: &[u8], at: usize) -> Option<i32> {
    let bytes = header.get(at..at + 4)?;
    bytes.try_into().ok().map(i32::from_be_bytes)
}

pub(super) fn known_version(path: &Path, found: i64) -> Result<(), OpenStoreError> {
    match found {
        1..=schema::VERSION => Ok(()),
        found if found > schema::VERSION => Err(OpenStoreError::Newer {
            path: path.display().to_string(),
            found,
            known: schema::VERSION,
        }),
        _ => Err(OpenStoreError::Damaged {
            path: path.display().to_string(),
            reason: format!("there is no schema version {found}"),
        }),
    }
}

/// Makes the directory, for nobody else's eyes.
pub(super) fn make_directory(path: &Path) -> Result<(), OpenStoreError> {
    let Some(directory) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    else {
        return Ok(());
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| io(directory, error))
}

/// Takes the right to serve this file. The system gives it back when the process ends, however it ends.
pub(super) fn lock(path: &Path) -> Result<File, OpenStoreError> {
    let beside = beside(path, ".lock");
    let file = private(OpenOptions::new().create(true).truncate(false))
        .open(&beside)
        .map_err(|error| io(&beside, error))?;
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(LOCK_LOOK),
            Err(TryLockError::WouldBlock) => {
                return Err(OpenStoreError::Locked {
                    path: path.display().to_string(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(io(&beside, error)),
        }
    }
}

/// Makes a new database.
fn create(path: &Path) -> Result<(), OpenStoreError> {
    let unfinished = beside(path, ".new");
    for left in [&unfinished, &beside(&unfinished, "-journal")] {
        match std::fs::remove_file(left) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(left, error)),
            _ => {}
        }
    }
    // SQLite gives its other files the mode of this one.
    private(OpenOptions::new().create_new(true))
        .open(&unfinished)
        .map_err(|error| io(&unfinished, error))?;
    fill(&unfinished).map_err(|error| refused(path, &error))?;
    std::fs::rename(&unfinished, path).map_err(|error| io(path, error))?;
    sync_directory(path).map_err(|error| io(path, error))
}

fn fill(path: &Path) -> rusqlite::Result<()> {
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let transaction = connection.transaction()?;
    schema::build(&transaction, 0)?;
    transaction.execute(
        "INSERT INTO hub (id, epoch, created_ms) VALUES (1, ?1, ?2)",
        params![Epoch::random().as_str(), millis(Timestamp::now())],
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}

/// A connection of this process alone: no URI file names, nothing in the schema is trusted.
pub(super) fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // A plan is made once, from the statement alone. Otherwise SQLite looks at bound values where a partial index might
    // serve, and makes the plan anew each time that one is bound: half of what a returning stream's questions cost.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    Ok(connection)
}

/// Checks what can be checked without reading every page, and says where the log stands. Writes nothing.
pub(super) fn check(path: &Path, connection: &Connection) -> Result<LogState, OpenStoreError> {
    let sql = |error| refused(path, &error);
    let damaged = |reason: &str| OpenStoreError::Damaged {
        path: path.display().to_string(),
        reason: reason.to_owned(),
    };
    let mut is_there = connection
        .prepare("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)")
        .map_err(sql)?;
    for table in schema::TABLES {
        if !is_there.query_row([table], |row| row.get(0)).map_err(sql)? {
            return Err(damaged(&format!("it has no table {table}")));
        }
    }
    let (epoch, head, settled): (String, Position, Position) = connection
        .query_row(
            "SELECT epoch, head, settled FROM hub WHERE id = 1",
            [],
            |row| Ok((row.get(0)?, position_of(row, 1)?, position_of(row, 2)?)),
        )
        .map_err(sql)?;
    let epoch = Epoch::from_text(&epoch).ok_or_else(|| damaged("its epoch cannot be read"))?;
    let past_the_head: bool = connection
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM entry WHERE position > ?1)",
            [stored(head)],
            |row| row.get(0),
        )
        .map_err(sql)?;
    if past_the_head {
        return Err(damaged("the log goes on past its head"));
    }
    Ok(LogState {
        epoch,
        head,
        settled,
    })
}

fn prepare_writer(
    path: &Path,
    connection: &Connection,
    options: &SqliteOptions,
) -> Result<(), OpenStoreError> {
    let sql = |error| refused(path, &error);
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(sql)?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(io(path, "its file system cannot hold a write-ahead log"));
    }
    // FULL: every commit is on the disk before anybody hears of it.
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(sql)?;
    let _: i64 = connection
        .pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |row| {
            row.get(0)
        })
        .map_err(sql)?;
    // What has grown past this is cut back when it is begun anew.
    let _: i64 = connection
        .pragma_update_and_check(None, "journal_size_limit", MAX_WAL_BYTES, |row| row.get(0))
        .map_err(sql)?;
    if let Some(pages) = options.max_pages {
        let _: i64 = connection
            .pragma_update_and_check(None, "max_page_count", pages, |row| row.get(0))
            .map_err(sql)?;
    }
    Ok(())
}

/// The file's own name with something behind it.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The file's own name with a moment behind it.
pub(super) fn dated(path: &Path, moment: Timestamp) -> PathBuf {
    let digits = moment.to_string().replace(['-', ':', '.'], "");
    beside(path, &format!(".{digits}"))
}

pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.read(true).write(true).mode(0o600)
}

pub(super) fn io(path: &Path, reason: impl ToString) -> OpenStoreError {
    OpenStoreError::Io {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

pub(super) fn refused(path: &Path, error: &rusqlite::Error) -> OpenStoreError {
    let code = error.sqlite_error_code();
    let unreadable = matches!(
        error,
        rusqlite::Error::QueryReturnedNoRows
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
    );
    if unreadable
        || matches!(
            code,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    {
        OpenStoreError::Damaged {
            path: path.display().to_string(),
            reason: error.to_string(),
        }
    } else {
        io(path, error)
    }
}
