//! Records that a start has verified, on their way to whoever rebuilds a state from them.
//!
//! A start reads the journal once: what the walk over the segments finds whole is shown at once, in blocks, while the
//! walk goes on behind it. A block owns its bytes, so a shell may swap it for an empty one and apply it on another
//! thread; verifying and applying then cost the longer of the two and not their sum.
//!
//! ```text
//!  walk:    read, hash, sums ─► block ─► show ──swap──► another thread: Scheduler::replay
//!             ▲                                              │
//!             └──────────────── emptied blocks ◄─────────────┘
//! ```
//!
//! What was shown is verified up to its own place and no further. A state that was built from it counts only once the
//! journal is open: damage that comes later in the journal, or a history that does not fit the snapshot, is found
//! later.

use crate::format::{BatchView, RecordView};
use crate::snapshot::Snapshot;
use std::sync::Arc;
use wire_protocol::ids::Lsn;

/// Bytes of records after which a block is shown: small enough for the cache of the core that applies it, large
/// enough that handing it over (~10 µs when the other side sleeps) is nothing beside its thousands of records.
const BLOCK_BYTES: usize = 256 * 1024;

/// Something that a start has verified.
pub enum Shown<'a> {
    /// The state to start from. Comes first, if there is one.
    Snapshot(&'a Arc<Snapshot>),
    /// The records after it, in order and without a gap, a block at a time. May be taken by swapping it for an empty
    /// one; what is left in it is forgotten.
    Records(&'a mut Verified),
}

/// What a start shows things to.
pub(crate) type Show<'a> = dyn FnMut(Shown<'_>) + 'a;

/// A block of consecutive records.
#[derive(Default)]
pub struct Verified {
    batches: Vec<Part>,
    bytes: Vec<u8>,
}

/// The records of one batch.
struct Part {
    records: u32,
    /// Records at its beginning that the snapshot includes.
    skip: u32,
    /// Where they end in the bytes; they start where those of the batch before end.
    end: usize,
    wall_us: u64,
}

impl Verified {
    /// The records in order.
    pub fn records(&self) -> impl Iterator<Item = RecordView<'_>> {
        let mut start = 0;
        self.batches.iter().flat_map(move |part| {
            let bytes = &self.bytes[start..part.end];
            start = part.end;
            RecordView::all_of(bytes, part.records, part.wall_us).skip(part.skip as usize)
        })
    }

    /// Forgets the records, keeps the memory.
    pub fn clear(&mut self) {
        self.batches.clear();
        self.bytes.clear();
    }

    fn push(&mut self, view: &BatchView<'_>, skip: u32) {
        self.bytes.extend_from_slice(view.body());
        self.batches.push(Part {
            records: view.header.records,
            skip,
            end: self.bytes.len(),
            wall_us: view.header.wall_us,
        });
    }
}

/// Collects verified batches into blocks and shows them.
pub(crate) struct Relay<'a> {
    show: &'a mut Show<'a>,
    /// The last record that the snapshot includes.
    included: Lsn,
    block: Verified,
}

impl<'a> Relay<'a> {
    /// Shows the snapshot.
    pub(crate) fn begin(show: &'a mut Show<'a>, snapshot: Option<&Arc<Snapshot>>) -> Self {
        if let Some(snapshot) = snapshot {
            show(Shown::Snapshot(snapshot));
        }
        Self {
            show,
            included: snapshot.map_or(Lsn(0), |snapshot| snapshot.lsn),
            block: Verified::default(),
        }
    }

    pub(crate) fn push(&mut self, view: &BatchView<'_>) {
        if view.header.last() <= self.included {
            return;
        }
        let skip = self.included.next().0.saturating_sub(view.header.first.0);
        let skip = u32::try_from(skip).expect("fewer than the batch has");
        self.block.push(view, skip);
        if self.block.bytes.len() >= BLOCK_BYTES {
            self.flush();
        }
    }

    pub(crate) fn end(mut self) {
        if !self.block.batches.is_empty() {
            self.flush();
        }
    }

    fn flush(&mut self) {
        (self.show)(Shown::Records(&mut self.block));
        self.block.clear();
    }
}
