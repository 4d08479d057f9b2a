//! From a folder to a journal that can be appended to.
//!
//! First everything is read and judged, and only if it is found whole is anything changed:
//!
//! ```text
//! lock ─► newest whole snapshot ─► walk over all segments ─► do they fit together? ─► repairs of a crash ─► open
//!                                        └── damage ──────────────┴──► Damaged, nothing was changed
//! ```
//!
//! The repairs of a crash: zero the torn tail; write the seal of the segment before the live one, which a
//! roll-over may not have come to, and the last batch once more, and sync both (if the process before
//! stopped at a failed sync, they may be in the page cache and nowhere else, and syncing again would not
//! write them); remove
//! half-made files; zero what a roll-over wrote to a spare; sync the folder.

use crate::crew::Crew;
use crate::error::JournalError;
use crate::format::{BatchHash, BatchView, RecordView, SECTOR, SegmentHeader};
use crate::journal::{Config, Opened, found};
use crate::names::{self, Listing};
use crate::reader::JournalReader;
use crate::scan::{Chain, End, Patience, Scanned};
use crate::segment::Segment;
use crate::shared::Shared;
use crate::snapshot::{self, Anchor, Snapshot, SnapshotHeader};
use crate::spares::{self, Spare, Spares, heal};
use crate::storage::{File, Storage, read_exact_at};
use crate::verified::{Relay, Show};
use crate::walk::{Ahead, Damage, TornTail, Visit, Walk, Walked, walk};
use core::ops::ControlFlow;
use std::io;
use std::sync::Arc;
use wire_protocol::ids::{Epoch, Lsn};

/// What the journal held when it was opened: the state to start from and the records after it.
pub struct Recovery {
    /// The newest whole snapshot; `None` means to start from nothing.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The tail that was dropped, for the log: a batch that nobody had been told was accepted.
    pub torn: Option<TornTail>,
    /// Damaged snapshots that were passed over for an older one, and are now called `*.damaged`.
    pub damaged_snapshots: Vec<Damage>,
    /// The newest record.
    pub last_lsn: Lsn,
    reader: JournalReader,
}

impl Recovery {
    /// Shows the records after the snapshot to `visit`, in order and without a gap, and stops at its first
    /// error. They are read, and each batch's checksums are checked, once more; a start that has not looked yet
    /// is faster with [`Journal::open_and_show`](crate::Journal::open_and_show).
    ///
    /// # Errors
    /// Those of `visit`, and [`JournalError`] if a file changed since it was opened.
    pub fn replay<E: From<JournalError>>(
        &self,
        mut visit: impl FnMut(RecordView<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let from = self
            .snapshot
            .as_ref()
            .map_or(Lsn(1), |snapshot| snapshot.lsn.next());
        let mut failed = None;
        self.reader
            .visit(from, self.last_lsn, |record| match visit(record) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            })?;
        failed.map_or(Ok(()), Err)
    }
}

