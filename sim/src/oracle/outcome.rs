//! At most one final outcome per work, and the same for every observer: what a client is told is what a durable
//! record says, word for word. And works end only for a reason that somebody gave.

use std::collections::BTreeSet;

use wire_protocol::client_link::{Command, FromClient, OutcomeItem, Outcomes, Selector};
use wire_protocol::ids::{BagId, Lsn, WorkId, WorkerId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record::{Ended, Record};

use super::ledger::{Ending, Ledger, State};
use super::{Violation, check};
use crate::world::PeerId;

const NAME: &str = "outcome";

/// Who asked for works to be cancelled.
#[derive(Default)]
pub(super) struct Asked {
    trusted: BTreeSet<PeerId>,
    bags: BTreeSet<BagId>,
    works: BTreeSet<WorkId>,
}

impl Asked {
    /// This client commands only what is its own.
    pub(super) fn trust(&mut self, peer: PeerId) {
        self.trusted.insert(peer);
    }

    pub(super) fn client_said(&mut self, peer: Option<PeerId>, message: &FromClient<'_>) {
        if peer.is_none_or(|peer| !self.trusted.contains(&peer)) {
            return;
        }
        if let FromClient::Command(request) = message
            && let Command::Cancel(selector) = &request.command
        {
            match selector {
                Selector::Bag(bag) => self.bags.insert(*bag),
                Selector::Work(work) => self.works.insert(*work),
            };
        }
    }
}

pub(super) fn check_record(ledger: &Ledger, asked: &Asked, record: &Record<'_>) -> Result<(), Violation> {
    match record {
        Record::Settled(settled) => {
            for item in settled.iter() {
                let open = ledger
                    .works
                    .get(&item.work)
                    .is_some_and(|work| work.state != State::Done);
                check(NAME, item.work, open, || {
                    format!("{} is settled a second time", item.work)
                })?;
                let fits = (item.outcome == Outcome::Succeeded) == (item.reason == Reason::None);
                let possible = matches!(item.outcome, Outcome::Succeeded | Outcome::Failed);
                check(NAME, item.work, fits && possible, || {
                    format!(
                        "{} ends as {} because of {}",
                        item.work, item.outcome, item.reason
                    )
                })?;
            }
            Ok(())
        }
        Record::Ended(ended) => check_ended(ledger, asked, ended),
        _ => Ok(()),
    }
}

fn check_ended(ledger: &Ledger, asked: &Asked, ended: &Ended) -> Result<(), Violation> {
    let id = ended.first;
    let Some((bag_id, bag)) = ledger.bags.iter().rev().find(|(_, bag)| bag.first <= id) else {
        return Err(Violation::new(
            NAME,
            Some(id),
            format!("{id} ends and is unknown"),
        ));
    };
    match ended.outcome {
        Outcome::Cancelled => {
            let own = ledger
                .tenants
                .get(&bag.tenant)
                .is_some_and(|name| name == "mallory");
            let by_owner = own || asked.bags.contains(bag_id) || asked.works.contains(&id);
            check(NAME, id, by_owner && ended.reason == Reason::ByUser, || {
                format!("{id} of {bag_id} is cancelled, and its owner did not ask for it")
            })
        }
        Outcome::Expired => check(NAME, id, bag.template.time_to_live.is_some(), || {
            format!("{bag_id} expires without a time to live")
        }),
        Outcome::Failed => check(NAME, id, ended.reason != Reason::None, || {
            format!("{id} fails without a reason")
        }),
        Outcome::Succeeded => Err(Violation::new(
            NAME,
            Some(id),
            format!("{id} succeeds without an attempt"),
        )),
    }
}

/// Outcomes are about to be sent.
pub(super) fn check_told(
    ledger: &Ledger,
    asked: &Asked,
    peer: Option<PeerId>,
    outcomes: &Outcomes<'_>,
    durable: Lsn,
) -> Result<(), Violation> {
    for item in outcomes.iter() {
        let work = ledger.works.get(&item.work);
        let mine = work.is_some_and(|work| work.bag == outcomes.bag);
        check(NAME, item.work, mine, || {
            format!("{} is told as a work of {}", item.work, outcomes.bag)
        })?;
        let hostile = peer.is_some_and(|peer| !asked.trusted.contains(&peer));
        let foreign = ledger
            .bags
            .get(&outcomes.bag)
            .and_then(|bag| ledger.tenants.get(&bag.tenant))
            .is_some_and(|name| name != "mallory");
        check(NAME, item.work, !(hostile && foreign), || {
            format!("{} is told to somebody else", item.work)
        })?;
        check_item(ledger, &item, durable)?;
    }
    Ok(())
}

fn check_item(ledger: &Ledger, item: &OutcomeItem<'_>, durable: Lsn) -> Result<(), Violation> {
    let work = &ledger.works[&item.work];
    let recorded = work
        .outcomes
        .iter()
        .any(|ending| ending.says(item) && ending.lsn <= durable);
    check(NAME, item.work, recorded, || {
        let known: Vec<String> = work.outcomes.iter().map(Ending::describe).collect();
        format!(
            "{} is told as {} ({}) by {} attempt {} with {} bytes; durable up to {durable} is {}",
            item.work,
            item.outcome,
            item.reason,
            item.worker,
            item.attempt,
            item.result.len(),
            known.join(", ")
        )
    })
}

impl Ending {
    fn says(&self, item: &OutcomeItem<'_>) -> bool {
        self.outcome == item.outcome
            && self.reason == item.reason
            && self.attempt == item.attempt
            && self.worker == item.worker
            && self.exit_code == item.exit_code
            && self.elapsed_us == item.elapsed_us
            && self.result == item.result
            && (item.worker == WorkerId(0)) == (item.attempt.0 == 0)
    }

    pub(super) fn describe(&self) -> String {
        format!(
            "{} ({}) by {} attempt {} with {} bytes at {}",
            self.outcome,
            self.reason,
            self.worker,
            self.attempt,
            self.result.len(),
            self.lsn
        )
    }
}
