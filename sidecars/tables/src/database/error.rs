//! What a database may say, what comes of trying again, and what a person can do.

use std::io;

use sqlx::mysql::MySqlDatabaseError;
use thiserror::Error;
use wire_protocol::ids::Lsn;

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

    /// The server does not let the account in, or does not let it do this.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.number().is_some_and(|number| cure(number).is_some())
    }

    /// What a person can do about what the server says; `None`: nothing that is always right.
    #[must_use]
    pub fn cure(&self) -> Option<&'static str> {
        let Self::Sql { source, .. } = self else {
            return None;
        };
        match source {
            sqlx::Error::Tls(_) => Some(CERTIFICATE),
            // So rustls says during the handshake that it does not believe the other end.
            sqlx::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => Some(CERTIFICATE),
            // So sqlx says that a password must not go in clear (caching_sha2_password).
            sqlx::Error::Configuration(why) if why.to_string().contains("RSA") => Some(WANTS_TLS),
            sqlx::Error::Database(error) if error.code().is_some_and(|code| code == CANNOT_OPEN) => {
                Some("look whether the folder of the file is there, and may be written to")
            }
            _ => self.number().and_then(cure),
        }
    }

    /// The number of a server's error.
    fn number(&self) -> Option<u16> {
        let Self::Sql { source, .. } = self else {
            return None;
        };
        let error = source.as_database_error()?;
        let error = error.try_downcast_ref::<MySqlDatabaseError>()?;
        Some(error.number())
    }
}

fn cure(number: u16) -> Option<&'static str> {
    let found = CURES.iter().find(|(numbers, _)| numbers.contains(&number))?;
    Some(found.1)
}

const CERTIFICATE: &str = "the server's certificate has to be under the CA and for this host; POOL_DB_CA names the CA, POOL_DB_TLS says \
     what is looked at";
/// SQLITE_CANTOPEN; MySQL's codes have five characters.
const CANNOT_OPEN: &str = "14";
const WANTS_TLS: &str = "the server lets this account in only over TLS, which POOL_DB_TLS=require makes";

/// Numbers of a server's errors that say that it does not let the account in or do this, and what a person can do.
const CURES: [(&[u16], &str); 4] = [
    (
        &[1045, 1698],
        "look at the account's name and password, from where it may log in (SELECT user, host FROM mysql.user), and \
         whether only over TLS",
    ),
    (
        &[1044, 1049],
        "look at the name of the database, make it (CREATE DATABASE), or grant the account its rights on it",
    ),
    (
        &[1142, 1143, 1227, 1370],
        "grant the account what it lacks; one that may make tables and views does so with `pool db migrate`, and others          need to select, insert, update and delete",
    ),
    (
        &[3159],
        "the server takes only connections over TLS, which POOL_DB_TLS=require makes",
    ),
];

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
pub(super) fn sql(step: &'static str) -> impl FnOnce(sqlx::Error) -> DatabaseError {
    move |source| DatabaseError::Sql { step, source }
}