/// Opens; `crew` verifies what lies before the snapshot, and what comes after it is shown to `show`.
pub(crate) fn open<'a>(
    storage: Arc<dyn Storage>,
    config: Config,
    crew: &dyn Crew,
    show: Option<&'a mut Show<'a>>,
) -> Result<(Opened, Recovery), JournalError> {
    let lock = take_lock(&*storage)?;
    let listing = snapshot::listing(&*storage)?;
    let snapshots = newest_snapshot(&*storage, &listing)?;
    let snapshot = snapshots.0.as_ref().map(|newest| newest.snapshot.clone());
    let included = snapshot.as_ref().map_or(Lsn(0), |snapshot| snapshot.lsn);
    let ahead = Ahead::verify(&*storage, &listing.segments, included, crew);
    let mut relay = show.map(|show| Relay::begin(show, snapshot.as_ref()));
    let mut pass_on = |_: &Segment, view: &BatchView<'_>, _| {
        if let Some(relay) = &mut relay {
            relay.push(view);
        }
    };
    let Judged {
        mut walk,
        newest,
        passed_over,
        ..
    } = judge_with(&*storage, &listing, snapshots, ahead, Patience(0), &mut pass_on)?;
    if let Some(relay) = relay {
        relay.end();
    }
    check_shard(&walk, newest.as_ref(), &config)?;
    if let Some(damage) = walk.damage.take() {
        return Err(damage.into());
    }
    mend(&*storage, &walk, &listing, &passed_over)?;
    let spares = take_spares(&*storage, &listing, &config)?;
    if walk.segments.is_empty() {
        walk.segments.push(first_segment(&*storage, &spares, &config)?);
    }
    storage
        .sync_dir()
        .map_err(|error| JournalError::io("syncing", &storage.describe(), error))?;

    let Walk { segments, torn, .. } = walk;
    let (end, chain) = segments
        .last()
        .map(|last| (last.scanned.offset, last.chain))
        .expect("there is a live segment");
    let segments: Vec<_> = segments
        .into_iter()
        .map(|walked| Arc::new(walked.segment))
        .collect();
    let live = segments.last().expect("there is a live segment").clone();
    let last_lsn = Lsn(chain.next.0 - 1);
    let epoch = chain
        .epoch
        .max(snapshot.as_ref().map_or(Epoch(0), |snapshot| snapshot.epoch));
    let shared = Arc::new(Shared::new(storage, config, spares, segments));
    shared.publish(last_lsn, &live, end);
    let reader = JournalReader::new(shared.clone());
    let recovery = Recovery {
        snapshot,
        torn,
        damaged_snapshots: passed_over,
        last_lsn,
        reader,
    };
    Ok((
        Opened {
            shared,
            live,
            end,
            chain,
            epoch,
            lock,
        },
        recovery,
    ))
}

pub(crate) fn take_lock(storage: &dyn Storage) -> Result<Box<dyn Send + Sync>, JournalError> {
    storage.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => JournalError::Locked {
            folder: storage.describe(),
        },
        _ => JournalError::io("locking", &storage.describe(), error),
    })
}

/// A folder, read and judged, nothing of it changed.
pub(crate) struct Judged {
    /// Its `damage` includes what shows only when snapshots and segments are seen together.
    pub(crate) walk: Walk,
    pub(crate) newest: Option<Newest>,
    /// The damaged snapshots that are newer than `newest`.
    pub(crate) passed_over: Vec<Damage>,
    /// Whether snapshot and segments are each whole, but not of one history.
    pub(crate) mixed: bool,
}

/// The newest whole snapshot.
pub(crate) struct Newest {
    pub(crate) name: String,
    pub(crate) header: SnapshotHeader,
    snapshot: Arc<Snapshot>,
}

/// The newest whole snapshot, if there is one, and the damaged ones that are newer.
type Snapshots = (Option<Newest>, Vec<Damage>);

/// Reads and checks everything that counts in a folder.
///
/// # Errors
/// What storage answers; damage is a finding.
pub(crate) fn judge(
    storage: &dyn Storage,
    listing: &Listing,
    patience: Patience,
    visit: &mut Visit<'_>,
) -> Result<Judged, JournalError> {
    let snapshots = newest_snapshot(storage, listing)?;
    judge_with(storage, listing, snapshots, Ahead::default(), patience, visit)
}

