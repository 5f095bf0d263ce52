//! SQLite's file at a disk that is full, page by page: whichever statement of an append needs the page that is not there,
//! nothing of that append is there, and with the next page it is made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use campanile::audience::Audience;
use campanile::auth::Caller;
use campanile::clock::Timestamp;
use campanile::log::Position;
use campanile::notification::{Draft, Kind, Notification, Validated};
use campanile::store::sqlite::{SqliteOptions, SqliteStore};
use campanile::store::{Opened, Store, StoreError};
use rusqlite::Connection;
use serde_json::json;

/// What the log and its tables hold for each append, by table.
const TABLES: [&str; 6] = [
    "entry",
    "audience",
    "idempotency",
    "reference",
    "reference_counter",
    "throttle",
];

fn open(file: &Path, max_pages: Option<u32>) -> Opened {
    let options = SqliteOptions {
        max_pages,
        ..SqliteOptions::default()
    };
    SqliteStore::open(file, options).expect("the store opens")
}
