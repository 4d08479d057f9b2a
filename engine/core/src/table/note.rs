//! Notebooks of sidecars. What their notes say is theirs to know.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use wire_protocol::note::{Note, NotebookTaken, NotesWritten};

/// A notebook.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Notebook {
    /// Who may write.
    pub(crate) holder: u64,
    pub(crate) notes: BTreeMap<String, Vec<u8>>,
}

impl Notebook {
    /// Notes behind this key, as many as take so many bytes, at least one; and whether there are more.
    pub(crate) fn page(&self, after: &str, bytes_max: usize) -> (Vec<Note>, bool) {
        let mut bytes = 0;
        let mut page = Vec::new();
        for (key, value) in self.notes.range::<str, _>((Excluded(after), Unbounded)) {
            bytes += key.len() + value.len() + 8;
            if bytes > bytes_max && !page.is_empty() {
                return (page, true);
            }
            page.push(Note {
                key: key.clone(),
                value: value.clone(),
            });
        }
        (page, false)
    }
}

/// All notebooks.
#[derive(Default)]
pub(crate) struct Notebooks {
    list: BTreeMap<String, Notebook>,
    bytes: u64,
}

impl Notebooks {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Notebook> {
        self.list.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Notebook)> {
        self.list.iter()
    }

    /// Bytes of all keys and notes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Also in replay.
    pub(crate) fn take(&mut self, taken: NotebookTaken) {
        self.list.entry(taken.notebook).or_default().holder = taken.holder;
    }

    /// Also in replay.
    pub(crate) fn write(&mut self, written: NotesWritten) -> Result<(), String> {
        let written = written.written;
        let notebook = self.list.get_mut(&written.notebook);
        let notebook = notebook
            .filter(|notebook| notebook.holder == written.holder)
            .ok_or_else(|| format!("notebook {} is not held by {}", written.notebook, written.holder))?;
        for change in written.changes {
            let length = change.key.len() as u64;
            let before = match change.value {
                Some(value) => {
                    self.bytes += length + value.len() as u64;
                    notebook.notes.insert(change.key, value)
                }
                None => notebook.notes.remove(&change.key),
            };
            self.bytes -= before.map_or(0, |before| length + before.len() as u64);
        }
        Ok(())
    }

    /// From a snapshot.
    pub(crate) fn insert(&mut self, name: String, notebook: Notebook) {
        let bytes = notebook.notes.iter();
        self.bytes += bytes
            .map(|(key, value)| (key.len() + value.len()) as u64)
            .sum::<u64>();
        self.list.insert(name, notebook);
    }
}
