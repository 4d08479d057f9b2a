//! Zeroed files that wait to become segments, and the room that they stand for.
//!
//! A commit into a file that was written full of zeros costs a third of one into a file that grows
//! (`fallocate` does not help: the first write of each block still changes the file's map). So segments are
//! written full of zeros ahead of time, by the [`Janitor`](crate::Janitor), and rolling over is
//! a rename. Spares are the disk-full reserve at the same time: room that nothing else can take.
//!
//! A spare is zeroed under a temporary name, synced, and only then renamed: whatever is called
//! `spare-*.seg` is zeros all through (a header may have been written to it if a crash interrupted a
//! roll-over; opening heals that).

use crate::error::JournalError;
use crate::format::{SECTOR_BYTES, ZEROS};
use crate::names;
use crate::storage::{File, Storage};
use crate::window::Window;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes zeroed and synced by one step: about a millisecond, so that a commit beside it waits little.
pub(crate) const SLICE_BYTES: u64 = 1024 * 1024;

pub(crate) struct Spare {
    pub(crate) name: String,
    pub(crate) file: Arc<dyn File>,
}

#[derive(Default)]
pub(crate) struct Spares {
    ready: Mutex<Vec<Spare>>,
    taken: Condvar,
    /// Of the next one to be made; names are never reused.
    number: AtomicU64,
}

impl Spares {
    pub(crate) fn count(&self) -> u64 {
        self.ready().len() as u64
    }

    pub(crate) fn take(&self) -> Option<Spare> {
        let spare = self.ready().pop();
        self.taken.notify_all();
        spare
    }

    pub(crate) fn put(&self, spare: Spare) {
        self.ready().push(spare);
    }

    /// Waits until one was taken, or for `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) {
        drop(self.taken.wait_timeout(self.ready(), timeout));
    }

    /// Keeps `number` and everything below from being given out.
    pub(crate) fn used(&self, number: u64) {
        // Relaxed: the number only has to be unique, it publishes nothing.
        self.number.fetch_max(number + 1, Ordering::Relaxed);
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    fn ready(&self) -> MutexGuard<'_, Vec<Spare>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A spare in the making.
pub(crate) struct Preparing {
    number: u64,
    file: Arc<dyn File>,
    zeroed: u64,
}

impl Preparing {
    /// Starts with a new file.
    pub(crate) fn create(storage: &dyn Storage, number: u64) -> Result<Self, JournalError> {
        let name = names::spare_temporary(number);
        let file = storage
            .create(&name)
            .map_err(|error| JournalError::io("creating", &name, error))?;
        Ok(Self {
            number,
            file,
            zeroed: 0,
        })
    }

    /// Starts with the file of a segment that is no longer needed. Its old name must be durably gone
    /// before a byte of it changes, or a crash would leave a damaged segment.
    pub(crate) fn recycle(storage: &dyn Storage, number: u64, segment: &str) -> Result<Self, JournalError> {
        let name = names::spare_temporary(number);
        let step =
            |result: io::Result<_>| result.map_err(|error| JournalError::io("recycling", segment, error));
        step(storage.rename(segment, &name))?;
        step(storage.sync_dir())?;
        let file = storage
            .open(&name)
            .map_err(|error| JournalError::io("opening", &name, error))?;
        Ok(Self {
            number,
            file,
            zeroed: 0,
        })
    }

    /// Zeroes and syncs one slice; the spare, when that was the last.
    pub(crate) fn step(&mut self, storage: &dyn Storage, bytes: u64) -> Result<Option<Spare>, JournalError> {
        let temporary = names::spare_temporary(self.number);
        let step =
            |result: io::Result<_>| result.map_err(|error| JournalError::io("preparing", &temporary, error));
        let upto = bytes.min(self.zeroed + SLICE_BYTES);
        step(self.file.write_zeros(self.zeroed, upto))?;
        step(self.file.sync_data())?;
        self.zeroed = upto;
        if upto < bytes {
            return Ok(None);
        }
        let name = names::spare(self.number);
        step(storage.rename(&temporary, &name))?;
        step(storage.sync_dir())?;
        Ok(Some(Spare {
            name,
            file: self.file.clone(),
        }))
    }

    /// Gives the room back. Best effort: what stays is removed by the next open.
    pub(crate) fn abandon(self, storage: &dyn Storage) {
        drop(storage.remove(&names::spare_temporary(self.number)));
    }
}

/// Makes one at once, which takes as long as the disk needs.
pub(crate) fn make(storage: &dyn Storage, number: u64, bytes: u64) -> Result<Spare, JournalError> {
    let mut preparing = Preparing::create(storage, number)?;
    loop {
        match preparing.step(storage, bytes) {
            Ok(Some(spare)) => return Ok(spare),
            Ok(None) => {}
            Err(error) => {
                preparing.abandon(storage);
                return Err(error);
            }
        }
    }
}

/// Makes sure that a spare found in the folder is zeros all through. Nothing of it was ever part of the
/// journal, so whatever else is in it may go.
pub(crate) fn heal(file: &dyn File, bytes: u64) -> io::Result<()> {
    let mut window = Window::new(file, bytes, ZEROS.len());
    let mut at = 0;
    let mut healed = false;
    while let Some(offset) = window.skip_zeros(at, SECTOR_BYTES)? {
        at = (offset + SECTOR_BYTES as u64).min(bytes);
        file.write_zeros(offset, at)?;
        healed = true;
    }
    if healed { file.sync_data() } else { Ok(()) }
}
