//! `pool journal …`: a journal's folder, read without its engine.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use engine_journal::{JournalError, OsStorage, Report, Stats};
use serde::Serialize;
use serde_json::{Value, json};
use wire_protocol::ids::Lsn;
use wire_protocol::outcome::Reason;
use wire_protocol::record::{Attempts, Record};

use super::args::{Format, Journal, JournalFolder};
use super::exit::{Exit, Failure};
use super::output::{Output, Show, fields, json_line};
use wire_protocol::units::Bytes;

pub(crate) fn run(data: &Path, output: &Output, command: &Journal) -> Result<Exit, Failure> {
    match command {
        Journal::Verify(folder) => {
            let report = engine_journal::verify(&look_at(data, folder)?)?;
            let sound = report.is_sound();
            output.one(&Verified(report))?;
            Ok(if sound { Exit::Ok } else { Exit::Failed })
        }
        Journal::Export { folder, from, to } => {
            let storage = look_at(data, folder)?;
            export(
                &storage,
                Lsn(*from),
                to.map_or(Lsn(u64::MAX), Lsn),
                output.format,
                io::stdout().lock(),
            )
        }
        Journal::Stats(folder) => {
            output.one(&Measured(engine_journal::stats(&look_at(data, folder)?)?))?;
            Ok(Exit::Ok)
        }
        Journal::Repair { folder, .. } => {
            let path = path_of(data, folder);
            let storage = OsStorage::open(&path).map_err(|error| cannot_open(&path, &error))?;
            let repair = engine_journal::repair(&storage)?;
            let mut out = io::stdout().lock();
            match repair.cut {
                None => writeln!(out, "there is no damage; nothing was changed")?,
                Some(damage) => writeln!(
                    out,
                    "cut at byte {} of {} ({}); the last record is now {}; set aside: {}",
                    damage.offset,
                    damage.file,
                    damage.what,
                    repair.last_lsn.0,
                    repair.set_aside.join(", ")
                )?,
            }
            Ok(Exit::Ok)
        }
    }
}

fn path_of(data: &Path, folder: &JournalFolder) -> PathBuf {
    folder.folder.clone().unwrap_or_else(|| data.join("engine"))
}

fn look_at(data: &Path, folder: &JournalFolder) -> Result<OsStorage, Failure> {
    let path = path_of(data, folder);
    OsStorage::open_read_only(&path).map_err(|error| cannot_open(&path, &error))
}

pub(super) fn cannot_open(path: &Path, error: &io::Error) -> Failure {
    let exit = if error.kind() == io::ErrorKind::NotFound {
        Exit::NotFound
    } else {
        Exit::Config
    };
    Failure::caused(exit, format!("cannot open the journal {}", path.display()), error)
        .cure("give the folder that holds the segments, or the pool's folder with --data")
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        let exit = match &error {
            JournalError::Locked { .. } => Exit::Conflict,
            JournalError::Trimmed { .. } => Exit::NotFound,
            JournalError::Foreign { .. } => Exit::Config,
            _ => Exit::Failed,
        };
        Self::caused(exit, "journal", &error)
    }
}

/// Records as JSON. A table would be no help here, so it means a line each too.
fn export(storage: &OsStorage, from: Lsn, to: Lsn, format: Format, out: impl Write) -> Result<Exit, Failure> {
    let mut out = BufWriter::new(out);
    let array = format == Format::Json;
    let mut written = 0_u64;
    let mut result = Ok(());
    let report = engine_journal::export(storage, from, to, |view| {
        let record = match Record::parse(view.kind, view.payload) {
            Ok(record) => json_of(&record),
            Err(error) => {
                json!({ "kind": "unreadable", "kind_byte": view.kind, "problem": error.to_string() })
            }
        };
        let fields = RecordJson {
            lsn: view.lsn.0,
            epoch: view.epoch.0,
            wall_us: view.wall_us,
            record,
        };
        let before = match (array, written) {
            (false, _) => "",
            (true, 0) => "[",
            (true, _) => ",\n ",
        };
        let after = if array { "" } else { "\n" };
        written += 1;
        if result.is_ok() {
            result = write!(out, "{before}{}{after}", json_line("journal-record", fields));
        }
    })?;
    result?;
    if array {
        writeln!(out, "{}]", if written == 0 { "[" } else { "" })?;
    }
    out.flush()?;
    match report.damage {
        None => Ok(Exit::Ok),
        Some(damage) => Err(JournalError::from(damage).into()),
    }
}

#[derive(Serialize)]
struct RecordJson {
    lsn: u64,
    epoch: u32,
    wall_us: u64,
    record: Value,
}

