//! Snapshots: the state at a position, so that a start need not read the journal from its beginning.
//!
//! ```text
//! snapshot-<lsn>.snap    0  magic "PoolSnp\n"     32  epoch                  68  bytes of content
//!                        8  CRC32C of 12..512     36  hash of the batch      76  BLAKE3 of the content
//!                       12  version, 14 shard         that has the record   108  zeros
//!                       16  lsn, 24 zeros                                   512  content
//! ```
//!
//! A snapshot is written under a temporary name, synced, and then renamed, so a name that ends in
//! `.snap` never stands for half a file. It is tied to the journal by the hash of the batch that
//! holds its last record. The two newest are kept: if the newer one turns out damaged at a start, the older
//! one and more of the journal give the same state.

use crate::error::JournalError;
use crate::format::{
    BatchHash, FORMAT_VERSION, SECTOR, SECTOR_BYTES, ZEROS, hash_at, u16_at, u32_at, u64_at,
};
use crate::names::{self, Listing};
use crate::sectors::SectorBytes;
use crate::storage::{File, Storage, read_exact_at};
use crate::walk::Damage;
use std::io::{self, Write};
use std::sync::Arc;
use wire_protocol::ids::{Epoch, Lsn, Shard};

const SNAPSHOT_MAGIC: [u8; 8] = *b"PoolSnp\n";
/// How many are kept.
const KEPT: usize = 2;
/// Bytes collected before a write.
const CHUNK_BYTES: usize = 256 * 1024;

/// A durable position in the journal, with what ties a snapshot to it. From
/// [`JournalReader::anchor`](crate::JournalReader::anchor).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Anchor {
    pub(crate) lsn: Lsn,
    pub(crate) epoch: Epoch,
    pub(crate) batch_hash: BatchHash,
}

impl Anchor {
    /// The last record that the snapshot includes.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }
}

/// A snapshot that was read and verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The last record that it includes.
    pub lsn: Lsn,
    /// The epoch of that record.
    pub epoch: Epoch,
    /// What was written.
    pub bytes: Vec<u8>,
}

/// The first sector of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SnapshotHeader {
    pub(crate) shard: Shard,
    pub(crate) anchor: Anchor,
    pub(crate) bytes: u64,
    content: [u8; 32],
}

impl SnapshotHeader {
    fn encode(&self) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        sector[0..8].copy_from_slice(&SNAPSHOT_MAGIC);
        sector[12..14].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        sector[14..16].copy_from_slice(&self.shard.0.to_le_bytes());
        sector[16..24].copy_from_slice(&self.anchor.lsn.0.to_le_bytes());
        sector[32..36].copy_from_slice(&self.anchor.epoch.0.to_le_bytes());
        sector[36..68].copy_from_slice(&self.anchor.batch_hash.0);
        sector[68..76].copy_from_slice(&self.bytes.to_le_bytes());
        sector[76..108].copy_from_slice(&self.content);
        let crc = crc32c::crc32c(&sector[12..]);
        sector[8..12].copy_from_slice(&crc.to_le_bytes());
        sector
    }

    fn decode(sector: &[u8; SECTOR_BYTES]) -> Option<Self> {
        let whole = sector[0..8] == SNAPSHOT_MAGIC && u32_at(sector, 8) == crc32c::crc32c(&sector[12..]);
        whole.then(|| Self {
            shard: Shard(u16_at(sector, 14)),
            anchor: Anchor {
                lsn: Lsn(u64_at(sector, 16)),
                epoch: Epoch(u32_at(sector, 32)),
                batch_hash: hash_at(sector, 36),
            },
            bytes: u64_at(sector, 68),
            content: hash_at(sector, 76).0,
        })
    }
}

/// Writes snapshots beside the running journal. Needs nothing of it but the folder.
#[derive(Clone)]
pub struct SnapshotWriter {
    storage: Arc<dyn Storage>,
    shard: Shard,
}

impl SnapshotWriter {
    pub(crate) fn new(storage: Arc<dyn Storage>, shard: Shard) -> Self {
        Self { storage, shard }
    }

    /// Writes the state after the record of `anchor`, whose bytes `produce` writes in order; durable when
    /// this returns. Then deletes all snapshots but the two newest.
    ///
    /// # Errors
    /// [`JournalError::DiskFull`] or [`Io`](JournalError::Io), also for an error of `produce`: the
    /// snapshots that there were are still there, and the journal is not affected.
    pub fn write(
        &self,
        anchor: Anchor,
        produce: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), JournalError> {
        let storage = &*self.storage;
        let name = names::snapshot(anchor.lsn);
        let temporary = names::snapshot_temporary(anchor.lsn);
        self.produce(anchor, &temporary, produce)
            .and_then(|()| storage.rename(&temporary, &name))
            .and_then(|()| storage.sync_dir())
            .map_err(|error| {
                // Best effort: what stays is removed by the next open.
                drop(storage.remove(&temporary));
                JournalError::io("writing", &name, error)
            })?;
        self.prune()
    }

