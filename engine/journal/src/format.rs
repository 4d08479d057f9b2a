//! The bytes on disk: encoding, decoding and checking of headers, batches and sectors.
//!
//! The picture is in the crate's documentation. Everything here is a pure function of its arguments;
//! what a wrong byte *means* (torn or damaged) is decided in `scan`.

use core::fmt;
use wire_protocol::ids::{Epoch, Lsn, Shard};

/// What disks write atomically. Batches start on a sector and never share one, so that a torn
/// write cannot touch an earlier batch.
pub(crate) const SECTOR_BYTES: usize = 512;
/// The same, for offsets.
pub(crate) const SECTOR: u64 = SECTOR_BYTES as u64;
/// The only version there has been.
pub(crate) const FORMAT_VERSION: u16 = 1;
pub(crate) const BATCH_HEADER_BYTES: usize = 80;
pub(crate) const RECORD_HEADER_BYTES: usize = 24;
/// Bytes of the largest payload of one record: 2 MiB.
pub const PAYLOAD_BYTES_MAX: usize = 2 * 1024 * 1024;

const SEGMENT_MAGIC: [u8; 8] = *b"PoolSeg\n";
const BATCH_MAGIC: [u8; 8] = *b"PoolBat\n";
/// Fewer non-zero bytes than this, and at least one, are no sector of ours: see [`Sector`].
const WRITTEN_BYTES_MIN: usize = 256;

pub(crate) static ZEROS: &[u8; 1 << 20] = &ALIGNED_ZEROS.0;

/// At a sector's multiple, so that they may be written past the page cache.
#[repr(align(4096))]
struct Aligned([u8; 1 << 20]);

static ALIGNED_ZEROS: Aligned = Aligned([0; 1 << 20]);

/// BLAKE3 over a whole batch as it lies on disk. Each batch names the hash of the one before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BatchHash(pub [u8; 32]);

impl BatchHash {
    /// What the first batch of a journal names as its predecessor.
    pub(crate) fn genesis(shard: Shard) -> Self {
        Self(*blake3::hash(format!("workerpool journal of shard {}", shard.0).as_bytes()).as_bytes())
    }

    pub(crate) fn of(batch: &[u8]) -> Self {
        Self(*blake3::hash(batch).as_bytes())
    }
}

impl fmt::Debug for BatchHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One record, borrowed from the buffer it was read into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordView<'a> {
    /// Its position.
    pub lsn: Lsn,
    /// The epoch of the engine that wrote it.
    pub epoch: Epoch,
    /// What the payload is; the meaning belongs to the writer.
    pub kind: u8,
    /// When its batch was committed, in microseconds since 1970 as the appender's wall clock said.
    pub wall_us: u64,
    /// The record itself, up to [`PAYLOAD_BYTES_MAX`].
    pub payload: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// The `count` records that `body` consists of, which were checked.
    pub(crate) fn all_of(body: &'a [u8], count: u32, wall_us: u64) -> impl Iterator<Item = Self> {
        let mut rest = body;
        (0..count).map(move |_| {
            let (header, behind) = rest
                .split_first_chunk::<RECORD_HEADER_BYTES>()
                .expect("a checked body has all its records");
            let (payload, behind) = behind.split_at(u32_at(header, 4) as usize);
            rest = behind;
            Self {
                lsn: Lsn(u64_at(header, 8)),
                epoch: Epoch(u32_at(header, 16)),
                kind: header[20],
                wall_us,
                payload,
            }
        })
    }
}

/// One record, on its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnedRecord {
    /// See [`RecordView::lsn`].
    pub lsn: Lsn,
    /// See [`RecordView::epoch`].
    pub epoch: Epoch,
    /// See [`RecordView::kind`].
    pub kind: u8,
    /// See [`RecordView::wall_us`].
    pub wall_us: u64,
    /// See [`RecordView::payload`].
    pub payload: Vec<u8>,
}

impl From<RecordView<'_>> for OwnedRecord {
    fn from(view: RecordView<'_>) -> Self {
        let RecordView {
            lsn,
            epoch,
            kind,
            wall_us,
            payload,
        } = view;
        Self {
            lsn,
            epoch,
            kind,
            wall_us,
            payload: payload.to_vec(),
        }
    }
}

/// The first sector of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) shard: Shard,
    pub(crate) first: Lsn,
    pub(crate) epoch: Epoch,
    /// Length of the file, which is written in full before the file gets its name.
    pub(crate) bytes: u64,
    /// Hash of the last batch of the previous segment.
    pub(crate) prev: BatchHash,
}

