//! Tables of a journal that begins late: its older records were let go, because the engine had forgotten the works that
//! they were about.
//!
//! The engine keeps all records of a bag that it remembers, from the one that opened it. So of each bag that a record here
//! opens everything is known, and of all bags before nothing is: their works have no rows, whatever is still said of
//! them. Tenants and workers are remembered for longer than their records; a snapshot knows them, but not since when.

use wire_protocol::ids::{BagId, Lsn, WorkId};
use wire_protocol::outcome::Reason;
use wire_protocol::record::{TenantAdded, WorkerChanged, WorkerEnrolled, WorkerJoined, WorkerStanding};
use wire_protocol::units::Instant;
use wire_protocol::view::WorkerState;

use crate::chain::ChainChange;
use crate::change::{Batch, Bookkeeping};

/// The first bag that has rows, and its first work. Numbers rise in the order in which bags are opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beginning {
    /// The bag.
    pub bag: BagId,
    /// The work.
    pub work: WorkId,
}

impl Beginning {
    /// Everything has rows.
    pub const WHOLE: Self = Self {
        bag: BagId(0),
        work: WorkId(0),
    };
    /// Nothing has; the next bag that is opened will be the first.
    pub const OPEN: Self = Self {
        bag: BagId(i64::MAX as u64),
        work: WorkId(i64::MAX as u64),
    };

    /// A bag has rows.
    #[must_use]
    pub fn has_bag(self, bag: BagId) -> bool {
        bag >= self.bag
    }

    /// A work has a row.
    #[must_use]
    pub fn has_work(self, work: WorkId) -> bool {
        work >= self.work
    }
}

/// Who was there before the first record.
#[derive(Clone, Default, Debug)]
pub struct Base {
    /// All tenants that there were.
    pub tenants: Vec<TenantAdded>,
    /// All workers that were remembered.
    pub workers: Vec<KnownWorker>,
}

/// A worker of which it is not known since when it is there, and what became of it last.
#[derive(Clone, Debug)]
pub struct KnownWorker {
    /// Who it is; the time says nothing.
    pub joined: WorkerJoined,
    /// Whether it may work, and its wallet; the time says nothing. `None`: it may, and has none.
    pub standing: Option<WorkerStanding>,
    /// Its certificate, if it has one; the time says nothing.
    pub enrolled: Option<WorkerEnrolled>,
    /// An operator put a cordon on it.
    pub cordoned: bool,
    /// It was drained.
    pub gone: bool,
}

impl Base {
    /// What makes empty tables ready for the record `first`. A time that is not known is 0.
    #[must_use]
    pub fn batch(self, first: Lsn) -> Batch {
        let unknown = Instant(0);
        let mut bookkeeping = vec![Bookkeeping::Begins(Beginning::OPEN)];
        bookkeeping.extend(self.tenants.into_iter().map(Bookkeeping::TenantAdded));
        for known in self.workers {
            let worker = known.joined.worker;
            bookkeeping.push(Bookkeeping::WorkerJoined(Box::new(WorkerJoined {
                at: unknown,
                ..known.joined
            })));
            let enrolled = known.enrolled.map(|enrolled| WorkerEnrolled {
                at: unknown,
                ..enrolled
            });
            bookkeeping.extend(enrolled.map(Bookkeeping::WorkerEnrolled));
            let standing = known.standing.map(|said| WorkerStanding { at: unknown, ..said });
            bookkeeping.extend(standing.map(Bookkeeping::WorkerStanding));
            let mut becomes = |state, reason, cordons| {
                let changed = WorkerChanged {
                    worker,
                    state,
                    reason,
                    at: unknown,
                };
                bookkeeping.push(Bookkeeping::WorkerChanged { changed, cordons });
            };
            if known.cordoned {
                becomes(WorkerState::Cordoned, Reason::ByOperator, Some(true));
            }
            if known.gone {
                becomes(WorkerState::Gone, Reason::ByOperator, None);
            }
        }
        Batch {
            after: Lsn(0),
            upto: Lsn(first.0.saturating_sub(1)),
            bookkeeping,
            steps: Vec::new(),
            events: Vec::new(),
            chain: ChainChange::default(),
        }
    }
}
