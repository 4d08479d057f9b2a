//! Two databases, row by row: what one has and what it should have.
//!
//! Both are read in the order of their keys, a page at a time, so that tables of any size are compared in little
//! memory. Each is read in one transaction, so that rows and position belong together although somebody writes.
//!
//! Tables may begin late ([`Beginning`]). Then what is before the later beginning of the two is not compared, nor what a
//! snapshot does not say of a worker.

mod scope;

use std::cmp::Ordering;
use std::fmt;

use super::schema::{TABLES, Table};
use super::session::{Session, Value, made};
use super::{Database, DatabaseError, position, sql};
use crate::beginning::Beginning;
use scope::Scope;
use wire_protocol::ids::Lsn;

/// Rows read at once. One has 64 KiB of parameters and a result at most.
const PAGE_ROWS: usize = 1_024;

/// What two databases came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Comparison {
    /// Rows of the first one, by table.
    pub rows: Vec<(&'static str, u64)>,
    /// Events up to this record are archived by one of them, and were not compared; 0: all were.
    pub archived: Lsn,
    /// Bags and works before this were not compared, because one of them has none.
    pub beginning: Beginning,
    /// Rows that are missing, should not be there, or say something else.
    pub differences: u64,
}

/// A row that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// In which table.
    pub table: &'static str,
    /// Its key, in the order of the table's key columns.
    pub key: Vec<i64>,
    /// What is wrong.
    pub what: Wrong,
}

/// What is wrong with a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// It is not there.
    Missing,
    /// It should not be there.
    Extra,
    /// A column says something else; the first such one.
    Differs {
        /// The column.
        column: &'static str,
        /// What it says.
        found: String,
        /// What it should say.
        expected: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, key, what } = self;
        let key: Vec<_> = key.iter().map(i64::to_string).collect();
        let key = key.join(", ");
        match what {
            Wrong::Missing => write!(f, "{table} ({key}): missing"),
            Wrong::Extra => write!(f, "{table} ({key}): should not be there"),
            Wrong::Differs {
                column,
                found,
                expected,
            } => write!(f, "{table} ({key}): {column} is {found}, should be {expected}"),
        }
    }
}

/// A database as it was at one record, whatever is written to it meanwhile.
#[derive(Debug)]
pub struct Frozen<'a> {
    database: &'a mut Database,
    /// The last record that is in it.
    pub at: Lsn,
}

impl Database {
    /// Begins to read one state of the tables; it ends with a comparison, or with the connection.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn freeze(&mut self) -> Result<Frozen<'_>, DatabaseError> {
        self.session.begin_reading().await.map_err(sql("read"))?;
        let at = position(&mut self.session).await?;
        Ok(Frozen { database: self, at })
    }
}

impl Frozen<'_> {
    /// How many rows each table has. A server counts them one by one.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn count(self) -> Result<Vec<(&'static str, u64)>, DatabaseError> {
        let session = &mut self.database.session;
        let mut counts = Vec::new();
        // Archives are not the journal's, but say where the events are that are not in their table.
        for name in TABLES.iter().map(|table| table.name).chain(["pool_archives"]) {
            let text = made(format!("SELECT COUNT(*) FROM {name}").into());
            let rows = session.integers(text, session.arguments()).await;
            let count = rows.map_err(sql("read"))?.first().map_or(0, |row| row[0] as u64);
            counts.push((name, count));
        }
        session.commit().await.map_err(sql("read"))?;
        Ok(counts)
    }

    /// Compares its tables with those of `expected`, which is at the same record, and tells each difference.
    ///
    /// # Errors
    /// One of them cannot be read, or they are not at the same record.
    pub async fn compare(
        self,
        expected: &mut Database,
        mut tell: impl FnMut(Difference),
    ) -> Result<Comparison, DatabaseError> {
        let other = expected.freeze().await?;
        if self.at != other.at {
            return Err(DatabaseError::Elsewhere {
                expected: other.at,
                found: self.at,
            });
        }
        let mut scope = Scope::of(&mut self.database.session).await?;
        scope.narrow(Scope::of(&mut other.database.session).await?);
        let mut comparison = Comparison {
            rows: Vec::new(),
            archived: scope.archived,
            beginning: scope.beginning,
            differences: 0,
        };
        for table in &TABLES {
            let mut here = Pages::new(&mut self.database.session, table, scope);
            let mut there = Pages::new(&mut other.database.session, table, scope);
            let mut rows = 0;
            loop {
                let order = match (here.peek().await?, there.peek().await?) {
                    (None, None) => break,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(here), Some(there)) => table.key_of(here).cmp(table.key_of(there)),
                };
                let wrong = match order {
                    Ordering::Less => Some((here.take(), Wrong::Extra)),
                    Ordering::Greater => Some((there.take(), Wrong::Missing)),
                    Ordering::Equal => {
                        let (row, other) = (here.take(), there.take());
                        let wrong = table.differs(&row, &other, scope.unknown(table, &row, &other));
                        wrong.map(|wrong| (row, wrong))
                    }
                }
                .filter(|(row, what)| !scope.may_lack(table, row, what));
                rows += u64::from(order != Ordering::Greater);
                if let Some((row, what)) = wrong {
                    comparison.differences += 1;
                    tell(Difference {
                        table: table.name,
                        key: row[..table.key.len()].iter().map(Value::number).collect(),
                        what,
                    });
                }
            }
            comparison.rows.push((table.name, rows));
        }
        for frozen in [self, other] {
            let ended = frozen.database.session.commit().await;
            ended.map_err(sql("read"))?;
        }
        Ok(comparison)
    }
}

