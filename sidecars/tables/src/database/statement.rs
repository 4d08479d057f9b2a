//! Texts of statements that write many rows at once.
//!
//! A row costs a database little; a statement costs it a parse or a round trip. So rows are written by the hundred. The
//! numbers of rows of a statement are powers of two, so that a few texts serve any number of rows and the database
//! keeps each prepared.
//!
//! New rows are inserted. Rows that are there already are the harder half: SQLite joins the table with the new values
//! (`UPDATE … FROM`); MySQL would compare a joined list of arguments by its own idea of their types and read the whole
//! table, so there a row is inserted that finds its place taken (`ON DUPLICATE KEY UPDATE`). The arguments are the same
//! in both: first the key, then the columns.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::SqlStr;

use super::session::{Session, made};

/// Statements that a connection keeps prepared: all that there are.
pub(super) const CACHED_MAX: usize = 128;

/// Rows of one statement at most. More make no statement cheaper, and SQLite takes 32 766 arguments.
pub(super) const ROWS_MAX: usize = 512;

/// Bytes of arguments of one statement at most, unless one row alone has more: MySQL 5.7 takes packets of 4 MiB.
const BYTES_MAX: usize = 1024 * 1024;

/// The same over TLS: what fits one record of it (RFC 8446 §5.1), with the statement's own header. A second record is a
/// second write, which the kernel holds back (Nagle) until the server acknowledges the first; the server waits for the
/// rest before it does (delayed acknowledgement), 40 ms each time. sqlx gives no way to set `TCP_NODELAY`.
const RECORD_BYTES_MAX: usize = 16 * 1024 - 64;

/// What rows are written, and how.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Rows {
    NewWorks,
    Works,
    NewAttempts,
    Attempts,
    Events,
}

/// The columns that a [`Rows`] has arguments for.
struct Shape {
    table: &'static str,
    key: &'static [&'static str],
    columns: &'static [&'static str],
    /// Columns of the table that may not be NULL and are not among these.
    others: &'static [&'static str],
    how: How,
}

#[derive(PartialEq, Eq)]
enum How {
    /// They are new.
    Insert,
    /// They are there, and get all these columns.
    Replace,
    /// They are there, and get those of these columns that are not NULL.
    Fill,
}

impl Rows {
    /// How many rows the database says that a statement has concerned, if all `count` are new, or were there. MySQL counts
    /// a row twice that is changed by a duplicate key, and once if it is made.
    pub(super) fn concerned(self, session: &Session, count: usize) -> u64 {
        let times = match (self.shape().how, session) {
            (How::Insert, _) | (_, Session::Sqlite(_)) => 1,
            (_, Session::MySql(_)) => 2,
        };
        (count * times) as u64
    }

    fn shape(self) -> Shape {
        match self {
            Self::NewWorks => Shape {
                table: "pool_works",
                key: &["work_id"],
                columns: &[
                    "state",
                    "reason",
                    "attempt",
                    "worker_id",
                    "exit_code",
                    "elapsed_us",
                    "result",
                    "changed_us",
                    "lsn",
                    "batch_id",
                    "user_id",
                    "parameters",
                    "accepted_us",
                ],
                others: &[],
                how: How::Insert,
            },
            Self::Works => Shape {
                columns: &Self::NewWorks.shape().columns[..9],
                others: &Self::NewWorks.shape().columns[9..],
                how: How::Replace,
                ..Self::NewWorks.shape()
            },
            Self::NewAttempts => Shape {
                table: "pool_attempts",
                key: &["work_id", "attempt"],
                columns: &[
                    "started_us",
                    "ended_us",
                    "outcome",
                    "reason",
                    "worker_id",
                    "epoch",
                    "leased_us",
                ],
                others: &[],
                how: How::Insert,
            },
            Self::Attempts => Shape {
                columns: &Self::NewAttempts.shape().columns[..4],
                others: &Self::NewAttempts.shape().columns[4..],
                how: How::Fill,
                ..Self::NewAttempts.shape()
            },
            Self::Events => Shape {
                table: "pool_events",
                key: &["lsn", "work_id"],
                columns: &["works", "at_us", "state", "reason", "attempt", "worker_id"],
                others: &[],
                how: How::Insert,
            },
        }
    }
}

/// The statements of one connection.
#[derive(Debug)]
pub(crate) struct Statements {
    /// Bytes of arguments of one at most, unless one row alone has more.
    bytes_max: usize,
    /// The texts that were made already.
    texts: HashMap<(Rows, usize), Arc<str>>,
}

