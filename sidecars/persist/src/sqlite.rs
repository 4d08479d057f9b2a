//! The tables in SQLite.
//!
//! One connection, one writer. A batch and the position are one transaction, begun `IMMEDIATE` so that a second writer
//! waits before it reads; the position is a compare-and-set, so that one which was ahead is noticed and nothing is
//! written twice. `synchronous = FULL` in WAL mode: a commit that was answered survives a power cut.
//!
//! What a failed commit did is not known. [`SqliteDatabase::resume`] on a fresh connection says where the tables are.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, Row, Sqlite, Transaction};
use thiserror::Error;
use wire_protocol::codec;
use wire_protocol::ids::{BagId, Lsn, TenantId, WorkId, WorkerId};
use wire_protocol::units::Instant;

use crate::change::{AttemptChange, Batch, Bookkeeping, Event, RunChange, Step, WorkChange};

/// The migrations in the order of their numbers, the first is 1. A merged one is never edited.
const MIGRATIONS: &[&str] = &[include_str!("../migrations/0001_tables.sql")];

/// How long a writer waits for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A database file with the schema of this program.
#[derive(Debug)]
pub struct SqliteDatabase {
    connection: SqliteConnection,
}

/// Where the tables are, for a [`crate::Coalescer`] to go on from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resume {
    /// The last record that is in the tables.
    pub after: Lsn,
    /// Bags that may still get rows, with their first work and their owner.
    pub bags: Vec<(BagId, (WorkId, TenantId))>,
}

/// Why the database was not changed, or may not have been.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// Another writer is ahead, or the database is another than before.
    #[error(
        "the database is at record {found}, not at {expected}: another writer is ahead, or it was restored; stopped"
    )]
    Elsewhere {
        /// Where it should be.
        expected: Lsn,
        /// Where it is.
        found: Lsn,
    },
    /// A later version of this program made it.
    #[error(
        "the schema of the database is {found}, this program knows up to {known}; use the version that made it"
    )]
    NewerSchema {
        /// Its schema.
        found: i64,
        /// The last one known here.
        known: i64,
    },
    /// A change concerns a row that is not there.
    #[error("{what} is not in the database, and a record changes it; does it belong to this journal?")]
    Missing {
        /// Which row.
        what: String,
    },
    /// The database says no.
    #[error("cannot {step} the database")]
    Sql {
        /// What was tried.
        step: &'static str,
        /// What it says.
        source: sqlx::Error,
    },
}

fn sql(step: &'static str) -> impl FnOnce(sqlx::Error) -> DatabaseError {
    move |source| DatabaseError::Sql { step, source }
}

