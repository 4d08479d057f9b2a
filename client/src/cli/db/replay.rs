//! The journal once more, into empty tables.
//!
//! An engine lets go of records when it has forgotten the works that they are about and its sidecars have stored them. From
//! a journal that begins late everything comes of each bag that it opens; tenants and workers of before come from a
//! snapshot.

use std::collections::BTreeMap;

use engine_core::Image;
use engine_journal::{JournalError, OsStorage};
use indicatif::{ProgressBar, ProgressStyle};
use sidecars_tables::{Base, Beginning, Coalescer, Database, KnownWorker};
use tokio::runtime::Runtime;
use wire_protocol::feed::FeedRecord;
use wire_protocol::ids::{Lsn, TenantId};
use wire_protocol::record::{TenantAdded, WorkerEnrolled, WorkerJoined, WorkerStanding};
use wire_protocol::units::Instant;

use super::Place;
use crate::cli::exit::{Exit, Failure};

/// State changes that are written in one transaction.
const BATCH_CHANGES: usize = 100_000;

/// What a replay came to.
#[derive(Clone, Copy)]
pub(super) struct Replayed {
    /// The last record that was written.
    pub(super) upto: Lsn,
    /// Where the tables begin.
    pub(super) beginning: Beginning,
}

/// Writes the records of the journal up to `upto` into an empty database.
pub(super) fn replay(
    runtime: &Runtime,
    place: &Place,
    database: &mut Database,
    upto: Lsn,
) -> Result<Replayed, Failure> {
    let storage = place.storage()?;
    let bar = ProgressBar::new_spinner().with_style(
        ProgressStyle::with_template("{spinner} {human_pos} records replayed  {per_sec}")
            .expect("a valid template"),
    );
    let mut replay = Replay {
        runtime,
        place,
        database,
        coalescer: Coalescer::new(Lsn(0), []),
    };
    let mut ended: Result<(), Failure> = Ok(());
    let report = engine_journal::export(&storage, Lsn(1), upto, |view| {
        if ended.is_ok() {
            ended = replay.take(
                &storage,
                upto,
                &FeedRecord {
                    lsn: view.lsn,
                    epoch: view.epoch,
                    wall_us: view.wall_us,
                    kind: view.kind,
                    payload: view.payload,
                },
            );
            bar.set_position(replay.coalescer.upto().0);
        }
    });
    bar.finish_and_clear();
    ended?;
    let report = report?;
    let first = report.first_lsn();
    if let Some(damage) = report.damage {
        return Err(JournalError::from(damage).into());
    }
    if upto > Lsn(0) && upto < first {
        let what = format!(
            "the journal {} begins at record {first}, behind record {upto}, where the tables are",
            place.journal.display()
        );
        return Err(
            Failure::new(Exit::NotFound, what).cure("give a copy of the journal that goes further back")
        );
    }
    replay.write()?;
    Ok(Replayed {
        upto: replay.coalescer.upto(),
        beginning: replay.coalescer.beginning(),
    })
}

struct Replay<'a> {
    runtime: &'a Runtime,
    place: &'a Place,
    database: &'a mut Database,
    coalescer: Coalescer,
}

impl Replay<'_> {
    fn take(&mut self, storage: &OsStorage, upto: Lsn, record: &FeedRecord<'_>) -> Result<(), Failure> {
        if self.coalescer.upto() == Lsn(0) && record.lsn > Lsn(1) {
            self.begin_late(storage, record.lsn, upto)?;
        }
        self.coalescer.take(record).map_err(|error| {
            let what = format!("the journal {} cannot be replayed", self.place.journal.display());
            Failure::caused(Exit::Failed, what, &error)
        })?;
        if self.coalescer.changes() >= BATCH_CHANGES {
            self.write()?;
        }
        Ok(())
    }

    /// The tables begin with what a snapshot knows of the time before the record `first`.
    fn begin_late(&mut self, storage: &OsStorage, first: Lsn, upto: Lsn) -> Result<(), Failure> {
        let missing = || {
            let what = format!(
                "the journal {} begins at record {first}, and no sound snapshot in it is of record {} to {upto}",
                self.place.journal.display(),
                first.0 - 1
            );
            Failure::new(Exit::NotFound, what)
                .cure("let pool-persist catch up, or give a copy of the journal that goes further back")
        };
        let snapshot = engine_journal::snapshot(storage, upto)?
            .filter(|snapshot| snapshot.lsn.next() >= first)
            .ok_or_else(missing)?;
        let image = Image::parse(&snapshot.bytes).map_err(|error| {
            let what = format!("the snapshot of record {} cannot be read", snapshot.lsn);
            Failure::caused(Exit::Failed, what, &error)
        })?;
        let batch = base(image).batch(first);
        self.coalescer = Coalescer::new(batch.upto, []).beginning_with(Beginning::OPEN);
        let applied = self.runtime.block_on(self.database.apply(&batch));
        applied.map_err(|error| self.place.failed(&error))
    }

    fn write(&mut self) -> Result<(), Failure> {
        if self.coalescer.records() == 0 {
            return Ok(());
        }
        let batch = self.coalescer.batch();
        let applied = self.runtime.block_on(self.database.apply(&batch));
        applied.map_err(|error| self.place.failed(&error))
    }
}

/// Whom a snapshot knows.
fn base(image: Image<'_>) -> Base {
    let tenants = (1..).zip(image.tenants).map(|(number, tenant)| TenantAdded {
        tenant: TenantId(number),
        name: tenant.name,
        weight: tenant.weight,
    });
    let standings: BTreeMap<_, _> = image
        .standings
        .iter()
        .map(|standing| (standing.worker, standing))
        .collect();
    let workers = image.workers.into_iter().map(|worker| KnownWorker {
        standing: standings.get(&worker.worker).map(|known| WorkerStanding {
            worker: known.worker,
            approval: known.approval,
            wallet: known.wallet,
            at: Instant(0),
        }),
        enrolled: standings.get(&worker.worker).and_then(|known| {
            let (serial, key, not_after, token) = known.certificate?;
            Some(WorkerEnrolled {
                worker: known.worker,
                token: Some(token),
                serial,
                key,
                not_after,
                at: Instant(0),
            })
        }),
        cordoned: worker.cordoned,
        gone: worker.gone,
        joined: WorkerJoined {
            worker: worker.worker,
            uid: worker.uid,
            name: worker.name,
            version: worker.version,
            offer: worker.offer,
            at: Instant(0),
        },
    });
    Base {
        tenants: tenants.collect(),
        workers: workers.collect(),
    }
}
