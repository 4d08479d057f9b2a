//! The tables: opened, asked where they are, and changed by one batch at a time.
//!
//! One connection, one writer. A batch and the position are one transaction; the position is a compare-and-set, so
//! that a writer which was ahead is noticed and nothing is written twice. A commit that was answered survives a power
//! cut.
//!
//! What a failed commit did is not known. [`Database::resume`] on a fresh connection says where the tables are.

mod archive;
mod chain;
mod compare;
mod decode;
mod error;
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

use wire_protocol::ids::{BagId, Lsn, TenantId, WorkId};

use crate::beginning::Beginning;
use crate::change::Batch;
use crate::coalescer::Coalescer;
pub use archive::{Archivable, ArchiveError, Archiving};
pub use compare::{Comparison, Difference, Frozen, Wrong};
pub use error::DatabaseError;
use error::sql;
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
    /// Where the tables begin.
    pub beginning: Beginning,
}

impl Resume {
    /// What goes on from there.
    #[must_use]
    pub fn coalescer(self) -> Coalescer {
        Coalescer::new(self.after, self.bags).beginning_with(self.beginning)
    }
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
        let (after, beginning) = extent(session).await?;
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
            beginning,
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
    Ok(extent(session).await?.0)
}

/// The last record that is in the tables, and where they begin.
async fn extent(session: &mut Session) -> Result<(Lsn, Beginning), DatabaseError> {
    let step = "read the position of";
    let rows = session
        .integers(
            fixed("SELECT lsn, first_batch_id, first_work_id FROM pool_positions WHERE shard = 0"),
            session.arguments(),
        )
        .await
        .map_err(sql(step))?;
    let found = rows.first().ok_or_else(|| DatabaseError::Missing {
        what: "the position of shard 0".to_owned(),
    })?;
    let beginning = Beginning {
        bag: BagId(found[1] as u64),
        work: WorkId(found[2] as u64),
    };
    Ok((Lsn(found[0] as u64), beginning))
}

#[cfg(test)]
mod tests;