impl SqliteDatabase {
    /// Opens the file, which is made if it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// It cannot be opened or is of a later version.
    pub async fn open(path: &Path) -> Result<Self, DatabaseError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let connection = SqliteConnection::connect_with(&options)
            .await
            .map_err(sql("open"))?;
        let mut database = Self { connection };
        database.migrate().await?;
        Ok(database)
    }

    /// Runs the migrations that are missing, all in one transaction, which is also the lock.
    async fn migrate(&mut self) -> Result<(), DatabaseError> {
        let step = "migrate";
        let mut transaction = self.begin_writing(step).await?;
        sqlx::query("CREATE TABLE IF NOT EXISTS schema_versions (version BIGINT NOT NULL PRIMARY KEY)")
            .execute(&mut *transaction)
            .await
            .map_err(sql(step))?;
        let found: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM schema_versions")
            .fetch_one(&mut *transaction)
            .await
            .map_err(sql(step))?;
        let known = MIGRATIONS.len() as i64;
        if found > known {
            return Err(DatabaseError::NewerSchema { found, known });
        }
        for (version, migration) in (1_i64..).zip(MIGRATIONS).skip(found as usize) {
            sqlx::raw_sql(*migration)
                .execute(&mut *transaction)
                .await
                .map_err(sql(step))?;
            sqlx::query("INSERT INTO schema_versions (version) VALUES (?)")
                .bind(version)
                .execute(&mut *transaction)
                .await
                .map_err(sql(step))?;
        }
        transaction.commit().await.map_err(sql(step))
    }

    /// A transaction that waits for other writers before it reads.
    async fn begin_writing(&mut self, step: &'static str) -> Result<Transaction<'_, Sqlite>, DatabaseError> {
        self.connection
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(sql(step))
    }

    /// Where the tables are.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn resume(&mut self) -> Result<Resume, DatabaseError> {
        let step = "read the position of";
        let mut transaction = self.connection.begin().await.map_err(sql(step))?;
        let after: i64 = sqlx::query_scalar("SELECT lsn FROM position WHERE shard = 0")
            .fetch_one(&mut *transaction)
            .await
            .map_err(sql(step))?;
        let rows = sqlx::query("SELECT batch_id, first_work_id, user_id FROM batches WHERE forgotten = 0")
            .fetch_all(&mut *transaction)
            .await
            .map_err(sql(step))?;
        let bag = |row: &sqlx::sqlite::SqliteRow| -> Result<_, sqlx::Error> {
            let (bag, first): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            let user: u32 = row.try_get(2)?;
            Ok((BagId(bag as u64), (WorkId(first as u64), TenantId(user))))
        };
        Ok(Resume {
            after: Lsn(after as u64),
            bags: rows
                .iter()
                .map(bag)
                .collect::<Result<_, _>>()
                .map_err(sql(step))?,
        })
    }

    /// Applies a batch and moves the position, both or neither.
    ///
    /// # Errors
    /// See [`DatabaseError`]. After [`DatabaseError::Sql`] it is not known whether the batch is in the tables.
    pub async fn apply(&mut self, batch: &Batch) -> Result<(), DatabaseError> {
        let step = "write to";
        let mut transaction = self.begin_writing(step).await?;
        advance(&mut transaction, batch).await?;
        for change in &batch.bookkeeping {
            keep_book(&mut transaction, change).await.map_err(sql(step))?;
        }
        for change in &batch.steps {
            match change {
                Step::Rows { works, attempts } => {
                    for work in works {
                        write_work(&mut transaction, work).await?;
                    }
                    for attempt in attempts {
                        write_attempt(&mut transaction, attempt).await?;
                    }
                }
                Step::Run(run) => write_run(&mut transaction, run).await.map_err(sql(step))?,
            }
        }
        for event in &batch.events {
            write_event(&mut transaction, event).await.map_err(sql(step))?;
        }
        transaction.commit().await.map_err(sql("commit to"))
    }
}

/// Moves the position if it is where the batch begins.
async fn advance(connection: &mut SqliteConnection, batch: &Batch) -> Result<(), DatabaseError> {
    let step = "move the position of";
    let moved = sqlx::query("UPDATE position SET lsn = ? WHERE shard = 0 AND lsn = ?")
        .bind(int(batch.upto.0))
        .bind(int(batch.after.0))
        .execute(&mut *connection)
        .await
        .map_err(sql(step))?;
    if moved.rows_affected() == 1 {
        return Ok(());
    }
    let found: i64 = sqlx::query_scalar("SELECT lsn FROM position WHERE shard = 0")
        .fetch_one(connection)
        .await
        .map_err(sql(step))?;
    Err(DatabaseError::Elsewhere {
        expected: batch.after,
        found: Lsn(found as u64),
    })
}

