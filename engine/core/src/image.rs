//! What a snapshot says: its format, read without becoming a scheduler.
//!
//! A header, tenants, workers, then each bag with its rows and its works, then enrolment tokens and what is known of workers
//! beside what they offer, then the notebooks of sidecars. Lists have their length before them; structures are `postcard`, rows and works are laid out by
//! hand. Rows whose works have all succeeded are named by their record, works that are alike are written once with their
//! number: works that one worker reported together are. Whoever stores a snapshot adds a checksum.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use wire_protocol::client_link::IdempotencyKey;
use wire_protocol::codec::{DecodeError, Reader, put_control, read_control};
use wire_protocol::ids::{Attempt, BagId, Epoch, Lsn, Shard, TenantId, TokenId, WorkId, WorkerId};
use wire_protocol::joining::{Address, Approval, Digest};
use wire_protocol::note::Note;
use wire_protocol::outcome::Reason;
use wire_protocol::record::{BagOpened, TokenCreated};
use wire_protocol::template::{Offer, Priority, Rows, WorkTemplate};
use wire_protocol::units::Instant;
use wire_protocol::view::WorkState;

use crate::state::Phase;
use crate::table::work::Work;

/// Rises with each change of the layout, also of what is laid out elsewhere: a template, an offer.
pub(crate) const FORMAT: u16 = 5;

/// Bytes of works that are alike in a snapshot: how many, and what each is.
pub(crate) const WORKS_BYTES: usize = 4 + 8 + 4 + 4 + 2 + 2 + 1 + 1 + 1;

/// Stands for the bytes of rows that have gone.
pub(crate) const GONE: u32 = u32::MAX;

/// Why a snapshot cannot be read or restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// Its bytes are not a snapshot of this version.
    #[error("the snapshot cannot be read")]
    Malformed(#[from] DecodeError),
    /// It was made by a later version of the program.
    #[error("the snapshot has format {found}; this program reads {FORMAT}")]
    Format {
        /// The format it says.
        found: u16,
    },
    /// It is of another shard.
    #[error("the snapshot is of shard {found}, this engine runs {expected}")]
    Shard {
        /// Whose it is.
        found: Shard,
        /// Ours.
        expected: Shard,
    },
    /// Its parts contradict each other.
    #[error("the snapshot contradicts itself: {0}")]
    Contradiction(String),
}

/// A snapshot, read. Rows stay where they are in its bytes.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// Whose it is.
    pub shard: Shard,
    /// The epoch of the engine that took it.
    pub epoch: Epoch,
    /// The last record that is in it.
    pub lsn: Lsn,
    /// When that was.
    pub recorded: Instant,
    pub(crate) next_work: WorkId,
    pub(crate) next_bag: BagId,
    pub(crate) workers_given: u32,
    /// In the order of their numbers, from 1.
    pub tenants: Vec<TenantImage>,
    /// In the order of their numbers.
    pub workers: Vec<WorkerImage>,
    /// In the order of their numbers.
    pub bags: Vec<BagImage<'a>>,
    pub(crate) joining: JoiningPart,
    /// In the order of their numbers.
    pub tokens: Vec<TokenImage>,
    /// Of workers of which more is known than what they offer, in the order of their numbers.
    pub standings: Vec<StandingImage>,
    /// Notebooks of sidecars.
    pub notebooks: Vec<NotebookImage>,
}

/// A bag that is remembered, with its works.
#[derive(Clone, Debug)]
pub struct BagImage<'a> {
    /// The record that opened it.
    pub lsn: Lsn,
    pub(crate) epoch: Epoch,
    /// What that said.
    pub opened: BagOpened,
    /// Its priority now.
    pub priority: Priority,
    /// It takes no more rows.
    pub closed: bool,
    /// Its rows, as they came.
    pub chunks: Vec<Chunk<'a>>,
    /// Its works, in order: how many in a row are alike, and what each of them is. As many as there are rows.
    pub works: Vec<(u32, WorkImage)>,
}

/// Rows of a bag that came with one record.
#[derive(Clone, Debug)]
pub struct Chunk<'a> {
    /// How many.
    pub count: u32,
    /// The record.
    pub lsn: Lsn,
    /// The rows; `None`: only the record has them, because all their works have succeeded.
    pub rows: Option<Rows<'a>>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) format: u16,
    pub(crate) shard: Shard,
    pub(crate) epoch: Epoch,
    pub(crate) lsn: Lsn,
    pub(crate) recorded: Instant,
    pub(crate) next_work: WorkId,
    pub(crate) next_bag: BagId,
    pub(crate) workers_given: u32,
}

