//! What a batch of records does to the tables.

use crate::beginning::Beginning;
use crate::chain::ChainChange;
use wire_protocol::ids::{Attempt, BagId, Epoch, Lsn, TenantId, WorkId, WorkerId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record::{
    BagOpened, EpochStarted, TenantAdded, WorkerChanged, WorkerEnrolled, WorkerJoined, WorkerStanding,
};
use wire_protocol::template::Priority;
use wire_protocol::units::Instant;
use wire_protocol::view::WorkState;

/// All that the records behind `after` up to `upto` change; to be applied in one transaction with the position.
///
/// [`Batch::bookkeeping`] goes first and [`Batch::events`] may go at any time; [`Batch::steps`] go in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// The tables are at this record; anywhere else the batch must not be applied.
    pub after: Lsn,
    /// And at this one afterwards.
    pub upto: Lsn,
    /// Changes of everything that is not a work, in order.
    pub bookkeeping: Vec<Bookkeeping>,
    /// Changes of works and attempts, in order.
    pub steps: Vec<Step>,
    /// State changes of single works; those of runs are made by [`RunChange`].
    pub events: Vec<Event>,
    /// What the books of the chain say now; it may go at any time.
    pub chain: ChainChange,
}

impl Batch {
    /// State changes of works that it holds; see [`crate::Coalescer::changes`].
    #[must_use]
    pub fn changes(&self) -> usize {
        self.events.len()
    }

    /// Works that it ends, one by one.
    #[must_use]
    pub fn works_done(&self) -> u64 {
        let done = |event: &&Event| matches!(event.state, WorkState::Done(_));
        self.events.iter().filter(done).count() as u64
    }
}

/// A change of a row that is not a work's; rare, so it is not coalesced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bookkeeping {
    /// The tables begin with a bag, or with the next one.
    Begins(Beginning),
    /// An engine took up the shard.
    EpochStarted(EpochStarted),
    /// A new tenant.
    TenantAdded(TenantAdded),
    /// A new bag.
    BagOpened(Box<BagOpened>),
    /// A bag goes with another priority.
    BagPrioritised {
        /// The bag.
        bag: BagId,
        /// From here on.
        priority: Priority,
    },
    /// A bag takes no more rows.
    BagClosed {
        /// The bag.
        bag: BagId,
        /// When.
        at: Instant,
    },
    /// The engine forgot a bag, all of whose works are done. Its rows stay.
    BagForgotten(BagId),
    /// A worker joined, or joined again.
    WorkerJoined(Box<WorkerJoined>),
    /// A worker's state changed.
    WorkerChanged {
        /// As recorded.
        changed: WorkerChanged,
        /// `Some`: an operator put a cordon on it, or took it off.
        cordons: Option<bool>,
    },
    /// A worker got a certificate.
    WorkerEnrolled(WorkerEnrolled),
    /// Whether a worker may work, and whose wallet it has shown.
    WorkerStanding(WorkerStanding),
    /// The engine forgot a worker. Its row stays.
    WorkerForgotten(WorkerId),
}

/// A part of a batch's changes of works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Single works and attempts, each once, in the order of their ids.
    Rows {
        /// The works.
        works: Vec<WorkChange>,
        /// The attempts.
        attempts: Vec<AttemptChange>,
    },
    /// A run of consecutive works, of which the tables know whom it concerns.
    Run(RunChange),
}

/// One work's row: the new one, or the newest state of one that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkChange {
    /// Which.
    pub work: WorkId,
    /// The columns that never change, of a work that was accepted in this step.
    pub new: Option<NewWork>,
    /// The columns that change.
    pub now: WorkNow,
}

/// What is known of a work when it is accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewWork {
    /// Its bag.
    pub bag: BagId,
    /// Whose it is.
    pub tenant: TenantId,
    /// When it was accepted.
    pub accepted_at: Instant,
    /// Its parameters, as they were submitted.
    pub parameters: Vec<u8>,
}

/// Where a work is. Every record about a single work says all of this, so the last one wins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkNow {
    /// Its state.
    pub state: WorkState,
    /// Why it has it.
    pub reason: Reason,
    /// The last attempt; 0: there was none.
    pub attempt: Attempt,
    /// The worker of that attempt; `None`: nobody has the work, or nobody decided it.
    pub worker: Option<WorkerId>,
    /// What an attempt that decided it left behind.
    pub decided: Option<Decided>,
    /// When it came into this state.
    pub changed_at: Instant,
    /// The record that says so.
    pub lsn: Lsn,
}

/// What is left of the attempt that decided a work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decided {
    /// Exit code, or minus the signal.
    pub exit_code: i32,
    /// Time that it ran, in microseconds.
    pub elapsed_us: u32,
    /// The result.
    pub result: Vec<u8>,
}

/// One attempt's row; `None` leaves the columns as they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttemptChange {
    /// Of which work.
    pub work: WorkId,
    /// Which try.
    pub attempt: Attempt,
    /// By whom.
    pub worker: WorkerId,
    /// The engine's epoch and the time of the lease, of an attempt that is new in this step.
    pub leased: Option<(Epoch, Instant)>,
    /// When the worker began to run it.
    pub started_at: Option<Instant>,
    /// How it ended.
    pub ended: Option<AttemptEnd>,
}

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AttemptEnd {
    /// When.
    pub at: Instant,
    /// The outcome that it gave its work; `None`: it gave none, the work went on without it.
    pub outcome: Option<Outcome>,
    /// Why.
    pub reason: Reason,
}

/// A run of consecutive works that go the same way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunChange {
    /// The record that says so.
    pub lsn: Lsn,
    /// When.
    pub at: Instant,
    /// The first work.
    pub first: WorkId,
    /// How many from there on.
    pub count: u32,
    /// `Some`: those that are not done end so, with their attempts. `None`: those that ended without success are
    /// queued again.
    pub outcome: Option<Outcome>,
    /// Why.
    pub reason: Reason,
}

impl RunChange {
    /// A work of this run in this state is concerned.
    #[must_use]
    pub fn concerns(&self, state: WorkState, attempt: Attempt) -> bool {
        match (self.outcome, state) {
            (Some(_), WorkState::Done(_)) | (None, WorkState::Done(Outcome::Succeeded)) => false,
            (Some(_), _) => true,
            // One whose attempts cannot be counted any further stays as it is.
            (None, WorkState::Done(_)) => attempt.0 < u16::MAX,
            (None, _) => false,
        }
    }

    /// The state of those that are concerned.
    #[must_use]
    pub fn becomes(&self) -> WorkState {
        self.outcome.map_or(WorkState::Queued, WorkState::Done)
    }
}

/// One state change of one work. A record changes a work once at most, so (lsn, work) names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// The record that says so.
    pub lsn: Lsn,
    /// The work.
    pub work: WorkId,
    /// When.
    pub at: Instant,
    /// What it became.
    pub state: WorkState,
    /// Why.
    pub reason: Reason,
    /// Its attempt then.
    pub attempt: Attempt,
    /// The worker concerned.
    pub worker: Option<WorkerId>,
}