async fn keep_book(connection: &mut SqliteConnection, change: &Bookkeeping) -> Result<(), sqlx::Error> {
    let query = match change {
        Bookkeeping::EpochStarted(started) => {
            // Links do not outlast an engine, and no record says of each worker that its own is gone.
            sqlx::query("UPDATE workers SET state = 'lost', changed_us = ? WHERE state NOT IN ('lost', 'gone')")
                .bind(micros(started.at))
                .execute(&mut *connection)
                .await?;
            sqlx::query("INSERT INTO epochs (epoch, started_us, version) VALUES (?, ?, ?)")
                .bind(started.epoch.0)
                .bind(micros(started.at))
                .bind(&started.version)
        }
        Bookkeeping::TenantAdded(added) => {
            sqlx::query("INSERT INTO users (user_id, name, weight) VALUES (?, ?, ?)")
                .bind(added.tenant.0)
                .bind(&added.name)
                .bind(added.weight)
        }
        Bookkeeping::BagOpened(opened) => {
            let mut template = Vec::new();
            codec::put_control(&mut template, &opened.template);
            sqlx::query(
                "INSERT INTO batches (batch_id, first_work_id, works_total, user_id, app, label, priority, template, \
                 opened_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(int(opened.bag.0))
            .bind(int(opened.first.0))
            .bind(opened.rows_total)
            .bind(opened.tenant.0)
            .bind(&opened.template.app)
            .bind(&opened.template.label)
            .bind(opened.template.priority.0)
            .bind(template)
            .bind(micros(opened.at))
        }
        Bookkeeping::BagPrioritised { bag, priority } => {
            sqlx::query("UPDATE batches SET priority = ? WHERE batch_id = ?")
                .bind(priority.0)
                .bind(int(bag.0))
        }
        Bookkeeping::BagClosed { bag, at } => {
            sqlx::query("UPDATE batches SET closed_us = COALESCE(closed_us, ?) WHERE batch_id = ?")
                .bind(micros(*at))
                .bind(int(bag.0))
        }
        Bookkeeping::BagForgotten(bag) => {
            sqlx::query("UPDATE batches SET forgotten = 1 WHERE batch_id = ?").bind(int(bag.0))
        }
        // A cordon outlasts the links of its worker.
        Bookkeeping::WorkerJoined(joined) => sqlx::query(
            "INSERT INTO workers (uid, name, version, os, arch, cores, memory_bytes, slots, joined_us, changed_us, \
             worker_id, state, cordoned, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, 'ready', 0, 0) \
             ON CONFLICT (worker_id) DO UPDATE SET uid = ?1, name = ?2, version = ?3, os = ?4, arch = ?5, cores = ?6, \
             memory_bytes = ?7, slots = ?8, joined_us = ?9, changed_us = ?9, reason = 0, forgotten = 0, \
             state = CASE WHEN cordoned = 1 THEN 'cordoned' ELSE 'ready' END",
        )
        .bind(&joined.uid)
        .bind(&joined.name)
        .bind(&joined.version)
        .bind(&joined.offer.os)
        .bind(&joined.offer.arch)
        .bind(joined.offer.cores)
        .bind(joined.offer.memory.0.min(i64::MAX as u64) as i64) // a worker says it; any number may come
        .bind(joined.offer.slots)
        .bind(micros(joined.at))
        .bind(joined.worker.0),
        // Who is away stays so: a cordon that is put on it waits for it.
        Bookkeeping::WorkerChanged { changed, cordons } => sqlx::query(
            "UPDATE workers SET state = CASE WHEN ?1 = 'cordoned' AND state IN ('lost', 'gone') THEN state ELSE ?1 END, \
             cordoned = COALESCE(?2, cordoned), reason = ?3, changed_us = ?4 WHERE worker_id = ?5",
        )
        .bind(changed.state.to_string())
        .bind(cordons)
        .bind(changed.reason as u8)
        .bind(micros(changed.at))
        .bind(changed.worker.0),
        Bookkeeping::WorkerForgotten(worker) => {
            sqlx::query("UPDATE workers SET forgotten = 1 WHERE worker_id = ?").bind(worker.0)
        }
    };
    query.execute(connection).await.map(drop)
}

async fn write_work(connection: &mut SqliteConnection, change: &WorkChange) -> Result<(), DatabaseError> {
    let WorkChange { work, new, now } = change;
    let decided = now.decided.as_ref();
    let query = match new {
        Some(_) => sqlx::query(
            "INSERT INTO works (state, reason, attempt, worker_id, exit_code, elapsed_us, result, changed_us, lsn, \
             work_id, batch_id, user_id, parameters, accepted_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ),
        None => sqlx::query(
            "UPDATE works SET state = ?, reason = ?, attempt = ?, worker_id = ?, exit_code = ?, elapsed_us = ?, \
             result = ?, changed_us = ?, lsn = ? WHERE work_id = ?",
        ),
    };
    let mut query = query
        .bind(now.state.to_string())
        .bind(now.reason as u8)
        .bind(now.attempt.0)
        .bind(number(now.worker))
        .bind(decided.map(|decided| decided.exit_code))
        .bind(decided.map(|decided| decided.elapsed_us))
        .bind(decided.map(|decided| &decided.result[..]))
        .bind(micros(now.changed_at))
        .bind(int(now.lsn.0))
        .bind(int(work.0));
    if let Some(new) = new {
        query = query
            .bind(int(new.bag.0))
            .bind(new.tenant.0)
            .bind(&new.parameters[..])
            .bind(micros(new.accepted_at));
    }
    let done = query.execute(connection).await.map_err(sql("write works to"))?;
    present(done.rows_affected(), || work.to_string())
}

async fn write_attempt(
    connection: &mut SqliteConnection,
    change: &AttemptChange,
) -> Result<(), DatabaseError> {
    let ended = change.ended;
    let query = match change.leased {
        Some((epoch, leased_at)) => sqlx::query(
            "INSERT INTO attempts (epoch, leased_us, worker_id, started_us, ended_us, outcome, reason, work_id, attempt) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(epoch.0)
        .bind(micros(leased_at))
        .bind(change.worker.0),
        None => sqlx::query(
            "UPDATE attempts SET started_us = COALESCE(?, started_us), ended_us = COALESCE(?, ended_us), \
             outcome = COALESCE(?, outcome), reason = COALESCE(?, reason) WHERE work_id = ? AND attempt = ?",
        ),
    };
    let done = query
        .bind(change.started_at.map(micros))
        .bind(ended.map(|ended| micros(ended.at)))
        .bind(
            ended
                .and_then(|ended| ended.outcome)
                .map(|outcome| outcome.to_string()),
        )
        .bind(ended.map(|ended| ended.reason as u8))
        .bind(int(change.work.0))
        .bind(change.attempt.0)
        .execute(connection)
        .await
        .map_err(sql("write attempts to"))?;
    present(done.rows_affected(), || {
        format!("{} of {}", change.attempt, change.work)
    })
}

/// First the history of those that are concerned, then they themselves: their state says who they are. The conditions
/// are those of [`RunChange::concerns`].
async fn write_run(connection: &mut SqliteConnection, run: &RunChange) -> Result<(), sqlx::Error> {
    let [events, works] = match run.outcome {
        Some(_) => [
            "INSERT INTO events (lsn, work_id, at_us, state, reason, attempt, worker_id) \
             SELECT ?1, work_id, ?2, ?3, ?4, attempt, NULL FROM works \
             WHERE work_id >= ?5 AND work_id < ?6 AND state IN ('queued', 'leased', 'running')",
            "UPDATE works SET state = ?3, reason = ?4, worker_id = NULL, exit_code = NULL, elapsed_us = NULL, \
             result = NULL, changed_us = ?2, lsn = ?1 \
             WHERE work_id >= ?5 AND work_id < ?6 AND state IN ('queued', 'leased', 'running')",
        ],
        None => [
            "INSERT INTO events (lsn, work_id, at_us, state, reason, attempt, worker_id) \
             SELECT ?1, work_id, ?2, ?3, ?4, attempt, NULL FROM works WHERE work_id >= ?5 AND work_id < ?6 \
             AND state IN ('failed', 'cancelled', 'expired') AND attempt < 65535",
            "UPDATE works SET state = ?3, reason = ?4, worker_id = NULL, exit_code = NULL, elapsed_us = NULL, \
             result = NULL, changed_us = ?2, lsn = ?1 WHERE work_id >= ?5 AND work_id < ?6 \
             AND state IN ('failed', 'cancelled', 'expired') AND attempt < 65535",
        ],
    };
    let (from, until) = (int(run.first.0), int(run.first.offset(run.count).0));
    for statement in [events, works] {
        sqlx::query(statement)
            .bind(int(run.lsn.0))
            .bind(micros(run.at))
            .bind(run.becomes().to_string())
            .bind(run.reason as u8)
            .bind(from)
            .bind(until)
            .execute(&mut *connection)
            .await?;
    }
    if run.outcome.is_some() {
        // Whoever was done already has no open attempt.
        sqlx::query(
            "UPDATE attempts SET ended_us = ?, reason = ? WHERE work_id >= ? AND work_id < ? AND ended_us IS NULL",
        )
        .bind(micros(run.at))
        .bind(run.reason as u8)
        .bind(from)
        .bind(until)
        .execute(connection)
        .await?;
    }
    Ok(())
}

async fn write_event(connection: &mut SqliteConnection, event: &Event) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO events (lsn, work_id, at_us, state, reason, attempt, worker_id) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(int(event.lsn.0))
    .bind(int(event.work.0))
    .bind(micros(event.at))
    .bind(event.state.to_string())
    .bind(event.reason as u8)
    .bind(event.attempt.0)
    .bind(number(event.worker))
    .execute(connection)
    .await
    .map(drop)
}

fn present(rows: u64, what: impl FnOnce() -> String) -> Result<(), DatabaseError> {
    match rows {
        1 => Ok(()),
        _ => Err(DatabaseError::Missing { what: what() }),
    }
}

/// Ids and sizes as SQL has them.
///
/// # Panics
/// Beyond 2⁶³, which no counter that begins at 1 reaches.
fn int(value: u64) -> i64 {
    i64::try_from(value).expect("counters stay below 2^63")
}

fn micros(at: Instant) -> i64 {
    int(at.0 / 1_000)
}

fn number(worker: Option<WorkerId>) -> Option<u32> {
    worker.map(|worker| worker.0)
}

#[cfg(test)]
mod tests;
