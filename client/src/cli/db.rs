//! `pool db …`: the tables that `pool-persist` fills, beside the journal that they are filled from.

mod archive;
mod history;
mod replay;
mod verify;

use std::path::{Path, PathBuf};
use std::time::Duration;

use engine_journal::OsStorage;
use serde_json::{Value, json};
use sidecars_tables::{Database, DatabaseError, DatabaseOptions, SCHEMA, Target};
use tokio::runtime::Runtime;
use wire_protocol::ids::Lsn;

use super::args::{Db, DbPlace};
use super::exit::{Exit, Failure};
use super::output::{Output, Show, fields};

pub(crate) fn run(data: &Path, output: &Output, command: Db) -> Result<Exit, Failure> {
    let runtime = runtime()?;
    match command {
        Db::Status(place) => status(&runtime, &Place::of(data, place)?, output),
        Db::Migrate(place) => migrate(&runtime, &Place::of(data, place)?, output),
        Db::Verify { place, show } => verify::verify(&runtime, &Place::of(data, place)?, show, output),
        Db::Rebuild(place) => verify::rebuild(&runtime, &Place::of(data, place)?, output),
        Db::Works(asked) => history::run(&runtime, data, *asked, output),
        Db::Archive(archive) => archive::run(&runtime, data, archive, output),
    }
}

/// Whoever asks a database waits for it, and does nothing else meanwhile.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::caused(Exit::Failed, "cannot start", &error))
}

/// As the tables have times.
pub(super) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Why a database gave no answer, or not this one.
pub(super) fn sql_failed(database: &str, error: &DatabaseError) -> Failure {
    let exit = match error {
        error if error.is_denied() => Exit::Credentials,
        DatabaseError::Sql { .. } | DatabaseError::Migrating => Exit::Unavailable,
        _ => Exit::Conflict,
    };
    let failure = Failure::caused(exit, database, error);
    match error.cure() {
        Some(cure) => failure.cure(cure),
        None => failure,
    }
}

/// Which database, and the journal that it belongs to.
pub(super) struct Place {
    pub(super) journal: PathBuf,
    pub(super) target: Target,
}

impl Place {
    pub(super) fn of(data: &Path, place: DbPlace) -> Result<Self, Failure> {
        let journal = place.journal.unwrap_or_else(|| data.join("engine"));
        let target = place
            .database
            .into_target(&journal)
            .map_err(|problems| Failure::config(problems.join("\n")))?;
        Ok(Self { journal, target })
    }

    /// A database that is of the journal in the folder of --data.
    pub(super) fn of_database(data: &Path, database: DatabaseOptions) -> Result<Self, Failure> {
        let place = DbPlace {
            journal: None,
            database,
        };
        Self::of(data, place)
    }

