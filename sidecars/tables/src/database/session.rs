//! One connection to whichever database it is.
//!
//! It is what the databases have in common and this program needs: a statement with arguments, and values back. Texts
//! of statements that they do not have in common are made in `statement`.

use std::fmt;

use sqlx::mysql::{MySqlArguments, MySqlConnection, MySqlRow};
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments as _, Connection, Row, TypeInfo, ValueRef};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// A connection.
#[derive(Debug)]
pub(crate) enum Session {
    Sqlite(SqliteConnection),
    MySql(MySqlConnection),
}

/// A value of a row, the same from every database.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Value {
    /// # Panics
    /// If it is none: columns have types.
    pub(crate) fn number(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            other => panic!("{other} should be a number"),
        }
    }

    /// `None`: it is NULL.
    pub(crate) fn into_text(self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Int(number) => Some(number.to_string()),
            Self::Text(text) => Some(text),
            // A server may call a text so that it made itself.
            Self::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More of a value helps nobody.
        const SHOWN_MAX: usize = 64;
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Bytes(bytes) => {
                let shown = &bytes[..bytes.len().min(SHOWN_MAX)];
                write!(f, "x'")?;
                shown.iter().try_for_each(|byte| write!(f, "{byte:02X}"))?;
                let more = if shown.len() < bytes.len() { "…" } else { "" };
                write!(f, "'{more} ({} bytes)", bytes.len())
            }
        }
    }
}

/// A value by the type that the database says it has.
fn value<'r, R: Row>(row: &'r R, column: usize) -> Result<Value, sqlx::Error>
where
    usize: sqlx::ColumnIndex<R>,
    i64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    String: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Vec<u8>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    let raw = row.try_get_raw(column)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info();
    let kind = kind.name();
    if kind.contains("INT") {
        row.try_get(column).map(Value::Int)
    // VARCHAR that tells `a` from `A` is called VARBINARY here; our tables keep bytes in BLOBs only.
    } else if kind.contains("BLOB") {
        row.try_get(column).map(Value::Bytes)
    // Some versions of MariaDB say the same of a text that is made with a count in it.
    } else {
        row.try_get_unchecked(column).map(Value::Text)
    }
}

/// What a statement's question marks stand for, in order, in the encoding of its database.
pub(crate) enum Arguments {
    Sqlite(SqliteArguments),
    MySql(MySqlArguments),
}

/// A text of this program, which holds nothing of anybody else.
pub(super) fn fixed(text: &'static str) -> SqlStr {
    text.into_sql_str()
}

/// The same, made of such texts.
pub(super) fn made(text: std::sync::Arc<str>) -> SqlStr {
    AssertSqlSafe(text).into_sql_str()
}

impl Arguments {
    pub(crate) fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.null(),
            Value::Int(number) => self.int(*number),
            Value::Text(text) => self.text(text),
            Value::Bytes(bytes) => self.bytes(bytes),
        }
    }

    fn add<'q, T>(&mut self, value: T)
    where
        T: sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
        T: sqlx::Encode<'q, sqlx::MySql> + sqlx::Type<sqlx::MySql>,
    {
        let added = match self {
            Self::Sqlite(arguments) => arguments.add(value),
            Self::MySql(arguments) => arguments.add(value),
        };
        added.expect("numbers, texts and bytes can be encoded");
    }

    pub(crate) fn int(&mut self, value: i64) {
        self.add(value);
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.add(value);
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.add(value);
    }

    pub(crate) fn null(&mut self) {
        self.add(None::<i64>);
    }

    pub(crate) fn int_or_null(&mut self, value: Option<i64>) {
        match value {
            Some(value) => self.int(value),
            None => self.null(),
        }
    }

    pub(crate) fn text_or_null(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.text(value),
            None => self.null(),
        }
    }

    pub(crate) fn bytes_or_null(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.bytes(value),
            None => self.null(),
        }
    }
}

impl Session {
    pub(crate) fn arguments(&self) -> Arguments {
        match self {
            Self::Sqlite(_) => Arguments::Sqlite(SqliteArguments::default()),
            Self::MySql(_) => Arguments::MySql(MySqlArguments::default()),
        }
    }

