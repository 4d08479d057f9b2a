//! All that the contracts have of one order, and of those who may work on it.

use serde::{Deserialize, Serialize};

use crate::{
    Address, Affiliation, Balance, CONSENSUS_PERIODS, Category, Consensus, Contribution, ContributionStatus,
    MarketOrder, Timestamp, WorkOrder,
};

/// What the contracts have of an order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Views {
    /// What was bought.
    pub order: WorkOrder,
    /// The offer that it was bought of.
    pub market: MarketOrder,
    /// The offer's category.
    pub category: Category,
    /// Where it stands.
    pub consensus: Consensus,
    /// Who was allowed: first those who contributed, in the order of the chain, then the others.
    pub contributions: Vec<(Address, Contribution)>,
    /// The requester's contract was told.
    pub is_callback_done: bool,
}

/// What the hub has of somebody, at the same block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Person {
    /// Its pool.
    pub affiliation: Affiliation,
    /// Its money.
    pub balance: Balance,
}

impl Views {
    /// A worker's part.
    #[must_use]
    pub fn contribution(&self, worker: Address) -> Contribution {
        let found = self.contributions.iter().find(|(of, _)| *of == worker);
        found.map(|(_, contribution)| *contribution).unwrap_or_default()
    }

    /// Its status.
    #[must_use]
    pub fn status(&self, worker: Address) -> ContributionStatus {
        self.contribution(worker).status
    }

    /// Workers with this status, in the order of the chain.
    pub fn with(&self, status: ContributionStatus) -> impl Iterator<Item = (Address, Contribution)> {
        let is = move |(_, contribution): &&(Address, Contribution)| contribution.status == status;
        self.contributions.iter().filter(is).copied()
    }

    /// Contributed what was believed, and has not revealed it: these lose their stake if they do not.
    #[must_use]
    pub fn to_reveal(&self) -> Vec<Address> {
        let has_won = |contribution: &Contribution| contribution.result_hash == self.consensus.consensus;
        let contributed = self.with(ContributionStatus::Contributed);
        contributed
            .filter(|(_, contribution)| has_won(contribution))
            .map(|(worker, _)| worker)
            .collect()
    }

    /// So many periods of its category after it was bought.
    #[must_use]
    pub fn after(&self, periods: u64) -> Timestamp {
        let before_end = self
            .category
            .period_s
            .saturating_mul(CONSENSUS_PERIODS.saturating_sub(periods));
        Timestamp(self.consensus.consensus_timeout.0.saturating_sub(before_end))
    }
}
