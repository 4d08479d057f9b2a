//! Checks a whole journal, segment after segment: what opening, verifying and repairing have in common.

use crate::crew::{Crew, Job};
use crate::error::JournalError;
use crate::format::{BatchHash, BatchHeader, BatchView, SECTOR_BYTES};
use crate::names;
use crate::scan::{Chain, End, Flaw, Patience, Scanned, scan};
use crate::segment::{Refusal, Segment};
use crate::storage::Storage;
use wire_protocol::ids::Lsn;

/// A batch that was being written when the power went: never acknowledged, and dropped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TornTail {
    /// The segment that ends with it.
    pub segment: String,
    /// Where it starts, in bytes from the start of the file.
    pub offset: u64,
    /// Bytes up to the last one that had arrived.
    pub bytes: u64,
}

/// A place where the journal is not what was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The segment or snapshot.
    pub file: String,
    /// Where in the file, in bytes from its start.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

impl From<Damage> for JournalError {
    fn from(damage: Damage) -> Self {
        let Damage { file, offset, what } = damage;
        Self::Damaged { file, offset, what }
    }
}

/// A segment and what was found in it.
pub(crate) struct Walked {
    pub(crate) segment: Segment,
    pub(crate) scanned: Scanned,
    /// Before its first batch.
    pub(crate) start: Chain,
    /// After its last.
    pub(crate) chain: Chain,
}

impl Walked {
    fn damage(&self, offset: u64, what: String) -> Damage {
        Damage {
            file: self.segment.name.clone(),
            offset,
            what,
        }
    }

    /// The seal that belongs behind its last batch.
    pub(crate) fn seal_sector(&self) -> [u8; SECTOR_BYTES] {
        BatchHeader::seal_sector(
            self.segment.header.shard,
            self.chain.next,
            self.chain.epoch,
            self.chain.prev,
        )
    }
}

/// What a walk found, up to the first damage.
pub(crate) struct Walk {
    pub(crate) segments: Vec<Walked>,
    pub(crate) torn: Option<TornTail>,
    pub(crate) damage: Option<Damage>,
}

/// Called with each valid batch, its segment and its hash, in order.
pub(crate) type Visit<'a> = dyn FnMut(&Segment, &BatchView<'_>, BatchHash) + 'a;

/// Segments that were opened, and perhaps scanned, before the walk comes to them.
type Opened = Result<(Segment, Option<(Scanned, Chain)>), Refusal>;

/// The leading segments, verified each on its own.
#[derive(Default)]
pub(crate) struct Ahead(Vec<Opened>);

impl Ahead {
    /// Lets `crew` verify the segments whose batches nobody wants to see: those with no record at or above `wanted`.
    pub(crate) fn verify(
        storage: &dyn Storage,
        listed: &[(Lsn, String)],
        wanted: Lsn,
        crew: &dyn Crew,
    ) -> Self {
        let unwanted = listed.windows(2).take_while(|pair| pair[1].0 <= wanted).count();
        let mut opened: Vec<Option<Opened>> = Vec::new();
        opened.resize_with(unwanted, || None);
        let jobs = opened.iter_mut().zip(listed).map(|(place, (first, name))| {
            let job = move || *place = Some(verify_alone(storage, name, *first));
            Box::new(job) as Job<'_>
        });
        crew.run(jobs.collect());
        Self(
            opened
                .into_iter()
                .map(|opened| opened.expect("a crew does all jobs"))
                .collect(),
        )
    }
}

fn open(storage: &dyn Storage, name: &str, first: Lsn) -> Opened {
    Segment::open(storage, name, first).map(|segment| (segment, None))
}

fn verify_alone(storage: &dyn Storage, name: &str, first: Lsn) -> Opened {
    let segment = Segment::open(storage, name, first)?;
    let scanned = scan_segment(&segment, Patience(0), &mut |_, _, _| {}).map_err(Refusal::Failed)?;
    Ok((segment, Some(scanned)))
}

/// What the first batch of a segment must continue, by its own header.
fn start_of(segment: &Segment) -> Chain {
    let header = segment.header;
    Chain {
        next: header.first,
        prev: header.prev,
        epoch: header.epoch,
    }
}

fn scan_segment(
    segment: &Segment,
    looks: Patience,
    visit: &mut Visit<'_>,
) -> Result<(Scanned, Chain), JournalError> {
    let mut chain = start_of(segment);
    let mut note = |view: &BatchView<'_>, hash| {
        segment.note_batch(view.header.first, view.offset);
        visit(segment, view, hash);
    };
    let scanned = scan(segment, &mut chain, looks, &mut note)
        .map_err(|error| JournalError::io("reading", &segment.name, error))?;
    Ok((scanned, chain))
}