    fn produce(
        &self,
        anchor: Anchor,
        temporary: &str,
        produce: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        match self.storage.remove(temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.storage.create(temporary)?;
        file.write_at(0, &ZEROS[..SECTOR_BYTES])?;
        let mut sink = Sink {
            file: &*file,
            at: SECTOR,
            hasher: blake3::Hasher::new(),
            buffer: SectorBytes::zeros(0),
        };
        produce(&mut sink)?;
        sink.flush()?;
        let header = SnapshotHeader {
            shard: self.shard,
            anchor,
            bytes: sink.at - SECTOR,
            content: *sink.hasher.finalize().as_bytes(),
        };
        file.write_at(0, &header.encode())?;
        file.sync_data()
    }

    fn prune(&self) -> Result<(), JournalError> {
        let storage = &*self.storage;
        let snapshots = listing(storage)?.snapshots;
        for (_, name) in snapshots.iter().rev().skip(KEPT) {
            storage
                .remove(name)
                .and_then(|()| storage.sync_dir())
                .map_err(|error| JournalError::io("deleting", name, error))?;
        }
        Ok(())
    }
}

/// Collects, hashes and writes the content.
struct Sink<'a> {
    file: &'a dyn File,
    at: u64,
    hasher: blake3::Hasher,
    buffer: SectorBytes,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Whole chunks, which can go past the page cache; the last may be shorter.
        let (now, _) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.buffer.len()));
        self.buffer.extend_from_slice(now);
        if self.buffer.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hasher.update(&self.buffer);
        self.file.write_at(self.at, &self.buffer)?;
        self.at += self.buffer.len() as u64;
        self.buffer.truncate(0);
        Ok(())
    }
}

pub(crate) fn listing(storage: &dyn Storage) -> Result<Listing, JournalError> {
    let names = storage
        .list()
        .map_err(|error| JournalError::io("listing", &storage.describe(), error))?;
    Ok(Listing::of(names))
}

/// Positions of all snapshots, oldest first.
pub(crate) fn positions(storage: &dyn Storage) -> Result<Vec<Lsn>, JournalError> {
    Ok(listing(storage)?
        .snapshots
        .into_iter()
        .map(|(lsn, _)| lsn)
        .collect())
}

/// The older of the two newest snapshots whose headers are whole: what retention may count on.
pub(crate) fn oldest_kept(storage: &dyn Storage) -> Result<Option<Lsn>, JournalError> {
    let mut oldest = None;
    for (lsn, name) in listing(storage)?.snapshots.iter().rev().take(KEPT) {
        match check_header(storage, name, *lsn)? {
            Ok(_) => oldest = Some(*lsn),
            Err(_) => return Ok(None),
        }
    }
    Ok(oldest)
}

/// A thing that was read, or what is wrong with it.
pub(crate) type Whole<T> = Result<T, Damage>;

type HeaderAndFile = (SnapshotHeader, Arc<dyn File>);

/// The header of a snapshot, if it and the file's length are right.
pub(crate) fn check_header(
    storage: &dyn Storage,
    name: &str,
    lsn: Lsn,
) -> Result<Whole<HeaderAndFile>, JournalError> {
    let failed = |error| JournalError::io("reading", name, error);
    let damaged = |offset, what: &str| {
        Ok(Err(Damage {
            file: name.to_owned(),
            offset,
            what: what.to_owned(),
        }))
    };
    let file = storage.open(name).map_err(failed)?;
    let size = file.size().map_err(failed)?;
    if size < SECTOR {
        return damaged(size, "the file ends inside the header of the snapshot");
    }
    let mut sector = [0; SECTOR_BYTES];
    read_exact_at(&*file, 0, &mut sector).map_err(failed)?;
    let version = u16_at(&sector, 12);
    match SnapshotHeader::decode(&sector) {
        None => damaged(0, "the header of the snapshot does not match its checksum"),
        Some(_) if version != FORMAT_VERSION => {
            let what =
                format!("it has format version {version}, this program reads version {FORMAT_VERSION}");
            Err(JournalError::Foreign {
                file: name.to_owned(),
                what,
            })
        }
        Some(header) if header.anchor.lsn != lsn => {
            damaged(16, "the snapshot is of another position than its name says")
        }
        Some(header) if header.bytes.checked_add(SECTOR) != Some(size) => {
            damaged(size, "the snapshot has another length than it was written with")
        }
        Some(header) => Ok(Ok((header, file))),
    }
}

/// Reads and verifies a snapshot.
pub(crate) fn load(
    storage: &dyn Storage,
    name: &str,
    lsn: Lsn,
) -> Result<Whole<(SnapshotHeader, Vec<u8>)>, JournalError> {
    let (header, file) = match check_header(storage, name, lsn)? {
        Ok(found) => found,
        Err(damage) => return Ok(Err(damage)),
    };
    let len = usize::try_from(header.bytes).expect("a snapshot is state in memory");
    let mut bytes = vec![0; len];
    read_exact_at(&*file, SECTOR, &mut bytes).map_err(|error| JournalError::io("reading", name, error))?;
    if *blake3::hash(&bytes).as_bytes() == header.content {
        return Ok(Ok((header, bytes)));
    }
    let what = "the content of the snapshot does not match its hash".to_owned();
    Ok(Err(Damage {
        file: name.to_owned(),
        offset: SECTOR,
        what,
    }))
}
