//! The schema: numbered files, embedded here and usable as they lie in `migrations/`.
//!
//! Each ends with a row in `pool_schema_versions` that says that it was run, so that a database that was made by the
//! files is as good as one that was made here. A file that was released is never edited.

use sqlx::SqlStr;
use sqlx::mysql::MySqlDatabaseError;

use super::session::{Session, fixed, made};
use super::{DatabaseError, sql};

/// The files in the order of their numbers, the first is 1.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/0001_tables.sql"),
    include_str!("../../migrations/0002_market.sql"),
    include_str!("../../migrations/0003_accounts.sql"),
    include_str!("../../migrations/0004_predecessor.sql"),
    include_str!("../../migrations/0005_listing.sql"),
    include_str!("../../migrations/0006_archive.sql"),
    include_str!("../../migrations/0007_chain.sql"),
];

/// The number of the last one.
pub(super) const NEWEST: usize = MIGRATIONS.len();

const STEP: &str = "migrate";

/// Tables of the predecessor, which are views here: a database in which there are others of these names is not for us.
const PREDECESSOR: [&str; 8] = [
    "works",
    "users",
    "hosts",
    "tasks",
    "apps",
    "datas",
    "marketorders",
    "categories",
];

/// Runs what is missing; a database that is up to date is only read.
pub(super) async fn run(session: &mut Session) -> Result<(), DatabaseError> {
    if version(session).await? == Some(MIGRATIONS.len()) {
        return Ok(());
    }
    match session {
        Session::Sqlite(_) => in_one_transaction(session).await,
        Session::MySql(_) => under_a_lock(session).await,
    }
}

/// How many files were run; `None`: there is not even the table that says so, with which the first file begins.
pub(super) async fn version(session: &mut Session) -> Result<Option<usize>, DatabaseError> {
    let table = fixed(match session {
        Session::Sqlite(_) => {
            "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = 'pool_schema_versions'"
        }
        Session::MySql(_) => {
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() \
             AND table_name = 'pool_schema_versions'"
        }
    });
    if integer(session, table).await? == 0 {
        return Ok(None);
    }
    let newest = fixed("SELECT COALESCE(MAX(version), 0) FROM pool_schema_versions");
    let (found, known) = (integer(session, newest).await?, MIGRATIONS.len());
    match usize::try_from(found) {
        Ok(found) if found <= known => Ok(Some(found)),
        _ => Err(DatabaseError::NewerSchema {
            found,
            known: known as i64,
        }),
    }
}

/// The files that were not run yet. Only with the lock: who has it may have made some of the tables.
async fn missing(session: &mut Session) -> Result<&'static [&'static str], DatabaseError> {
    if let Some(version) = version(session).await? {
        return Ok(&MIGRATIONS[version..]);
    }
    match foreign(session).await? {
        Some(table) => Err(DatabaseError::Foreign { table }),
        None => Ok(MIGRATIONS),
    }
}

/// A table or view that has a name which we need.
async fn foreign(session: &mut Session) -> Result<Option<String>, DatabaseError> {
    let mut arguments = session.arguments();
    let mut count = 0;
    for name in MIGRATIONS.iter().flat_map(|file| tables(file)).chain(PREDECESSOR) {
        arguments.text(name);
        count += 1;
    }
    let names = vec!["?"; count].join(", ");
    let text = match session {
        Session::Sqlite(_) => format!(
            "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND LOWER(name) IN ({names}) ORDER BY name"
        ),
        Session::MySql(_) => format!(
            "SELECT CAST(table_name AS CHAR) FROM information_schema.tables WHERE table_schema = DATABASE() \
             AND LOWER(table_name) IN ({names}) ORDER BY table_name"
        ),
    };
    let found = session.texts(made(text.into()), arguments).await;
    Ok(found.map_err(sql(STEP))?.into_iter().next())
}