/// Walks over the segments of `listed`, which is in order; `ahead` has what is known of the first of them. Stops at
/// the first damage.
///
/// # Errors
/// What storage answers; damage is a finding, not an error.
pub(crate) fn walk(
    storage: &dyn Storage,
    listed: &[(Lsn, String)],
    ahead: Ahead,
    patience: Patience,
    visit: &mut Visit<'_>,
) -> Result<Walk, JournalError> {
    let mut ahead = ahead.0.into_iter();
    let mut walk = Walk {
        segments: Vec::with_capacity(listed.len()),
        torn: None,
        damage: None,
    };
    let mut listed = listed.to_vec();
    let mut nth = 0;
    while let Some((first, name)) = listed.get(nth).cloned() {
        nth += 1;
        let (segment, scanned) = match ahead.next().unwrap_or_else(|| open(storage, &name, first)) {
            Ok(opened) => opened,
            Err(Refusal::Failed(error)) => return Err(error),
            Err(Refusal::Flawed(Flaw { offset, what })) => {
                walk.damage = Some(Damage {
                    file: name,
                    offset,
                    what,
                });
                return Ok(walk);
            }
        };
        if let Some(damage) = walk.gap_before(&segment) {
            walk.damage = Some(damage);
            return Ok(walk);
        }
        let start = start_of(&segment);
        // Only the last segment can be in the middle of a write.
        let looks = if nth == listed.len() {
            patience
        } else {
            Patience(0)
        };
        let (scanned, chain) = match scanned {
            Some(scanned) => scanned,
            None => scan_segment(&segment, looks, visit)?,
        };
        walk.segments.push(Walked {
            segment,
            scanned,
            start,
            chain,
        });
        walk.damage = walk.flaw_of_last();
        if walk.damage.is_some() {
            return Ok(walk);
        }
        let next = names::segment(chain.next);
        if patience.0 > 0 && nth == listed.len() && walk.ends_sealed() && storage.open(&next).is_ok() {
            // A running engine has rolled over since the folder was listed.
            listed.push((chain.next, next));
        }
    }
    walk.judge_end();
    Ok(walk)
}

impl Walk {
    /// Whether `segment` follows what came before it.
    fn gap_before(&self, segment: &Segment) -> Option<Damage> {
        let before = self.segments.last()?;
        let damage = |what| {
            Some(Damage {
                file: segment.name.clone(),
                offset: 0,
                what,
            })
        };
        if matches!(before.scanned.end, End::Torn { .. }) {
            let what = format!("a batch is incomplete although {} follows", segment.name);
            return Some(before.damage(before.scanned.offset, what));
        }
        let header = segment.header;
        if header.shard != before.segment.header.shard {
            return damage(format!("it belongs to shard {}", header.shard));
        }
        if header.first != before.chain.next {
            let what = format!(
                "it starts with record {} where {} was to follow",
                header.first, before.chain.next
            );
            return damage(format!("{what}: a segment is missing or cut off"));
        }
        if header.prev != before.chain.prev || header.epoch < before.chain.epoch {
            return damage(format!(
                "it does not continue the hash chain of {}",
                before.segment.name
            ));
        }
        None
    }

    /// Damage that shows once the segment just walked is known: its own, or a missing seal before it.
    fn flaw_of_last(&self) -> Option<Damage> {
        let (last, earlier) = self.segments.split_last()?;
        if let Some(before) = earlier.last()
            && before.scanned.end == End::Open
            && last.scanned.batches > 0
        {
            let what = format!("the seal that {} follows is missing", last.segment.name);
            return Some(before.damage(before.scanned.offset, what));
        }
        match &last.scanned.end {
            End::Damaged(Flaw { offset, what }) => Some(last.damage(*offset, what.clone())),
            _ => None,
        }
    }

    fn ends_sealed(&self) -> bool {
        self.segments
            .last()
            .is_some_and(|last| last.scanned.end == End::Sealed)
    }

    fn judge_end(&mut self) {
        if let [.., before, last] = &self.segments[..]
            && before.scanned.end == End::Open
            && last.scanned.end != End::Open
        {
            let what = format!("the seal that {} follows is missing", last.segment.name);
            self.damage = Some(before.damage(before.scanned.offset, what));
            return;
        }
        let Some(last) = self.segments.last() else { return };
        match last.scanned.end {
            End::Sealed => {
                let next = names::segment(last.chain.next);
                let what = format!("the journal goes on in {next}, which is missing");
                self.damage = Some(last.damage(last.scanned.offset, what));
            }
            End::Torn { upto } => {
                let offset = last.scanned.offset;
                self.torn = Some(TornTail {
                    segment: last.segment.name.clone(),
                    offset,
                    bytes: upto - offset,
                });
            }
            End::Open | End::Damaged(_) => {}
        }
    }
}