/// A bag, up to its rows.
#[derive(Serialize, Deserialize)]
pub(crate) struct BagPart {
    pub(crate) bag: BagId,
    pub(crate) lsn: Lsn,
    pub(crate) epoch: Epoch,
    pub(crate) first: WorkId,
    pub(crate) rows_total: u32,
    pub(crate) tenant: TenantId,
    pub(crate) key: IdempotencyKey,
    pub(crate) priority: Priority,
    pub(crate) opened: Instant,
    pub(crate) closed: bool,
    pub(crate) template: WorkTemplate,
}

/// A tenant; the first is number 1.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct TenantImage {
    /// Its name.
    pub name: String,
    /// Its weight against others.
    pub weight: u32,
}

/// A worker that is remembered.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct WorkerImage {
    /// Its number.
    pub worker: WorkerId,
    /// Its identity across restarts.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Version of its program.
    pub version: String,
    /// What it has.
    pub offer: Offer,
    /// An operator put a cordon on it.
    pub cordoned: bool,
    /// It was drained and will not come back by itself.
    pub gone: bool,
}

/// What precedes the tokens.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(crate) struct JoiningPart {
    pub(crate) tokens_given: TokenId,
    pub(crate) next_serial: u64,
}

/// An enrolment token that is remembered.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct TokenImage {
    /// What the record of it said.
    pub created: TokenCreated,
    /// Workers that it has enrolled.
    pub used: u32,
    /// An operator revoked it.
    pub revoked: bool,
}

/// What is known of a worker beside what it offers.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct StandingImage {
    /// The worker.
    pub worker: WorkerId,
    /// Whether it may work.
    pub approval: Approval,
    /// The wallet that it has proved to hold.
    pub wallet: Option<Address>,
    /// Groups that its enrolment put it into.
    pub groups: Vec<String>,
    /// Its certificate: number, digest of its key, end, the token that it was given for.
    pub certificate: Option<(u64, Digest, Instant, TokenId)>,
}

/// What precedes the notes of a notebook.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct NotebookPart {
    pub(crate) name: String,
    pub(crate) holder: u64,
    pub(crate) notes: u32,
}

/// A sidecar's notebook.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotebookImage {
    /// Its name.
    pub name: String,
    /// Who may write into it.
    pub holder: u64,
    /// Its notes, in order of their keys.
    pub notes: Vec<Note>,
}

impl<'a> Image<'a> {
    /// Reads a snapshot.
    ///
    /// # Errors
    /// See [`RestoreError`]; its checksum is somebody else's to check.
    pub fn parse(snapshot: &'a [u8]) -> Result<Self, RestoreError> {
        let mut reader = Reader::new(snapshot);
        let header: Header = part(&mut reader, "snapshot header")?;
        if header.format != FORMAT {
            return Err(RestoreError::Format { found: header.format });
        }
        let mut image = Self {
            shard: header.shard,
            epoch: header.epoch,
            lsn: header.lsn,
            recorded: header.recorded,
            next_work: header.next_work,
            next_bag: header.next_bag,
            workers_given: header.workers_given,
            tenants: Vec::new(),
            workers: Vec::new(),
            bags: Vec::new(),
            joining: JoiningPart {
                tokens_given: TokenId(0),
                next_serial: 1,
            },
            tokens: Vec::new(),
            standings: Vec::new(),
            notebooks: Vec::new(),
        };
        for _ in 0..len(&mut reader, "tenants")? {
            image.tenants.push(part(&mut reader, "tenant")?);
        }
        for _ in 0..len(&mut reader, "workers")? {
            image.workers.push(part(&mut reader, "worker")?);
        }
        for _ in 0..len(&mut reader, "bags")? {
            let bag = BagImage::read(&mut reader)?;
            if bag.opened.tenant.0 == 0 || bag.opened.tenant.index() > image.tenants.len() {
                return Err(RestoreError::Contradiction(format!(
                    "{} belongs to unknown {}",
                    bag.opened.bag, bag.opened.tenant
                )));
            }
            image.bags.push(bag);
        }
        image.joining = part(&mut reader, "joining")?;
        for _ in 0..len(&mut reader, "tokens")? {
            image.tokens.push(part(&mut reader, "token")?);
        }
        for _ in 0..len(&mut reader, "standings")? {
            image.standings.push(part(&mut reader, "standing")?);
        }
        for _ in 0..len(&mut reader, "notebooks")? {
            let notebook: NotebookPart = part(&mut reader, "notebook")?;
            let mut notes = Vec::new();
            for _ in 0..notebook.notes {
                notes.push(part(&mut reader, "note")?);
            }
            image.notebooks.push(NotebookImage {
                name: notebook.name,
                holder: notebook.holder,
                notes,
            });
        }
        reader.finish()?;
        Ok(image)
    }
}