/// The number that this asks for.
async fn integer(session: &mut Session, text: SqlStr) -> Result<i64, DatabaseError> {
    let rows = session.integers(text, session.arguments()).await;
    Ok(rows.map_err(sql(STEP))?.first().map_or(0, |row| row[0]))
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
    // Names of locks are the server's, at most 64 characters. MySQL 9.7 has no SHA1 and no MD5.
    let text = fixed("SELECT COALESCE(GET_LOCK(CONCAT('pool-', SHA2(DATABASE(), 224)), 60), 0)");
    if integer(session, text).await? != 1 {
        return Err(DatabaseError::Migrating);
    }
    let missing = missing(session).await?;
    // Another may have done it, and reads its tables by now: to alter the database under it would be a deadlock.
    if !missing.is_empty() {
        one_by_one(session, missing).await?;
    }
    let text = fixed("SELECT COALESCE(RELEASE_LOCK(CONCAT('pool-', SHA2(DATABASE(), 224))), 0)");
    integer(session, text).await.map(drop)
}

/// Runs files whose statements may be done already, in part.
async fn one_by_one(session: &mut Session, files: &[&'static str]) -> Result<(), DatabaseError> {
    // What is made from here on holds every character, and tells `a` from `A`. Who may not say so has a database that
    // somebody else made, and knows how.
    let text = fixed("ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    if let Err(error) = session.run(text).await {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "the character set stays as it is"
        );
    }
    for file in files {
        for statement in statements(file) {
            match session.run(fixed(statement)).await {
                Err(error) if is_done_already(&error) => {}
                done => done.map_err(sql(STEP))?,
            }
        }
    }
    Ok(())
}

/// A table or view (1050), an index (1061) or a row (1062) is there already.
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

/// Names of the tables that a file makes.
fn tables(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines()
        .filter_map(|line| line.strip_prefix("CREATE TABLE "))
        .map(|line| line.strip_prefix("IF NOT EXISTS ").unwrap_or(line))
        .filter_map(|line| line.split(' ').next())
}

/// SQLite keeps a table in the order of its key, as the others do, if the type of that is called `INTEGER`; it has other
/// functions of time, and divides whole numbers to whole numbers.
fn for_sqlite(statement: &str) -> sqlx::SqlStr {
    const INSTEAD: [(&str, &str); 4] = [
        ("BIGINT NOT NULL PRIMARY KEY", "INTEGER NOT NULL PRIMARY KEY"),
        ("TIMESTAMPADD(SECOND, FLOOR(", "datetime(("),
        (", TIMESTAMP'1970-01-01 00:00:00')", ", 'unixepoch')"),
        ("FLOOR(", "("),
    ];
    let text = INSTEAD.iter().fold(statement.to_owned(), |text, (theirs, its)| {
        text.replace(theirs, its)
    });
    made(text.into())
}

/// All statements, for tests that run some of them.
#[cfg(test)]
pub(super) fn all_statements() -> Vec<&'static str> {
    MIGRATIONS.iter().flat_map(|file| statements(file)).collect()
}

#[cfg(test)]
mod tests {
    use wire_protocol::outcome::Reason;

    use super::*;

    #[test]
    fn every_reason_has_its_meaning() {
        for reason in Reason::ALL {
            let row = format!(
                "({}, '{}')",
                *reason as u8,
                reason.to_string().replace('\'', "''")
            );
            assert!(MIGRATIONS.iter().any(|file| file.contains(&row)), "{row}");
        }
    }

    #[test]
    fn every_file_says_its_number_at_its_end_and_hides_no_semicolon() {
        for (number, file) in (1..).zip(MIGRATIONS) {
            let last = statements(file).last().expect("a file has statements");
            assert!(
                last.ends_with(&format!(
                    "INSERT INTO pool_schema_versions (version) VALUES ({number})"
                )),
                "{last}"
            );
            for line in file.lines().filter(|line| line.contains(';')) {
                assert!(line.ends_with(';') && line.matches(';').count() == 1, "{line}");
                assert!(!line.starts_with("--"), "{line}");
            }
        }
    }

    #[test]
    fn tables_and_indexes_have_names_that_the_predecessor_has_not() {
        for file in MIGRATIONS {
            assert_eq!(tables(file).count(), file.matches("CREATE TABLE").count());
            for line in file.lines().filter(|line| line.starts_with("CREATE ")) {
                let line = line.replace("IF NOT EXISTS ", "");
                let is_ours = line
                    .split(' ')
                    .nth(2)
                    .is_some_and(|name| name.starts_with("pool_"));
                assert!(is_ours || line.starts_with("CREATE VIEW "), "{line}");
            }
        }
    }
}
