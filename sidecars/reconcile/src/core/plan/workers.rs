//! Whom to ask: the fewest that can do, of different owners, with stake that nothing else has been promised.

use std::collections::{BTreeMap, BTreeSet};

use wire_hub::{Address, Answer, ContributionStatus, OrderStatus, Person, Rlc, Views};

use super::planner::{Order, World};

/// A worker of the pool that could be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Its wallet.
    pub wallet: Address,
    /// Whose it is, at the engine. Two of one owner never work on one order: they could agree on anything.
    pub owner: String,
    /// It is there and could begin.
    pub is_free: bool,
    /// What the hub has of it at the plan's block.
    pub person: Answer<Person>,
}

/// Stake that workers are going to need: they were asked, and have not contributed. What they have contributed is locked by
/// the contract.
#[derive(Clone, Debug, Default)]
pub(super) struct Reservations(BTreeMap<Address, Rlc>);

impl Reservations {
    /// Of all orders that may still be contributed to.
    pub(super) fn of(orders: &[Order]) -> Self {
        let mut reservations = Self::default();
        for order in orders {
            let Some(views) = order.observed.views.known() else {
                continue;
            };
            if views.order.status != OrderStatus::Active {
                continue;
            }
            for (worker, _) in order.intended.open() {
                let status = views.status(worker);
                if matches!(status, ContributionStatus::Unset | ContributionStatus::Authorized) {
                    reservations.add(worker, views.consensus.stake_amount);
                }
            }
        }
        reservations
    }

    pub(super) fn add(&mut self, worker: Address, stake: Rlc) {
        let reserved = self.0.entry(worker).or_default();
        *reserved = reserved.plus(stake);
    }

    fn reserved(&self, worker: Address) -> Rlc {
        self.0.get(&worker).copied().unwrap_or_default()
    }
}

/// Why somebody is not asked. `None`: it could be.
pub(super) fn unfit(
    world: &World<'_>,
    order: &Order,
    views: &Views,
    reservations: &Reservations,
    candidate: &Candidate,
) -> Option<String> {
    let Answer::Known(person) = &candidate.person else {
        return Some("the node has not answered of it".into());
    };
    if !candidate.is_free {
        return Some("it is not there or busy".into());
    }
    if person.affiliation.pool != world.pool {
        return Some("it is not subscribed to the pool".into());
    }
    if order.intended.asked.contains_key(&candidate.wallet) {
        return Some("it was asked already".into());
    }
    match views.status(candidate.wallet) {
        ContributionStatus::Unset => {}
        ContributionStatus::Rejected => return Some("it was rejected for this order".into()),
        status => return Some(format!("it is {status:?} already")),
    }
    let free = person.balance.stake.less(reservations.reserved(candidate.wallet));
    if free < views.consensus.stake_amount {
        return Some(format!(
            "{free} of its stake is free, and {} is needed",
            views.consensus.stake_amount
        ));
    }
    None
}

/// Owners of all who have, or had, a part in the order.
pub(super) fn owners<'a>(world: &World<'a>, order: &Order, views: &Views) -> BTreeSet<&'a str> {
    let takes_part = |candidate: &&Candidate| {
        order.intended.asked.contains_key(&candidate.wallet)
            || views.status(candidate.wallet) != ContributionStatus::Unset
    };
    let candidates = world.candidates.iter().filter(takes_part);
    candidates.map(|candidate| candidate.owner.as_str()).collect()
}

/// Whether a worker that was asked may be allowed now.
pub(super) fn may_be_allowed(world: &World<'_>, views: &Views, worker: Address) -> Answer<bool> {
    if views.status(worker) != ContributionStatus::Unset {
        return Answer::Known(false);
    }
    let candidate = world
        .candidates
        .iter()
        .find(|candidate| candidate.wallet == worker);
    match candidate.map(|candidate| &candidate.person) {
        Some(Answer::Known(person)) => {
            let is_ours = person.affiliation.pool == world.pool;
            Answer::Known(is_ours && person.balance.stake >= views.consensus.stake_amount)
        }
        Some(Answer::Absent) => Answer::Known(false),
        Some(Answer::Unknown) | None => Answer::Unknown,
    }
}