/// Why a segment header was not accepted.
pub(crate) enum HeaderFault {
    Damaged(&'static str),
    Version(u16),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        sector[0..8].copy_from_slice(&SEGMENT_MAGIC);
        sector[12..14].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        sector[14..16].copy_from_slice(&self.shard.0.to_le_bytes());
        sector[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        sector[24..32].copy_from_slice(&self.bytes.to_le_bytes());
        sector[32..36].copy_from_slice(&self.epoch.0.to_le_bytes());
        sector[36..68].copy_from_slice(&self.prev.0);
        let crc = crc32c::crc32c(&sector[12..]);
        sector[8..12].copy_from_slice(&crc.to_le_bytes());
        sector
    }

    pub(crate) fn decode(sector: &[u8]) -> Result<Self, HeaderFault> {
        if sector[0..8] != SEGMENT_MAGIC {
            return Err(HeaderFault::Damaged("it does not begin like a segment"));
        }
        if u32_at(sector, 8) != crc32c::crc32c(&sector[12..SECTOR_BYTES]) {
            return Err(HeaderFault::Damaged(
                "the segment header does not match its checksum",
            ));
        }
        match u16_at(sector, 12) {
            FORMAT_VERSION => Ok(Self {
                shard: Shard(u16_at(sector, 14)),
                first: Lsn(u64_at(sector, 16)),
                bytes: u64_at(sector, 24),
                epoch: Epoch(u32_at(sector, 32)),
                prev: hash_at(sector, 36),
            }),
            other => Err(HeaderFault::Version(other)),
        }
    }
}

/// The first bytes of a batch; a *seal* is a header alone, which closes a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BatchHeader {
    /// CRC32C over the CRCs of the records in order: each of them covers its record, so the payload
    /// is summed once.
    pub(crate) body_crc: u32,
    pub(crate) first: Lsn,
    pub(crate) wall_us: u64,
    pub(crate) records: u32,
    /// Bytes of the records, without header and padding.
    pub(crate) body_bytes: u32,
    pub(crate) epoch: Epoch,
    pub(crate) shard: Shard,
    pub(crate) seal: bool,
    pub(crate) prev: BatchHash,
}

impl BatchHeader {
    pub(crate) fn encode_into(&self, out: &mut [u8]) {
        out[0..8].copy_from_slice(&BATCH_MAGIC);
        out[12..16].copy_from_slice(&self.body_crc.to_le_bytes());
        out[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        out[24..32].copy_from_slice(&self.wall_us.to_le_bytes());
        out[32..36].copy_from_slice(&self.records.to_le_bytes());
        out[36..40].copy_from_slice(&self.body_bytes.to_le_bytes());
        out[40..44].copy_from_slice(&self.epoch.0.to_le_bytes());
        out[44..46].copy_from_slice(&self.shard.0.to_le_bytes());
        out[46] = u8::from(self.seal);
        out[47] = 0;
        out[48..80].copy_from_slice(&self.prev.0);
        let crc = crc32c::crc32c(&out[12..BATCH_HEADER_BYTES]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
    }

    /// The header at the start of `sector`, if magic and checksum say that it is one.
    pub(crate) fn decode(sector: &[u8]) -> Option<Self> {
        let whole = sector[0..8] == BATCH_MAGIC
            && u32_at(sector, 8) == crc32c::crc32c(&sector[12..BATCH_HEADER_BYTES]);
        whole.then(|| Self {
            body_crc: u32_at(sector, 12),
            first: Lsn(u64_at(sector, 16)),
            wall_us: u64_at(sector, 24),
            records: u32_at(sector, 32),
            body_bytes: u32_at(sector, 36),
            epoch: Epoch(u32_at(sector, 40)),
            shard: Shard(u16_at(sector, 44)),
            seal: sector[46] != 0,
            prev: hash_at(sector, 48),
        })
    }

    /// The sector that closes a segment after `last` batch `prev`: the journal goes on at `next` in
    /// another file, and if that file is missing, records are.
    pub(crate) fn seal_sector(shard: Shard, next: Lsn, epoch: Epoch, prev: BatchHash) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        let seal = Self {
            body_crc: 0,
            first: next,
            wall_us: 0,
            records: 0,
            body_bytes: 0,
            epoch,
            shard,
            seal: true,
            prev,
        };
        seal.encode_into(&mut sector);
        mask(&mut sector[BATCH_HEADER_BYTES..], &prev);
        sector
    }

    /// Bytes on disk, whole sectors.
    pub(crate) fn padded_bytes(&self) -> u64 {
        padded(BATCH_HEADER_BYTES as u64 + u64::from(self.body_bytes))
    }

    pub(crate) fn last(&self) -> Lsn {
        Lsn(self.first.0 + u64::from(self.records) - 1)
    }
}

/// `bytes` rounded up to whole sectors.
pub(crate) fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(SECTOR)
}

/// Adds or removes the mask: everything in a batch after its header is XORed with the hash that the
/// header names, so that no sector of a batch looks like one that was never written.
pub(crate) fn mask(body: &mut [u8], key: &BatchHash) {
    let (blocks, rest) = body.as_chunks_mut::<32>();
    for block in blocks {
        for (byte, key) in block.iter_mut().zip(key.0) {
            *byte ^= key;
        }
    }
    for (byte, key) in rest.iter_mut().zip(key.0) {
        *byte ^= key;
    }
}

/// What one sector of the tail says about itself.
///
/// Masked bytes are as good as random: about two of 512 are zero, and that half of them were is less
/// likely than a collision of the hash. So a sector that a batch wrote, one that was never written and one
/// into which a fault put a few bytes are three different things.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sector {
    /// As preallocated.
    Empty,
    /// By a batch, as far as can be told.
    Written,
    /// By nothing that we know.
    Stray,
}

