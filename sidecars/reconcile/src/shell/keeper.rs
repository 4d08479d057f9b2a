//! Keeps notes in the engine's notebook.
//!
//! One write is under way at a time; what is to be noted meanwhile is gathered, of each key the last, and goes with the
//! next. So a slow engine makes larger writes and not more of them, and what waits for one that is away is bounded by what
//! there is to note.
//!
//! A write may be too large for one command. Where the follower is then goes last: an order that it has read past is durable
//! before it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use client::{Client, ClientError};
use tokio::sync::Notify;
use wire_protocol::limits::NOTES_WRITTEN_BYTES_MAX;
use wire_protocol::note::{NoteChange, WriteNotes};

use super::backoff::Backoff;
use crate::core::reconciler::{CURSOR, Effect, NOTEBOOK};

/// Bytes of one write, with room for what is around them.
const WRITE_BYTES_MAX: usize = NOTES_WRITTEN_BYTES_MAX / 2;

/// Gathers notes, and what may be done only when they are durable.
#[derive(Debug)]
pub(super) struct Keeper {
    client: Client,
    holder: u64,
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default, Debug)]
struct Waiting {
    notes: BTreeMap<String, Option<Vec<u8>>>,
    numbers: Vec<u64>,
    after: Vec<Effect>,
}

/// Notes that are durable.
#[derive(Debug)]
pub(super) struct Kept {
    /// The numbers of those that have one, see [`Effect::Note`].
    pub(super) numbers: Vec<u64>,
    /// What may be done now.
    pub(super) after: Vec<Effect>,
}

impl Keeper {
    /// Writes as this holder of the notebook.
    pub(super) fn new(client: Client, holder: u64) -> Self {
        Self {
            client,
            holder,
            waiting: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Notes, and effects that wait for them and for all notes before.
    pub(super) fn add(&self, notes: Vec<Effect>, after: Vec<Effect>) {
        if notes.is_empty() && after.is_empty() {
            return;
        }
        let mut waiting = self.waiting();
        for note in notes {
            let Effect::Note { number, key, value } = note else {
                unreachable!("only notes are noted: {note:?}");
            };
            waiting.numbers.extend((number > 0).then_some(number));
            waiting.notes.insert(key, value);
        }
        waiting.after.extend(after);
        drop(waiting);
        self.wake.notify_one();
    }

    /// Writes what waits, as soon as something does.
    ///
    /// # Errors
    /// Another has taken the notebook, or the engine refuses a note for good.
    pub(super) async fn keep(&self) -> Result<Kept, ClientError> {
        let Waiting {
            notes,
            numbers,
            after,
        } = loop {
            let waiting = std::mem::take(&mut *self.waiting());
            if !waiting.notes.is_empty() || !waiting.after.is_empty() {
                break waiting;
            }
            self.wake.notified().await;
        };
        self.write_all(notes).await?;
        Ok(Kept { numbers, after })
    }

    /// Writes all of these, however many.
    ///
    /// # Errors
    /// As [`Self::keep`].
    pub(super) async fn write_all(
        &self,
        notes: BTreeMap<String, Option<Vec<u8>>>,
    ) -> Result<(), ClientError> {
        for changes in pieces(notes) {
            self.write(changes).await?;
        }
        Ok(())
    }

    async fn write(&self, changes: Vec<NoteChange>) -> Result<(), ClientError> {
        let mut backoff = Backoff::default();
        loop {
            let written = self.client.write_notes(WriteNotes {
                notebook: NOTEBOOK.to_owned(),
                holder: self.holder,
                changes: changes.clone(),
            });
            match written.await {
                Err(error) if error.is_transient() => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "notes wait for the engine"
                    );
                    backoff.wait().await;
                }
                done => return done,
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In pieces that a command takes, the cursor in the last.
fn pieces(mut notes: BTreeMap<String, Option<Vec<u8>>>) -> Vec<Vec<NoteChange>> {
    let cursor = notes.remove_entry(CURSOR);
    let mut pieces: Vec<Vec<NoteChange>> = Vec::new();
    let mut bytes = WRITE_BYTES_MAX;
    for (key, value) in notes.into_iter().chain(cursor) {
        bytes += key.len() + value.as_ref().map_or(0, Vec::len) + 16;
        if bytes > WRITE_BYTES_MAX {
            bytes = 0;
            pieces.push(Vec::new());
        }
        let piece = pieces.last_mut().expect("just made");
        piece.push(NoteChange { key, value });
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_for_one_write_has_the_cursor_in_the_last() {
        let mut notes: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
        notes.insert(CURSOR.to_owned(), Some(vec![0; 100]));
        for number in 0..200 {
            notes.insert(format!("order/{number}"), Some(vec![0; 60_000]));
        }
        notes.insert("nonce/1".to_owned(), None);
        let count = notes.len();
        let pieces = pieces(notes);
        assert!(pieces.len() > 1);
        let last = pieces.last().and_then(|piece| piece.last()).expect("some");
        assert_eq!(last.key, CURSOR);
        assert_eq!(pieces.iter().map(Vec::len).sum::<usize>(), count);
        for changes in pieces {
            let write = WriteNotes {
                notebook: NOTEBOOK.to_owned(),
                holder: 1,
                changes,
            };
            assert_eq!(write.check(), Ok(()));
        }
    }

    #[test]
    fn nothing_makes_no_write() {
        assert!(pieces(BTreeMap::new()).is_empty());
    }
}
