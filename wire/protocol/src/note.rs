//! Notebooks: what a sidecar must not forget, kept for it in the engine's journal.
//!
//! A notebook has a name and holds notes, each a key and some bytes that mean something to their sidecar alone. Writing is
//! durable when it is answered. Of a key only the last note is kept, so what a notebook takes is what its sidecar still
//! needs.
//!
//! One process at a time writes: whoever takes a notebook gets a number, *holder*, one higher than the last, and writes under
//! it. Who wrote before is refused from then on, also if it does not know yet that another has taken over.

use serde::{Deserialize, Serialize};

use crate::limits::{NAME_BYTES_MAX, NOTE_BYTES_MAX, NOTES_WRITTEN_BYTES_MAX};
use crate::template::Invalid;
use crate::units::Instant;

/// Notes to write, all or none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WriteNotes {
    /// The notebook.
    pub notebook: String,
    /// Who writes: the number that taking the notebook gave.
    pub holder: u64,
    /// What changes, in this order.
    pub changes: Vec<NoteChange>,
}

/// One note.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NoteChange {
    /// Which, 1 to [`NAME_BYTES_MAX`] bytes.
    pub key: String,
    /// What it says from now on, at most [`NOTE_BYTES_MAX`]; `None`: the note goes.
    pub value: Option<Vec<u8>>,
}

impl WriteNotes {
    /// Whether it is within the bounds.
    ///
    /// # Errors
    /// What is too long, or missing.
    pub fn check(&self) -> Result<(), Invalid> {
        check_name("notebook", &self.notebook)?;
        let mut bytes = 0;
        for NoteChange { key, value } in &self.changes {
            check_name("key", key)?;
            let length = value.as_ref().map_or(0, Vec::len);
            if length > NOTE_BYTES_MAX {
                return Err(Invalid {
                    field: key.clone(),
                    problem: format!("has {length} bytes; at most {NOTE_BYTES_MAX}"),
                });
            }
            bytes += key.len() + length + NoteChange::FRAMING_BYTES;
        }
        if bytes > NOTES_WRITTEN_BYTES_MAX {
            return Err(Invalid {
                field: "changes".to_owned(),
                problem: format!("take {bytes} bytes; at most {NOTES_WRITTEN_BYTES_MAX} at once"),
            });
        }
        Ok(())
    }
}

impl NoteChange {
    /// Bytes that a change takes beside its key and its value, at most.
    const FRAMING_BYTES: usize = 8;
}

/// Whether a notebook or a key may have this name.
///
/// # Errors
/// It is empty or too long.
pub fn check_name(field: &str, name: &str) -> Result<(), Invalid> {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) {
        return Ok(());
    }
    Err(Invalid {
        field: field.to_owned(),
        problem: format!("has {} bytes; 1 to {NAME_BYTES_MAX}", name.len()),
    })
}

/// A note, as a page of a notebook has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Note {
    /// Which.
    pub key: String,
    /// What it says.
    pub value: Vec<u8>,
}

/// A notebook was taken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NotebookTaken {
    /// Which.
    pub notebook: String,
    /// By whom: who writes under another number is refused.
    pub holder: u64,
    /// When.
    pub at: Instant,
}

/// Notes were written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NotesWritten {
    /// When.
    pub at: Instant,
    /// What.
    pub written: WriteNotes,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(changes: Vec<NoteChange>) -> WriteNotes {
        WriteNotes {
            notebook: "chain".to_owned(),
            holder: 1,
            changes,
        }
    }

    fn change(key: &str, bytes: usize) -> NoteChange {
        NoteChange {
            key: key.to_owned(),
            value: Some(vec![0xff; bytes]),
        }
    }

    #[test]
    fn what_is_within_the_bounds_fits_a_record() {
        let mut changes: Vec<NoteChange> = Vec::new();
        while write(changes.clone()).check().is_ok() {
            changes.push(change("k", 1_000));
        }
        changes.pop();
        let largest = NotesWritten {
            at: Instant(u64::MAX),
            written: WriteNotes {
                notebook: "n".repeat(NAME_BYTES_MAX),
                holder: u64::MAX,
                changes,
            },
        };
        assert_eq!(largest.written.check(), Ok(()));
        let mut out = Vec::new();
        crate::codec::put_control(&mut out, &largest);
        assert!(out.len() <= crate::limits::RECORD_BYTES_MAX, "{}", out.len());
    }

    #[test]
    fn what_is_beyond_them_is_named() {
        let field = |changes| write(changes).check().unwrap_err().field;
        assert_eq!(field(vec![change("", 1)]), "key");
        assert_eq!(field(vec![change("big", NOTE_BYTES_MAX + 1)]), "big");
        assert_eq!(field(vec![change("k", NOTE_BYTES_MAX); 20]), "changes");
        assert_eq!(write(vec![change("k", NOTE_BYTES_MAX)]).check(), Ok(()));
    }
}
