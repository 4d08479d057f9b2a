//! What is to be looked at later.
//!
//! One heap for everything. Timers are not cancelled: whoever handles a due one looks whether it still means
//! something, which is cheaper than finding it in the heap, and there are few (leases are timed per worker,
//! deadlines per bag).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use wire_protocol::ids::{Attempt, BagId, WorkId, WorkerId};
use wire_protocol::units::Instant;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// The backoff after this attempt is over.
    Retry(WorkId, Attempt),
    /// The time to live of the bag is nearly over: its works go first.
    Urgent(BagId),
    /// The time to live of the bag is over.
    Expire(BagId),
    /// The worker may have been silent for too long.
    Lease(WorkerId),
    /// The worker may have been away for too long to be remembered.
    ForgetWorker(WorkerId),
    /// The bag has been done for long enough.
    ForgetBag(BagId),
    /// Works may have to be moved from workers that hoard to workers that starve.
    Rebalance,
    /// Works may have waited for room for so long that a worker holds it for them.
    Reserve,
    /// Workers that held leases before a restart have had their time to come back.
    Rejoin,
    /// Nothing is to be done; that this timer is noticed late tells that the scheduler was stalled.
    Pulse,
    /// The deadline of a worker's drain has passed, as an operator set it, and it should have given everything back.
    DrainOver(WorkerId),
    /// Works whose output is followed are looked at.
    Logs,
}

#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, Timer)>>,
}

impl Timers {
    pub(crate) fn at(&mut self, when: Instant, timer: Timer) {
        self.heap.push(Reverse((when, timer)));
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((when, _))| *when)
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let Reverse((when, timer)) = *self.heap.peek()?;
        if when > now {
            return None;
        }
        self.heap.pop();
        Some(timer)
    }
}