    /// Nothing is made that was only to be looked at.
    pub(super) fn must_exist(&self) -> Result<(), Failure> {
        match &self.target {
            Target::Sqlite(file) if !file.exists() => {
                let missing =
                    Failure::new(Exit::NotFound, format!("there is no database {}", file.display()));
                Err(missing
                    .cure("pool-persist makes it; give its file with --database, or a server with DBHOST"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn storage(&self) -> Result<OsStorage, Failure> {
        OsStorage::open_read_only(&self.journal)
            .map_err(|error| super::journal::cannot_open(&self.journal, &error))
    }

    pub(super) fn failed(&self, error: &DatabaseError) -> Failure {
        sql_failed(&self.target.to_string(), error)
    }
}

fn status(runtime: &Runtime, place: &Place, output: &Output) -> Result<Exit, Failure> {
    place.must_exist()?;
    let schema = runtime
        .block_on(Database::schema(&place.target))
        .map_err(|error| place.failed(&error))?;
    let (mut position, mut rows) = (None, Vec::new());
    if schema == SCHEMA {
        let mut database = opened(runtime, place)?;
        let counted = runtime.block_on(async {
            let frozen = database.freeze().await?;
            let at = frozen.at;
            Ok((at, frozen.count().await?))
        });
        let (at, counts) = counted.map_err(|error| place.failed(&error))?;
        (position, rows) = (Some(at), counts);
    }
    // The journal may be on another machine.
    let journal = match place.storage() {
        Ok(storage) => {
            let report = engine_journal::verify(&storage)?;
            Some((report.first_lsn(), report.last_lsn()))
        }
        Err(_) => None,
    };
    output.one(&Status {
        database: place.target.to_string(),
        schema,
        position,
        rows,
        journal,
    })?;
    Ok(Exit::Ok)
}

fn migrate(runtime: &Runtime, place: &Place, output: &Output) -> Result<Exit, Failure> {
    let before = match &place.target {
        Target::Sqlite(file) if !file.exists() => 0,
        target => runtime
            .block_on(Database::schema(target))
            .map_err(|error| place.failed(&error))?,
    };
    opened(runtime, place)?;
    output.one(&Migrated {
        database: place.target.to_string(),
        before,
        after: SCHEMA,
    })?;
    Ok(Exit::Ok)
}

/// A database that is there and has the newest schema, which is not changed by looking at it.
pub(super) fn current(runtime: &Runtime, place: &Place) -> Result<Database, Failure> {
    place.must_exist()?;
    let schema = runtime
        .block_on(Database::schema(&place.target))
        .map_err(|error| place.failed(&error))?;
    if schema != SCHEMA {
        let old = format!("{} has schema {schema}, not {SCHEMA}", place.target);
        return Err(Failure::new(Exit::Conflict, old).cure("pool db migrate"));
    }
    opened(runtime, place)
}

pub(super) fn opened(runtime: &Runtime, place: &Place) -> Result<Database, Failure> {
    runtime
        .block_on(Database::open(&place.target))
        .map_err(|error| place.failed(&error))
}

struct Status {
    database: String,
    schema: usize,
    /// `None`: the schema is not this program's.
    position: Option<Lsn>,
    rows: Vec<(&'static str, u64)>,
    /// The first and the last record of the journal, if it is here.
    journal: Option<(Lsn, Lsn)>,
}

impl Show for Status {
    const KIND: &'static str = "db-status";
    type Json<'a> = Value;
    const COLUMNS: &'static [&'static str] = &["database", "schema", "record"];

    fn json(&self) -> Value {
        json!({
            "database": self.database,
            "schema": self.schema,
            "schema_known": SCHEMA,
            "lsn": self.position,
            "rows": counts(&self.rows),
            "journal": self.journal.map(|(first, last)| json!({ "first_lsn": first, "last_lsn": last })),
        })
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.database.clone(),
            self.schema.to_string(),
            self.position.map_or_else(String::new, |lsn| lsn.0.to_string()),
        ]
    }

    fn text(&self) -> String {
        let schema = match self.schema {
            0 => "no tables yet; pool-persist makes them, or `pool db migrate`".to_owned(),
            SCHEMA => format!("{SCHEMA}, the newest"),
            old => format!("{old}; this program has {SCHEMA}: `pool db migrate`"),
        };
        let behind = match (self.position, self.journal) {
            (Some(at), Some((_, last))) => format!(", {} behind the journal", last.0.saturating_sub(at.0)),
            _ => String::new(),
        };
        let journal = self
            .journal
            .map(|(first, last)| format!("records {} to {}", first.0, last.0));
        fields(&[
            ("database", self.database.clone()),
            ("schema", schema),
            (
                "at record",
                self.position
                    .map_or_else(String::new, |lsn| format!("{}{behind}", lsn.0)),
            ),
            ("journal", journal.unwrap_or_default()),
            ("rows", listed(&self.rows)),
        ])
    }
}

struct Migrated {
    database: String,
    before: usize,
    after: usize,
}

impl Show for Migrated {
    const KIND: &'static str = "db-migrate";
    type Json<'a> = Value;
    const COLUMNS: &'static [&'static str] = &["database", "before", "after"];

    fn json(&self) -> Value {
        json!({ "database": self.database, "before": self.before, "after": self.after })
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.database.clone(),
            self.before.to_string(),
            self.after.to_string(),
        ]
    }

    fn text(&self) -> String {
        let Self {
            database,
            before,
            after,
        } = self;
        if before == after {
            format!("{database} has schema {after} already")
        } else {
            format!("{database} has schema {after} now, it had {before}")
        }
    }
}

fn counts(rows: &[(&'static str, u64)]) -> Value {
    rows.iter()
        .map(|(table, rows)| ((*table).to_owned(), json!(rows)))
        .collect()
}

fn listed(rows: &[(&'static str, u64)]) -> String {
    let lines: Vec<_> = rows
        .iter()
        .map(|(table, rows)| format!("{rows:>12} {table}"))
        .collect();
    lines.join("\n")
}
