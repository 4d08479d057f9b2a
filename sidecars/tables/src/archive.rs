//! Files of archived events: JSON, one row of `pool_events` a line, compressed with gzip.
//!
//! A file is called by the records that it holds, `events-<first>-<last>.jsonl.gz`, and the same rows make the same
//! bytes. So a file that a crash left behind is written again under its own name, and not beside it.
//!
//! It appears whole or not at all: it is written under another name, synced and renamed, and the folder is synced. One
//! that is there is never replaced: it has the same bytes, or other events that are nowhere else, as those of another
//! pool.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use ring::digest::{Context, Digest, SHA256};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use wire_protocol::ids::Lsn;

/// An event as a line of a file says it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ArchivedEvent {
    /// The record.
    pub lsn: u64,
    /// The first work that it concerns.
    pub work: u64,
    /// How many works, from that one on.
    pub works: u64,
    /// When: UTC, microseconds since 1970.
    pub at_us: u64,
    /// The same in RFC 3339.
    pub at: String,
    /// The state from then on.
    pub state: String,
    /// Why, as a number of `pool_reasons`.
    pub reason: u16,
    /// The same in words; `None`: this database has none for it.
    pub reason_text: Option<String>,
    /// The attempt, 0: none yet.
    pub attempt: u16,
    /// On which worker, if on one.
    pub worker: Option<u32>,
}

/// A file could not be made.
#[derive(Debug, Error)]
#[error("cannot {step} {}", path.display())]
pub struct FileError {
    step: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// A file that is whole, and on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArchiveFile {
    /// Its name in the folder.
    pub name: String,
    /// The first record of which it has events.
    pub first: Lsn,
    /// The last one.
    pub last: Lsn,
    /// Its lines.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
}

/// The name of the file of these records.
pub(crate) fn name(first: Lsn, last: Lsn) -> String {
    format!("events-{}-{}.jsonl.gz", first.0, last.0)
}

/// The last record of a file in this folder that begins with `first`: the shortest, if there are several. The folder
/// need not be there.
pub(crate) fn left_behind(folder: &Path, first: Lsn) -> Result<Option<Lsn>, FileError> {
    let failed = failure("read", folder);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut shortest = None;
    for entry in entries {
        let found = entry.map_err(failure("read", folder))?.file_name();
        let last = found.to_str().and_then(|found| last_of(found, first));
        shortest = shortest.into_iter().chain(last).min();
    }
    Ok(shortest)
}

fn last_of(found: &str, first: Lsn) -> Option<Lsn> {
    let rest = found.strip_prefix("events-")?.strip_suffix(".jsonl.gz")?;
    let last = Lsn(rest.split_once('-')?.1.parse().ok()?);
    (last >= first && found == name(first, last)).then_some(last)
}

fn failure(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError { step, path, source }
}

/// A file that is being written.
pub(crate) struct ArchiveWriter {
    folder: PathBuf,
    /// Deleted if it is not finished.
    temporary: tempfile::TempPath,
    lines: GzEncoder<Hashing>,
    rows: u64,
}

impl ArchiveWriter {
    /// Begins a file in this folder, which is made if it is not there.
    pub(crate) fn create(folder: &Path) -> Result<Self, FileError> {
        fs::create_dir_all(folder).map_err(failure("make", folder))?;
        let made = tempfile::Builder::new()
            .prefix(".events-")
            .suffix(".tmp")
            .tempfile_in(folder)
            .map_err(failure("make a file in", folder))?;
        let (file, temporary) = made.into_parts();
        let hashing = Hashing {
            file: BufWriter::new(file),
            digest: Context::new(&SHA256),
            bytes: 0,
        };
        Ok(Self {
            folder: folder.to_owned(),
            temporary,
            // No time and no name in its head: the same rows make the same file.
            lines: GzBuilder::new().mtime(0).write(hashing, Compression::default()),
            rows: 0,
        })
    }

    pub(crate) fn write(&mut self, event: &ArchivedEvent) -> Result<(), FileError> {
        let mut line = serde_json::to_vec(event).expect("numbers and texts are JSON");
        line.push(b'\n');
        self.rows += 1;
        let written = self.lines.write_all(&line);
        written.map_err(failure("write", &self.temporary))
    }

