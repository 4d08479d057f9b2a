//! The tables for those who only read them: opened as they are, never made, migrated or written.
//!
//! Each answer is of one state of the tables, whatever is written meanwhile, and says which.

use super::session::{Session, fixed};
use super::{DatabaseError, Target, listing, migrations, mysql, position, sql, sqlite};
use crate::query::{WorkCounts, WorkFilter, WorkHistory, WorkPage, WorkQuery};
use wire_protocol::ids::{Lsn, TenantId, WorkId};

/// What was tried, for errors.
const STEP: &str = "read";

/// An open database of this program's schema, which the database itself keeps from being changed through it.
#[derive(Debug)]
pub struct Reader {
    pub(super) session: Session,
}

impl Reader {
    /// Opens a database that is there and has the schema of this program.
    ///
    /// # Errors
    /// It is not there or cannot be opened; its schema is older ([`DatabaseError::OlderSchema`]: it is to be migrated)
    /// or newer ([`DatabaseError::NewerSchema`]: this program is to be).
    pub async fn open(target: &Target) -> Result<Self, DatabaseError> {
        let mut session = match target {
            Target::Sqlite(file) => Session::Sqlite(sqlite::open_read_only(file).await?),
            Target::MySql(target) => Session::MySql(mysql::open_read_only(target).await?),
        };
        let found = migrations::version(&mut session).await?.unwrap_or(0);
        if found != migrations::NEWEST {
            session.close().await;
            let known = migrations::NEWEST;
            return Err(DatabaseError::OlderSchema { found, known });
        }
        Ok(Self { session })
    }

    /// The last record that is in the tables.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn position(&mut self) -> Result<Lsn, DatabaseError> {
        position(&mut self.session).await
    }

    /// A page of works.
    ///
    /// It costs about as many rows as it gives if it is narrowed by one thing, by a batch, label or app, or by these and
    /// states. A user or a worker with states, and a time with anything, are looked for among all works of the
    /// former, in order, until the page is full.
    ///
    /// # Errors
    /// The database cannot be read, or a row makes no sense ([`DatabaseError::Malformed`]).
    pub async fn list(&mut self, query: &WorkQuery) -> Result<WorkPage, DatabaseError> {
        let at = self.begin().await?;
        let page = listing::list(&mut self.session, query).await;
        let (works, next) = self.end(page).await?;
        Ok(WorkPage { works, next, at })
    }

    /// How many works of this filter are in each state, counted one by one; without a filter in an index.
    ///
    /// # Errors
    /// As for [`Reader::list`].
    pub async fn counts(&mut self, filter: &WorkFilter) -> Result<WorkCounts, DatabaseError> {
        self.begin().await?;
        let counts = listing::counts(&mut self.session, filter).await;
        self.end(counts).await
    }

    /// One work with all attempts at it; `None`: it is not in the tables, or not yet.
    ///
    /// # Errors
    /// As for [`Reader::list`].
    pub async fn work(&mut self, work: WorkId) -> Result<Option<WorkHistory>, DatabaseError> {
        self.begin().await?;
        let history = listing::history(&mut self.session, work).await;
        self.end(history).await
    }

    /// The user of this name; `None`: no user with works in the tables has it.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn user(&mut self, name: &str) -> Result<Option<TenantId>, DatabaseError> {
        let mut arguments = self.session.arguments();
        arguments.text(name);
        // A server takes spaces at the end for nothing.
        arguments.int(name.len() as i64);
        let text = "SELECT user_id FROM pool_users WHERE name = ? AND OCTET_LENGTH(name) = ?";
        let rows = self.session.integers(fixed(text), arguments).await;
        let rows = rows.map_err(sql(STEP))?;
        Ok(rows.first().map(|row| TenantId(row[0] as u32)))
    }

    /// Leaves in good order.
    pub async fn close(self) {
        self.session.close().await;
    }

    /// From here on the tables are as they are at this record.
    async fn begin(&mut self) -> Result<Lsn, DatabaseError> {
        self.session.begin_reading().await.map_err(sql(STEP))?;
        let at = position(&mut self.session).await;
        match at {
            Ok(at) => Ok(at),
            Err(error) => self.end(Err(error)).await,
        }
    }

    /// Ends what [`Reader::begin`] began. Nothing was changed, so that it does not matter how.
    async fn end<T>(&mut self, answer: Result<T, DatabaseError>) -> Result<T, DatabaseError> {
        let ended = self.session.rollback().await.map_err(sql(STEP));
        let answer = answer?;
        ended.map(|()| answer)
    }
}
