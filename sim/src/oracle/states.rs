//! The scheduler's tables say what the records say, states move only along the table, and the conversation keeps
//! its form. (`Scheduler::check` and `Agent::check` run beside this; what they find is a panic.)

use engine_core::Counters;
use wire_protocol::codec::DecodeError;
use wire_protocol::ids::Lsn;
use wire_protocol::record::Record;
use worker_core::Disconnect;

use super::ledger::Ledger;
use super::{Violation, check};

const NAME: &str = "states";

pub(super) fn parse(lsn: Lsn, kind: u8, payload: &[u8]) -> Result<Record<'_>, Violation> {
    Record::parse(kind, payload)
        .map_err(|error| Violation::new(NAME, None, format!("{lsn} cannot be read: {error}")))
}

pub(super) fn nonsense(error: &DecodeError) -> Violation {
    Violation::new(NAME, None, format!("the engine says nonsense: {error}"))
}

pub(super) fn check_record(ledger: &Ledger, record: &Record<'_>) -> Result<(), Violation> {
    match record {
        Record::EpochStarted(started) => check(NAME, None, started.epoch > ledger.epoch, || {
            format!("{} follows {}", started.epoch, ledger.epoch)
        }),
        Record::WorkerJoined(joined) => {
            let same = ledger
                .workers
                .iter()
                .find(|(id, worker)| worker.uid == joined.uid && **id != joined.worker);
            check(NAME, None, same.is_none(), || {
                format!(
                    "{} is {} and {:?}",
                    joined.uid,
                    joined.worker,
                    same.map(|(id, _)| id)
                )
            })
        }
        _ => Ok(()),
    }
}

/// The scheduler counts what the ledger counts.
pub(super) fn compare(ledger: &Ledger, emitted: u64, counters: &Counters) -> Result<(), Violation> {
    let counts = &ledger.counts;
    let same = counters.works_queued + counters.works_delayed == counts.waiting
        && counters.works_leased == counts.held
        && counters.works_done == counts.done
        && counters.bags == counts.bags
        && counters.lsn == emitted;
    check(NAME, None, same, || {
        format!("the records say {counts:?}, {emitted} of them; the scheduler says {counters:?}")
    })
}

/// A worker closed its link: not because of something that an engine must not say.
pub(super) fn check_conversation(uid: &str, reason: &Disconnect) -> Result<(), Violation> {
    let fine = matches!(
        reason,
        Disconnect::Silence(_) | Disconnect::NoWelcome | Disconnect::Refused(_)
    );
    check(NAME, None, fine, || format!("{uid} closes its link: {reason}"))
}
