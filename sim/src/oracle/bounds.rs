//! Queues are bounded: open works, what waits to be told, what waits for the disk, what a worker keeps.

use wire_protocol::limits::LEASES_PER_WORKER_MAX;
use wire_protocol::units::Bytes;
use worker_core::Status;

use super::ledger::Ledger;
use super::{Violation, check};
use crate::faults::Options;

const NAME: &str = "bounds";

/// Bytes that may wait to be told: what a few clients and workers can have asked for.
const OUTBOX_MAX: Bytes = Bytes::from_mib(4);

pub(super) struct Bounds {
    open_works_max: u64,
    batch_bytes_max: Bytes,
}

impl Bounds {
    pub(super) fn new(options: &Options, open_works_max: u64) -> Self {
        Self {
            open_works_max,
            batch_bytes_max: Bytes(options.segment_bytes),
        }
    }

    pub(super) fn check_open(&self, ledger: &Ledger) -> Result<(), Violation> {
        let open = ledger.counts.waiting + ledger.counts.held;
        // What is queued again by command was accepted before and is in memory anyway.
        let max = self.open_works_max + ledger.revived;
        check(NAME, None, open <= max, || {
            format!("{open} of {max} works are open")
        })
    }

    pub(super) fn check_sizes(&self, outbox: Bytes, batch: Bytes) -> Result<(), Violation> {
        check(NAME, None, outbox <= OUTBOX_MAX, || {
            format!("{outbox} wait to be told")
        })?;
        check(NAME, None, batch <= self.batch_bytes_max, || {
            format!("{batch} wait for the disk")
        })
    }
}

pub(super) fn check_worker(uid: &str, status: &Status) -> Result<(), Violation> {
    let kept = status.unacknowledged + status.running + status.waiting;
    check(NAME, None, kept <= 2 * LEASES_PER_WORKER_MAX, || {
        format!("{uid} keeps {kept} leases and reports")
    })
}
