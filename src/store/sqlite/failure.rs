//! What SQLite's errors mean to the hub, and who is told.
//!
//! The caller may be answering an HTTP request, so it gets a few words without paths or SQL; the details go to the
//! log, and only when the state changes: a full disk is one line when it fills and one when there is room again, not
//! one for each request. Damage is different: it is reported once and for good, and the hub stops on it.

use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::ErrorCode;
use rusqlite::ffi;
use tokio::sync::watch;

use crate::events;
use crate::store::{Conflict, StoreError};

/// Why a piece of work on the database did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// SQLite said so.
    Sqlite(rusqlite::Error),
    /// A row that no version of this code writes.
    Damaged(String),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Failure {
    /// The constraint that was broken, in words that can stand in an answer; none if it was something else.
    pub(super) fn conflict(&self) -> Option<Conflict> {
        let Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) = self else {
            return None;
        };
        if error.code != ErrorCode::ConstraintViolation {
            return None;
        }
        let words = match error.extended_code {
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => "its id is taken",
            _ => "it breaks a rule of the database",
        };
        Some(Conflict(words.to_owned()))
    }

    /// Everything that is known, for the log.
    fn details(&self) -> String {
        match self {
            Self::Sqlite(error) => error.to_string(),
            Self::Damaged(what) => what.clone(),
        }
    }

    /// What the caller is told.
    fn to_store_error(&self) -> StoreError {
        use rusqlite::Error as E;
        let code = match self {
            Self::Damaged(what) => return StoreError::Damaged(what.clone()),
            Self::Sqlite(E::SqliteFailure(error, _)) => error.code,
            // STRICT tables hold the declared types, so a value of another one was not written by SQLite.
            Self::Sqlite(
                E::FromSqlConversionFailure(..)
                | E::IntegralValueOutOfRange(..)
                | E::InvalidColumnType(..)
                | E::Utf8Error(..),
            ) => return StoreError::Damaged("a stored value cannot be read".to_owned()),
            Self::Sqlite(_) => ErrorCode::InternalMalfunction,
        };
        let words = match code {
            ErrorCode::DatabaseCorrupt => {
                return StoreError::Damaged("the database file is malformed".to_owned());
            }
            ErrorCode::NotADatabase => {
                return StoreError::Damaged("the file is not a database any more".to_owned());
            }
            ErrorCode::DiskFull => "there is no room left to write",
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => "the disk does not answer",
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed => "the database is locked",
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => "the database cannot be written",
            ErrorCode::OutOfMemory => "there is no memory left",
            _ => "an internal error",
        };
        StoreError::Unavailable(words.to_owned())
    }
}

/// What a caller gets once the store is closed, or its threads are gone.
pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}

/// Whether reading and writing work at present, and whether the file is damaged.
pub(super) struct Health {
    not_reading: AtomicBool,
    not_writing: AtomicBool,
    damage: watch::Sender<Option<String>>,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            not_reading: AtomicBool::new(false),
            not_writing: AtomicBool::new(false),
            damage: watch::Sender::new(None),
        }
    }

    /// Takes note of how a read went.
    pub(super) fn read<T>(&self, outcome: Result<T, Failure>) -> Result<T, StoreError> {
        match outcome {
            Ok(value) => {
                works("read", &self.not_reading);
                Ok(value)
            }
            Err(failure) => Err(self.fails("read", &self.not_reading, &failure)),
        }
    }

    /// Something was written.
    pub(super) fn wrote(&self) {
        works("write", &self.not_writing);
    }

    /// Something could not be written; what the callers are told.
    pub(super) fn did_not_write(&self, failure: &Failure) -> StoreError {
        self.fails("write", &self.not_writing, failure)
    }

    /// Whether the last write worked.
    pub(super) fn writes(&self) -> bool {
        !self.not_writing.load(Ordering::Relaxed)
    }

    fn fails(&self, verb: &str, failing: &AtomicBool, failure: &Failure) -> StoreError {
        if !failing.swap(true, Ordering::Relaxed) {
            tracing::error!(
                event = events::STORE_UNAVAILABLE,
                operation = verb,
                error = failure.details(),
                "the store cannot {verb}"
            );
        }
        let error = failure.to_store_error();
        if let StoreError::Damaged(what) = &error {
            self.damaged(what);
        }
        error
    }

    /// Says once and for good that the file cannot be trusted.
    pub(super) fn damaged(&self, what: &str) {
        let first = self.damage.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert_with(|| what.to_owned());
            first
        });
        if first {
            tracing::error!(event = events::STORE_DAMAGED, what, "the store is damaged");
        }
    }

    /// The damage that was found, if any.
    pub(super) fn damage(&self) -> Option<String> {
        self.damage.borrow().clone()
    }

    /// Resolves when damage is found.
    pub(super) async fn until_damaged(&self) -> String {
        let mut damage = self.damage.subscribe();
        let found = damage.wait_for(Option::is_some).await;
        // It cannot fail: the sender lives as long as `self`, which this future borrows.
        found.ok().and_then(|what| what.clone()).unwrap_or_default()
    }
}

fn works(verb: &str, failing: &AtomicBool) {
    if failing.swap(false, Ordering::Relaxed) {
        tracing::info!(
            event = events::STORE_RECOVERED,
            operation = verb,
            "the store can {verb} again"
        );
    }
}
