//! Notes of sidecars: written durably, by one process at a time, and read when that starts. See
//! [`wire_protocol::note`].

use wire_protocol::client_link::RequestId;
use wire_protocol::codec;
use wire_protocol::ids::LinkId;
use wire_protocol::limits::{NAME_BYTES_MAX, NOTES_WRITTEN_BYTES_MAX};
use wire_protocol::note::{NotebookTaken, NotesWritten, WriteNotes, check_name};
use wire_protocol::record;
use wire_protocol::view::Reply;

use crate::effect::Effects;
use crate::event::Pressure;
use crate::handler::joining::conflict;
use crate::scheduler::Scheduler;

/// Notebooks that a pool has: a sidecar needs one or two.
const NOTEBOOKS_MAX: usize = 64;

impl Scheduler {
    pub(crate) fn take_notebook(&mut self, link: LinkId, notebook: String, effects: &mut Effects) -> Reply {
        if let Some(problem) = self.refuse_others(link, "notebook") {
            return problem;
        }
        if let Err(invalid) = check_name("notebook", &notebook) {
            return Reply::Conflict(invalid);
        }
        let before = self.notebooks.get(&notebook).map_or(0, |known| known.holder);
        if before == 0 && self.notebooks.len() >= NOTEBOOKS_MAX {
            return conflict(
                "notebook",
                format!("{NOTEBOOKS_MAX} others are there, and no more may be"),
            );
        }
        let taken = NotebookTaken {
            notebook,
            holder: before + 1,
            at: self.now,
        };
        self.record(effects, record::kind::NOTEBOOK_TAKEN, |out| {
            codec::put_control(out, &taken)
        });
        let holder = taken.holder;
        self.notebooks.take(taken);
        Reply::Notebook { holder }
    }

    /// `None`: it was told to come again.
    pub(crate) fn write_notes(
        &mut self,
        link: LinkId,
        request: RequestId,
        written: WriteNotes,
        effects: &mut Effects,
    ) -> Option<Reply> {
        if let Some(problem) = self.refuse_others(link, "notebook") {
            return Some(problem);
        }
        if let Err(invalid) = written.check() {
            return Some(Reply::Conflict(invalid));
        }
        let Some(known) = self.notebooks.get(&written.notebook) else {
            return Some(Reply::NotFound {
                what: format!("notebook {}", written.notebook),
            });
        };
        if known.holder != written.holder {
            let problem = format!(
                "is {}, and {} has taken the notebook since: another process writes it now, and this one has to stop",
                written.holder, known.holder
            );
            return Some(conflict("holder", problem));
        }
        let bytes = |change: &wire_protocol::note::NoteChange| {
            change
                .value
                .as_ref()
                .map_or(0, |value| (value.len() + NAME_BYTES_MAX) as u64)
        };
        let more: u64 = written.changes.iter().map(bytes).sum();
        let full = match self.pressure {
            Pressure::DiskFull => Some("disk"),
            Pressure::Behind => Some("journal"),
            Pressure::None => {
                let over = more > 0 && self.notebooks.bytes() + more > self.config.limits.notes_bytes_max.0;
                over.then_some("notes")
            }
        };
        if let Some(limit) = full {
            self.busy(link, request, limit, 0, effects);
            return None;
        }
        let changed = u32::try_from(written.changes.len()).expect("they fit a frame");
        let written = NotesWritten {
            at: self.now,
            written,
        };
        self.record(effects, record::kind::NOTES_WRITTEN, |out| {
            codec::put_control(out, &written)
        });
        self.notebooks.write(written).expect("its holder was compared");
        Some(Reply::Changed(changed))
    }

    pub(crate) fn list_notes(&self, link: LinkId, notebook: &str, after: &str) -> Reply {
        if let Some(problem) = self.refuse_others(link, "notebook") {
            return problem;
        }
        let Some(known) = self.notebooks.get(notebook) else {
            return Reply::NotFound {
                what: format!("notebook {notebook}"),
            };
        };
        let (notes, more) = known.page(after, NOTES_WRITTEN_BYTES_MAX);
        Reply::Notes { notes, more }
    }
}
