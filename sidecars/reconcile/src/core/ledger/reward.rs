//! Who gets what when an order is finalized: the arithmetic of `WorkerPool.distributeRewards` and of
//! `IexecHub.finalizeWorkOrder`.
//!
//! ```text
//!   total   = value + stake of everybody who contributed and did not reveal the result
//!   workers = total · (100 − schedulerRewardRatio) / 100, split by weight, each share rounded down
//!   pool    = total − what the workers got, and its stake back, and a bonus out of the kitty
//!   weight  = 1 + ⌈log₂(score · 3 with an enclave, · 1 without)⌉, where log₂ 0 = 0
//! ```
//!
//! The kitty is what pools lost that failed orders: the hub's own locked stake.

use wire_hub::{Address, Contribution, ContributionStatus, Rlc};

/// Percentage of the kitty that a finalized order pays its pool (`STAKE_BONUS_RATIO`).
const KITTY_PERCENT: u64 = 10;

/// What it pays at least, as long as so much is there, in nRLC (`STAKE_BONUS_MIN_THRESHOLD`).
const KITTY_MIN: Rlc = Rlc(1_000);

/// What `finalizeWork` would pay and seize.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Split {
    /// Workers that revealed: each gets its stake back and this.
    pub rewards: Vec<(Address, Rlc)>,
    /// Workers whose stake is seized.
    pub seized: Vec<Address>,
    /// What the pool gets: its percentage and what rounding left.
    pub pool: Rlc,
}

/// How an order's money is divided among those who contributed, in the order of the chain. `None`: nobody has revealed,
/// and the contract would refuse. Those who were only allowed are not among the contributors.
#[must_use]
pub fn split(
    pool_reward: Rlc,
    stake: Rlc,
    scheduler_reward_ratio: u64,
    contributors: &[(Address, Contribution)],
) -> Option<Split> {
    let is_proved = |contribution: &Contribution| contribution.status == ContributionStatus::Proved;
    let (proved, others): (Vec<_>, Vec<_>) = contributors
        .iter()
        .partition(|(_, contribution)| is_proved(contribution));
    let weights: u128 = proved
        .iter()
        .map(|(_, contribution)| u128::from(weight(contribution.score, false)))
        .sum();
    if weights == 0 {
        return None;
    }
    let total = pool_reward.plus(stake.times(others.len() as u128));
    let workers = total.percent(100_u64.saturating_sub(scheduler_reward_ratio));
    let rewards: Vec<(Address, Rlc)> = proved
        .iter()
        .map(|(worker, contribution)| {
            let weight = u128::from(weight(contribution.score, false));
            (*worker, Rlc(workers.0.saturating_mul(weight) / weights))
        })
        .collect();
    let paid = rewards.iter().fold(Rlc(0), |sum, (_, reward)| sum.plus(*reward));
    Some(Split {
        rewards,
        seized: others.iter().map(|(worker, _)| *worker).collect(),
        pool: total.less(paid),
    })
}

/// A worker's weight when an order is paid; `score` is that of its contribution.
#[must_use]
pub fn weight(score: u64, enclave: bool) -> u64 {
    let score = u128::from(score) * if enclave { 3 } else { 1 };
    1 + u64::from(score.max(1).next_power_of_two().trailing_zeros())
}

/// What a pool gets out of the kitty for finalizing an order.
#[must_use]
pub fn kitty_bonus(kitty: Rlc) -> Rlc {
    kitty.min(kitty.percent(KITTY_PERCENT).max(KITTY_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contributors(statuses: &[(ContributionStatus, u64)]) -> Vec<(Address, Contribution)> {
        let contributor = |(index, (status, score)): (usize, &(ContributionStatus, u64))| {
            let contribution = Contribution {
                status: *status,
                score: *score,
                ..Contribution::default()
            };
            (Address([index as u8; 20]), contribution)
        };
        statuses.iter().enumerate().map(contributor).collect()
    }

    const PROVED: (ContributionStatus, u64) = (ContributionStatus::Proved, 0);
    const SILENT: (ContributionStatus, u64) = (ContributionStatus::Contributed, 0);

    /// Measured on the contracts: 1000 nRLC, three contributors, stakes of 300.
    #[test]
    fn one_winner_of_three_gets_1584_and_the_pool_16() {
        let split =
            split(Rlc(1_000), Rlc(300), 1, &contributors(&[PROVED, SILENT, SILENT])).expect("one revealed");
        assert_eq!(split.rewards, [(Address([0; 20]), Rlc(1_584))]);
        assert_eq!(split.seized, [Address([1; 20]), Address([2; 20])]);
        assert_eq!(split.pool, Rlc(16));
    }

    #[test]
    fn three_winners_get_330_each_and_the_pool_10() {
        let split = split(Rlc(1_000), Rlc(300), 1, &contributors(&[PROVED; 3])).expect("all revealed");
        assert_eq!(
            split
                .rewards
                .iter()
                .map(|(_, reward)| reward.0)
                .collect::<Vec<_>>(),
            [330; 3]
        );
        assert_eq!((split.pool, split.seized.len()), (Rlc(10), 0));
    }

    #[test]
    fn nobody_is_paid_as_long_as_nobody_revealed() {
        assert_eq!(split(Rlc(1_000), Rlc(300), 1, &contributors(&[SILENT])), None);
        assert_eq!(split(Rlc(1_000), Rlc(300), 1, &[]), None);
    }

    #[test]
    fn rejected_contributions_are_seized_when_another_is_finalized() {
        let rejected = (ContributionStatus::Rejected, 7);
        let split = split(Rlc(1_000), Rlc(300), 1, &contributors(&[rejected, PROVED])).expect("one revealed");
        assert_eq!((split.rewards[0].1, split.pool), (Rlc(1_287), Rlc(13)));
        assert_eq!(split.seized, [Address([0; 20])]);
    }

    #[test]
    fn weights_grow_with_the_logarithm_of_the_score() {
        let weights: Vec<u64> = [0, 1, 2, 3, 4, 5, 8, 9, 1_000]
            .iter()
            .map(|score| weight(*score, false))
            .collect();
        assert_eq!(weights, [1, 1, 2, 3, 3, 4, 4, 5, 11]);
        assert_eq!((weight(1, true), weight(0, true)), (3, 1));
        assert_eq!(weight(u64::MAX, true), 67);
    }

    #[test]
    fn a_small_kitty_goes_to_one_pool_and_a_large_one_in_tenths() {
        let cases = [
            (0, 0),
            (300, 300),
            (1_000, 1_000),
            (5_000, 1_000),
            (10_000, 1_000),
            (10_001, 1_000),
            (70_000, 7_000),
        ];
        for (kitty, bonus) in cases {
            assert_eq!(kitty_bonus(Rlc(kitty)), Rlc(bonus), "{kitty}");
        }
    }

    proptest! {
        #[test]
        fn no_coin_is_made_or_lost(value in 0_u128..1 << 90, stake in 0_u128..1 << 80, ratio in 0_u64..=100, proved in proptest::collection::vec(0_u64..1_000, 1..12), silent in 0_usize..12) {
            let statuses: Vec<_> = proved.iter().map(|score| (ContributionStatus::Proved, *score)).chain(vec![SILENT; silent]).collect();
            let split = split(Rlc(value), Rlc(stake), ratio, &contributors(&statuses)).expect("somebody revealed");
            let paid: u128 = split.rewards.iter().map(|(_, reward)| reward.0).sum();
            prop_assert_eq!(paid + split.pool.0, value + stake * silent as u128);
            prop_assert!(split.pool.0 >= (value + stake * silent as u128) * u128::from(ratio) / 100);
        }
    }
}