/// A record as JSON: its kind and its fields. Bytes that are no text are replaced.
fn json_of(record: &Record<'_>) -> Value {
    fn with(kind: &str, fields: impl Serialize) -> Value {
        let mut value = serde_json::to_value(fields).unwrap_or(Value::Null);
        match &mut value {
            Value::Object(object) => {
                object.insert("kind".to_owned(), kind.into());
                value
            }
            _ => json!({ "kind": kind, "of": value }),
        }
    }
    fn attempts(kind: &str, attempts: &Attempts<'_>) -> Value {
        let leases: Vec<Value> = attempts
            .iter()
            .map(|token| json!({ "work": token.work, "attempt": token.attempt, "epoch": token.epoch }))
            .collect();
        let mut value =
            json!({ "kind": kind, "at": attempts.at, "worker": attempts.worker, "leases": leases });
        if attempts.reason != Reason::None {
            value["reason"] = json!(attempts.reason);
        }
        value
    }
    match record {
        Record::EpochStarted(started) => with("epoch-started", started),
        Record::TenantAdded(added) => with("tenant-added", added),
        Record::BagOpened(opened) => with("bag-opened", opened),
        Record::RowsAdded(added) => {
            let rows: Vec<String> = added
                .rows
                .iter()
                .map(|row| String::from_utf8_lossy(row).into_owned())
                .collect();
            json!({ "kind": "rows-added", "at": added.at, "bag": added.bag, "first_row": added.first_row, "rows": rows })
        }
        Record::BagPrioritised(prioritised) => with("bag-prioritised", prioritised),
        Record::BagForgotten(bag) => json!({ "kind": "bag-forgotten", "bag": bag }),
        Record::WorkerJoined(joined) => with("worker-joined", joined),
        Record::WorkerChanged(changed) => with("worker-changed", changed),
        Record::WorkerForgotten(worker) => json!({ "kind": "worker-forgotten", "worker": worker }),
        Record::Leased(leased) => attempts("leased", leased),
        Record::Started(started) => attempts("started", started),
        Record::Released(released) => attempts("released", released),
        Record::Settled(settled) => {
            let works: Vec<Value> = settled
                .iter()
                .map(|item| {
                    json!({
                        "work": item.work,
                        "attempt": item.attempt,
                        "outcome": item.outcome,
                        "reason": item.reason,
                        "exit_code": item.exit_code,
                        "elapsed_us": item.elapsed_us,
                        "result": String::from_utf8_lossy(item.result),
                    })
                })
                .collect();
            json!({ "kind": "settled", "at": settled.at, "worker": settled.worker, "works": works })
        }
        Record::Ended(ended) => with("ended", ended),
        Record::Revived(revived) => with("revived", revived),
        Record::BagSealed(sealed) => with("bag-sealed", sealed),
        Record::TokenCreated(created) => with("token-created", created),
        Record::TokenRevoked(revoked) => with("token-revoked", revoked),
        Record::WorkerEnrolled(enrolled) => with("worker-enrolled", enrolled),
        Record::WorkerStanding(standing) => with("worker-standing", standing),
        Record::NotebookTaken(taken) => with("notebook-taken", taken),
        Record::NotesWritten(written) => {
            let changes = written.written.changes.iter();
            let notes: Vec<Value> = changes
                .map(|change| json!({ "key": change.key, "bytes": change.value.as_ref().map(Vec::len) }))
                .collect();
            let (at, holder) = (written.at, written.written.holder);
            let notebook = &written.written.notebook;
            json!({ "kind": "notes-written", "at": at, "notebook": notebook, "holder": holder, "notes": notes })
        }
    }
}

struct Verified(Report);

