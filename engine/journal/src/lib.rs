//! The journal: what the pool has promised, on disk.
//!
//! Everything that the engine acknowledges is first a record here. Records are opaque (a kind and some
//! bytes; their vocabulary is `wire_protocol::record`), have consecutive positions (*LSNs*) from 1 on, and
//! are committed in batches: one write and one `fdatasync` for all that came together while the commit
//! before was under way. From records and snapshots the engine rebuilds its state after any stop.
//!
//! # The promise
//!
//! * **What `append` returned for is durable**: it survives the process, the kernel and the power.
//! * **Nothing else appears.** A batch that was being appended when the power went is there afterwards as a
//!   whole, in its place, or not at all.
//! * **Damage is loud.** A record that was changed, is missing, comes from another journal or out of
//!   order stops [`Journal::open`] before anything is acted on, with file and byte.
//!
//! One thing cannot be seen from a single copy: an acknowledged *last* batch of which a fault turned whole
//! sectors into zeros, or of which a lying disk never wrote them, is the very picture of a batch that was
//! cut off, and is dropped like one ([`Recovery::torn`] says so). From the next commit on it would be noticed:
//! then a valid batch follows the gap. And a folder that was emptied looks like a new one.
//! Flipped bits and bytes are always noticed, wherever they are; the only files of which they do not stop a
//! start are those that hold nothing (spares are zeroed again) and a newest snapshot that an older one
//! can replace ([`Recovery::damaged_snapshots`] names it).
//!
//! # The bytes
//!
//! All numbers are little endian.
//!
//! ```text
//! folder    journal-<first lsn>.seg …   snapshot-<lsn>.snap (2)   spare-<n>.seg …   journal.lock
//!
//! segment   ┌────────┬─────────┬─────────┬──────────────┬──────┬──────────────┐   a fixed length, zeros
//! (64 MiB)  │ header │ batch 1 │ batch 2 │      …       │ seal │ zeros        │   before it is used
//!           └────────┴─────────┴─────────┴──────────────┴──────┴──────────────┘
//!             512 B    n × 512 B each      the seal is a batch header without records, written when
//!                                          the next segment exists: the journal goes on there
//!
//! segment   0 magic "PoolSeg\n"   8 crc of 12..512   12 version   14 shard   16 first lsn
//! header    24 length of the file   32 epoch at creation   36 hash of the batch before   68 zeros
//!
//! batch     ┌────────┬──────────┬──────────┬───┬──────────┬─────────┐
//!           │ header │ record 1 │ record 2 │ … │ record n │ padding │   after the header everything
//!           └────────┴──────────┴──────────┴───┴──────────┴─────────┘   is masked
//!             80 B                                          zeros up to the next sector
//!
//! batch     0 magic "PoolBat\n"   8 crc of 12..80   12 crc over the crcs of all records
//! header    16 first lsn   24 wall clock, µs   32 records   36 bytes of the records   40 epoch
//!           44 shard   46 is it a seal?   47 zero   48 BLAKE3 of the whole batch before
//!
//! record    0 crc of 4..24+n   4 n, bytes of the payload   8 lsn   16 epoch   20 kind   21 zeros
//!           24 payload
//! ```
//!
//! * **Order and completeness** follow from the chain: each batch names the hash of the one before it, each
//!   segment that of the last batch before it, a seal promises the next segment, and a snapshot
//!   names the hash of the batch that it stands on.
//! * **A payload is summed once.** The CRC in the batch header runs over the CRCs of the records.
//! * **The mask** is the hash in the batch header, repeated, XORed over the records and the padding. Without it
//!   a payload of zeros would look like a sector that was never written, and then a torn batch could not
//!   be told from a damaged one. With it, every sector that was written is visibly so.
//! * **Batches fill whole sectors**, so a torn write cannot touch the batch before it.
//!
//! How the end of a journal is judged is told in `scan`; what a start repairs, in `recovery`.
//!
//! # Who does what
//!
//! ```text
//! core thread      RecordBatch::push, push, push ──swap──►  journal thread   Journal::append (owns the journal)
//! feed, results    JournalReader::read, read_after          janitor thread   Janitor::step, retain_from
//!                  (any thread, any number)                 snapshots        SnapshotWriter::write
//! command line     verify, export, stats, repair            tests, sim       FaultStorage for OsStorage
//! start            Journal::open_and_show, a Crew that verifies, a thread that replays what is shown
//! ```
//!
//! # A full disk
//!
//! Segments are prepared ahead, and [`Config::reserve_segments`] of them are for completions only:
//! [`Headroom::intake_ok`] turns false before they are touched, and the engine then answers new submissions
//! with `busy(disk)` while what was accepted goes on to its end. [`JournalError::DiskFull`] from an
//! append is no catastrophe, nothing was written. A start writes only to files that it already has. When
//! space returns, the janitor prepares segments again and intake resumes.
//!
//! # What this deliberately does not do
//!
//! It knows no clock (the caller says when), no threads of its own, no meaning of a record, and no compression.
//! It does not survive the loss of the disk: that is what replication is for.

mod batch;
mod crew;
mod error;
mod format;
mod janitor;
mod journal;
mod names;
mod reader;
mod recovery;
mod repair;
mod scan;
mod sectors;
mod segment;
mod shared;
mod snapshot;
mod spares;
mod storage;
mod tools;
mod verified;
mod walk;
mod window;

pub use batch::RecordBatch;
pub use crew::{Crew, Job, OneByOne};
pub use error::JournalError;
pub use format::{BatchHash, OwnedRecord, PAYLOAD_BYTES_MAX, RecordView};
pub use janitor::{Janitor, Retained, Upkeep};
pub use journal::{Config, Headroom, Journal, Stats};
pub use reader::{JournalReader, Records};
pub use recovery::Recovery;
pub use repair::{Repair, repair};
pub use snapshot::{Anchor, Snapshot, SnapshotWriter};
pub use storage::{Fault, FaultStorage, File, Loss, OsStorage, Storage};
pub use tools::{Report, SegmentReport, SnapshotReport, export, snapshot, stats, verify};
pub use verified::{Shown, Verified};
pub use walk::{Damage, TornTail};
