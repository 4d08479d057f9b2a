//! Reading durable records back while the appender goes on.
//!
//! A look-up costs one binary search over segments, one over the sparse index, and one read of about 64 KiB;
//! reading on costs a read per chunk. Nothing is taken from the appender but two short locks that it
//! takes itself only when a segment or an index entry is added.

use crate::error::JournalError;
use crate::format::{BatchHash, BatchHeader, BatchView, OwnedRecord, RecordView, SECTOR_BYTES};
use crate::journal::Headroom;
use crate::scan::Flaw;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::snapshot::Anchor;
use crate::window::Window;
use core::ops::ControlFlow;
use std::sync::Arc;
use wire_protocol::ids::{Epoch, Lsn};

/// Bytes of one read: an index entry's stride.
const CHUNK_BYTES: usize = 64 * 1024;

/// What threads beside the appender see of the journal. Cheap to clone.
#[derive(Clone)]
pub struct JournalReader {
    shared: Arc<Shared>,
}

/// Records that were read together, in order, in one piece of memory.
#[derive(Clone, Default, Debug)]
pub struct Records {
    payloads: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    lsn: Lsn,
    epoch: Epoch,
    kind: u8,
    wall_us: u64,
    /// Where the payload ends; it starts where the one before ends.
    end: usize,
}

impl Records {
    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The position of the last record.
    #[must_use]
    pub fn last_lsn(&self) -> Option<Lsn> {
        self.entries.last().map(|entry| entry.lsn)
    }

    /// The records in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordView<'_>> {
        let mut start = 0;
        self.entries.iter().map(
            move |&Entry {
                      lsn,
                      epoch,
                      kind,
                      wall_us,
                      end,
                  }| {
                let payload = &self.payloads[start..end];
                start = end;
                RecordView {
                    lsn,
                    epoch,
                    kind,
                    wall_us,
                    payload,
                }
            },
        )
    }

    fn push(
        &mut self,
        RecordView {
            lsn,
            epoch,
            kind,
            wall_us,
            payload,
        }: RecordView<'_>,
    ) {
        self.payloads.extend_from_slice(payload);
        self.entries.push(Entry {
            lsn,
            epoch,
            kind,
            wall_us,
            end: self.payloads.len(),
        });
    }
}

impl JournalReader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The newest durable record, as the appender last published it; 0 if there has been none.
    #[must_use]
    pub fn durable_lsn(&self) -> Lsn {
        self.shared.durable()
    }

    /// The oldest record kept, or the next one if there is none.
    #[must_use]
    pub fn first_lsn(&self) -> Lsn {
        self.shared.first()
    }

    /// How much can still be appended; may lag behind the appender by a batch.
    #[must_use]
    pub fn headroom(&self) -> Headroom {
        self.shared.headroom()
    }

    /// The record at `lsn`, or `None` if it is not durable yet.
    ///
    /// # Errors
    /// [`JournalError::Trimmed`] if it is no longer kept, [`Damaged`](JournalError::Damaged),
    /// [`Io`](JournalError::Io).
    pub fn read(&self, lsn: Lsn) -> Result<Option<OwnedRecord>, JournalError> {
        let mut found = None;
        self.visit(lsn, lsn, |record| {
            found = Some(OwnedRecord::from(record));
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// The records after `after`, up to and including `up_to` (and never beyond what is durable), until their
    /// payloads pass `bytes_max`: at least one, if there is one.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_after(&self, after: Lsn, up_to: Lsn, bytes_max: usize) -> Result<Records, JournalError> {
        let mut records = Records::default();
        self.visit(after.next(), up_to, |record| {
            records.push(record);
            if records.payloads.len() < bytes_max {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        Ok(records)
    }

    /// Bytes of segments behind the record `after`, up to the newest durable one; up to 64 KiB more than there are.
    #[must_use]
    pub fn bytes_after(&self, after: Lsn) -> u64 {
        self.shared.bytes_after(after)
    }

    /// What a snapshot at `lsn` is tied to, or `None` if the record is not durable yet.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn anchor(&self, lsn: Lsn) -> Result<Option<Anchor>, JournalError> {
        let mut found = None;
        self.visit_batches(lsn, lsn, BatchHash::of, |header, hash, _| {
            found = Some(Anchor {
                lsn,
                epoch: header.epoch,
                batch_hash: hash,
            });
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Shows the records from `from` to `up_to` to `visit`, until it breaks.
    pub(crate) fn visit(
        &self,
        from: Lsn,
        up_to: Lsn,
        mut visit: impl FnMut(RecordView<'_>) -> ControlFlow<()>,
    ) -> Result<(), JournalError> {
        self.visit_batches(
            from,
            up_to,
            |_| (),
            |_, (), view| {
                let wanted = view
                    .records()
                    .filter(|record| (from..=up_to).contains(&record.lsn));
                wanted.into_iter().try_for_each(&mut visit)
            },
        )
    }

    /// Shows the batches with records from `from` to `up_to`, each with what `digest` makes of it as it lies on disk.
    fn visit_batches<D>(
        &self,
        from: Lsn,
        up_to: Lsn,
        digest: fn(&[u8]) -> D,
        mut visit: impl FnMut(&BatchHeader, D, BatchView<'_>) -> ControlFlow<()>,
    ) -> Result<(), JournalError> {
        let up_to = up_to.min(self.shared.durable());
        let mut next = from.max(Lsn(1));
        while next <= up_to {
            let Some((segment, last)) = self.shared.segment_of(next) else {
                return Err(JournalError::Trimmed {
                    wanted: next,
                    first: self.shared.first(),
                });
            };
            let last = last.map_or(up_to, |last| last.min(up_to));
            match visit_segment(&segment, next, last, digest, &mut visit)? {
                ControlFlow::Continue(()) => next = last.next(),
                ControlFlow::Break(()) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Shows the batches of `segment` that hold records from `from` to `last`, which are all there.
fn visit_segment<D>(
    segment: &Segment,
    from: Lsn,
    last: Lsn,
    digest: fn(&[u8]) -> D,
    visit: &mut impl FnMut(&BatchHeader, D, BatchView<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, JournalError> {
    let failed = |error| JournalError::io("reading", &segment.name, error);
    let damaged = |at, what: &str| segment.damaged(&Flaw::at(at, what));
    let mut window = Window::new(&*segment.file, segment.bytes, CHUNK_BYTES);
    let mut at = segment.offset_before(from);
    let mut reached = Lsn(0);
    while reached < last {
        if at + SECTOR_BYTES as u64 > segment.bytes {
            return Err(damaged(at, "the segment ends before its last record"));
        }
        let sector = window.get(at, SECTOR_BYTES).map_err(failed)?;
        let header = BatchHeader::decode(sector)
            .filter(|header| header.records > 0 && at + header.padded_bytes() <= segment.bytes)
            .ok_or_else(|| damaged(at, "a batch header is no longer what it was"))?;
        reached = header.last();
        if reached >= from {
            let bytes = usize::try_from(header.padded_bytes()).expect("inside the segment");
            let batch = window.get(at, bytes).map_err(failed)?;
            let digest = digest(batch);
            let view = BatchView::check(header, at, batch)
                .map_err(|fault| damaged(at + fault.offset as u64, fault.what))?;
            if visit(&header, digest, view).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        at += header.padded_bytes();
    }
    Ok(ControlFlow::Continue(()))
}
