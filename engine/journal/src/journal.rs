//! The journal as its one writer sees it.

use crate::batch::{Place, RecordBatch};
use crate::crew::{Crew, OneByOne};
use crate::error::JournalError;
use crate::format::{BatchHeader, SECTOR, SegmentHeader};
use crate::janitor::Janitor;
use crate::names;
use crate::reader::JournalReader;
use crate::recovery::{self, Recovery};
use crate::scan::Chain;
use crate::segment::{SEGMENT_BYTES_MIN, Segment};
use crate::shared::Shared;
use crate::snapshot::{self, SnapshotWriter};
use crate::spares::{self, Spare};
use crate::storage::Storage;
use crate::verified::{Show, Shown};
use std::sync::Arc;
use wire_protocol::ids::{Epoch, Lsn, Shard};

/// Pages of the page cache.
const PAGE: u64 = 4096;

/// How a journal is laid out. Lengths hold for new segments; existing ones keep theirs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose journal it is. A folder of another shard is refused.
    pub shard: Shard,
    /// Bytes of a segment: a multiple of 512, from 4096 on. Default 64 MiB: a roll-over every few
    /// seconds at full load, and a second of zeroing for the janitor.
    pub segment_bytes: u64,
    /// Zeroed segments kept for completions when the disk is full. Default 1. 0 means that a full
    /// disk stops completions together with intake.
    pub reserve_segments: u32,
    /// Zeroed segments kept beside the reserve, so that a roll-over does not wait. Default 1.
    pub ahead_segments: u32,
    /// Intake is refused when less than this is left beside the reserve. It has to cover the intake that is
    /// accepted before the refusal is seen. Default 4 MiB.
    pub intake_margin_bytes: u64,
    /// Bound on the bytes of all segments and spares; reaching it is the same as a full disk. `None`, the
    /// default, leaves the bound to the disk.
    pub bytes_max: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shard: Shard(0),
            segment_bytes: 64 * 1024 * 1024,
            reserve_segments: 1,
            ahead_segments: 1,
            intake_margin_bytes: 4 * 1024 * 1024,
            bytes_max: None,
        }
    }
}

impl Config {
    fn check(&self) {
        let bytes = self.segment_bytes;
        assert!(
            bytes >= SEGMENT_BYTES_MIN && bytes.is_multiple_of(SECTOR),
            "segment_bytes = {bytes}"
        );
        assert!(
            u32::try_from(bytes).is_ok(),
            "segment_bytes = {bytes}: batches count in 32 bits"
        );
    }

    pub(crate) fn spares_wanted(&self) -> u64 {
        u64::from(self.reserve_segments) + u64::from(self.ahead_segments)
    }
}

/// How much the journal can still take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Headroom {
    /// Whether new submissions may be accepted; if not, the answer to them is `busy(disk)`.
    pub intake_ok: bool,
    /// Bytes of batches until the reserve is touched.
    pub intake_bytes: u64,
    /// Bytes of batches until [`JournalError::DiskFull`], the reserve included.
    pub completion_bytes: u64,
}

/// Numbers about a journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Segments, the live one included.
    pub segments: u64,
    /// Zeroed segments in waiting.
    pub spares: u64,
    /// Bytes of both on disk.
    pub bytes: u64,
    /// Records in the segments.
    pub records: u64,
    /// The oldest record kept, or the next one if there is none.
    pub first_lsn: Lsn,
    /// The newest durable record; one before `first_lsn` if there is none.
    pub last_lsn: Lsn,
    /// Positions of the snapshots, oldest first.
    pub snapshots: Vec<Lsn>,
    /// Commits since the journal was opened.
    pub commits: u64,
}

/// An open journal: the only one who appends.
///
/// Belongs to one thread, the journal thread. What others may see and do goes through [`JournalReader`],
/// [`Janitor`] and [`SnapshotWriter`].
///
/// ```text
///            append: synced                    a write or sync fails
///  Open ───────────────────────► Open   Open ─────────────────────────► Poisoned (for good)
///            append: no room
///  Open ───────────────────────► Open, nothing written, DiskFull
/// ```
pub struct Journal {
    shared: Arc<Shared>,
    live: Arc<Segment>,
    /// Where the next batch goes in the live segment.
    end: u64,
    chain: Chain,
    epoch: Epoch,
    poison: Option<JournalError>,
    _lock: Box<dyn Send + Sync>,
}

/// What `recovery` found, from which the writer goes on.
pub(crate) struct Opened {
    pub(crate) shared: Arc<Shared>,
    pub(crate) live: Arc<Segment>,
    pub(crate) end: u64,
    pub(crate) chain: Chain,
    pub(crate) epoch: Epoch,
    pub(crate) lock: Box<dyn Send + Sync>,
}

