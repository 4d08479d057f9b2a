//! Snapshots: all that must outlive the process, as of one position in the journal.
//!
//! Format 2: a header, tenants, workers, then each bag with its rows and its works. Lists have their length
//! before them; structures are `postcard`, rows and works are laid out by hand. Rows whose works have all succeeded are
//! named by their record, works that are alike are written once with their number: works that one worker reported
//! together are. The same state gives the same bytes, live or replayed: what a replay does not know (the time of day
//! between records, links, backoffs) is left out. Whoever stores a snapshot adds a checksum.
//!
//! Format 1 is still read: it wrote every row and every work, and did not say by which records the rows came.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use wire_protocol::client_link::IdempotencyKey;
use wire_protocol::codec::{DecodeError, Reader, put_control, read_control};
use wire_protocol::ids::{Attempt, BagId, Epoch, Lsn, Shard, TenantId, WorkId, WorkerId};
use wire_protocol::outcome::Reason;
use wire_protocol::record::{BagOpened, WorkerJoined};
use wire_protocol::template::{Offer, Priority, Rows, WorkTemplate};
use wire_protocol::units::Instant;
use wire_protocol::view::WorkerState;

use crate::scheduler::Scheduler;
use crate::state::Phase;
use crate::table::bag::Bag;
use crate::table::rows::Row;
use crate::table::work::Work;
use crate::table::worker::Worker;

const FORMAT: u16 = 2;

/// Bytes of works that are alike in a snapshot: how many, and what each is.
const WORKS_BYTES: usize = 4 + 8 + 4 + 4 + 2 + 2 + 1 + 1 + 1;

/// Stands for the bytes of rows that have gone.
const GONE: u32 = u32::MAX;

/// Why a snapshot cannot be restored.
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

#[derive(Serialize, Deserialize)]
struct Header {
    format: u16,
    shard: Shard,
    epoch: Epoch,
    lsn: Lsn,
    recorded: Instant,
    next_work: WorkId,
    next_bag: BagId,
    workers_given: u32,
}

#[derive(Serialize, Deserialize)]
struct TenantPart {
    name: String,
    weight: u32,
}

#[derive(Serialize, Deserialize)]
struct WorkerPart {
    worker: WorkerId,
    uid: String,
    name: String,
    version: String,
    offer: Offer,
    cordoned: bool,
    gone: bool,
}

#[derive(Serialize, Deserialize)]
struct BagPart {
    bag: BagId,
    lsn: Lsn,
    epoch: Epoch,
    first: WorkId,
    rows_total: u32,
    tenant: TenantId,
    key: IdempotencyKey,
    priority: Priority,
    opened: Instant,
    closed: bool,
    template: WorkTemplate,
}

