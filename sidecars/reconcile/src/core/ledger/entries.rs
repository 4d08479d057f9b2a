//! Whose money moves when the chain says something.
//!
//! Nothing that is needed for it changes afterwards: an order's value, stake and requester are fixed when it is bought, and
//! what became of its workers when it is finalized or claimed. So it may be read of any later block of the same chain, and
//! nodes that keep no old state are no trouble.
//!
//! What is paid and seized when an order is finalized stands in the receipt of that transaction, since the hub's events name
//! nobody that one could filter by. When a requester claims it follows from what everybody has locked.
//!
//! **Faults.** A worker that has contributed and is not proved when its order is finalized was wrong, or did not reveal; the
//! contract takes its stake. Of an order that is claimed those are counted who did not reveal in time, and those who
//! contributed something else than what was believed last. Nobody is counted twice for an order.

use wire_hub::row::Movement;
use wire_hub::{ASK_STAKE_PERCENT, Address, Contribution, ContributionStatus, Event, Hash, Receipt, Views};

use super::page::{Deed, Entry, Kind};

impl Deed {
    /// What it has moved, of the order with this key. `None`: its receipt is missing.
    pub(super) fn entries(
        &self,
        key: Hash,
        views: &Views,
        receipt: Option<&Receipt>,
        pool_owner: Address,
    ) -> Option<Vec<Entry>> {
        let value = views.consensus.pool_reward;
        let of_pool = value.percent(ASK_STAKE_PERCENT);
        let of_worker = views.consensus.stake_amount;
        let of_requester = value.plus(views.order.emitcost);
        let requester = views.order.requester;
        let movements: Vec<(Address, Movement)> = match self.kind {
            Kind::Bought => vec![
                (requester, Movement::Locked(of_requester)),
                (pool_owner, Movement::Locked(of_pool)),
            ],
            Kind::Contributed(worker) => vec![(worker, Movement::Locked(of_worker))],
            Kind::Finalized => {
                let proved = views.with(ContributionStatus::Proved);
                let unlocked = proved.map(|(worker, _)| (worker, Movement::Unlocked(of_worker)));
                let faulty =
                    contributors(views).filter(|(_, part)| part.status != ContributionStatus::Proved);
                unlocked
                    .chain([(pool_owner, Movement::Unlocked(of_pool))])
                    .chain(faulty.map(|(worker, _)| (worker, Movement::Fault)))
                    .chain(receipt?.logs.iter().filter_map(|log| paid(&log.event)))
                    .collect()
            }
            Kind::Claimed => {
                let unlocked = contributors(views).map(|(worker, _)| (worker, Movement::Unlocked(of_worker)));
                let faulty = contributors(views).filter(|(_, part)| is_faulty(views, part));
                unlocked
                    .chain([
                        (requester, Movement::Unlocked(of_requester)),
                        (pool_owner, Movement::Seized(of_pool)),
                    ])
                    .chain(faulty.map(|(worker, _)| (worker, Movement::Fault)))
                    .collect()
            }
        };
        let entry = |(party, movement)| Entry {
            at: self.at,
            order: Some(key),
            party,
            movement,
        };
        Some(movements.into_iter().map(entry).collect())
    }
}

fn paid(event: &Event) -> Option<(Address, Movement)> {
    match event {
        Event::Reward { user, amount } => Some((*user, Movement::Rewarded(*amount))),
        Event::Seize { user, amount } => Some((*user, Movement::Seized(*amount))),
        _ => None,
    }
}

/// Who has contributed, and so locked its stake.
fn contributors(views: &Views) -> impl Iterator<Item = (Address, Contribution)> {
    let has_locked = |(_, part): &&(Address, Contribution)| part.status > ContributionStatus::Authorized;
    views.contributions.iter().filter(has_locked).copied()
}

/// Whether somebody was at fault in an order that was not finalized.
fn is_faulty(views: &Views, part: &Contribution) -> bool {
    let consensus = &views.consensus;
    let is_decided = consensus.consensus != Hash::ZERO;
    let had_time = consensus.reveal_date <= consensus.consensus_timeout;
    match part.status {
        ContributionStatus::Rejected => true,
        ContributionStatus::Contributed if is_decided => part.result_hash != consensus.consensus || had_time,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_hub::{Consensus, Timestamp};

    fn part(status: ContributionStatus, result: u8) -> Contribution {
        Contribution {
            status,
            result_hash: Hash([result; 32]),
            ..Contribution::default()
        }
    }

    #[test]
    fn of_an_order_that_was_not_finalized_those_are_at_fault_who_did_not_reveal_or_were_wrong() {
        use ContributionStatus::{Contributed, Proved, Rejected};
        let mut views = crate::core::ledger::tests::views();
        let faulty = |views: &Views, part| is_faulty(views, &part);
        assert!(
            faulty(&views, part(Rejected, 1)),
            "it did not reveal, and others were asked"
        );
        assert!(!faulty(&views, part(Contributed, 1)), "nothing was decided");
        views.consensus = Consensus {
            consensus: Hash([1; 32]),
            reveal_date: Timestamp(50),
            consensus_timeout: Timestamp(60),
            ..views.consensus
        };
        assert!(faulty(&views, part(Contributed, 1)), "it did not reveal");
        assert!(faulty(&views, part(Contributed, 2)), "it was wrong");
        assert!(!faulty(&views, part(Proved, 1)));
        views.consensus.reveal_date = Timestamp(70);
        assert!(!faulty(&views, part(Contributed, 1)), "it had no time to");
        assert!(faulty(&views, part(Contributed, 2)));
    }
}