impl Journal {
    /// Opens the journal in a folder, or starts one in an empty folder, and takes the folder for this process.
    ///
    /// All of it is read and checked before this returns: about 1 s for 1–2 GB. A torn tail is cut off
    /// and zeroed; the last batch is written and synced again, because the process before this one may
    /// have stopped at a failed sync. On an existing folder nothing is written beyond files that are
    /// already there, so a full disk does not matter.
    ///
    /// # Errors
    /// [`JournalError::Locked`], [`Damaged`](JournalError::Damaged), [`Foreign`](JournalError::Foreign),
    /// [`DiskFull`](JournalError::DiskFull) (only in an empty folder) or [`Io`](JournalError::Io).
    ///
    /// # Panics
    /// If `config` is out of its ranges.
    pub fn open(storage: Arc<dyn Storage>, config: Config) -> Result<(Self, Recovery), JournalError> {
        Self::open_with(storage, config, &OneByOne, None)
    }

    /// As [`open`](Self::open), and shows the snapshot and the records after it to `show` while they are read, so
    /// that a state can be rebuilt in one pass. Each is verified before it is shown. The state counts only if
    /// this returns a journal: damage may come after what was shown. `crew` verifies the segments before the
    /// snapshot, of which nothing is shown.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Panics
    /// As [`open`](Self::open).
    pub fn open_and_show(
        storage: Arc<dyn Storage>,
        config: Config,
        crew: &dyn Crew,
        show: &mut dyn FnMut(Shown<'_>),
    ) -> Result<(Self, Recovery), JournalError> {
        Self::open_with(storage, config, crew, Some(show))
    }

    fn open_with<'a>(
        storage: Arc<dyn Storage>,
        config: Config,
        crew: &dyn Crew,
        show: Option<&'a mut Show<'a>>,
    ) -> Result<(Self, Recovery), JournalError> {
        config.check();
        let (opened, recovery) = recovery::open(storage, config, crew, show)?;
        let Opened {
            shared,
            live,
            end,
            chain,
            epoch,
            lock,
        } = opened;
        let journal = Self {
            shared,
            live,
            end,
            chain,
            epoch,
            poison: None,
            _lock: lock,
        };
        journal.publish();
        Ok((journal, recovery))
    }

    /// Commits a batch: when this returns, its records are durable. One write and one `fdatasync`.
    ///
    /// `first_lsn` is the position of the first record, `wall_us` the wall clock in microseconds since 1970,
    /// kept for people. Returns the position of the last record, and clears the batch. An empty batch
    /// commits nothing.
    ///
    /// # Errors
    /// [`JournalError::DiskFull`]: nothing was written, the batch is as it was, try again later. Any
    /// other [`Io`](JournalError::Io) likewise. [`JournalError::Poisoned`]: it is unknown whether the batch is
    /// durable; this and every later call return the same, and the process must stop.
    ///
    /// # Panics
    /// If `first_lsn` is not [`next_lsn`](Self::next_lsn), if no epoch was begun, or if the batch is larger than
    /// [`batch_bytes_max`](Self::batch_bytes_max): each is a bug of the caller.
    pub fn append(
        &mut self,
        batch: &mut RecordBatch,
        first_lsn: Lsn,
        wall_us: u64,
    ) -> Result<Lsn, JournalError> {
        if let Some(poison) = &self.poison {
            return Err(poison.clone());
        }
        assert_eq!(first_lsn, self.chain.next, "a gap or a repeat in the journal");
        assert_ne!(self.epoch, Epoch(0), "begin_epoch comes before the first append");
        assert!(
            batch.bytes() <= self.batch_bytes_max(),
            "a batch of {} bytes",
            batch.bytes()
        );
        if batch.is_empty() {
            return Ok(self.durable_lsn());
        }
        if self.end + batch.bytes() + SECTOR > self.live.bytes {
            let spare = self.spare()?;
            self.roll_over(spare)
                .inspect_err(|error| self.poison = Some(error.clone()))?;
        }
        self.commit(batch, wall_us)
            .inspect_err(|error| self.poison = Some(error.clone()))
    }

    fn commit(&mut self, batch: &mut RecordBatch, wall_us: u64) -> Result<Lsn, JournalError> {
        let first = self.chain.next;
        let last = Lsn(first.0 + u64::from(batch.len()) - 1);
        let shard = self.shared.config.shard;
        let hash = batch.encode(Place {
            first,
            wall_us,
            epoch: self.epoch,
            shard,
            prev: self.chain.prev,
        });
        let bytes = batch.encoded().len() as u64;
        let end = self.end + bytes;
        // Whole pages, zeros over zeros: a page that is written in part and not in memory would first be read.
        let upto = end.next_multiple_of(PAGE).min(self.live.bytes);
        let padded = batch.encoded_with_zeros(usize::try_from(upto - self.end).expect("it fits a segment"));
        let file = &self.live.file;
        file.write_at(self.end, padded)
            .map_err(|error| JournalError::poison("writing", &self.live.name, error))?;
        file.sync_data()
            .map_err(|error| JournalError::poison("syncing", &self.live.name, error))?;
        self.live.note_batch(first, self.end);
        self.end = end;
        self.chain = Chain {
            next: last.next(),
            prev: hash,
            epoch: self.epoch,
        };
        self.shared.count_commit();
        self.publish();
        batch.clear();
        Ok(last)
    }

