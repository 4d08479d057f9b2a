//! Reads one segment from front to back, checks all of it, and tells a torn tail from damage.
//!
//! # Torn or damaged
//!
//! An append is one write and one `fdatasync`, and the next append comes after it. So a power cut can
//! have caught only the last batch, and of that one each sector is either new or what it was before: zeros,
//! because a segment is written full of zeros before it is used. A batch leaves no sector zero
//! (its content is masked), hence at the place where the chain of valid batches ends:
//!
//! ```text
//! first sector there     further on                                       verdict
//! ────────────────────   ──────────────────────────────────────────────   ────────────────────────────
//! zeros                  zeros up to the end                              clean end
//! zeros                  written sectors, none of them a batch header     torn: its header never arrived
//! zeros                  a valid batch header                             damaged: a batch is missing
//! valid header, fits     all its sectors written, content wrong           damaged: changed after the write
//! valid header, fits     some sector of its own zeros, zeros behind it    torn
//! valid header, fits     … but something written behind it                damaged
//! valid header, no fit                                                    damaged: order, chain or length
//! anything else                                                           damaged
//!                        a sector with only a few bytes, behind the end   damaged: nobody writes that
//! ```
//!
//! What this cannot see: an acknowledged *last* batch of which a fault later turned a whole sector
//! into zeros looks like one that was cut off. A flipped bit or byte never does.

use crate::format::{
    BATCH_HEADER_BYTES, BatchHash, BatchHeader, BatchView, SECTOR, SECTOR_BYTES, Sector, ZEROS, mask,
};
use crate::segment::Segment;
use crate::window::Window;
use std::io;
use std::time::Duration;
use wire_protocol::ids::{Epoch, Lsn, Shard};

/// Bytes to read at once: large enough that the call costs nothing beside the hash.
const CHUNK_BYTES: usize = 1024 * 1024;

/// What the next batch must continue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chain {
    pub(crate) next: Lsn,
    pub(crate) prev: BatchHash,
    /// Of the last batch, or of the segment's creation.
    pub(crate) epoch: Epoch,
}

/// A place that does not hold what it should.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Flaw {
    pub(crate) offset: u64,
    pub(crate) what: String,
}

impl Flaw {
    pub(crate) fn at(offset: u64, what: impl Into<String>) -> Self {
        Self {
            offset,
            what: what.into(),
        }
    }
}

/// How a segment ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// With zeros: more can be appended.
    Open,
    /// With a seal: the journal goes on in the next segment.
    Sealed,
    /// With a batch that was being written when the power went; nothing non-zero from `upto` on.
    Torn { upto: u64 },
    /// With something that must not be there.
    Damaged(Flaw),
}

/// What was found in a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Scanned {
    /// Where the valid batches end.
    pub(crate) offset: u64,
    pub(crate) end: End,
    pub(crate) batches: u64,
    /// Offset and bytes of the last one.
    pub(crate) last_batch: Option<(u64, u64)>,
}

/// How often to look again at a tail that is not clean, 5 ms apart, because an engine may be
/// writing it at this moment.
#[derive(Clone, Copy)]
pub(crate) struct Patience(pub(crate) u32);

/// Checks all of `segment` and moves `chain` forward over its batches, each of which is shown to `visit`.
pub(crate) fn scan(
    segment: &Segment,
    chain: &mut Chain,
    patience: Patience,
    visit: &mut dyn FnMut(&BatchView<'_>, BatchHash),
) -> io::Result<Scanned> {
    let mut look = Look {
        window: Window::new(&*segment.file, segment.bytes, CHUNK_BYTES),
        size: segment.bytes,
        shard: segment.header.shard,
    };
    let mut scanned = Scanned {
        offset: SECTOR,
        end: End::Open,
        batches: 0,
        last_batch: None,
    };
    let mut looks = 0;
    loop {
        match look.batch_at(scanned.offset, chain)? {
            Next::Batch(view, hash) => {
                visit(&view, hash);
                let bytes = view.header.padded_bytes();
                *chain = Chain {
                    next: view.header.last().next(),
                    prev: hash,
                    epoch: view.header.epoch,
                };
                scanned.last_batch = Some((scanned.offset, bytes));
                scanned.offset += bytes;
                scanned.batches += 1;
                looks = 0;
            }
            Next::End(End::Torn { .. } | End::Damaged(_)) if looks < patience.0 => {
                looks += 1;
                std::thread::sleep(Duration::from_millis(5));
                look.window.forget();
            }
            Next::End(end) => return Ok(Scanned { end, ..scanned }),
        }
    }
}

struct Look<'a> {
    window: Window<'a>,
    size: u64,
    shard: Shard,
}

enum Next<'w> {
    Batch(BatchView<'w>, BatchHash),
    End(End),
}

