//! Old events go from the tables to files, and nothing is lost on the way.
//!
//! ```text
//!  read a range ──► file, durable ──► its row in pool_archives ──► events deleted, some at a time
//! ```
//!
//! A crash between two of these steps leaves events that are in a file and still in the tables. If the file has no row
//! yet, the next run finds it by its name and writes the same range, so the same bytes, again. If it has one, the next
//! run deletes what is left. The row comes before the deletion, and not with it, so that no transaction is long: the
//! writer of the tables waits for none of them longer than for one piece.
//!
//! Whole records are archived, from the oldest on, up to the first that is too young. The writer only appends behind its
//! position, so it never meets a record that is archived here. Two that archive at once read one state of the tables
//! each, so that none writes a file from what the other has half deleted; who comes second is refused by the key of
//! `pool_archives`.

use std::collections::BTreeMap;
use std::path::Path;

use thiserror::Error;
use wire_protocol::ids::Lsn;

use super::session::{Session, fixed, made};
use super::{Database, DatabaseError, decode, position, sql};
use crate::archive::{ArchiveFile, ArchiveWriter, FileError, left_behind};

/// Rows read at once: some hundred KiB.
const PAGE_ROWS: usize = 4_096;

/// Rows deleted in one transaction, unless one record has more.
const DELETED_ROWS_MAX: u64 = 10_000;

const STEP: &str = "archive events of";

/// What is archived, and where.
#[derive(Clone, Copy, Debug)]
pub struct Archiving<'a> {
    /// The folder of the files, which is made if it is not there.
    pub folder: &'a Path,
    /// Events before this time: UTC, microseconds since 1970.
    pub before_us: i64,
    /// The time now, likewise, which is remembered with each file.
    pub now_us: i64,
    /// Rows of a file, unless one record has more.
    pub file_rows_max: u64,
}

/// Why archiving ended early. What was archived before is archived.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The database says no.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A file could not be made. The events are still in the tables.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Events that are old enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Archivable {
    /// How far events are archived already; 0: not at all.
    pub after: Lsn,
    /// The last record of those that are old enough, and not archived.
    pub upto: Lsn,
    /// How many rows those are.
    pub rows: u64,
}

impl Database {
    /// What [`Self::archive`] would archive. Takes as long as to read those rows.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn archivable(&mut self, before_us: i64) -> Result<Archivable, DatabaseError> {
        let session = &mut self.session;
        session.begin_reading().await.map_err(sql(STEP))?;
        let after = horizon(session).await?;
        let upto = old_enough(session, after, before_us).await?;
        let mut arguments = session.arguments();
        arguments.int(after.0 as i64);
        arguments.int(upto.0 as i64);
        let text = fixed("SELECT COUNT(*) FROM pool_events WHERE lsn > ? AND lsn <= ?");
        let rows = session.integers(text, arguments).await.map_err(sql(STEP))?;
        session.commit().await.map_err(sql(STEP))?;
        Ok(Archivable {
            after,
            upto,
            rows: rows.first().map_or(0, |row| row[0] as u64),
        })
    }

    /// Writes events that are old enough to files and deletes them; the files. `tell` hears of rows as they are written
    /// (a few thousand at a time).
    ///
    /// # Errors
    /// See [`ArchiveError`]. To try again is right whatever happened.
    pub async fn archive(
        &mut self,
        archiving: &Archiving<'_>,
        mut tell: impl FnMut(u64),
    ) -> Result<Vec<ArchiveFile>, ArchiveError> {
        self.delete_archived().await?;
        let mut files = Vec::new();
        while let Some(file) = self.write_file(archiving, &mut tell).await? {
            self.remember(&file, archiving.now_us).await?;
            self.delete_archived().await?;
            files.push(file);
        }
        Ok(files)
    }

    /// The next file, durable; `None`: no more events are old enough.
    pub(super) async fn write_file(
        &mut self,
        archiving: &Archiving<'_>,
        tell: &mut impl FnMut(u64),
    ) -> Result<Option<ArchiveFile>, ArchiveError> {
        let session = &mut self.session;
        session.begin_reading().await.map_err(sql(STEP))?;
        let written = match next_range(session, archiving).await {
            Ok(Some((first, last))) => write_range(session, archiving.folder, (first, last), tell)
                .await
                .map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        // It only read: what fails here has ended with its connection.
        session.commit().await.map_err(sql(STEP))?;
        written
    }

    /// From here on the range counts as archived.
    pub(super) async fn remember(&mut self, file: &ArchiveFile, now_us: i64) -> Result<(), DatabaseError> {
        let mut arguments = self.session.arguments();
        arguments.int(file.first.0 as i64);
        arguments.int(file.last.0 as i64);
        arguments.int(file.rows as i64);
        arguments.text(&file.name);
        arguments.text(&file.sha256);
        arguments.int(now_us);
        let text = fixed(
            "INSERT INTO pool_archives (first_lsn, last_lsn, row_count, file, sha256, archived_us) \
             VALUES (?, ?, ?, ?, ?, ?)",
        );
        let done = self.session.execute(text, arguments).await;
        done.map(drop).map_err(sql(STEP))
    }

    /// Deletes what is archived, in the order of the key, a piece at a time.
    pub(super) async fn delete_archived(&mut self) -> Result<(), DatabaseError> {
        let upto = horizon(&mut self.session).await?;
        while let Some(first) = first_event(&mut self.session, Lsn(0), upto).await? {
            let last = piece(&mut self.session, first, upto, DELETED_ROWS_MAX).await?;
            let mut arguments = self.session.arguments();
            arguments.int(last.0 as i64);
            let text = fixed("DELETE FROM pool_events WHERE lsn <= ?");
            let deleted = self.session.execute(text, arguments).await;
            deleted.map_err(sql(STEP))?;
        }
        Ok(())
    }
}

