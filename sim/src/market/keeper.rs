//! Notes of the pool on their way to the engine: one write at a time, and what waits for it.

use std::collections::BTreeMap;

use sidecars_reconcile::core::reconciler::{Effect, NOTEBOOK};
use wire_protocol::client_link::RequestId;
use wire_protocol::note::{NoteChange, WriteNotes};

#[derive(Default)]
pub(super) struct Keeper {
    waiting: Gathered,
    /// What is being written, and the request of this connection.
    writing: Option<(Gathered, Option<RequestId>)>,
}

/// Notes, of each key the last, and what may be done when they are durable.
#[derive(Default)]
pub(super) struct Gathered {
    notes: BTreeMap<String, Option<Vec<u8>>>,
    pub(super) numbers: Vec<u64>,
    pub(super) after: Vec<Effect>,
}

impl Keeper {
    pub(super) fn note(&mut self, number: u64, key: String, value: Option<Vec<u8>>) {
        self.waiting.numbers.extend((number > 0).then_some(number));
        self.waiting.notes.insert(key, value);
    }

    /// What waits for all notes before.
    pub(super) fn after(&mut self, effect: Effect) {
        self.waiting.after.push(effect);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.writing.is_none() && self.waiting.is_empty()
    }

    /// What is to be written on this connection, under this request.
    pub(super) fn write(&mut self, holder: u64, request: RequestId) -> Option<WriteNotes> {
        if self.writing.is_none() && !self.waiting.is_empty() {
            self.writing = Some((std::mem::take(&mut self.waiting), None));
        }
        let (gathered, under_way) = self.writing.as_mut()?;
        if under_way.is_some() {
            return None;
        }
        *under_way = Some(request);
        let changes = gathered.notes.iter().map(|(key, value)| NoteChange {
            key: key.clone(),
            value: value.clone(),
        });
        Some(WriteNotes {
            notebook: NOTEBOOK.to_owned(),
            holder,
            changes: changes.collect(),
        })
    }

    /// The engine has them, durably.
    pub(super) fn written(&mut self) -> Gathered {
        self.writing
            .take()
            .map(|(gathered, _)| gathered)
            .unwrap_or_default()
    }

    /// It was told to come again, or the connection is gone.
    pub(super) fn again(&mut self) {
        if let Some((_, request)) = &mut self.writing {
            *request = None;
        }
    }
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.notes.is_empty() && self.after.is_empty()
    }
}
