//! What `pool journal verify | export | stats` do: look at a folder, change nothing.
//!
//! They work on the folder of a running engine: a tail that is not whole is looked at again, and what
//! looks damaged or disappeared under way is read afresh. They also work on a damaged folder, up
//! to the damage.

use crate::error::JournalError;
use crate::format::{BatchHash, BatchView, RecordView, SECTOR};
use crate::journal::Stats;
use crate::recovery::{Judged, judge};
use crate::scan::{End, Patience};
use crate::segment::Segment;
use crate::snapshot::{self, Snapshot};
use crate::storage::Storage;
use crate::walk::{Damage, TornTail, Walk};
use std::io;
use wire_protocol::ids::{Epoch, Lsn};

/// How often to look again at a tail in motion: 100 ms in all, where a write takes microseconds.
const TAIL_LOOKS: u32 = 20;
/// How often to start over because files came or went.
const ATTEMPTS: u32 = 8;

/// One segment in a [`Report`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentReport {
    /// Its name in the folder.
    pub name: String,
    /// Its first record, or the one that it is waiting for.
    pub first_lsn: Lsn,
    /// Its last valid record; one before `first_lsn` if it has none.
    pub last_lsn: Lsn,
    /// Valid batches.
    pub batches: u64,
    /// Bytes of its header and valid batches.
    pub used_bytes: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Whether it is closed, the journal going on in another one.
    pub sealed: bool,
}

/// One snapshot in a [`Report`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotReport {
    /// Its name in the folder.
    pub name: String,
    /// The last record that it includes.
    pub lsn: Lsn,
    /// What is wrong with it, if anything.
    pub damage: Option<Damage>,
}

/// What was found in a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Segments up to the damage, in order.
    pub segments: Vec<SegmentReport>,
    /// Snapshots, oldest first.
    pub snapshots: Vec<SnapshotReport>,
    /// Zeroed segments in waiting.
    pub spares: u64,
    /// A batch that never became whole; the next start drops it.
    pub torn: Option<TornTail>,
    /// The first damage of the journal. It stops a start.
    pub damage: Option<Damage>,
    /// The highest epoch of a valid batch or segment.
    pub epoch: Epoch,
}

impl Report {
    /// Whether nothing is damaged, snapshots included. A torn tail is no damage.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.is_none() && self.snapshots.iter().all(|snapshot| snapshot.damage.is_none())
    }

    /// The oldest record kept, or the next one if there is none.
    #[must_use]
    pub fn first_lsn(&self) -> Lsn {
        self.segments.first().map_or(Lsn(1), |segment| segment.first_lsn)
    }

    /// The newest valid record.
    #[must_use]
    pub fn last_lsn(&self) -> Lsn {
        self.segments.last().map_or(Lsn(0), |segment| segment.last_lsn)
    }
}

/// Reads and checks all of a folder.
///
/// # Errors
/// [`JournalError::Io`], [`Foreign`](JournalError::Foreign); damage is in the report.
pub fn verify(storage: &dyn Storage) -> Result<Report, JournalError> {
    export(storage, Lsn(1), Lsn(0), |_| {})
}

