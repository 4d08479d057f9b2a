//! The contracts' own numbers (`IexecLib.sol`, `WorkerPool.sol`, `Marketplace.sol`, `IexecHub.sol`).

use serde::{Deserialize, Serialize};

use crate::{Rlc, Timestamp};

/// An order is to be finalized within so many periods of its category, from the block that bought it
/// (`CONSENSUS_DURATION_RATIO`).
pub const CONSENSUS_PERIODS: u64 = 10;

/// Winners reveal within so many periods from the block of `revealConsensus` (`REVEAL_PERIOD_DURATION_RATIO`).
pub const REVEAL_PERIODS: u64 = 2;

/// Percentage of its value that a pool stakes for each order that it offers (`ASK_STAKE_RATIO`).
pub const ASK_STAKE_PERCENT: u64 = 30;

/// What a worker's score loses at most by a wrong contribution (`SCORE_UNITARY_SLASH`).
pub const SCORE_SLASHED: u64 = 50;

/// Workers that one `allowWorkersToContribute` may name. Ours: more would near the gas of a block, and one unfit worker
/// among them undoes all.
pub const ALLOWED_AT_ONCE_MAX: usize = 50;

/// A category of the hub. Its numbers begin at 1.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Category {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The period of all deadlines of its orders, in seconds (`workClockTimeRef`).
    pub period_s: u64,
}

impl Category {
    /// The last time at which an order bought at `bought` can be finalized.
    #[must_use]
    pub const fn deadline(&self, bought: Timestamp) -> Timestamp {
        Timestamp(
            bought
                .0
                .saturating_add(self.period_s.saturating_mul(CONSENSUS_PERIODS)),
        )
    }
}

/// What a pool asks of its workers and gives them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// Percentage of an order's value that each of its workers stakes.
    pub stake_ratio: u64,
    /// Percentage of the rewards that the pool keeps, at most 100.
    pub scheduler_reward_ratio: u64,
    /// What a worker must have staked to subscribe.
    pub subscription_minimum_stake: Rlc,
    /// The score that it must have.
    pub subscription_minimum_score: u64,
    /// What a subscription locks; fixed when the pool is created.
    pub subscription_lock_stake: Rlc,
}
