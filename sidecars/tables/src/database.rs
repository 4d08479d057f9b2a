//! The tables: opened, asked where they are, and changed by one batch at a time.
//!
//! One connection, one writer. A batch and the position are one transaction; the position is a compare-and-set, so
//! that a writer which was ahead is noticed and nothing is written twice. A commit that was answered survives a power
//! cut.
//!
//! What a failed commit did is not known. [`Database::resume`] on a fresh connection says where the tables are.

mod archive;
mod compare;
mod decode;
mod import;
mod listing;
mod migrations;
mod mysql;
mod predecessor;
mod reader;
mod schema;
mod session;
mod sqlite;
mod statement;
mod writer;

use std::path::PathBuf;

use thiserror::Error;
use wire_protocol::ids::{BagId, Lsn, TenantId, WorkId};

use crate::change::Batch;
pub use archive::{Archivable, ArchiveError, Archiving};
pub use compare::{Comparison, Difference, Frozen, Wrong};
pub use mysql::{MySqlTarget, Tls};
pub use predecessor::PredecessorError;
pub use reader::Reader;
use session::{Session, fixed};
use statement::Statements;

/// Which database.
#[derive(Clone, Debug)]
pub enum Target {
    /// A file of SQLite, which is made if it is not there.
    Sqlite(PathBuf),
    /// A database of a MySQL or MariaDB server.
    MySql(Box<MySqlTarget>),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "{}", file.display()),
            Self::MySql(target) => target.fmt(f),
        }
    }
}

/// The newest schema, which this program makes.
pub const SCHEMA: usize = migrations::NEWEST;

/// An open database with the schema of this program.
#[derive(Debug)]
pub struct Database {
    session: Session,
    statements: Statements,
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
    /// Another writer is ahead, or the database went back to an older copy.
    #[error("the database is at record {found}, not at {expected}")]
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
    /// It was not brought to the schema that this program reads.
    #[error(
        "the schema of the database is {found} (0: none), this program reads {known}; `pool db migrate` of its version \
         brings it there, and so does the start of `pool-persist`"
    )]
    OlderSchema {
        /// Its schema.
        found: usize,
        /// The one that is needed.
        known: usize,
    },
    /// A row says something that this program never wrote.
    #[error(
        "{what} in the database makes no sense; `pool db verify` finds all such rows, `pool db rebuild` makes them anew"
    )]
    Malformed {
        /// Where, and what.
        what: String,
    },
    /// It has tables of another program, with names that are needed.
    #[error(
        "the database has a table `{table}` that this program did not make; give it a database of its own"
    )]
    Foreign {
        /// One of them.
        table: String,
    },
    /// Another program brings the schema up to date and is not done.
    #[error("another program migrates the database")]
    Migrating,
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

impl DatabaseError {
    /// Waiting, or a new connection, may cure it. What breaks a rule of the tables breaks it again.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        let source = match self {
            Self::Sql { source, .. } => source,
            // Who brought it there is found out by whoever remembers what was begun.
            Self::Elsewhere { .. } | Self::Migrating => return true,
            Self::NewerSchema { .. }
            | Self::OlderSchema { .. }
            | Self::Malformed { .. }
            | Self::Foreign { .. }
            | Self::Missing { .. } => return false,
        };
        let sqlx::Error::Database(error) = source else {
            return !matches!(source, sqlx::Error::Encode(_) | sqlx::Error::ColumnDecode { .. });
        };
        let of_a_rule = error.is_unique_violation()
            || error.is_foreign_key_violation()
            || error.is_check_violation()
            || matches!(error.kind(), sqlx::error::ErrorKind::NotNullViolation);
        !(of_a_rule || error.code().is_some_and(|code| is_final(&code)))
    }
}

/// Codes that come again however often it is tried.
fn is_final(code: &str) -> bool {
    match code {
        // SQLite: a statement or table that is none, a damaged file, one that is no database.
        "1" | "11" | "26" => true,
        // SQLSTATE: 22 a value that its column cannot hold, 42S a table or column that is not there.
        state => state.len() == 5 && (state.starts_with("22") || state.starts_with("42S")),
    }
}

/// What was tried, around what the database says of it.
fn sql(step: &'static str) -> impl FnOnce(sqlx::Error) -> DatabaseError {
    move |source| DatabaseError::Sql { step, source }
}

impl Database {
    /// Opens it and brings its schema up to date.
    ///
    /// # Errors
    /// It cannot be opened, is of a later version, or is another program's.
    pub async fn open(target: &Target) -> Result<Self, DatabaseError> {
        let mut session = connect(target).await?;
        migrations::run(&mut session).await?;
        let tls = session.is_protected().await.map_err(sql("connect to"))?;
        Ok(Self {
            session,
            statements: Statements::new(tls),
        })
    }

    /// The schema that a database has, without changing it; 0: none.
    ///
    /// # Errors
    /// It cannot be opened, or is of a later version.
    pub async fn schema(target: &Target) -> Result<usize, DatabaseError> {
        let mut session = connect(target).await?;
        let version = migrations::version(&mut session).await?;
        session.close().await;
        Ok(version.unwrap_or(0))
    }

    /// Where the tables are.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn resume(&mut self) -> Result<Resume, DatabaseError> {
        let step = "read the position of";
        let session = &mut self.session;
        session.begin_reading().await.map_err(sql(step))?;
        let after = position(session).await?;
        let bags = session
            .integers(
                fixed("SELECT batch_id, first_work_id, user_id FROM pool_batches WHERE forgotten = 0"),
                session.arguments(),
            )
            .await
            .map_err(sql(step))?;
        session.commit().await.map_err(sql(step))?;
        let bag = |row: &Vec<i64>| {
            let (bag, first, user) = (row[0] as u64, row[1] as u64, row[2] as u32);
            (BagId(bag), (WorkId(first), TenantId(user)))
        };
        Ok(Resume {
            after,
            bags: bags.iter().map(bag).collect(),
        })
    }

    /// Applies a batch and moves the position, both or neither.
    ///
    /// # Errors
    /// See [`DatabaseError`]. After [`DatabaseError::Sql`] it is not known whether the batch is in the tables.
    pub async fn apply(&mut self, batch: &Batch) -> Result<(), DatabaseError> {
        self.session.begin_writing().await.map_err(sql("write to"))?;
        match writer::write(&mut self.session, &mut self.statements, batch).await {
            Ok(()) => self.session.commit().await.map_err(sql("commit to")),
            Err(error) => {
                // What fails here has ended with its connection.
                drop(self.session.rollback().await);
                Err(error)
            }
        }
    }

    /// Leaves in good order; what was committed is there without it.
    pub async fn close(self) {
        self.session.close().await;
    }
}

async fn connect(target: &Target) -> Result<Session, DatabaseError> {
    Ok(match target {
        Target::Sqlite(file) => Session::Sqlite(sqlite::open(file).await?),
        Target::MySql(target) => Session::MySql(mysql::open(target).await?),
    })
}

/// The last record that is in the tables.
async fn position(session: &mut Session) -> Result<Lsn, DatabaseError> {
    let step = "read the position of";
    let rows = session
        .integers(
            fixed("SELECT lsn FROM pool_positions WHERE shard = 0"),
            session.arguments(),
        )
        .await
        .map_err(sql(step))?;
    let found = rows.first().ok_or_else(|| DatabaseError::Missing {
        what: "the position of shard 0".to_owned(),
    })?;
    Ok(Lsn(found[0] as u64))
}

#[cfg(test)]
mod tests;