    /// It goes over TLS: the server says which cipher.
    pub(crate) async fn is_protected(&mut self) -> Result<bool, sqlx::Error> {
        let Self::MySql(connection) = self else {
            return Ok(false);
        };
        let row = sqlx::query("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
            .fetch_one(connection)
            .await?;
        Ok(!row.try_get::<String, _>(1)?.is_empty())
    }

    /// Runs a statement, which the database keeps prepared; how many rows it concerned.
    pub(crate) async fn execute(&mut self, text: SqlStr, arguments: Arguments) -> Result<u64, sqlx::Error> {
        match (self, arguments) {
            (Self::Sqlite(connection), Arguments::Sqlite(arguments)) => {
                let done = sqlx::query_with(text, arguments).execute(connection).await?;
                Ok(done.rows_affected())
            }
            (Self::MySql(connection), Arguments::MySql(arguments)) => {
                let done = sqlx::query_with(text, arguments).execute(connection).await?;
                Ok(done.rows_affected())
            }
            _ => unreachable!("arguments are made for the session that they are used with"),
        }
    }

    /// Runs a statement that has no arguments, once.
    pub(crate) async fn run(&mut self, text: SqlStr) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(connection) => sqlx::raw_sql(text).execute(connection).await.map(drop),
            Self::MySql(connection) => sqlx::raw_sql(text).execute(connection).await.map(drop),
        }
    }

    /// Rows of numbers, none of which may be NULL.
    pub(crate) async fn integers(
        &mut self,
        text: SqlStr,
        arguments: Arguments,
    ) -> Result<Vec<Vec<i64>>, sqlx::Error> {
        self.rows(text, arguments).await
    }

    /// The same of texts, all rows one after the other.
    pub(crate) async fn texts(
        &mut self,
        text: SqlStr,
        arguments: Arguments,
    ) -> Result<Vec<String>, sqlx::Error> {
        Ok(self.rows(text, arguments).await?.concat())
    }

    /// Rows of values of any type.
    pub(crate) async fn values(
        &mut self,
        text: SqlStr,
        arguments: Arguments,
    ) -> Result<Vec<Vec<Value>>, sqlx::Error> {
        match (self, arguments) {
            (Self::Sqlite(connection), Arguments::Sqlite(arguments)) => {
                let rows = sqlx::query_with(text, arguments).fetch_all(connection).await?;
                let row = |row: &SqliteRow| (0..row.len()).map(|column| value(row, column)).collect();
                rows.iter().map(row).collect()
            }
            (Self::MySql(connection), Arguments::MySql(arguments)) => {
                let rows = sqlx::query_with(text, arguments).fetch_all(connection).await?;
                let row = |row: &MySqlRow| (0..row.len()).map(|column| value(row, column)).collect();
                rows.iter().map(row).collect()
            }
            _ => unreachable!("arguments are made for the session that they are used with"),
        }
    }

    async fn rows<T>(&mut self, text: SqlStr, arguments: Arguments) -> Result<Vec<Vec<T>>, sqlx::Error>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
        T: for<'r> sqlx::Decode<'r, sqlx::MySql> + sqlx::Type<sqlx::MySql>,
    {
        match (self, arguments) {
            (Self::Sqlite(connection), Arguments::Sqlite(arguments)) => {
                let rows = sqlx::query_with(text, arguments).fetch_all(connection).await?;
                let row = |row: &SqliteRow| (0..row.len()).map(|column| row.try_get(column)).collect();
                rows.iter().map(row).collect()
            }
            (Self::MySql(connection), Arguments::MySql(arguments)) => {
                let rows = sqlx::query_with(text, arguments).fetch_all(connection).await?;
                let row = |row: &MySqlRow| (0..row.len()).map(|column| row.try_get(column)).collect();
                rows.iter().map(row).collect()
            }
            _ => unreachable!("arguments are made for the session that they are used with"),
        }
    }

    /// Begins a transaction that sees one state of the tables.
    pub(crate) async fn begin_reading(&mut self) -> Result<(), sqlx::Error> {
        self.run(fixed("BEGIN")).await
    }

    /// Begins a transaction that waits for other writers before it reads.
    pub(crate) async fn begin_writing(&mut self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(_) => self.run(fixed("BEGIN IMMEDIATE")).await,
            // The first thing that it does is to change the position, which waits.
            Self::MySql(_) => self.run(fixed("BEGIN")).await,
        }
    }

    pub(crate) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.run(fixed("COMMIT")).await
    }

    pub(crate) async fn rollback(&mut self) -> Result<(), sqlx::Error> {
        self.run(fixed("ROLLBACK")).await
    }

    pub(crate) async fn close(self) {
        let closed = match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::MySql(connection) => connection.close().await,
        };
        if let Err(error) = closed {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the connection was not closed in good order"
            );
        }
    }
}
