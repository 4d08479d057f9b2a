//! Every row of every table as text, in all databases the same.

use std::path::Path;

use sqlx::Connection;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::sqlite::SqliteConnection;

use crate::sql::{PASSWORD, USER};

/// Tables, to be read over a connection of the test's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source<'a> {
    /// In a file of SQLite.
    File(&'a Path),
    /// In a server of [`crate::sql`].
    Server {
        /// Its port.
        port: u16,
        /// The name of the database there.
        database: &'a str,
    },
}

impl Source<'_> {
    /// Every row of every table, in the order of their keys.
    ///
    /// # Panics
    /// The tables are not there.
    pub async fn rows(self) -> Vec<String> {
        let mut all = Vec::new();
        for query in QUERIES {
            all.extend(self.texts(query).await);
        }
        all
    }

    /// What a query says that gives one text a row.
    ///
    /// # Panics
    /// The tables are not there.
    pub async fn texts(self, query: &'static str) -> Vec<String> {
        let found = match self {
            Self::File(file) => {
                let url = format!("sqlite:{}", file.display());
                let mut connection = SqliteConnection::connect(&url).await.expect("the file is there");
                sqlx::query_scalar(query).fetch_all(&mut connection).await
            }
            Self::Server { port, database } => {
                let options = MySqlConnectOptions::new()
                    .host("127.0.0.1")
                    .port(port)
                    .username(USER)
                    .password(PASSWORD)
                    .database(database)
                    .ssl_mode(MySqlSslMode::Preferred);
                let connection = MySqlConnection::connect_with(&options).await;
                let mut connection = connection.expect("the server is there");
                sqlx::query_scalar(query).fetch_all(&mut connection).await
            }
        };
        found.unwrap_or_else(|error| panic!("{query}: {error}"))
    }
}

/// One query a table; each gives one text a row, in the order of their keys.
pub const QUERIES: [&str; 7] = [
    "SELECT CONCAT(work_id, ' ', batch_id, ' ', user_id, ' ', HEX(parameters), ' ', accepted_us, ' ', state, ' ', \
     reason, ' ', attempt, ' ', COALESCE(CAST(worker_id AS CHAR), 'NULL'), ' ', \
     COALESCE(CAST(exit_code AS CHAR), 'NULL'), ' ', COALESCE(CAST(elapsed_us AS CHAR), 'NULL'), ' ', \
     CASE WHEN result IS NULL THEN 'NULL' ELSE HEX(result) END, ' ', changed_us, ' ', lsn) \
     FROM pool_works ORDER BY work_id",
    "SELECT CONCAT(work_id, ' ', attempt, ' ', worker_id, ' ', epoch, ' ', leased_us, ' ', \
     COALESCE(CAST(started_us AS CHAR), 'NULL'), ' ', COALESCE(CAST(ended_us AS CHAR), 'NULL'), ' ', \
     COALESCE(outcome, 'NULL'), ' ', COALESCE(CAST(reason AS CHAR), 'NULL')) \
     FROM pool_attempts ORDER BY work_id, attempt",
    "SELECT CONCAT(lsn, ' ', work_id, ' ', at_us, ' ', state, ' ', reason, ' ', attempt, ' ', \
     COALESCE(CAST(worker_id AS CHAR), 'NULL')) FROM pool_history ORDER BY lsn, work_id",
    "SELECT CONCAT(batch_id, ' ', first_work_id, ' ', works_total, ' ', user_id, ' ', app, ' ', label, ' ', priority, \
     ' ', HEX(template), ' ', opened_us, ' ', COALESCE(CAST(closed_us AS CHAR), 'NULL'), ' ', forgotten) \
     FROM pool_batches ORDER BY batch_id",
    "SELECT CONCAT(worker_id, ' ', uid, ' ', name, ' ', version, ' ', os, ' ', arch, ' ', cores, ' ', memory_bytes, \
     ' ', slots, ' ', state, ' ', cordoned, ' ', reason, ' ', joined_us, ' ', changed_us, ' ', approval, ' ', \
     COALESCE(CAST(certificate_serial AS CHAR), 'NULL'), ' ', COALESCE(CAST(certificate_until_us AS CHAR), 'NULL'), \
     ' ', COALESCE(wallet, 'NULL'), ' ', forgotten) \
     FROM pool_workers ORDER BY worker_id",
    "SELECT CONCAT(user_id, ' ', name, ' ', weight) FROM pool_users ORDER BY user_id",
    "SELECT CONCAT(epoch, ' ', started_us, ' ', version) FROM pool_epochs ORDER BY epoch",
];
