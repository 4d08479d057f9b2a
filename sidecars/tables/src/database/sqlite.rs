//! A file of SQLite.
//!
//! `synchronous = FULL` in WAL mode: a commit that was answered survives a power cut, and readers never wait for the
//! writer nor it for them.

use std::path::Path;
use std::time::Duration;

use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};

use super::{DatabaseError, sql};
use crate::database::statement::CACHED_MAX;

/// How long a writer waits for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages of the file in memory, in KiB (negative, as SQLite has it): the upper levels of every tree of a table with
/// millions of works.
const CACHE_KIB: &str = "-65536";

pub(super) async fn open(file: &Path) -> Result<SqliteConnection, DatabaseError> {
    let options = options(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    connect(&options).await
}

/// One that is there, and whose journal is what it is: to read needs no more.
pub(super) async fn open_read_only(file: &Path) -> Result<SqliteConnection, DatabaseError> {
    connect(&options(file).read_only(true)).await
}

fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("cache_size", CACHE_KIB)
        .statement_cache_capacity(CACHED_MAX)
}

async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, DatabaseError> {
    SqliteConnection::connect_with(options).await.map_err(sql("open"))
}