impl Look<'_> {
    fn batch_at(&mut self, at: u64, chain: &Chain) -> io::Result<Next<'_>> {
        if at + SECTOR > self.size {
            return Ok(Next::End(End::Open));
        }
        let sector = self.window.get(at, SECTOR_BYTES)?;
        if sector == &ZEROS[..SECTOR_BYTES] {
            return self.behind_blank(at).map(Next::End);
        }
        let Some(header) = BatchHeader::decode(sector) else {
            return Ok(Next::End(End::Damaged(Flaw::at(
                at,
                "a batch header does not match its checksum",
            ))));
        };
        if let Some(what) = self.misfit(&header, at, chain) {
            return Ok(Next::End(End::Damaged(Flaw::at(at, what))));
        }
        if header.seal {
            return self.seal(at, &header).map(Next::End);
        }
        let bytes = usize::try_from(header.padded_bytes()).expect("inside the segment");
        // The borrow checker cannot see that a failed check ends the borrow, hence two looks.
        let batch = self.window.get(at, bytes)?;
        let hash = BatchHash::of(batch);
        if let Err(fault) = BatchView::check(header, at, batch) {
            self.window.forget();
            return self
                .bad_body(at, bytes, Flaw::at(at + fault.offset as u64, fault.what))
                .map(Next::End);
        }
        let batch = self.window.get(at, bytes)?;
        Ok(Next::Batch(BatchView::checked(header, at, batch), hash))
    }

    /// Why a batch with this header cannot be at this place, if so.
    fn misfit(&self, header: &BatchHeader, at: u64, chain: &Chain) -> Option<String> {
        if header.shard != self.shard {
            return Some(format!(
                "a batch of shard {} among those of {}",
                header.shard, self.shard
            ));
        }
        if header.first != chain.next {
            return Some(format!(
                "a batch starts with record {} where {} was to follow",
                header.first, chain.next
            ));
        }
        if header.prev != chain.prev {
            return Some("a batch does not continue the hash chain".to_owned());
        }
        if header.epoch < chain.epoch {
            return Some(format!(
                "a batch of epoch {} after one of {}",
                header.epoch, chain.epoch
            ));
        }
        if header.seal != (header.records == 0) {
            return Some("a batch without records".to_owned());
        }
        (at + header.padded_bytes() > self.size).then(|| "a batch is longer than its segment".to_owned())
    }

    /// A valid header of the right batch whose body is wrong in the way that `flaw` says.
    fn bad_body(&mut self, at: u64, bytes: usize, flaw: Flaw) -> io::Result<End> {
        let batch = self.window.get(at, bytes)?;
        if !batch
            .chunks(SECTOR_BYTES)
            .any(|sector| Sector::of(sector) == Sector::Empty)
        {
            return Ok(End::Damaged(flaw));
        }
        let upto = at + bytes as u64;
        Ok(match self.window.skip_zeros(upto, SECTOR_BYTES)? {
            None => End::Torn { upto },
            Some(offset) => {
                let what = format!(
                    "{}; and something was written behind it, at byte {offset}",
                    flaw.what
                );
                End::Damaged(Flaw { what, ..flaw })
            }
        })
    }

    /// A sector of zeros where the next batch would start.
    fn behind_blank(&mut self, blank: u64) -> io::Result<End> {
        let mut end = End::Open;
        let mut at = blank;
        while let Some(offset) = self.window.skip_zeros(at, SECTOR_BYTES)? {
            let sector = self.window.get(offset, SECTOR_BYTES)?;
            if let Some(header) = BatchHeader::decode(sector) {
                let what = format!(
                    "a batch is missing: byte {offset} has the one with record {}",
                    header.first
                );
                return Ok(End::Damaged(Flaw::at(blank, what)));
            }
            if Sector::of(sector) == Sector::Stray {
                return Ok(End::Damaged(Flaw::at(
                    offset,
                    "stray bytes in the empty part of the segment",
                )));
            }
            at = offset + SECTOR;
            end = End::Torn { upto: at };
        }
        Ok(end)
    }

    fn seal(&mut self, at: u64, header: &BatchHeader) -> io::Result<End> {
        let mut sector = self.window.get(at, SECTOR_BYTES)?.to_vec();
        mask(&mut sector[BATCH_HEADER_BYTES..], &header.prev);
        if sector[BATCH_HEADER_BYTES..] != ZEROS[..SECTOR_BYTES - BATCH_HEADER_BYTES] {
            return Ok(End::Damaged(Flaw::at(at, "the seal of the segment is not whole")));
        }
        Ok(match self.window.skip_zeros(at + SECTOR, SECTOR_BYTES)? {
            None => End::Sealed,
            Some(offset) => End::Damaged(Flaw::at(
                offset,
                "something was written behind the seal of the segment",
            )),
        })
    }
}