/// The last record whose events are archived; 0: none are.
pub(super) async fn horizon(session: &mut Session) -> Result<Lsn, DatabaseError> {
    let text = fixed("SELECT COALESCE(MAX(last_lsn), 0) FROM pool_archives");
    let rows = session.integers(text, session.arguments()).await;
    Ok(Lsn(rows
        .map_err(sql(STEP))?
        .first()
        .map_or(0, |row| row[0] as u64)))
}

/// The last record behind `after` before the first one that has a young event.
async fn old_enough(session: &mut Session, after: Lsn, before_us: i64) -> Result<Lsn, DatabaseError> {
    let at = position(session).await?;
    let mut arguments = session.arguments();
    arguments.int(after.0 as i64);
    arguments.int(before_us);
    // In the order of the key it ends at the first one, and reads nothing but what is archived next.
    let text =
        fixed("SELECT lsn FROM pool_events WHERE lsn > ? AND at_us >= ? ORDER BY lsn, work_id LIMIT 1");
    let young = one_lsn(session, text, arguments).await?;
    Ok(young.map_or(at, |young| Lsn(young.0 - 1)).min(at))
}

/// The first and the last record of the next file.
async fn next_range(
    session: &mut Session,
    archiving: &Archiving<'_>,
) -> Result<Option<(Lsn, Lsn)>, ArchiveError> {
    let after = horizon(session).await?;
    let upto = old_enough(session, after, archiving.before_us).await?;
    let Some(first) = first_event(session, after, upto).await? else {
        return Ok(None);
    };
    // A run that was interrupted ended the file there; now more may be old enough.
    if let Some(last) = left_behind(archiving.folder, first)?.filter(|last| *last <= upto) {
        return Ok(Some((first, last)));
    }
    let last = piece(session, first, upto, archiving.file_rows_max).await?;
    Ok(Some((first, last)))
}

/// The first record that has an event, behind `after` and up to `upto`.
async fn first_event(session: &mut Session, after: Lsn, upto: Lsn) -> Result<Option<Lsn>, DatabaseError> {
    let mut arguments = session.arguments();
    arguments.int(after.0 as i64);
    arguments.int(upto.0 as i64);
    let text = fixed("SELECT lsn FROM pool_events WHERE lsn > ? AND lsn <= ? ORDER BY lsn, work_id LIMIT 1");
    one_lsn(session, text, arguments).await
}

/// The last record, so that those from `first` to it have `rows_max` rows at most, or are one record.
async fn piece(session: &mut Session, first: Lsn, upto: Lsn, rows_max: u64) -> Result<Lsn, DatabaseError> {
    let mut arguments = session.arguments();
    arguments.int(first.0 as i64);
    arguments.int(upto.0 as i64);
    arguments.int(rows_max as i64);
    let text = fixed(
        "SELECT lsn FROM pool_events WHERE lsn >= ? AND lsn <= ? ORDER BY lsn, work_id LIMIT 1 OFFSET ?",
    );
    let beyond = one_lsn(session, text, arguments).await?;
    let mut arguments = session.arguments();
    arguments.int(first.0 as i64);
    arguments.int(beyond.map_or(upto.0, |beyond| first.0.max(beyond.0 - 1)) as i64);
    let text = fixed(
        "SELECT lsn FROM pool_events WHERE lsn >= ? AND lsn <= ? ORDER BY lsn DESC, work_id DESC LIMIT 1",
    );
    Ok(one_lsn(session, text, arguments).await?.unwrap_or(first))
}

async fn one_lsn(
    session: &mut Session,
    text: sqlx::SqlStr,
    arguments: super::session::Arguments,
) -> Result<Option<Lsn>, DatabaseError> {
    let rows = session.integers(text, arguments).await.map_err(sql(STEP))?;
    Ok(rows.first().map(|row| Lsn(row[0] as u64)))
}

/// Writes the events of these records to their file.
async fn write_range(
    session: &mut Session,
    folder: &Path,
    (first, last): (Lsn, Lsn),
    tell: &mut impl FnMut(u64),
) -> Result<ArchiveFile, ArchiveError> {
    let reasons = reasons(session).await?;
    let mut file = ArchiveWriter::create(folder)?;
    let (mut lsn, mut work) = (first.0 as i64, -1);
    loop {
        let mut arguments = session.arguments();
        for number in [lsn, last.0 as i64, lsn, work] {
            arguments.int(number);
        }
        arguments.int(PAGE_ROWS as i64);
        let text = format!(
            "SELECT {} FROM pool_events \
             WHERE lsn >= ? AND lsn <= ? AND (lsn > ? OR work_id > ?) ORDER BY lsn, work_id LIMIT ?",
            decode::EVENT
        );
        let rows = session
            .values(made(text.into()), arguments)
            .await
            .map_err(sql(STEP))?;
        for row in &rows {
            let event = decode::event(row, &reasons)?;
            (lsn, work) = (event.lsn as i64, event.work as i64);
            file.write(&event)?;
        }
        tell(rows.len() as u64);
        if rows.len() < PAGE_ROWS {
            break;
        }
    }
    Ok(file.finish(first, last)?)
}

/// Reasons in words.
async fn reasons(session: &mut Session) -> Result<BTreeMap<u16, String>, DatabaseError> {
    let text = fixed("SELECT reason, meaning FROM pool_reasons");
    let rows = session.values(text, session.arguments()).await;
    rows.map_err(sql(STEP))?
        .iter()
        .map(|row| decode::reason_in_words(row))
        .collect()
}