impl<'a> BagImage<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, RestoreError> {
        let bag: BagPart = part(reader, "bag")?;
        let id = bag.bag;
        let mut image = Self {
            lsn: bag.lsn,
            epoch: bag.epoch,
            opened: BagOpened {
                bag: id,
                first: bag.first,
                rows_total: bag.rows_total,
                tenant: bag.tenant,
                key: bag.key,
                at: bag.opened,
                template: bag.template,
            },
            priority: bag.priority,
            closed: bag.closed,
            chunks: Vec::new(),
            works: Vec::new(),
        };
        let mut accepted = 0;
        for _ in 0..len(reader, "chunks")? {
            let chunk = Chunk::read(reader)?;
            if chunk.count > bag.rows_total - accepted {
                return Err(RestoreError::Contradiction(format!(
                    "{id} has more rows than it announced"
                )));
            }
            accepted += chunk.count;
            image.chunks.push(chunk);
        }
        let mut row = 0;
        while row < accepted {
            let alike = reader.u32("works alike")?;
            if alike == 0 || alike > accepted - row {
                return Err(RestoreError::Contradiction(format!(
                    "{id} has {accepted} works, and {alike} more behind {row}"
                )));
            }
            image.works.push((alike, WorkImage::read(reader)?));
            row += alike;
        }
        Ok(image)
    }
}

impl<'a> Chunk<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, RestoreError> {
        let count = reader.u32("rows")?;
        let lsn = Lsn(reader.u64("lsn of rows")?);
        let rows = match reader.u32("bytes of rows")? {
            GONE => None,
            bytes => {
                let rest = reader.rest();
                let rows = rest
                    .get(..bytes as usize)
                    .ok_or(DecodeError::Truncated { field: "rows" })?;
                *reader = Reader::new(&rest[bytes as usize..]);
                Some(Rows::parse(count, rows)?)
            }
        };
        Ok(Self { count, lsn, rows })
    }
}

/// A work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkImage {
    /// The record that says where it is; for a work that is done, the one with its result.
    pub lsn: Lsn,
    /// The worker of its last attempt, if there was one.
    pub worker: WorkerId,
    pub(crate) epoch: Epoch,
    /// Its last attempt; 0: there was none.
    pub attempt: Attempt,
    pub(crate) spent: u16,
    pub(crate) phase: Phase,
    /// Why it is there.
    pub reason: Reason,
    pub(crate) kills: u8,
}

impl WorkImage {
    pub(crate) fn of(work: &Work) -> Self {
        Self {
            lsn: work.lsn,
            worker: work.worker,
            epoch: work.epoch,
            attempt: work.attempt,
            spent: work.spent,
            // A replay knows nothing of backoffs.
            phase: match work.phase {
                Phase::Delayed => Phase::Queued,
                phase => phase,
            },
            reason: work.reason,
            kills: work.kills,
        }
    }

    /// Appends it as what `count` works are.
    pub(crate) fn put(&self, count: u32, out: &mut Vec<u8>) {
        let mut bytes = [0; WORKS_BYTES];
        bytes[0..4].copy_from_slice(&count.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.lsn.0.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.worker.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[20..22].copy_from_slice(&self.attempt.0.to_le_bytes());
        bytes[22..24].copy_from_slice(&self.spent.to_le_bytes());
        bytes[24..27].copy_from_slice(&[self.phase as u8, self.reason as u8, self.kills]);
        out.extend_from_slice(&bytes);
    }

    /// Where it is.
    ///
    /// # Panics
    /// Never: no snapshot has a work without a state.
    #[must_use]
    pub fn state(&self) -> WorkState {
        self.phase.view().expect("void is refused when it is read")
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            lsn: Lsn(reader.u64("lsn")?),
            worker: WorkerId(reader.u32("worker")?),
            epoch: Epoch(reader.u32("epoch")?),
            attempt: Attempt(reader.u16("attempt")?),
            spent: reader.u16("spent")?,
            phase: phase(reader.u8("phase")?)?,
            reason: Reason::from_wire(reader.u8("reason")?)?,
            kills: reader.u8("kills")?,
        })
    }
}

/// A phase that a snapshot may say.
fn phase(byte: u8) -> Result<Phase, DecodeError> {
    Phase::from_byte(byte)
        .filter(|phase| !matches!(phase, Phase::Void | Phase::Delayed))
        .ok_or(DecodeError::OutOfRange {
            field: "phase",
            value: u64::from(byte),
        })
}

pub(crate) fn put_part<T: Serialize>(out: &mut Vec<u8>, part: &T) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    put_control(out, part);
    let length = u32::try_from(out.len() - start - 4).expect("parts are small");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

fn len(reader: &mut Reader<'_>, field: &'static str) -> Result<u32, DecodeError> {
    reader.u32(field)
}

fn part<T: serde::de::DeserializeOwned>(
    reader: &mut Reader<'_>,
    field: &'static str,
) -> Result<T, DecodeError> {
    let length = reader.u32(field)? as usize;
    let rest = reader.rest();
    let bytes = rest.get(..length).ok_or(DecodeError::Truncated { field })?;
    *reader = Reader::new(&rest[length..]);
    read_control(field, bytes)
}
