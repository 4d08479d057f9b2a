//! A worker never holds more than its credit: as the engine counts when it gives leases, and as the worker sees
//! it.

use wire_protocol::record::Attempts;
use worker_core::Note;

use super::ledger::Ledger;
use super::{Violation, check};

const NAME: &str = "credit";

/// Leases were given and are in the ledger. Those that a worker brings from before may be more.
pub(super) fn check_engine(ledger: &Ledger, attempts: &Attempts<'_>) -> Result<(), Violation> {
    let Some(new) = attempts.iter().find(|token| token.epoch == ledger.epoch) else {
        return Ok(());
    };
    let worker = &ledger.workers[&attempts.worker];
    let credit = (worker.offer.slots + worker.offer.prefill) as usize;
    check(NAME, new.work, worker.held.len() <= credit, || {
        format!("{} holds {} of {credit} works", worker.uid, worker.held.len())
    })
}

/// What runs at a worker, also what was told to stop and has not yet.
pub(super) fn check_worker(uid: &str, slots: u32, running: usize) -> Result<(), Violation> {
    check(NAME, None, running <= slots as usize, || {
        format!("{uid} runs {running} works in {slots} slots")
    })
}

pub(super) fn check_note(uid: &str, note: &Note) -> Result<(), Violation> {
    check(NAME, None, !matches!(note, Note::OverAssigned { .. }), || {
        format!("{uid} was sent more than it may hold: {note:?}")
    })
}