impl Show for Verified {
    const KIND: &'static str = "journal-verify";
    type Json<'a> = Value;
    const COLUMNS: &'static [&'static str] = &["sound", "first", "last"];

    fn json(&self) -> Value {
        let report = &self.0;
        json!({
            "sound": report.is_sound(),
            "first_lsn": report.first_lsn(),
            "last_lsn": report.last_lsn(),
            "epoch": report.epoch,
            "spares": report.spares,
            "segments": report.segments.iter().map(|segment| json!({
                "name": segment.name, "first_lsn": segment.first_lsn, "last_lsn": segment.last_lsn,
                "batches": segment.batches, "used_bytes": segment.used_bytes, "bytes": segment.bytes,
                "sealed": segment.sealed,
            })).collect::<Vec<_>>(),
            "snapshots": report.snapshots.iter().map(|snapshot| json!({
                "name": snapshot.name, "lsn": snapshot.lsn,
                "damage": snapshot.damage.as_ref().map(|damage| &damage.what),
            })).collect::<Vec<_>>(),
            "torn_tail": report.torn.as_ref().map(|torn| json!({
                "segment": torn.segment, "offset": torn.offset, "bytes": torn.bytes,
            })),
            "damage": report.damage.as_ref().map(|damage| json!({
                "file": damage.file, "offset": damage.offset, "what": damage.what,
            })),
        })
    }

    fn cells(&self) -> Vec<String> {
        let report = &self.0;
        vec![
            report.is_sound().to_string(),
            report.first_lsn().0.to_string(),
            report.last_lsn().0.to_string(),
        ]
    }

    fn text(&self) -> String {
        let report = &self.0;
        let damaged = report
            .damage
            .iter()
            .chain(report.snapshots.iter().filter_map(|one| one.damage.as_ref()));
        let damaged: Vec<String> = damaged
            .map(|damage| format!("{} at byte {}: {}", damage.file, damage.offset, damage.what))
            .collect();
        let torn = report.torn.as_ref().map(|torn| {
            format!(
                "{} bytes at byte {} of {}; the next start drops them",
                torn.bytes, torn.offset, torn.segment
            )
        });
        fields(&[
            (
                "journal",
                if report.is_sound() { "sound" } else { "damaged" }.to_owned(),
            ),
            (
                "records",
                format!("{} to {}", report.first_lsn().0, report.last_lsn().0),
            ),
            (
                "segments",
                format!("{}, and {} in waiting", report.segments.len(), report.spares),
            ),
            ("snapshots", report.snapshots.len().to_string()),
            ("epoch", report.epoch.0.to_string()),
            ("torn tail", torn.unwrap_or_default()),
            ("damage", damaged.join("\n")),
        ])
    }
}

struct Measured(Stats);

impl Show for Measured {
    const KIND: &'static str = "journal-stats";
    type Json<'a> = Value;
    const COLUMNS: &'static [&'static str] = &["segments", "records", "bytes"];

    fn json(&self) -> Value {
        let Stats {
            segments,
            spares,
            bytes,
            records,
            first_lsn,
            last_lsn,
            snapshots,
            commits,
        } = &self.0;
        json!({
            "segments": segments, "spares": spares, "bytes": bytes, "records": records,
            "first_lsn": first_lsn, "last_lsn": last_lsn, "snapshots": snapshots, "commits": commits,
        })
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.0.segments.to_string(),
            self.0.records.to_string(),
            self.0.bytes.to_string(),
        ]
    }

    fn text(&self) -> String {
        let stats = &self.0;
        let snapshots: Vec<String> = stats.snapshots.iter().map(|lsn| lsn.0.to_string()).collect();
        fields(&[
            (
                "records",
                format!("{}: {} to {}", stats.records, stats.first_lsn.0, stats.last_lsn.0),
            ),
            ("batches", stats.commits.to_string()),
            (
                "segments",
                format!("{}, and {} in waiting", stats.segments, stats.spares),
            ),
            ("on disk", Bytes(stats.bytes).to_string()),
            ("snapshots at", snapshots.join(", ")),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_protocol::ids::{Attempt, WorkId, WorkerId};
    use wire_protocol::outcome::Outcome;
    use wire_protocol::record::{SettledItem, begin_settled, kind};
    use wire_protocol::units::Instant;

    #[test]
    fn a_record_is_told_with_its_position_kind_and_fields() {
        let mut payload = Vec::new();
        begin_settled(&mut payload, Instant(5), WorkerId(2));
        let item = SettledItem {
            work: WorkId(7),
            attempt: Attempt(1),
            outcome: Outcome::Failed,
            reason: Reason::ExitCode,
            exit_code: 3,
            elapsed_us: 40,
            result: b"told\xff",
        };
        item.put(&mut payload);
        let record = json_of(&Record::parse(kind::SETTLED, &payload).unwrap());
        let line = json_line(
            "journal-record",
            RecordJson {
                lsn: 9,
                epoch: 1,
                wall_us: 8,
                record,
            },
        );
        insta::assert_snapshot!(line, @r#"{"schema":"workerpool/v1/journal-record","lsn":9,"epoch":1,"wall_us":8,"record":{"at":5,"kind":"settled","worker":2,"works":[{"attempt":1,"elapsed_us":40,"exit_code":3,"outcome":"failed","reason":"exit-code","result":"told�","work":7}]}}"#);
    }

    #[test]
    fn a_new_journal_is_sound_and_empty() {
        let folder = tempfile::tempdir().unwrap();
        let storage = OsStorage::open(folder.path()).unwrap();
        let mut out = Vec::new();
        let exit = export(&storage, Lsn(1), Lsn(u64::MAX), Format::Json, &mut out).unwrap();
        assert_eq!(
            (exit, String::from_utf8(out).unwrap().as_str()),
            (Exit::Ok, "[]\n")
        );
    }
}
