//! `pool db archive`: events that are old enough go from the tables to files.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use sidecars_tables::{Archivable, ArchiveError, ArchiveFile, Archiving};
use tokio::runtime::Runtime;

use super::{Place, current, micros};
use crate::cli::args::Archive;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Output, Show, fields};

/// Rows of a file, which every tool can open.
const FILE_ROWS_MAX: u64 = 1_000_000;

pub(super) fn run(
    runtime: &Runtime,
    data: &Path,
    archive: Archive,
    output: &Output,
) -> Result<Exit, Failure> {
    let place = Place::of(data, archive.place)?;
    let folder = archive.into.unwrap_or_else(|| data.join("archive"));
    let mut database = current(runtime, &place)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let before_us = micros(now.saturating_sub(archive.older_than));
    let old = runtime
        .block_on(database.archivable(before_us))
        .map_err(|error| place.failed(&error))?;
    let mut files = Vec::new();
    if !archive.dry_run {
        let bar = ProgressBar::new(old.rows).with_style(
            ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} rows  {per_sec}  {eta}")
                .expect("a valid template"),
        );
        let archiving = Archiving {
            folder: &folder,
            before_us,
            now_us: micros(now),
            file_rows_max: FILE_ROWS_MAX,
        };
        let archived = runtime.block_on(database.archive(&archiving, |rows| bar.inc(rows)));
        bar.finish_and_clear();
        files = archived.map_err(|error| match error {
            ArchiveError::Database(error) => place.failed(&error),
            error @ ArchiveError::File(_) => Failure::caused(Exit::Failed, "nothing is lost", &error)
                .cure("make room, or give another folder with --into, and run it again"),
        })?;
    }
    output.one(&Archived {
        database: place.target.to_string(),
        folder,
        dry_run: archive.dry_run,
        old,
        files,
    })?;
    Ok(Exit::Ok)
}

struct Archived {
    database: String,
    folder: PathBuf,
    dry_run: bool,
    /// What there was to archive.
    old: Archivable,
    files: Vec<ArchiveFile>,
}

impl Archived {
    fn rows(&self) -> u64 {
        if self.dry_run {
            return self.old.rows;
        }
        self.files.iter().map(|file| file.rows).sum()
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

impl Show for Archived {
    const KIND: &'static str = "db-archive";
    type Json<'a> = Value;
    const COLUMNS: &'static [&'static str] = &["database", "rows", "files", "bytes"];

    fn json(&self) -> Value {
        let file = |file: &ArchiveFile| {
            json!({
                "file": file.name,
                "first_lsn": file.first,
                "last_lsn": file.last,
                "rows": file.rows,
                "bytes": file.bytes,
                "sha256": file.sha256,
            })
        };
        json!({
            "database": self.database,
            "folder": self.folder.display().to_string(),
            "dry_run": self.dry_run,
            "upto_lsn": (self.rows() > 0).then_some(self.old.upto),
            "rows": self.rows(),
            "bytes": self.bytes(),
            "files": self.files.iter().map(file).collect::<Vec<_>>(),
        })
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.database.clone(),
            self.rows().to_string(),
            self.files.len().to_string(),
            self.bytes().to_string(),
        ]
    }

    fn text(&self) -> String {
        let verdict = match (self.rows(), self.dry_run) {
            (0, _) => "no events are old enough".to_owned(),
            (rows, true) => format!(
                "{rows} rows of pool_events, up to record {}, would go to {}",
                self.old.upto.0,
                self.folder.display()
            ),
            (rows, false) => format!(
                "{rows} rows of pool_events went to {}, {} bytes",
                self.folder.display(),
                self.bytes()
            ),
        };
        let files: Vec<_> = self
            .files
            .iter()
            .map(|file| format!("{:>12} rows {}", file.rows, file.name))
            .collect();
        fields(&[
            ("database", self.database.clone()),
            ("archived", verdict),
            ("files", files.join("\n")),
        ])
    }
}
