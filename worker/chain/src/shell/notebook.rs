//! Notes in a file, each durable before anything is done that rests on it.
//!
//! ```text
//!  folder/chain-notes    length u32 │ CRC32C u32 │ key, value or nothing (postcard) │ length …
//! ```
//!
//! The last note of a key counts; one without a value takes it away. Each is written behind the others and synced. A last
//! note that was torn by a kill or a loss of power was never acted upon, and is cut off. What is wrong before the end is
//! damage, and stops the start: who does not know what he has sent might send it again. When most of the file is out of
//! date it is written anew beside the old one, and takes its place.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The file's name in the worker's folder.
const NAME: &str = "chain-notes";

/// Bytes of a note; a nonce with all attempts at it has less.
const NOTE_BYTES_MAX: usize = 1 << 20;

/// Bytes above which the file is written anew, if at least half of it is out of date.
const TIDY_BYTES_MIN: u64 = 1 << 20;

/// A file of notes.
#[derive(Debug)]
pub struct Notebook {
    path: PathBuf,
    file: File,
    len: u64,
    /// Bytes that the notes would have without those that are out of date.
    live: u64,
    notes: BTreeMap<String, Vec<u8>>,
    /// A write has failed: half of it may stand at the end.
    is_dirty: bool,
}

/// Why notes cannot be had.
#[derive(Debug, Error)]
pub enum NotebookError {
    /// The file system says no.
    #[error("{path} cannot be used for notes of the chain")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was changed after it was written, or the disk is bad.
    #[error(
        "{path} is damaged at byte {at}: this worker cannot know which contributions and transactions it has under way. Move \
         the file away to start without them; contributions that are not revealed lose their stake"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
    },
}

impl Notebook {
    /// Opens the file of this folder, and reads what an earlier worker has noted.
    ///
    /// # Errors
    /// See [`NotebookError`].
    pub fn open(folder: &Path) -> Result<Self, NotebookError> {
        let path = folder.join(NAME);
        let failed = |source| NotebookError::Io {
            path: path.clone(),
            source,
        };
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(failed)?,
        };
        let (notes, whole) = read(&bytes).map_err(|at| NotebookError::Damaged {
            path: path.clone(),
            at: at as u64,
        })?;
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(failed)?;
        if whole < bytes.len() {
            tracing::warn!(
                file = %path.display(),
                bytes = bytes.len() - whole,
                "a note of the chain was not written to its end; nothing was sent that rests on it"
            );
            file.set_len(whole as u64).map_err(failed)?;
        }
        file.sync_data()
            .and_then(|()| sync_folder(folder))
            .map_err(failed)?;
        let live = notes
            .iter()
            .map(|(key, value)| item(key, Some(value)).len() as u64)
            .sum();
        Ok(Self {
            len: whole as u64,
            live,
            file,
            notes,
            is_dirty: false,
            path,
        })
    }

    /// All notes.
    pub fn notes(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.notes
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice()))
    }

    /// Notes, durably; `None` takes a note away. Costs a sync of the disk.
    ///
    /// # Errors
    /// The file system says no; the notes are as before, and another try may do better.
    pub fn put(&mut self, key: &str, value: Option<Vec<u8>>) -> io::Result<()> {
        if self.is_dirty {
            self.file.set_len(self.len)?;
            self.is_dirty = false;
        }
        let new = item(key, value.as_deref());
        self.is_dirty = true;
        self.file.write_all(&new)?;
        self.file.sync_data()?;
        self.is_dirty = false;
        self.len += new.len() as u64;
        if let Some(old) = self.notes.get(key) {
            self.live -= item(key, Some(old)).len() as u64;
        }
        match value {
            Some(value) => {
                self.live += new.len() as u64;
                self.notes.insert(key.to_owned(), value);
            }
            None => drop(self.notes.remove(key)),
        }
        if self.len >= TIDY_BYTES_MIN && self.live <= self.len / 2 {
            self.tidy()?;
        }
        Ok(())
    }

    /// Writes the file anew, without what is out of date.
    fn tidy(&mut self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let bytes: Vec<u8> = self
            .notes
            .iter()
            .flat_map(|(key, value)| item(key, Some(value)))
            .collect();
        let mut file = File::create(&new)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&new, &self.path)?;
        if let Some(folder) = self.path.parent() {
            sync_folder(folder)?;
        }
        self.file = File::options().append(true).open(&self.path)?;
        self.len = bytes.len() as u64;
        self.live = self.len;
        Ok(())
    }
}

/// The name of a file is durable once its folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_data()
}

/// A note as it stands in the file.
fn item(key: &str, value: Option<&[u8]>) -> Vec<u8> {
    let mut item = vec![0; 8];
    let item = {
        postcard::to_io(&(key, value), &mut item).expect("a vector takes all that is written to it");
        &mut item
    };
    let len = u32::try_from(item.len() - 8).expect("notes are bounded");
    let sum = crc32c::crc32c(&item[8..]);
    item[..4].copy_from_slice(&len.to_le_bytes());
    item[4..8].copy_from_slice(&sum.to_le_bytes());
    std::mem::take(item)
}

