//! Upkeep beside the appender: preparing segments ahead, deleting old ones.

use crate::error::JournalError;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::snapshot;
use crate::spares::Preparing;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use wire_protocol::ids::Lsn;

/// What a [`Janitor::step`] came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Upkeep {
    /// All spares are there.
    Idle,
    /// A slice was done, there is more.
    Working,
    /// There is no room for another spare; what was begun was given back. Try again in a second or so.
    DiskFull,
}

/// What [`Janitor::retain_from`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Retained {
    /// Segments whose file was deleted.
    pub deleted: u64,
    /// Segments whose file will be a spare.
    pub recycled: u64,
}

/// Keeps spares in stock and throws old segments away, on a thread of its own or in the idle moments
/// of another.
///
/// ```no_run
/// # fn run(mut janitor: engine_journal::Janitor, stop: &std::sync::atomic::AtomicBool) -> Result<(), engine_journal::JournalError> {
/// use engine_journal::Upkeep;
/// while !stop.load(std::sync::atomic::Ordering::Relaxed) {
///     if janitor.step()? != Upkeep::Working {
///         janitor.wait(std::time::Duration::from_secs(1));
///     }
/// }
/// # Ok(()) }
/// ```
pub struct Janitor {
    shared: Arc<Shared>,
    preparing: Option<Preparing>,
}

impl Janitor {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            preparing: None,
        }
    }

    /// Zeroes and syncs at most 1 MiB of the next spare, if one is wanting.
    ///
    /// # Errors
    /// [`JournalError::Io`]: the disk has trouble, but nothing that was acknowledged is affected.
    pub fn step(&mut self) -> Result<Upkeep, JournalError> {
        match self.try_step() {
            Err(JournalError::DiskFull { .. }) => Ok(Upkeep::DiskFull),
            other => other,
        }
    }

    fn try_step(&mut self) -> Result<Upkeep, JournalError> {
        let shared = &*self.shared;
        let storage = &*shared.storage;
        if shared.spares.count() >= shared.config.spares_wanted() && self.preparing.is_none() {
            return Ok(Upkeep::Idle);
        }
        let mut preparing = match self.preparing.take() {
            Some(preparing) => preparing,
            None if !shared.may_grow() => return Ok(Upkeep::DiskFull),
            None => Preparing::create(storage, shared.spares.next_number())?,
        };
        match preparing.step(storage, shared.config.segment_bytes) {
            Ok(Some(spare)) => shared.spares.put(spare),
            Ok(None) => self.preparing = Some(preparing),
            Err(error) => {
                preparing.abandon(storage);
                return Err(error);
            }
        }
        Ok(Upkeep::Working)
    }

    /// Sleeps until the appender has taken a spare, but no longer than `timeout`.
    pub fn wait(&self, timeout: Duration) {
        self.shared.spares.wait(timeout);
    }

    /// Deletes the segments that nobody needs: those with no record at or above `lsn` (the lowest that a
    /// reader, say a sidecar, has yet to see) and none above the oldest kept snapshot. The older of two
    /// snapshots counts, so that a damaged newer one leaves a way to start. Never the live segment, and nothing
    /// without a snapshot. Oldest first, each one durably before the next, so that no crash leaves a gap.
    ///
    /// # Errors
    /// [`JournalError::Io`]: what is left stays part of the journal, call again.
    pub fn retain_from(&mut self, lsn: Lsn) -> Result<Retained, JournalError> {
        let mut retained = Retained::default();
        let Some(snapshot) = snapshot::oldest_kept(&*self.shared.storage)? else {
            return Ok(retained);
        };
        let keep = lsn.min(snapshot.next());
        while let Some(segment) = self.first_below(keep) {
            if self.discard(segment)? {
                retained.recycled += 1
            } else {
                retained.deleted += 1
            }
        }
        Ok(retained)
    }

    /// Takes the first segment off the list, if all its records are below `keep`. Readers that have it
    /// can go on, no other will get it.
    fn first_below(&self, keep: Lsn) -> Option<Arc<Segment>> {
        let mut segments = self.shared.segments_mut();
        let below = segments.get(1).is_some_and(|second| second.first() <= keep);
        below.then(|| segments.remove(0))
    }

    /// Recycles the file of a segment if a spare is wanting and nobody reads it, or deletes it. Returns
    /// whether it was recycled.
    fn discard(&mut self, segment: Arc<Segment>) -> Result<bool, JournalError> {
        let shared = &*self.shared;
        let storage = &*shared.storage;
        let wanting = shared.spares.count() < shared.config.spares_wanted() && self.preparing.is_none();
        if wanting
            && segment.bytes == shared.config.segment_bytes
            && Arc::strong_count(&segment) == 1
            && let Ok(preparing) = Preparing::recycle(storage, shared.spares.next_number(), &segment.name)
        {
            self.preparing = Some(preparing);
            return Ok(true);
        }
        // A recycling that failed half way has already taken the name away.
        let gone = match storage.remove(&segment.name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => storage.sync_dir(),
        };
        gone.map(|()| false).map_err(|error| {
            let failure = JournalError::io("deleting", &segment.name, error);
            // Back on the list, so that the next call tries again.
            shared.segments_mut().insert(0, segment);
            failure
        })
    }
}