    /// Makes it durable under its name. If a file of that name has other bytes, it stays, and this is an error.
    pub(crate) fn finish(self, first: Lsn, last: Lsn) -> Result<ArchiveFile, FileError> {
        let Self {
            folder,
            temporary,
            lines,
            rows,
        } = self;
        let Hashing { file, digest, bytes } = lines.finish().map_err(failure("write", &temporary))?;
        let file = file
            .into_inner()
            .map_err(|error| failure("write", &temporary)(error.into_error()))?;
        file.sync_data().map_err(failure("sync", &temporary))?;
        let name = name(first, last);
        let path = folder.join(&name);
        let digest = digest.finish();
        match temporary.persist_noclobber(&path) {
            Ok(()) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                let there = hash(&path).map_err(failure("read", &path))?;
                if there.as_ref() != digest.as_ref() {
                    let other = io::Error::other("it has other events: those of another database, or damage");
                    return Err(failure("replace", &path)(other));
                }
            }
            Err(error) => return Err(failure("rename a file to", &path)(error.error)),
        }
        sync_folder(&folder).map_err(failure("sync", &folder))?;
        Ok(ArchiveFile {
            name,
            first,
            last,
            rows,
            bytes,
            sha256: digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

fn hash(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let (mut digest, mut bytes) = (Context::new(&SHA256), vec![0; 64 * 1_024]);
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(digest.finish()),
            count => digest.update(&bytes[..count]),
        }
    }
}

/// Makes the names in a folder durable.
#[expect(
    clippy::disallowed_methods,
    reason = "names are no data of a folder on every file system, and events are deleted for the file behind this one"
)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Counts and hashes what goes to disk.
struct Hashing {
    file: BufWriter<File>,
    digest: Context,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a file says.
    pub(crate) fn read(path: &Path) -> Vec<ArchivedEvent> {
        let mut text = String::new();
        let mut lines = flate2::read::GzDecoder::new(File::open(path).expect("it is there"));
        lines.read_to_string(&mut text).expect("it is whole");
        let line = |line| serde_json::from_str(line).expect("it is an event");
        text.lines().map(line).collect()
    }

    fn event() -> ArchivedEvent {
        ArchivedEvent {
            lsn: 7,
            work: 100,
            works: 3,
            at_us: 1_709_164_799_000_250,
            at: "2024-02-28T23:59:59.000250Z".to_owned(),
            state: "failed".to_owned(),
            reason: 1,
            reason_text: Some("it \"ended\"".to_owned()),
            attempt: 2,
            worker: None,
        }
    }

    #[test]
    fn a_line_says_all_of_an_event_in_a_fixed_order() {
        let line = serde_json::to_string(&event()).expect("it is JSON");
        assert_eq!(
            line,
            r#"{"lsn":7,"work":100,"works":3,"at_us":1709164799000250,"at":"2024-02-28T23:59:59.000250Z","state":"failed","reason":1,"reason_text":"it \"ended\"","attempt":2,"worker":null}"#
        );
    }

    #[test]
    fn the_same_rows_make_the_same_file_and_one_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("made");
        let write = || {
            let mut writer = ArchiveWriter::create(&folder).expect("there is room");
            (0..1_000).for_each(|_| writer.write(&event()).expect("there is room"));
            writer
        };
        drop(write());
        assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 0);
        let first = write().finish(Lsn(7), Lsn(9)).expect("there is room");
        let again = write().finish(Lsn(7), Lsn(9)).expect("there is room");
        assert_eq!(first, again);
        assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 1);
        let path = folder.join("events-7-9.jsonl.gz");
        assert_eq!(read(&path), vec![event(); 1_000]);
        let bytes = fs::read(&path).expect("it is there");
        assert_eq!(first.bytes, bytes.len() as u64);
        let hash = ring::digest::digest(&SHA256, &bytes);
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(first.sha256, hash);

        let mut other = write();
        other.write(&event()).expect("there is room");
        let refused = other.finish(Lsn(7), Lsn(9)).expect_err("it has other events");
        assert_eq!(refused.to_string(), format!("cannot replace {}", path.display()));
        assert_eq!(fs::read(&path).expect("it is there"), bytes);
        assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 1);
    }

    #[test]
    fn a_file_that_was_left_behind_is_known_by_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let found = |first| left_behind(folder.path(), Lsn(first)).expect("it is there");
        for name in [
            "events-5-90.jsonl.gz",
            "events-5-20.jsonl.gz",
            "events-50-60.jsonl.gz",
            "events-5-7.jsonl.gz.tmp",
            "events-5-4.jsonl.gz",
            "events-5-06.jsonl.gz",
            "events-7-.jsonl.gz",
            ".events-5-6.jsonl.gz",
        ] {
            File::create(folder.path().join(name)).expect("there is room");
        }
        assert_eq!(found(5), Some(Lsn(20)));
        assert_eq!(found(50), Some(Lsn(60)));
        assert_eq!(found(7), None);
        let none = left_behind(&folder.path().join("none"), Lsn(5)).expect("none is needed");
        assert_eq!(none, None);
    }
}
