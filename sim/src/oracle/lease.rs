//! A work has at most one live lease, and nothing of a superseded one has an effect: what starts, releases or
//! settles a work is the lease that the ledger has for it, from the worker that has it.

use std::collections::BTreeSet;

use wire_protocol::ids::{LeaseToken, WorkId};
use wire_protocol::record::{Attempts, Record};
use wire_protocol::worker_link::Assignments;

use super::ledger::{Ledger, State};
use super::{Violation, check};
use crate::hostile::HOSTILE;

const NAME: &str = "lease";

/// Every lease that an engine ever gave, also those that a crash has forgotten.
#[derive(Default)]
pub(super) struct Given {
    leases: BTreeSet<(LeaseToken, String)>,
}

pub(super) fn check_record(ledger: &Ledger, given: &mut Given, record: &Record<'_>) -> Result<(), Violation> {
    match record {
        Record::Leased(attempts) => check_leased(ledger, given, attempts),
        Record::Started(attempts) | Record::Released(attempts) => {
            attempts.iter().try_for_each(|token| {
                let held = State::Held(token, attempts.worker);
                check_held(ledger, token.work, |state| state == held, || {
                    format!("{token} of {}", attempts.worker)
                })
            })
        }
        Record::Settled(settled) => settled.iter().try_for_each(|item| {
            let holds = |state| matches!(state, State::Held(token, worker) if worker == settled.worker && token.attempt == item.attempt);
            check_held(ledger, item.work, holds, || {
                format!("attempt {} of {}", item.attempt, settled.worker)
            })
        }),
        Record::WorkerForgotten(worker) => {
            let held = ledger.workers.get(worker).and_then(|worker| worker.held.first());
            check(NAME, held.copied(), held.is_none(), || {
                format!("{worker} is forgotten and holds {held:?}")
            })
        }
        _ => Ok(()),
    }
}

fn check_leased(ledger: &Ledger, given: &mut Given, attempts: &Attempts<'_>) -> Result<(), Violation> {
    let worker = attempts.worker;
    let uid = ledger.uid(worker);
    check(NAME, None, !uid.is_empty(), || {
        format!("{worker} is unknown and gets leases")
    })?;
    for token in attempts.iter() {
        check_held(
            ledger,
            token.work,
            |state| state == State::Waiting,
            || format!("{token} of {worker} is given"),
        )?;
        let last = ledger.works[&token.work].last_attempt;
        check(NAME, token.work, token.attempt > last, || {
            format!("{token} is given after attempt {last}")
        })?;
        if token.epoch == ledger.epoch {
            given.leases.insert((token, uid.to_owned()));
            continue;
        }
        // An earlier engine gave it and a crash forgot it; a liar may claim what it likes of what waits.
        let known = given.leases.contains(&(token, uid.to_owned()));
        let earlier = token.epoch < ledger.epoch;
        check(
            NAME,
            token.work,
            earlier && (known || uid.starts_with(HOSTILE)),
            || format!("{token} is adopted from {uid}, which never got it"),
        )?;
    }
    Ok(())
}

fn check_held(
    ledger: &Ledger,
    work: WorkId,
    holds: impl FnOnce(State) -> bool,
    what: impl FnOnce() -> String,
) -> Result<(), Violation> {
    let state = ledger.remembered(work).map(|work| work.state);
    check(NAME, work, state.is_some_and(holds), || {
        format!("{}, but {work} is {state:?}", what())
    })
}

/// Assignments are about to be sent.
pub(super) fn check_assigned(
    ledger: &Ledger,
    uid: Option<&str>,
    assignments: &Assignments<'_>,
) -> Result<(), Violation> {
    for assignment in assignments.iter() {
        let token = assignment.token;
        let lease = ledger.leases.get(&token);
        let holder = lease.map(|lease| &lease.uid[..]);
        check(NAME, token.work, holder.is_some() && holder == uid, || {
            format!("{token} is sent to {uid:?}, but is a lease of {holder:?}")
        })?;
        check(
            NAME,
            token.work,
            ledger.works[&token.work].row == assignment.row,
            || format!("{token} is sent with the row of another work"),
        )?;
    }
    Ok(())
}

/// A worker begins to run something. If the lease is live then the row is the work's.
pub(super) fn check_ran(ledger: &Ledger, uid: &str, token: LeaseToken, row: &[u8]) -> Result<(), Violation> {
    let live = ledger
        .leases
        .get(&token)
        .is_some_and(|lease| lease.over.is_none() && lease.uid == uid);
    check(
        NAME,
        token.work,
        !live || ledger.works[&token.work].row == row,
        || format!("{uid} runs {token} with the row of another work"),
    )
}