    /// A zeroed file, made on the spot if the janitor has not kept up.
    fn spare(&self) -> Result<Spare, JournalError> {
        let shared = &self.shared;
        if let Some(spare) = shared.spares.take() {
            return Ok(spare);
        }
        if !shared.may_grow() {
            return Err(JournalError::DiskFull {
                what: "another segment",
            });
        }
        spares::make(
            &*shared.storage,
            shared.spares.next_number(),
            shared.config.segment_bytes,
        )
    }

    /// Makes `spare` the live segment. Its header is durable before its name, and its name before the
    /// seal of the old one, which says that it must exist.
    fn roll_over(&mut self, spare: Spare) -> Result<(), JournalError> {
        let storage = &*self.shared.storage;
        let header = self.next_header(self.epoch);
        let seal = BatchHeader::seal_sector(header.shard, header.first, self.chain.epoch, header.prev);
        let segment = found(storage, spare, header)?;
        let old = &self.live;
        old.file
            .write_at(self.end, &seal)
            .map_err(|error| JournalError::poison("sealing", &old.name, error))?;
        old.file
            .sync_data()
            .map_err(|error| JournalError::poison("sealing", &old.name, error))?;
        self.live = Arc::new(segment);
        self.end = SECTOR;
        self.shared.segments_mut().push(self.live.clone());
        self.publish();
        Ok(())
    }

    fn next_header(&self, epoch: Epoch) -> SegmentHeader {
        let config = &self.shared.config;
        let Chain {
            next: first, prev, ..
        } = self.chain;
        SegmentHeader {
            shard: config.shard,
            first,
            epoch,
            bytes: config.segment_bytes,
            prev,
        }
    }

    fn publish(&self) {
        self.shared.publish(self.durable_lsn(), &self.live, self.end);
    }

    /// The position that the next record gets.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        self.chain.next
    }

    /// The last record that is durable; 0 if there has been none.
    #[must_use]
    pub fn durable_lsn(&self) -> Lsn {
        Lsn(self.chain.next.0 - 1)
    }

    /// The epoch of the batches to come: the highest that the journal mentions, until
    /// [`begin_epoch`](Self::begin_epoch). 0 if it mentions none.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Raises the epoch by one, as each start and takeover does; the batches to come carry it. It is
    /// durable with the first of them.
    pub fn begin_epoch(&mut self) -> Epoch {
        self.epoch = Epoch(self.epoch.0 + 1);
        self.epoch
    }

    /// The most that [`RecordBatch::bytes`] may be: what a segment holds beside its header and seal.
    /// Does not fall while the journal is open.
    #[must_use]
    pub fn batch_bytes_max(&self) -> u64 {
        self.live.bytes.min(self.shared.config.segment_bytes) - 2 * SECTOR
    }

    /// How much can still be appended.
    #[must_use]
    pub fn headroom(&self) -> Headroom {
        self.shared.headroom()
    }

    /// A handle for other threads to read durable records with.
    #[must_use]
    pub fn reader(&self) -> JournalReader {
        JournalReader::new(self.shared.clone())
    }

    /// The handle of the thread that prepares segments and deletes old ones. Take one only.
    #[must_use]
    pub fn janitor(&self) -> Janitor {
        Janitor::new(self.shared.clone())
    }

    /// The handle of the thread that writes snapshots.
    #[must_use]
    pub fn snapshot_writer(&self) -> SnapshotWriter {
        SnapshotWriter::new(self.shared.storage.clone(), self.shared.config.shard)
    }

    /// Numbers for people and metrics; lists the folder, so not for every commit.
    ///
    /// # Errors
    /// [`JournalError::Io`] when the folder cannot be listed.
    pub fn stats(&self) -> Result<Stats, JournalError> {
        let shared = &self.shared;
        let first_lsn = shared.first();
        Ok(Stats {
            segments: shared.segments().len() as u64,
            spares: shared.spares.count(),
            bytes: shared.disk_bytes(),
            records: self.chain.next.0 - first_lsn.0,
            first_lsn,
            last_lsn: self.durable_lsn(),
            snapshots: snapshot::positions(&*shared.storage)?,
            commits: shared.commits(),
        })
    }
}

/// Turns a spare into the segment that `header` describes, durably: header first, then the name.
pub(crate) fn found(
    storage: &dyn Storage,
    spare: Spare,
    header: SegmentHeader,
) -> Result<Segment, JournalError> {
    let name = names::segment(header.first);
    let poison = |error| JournalError::poison("starting", &name, error);
    spare.file.write_at(0, &header.encode()).map_err(poison)?;
    spare.file.sync_data().map_err(poison)?;
    storage.rename(&spare.name, &name).map_err(poison)?;
    storage.sync_dir().map_err(poison)?;
    Ok(Segment::new(name, spare.file, header))
}
