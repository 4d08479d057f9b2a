//! Questions about works: which ones, in which order, and what is known of each.
//!
//! The tables answer with [`WorkPage`]s ([`crate::Reader`]), the engine with what it has in memory; [`merge`] makes one
//! page of both. Parameters and results are in no list: they may be large, and are asked for one by one.
//!
//! No SQL and no engine here, so that all of it can be tested without them.

mod merge;

use std::collections::BTreeMap;

use wire_protocol::ids::{Attempt, BagId, Epoch, Lsn, TenantId, WorkId, WorkerId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::units::Instant;
use wire_protocol::view::WorkState;

pub(crate) use merge::cut;
pub use merge::{Live, LiveWork, Merged, merge};

/// Works of a page at most: 1,000, a screen that nobody reads to its end, and some 200 KiB.
pub const PAGE_WORKS_MAX: usize = 1_000;

/// Which works. An empty filter passes all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WorkFilter {
    /// Only these states; empty: all.
    pub states: Vec<WorkState>,
    /// Only of this user.
    pub user: Option<TenantId>,
    /// Only of batches for this app, by its whole name.
    pub app: Option<String>,
    /// Only of this batch.
    pub batch: Option<BagId>,
    /// Only those whose last attempt is, or was, with this worker.
    pub worker: Option<WorkerId>,
    /// Only those accepted at this instant or later. The tables keep microseconds, and so these are compared.
    pub accepted_from: Option<Instant>,
    /// Only those accepted before this instant.
    pub accepted_until: Option<Instant>,
    /// Only of batches with this label, the whole of it.
    pub label: Option<String>,
}

/// Which come first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// Those with the greatest numbers, which were accepted last.
    #[default]
    NewestFirst,
    /// Those with the least.
    OldestFirst,
}

/// A page of works that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkQuery {
    /// Which works.
    pub filter: WorkFilter,
    /// Which come first.
    pub order: Order,
    /// Only those behind this one in the order; `None`: from the beginning.
    pub after: Option<WorkId>,
    /// How many, 1 to [`PAGE_WORKS_MAX`]; what is outside counts as the nearer of the two.
    pub limit: usize,
}

/// A work without its parameters and its result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkRow {
    /// Its id.
    pub work: WorkId,
    /// Its batch.
    pub batch: BagId,
    /// Whose it is.
    pub user: TenantId,
    /// App of its batch.
    pub app: String,
    /// Label of its batch.
    pub label: String,
    /// Where it is.
    pub state: WorkState,
    /// Why.
    pub reason: Reason,
    /// The last attempt; 0: there was none.
    pub attempt: Attempt,
    /// The worker of that attempt; `None`: nobody has the work, or nobody decided it.
    pub worker: Option<WorkerId>,
    /// Exit code of the attempt that decided it, or minus the signal; `None`: there is none, or only the engine knows.
    pub exit_code: Option<i32>,
    /// Time that this attempt ran, in microseconds; `None`: as for the exit code.
    pub elapsed_us: Option<u32>,
    /// When it was accepted.
    pub accepted_at: Instant,
    /// When it came into this state; `None`: the engine says where it is, and not since when.
    pub changed_at: Option<Instant>,
    /// The record that says so; `None`: the engine says it.
    pub lsn: Option<Lsn>,
}

/// Works, in the order that was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WorkPage {
    /// The works.
    pub works: Vec<WorkRow>,
    /// Ask again behind this work; `None`: that was all. A page may be short, even empty, and not be the last: a
    /// bounded number of batches is looked at.
    pub next: Option<WorkId>,
    /// The record that the tables were at.
    pub at: Lsn,
}

/// One attempt at a work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttemptRow {
    /// Its number, from 1.
    pub attempt: Attempt,
    /// Who had it.
    pub worker: WorkerId,
    /// The engine's epoch that gave it.
    pub epoch: Epoch,
    /// When it was given.
    pub leased_at: Instant,
    /// When it began to run; `None`: not yet, or never.
    pub started_at: Option<Instant>,
    /// When it ended; `None`: it has not.
    pub ended_at: Option<Instant>,
    /// How it ended; `None`: it has not, or was lost or taken back.
    pub outcome: Option<Outcome>,
    /// Why it ended so; `None`: it has not.
    pub reason: Option<Reason>,
}

/// A work and all attempts at it, in their order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkHistory {
    /// The work.
    pub work: WorkRow,
    /// The attempts.
    pub attempts: Vec<AttemptRow>,
}

/// How many works are in each state; a state that no work has is not there.
pub type WorkCounts = BTreeMap<WorkState, u64>;

impl WorkFilter {
    /// It lets this work pass.
    #[must_use]
    pub fn passes(&self, work: &WorkRow) -> bool {
        /// What is not asked for passes.
        fn same<T: PartialEq>(asked: Option<&T>, found: Option<&T>) -> bool {
            asked.is_none() || asked == found
        }
        let micros = |at: Instant| at.0 / 1_000;
        let accepted = micros(work.accepted_at);
        (self.states.is_empty() || self.states.contains(&work.state))
            && same(self.user.as_ref(), Some(&work.user))
            && same(self.app.as_ref(), Some(&work.app))
            && same(self.batch.as_ref(), Some(&work.batch))
            && same(self.worker.as_ref(), work.worker.as_ref())
            && same(self.label.as_ref(), Some(&work.label))
            && self.accepted_from.is_none_or(|from| accepted >= micros(from))
            && self.accepted_until.is_none_or(|until| accepted < micros(until))
    }
}

impl Order {
    /// `work` comes behind `other`.
    pub(crate) fn is_behind(self, work: WorkId, other: WorkId) -> bool {
        match self {
            Self::NewestFirst => work < other,
            Self::OldestFirst => work > other,
        }
    }

    /// Puts them in this order.
    pub(crate) fn sort(self, works: &mut [WorkRow]) {
        works.sort_by_key(|row| row.work);
        if self == Self::NewestFirst {
            works.reverse();
        }
    }
}

impl WorkQuery {
    /// The first page of works of this filter, newest first, of 100.
    #[must_use]
    pub fn new(filter: WorkFilter) -> Self {
        Self {
            filter,
            order: Order::default(),
            after: None,
            limit: 100,
        }
    }

    /// How many works the page has at most.
    #[must_use]
    pub fn works_max(&self) -> usize {
        self.limit.clamp(1, PAGE_WORKS_MAX)
    }
}

#[cfg(test)]
mod tests;
