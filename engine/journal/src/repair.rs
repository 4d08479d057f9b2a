//! What `pool journal repair` does: cut the journal at the first damage and go on from there.
//!
//! This gives up acknowledged records, so nothing but an explicit call does it, and every file
//! that loses its place is kept as `*.damaged`. What is kept is decided like this:
//!
//! ```text
//! valid records reach the newest snapshot?   yes   keep them, cut behind the last
//!                                            no    keep the snapshot, start a new segment right behind it
//! no snapshot, journal starts with record 1        keep what is valid, perhaps nothing
//! no snapshot, the beginning is missing            refuse: there is no state to start from
//! snapshot and segments of two histories           refuse: a person must say which one counts
//! ```

use crate::error::JournalError;
use crate::format::{BatchHash, SECTOR, SegmentHeader};
use crate::journal::found;
use crate::recovery::{Judged, judge, set_aside, take_lock};
use crate::scan::{End, Patience};
use crate::snapshot::{self, Anchor};
use crate::spares;
use crate::storage::{Storage, read_exact_at};
use crate::walk::{Damage, Walked};
use wire_protocol::ids::{Epoch, Lsn, Shard};

/// What [`repair`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repair {
    /// The damage at which the journal was cut; `None` if there was none and nothing was changed.
    pub cut: Option<Damage>,
    /// The newest record that is left. Those after it are lost to the engine.
    pub last_lsn: Lsn,
    /// Names under which the damaged files, and those behind them, are kept.
    pub set_aside: Vec<String>,
}

/// Cuts the journal of a folder at its first damage.
///
/// # Errors
/// [`JournalError::Locked`] while an engine runs there; [`Damaged`](JournalError::Damaged) if there is
/// no state to start from; [`DiskFull`](JournalError::DiskFull) (a copy of the damaged segment and
/// a new segment are written) or [`Io`](JournalError::Io): call again.
pub fn repair(storage: &dyn Storage) -> Result<Repair, JournalError> {
    let _lock = take_lock(storage)?;
    let listing = snapshot::listing(storage)?;
    let Judged {
        walk,
        newest,
        passed_over,
        mixed,
    } = judge(storage, &listing, Patience(0), &mut |_, _, _| {})?;
    let valid_upto = walk
        .segments
        .last()
        .map_or(Lsn(0), |last| Lsn(last.chain.next.0 - 1));
    let mut repair = Repair {
        cut: walk.damage.clone(),
        last_lsn: valid_upto,
        set_aside: Vec::new(),
    };
    let Some(damage) = walk.damage else {
        return Ok(repair);
    };
    let anchor = newest.as_ref().map(|newest| newest.header.anchor);
    let first = listing.segments.first().map(|(first, _)| *first);
    let needed = anchor.map_or(Lsn(1), |anchor| anchor.lsn.next());
    let usable = first.is_some_and(|first| first <= needed) && valid_upto.next() >= needed;
    if mixed || (!usable && anchor.is_none() && first.is_some_and(|first| first > Lsn(1))) {
        return Err(damage.into());
    }

    let kept = if usable { &walk.segments[..] } else { &[] };
    for (_, name) in listing.segments.iter().skip(kept.len()).rev() {
        repair.set_aside.push(set_aside(storage, name)?);
    }
    for Damage { file, .. } in &passed_over {
        repair.set_aside.push(set_aside(storage, file)?);
    }
    sync_dir(storage)?;
    match (kept.last(), anchor) {
        (Some(last), _) => {
            if matches!(last.scanned.end, End::Damaged(_)) {
                repair.set_aside.push(replace_by_valid_part(storage, last)?);
            } else if last.scanned.end == End::Sealed {
                let shard = last.segment.header.shard;
                start_segment(
                    storage,
                    shard,
                    last.chain.next,
                    last.chain.prev,
                    last.chain.epoch,
                    last.segment.bytes,
                )?;
            }
        }
        (
            None,
            Some(Anchor {
                lsn,
                epoch,
                batch_hash,
            }),
        ) => {
            let shard = newest.as_ref().map_or(Shard(0), |newest| newest.header.shard);
            start_segment(
                storage,
                shard,
                lsn.next(),
                batch_hash,
                epoch,
                segment_bytes(storage, &repair)?,
            )?;
            repair.last_lsn = lsn;
        }
        // The next open starts a new journal in what is now an empty folder.
        (None, None) => repair.last_lsn = Lsn(0),
    }
    Ok(repair)
}

/// Keeps a copy of a segment aside and puts one in its place that ends where the damage begins.
fn replace_by_valid_part(storage: &dyn Storage, walked: &Walked) -> Result<String, JournalError> {
    let segment = &walked.segment;
    let failed = |error| JournalError::io("cutting", &segment.name, error);
    let mut content = vec![0; usize::try_from(segment.bytes).expect("a segment fits in memory")];
    read_exact_at(&*segment.file, 0, &mut content).map_err(failed)?;

    let part = write_file(storage, &format!("{}.part", segment.name), &content)?;
    let aside = set_aside(storage, &part)?;
    sync_dir(storage)?;

    content[usize::try_from(walked.scanned.offset).expect("inside the segment")..].fill(0);
    let part = write_file(storage, &format!("{}.part", segment.name), &content)?;
    // Atomic: at no time is the segment missing.
    storage.rename(&part, &segment.name).map_err(failed)?;
    sync_dir(storage)?;
    Ok(aside)
}

/// A new, durable file; one of that name is left over from a repair that was interrupted.
fn write_file(storage: &dyn Storage, name: &str, content: &[u8]) -> Result<String, JournalError> {
    drop(storage.remove(name));
    let failed = |error| JournalError::io("writing", name, error);
    let file = storage.create(name).map_err(failed)?;
    file.write_at(0, content).map_err(failed)?;
    file.sync_data().map_err(failed)?;
    Ok(name.to_owned())
}

fn start_segment(
    storage: &dyn Storage,
    shard: Shard,
    first: Lsn,
    prev: BatchHash,
    epoch: Epoch,
    bytes: u64,
) -> Result<(), JournalError> {
    let listing = snapshot::listing(storage)?;
    let number = listing.spares.last().map_or(0, |(number, _)| number + 1);
    drop(storage.remove(&crate::names::spare_temporary(number)));
    let spare = spares::make(storage, number, bytes)?;
    found(
        storage,
        spare,
        SegmentHeader {
            shard,
            first,
            epoch,
            bytes,
            prev,
        },
    )
    .map(drop)
}

/// The length of the segments that were set aside, for the one that takes their place.
fn segment_bytes(storage: &dyn Storage, repair: &Repair) -> Result<u64, JournalError> {
    let Some(name) = repair.set_aside.first() else {
        return Ok(crate::Config::default().segment_bytes);
    };
    let size = storage.open(name).and_then(|file| file.size());
    let size = size.map_err(|error| JournalError::io("opening", name, error))?;
    let usual = crate::Config::default().segment_bytes;
    Ok(
        if size.is_multiple_of(SECTOR) && size >= crate::segment::SEGMENT_BYTES_MIN {
            size
        } else {
            usual
        },
    )
}

fn sync_dir(storage: &dyn Storage) -> Result<(), JournalError> {
    storage
        .sync_dir()
        .map_err(|error| JournalError::io("syncing", &storage.describe(), error))
}
