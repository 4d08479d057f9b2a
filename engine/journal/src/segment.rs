//! One segment file: its header, its place in the order, and a sparse index of its batches.

use crate::error::JournalError;
use crate::format::{HeaderFault, SECTOR, SECTOR_BYTES, SegmentHeader};
use crate::scan::Flaw;
use crate::storage::{File, Storage, read_exact_at};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wire_protocol::ids::{Lsn, Shard};

/// One entry of the index for about so many bytes: a look-up reads this much, and 64 MiB of journal
/// cost 16 KiB of memory.
const INDEX_STRIDE: u64 = 64 * 1024;

/// Smaller ones hold too little beside their two own sectors.
pub(crate) const SEGMENT_BYTES_MIN: u64 = 4096;

pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) file: Arc<dyn File>,
    pub(crate) header: SegmentHeader,
    pub(crate) bytes: u64,
    index: Mutex<Vec<Indexed>>,
}

#[derive(Clone, Copy)]
struct Indexed {
    first: Lsn,
    offset: u64,
}

/// Why a file could not be taken as a segment.
pub(crate) enum Refusal {
    Failed(JournalError),
    Flawed(Flaw),
}

impl Segment {
    pub(crate) fn new(name: String, file: Arc<dyn File>, header: SegmentHeader) -> Self {
        Self {
            name,
            file,
            bytes: header.bytes,
            header,
            index: Mutex::new(Vec::new()),
        }
    }

    /// Opens the segment that is called `name` because it starts with `first`.
    pub(crate) fn open(storage: &dyn Storage, name: &str, first: Lsn) -> Result<Self, Refusal> {
        let failed = |error| Refusal::Failed(JournalError::io("opening", name, error));
        let flawed = |offset, what: String| Err(Refusal::Flawed(Flaw::at(offset, what)));
        let file = storage.open(name).map_err(failed)?;
        let size = file.size().map_err(failed)?;
        if size < SECTOR {
            return flawed(size, "the file ends inside the segment header".to_owned());
        }
        let mut sector = [0; SECTOR_BYTES];
        read_exact_at(&*file, 0, &mut sector).map_err(failed)?;
        let header = match SegmentHeader::decode(&sector) {
            Ok(header) => header,
            Err(HeaderFault::Damaged(what)) => return flawed(0, what.to_owned()),
            Err(HeaderFault::Version(version)) => {
                let what = format!("it has format version {version}, this program reads version 1");
                return Err(Refusal::Failed(JournalError::Foreign {
                    file: name.to_owned(),
                    what,
                }));
            }
        };
        if header.first != first {
            return flawed(
                0,
                format!("its header says that it starts with record {}", header.first),
            );
        }
        if header.bytes != size {
            // A segment gets its name after it was written and synced in full: no crash shortens it.
            return flawed(
                size.min(header.bytes),
                format!("the file has {size} bytes and was made with {}", header.bytes),
            );
        }
        if size < SEGMENT_BYTES_MIN || !size.is_multiple_of(SECTOR) {
            return flawed(0, format!("{size} bytes are no length of a segment"));
        }
        Ok(Self::new(name.to_owned(), file, header))
    }

    pub(crate) fn check_shard(&self, shard: Shard) -> Result<(), JournalError> {
        if self.header.shard == shard {
            return Ok(());
        }
        let what = format!("it belongs to shard {}, this is {shard}", self.header.shard);
        Err(JournalError::Foreign {
            file: self.name.clone(),
            what,
        })
    }

    pub(crate) fn first(&self) -> Lsn {
        self.header.first
    }

    /// Tells the index of a batch; it keeps one per [`INDEX_STRIDE`].
    pub(crate) fn note_batch(&self, first: Lsn, offset: u64) {
        let mut index = self.index();
        if index
            .last()
            .is_none_or(|last| offset - last.offset >= INDEX_STRIDE)
        {
            index.push(Indexed { first, offset });
        }
    }

    /// Where to start reading for `lsn`: a batch at or before it.
    pub(crate) fn offset_before(&self, lsn: Lsn) -> u64 {
        let index = self.index();
        let after = index.partition_point(|entry| entry.first <= lsn);
        after.checked_sub(1).map_or(SECTOR, |nth| index[nth].offset)
    }

    pub(crate) fn damaged(&self, flaw: &Flaw) -> JournalError {
        JournalError::Damaged {
            file: self.name.clone(),
            offset: flaw.offset,
            what: flaw.what.clone(),
        }
    }

    fn index(&self) -> MutexGuard<'_, Vec<Indexed>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
