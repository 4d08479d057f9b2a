//! The schema: numbered files, embedded here and usable as they lie in `migrations/`.
//!
//! Each ends with a row in `schema_versions` that says that it was run, so that a database that was made by the files
//! is as good as one that was made here. A file that was released is never edited.

use super::session::{Session, fixed};
use super::{DatabaseError, sql};

/// The files in the order of their numbers, the first is 1.
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/0001_tables.sql")];

const STEP: &str = "migrate";

/// Runs what is missing; a database that is up to date is only read.
pub(super) async fn run(session: &mut Session) -> Result<(), DatabaseError> {
    if missing(session).await?.is_empty() {
        return Ok(());
    }
    match session {
        Session::Sqlite(_) => in_one_transaction(session).await,
    }
}

/// The files that were not run yet.
async fn missing(session: &mut Session) -> Result<&'static [&'static str], DatabaseError> {
    let has = |count: Vec<Vec<i64>>| count.first().is_some_and(|row| row[0] > 0);
    let table = |session: &Session, name: &str| {
        let mut arguments = session.arguments();
        arguments.text(name);
        (tables_named(session), arguments)
    };
    let (text, arguments) = table(session, "schema_versions");
    let found = if has(session.integers(text, arguments).await.map_err(sql(STEP))?) {
        let text = fixed("SELECT COALESCE(MAX(version), 0) FROM schema_versions");
        let rows = session.integers(text, session.arguments()).await;
        rows.map_err(sql(STEP))?.first().map_or(0, |row| row[0])
    } else {
        let (text, arguments) = table(session, "works");
        if has(session.integers(text, arguments).await.map_err(sql(STEP))?) {
            return Err(DatabaseError::Foreign);
        }
        0
    };
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(DatabaseError::NewerSchema { found, known });
    }
    Ok(&MIGRATIONS[found as usize..])
}

fn tables_named(session: &Session) -> sqlx::SqlStr {
    match session {
        Session::Sqlite(_) => fixed("SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = ?"),
    }
}

/// The transaction is also the lock.
async fn in_one_transaction(session: &mut Session) -> Result<(), DatabaseError> {
    session.begin_writing().await.map_err(sql(STEP))?;
    // Another may have run them while this one waited.
    for file in missing(session).await? {
        for statement in statements(file) {
            session.run(for_sqlite(statement)).await.map_err(sql(STEP))?;
        }
    }
    session.commit().await.map_err(sql(STEP))
}

/// The statements of a file. None has a semicolon inside.
fn statements(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.split(';').map(str::trim).filter(|statement| {
        let mut lines = statement.lines();
        lines.any(|line| !line.is_empty() && !line.starts_with("--"))
    })
}

/// SQLite keeps a table in the order of its key, as the others do, if the type of that is called `INTEGER`.
fn for_sqlite(statement: &str) -> sqlx::SqlStr {
    let text = statement.replace("BIGINT NOT NULL PRIMARY KEY", "INTEGER NOT NULL PRIMARY KEY");
    super::session::made(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_says_its_number_at_its_end_and_hides_no_semicolon() {
        for (number, file) in (1..).zip(MIGRATIONS) {
            let last = statements(file).last().expect("a file has statements");
            assert!(
                last.ends_with(&format!(
                    "INSERT INTO schema_versions (version) VALUES ({number})"
                )),
                "{last}"
            );
            for line in file.lines().filter(|line| line.contains(';')) {
                assert!(line.ends_with(';') && line.matches(';').count() == 1, "{line}");
                assert!(!line.starts_with("--"), "{line}");
            }
        }
    }
}