impl Sector {
    pub(crate) fn of(sector: &[u8]) -> Self {
        if sector == &ZEROS[..sector.len()] {
            return Self::Empty;
        }
        match sector.iter().filter(|byte| **byte != 0).count() {
            WRITTEN_BYTES_MIN.. => Self::Written,
            _ => Self::Stray,
        }
    }
}

/// Where a batch contradicts its header, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BodyFault {
    /// From the start of the batch.
    pub(crate) offset: usize,
    pub(crate) what: &'static str,
}

/// A batch that was read, unmasked and checked.
#[derive(Clone, Copy)]
pub(crate) struct BatchView<'a> {
    pub(crate) header: BatchHeader,
    /// Where it starts in its segment.
    pub(crate) offset: u64,
    /// Header, plain records, padding.
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// Unmasks `bytes` in place and checks them against `header`, which must be their own.
    ///
    /// # Errors
    /// The first place that does not fit.
    pub(crate) fn check(header: BatchHeader, offset: u64, bytes: &'a mut [u8]) -> Result<Self, BodyFault> {
        mask(&mut bytes[BATCH_HEADER_BYTES..], &header.prev);
        let end = BATCH_HEADER_BYTES + header.body_bytes as usize;
        let (mut at, mut body_crc, mut lsn) = (BATCH_HEADER_BYTES, 0, header.first);
        for _ in 0..header.records {
            let fault = |what| BodyFault { offset: at, what };
            let next = check_record(&bytes[..end], at, lsn, header.epoch).map_err(fault)?;
            body_crc = crc32c::crc32c_append(body_crc, &bytes[at..at + 4]);
            (at, lsn) = (next, lsn.next());
        }
        if at != end {
            return Err(BodyFault {
                offset: at,
                what: "a batch is longer than its records",
            });
        }
        if body_crc != header.body_crc {
            return Err(BodyFault {
                offset: 0,
                what: "the records of a batch are not the ones its header names",
            });
        }
        let padding = &bytes[end..];
        if padding != &ZEROS[..padding.len()] {
            return Err(BodyFault {
                offset: end,
                what: "the padding of a batch is not empty",
            });
        }
        Ok(Self::checked(header, offset, bytes))
    }

    /// The view of bytes that [`check`](Self::check) has unmasked and found good.
    pub(crate) fn checked(header: BatchHeader, offset: u64, bytes: &'a [u8]) -> Self {
        Self {
            header,
            offset,
            bytes,
        }
    }

    /// The plain records, without header and padding.
    pub(crate) fn body(&self) -> &'a [u8] {
        &self.bytes[BATCH_HEADER_BYTES..BATCH_HEADER_BYTES + self.header.body_bytes as usize]
    }

    pub(crate) fn records(self) -> impl Iterator<Item = RecordView<'a>> {
        RecordView::all_of(self.body(), self.header.records, self.header.wall_us)
    }
}

/// Checks the record at `at` of a batch whose records end with the slice; returns where the next starts.
fn check_record(batch: &[u8], at: usize, lsn: Lsn, epoch: Epoch) -> Result<usize, &'static str> {
    let record = &batch[at..];
    if record.len() < RECORD_HEADER_BYTES {
        return Err("a record is cut off");
    }
    let len = u32_at(record, 4) as usize;
    if len > record.len() - RECORD_HEADER_BYTES {
        return Err("a record is longer than its batch");
    }
    let end = RECORD_HEADER_BYTES + len;
    if u32_at(record, 0) != crc32c::crc32c(&record[4..end]) {
        return Err("a record does not match its checksum");
    }
    if Lsn(u64_at(record, 8)) != lsn || Epoch(u32_at(record, 16)) != epoch {
        return Err("a record is out of order");
    }
    Ok(at + end)
}

/// Writes the header of a record whose position is not known yet; `complete_record` adds the rest.
pub(crate) fn begin_record(kind: u8, payload_bytes: u32) -> [u8; RECORD_HEADER_BYTES] {
    let mut header = [0; RECORD_HEADER_BYTES];
    header[4..8].copy_from_slice(&payload_bytes.to_le_bytes());
    header[20] = kind;
    header
}

/// Gives the record at the start of `record` its position and checksum; returns (bytes, checksum).
pub(crate) fn complete_record(record: &mut [u8], lsn: Lsn, epoch: Epoch) -> (usize, u32) {
    record[8..16].copy_from_slice(&lsn.0.to_le_bytes());
    record[16..20].copy_from_slice(&epoch.0.to_le_bytes());
    let end = RECORD_HEADER_BYTES + u32_at(record, 4) as usize;
    let crc = crc32c::crc32c(&record[4..end]);
    record[0..4].copy_from_slice(&crc.to_le_bytes());
    (end, crc)
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("a fixed place inside a header"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("a fixed place inside a header"))
}

pub(crate) fn hash_at(bytes: &[u8], at: usize) -> BatchHash {
    BatchHash(*bytes[at..].first_chunk().expect("a fixed place inside a header"))
}