/// [`judge`], once the snapshots are read. Nothing is visited in the segments that were verified ahead.
fn judge_with(
    storage: &dyn Storage,
    listing: &Listing,
    (newest, passed_over): Snapshots,
    ahead: Ahead,
    patience: Patience,
    visit: &mut Visit<'_>,
) -> Result<Judged, JournalError> {
    let anchor = newest.as_ref().map(|newest| newest.header.anchor);
    let mut stranger = None;
    let mut tie = |segment: &Segment, view: &BatchView<'_>, hash: BatchHash| {
        if let Some(anchor) = anchor
            && (view.header.first..=view.header.last()).contains(&anchor.lsn)
            && hash != anchor.batch_hash
        {
            stranger = Some(not_of_this_journal(segment, view.offset, anchor.lsn));
        }
        visit(segment, view, hash);
    };
    let mut walk = walk(storage, &listing.segments, ahead, patience, &mut tie)?;
    // Damage that the walk found comes first: the rest is only as good as the chain it is checked on.
    let broken = walk
        .damage
        .take()
        .or_else(|| check_start(listing, anchor, &passed_over));
    let stranger = stranger.or_else(|| check_tie(&walk, anchor));
    let mixed = broken.is_none() && stranger.is_some();
    walk.damage = broken.or(stranger).or_else(|| check_reach(&walk, anchor));
    Ok(Judged {
        walk,
        newest,
        passed_over,
        mixed,
    })
}

fn check_shard(walk: &Walk, newest: Option<&Newest>, config: &Config) -> Result<(), JournalError> {
    if let Some(first) = walk.segments.first() {
        first.segment.check_shard(config.shard)?;
    }
    match newest {
        Some(Newest { name, header, .. }) if header.shard != config.shard => {
            let what = format!("it belongs to shard {}, this is {}", header.shard, config.shard);
            Err(JournalError::Foreign {
                file: name.clone(),
                what,
            })
        }
        _ => Ok(()),
    }
}

fn newest_snapshot(storage: &dyn Storage, listing: &Listing) -> Result<Snapshots, JournalError> {
    let mut damaged = Vec::new();
    for (lsn, name) in listing.snapshots.iter().rev() {
        match snapshot::load(storage, name, *lsn)? {
            Ok((header, bytes)) => {
                let Anchor { lsn, epoch, .. } = header.anchor;
                let newest = Newest {
                    name: name.clone(),
                    header,
                    snapshot: Arc::new(Snapshot { lsn, epoch, bytes }),
                };
                return Ok((Some(newest), damaged));
            }
            Err(damage) => damaged.push(damage),
        }
    }
    Ok((None, damaged))
}

/// Whether the first segment continues what came before it, as far as that is still known.
fn check_tie(walk: &Walk, anchor: Option<Anchor>) -> Option<Damage> {
    let first = walk.segments.first()?;
    let Chain { next, prev, .. } = first.start;
    let known = match anchor {
        _ if next == Lsn(1) => BatchHash::genesis(first.segment.header.shard),
        Some(anchor) if next == anchor.lsn.next() => anchor.batch_hash,
        _ => return None,
    };
    (prev != known).then(|| not_of_this_journal(&first.segment, 0, Lsn(next.0 - 1)))
}

fn not_of_this_journal(segment: &Segment, offset: u64, lsn: Lsn) -> Damage {
    let what =
        format!("the history up to record {lsn} is not the one that comes before it: the hash differs");
    Damage {
        file: segment.name.clone(),
        offset,
        what,
    }
}

/// Whether the segments begin early enough for the state to start from.
fn check_start(listing: &Listing, anchor: Option<Anchor>, passed_over: &[Damage]) -> Option<Damage> {
    let needed = anchor.map_or(Lsn(1), |anchor| anchor.lsn.next());
    let (file, what) = match listing.segments.first() {
        Some((first, _)) if *first <= needed => return None,
        None if listing.snapshots.is_empty() => return None,
        Some((first, name)) => (name.clone(), format!("the journal starts with record {first}")),
        None => (
            names::segment(needed),
            "there are snapshots and no segment".to_owned(),
        ),
    };
    if let Some(newest) = passed_over.first() {
        let what = format!(
            "{}; {what}, so no older snapshot can stand in for it",
            newest.what
        );
        return Some(Damage {
            what,
            ..newest.clone()
        });
    }
    let what = format!("{what}, and record {needed} is missing");
    Some(Damage {
        file,
        offset: 0,
        what,
    })
}