/// The notes, and how many bytes are whole. The error is where something is wrong that no torn write explains.
fn read(bytes: &[u8]) -> Result<(BTreeMap<String, Vec<u8>>, usize), usize> {
    let (mut notes, mut rest) = (BTreeMap::new(), bytes);
    while let Some((head, behind)) = rest.split_first_chunk::<8>() {
        let at = bytes.len() - rest.len();
        let (len, sum) = head.split_at(4);
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four of them"));
        let len = number(len) as usize;
        let payload = behind.get(..len).filter(|_| len <= NOTE_BYTES_MAX);
        let payload = payload.filter(|payload| len > 0 && crc32c::crc32c(payload) == number(sum));
        let Some(payload) = payload else {
            // A torn write leaves less than it meant to, or zeros, and nothing behind.
            let is_end = len <= NOTE_BYTES_MAX && len >= behind.len();
            let is_blank = rest.iter().all(|byte| *byte == 0);
            let is_torn = (is_end || is_blank) && !has_note(rest);
            return if is_torn { Ok((notes, at)) } else { Err(at) };
        };
        let (key, value): (String, Option<Vec<u8>>) = postcard::from_bytes(payload).map_err(|_| at)?;
        match value {
            Some(value) => drop(notes.insert(key, value)),
            None => drop(notes.remove(&key)),
        }
        rest = &behind[len..];
    }
    Ok((notes, bytes.len() - rest.len()))
}

/// Whether a whole note stands behind something that is none: then no torn write explains it. A torn one is short.
fn has_note(rest: &[u8]) -> bool {
    if rest.len() > NOTE_BYTES_MAX + 8 {
        return true;
    }
    (1..rest.len()).any(|start| {
        let Some((head, behind)) = rest[start..].split_first_chunk::<8>() else {
            return false;
        };
        let (len, sum) = head.split_at(4);
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four of them"));
        let payload = behind
            .get(..number(len) as usize)
            .filter(|payload| !payload.is_empty());
        payload.is_some_and(|payload| crc32c::crc32c(payload) == number(sum))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(notebook: &Notebook) -> Vec<(String, Vec<u8>)> {
        let owned = |(key, value): (&str, &[u8])| (key.to_owned(), value.to_vec());
        notebook.notes().map(owned).collect()
    }

    fn open(folder: &Path) -> Notebook {
        Notebook::open(folder).expect("own folder")
    }

    #[test]
    fn notes_are_there_again_the_last_of_each_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut notebook = open(folder.path());
        for (key, value) in [("b", Some("1")), ("a", Some("2")), ("b", Some("3")), ("a", None)] {
            let value = value.map(|value| value.as_bytes().to_vec());
            notebook.put(key, value).expect("own folder");
        }
        let left = [("b".to_owned(), b"3".to_vec())];
        assert_eq!(told(&notebook), left);
        assert_eq!(told(&open(folder.path())), left);
    }

    #[test]
    fn a_torn_end_is_cut_off_and_takes_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut notebook = open(folder.path());
        notebook.put("a", Some(b"one".to_vec())).expect("own folder");
        let whole = notebook.len as usize;
        notebook.put("b", Some(b"two".to_vec())).expect("own folder");
        let path = folder.path().join(NAME);
        let bytes = fs::read(&path).expect("it is there");
        let torn = (whole..bytes.len()).map(|end| bytes[..end].to_vec());
        let blank = [bytes[..whole].to_vec(), vec![0; 100]].concat();
        for torn in torn.chain([blank]) {
            fs::write(&path, &torn).expect("own folder");
            let mut notebook = open(folder.path());
            assert_eq!(told(&notebook), [("a".to_owned(), b"one".to_vec())]);
            notebook.put("c", Some(b"three".to_vec())).expect("own folder");
            assert_eq!(told(&open(folder.path())).len(), 2);
        }
    }

    #[test]
    fn damage_before_the_end_is_told_with_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut notebook = open(folder.path());
        notebook.put("a", Some(b"one".to_vec())).expect("own folder");
        notebook.put("b", Some(b"two".to_vec())).expect("own folder");
        let path = folder.path().join(NAME);
        let bytes = fs::read(&path).expect("it is there");
        let first = item("a", Some(b"one")).len();
        for at in 0..first {
            let mut bytes = bytes.clone();
            bytes[at] ^= 4;
            fs::write(&path, &bytes).expect("own folder");
            let error = Notebook::open(folder.path()).expect_err("it is damaged");
            assert!(error.to_string().contains("damaged at byte 0"), "{at}: {error}");
        }
    }

    #[test]
    fn a_file_that_has_become_long_is_written_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut notebook = open(folder.path());
        notebook
            .put("kept", Some(b"all the time".to_vec()))
            .expect("own folder");
        for _ in 0..40 {
            notebook.put("a", Some(vec![7; 60_000])).expect("own folder");
        }
        notebook.put("a", None).expect("own folder");
        assert!(fs::metadata(folder.path().join(NAME)).expect("it is there").len() < TIDY_BYTES_MIN + 70_000);
        assert_eq!(
            told(&open(folder.path())),
            [("kept".to_owned(), b"all the time".to_vec())]
        );
    }
}
