//! `pool db …`: the tables that `pool-persist` fills, beside the journal that they are filled from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use engine_journal::{JournalError, OsStorage};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use sidecars_tables::{Coalescer, Database, DatabaseError, DatabaseOptions, Resume, SCHEMA, Target};
use tokio::runtime::Runtime;
use wire_protocol::feed::FeedRecord;
use wire_protocol::ids::Lsn;

use super::args::{Db, DbPlace};
use super::exit::{Exit, Failure};
use super::output::{Output, Show, fields};

/// State changes that are written in one transaction.
const BATCH_CHANGES: usize = 100_000;

pub(crate) fn run(data: &Path, output: &Output, command: Db) -> Result<Exit, Failure> {
    let runtime = runtime()?;
    match command {
        Db::Status(place) => status(&runtime, &Place::of(data, place)?, output),
        Db::Migrate(place) => migrate(&runtime, &Place::of(data, place)?, output),
        Db::Verify { place, show } => verify(&runtime, &Place::of(data, place)?, show, output),
        Db::Rebuild(place) => rebuild(&runtime, &Place::of(data, place)?, output),
        Db::Works(asked) => super::history::run(&runtime, data, *asked, output),
        Db::Archive(archive) => super::archive::run(&runtime, data, archive, output),
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
    journal: PathBuf,
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

    fn storage(&self) -> Result<OsStorage, Failure> {
        OsStorage::open_read_only(&self.journal)
            .map_err(|error| super::journal::cannot_open(&self.journal, &error))
    }

    /// The engine deletes what it and its sidecars need no more.
    fn begins_late(&self, first: Lsn) -> Failure {
        let what = format!(
            "the journal {} begins at record {first}; what was before is not kept",
            self.journal.display()
        );
        Failure::new(Exit::NotFound, what).cure("give a copy of the journal from its beginning")
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

fn verify(runtime: &Runtime, place: &Place, show: usize, output: &Output) -> Result<Exit, Failure> {
    let mut database = current(runtime, place)?;
    // What is written from here on is not seen.
    let frozen = runtime
        .block_on(database.freeze())
        .map_err(|error| place.failed(&error))?;
    let folder = tempfile::tempdir().map_err(|error| Failure::caused(Exit::Failed, "no folder", &error))?;
    let scratch = Place {
        journal: place.journal.clone(),
        target: Target::Sqlite(folder.path().join("expected.sqlite")),
    };
    let mut expected = opened(runtime, &scratch)?;
    let reached = replay(runtime, &scratch, &mut expected, frozen.at)?;
    if reached < frozen.at {
        let ahead = format!(
            "{} is at record {}, the journal {} ends at {reached}",
            place.target,
            frozen.at,
            place.journal.display()
        );
        return Err(Failure::new(Exit::Conflict, ahead).cure("give the journal that it belongs to"));
    }
    let at = frozen.at;
    let mut differences = Vec::new();
    let compared = runtime
        .block_on(frozen.compare(&mut expected, |difference| {
            if differences.len() < show {
                differences.push(difference.to_string());
            }
        }))
        .map_err(|error| place.failed(&error))?;
    let equal = compared.differences == 0;
    output.one(&Verified {
        database: place.target.to_string(),
        at,
        rows: compared.rows,
        archived: compared.archived,
        differences: compared.differences,
        shown: differences,
    })?;
    Ok(if equal { Exit::Ok } else { Exit::Failed })
}

fn rebuild(runtime: &Runtime, place: &Place, output: &Output) -> Result<Exit, Failure> {
    let mut database = opened(runtime, place)?;
    let Resume { after, .. } = runtime
        .block_on(database.resume())
        .map_err(|error| place.failed(&error))?;
    if after > Lsn(0) {
        let full = format!("{} is not empty: it is at record {after}", place.target);
        return Err(Failure::new(Exit::Conflict, full)
            .cure("give an empty database, or let pool-persist go on with this"));
    }
    let upto = replay(runtime, place, &mut database, Lsn(u64::MAX - 1))?;
    output.one(&Rebuilt {
        database: place.target.to_string(),
        upto,
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

/// Writes the records of the journal from its beginning up to `upto` into an empty database; the last one written.
fn replay(runtime: &Runtime, place: &Place, database: &mut Database, upto: Lsn) -> Result<Lsn, Failure> {
    let storage = place.storage()?;
    let bar = ProgressBar::new_spinner().with_style(
        ProgressStyle::with_template("{spinner} {human_pos} records replayed  {per_sec}")
            .expect("a valid template"),
    );
    let mut coalescer = Coalescer::new(Lsn(0), []);
    let mut ended: Result<(), Failure> = Ok(());
    let report = engine_journal::export(&storage, Lsn(1), upto, |view| {
        if ended.is_err() {
            return;
        }
        if coalescer.upto() == Lsn(0) && view.lsn > Lsn(1) {
            ended = Err(place.begins_late(view.lsn));
            return;
        }
        let taken = coalescer.take(&FeedRecord {
            lsn: view.lsn,
            epoch: view.epoch,
            wall_us: view.wall_us,
            kind: view.kind,
            payload: view.payload,
        });
        if let Err(error) = taken {
            let what = format!("the journal {} cannot be replayed", place.journal.display());
            ended = Err(Failure::caused(Exit::Failed, what, &error));
            return;
        }
        bar.set_position(coalescer.upto().0);
        if coalescer.changes() >= BATCH_CHANGES {
            ended = apply(runtime, place, database, &mut coalescer);
        }
    });
    bar.finish_and_clear();
    ended?;
    if let Some(damage) = report?.damage {
        return Err(JournalError::from(damage).into());
    }
    apply(runtime, place, database, &mut coalescer)?;
    Ok(coalescer.upto())
}

fn apply(
    runtime: &Runtime,
    place: &Place,
    database: &mut Database,
    coalescer: &mut Coalescer,
) -> Result<(), Failure> {
    if coalescer.records() == 0 {
        return Ok(());
    }
    let applied = runtime.block_on(database.apply(&coalescer.batch()));
    applied.map_err(|error| place.failed(&error))
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

struct Verified {
    database: String,
    at: Lsn,
    rows: Vec<(&'static str, u64)>,
    /// Events up to this record are archived; 0: none.
    archived: Lsn,
    differences: u64,
    shown: Vec<String>,
}

impl Show for Verified {
    const KIND: &'static str = "db-verify";
    type Json<'a> = Value;
    const COLUMNS: &'static [&'static str] = &["database", "record", "differences"];

    fn json(&self) -> Value {
        json!({
            "database": self.database,
            "equal": self.differences == 0,
            "lsn": self.at,
            "rows": counts(&self.rows),
            "events_archived_upto_lsn": (self.archived > Lsn(0)).then_some(self.archived),
            "differences": self.differences,
            "shown": self.shown,
        })
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.database.clone(),
            self.at.0.to_string(),
            self.differences.to_string(),
        ]
    }

    fn text(&self) -> String {
        let verdict = match self.differences {
            0 => "equal to the replay of the journal, row by row".to_owned(),
            1 => "1 row is not what the journal says".to_owned(),
            more => format!("{more} rows are not what the journal says"),
        };
        let archived = match self.archived {
            Lsn(0) => String::new(),
            Lsn(upto) => format!("events up to record {upto}, which were not compared"),
        };
        let hidden = self.differences - self.shown.len() as u64;
        let mut shown = self.shown.clone();
        if hidden > 0 {
            shown.push(format!("and {hidden} more; --show {}", self.differences));
        }
        fields(&[
            ("database", self.database.clone()),
            ("at record", self.at.0.to_string()),
            ("verdict", verdict),
            ("archived", archived),
            ("rows", listed(&self.rows)),
            ("differences", shown.join("\n")),
        ])
    }
}

struct Rebuilt {
    database: String,
    upto: Lsn,
}

impl Show for Rebuilt {
    const KIND: &'static str = "db-rebuild";
    type Json<'a> = Value;
    const COLUMNS: &'static [&'static str] = &["database", "record"];

    fn json(&self) -> Value {
        json!({ "database": self.database, "lsn": self.upto })
    }

    fn cells(&self) -> Vec<String> {
        vec![self.database.clone(), self.upto.0.to_string()]
    }

    fn text(&self) -> String {
        let Self { database, upto } = self;
        format!(
            "{database} has all up to record {}; pool-persist goes on from there",
            upto.0
        )
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
