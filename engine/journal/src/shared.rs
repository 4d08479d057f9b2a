//! What the appender shows to readers, the janitor and the snapshot writer.

use crate::format::SECTOR;
use crate::journal::{Config, Headroom};
use crate::segment::Segment;
use crate::spares::Spares;
use crate::storage::Storage;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use wire_protocol::ids::Lsn;

pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) config: Config,
    pub(crate) spares: Spares,
    /// In order, the live one last; never empty. Written when a segment comes or goes.
    segments: RwLock<Vec<Arc<Segment>>>,
    /// Release by the appender after the sync of the batch, Acquire by readers: who sees an LSN here
    /// sees the index entry and the file that it is in.
    durable: AtomicU64,
    /// Bytes that the live segment can still take; a hint, so relaxed.
    live_free: AtomicU64,
    commits: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        config: Config,
        spares: Spares,
        segments: Vec<Arc<Segment>>,
    ) -> Self {
        assert!(!segments.is_empty(), "there is always a live segment");
        Self {
            storage,
            config,
            spares,
            segments: RwLock::new(segments),
            durable: AtomicU64::new(0),
            live_free: AtomicU64::new(0),
            commits: AtomicU64::new(0),
        }
    }

    pub(crate) fn segments(&self) -> RwLockReadGuard<'_, Vec<Arc<Segment>>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn segments_mut(&self) -> RwLockWriteGuard<'_, Vec<Arc<Segment>>> {
        self.segments.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what is durable and where the live segment's valid batches end.
    pub(crate) fn publish(&self, durable: Lsn, live: &Segment, end: u64) {
        // The last sector is the seal's.
        self.live_free
            .store(live.bytes.saturating_sub(end + SECTOR), Ordering::Relaxed);
        self.durable.store(durable.0, Ordering::Release);
    }

    pub(crate) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub(crate) fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// The oldest record still kept, or the next one if there is none.
    pub(crate) fn first(&self) -> Lsn {
        self.segments()[0].first()
    }

    /// The segment that `lsn` is or will be in, and the last record that it can hold if it is not the live one.
    pub(crate) fn segment_of(&self, lsn: Lsn) -> Option<(Arc<Segment>, Option<Lsn>)> {
        let segments = self.segments();
        let nth = segments
            .partition_point(|segment| segment.first() <= lsn)
            .checked_sub(1)?;
        let last = segments.get(nth + 1).map(|next| Lsn(next.first().0 - 1));
        Some((segments[nth].clone(), last))
    }

    /// See [`JournalReader::bytes_after`](crate::JournalReader::bytes_after).
    pub(crate) fn bytes_after(&self, after: Lsn) -> u64 {
        if after >= self.durable() {
            return 0;
        }
        let next = after.next();
        let segments = self.segments();
        let first = segments
            .partition_point(|segment| segment.first() <= next)
            .saturating_sub(1);
        let there: u64 = segments[first..].iter().map(|segment| segment.bytes).sum();
        let unwritten = self.live_free.load(Ordering::Relaxed) + SECTOR;
        there.saturating_sub(segments[first].offset_before(next) + unwritten)
    }

    /// Bytes of segments and spares.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let segments: u64 = self.segments().iter().map(|segment| segment.bytes).sum();
        segments + self.spares.count() * self.config.segment_bytes
    }

    /// Whether one more segment stays within the configured bound.
    pub(crate) fn may_grow(&self) -> bool {
        self.config
            .bytes_max
            .is_none_or(|max| self.disk_bytes() + self.config.segment_bytes <= max)
    }

    pub(crate) fn headroom(&self) -> Headroom {
        let live_free = self.live_free.load(Ordering::Relaxed);
        let usable = self.config.segment_bytes - 2 * SECTOR;
        let spares = self.spares.count();
        let beside_reserve =
            live_free + spares.saturating_sub(u64::from(self.config.reserve_segments)) * usable;
        Headroom {
            intake_ok: beside_reserve >= self.config.intake_margin_bytes,
            intake_bytes: beside_reserve,
            completion_bytes: live_free + spares * usable,
        }
    }
}
