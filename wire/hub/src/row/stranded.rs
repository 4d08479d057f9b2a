//! Money that nobody can move: of an order whose time has passed and whose requester does not claim.
//!
//! Only the requester may claim, and a requester that is a contract without that function never will. Until then the
//! pool's stake, the stake of all who contributed and the requester's payment stay locked. They are a class of their own
//! in every balance, so that nobody takes them for money in use.

use serde::{Deserialize, Serialize};

use crate::{ASK_STAKE_PERCENT, Address, Consensus, Contribution, ContributionStatus, Rlc};

/// What is locked by one order that nobody can finalize.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stranded {
    /// The pool's stake; lost when the requester claims.
    pub pool: Rlc,
    /// The stakes of those who contributed, right or wrong; given back when the requester claims.
    pub workers: Vec<(Address, Rlc)>,
    /// What the requester paid: the value, and the prices of app and dataset. Given back when it claims.
    pub requester: Rlc,
}

impl Stranded {
    /// Of an order with this consensus, these contributions (also those of workers that were only allowed, who have
    /// nothing locked), and this price of app and dataset.
    #[must_use]
    pub fn of(consensus: &Consensus, contributions: &[(Address, Contribution)], emitcost: Rlc) -> Self {
        let has_locked = |contribution: &Contribution| {
            !matches!(
                contribution.status,
                ContributionStatus::Unset | ContributionStatus::Authorized
            )
        };
        Self {
            pool: consensus.pool_reward.percent(ASK_STAKE_PERCENT),
            workers: contributions
                .iter()
                .filter(|(_, contribution)| has_locked(contribution))
                .map(|(worker, _)| (*worker, consensus.stake_amount))
                .collect(),
            requester: consensus.pool_reward.plus(emitcost),
        }
    }

    /// What all its workers have locked.
    #[must_use]
    pub fn of_workers(&self) -> Rlc {
        let stakes = self.workers.iter();
        stakes.fold(Rlc(0), |sum, (_, stake)| sum.plus(*stake))
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> Rlc {
        self.pool.plus(self.of_workers()).plus(self.requester)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario T2: 300 of the pool, 300 of each contributor, 1000 of the requester.
    #[test]
    fn an_order_that_nobody_claims_strands_the_money_of_all_three() {
        let consensus = Consensus {
            pool_reward: Rlc(1_000),
            stake_amount: Rlc(300),
            ..Consensus::default()
        };
        let with = |status| Contribution {
            status,
            ..Contribution::default()
        };
        let contributions = [
            (Address([1; 20]), with(ContributionStatus::Contributed)),
            (Address([2; 20]), with(ContributionStatus::Authorized)),
            (Address([3; 20]), with(ContributionStatus::Rejected)),
        ];
        let stranded = Stranded::of(&consensus, &contributions, Rlc(7));
        let workers = vec![(Address([1; 20]), Rlc(300)), (Address([3; 20]), Rlc(300))];
        let expected = Stranded {
            pool: Rlc(300),
            workers,
            requester: Rlc(1_007),
        };
        assert_eq!(stranded, expected);
        assert_eq!((stranded.of_workers(), stranded.total()), (Rlc(600), Rlc(1_907)));
    }
}