impl Statements {
    /// Those for a connection; `tls`: it is protected by TLS.
    pub(super) fn new(tls: bool) -> Self {
        Self {
            bytes_max: if tls { RECORD_BYTES_MAX } else { BYTES_MAX },
            texts: HashMap::new(),
        }
    }

    /// How many of these rows one statement writes; `bytes` are those of each row at most, in order.
    pub(super) fn fitting(&self, bytes: impl Iterator<Item = usize>) -> usize {
        let mut sum = 0;
        let fit = bytes
            .take(ROWS_MAX)
            .take_while(|bytes| {
                sum += bytes;
                sum <= self.bytes_max
            })
            .count()
            .max(1);
        1 << fit.ilog2()
    }

    /// The statement that writes `count` rows.
    pub(super) fn get(&mut self, session: &Session, rows: Rows, count: usize) -> SqlStr {
        let text = self
            .texts
            .entry((rows, count))
            .or_insert_with(|| text(session, &rows.shape(), count).into());
        made(Arc::clone(text))
    }
}

fn text(session: &Session, shape: &Shape, count: usize) -> String {
    match (&shape.how, session) {
        (How::Insert, _) => insert(shape, count),
        (how, Session::Sqlite(_)) => update_from(shape, how, count),
        (how, Session::MySql(_)) => insert_over(shape, how, count),
    }
}

fn insert(shape: &Shape, count: usize) -> String {
    let columns = [shape.key, shape.columns].concat();
    let row = format!("({})", repeat("?", columns.len()));
    format!(
        "INSERT INTO {} ({}) VALUES {}",
        shape.table,
        columns.join(", "),
        repeat(&row, count)
    )
}

/// `VALUES` calls its columns column1, column2 and so on.
fn update_from(shape: &Shape, how: &How, count: usize) -> String {
    let Shape {
        table, key, columns, ..
    } = shape;
    let row = format!("({})", repeat("?", key.len() + columns.len()));
    let matches = (1..)
        .zip(*key)
        .map(|(at, column)| format!("{table}.{column} = new.column{at}"));
    let sets = (key.len() + 1..).zip(*columns).map(|(at, column)| match how {
        How::Fill => format!("{column} = COALESCE(new.column{at}, {table}.{column})"),
        _ => format!("{column} = new.column{at}"),
    });
    format!(
        "UPDATE {table} SET {} FROM (VALUES {}) AS new WHERE {}",
        sets.collect::<Vec<_>>().join(", "),
        repeat(&row, count),
        matches.collect::<Vec<_>>().join(" AND ")
    )
}

/// A row that is not there would be made, with 0 in the other columns; the number of rows then says so, see
/// [`Rows::concerned`].
fn insert_over(shape: &Shape, how: &How, count: usize) -> String {
    let Shape {
        table,
        key,
        columns,
        others,
        ..
    } = shape;
    let all = [*key, columns, others].concat();
    let row = format!(
        "({}, {})",
        repeat("?", key.len() + columns.len()),
        repeat("0", others.len())
    );
    let sets = columns.iter().map(|column| match how {
        How::Fill => format!("{column} = COALESCE(VALUES({column}), {column})"),
        _ => format!("{column} = VALUES({column})"),
    });
    format!(
        "INSERT INTO {table} ({}) VALUES {} ON DUPLICATE KEY UPDATE {}",
        all.join(", "),
        repeat(&row, count),
        sets.collect::<Vec<_>>().join(", ")
    )
}

fn repeat(text: &str, count: usize) -> String {
    vec![text; count].join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_takes_rows_up_to_its_bounds_and_never_none() {
        let plain = Statements::new(false);
        assert_eq!(plain.fitting(std::iter::repeat_n(10, 5)), 4);
        assert_eq!(plain.fitting(std::iter::repeat_n(10, 5_000)), ROWS_MAX);
        assert_eq!(plain.fitting(std::iter::repeat_n(BYTES_MAX / 3, 9)), 2);
        assert_eq!(plain.fitting(std::iter::once(2 * BYTES_MAX)), 1);
        let protected = Statements::new(true);
        assert_eq!(protected.fitting(std::iter::repeat_n(100, 5_000)), 128);
        assert_eq!(protected.fitting(std::iter::once(BYTES_MAX)), 1);
    }
}