/// Shows the records from `from` to `to` to `visit`, in order, and checks all of the folder on the way. Ends
/// at the damage, if there is any: see the report.
///
/// # Errors
/// [`JournalError::Io`], [`Foreign`](JournalError::Foreign), or [`Trimmed`](JournalError::Trimmed) if a running
/// engine deleted records faster than they were read.
pub fn export(
    storage: &dyn Storage,
    from: Lsn,
    to: Lsn,
    mut visit: impl FnMut(RecordView<'_>),
) -> Result<Report, JournalError> {
    // The next record to show; starting over does not show one twice.
    let mut next = from;
    let mut attempt = 1;
    let mut seen = None;
    loop {
        let listing = snapshot::listing(storage)?;
        if let Some((first, _)) = listing.segments.first()
            && attempt > 1
            && next > from
            && *first > next
        {
            return Err(JournalError::Trimmed {
                wanted: next,
                first: *first,
            });
        }
        let mut show = |_: &Segment, view: &BatchView<'_>, _: BatchHash| {
            let wanted = next..=to;
            for record in view.records().filter(|record| wanted.contains(&record.lsn)) {
                visit(record);
                next = record.lsn.next();
            }
        };
        let judged = judge(storage, &listing, Patience(TAIL_LOOKS), &mut show);
        // Damage counts when it is seen twice: an engine that rolls over between two looks leaves
        // the old segment seemingly without a seal.
        let in_motion = match &judged {
            Err(error) => is_missing_file(error),
            Ok(judged) => judged.walk.damage.is_some() && judged.walk.damage != seen,
        };
        if in_motion && attempt < ATTEMPTS {
            attempt += 1;
            seen = judged.ok().and_then(|judged| judged.walk.damage);
            continue;
        }
        let mut snapshots = Vec::new();
        for (lsn, name) in &listing.snapshots {
            let damage = match snapshot::load(storage, name, *lsn) {
                Ok(loaded) => loaded.err(),
                // Deleted since by a running engine.
                Err(error) if is_missing_file(&error) => continue,
                Err(error) => return Err(error),
            };
            snapshots.push(SnapshotReport {
                name: name.clone(),
                lsn: *lsn,
                damage,
            });
        }
        let Judged { walk, .. } = judged?;
        return Ok(report(walk, snapshots, listing.spares.len() as u64));
    }
}

/// The newest sound snapshot that includes no record behind `upto`. `None`: there is none.
///
/// # Errors
/// [`JournalError::Io`].
pub fn snapshot(storage: &dyn Storage, upto: Lsn) -> Result<Option<Snapshot>, JournalError> {
    let listing = snapshot::listing(storage)?;
    for (lsn, name) in listing.snapshots.iter().rev().filter(|(lsn, _)| *lsn <= upto) {
        match snapshot::load(storage, name, *lsn) {
            Ok(Ok((header, bytes))) => {
                let (lsn, epoch) = (*lsn, header.anchor.epoch);
                return Ok(Some(Snapshot { lsn, epoch, bytes }));
            }
            Ok(Err(_)) => {}
            // Deleted since by a running engine.
            Err(error) if is_missing_file(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The numbers of a folder, as [`Journal::stats`](crate::Journal::stats) gives them for an open journal;
/// `commits` counts the batches that are there. Checks everything on the way.
///
/// # Errors
/// As [`verify`], and the damage that it found.
pub fn stats(storage: &dyn Storage) -> Result<Stats, JournalError> {
    let report = verify(storage)?;
    let (first_lsn, last_lsn) = (report.first_lsn(), report.last_lsn());
    let spare_bytes = report.spares * report.segments.last().map_or(0, |segment| segment.bytes);
    let stats = Stats {
        segments: report.segments.len() as u64,
        spares: report.spares,
        bytes: report.segments.iter().map(|segment| segment.bytes).sum::<u64>() + spare_bytes,
        records: last_lsn.next().0 - first_lsn.0,
        first_lsn,
        last_lsn,
        snapshots: report.snapshots.iter().map(|snapshot| snapshot.lsn).collect(),
        commits: report.segments.iter().map(|segment| segment.batches).sum(),
    };
    report.damage.map_or(Ok(stats), |damage| Err(damage.into()))
}

fn is_missing_file(error: &JournalError) -> bool {
    matches!(error, JournalError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

fn report(walk: Walk, snapshots: Vec<SnapshotReport>, spares: u64) -> Report {
    let epoch = walk
        .segments
        .iter()
        .map(|walked| walked.chain.epoch)
        .max()
        .unwrap_or_default();
    let segments = walk.segments.into_iter().map(|walked| SegmentReport {
        first_lsn: walked.segment.first(),
        last_lsn: Lsn(walked.chain.next.0 - 1),
        batches: walked.scanned.batches,
        used_bytes: walked.scanned.offset.max(SECTOR),
        bytes: walked.segment.bytes,
        sealed: walked.scanned.end == End::Sealed,
        name: walked.segment.name,
    });
    Report {
        segments: segments.collect(),
        snapshots,
        spares,
        torn: walk.torn,
        damage: walk.damage,
        epoch,
    }
}