impl Table {
    fn key_of<'r>(&self, row: &'r [Value]) -> &'r [Value] {
        &row[..self.key.len()]
    }

    fn column<'r>(&self, row: &'r [Value], name: &str) -> &'r Value {
        let columns = self.key.iter().chain(self.columns);
        let found = columns.zip(row).find(|(column, _)| **column == name);
        found.expect("the table has this column").1
    }

    /// The first column in which they differ, but for those that are `unknown`.
    fn differs(&self, found: &[Value], expected: &[Value], unknown: &[&str]) -> Option<Wrong> {
        let values = found.iter().zip(expected).skip(self.key.len());
        let (column, (found, expected)) = self
            .columns
            .iter()
            .zip(values)
            .find(|(column, (found, expected))| found != expected && !unknown.contains(column))?;
        Some(Wrong::Differs {
            column,
            found: found.to_string(),
            expected: expected.to_string(),
        })
    }

    /// A page: `{after}` is behind a key, in as many arguments as [`Pages::arguments`] gives.
    fn page(&self, begins: bool) -> String {
        let columns = [self.key, self.columns].concat().join(", ");
        let behind = match self.key {
            _ if begins => String::new(),
            [key] => format!(" WHERE {key} > ?"),
            // The first condition is what an index is good for.
            [first, second] => format!(" WHERE {first} >= ? AND ({first} > ? OR {second} > ?)"),
            _ => unreachable!("keys have one or two columns"),
        };
        format!(
            "SELECT {columns} FROM {}{behind} ORDER BY {} LIMIT {PAGE_ROWS}",
            self.name,
            self.key.join(", ")
        )
    }
}

/// A table's rows in the order of its key.
struct Pages<'a> {
    session: &'a mut Session,
    table: &'static Table,
    scope: Scope,
    page: std::vec::IntoIter<Vec<Value>>,
    /// The key behind which the next page begins.
    last: Option<Vec<i64>>,
    done: bool,
}

impl<'a> Pages<'a> {
    fn new(session: &'a mut Session, table: &'static Table, scope: Scope) -> Self {
        Self {
            session,
            table,
            scope,
            page: Vec::new().into_iter(),
            last: scope.behind(table),
            done: false,
        }
    }

    /// The next row.
    async fn peek(&mut self) -> Result<Option<&[Value]>, DatabaseError> {
        while self.page.as_slice().is_empty() && !self.done {
            let mut arguments = self.session.arguments();
            match self.last.as_deref() {
                None => {}
                Some(&[key]) => arguments.int(key),
                Some(&[first, second]) => {
                    arguments.int(first);
                    arguments.int(first);
                    arguments.int(second);
                }
                Some(_) => unreachable!("keys have one or two columns"),
            }
            let text = made(self.table.page(self.last.is_none()).into());
            let rows = self.session.values(text, arguments).await.map_err(sql("read"))?;
            self.done = rows.len() < PAGE_ROWS;
            if let Some(row) = rows.last() {
                self.last = Some(self.table.key_of(row).iter().map(Value::number).collect());
            }
            let (table, scope) = (self.table, self.scope);
            let rows = rows.into_iter().filter_map(|row| scope.cut(table, row));
            self.page = rows.collect::<Vec<_>>().into_iter();
        }
        Ok(self.page.as_slice().first().map(Vec::as_slice))
    }

    /// The row that was peeked at.
    fn take(&mut self) -> Vec<Value> {
        self.page.next().expect("it was peeked at")
    }
}