impl Scheduler {
    /// Appends a snapshot of the state after record [`Scheduler::last_lsn`]. An `out` that is empty serves again from
    /// snapshot to snapshot; where its memory is too little, or many times too much, it gets another.
    ///
    /// Cost: what is left to do is copied once, with its rows. Works of bags that have succeeded since the last snapshot
    /// are gone through; of those before, a byte or two a work is copied.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        // Growing on the way would copy, and touch anew, several times what the snapshot takes.
        let needed = usize::try_from(self.snapshot_bytes()).unwrap_or(0);
        if out.is_empty() && !(needed..=needed.saturating_mul(16)).contains(&out.capacity()) {
            // Growing it would copy all that it ever held. Twice as large it lasts for a while; what is not touched
            // costs nothing.
            *out = Vec::with_capacity(needed.saturating_mul(2));
        }
        out.reserve(needed);
        put_part(
            out,
            &Header {
                format: FORMAT,
                shard: self.config.shard,
                epoch: self.epoch,
                lsn: self.last_lsn,
                recorded: self.recorded,
                next_work: self.next_work,
                next_bag: self.next_bag,
                workers_given: self.workers.next_id().0 - 1,
            },
        );
        put_len(out, self.tenants.len());
        for (_, tenant) in self.tenants.iter() {
            put_part(
                out,
                &TenantPart {
                    name: tenant.name.clone(),
                    weight: tenant.weight,
                },
            );
        }
        put_len(out, self.workers.len());
        for worker in self.workers.iter() {
            put_part(out, &worker_part(worker));
        }
        put_len(out, self.bags.len());
        for bag in self.bags.iter() {
            self.put_bag(out, bag);
        }
    }

    /// About how many bytes a snapshot takes now, rather too many than too few.
    pub(crate) fn snapshot_bytes(&self) -> u64 {
        const BAG_BYTES: u64 = 256;
        const WORKER_BYTES: u64 = 256;
        let works = self.open_works() + self.counters.works_done;
        works * WORKS_BYTES as u64
            + self.counters.rows_bytes
            + self.bags.len() as u64 * BAG_BYTES
            + self.workers.len() as u64 * WORKER_BYTES
    }

    fn put_bag(&self, out: &mut Vec<u8>, bag: &Bag) {
        put_part(
            out,
            &BagPart {
                bag: bag.id,
                lsn: bag.lsn,
                epoch: bag.epoch,
                first: bag.first,
                rows_total: bag.rows_total,
                tenant: bag.tenant,
                key: bag.key,
                priority: bag.priority,
                opened: bag.opened,
                closed: bag.closed,
                template: (*self.templates.get(bag.template).definition).clone(),
            },
        );
        put_len(out, bag.rows.chunks().len());
        for chunk in bag.rows.chunks() {
            out.extend_from_slice(&chunk.rows.to_le_bytes());
            out.extend_from_slice(&chunk.lsn.0.to_le_bytes());
            match chunk.bytes {
                None => out.extend_from_slice(&GONE.to_le_bytes()),
                Some(bytes) => {
                    put_len(out, bytes.len());
                    out.extend_from_slice(bytes);
                }
            }
        }
        if bag.has_succeeded() {
            out.extend_from_slice(self.image_of(bag));
        } else {
            self.put_works(out, bag);
        }
    }

    /// The works of a bag that has succeeded, as snapshots have them. Nothing of them can change any more, so they are
    /// gone through once and not with every snapshot.
    pub(crate) fn image_of<'a>(&self, bag: &'a Bag) -> &'a [u8] {
        bag.image.get_or_init(|| {
            let mut image = Vec::new();
            self.put_works(&mut image, bag);
            image.into_boxed_slice()
        })
    }

    /// Appends the works of a bag, those that are alike and stand together once.
    fn put_works(&self, out: &mut Vec<u8>, bag: &Bag) {
        let accepted = bag.accepted();
        let mut alike: Option<(WorkPart, u32)> = None;
        let mut row = 0;
        while row < accepted {
            let works = self.works.run(bag.first.offset(row), accepted - row);
            assert!(!works.is_empty(), "accepted rows are works");
            row += u32::try_from(works.len()).expect("at most as many as asked for");
            for part in works.iter().map(WorkPart::of) {
                match &mut alike {
                    Some((last, count)) if *last == part => *count += 1,
                    _ => {
                        if let Some((last, count)) = alike.replace((part, 1)) {
                            last.put(count, out);
                        }
                    }
                }
            }
        }
        if let Some((last, count)) = alike {
            last.put(count, out);
        }
    }

    /// Takes over a snapshot; to be called on a new scheduler, before any record.
    ///
    /// # Errors
    /// See [`RestoreError`]; the scheduler is of no use afterwards.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let mut reader = Reader::new(snapshot);
        let header: Header = part(&mut reader, "snapshot header")?;
        if !(1..=FORMAT).contains(&header.format) {
            return Err(RestoreError::Format { found: header.format });
        }
        if header.shard != self.config.shard {
            return Err(RestoreError::Shard {
                found: header.shard,
                expected: self.config.shard,
            });
        }
        self.now = header.recorded;
        self.recorded = header.recorded;
        self.workers.reserve(header.workers_given);
        for _ in 0..len(&mut reader, "tenants")? {
            let tenant: TenantPart = part(&mut reader, "tenant")?;
            self.tenants.insert(&tenant.name, tenant.weight);
        }
        for _ in 0..len(&mut reader, "workers")? {
            self.restore_worker(part(&mut reader, "worker")?, header.recorded);
        }
        for _ in 0..len(&mut reader, "bags")? {
            self.restore_bag(&mut reader, header.format)?;
        }
        reader.finish()?;
        self.epoch = header.epoch;
        self.last_lsn = header.lsn;
        self.next_work = header.next_work;
        self.next_bag = header.next_bag;
        self.scratch.bags.clear();
        Ok(())
    }

    fn restore_worker(&mut self, worker: WorkerPart, at: Instant) {
        let WorkerPart {
            worker: id,
            uid,
            name,
            version,
            offer,
            cordoned,
            gone,
        } = worker;
        self.insert_worker(WorkerJoined {
            worker: id,
            uid,
            name,
            version,
            offer,
            at,
        });
        let worker = self.workers.get_mut(id).expect("just inserted");
        worker.cordoned = cordoned;
        worker.state = if gone {
            WorkerState::Gone
        } else {
            WorkerState::Lost
        };
    }

    fn restore_bag(&mut self, reader: &mut Reader<'_>, format: u16) -> Result<(), RestoreError> {
        let bag: BagPart = part(reader, "bag")?;
        if bag.tenant.0 == 0 || bag.tenant.index() > self.tenants.len() {
            return Err(RestoreError::Contradiction(format!(
                "{} belongs to unknown {}",
                bag.bag, bag.tenant
            )));
        }
        self.epoch = bag.epoch;
        let id = bag.bag;
        self.insert_bag(
            bag.lsn,
            BagOpened {
                bag: id,
                first: bag.first,
                rows_total: bag.rows_total,
                tenant: bag.tenant,
                key: bag.key,
                at: bag.opened,
                template: bag.template,
            },
        );
        let entry = self.bags.get_mut(id).expect("just inserted");
        entry.priority = bag.priority;
        entry.closed = bag.closed;
        for _ in 0..len(reader, "chunks")? {
            let count = reader.u32("rows")?;
            let lsn = Lsn(if format == 1 {
                0
            } else {
                reader.u64("lsn of rows")?
            });
            if count > bag.rows_total - self.bags.get(id).expect("just inserted").accepted() {
                return Err(RestoreError::Contradiction(format!(
                    "{id} has more rows than it announced"
                )));
            }
            match reader.u32("bytes of rows")? {
                GONE => self.insert_gone_rows(id, count, lsn),
                bytes => {
                    let rest = reader.rest();
                    let rows = rest
                        .get(..bytes as usize)
                        .ok_or(DecodeError::Truncated { field: "rows" })?;
                    *reader = Reader::new(&rest[bytes as usize..]);
                    self.insert_rows(id, Rows::parse(count, rows)?, lsn);
                }
            }
        }
        let accepted = self.bags.get(id).expect("just inserted").accepted();
        let mut row = 0;
        while row < accepted {
            let alike = if format == 1 {
                1
            } else {
                reader.u32("works alike")?
            };
            if alike == 0 || alike > accepted - row {
                return Err(RestoreError::Contradiction(format!(
                    "{id} has {accepted} works, and {alike} more behind {row}"
                )));
            }
            let part = WorkPart::read(reader)?;
            for _ in 0..alike {
                self.restore_work(bag.first.offset(row), part)?;
                row += 1;
            }
        }
        Ok(())
    }

    fn insert_gone_rows(&mut self, id: BagId, rows: u32, lsn: Lsn) {
        let bag = self.bags.get_mut(id).expect("just inserted");
        let first = bag.first.offset(bag.accepted());
        bag.rows.push_gone(rows, lsn);
        bag.tally.queued += rows;
        self.works.accept(first, rows, id.0 as u32);
    }

    fn restore_work(&mut self, id: WorkId, part: WorkPart) -> Result<(), RestoreError> {
        let WorkPart {
            lsn,
            worker,
            epoch,
            attempt,
            spent,
            phase,
            reason,
            kills,
        } = part;
        if phase.is_held() {
            if self.workers.get(worker).is_none() {
                return Err(RestoreError::Contradiction(format!(
                    "{id} is held by unknown {worker}"
                )));
            }
            self.give_to_worker(id, worker);
        }
        let work = self.works.get_mut(id).expect("its row was accepted");
        let bag = work.bag;
        *work = Work {
            lsn,
            worker,
            epoch,
            attempt,
            spent,
            phase,
            reason,
            kills,
            ..*work
        };
        let bag = self.bags.of_work_mut(bag);
        let row = bag.row_of(id);
        if phase == Phase::Succeeded {
            self.counters.rows_bytes -= bag.rows.succeeded(row, 1);
        } else if matches!(bag.rows.get(row), Some(Row::Recorded(_))) {
            return Err(RestoreError::Contradiction(format!(
                "{id} is {phase:?} and its row has gone"
            )));
        }
        if phase != Phase::Queued {
            bag.count(Phase::Queued, phase);
            self.counters.moved(Phase::Queued, phase);
        }
        Ok(())
    }
}

/// What a snapshot says of a work.
#[derive(Clone, Copy, PartialEq, Eq)]
struct WorkPart {
    lsn: Lsn,
    worker: WorkerId,
    epoch: Epoch,
    attempt: Attempt,
    spent: u16,
    phase: Phase,
    reason: Reason,
    kills: u8,
}

impl WorkPart {
    fn of(work: &Work) -> Self {
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
    fn put(&self, count: u32, out: &mut Vec<u8>) {
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

fn worker_part(worker: &Worker) -> WorkerPart {
    WorkerPart {
        worker: worker.id,
        uid: worker.about.uid.clone(),
        name: worker.about.name.clone(),
        version: worker.about.version.clone(),
        offer: worker.about.offer.clone(),
        cordoned: worker.cordoned,
        gone: worker.state == WorkerState::Gone,
    }
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len).expect("tables are bounded");
    out.extend_from_slice(&len.to_le_bytes());
}

fn len(reader: &mut Reader<'_>, field: &'static str) -> Result<u32, DecodeError> {
    reader.u32(field)
}

fn put_part<T: Serialize>(out: &mut Vec<u8>, part: &T) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    put_control(out, part);
    let length = u32::try_from(out.len() - start - 4).expect("parts are small");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
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
