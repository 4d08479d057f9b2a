//! Every acknowledged result is readable, with the bytes that the attempt produced: those of this very work and
//! this very lease.

use std::collections::BTreeMap;

use wire_protocol::ids::{LeaseToken, Lsn};
use wire_protocol::outcome::Outcome;
use wire_protocol::record::Record;
use wire_protocol::view::{Reply, WorkState};
use wire_protocol::worker_link::Report;

use super::ledger::{Ending, Ledger};
use super::{Violation, check};
use crate::hostile::HOSTILE;

const NAME: &str = "result";

/// What executors made, by lease and worker.
#[derive(Default)]
pub(super) struct Produced {
    results: BTreeMap<(LeaseToken, String), Vec<u8>>,
}

impl Produced {
    pub(super) fn add(&mut self, uid: &str, report: &Report<'_>) {
        let key = (report.token, uid.to_owned());
        self.results.insert(key, report.result.to_vec());
    }
}

pub(super) fn check_record(
    ledger: &Ledger,
    produced: &Produced,
    record: &Record<'_>,
) -> Result<(), Violation> {
    let Record::Settled(settled) = record else {
        return Ok(());
    };
    let uid = ledger.uid(settled.worker);
    if uid.starts_with(HOSTILE) {
        return Ok(());
    }
    for item in settled.iter().filter(|item| item.outcome == Outcome::Succeeded) {
        let Some(token) = ledger.settling(item.work, item.attempt, settled.worker) else {
            continue;
        };
        let work = &ledger.works[&item.work];
        if ledger.bags[&work.bag].template.executor() == "null" {
            check(NAME, item.work, item.result == [0; 16], || {
                format!("{} should result in 16 zeros", item.work)
            })?;
            continue;
        }
        let made = produced.results.get(&(token, uid.to_owned()));
        check(
            NAME,
            item.work,
            made.is_some_and(|made| made == item.result),
            || format!("{uid} never made this result of {token}"),
        )?;
        // What is for an order is the same whoever has computed it, and under whatever lease.
        if !ledger.bags[&work.bag].template.ticket.is_empty() {
            continue;
        }
        let own = item
            .result
            .strip_prefix(&token.to_bytes())
            .is_some_and(|rest| rest.starts_with(&work.row));
        check(NAME, item.work, own, || {
            format!("the result of {token} is that of another lease or row")
        })?;
    }
    Ok(())
}

/// A reply is about to be sent: if it has a work's result, then it is the recorded one.
pub(super) fn check_reply(ledger: &Ledger, reply: &Reply, durable: Lsn) -> Result<(), Violation> {
    let Reply::Work(detail) = reply else { return Ok(()) };
    let WorkState::Done(outcome) = detail.work.state else {
        return Ok(());
    };
    let id = detail.work.work;
    let endings = ledger.works.get(&id).map_or(&[][..], |work| &work.outcomes[..]);
    let recorded = endings.iter().any(|ending| {
        ending.outcome == outcome
            && ending.result == detail.result
            && ending.exit_code == detail.exit_code
            && ending.lsn <= durable
    });
    check(NAME, id, recorded, || {
        let known: Vec<String> = endings.iter().map(Ending::describe).collect();
        format!(
            "{id} is shown as {outcome} with {} bytes; recorded is {}",
            detail.result.len(),
            known.join(", ")
        )
    })
}

/// No record is gone that a remembered work's result is in.
pub(super) fn check_kept(ledger: &Ledger, first: Lsn) -> Result<(), Violation> {
    for (id, work) in &ledger.works {
        let Some(ending) = work.outcomes.last() else {
            continue;
        };
        if ledger.remembered(*id).is_some() {
            check(NAME, *id, ending.lsn >= first, || {
                format!(
                    "the result of {id} at {} is gone, the journal begins at {first}",
                    ending.lsn
                )
            })?;
        }
    }
    Ok(())
}