/// Whether the segments reach as far as the snapshot, which was only ever taken of durable records.
fn check_reach(walk: &Walk, anchor: Option<Anchor>) -> Option<Damage> {
    let (last, anchor) = (walk.segments.last()?, anchor?);
    if anchor.lsn < last.chain.next {
        return None;
    }
    let what = format!(
        "the journal ends before record {}, which a snapshot includes",
        anchor.lsn
    );
    Some(Damage {
        file: last.segment.name.clone(),
        offset: last.scanned.offset,
        what,
    })
}

/// The repairs of a crash, on files that exist.
fn mend(
    storage: &dyn Storage,
    walk: &Walk,
    listing: &Listing,
    damaged_snapshots: &[Damage],
) -> Result<(), JournalError> {
    for name in &listing.temporary {
        storage
            .remove(name)
            .map_err(|error| JournalError::io("removing", name, error))?;
    }
    for Damage { file, .. } in damaged_snapshots {
        set_aside(storage, file)?;
    }
    let Some((last, earlier)) = walk.segments.split_last() else {
        return Ok(());
    };
    if let Some(before) = earlier.last() {
        mend_segment(before, |file| {
            file.write_at(before.scanned.offset, &before.seal_sector())
        })?;
    }
    mend_segment(last, |file| {
        if let End::Torn { upto } = last.scanned.end {
            file.write_zeros(last.scanned.offset, upto)?;
        }
        let Some((offset, bytes)) = last.scanned.last_batch else {
            return Ok(());
        };
        let mut batch = vec![0; usize::try_from(bytes).expect("inside the segment")];
        read_exact_at(file, offset, &mut batch)?;
        file.write_at(offset, &batch)
    })
}

fn mend_segment(
    walked: &Walked,
    write: impl FnOnce(&dyn File) -> io::Result<()>,
) -> Result<(), JournalError> {
    let Segment { name, file, .. } = &walked.segment;
    write(&**file)
        .and_then(|()| file.sync_data())
        .map_err(|error| JournalError::io("mending", name, error))
}

/// Renames a damaged file so that it is kept and no longer counts.
pub(crate) fn set_aside(storage: &dyn Storage, name: &str) -> Result<String, JournalError> {
    let failed = |error| JournalError::io("setting aside", name, error);
    let names = storage.list().map_err(failed)?;
    let aside = (0..)
        .map(|nth| names::damaged(name, nth))
        .find(|aside| !names.contains(aside));
    let aside = aside.expect("one of endlessly many names is free");
    storage.rename(name, &aside).map_err(failed)?;
    Ok(aside)
}

/// Takes stock of the spares. One of another length than segments now have is of no use.
fn take_spares(storage: &dyn Storage, listing: &Listing, config: &Config) -> Result<Spares, JournalError> {
    let spares = Spares::default();
    for (number, name) in &listing.spares {
        let failed = |error| JournalError::io("checking", name, error);
        spares.used(*number);
        let file = storage.open(name).map_err(failed)?;
        if file.size().map_err(failed)? == config.segment_bytes {
            heal(&*file, config.segment_bytes).map_err(failed)?;
            spares.put(Spare {
                name: name.clone(),
                file,
            });
        } else {
            drop(file);
            storage.remove(name).map_err(failed)?;
        }
    }
    Ok(spares)
}

/// The first segment of a new journal.
fn first_segment(storage: &dyn Storage, spares: &Spares, config: &Config) -> Result<Walked, JournalError> {
    let spare = match spares.take() {
        Some(spare) => spare,
        None => spares::make(storage, spares.next_number(), config.segment_bytes)?,
    };
    let header = SegmentHeader {
        shard: config.shard,
        first: Lsn(1),
        epoch: Epoch(0),
        bytes: config.segment_bytes,
        prev: BatchHash::genesis(config.shard),
    };
    let segment = found(storage, spare, header)?;
    let start = Chain {
        next: header.first,
        prev: header.prev,
        epoch: header.epoch,
    };
    let scanned = Scanned {
        offset: SECTOR,
        end: End::Open,
        batches: 0,
        last_batch: None,
    };
    Ok(Walked {
        segment,
        scanned,
        start,
        chain: start,
    })
}
