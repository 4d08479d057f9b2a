//! Keeps notes in the engine's notebook.
//!
//! One write is under way at a time; what is to be noted meanwhile is gathered, of each key the last, and goes with the
//! next. So a slow engine makes larger writes and not more of them, and what waits for one that is away is bounded by what
//! there is to note.
//!
//! A write may be too large for one command. Then its pieces have an order that may be cut anywhere: see [`pieces`].

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use client::{Client, ClientError};
use tokio::sync::Notify;
use wire_hub::row::POOL;
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

/// In pieces that a command takes. Where they are more than one, what is written comes before what is removed: movements are
/// let go only when all sums have them. Where the follower is, and the pool's row, which says what was done of what the
/// operator asked for, are written at once, behind all that they rely on.
fn pieces(notes: BTreeMap<String, Option<Vec<u8>>>) -> Vec<Vec<NoteChange>> {
    let rank = |change: &NoteChange| match (change.key.as_str(), &change.value) {
        (POOL, Some(_)) => 1,
        (CURSOR, Some(_)) => 2,
        (_, Some(_)) => 0,
        (_, None) => 3,
    };
    let changes = notes.into_iter().map(|(key, value)| NoteChange { key, value });
    let mut changes: Vec<NoteChange> = changes.collect();
    changes.sort_by_key(rank);
    let last = changes.partition_point(|change| rank(change) == 0);
    let last = if changes.iter().map(bytes_of).sum::<usize>() > WRITE_BYTES_MAX {
        changes.split_off(last)
    } else {
        Vec::new()
    };
    let mut pieces = packed(changes);
    pieces.extend(packed(last));
    pieces
}

fn packed(changes: Vec<NoteChange>) -> Vec<Vec<NoteChange>> {
    let mut pieces: Vec<Vec<NoteChange>> = Vec::new();
    let mut bytes = WRITE_BYTES_MAX;
    for change in changes {
        bytes += bytes_of(&change);
        if bytes > WRITE_BYTES_MAX {
            bytes = bytes_of(&change);
            pieces.push(Vec::new());
        }
        pieces.last_mut().expect("just made").push(change);
    }
    pieces
}

fn bytes_of(change: &NoteChange) -> usize {
    change.key.len() + change.value.as_ref().map_or(0, Vec::len) + 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_for_one_write_may_be_cut_anywhere() {
        let mut notes: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
        notes.insert(CURSOR.to_owned(), Some(vec![0; 100]));
        notes.insert(POOL.to_owned(), Some(vec![0; 100]));
        for number in 0..200 {
            notes.insert(format!("order/{number}"), Some(vec![0; 60_000]));
            notes.insert(format!("open/{number}"), None);
        }
        let count = notes.len();
        let pieces = pieces(notes);
        assert!(pieces.len() > 1);
        let has = |piece: &[NoteChange], key: &str| piece.iter().any(|change| change.key == key);
        let (last, before) = pieces.split_last().expect("some");
        assert!(has(last, CURSOR) && has(last, POOL), "both at once");
        assert_eq!(last.iter().filter(|change| change.value.is_none()).count(), 200);
        let is_written = |change: &NoteChange| change.value.is_some();
        assert!(before.iter().flatten().all(is_written), "what goes, goes last");
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
    fn what_fits_is_one_write() {
        let keys = [CURSOR, POOL, "open/1", "row/day/7"];
        let notes = keys.map(|key| (key.to_owned(), (key != "open/1").then(Vec::new)));
        assert_eq!(pieces(BTreeMap::from(notes)).len(), 1);
    }

    #[test]
    fn nothing_makes_no_write() {
        assert!(pieces(BTreeMap::new()).is_empty());
    }
}
