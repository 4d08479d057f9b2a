//! The schema: numbered files, embedded here and usable as they lie in `migrations/`.
//!
//! Each ends with a row in `schema_versions` that says that it was run, so that a database that was made by the files
//! is as good as one that was made here. A file that was released is never edited.

use sqlx::mysql::MySqlDatabaseError;

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
        Session::MySql(_) => under_a_lock(session).await,
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
        Session::MySql(_) => fixed(
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?",
        ),
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

/// MySQL ends a transaction at each `CREATE`, so that a lock of names keeps others away, and what one that died has done
/// is done: it is there when the statement comes again.
async fn under_a_lock(session: &mut Session) -> Result<(), DatabaseError> {
    // Names of locks are the server's, at most 64 characters.
    let text = fixed("SELECT COALESCE(GET_LOCK(CONCAT('pool-', SHA1(DATABASE())), 60), 0)");
    let locked = session
        .integers(text, session.arguments())
        .await
        .map_err(sql(STEP))?;
    if locked.first().is_none_or(|row| row[0] != 1) {
        return Err(DatabaseError::Migrating);
    }
    // What is made from here on holds every character, and tells `a` from `A`. Who may not say so has a database that
    // somebody else made, and knows how.
    let text = fixed("ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    if let Err(error) = session.run(text).await {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "the character set stays as it is"
        );
    }
    for file in missing(session).await? {
        for statement in statements(file) {
            match session.run(fixed(statement)).await {
                Err(error) if is_done_already(&error) => {}
                done => done.map_err(sql(STEP))?,
            }
        }
    }
    let text = fixed("SELECT COALESCE(RELEASE_LOCK(CONCAT('pool-', SHA1(DATABASE()))), 0)");
    session
        .integers(text, session.arguments())
        .await
        .map(drop)
        .map_err(sql(STEP))
}

/// A table (1050), an index (1061) or a row (1062) is there already.
fn is_done_already(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    let error = error.and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    error.is_some_and(|error| matches!(error.number(), 1050 | 1061 | 1062))
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

/// The statements of the first file, for tests that run some of them.
#[cfg(test)]
pub(super) fn first_file() -> Vec<&'static str> {
    statements(MIGRATIONS[0]).collect()
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
