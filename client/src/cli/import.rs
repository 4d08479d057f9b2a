//! `pool import`: what comes over from another scheduler.

use std::collections::BTreeMap;
use std::time::SystemTime;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use sidecars_tables::{
    Database, Fate, Import, ImportItem, ImportKind, MySqlTarget, Predecessor, PredecessorError, Present,
    Reader, Target, plan,
};
use tokio::runtime::Runtime;

use super::args::{Global, Import as Source, Xwhep};
use super::db::{Place, micros, opened, runtime, sql_failed};
use super::exit::{Exit, Failure};
use super::output::{Output, Show, fields};

pub(super) fn run(global: &Global, output: &Output, source: Source) -> Result<Exit, Failure> {
    let Source::Xwhep(asked) = source;
    let Xwhep {
        from,
        dry_run,
        skip_conflicts,
        into,
    } = *asked;
    let config = |problems: Vec<String>| Failure::config(problems.join("\n"));
    let from = from.into_target().map_err(config)?;
    let place = Place::of_database(&global.data, into)?;
    let runtime = runtime()?;
    let theirs = read(&runtime, global, &from)?;
    let (database, present) = if dry_run {
        (None, present(&runtime, &place)?)
    } else {
        let mut database = opened(&runtime, &place)?;
        let present = runtime.block_on(database.present());
        (Some(database), present.map_err(|error| place.failed(&error))?)
    };
    let import = plan(&theirs, &present);
    let refused = import.has_conflicts() && !skip_conflicts;
    let database = database.filter(|_| !refused);
    let done = database.is_some();
    if let Some(database) = database {
        write(&runtime, &place, database, &import)?;
    }
    let imported = Imported {
        from: from.to_string(),
        database: place.target.to_string(),
        dry_run,
        done,
        missing: theirs.missing,
        items: import.items,
    };
    output.one(&imported)?;
    match (imported.conflicts(), refused) {
        (0, _) => Ok(Exit::Ok),
        (conflicts, true) => Err(Failure::new(
            Exit::Conflict,
            format!("{conflicts} rows cannot be told apart from what is here: nothing is imported"),
        )
        .cure("rename one of each two, or leave them out with --skip-conflicts")),
        (conflicts, false) => Err(Failure::new(
            Exit::Partly,
            format!("{conflicts} rows are left out: they cannot be told apart from what is here"),
        )),
    }
}

fn read(runtime: &Runtime, global: &Global, from: &MySqlTarget) -> Result<Predecessor, Failure> {
    let read =
        runtime.block_on(async { tokio::time::timeout(global.timeout, Predecessor::read(from)).await });
    let read = read.map_err(|_| {
        let late = format!("{from} has not answered for {} s", global.timeout.as_secs_f32());
        Failure::new(Exit::Unavailable, late).cure("look whether it is there, or wait longer with --timeout")
    })?;
    read.map_err(|error| match error {
        PredecessorError::Database(error) => sql_failed(&from.to_string(), &error),
        error => Failure::caused(Exit::Conflict, from.to_string(), &error),
    })
}

/// What is there, without making anything.
fn present(runtime: &Runtime, place: &Place) -> Result<Present, Failure> {
    if matches!(&place.target, Target::Sqlite(file) if !file.exists()) {
        return Ok(Present::default());
    }
    let present = runtime.block_on(async {
        if Database::schema(&place.target).await? == 0 {
            return Ok(Present::default());
        }
        Reader::open(&place.target).await?.present().await
    });
    present.map_err(|error| place.failed(&error))
}

fn write(runtime: &Runtime, place: &Place, mut database: Database, import: &Import) -> Result<(), Failure> {
    let bar = ProgressBar::new(import.accounts.len() as u64).with_style(
        ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} passwords hashed  {eta}")
            .expect("a valid template"),
    );
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let written = runtime.block_on(database.import(import, micros(now), || bar.inc(1)));
    bar.finish_and_clear();
    written.map_err(|error| place.failed(&error))
}

struct Imported {
    from: String,
    database: String,
    dry_run: bool,
    done: bool,
    /// Tables that are not there.
    missing: Vec<&'static str>,
    items: Vec<ImportItem>,
}

impl Imported {
    fn conflicts(&self) -> usize {
        let is_one = |item: &&ImportItem| matches!(item.fate, Fate::Conflict(_));
        self.items.iter().filter(is_one).count()
    }

    /// How many of each kind have which fate.
    fn counts(&self) -> BTreeMap<ImportKind, BTreeMap<String, usize>> {
        let mut counts: BTreeMap<ImportKind, BTreeMap<String, usize>> = BTreeMap::new();
        for item in &self.items {
            *counts
                .entry(item.kind)
                .or_default()
                .entry(item.fate.to_string())
                .or_default() += 1;
        }
        counts
    }

    /// A line of each row that is not known, as the table of a terminal.
    fn lines(&self) -> String {
        let told = self.items.iter().filter(|item| item.fate != Fate::Known);
        let lines: Vec<_> = told
            .map(|item| {
                let line = format!(
                    "{:<8} {:<10} {}  {}",
                    item.fate.to_string(),
                    item.kind.to_string(),
                    item.name,
                    item.fate.detail()
                );
                line.trim_end().to_owned()
            })
            .collect();
        lines.join("\n")
    }
}

impl Show for Imported {
    const KIND: &'static str = "import";
    type Json<'a> = Value;
    const COLUMNS: &'static [&'static str] = &["from", "database", "imported", "conflicts"];

    fn json(&self) -> Value {
        let item = |item: &ImportItem| {
            json!({
                "kind": item.kind.to_string(),
                "name": item.name,
                "fate": item.fate.to_string(),
                "detail": item.fate.detail(),
            })
        };
        let counts = self.counts().into_iter();
        json!({
            "from": self.from,
            "database": self.database,
            "dry_run": self.dry_run,
            "imported": self.done,
            "counts": counts.map(|(kind, fates)| (kind.to_string(), json!(fates))).collect::<Value>(),
            "missing_tables": self.missing,
            "items": self.items.iter().map(item).collect::<Vec<_>>(),
        })
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.from.clone(),
            self.database.clone(),
            self.done.to_string(),
            self.conflicts().to_string(),
        ]
    }

    fn text(&self) -> String {
        let counts = self.counts().into_iter().map(|(kind, fates)| {
            let fates: Vec<_> = fates
                .iter()
                .map(|(fate, rows)| format!("{rows} {fate}"))
                .collect();
            format!("{:<10} {}", kind.to_string(), fates.join(", "))
        });
        let verdict = match (self.done, self.dry_run) {
            (true, _) => "done",
            (false, true) => "nothing is changed: this is what would come over",
            (false, false) => "nothing is changed",
        };
        fields(&[
            ("from", self.from.clone()),
            ("into", self.database.clone()),
            ("not there", self.missing.join(", ")),
            ("rows", self.lines()),
            ("sum", counts.collect::<Vec<_>>().join("\n")),
            ("verdict", verdict.to_owned()),
        ])
    }
}
