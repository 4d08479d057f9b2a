//! Sums of what was locked, set free, paid, seized and burned.

use serde::{Deserialize, Serialize};

use crate::{Gas, Rlc, Wei};

/// Seconds of a day, which begins at midnight UTC.
pub const DAY_S: u64 = 86_400;

/// What happens to somebody's money, or standing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Movement {
    /// Stake was bound.
    Locked(Rlc),
    /// Stake was set free.
    Unlocked(Rlc),
    /// Somebody was paid.
    Rewarded(Rlc),
    /// Bound stake was taken.
    Seized(Rlc),
    /// A transaction was mined, whether or not it took effect.
    Burned {
        /// What it took.
        gas: Gas,
        /// What a unit has cost.
        price: Wei,
    },
    /// A worker contributed something else than what was believed, or did not reveal in time.
    Fault,
}

/// Sums of movements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Ever bound.
    pub locked: Rlc,
    /// Ever set free.
    pub unlocked: Rlc,
    /// Ever paid.
    pub rewarded: Rlc,
    /// Ever taken.
    pub seized: Rlc,
    /// Units of gas.
    pub gas: Gas,
    /// What they have cost.
    pub burned: Wei,
    /// Wrong or unrevealed contributions.
    pub faults: u32,
}

impl Totals {
    /// What is bound now.
    #[must_use]
    pub fn bound(&self) -> Rlc {
        self.locked.less(self.unlocked).less(self.seized)
    }

    /// Adds a movement.
    pub fn add(&mut self, movement: Movement) {
        match movement {
            Movement::Locked(amount) => self.locked = self.locked.plus(amount),
            Movement::Unlocked(amount) => self.unlocked = self.unlocked.plus(amount),
            Movement::Rewarded(amount) => self.rewarded = self.rewarded.plus(amount),
            Movement::Seized(amount) => self.seized = self.seized.plus(amount),
            Movement::Burned { gas, price } => {
                self.gas = Gas(self.gas.0.saturating_add(gas.0));
                let cost = price.0.saturating_mul(u128::from(gas.0));
                self.burned = Wei(self.burned.0.saturating_add(cost));
            }
            Movement::Fault => self.faults = self.faults.saturating_add(1),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            locked: self.locked.plus(other.locked),
            unlocked: self.unlocked.plus(other.unlocked),
            rewarded: self.rewarded.plus(other.rewarded),
            seized: self.seized.plus(other.seized),
            gas: Gas(self.gas.0.saturating_add(other.gas.0)),
            burned: Wei(self.burned.0.saturating_add(other.burned.0)),
            faults: self.faults.saturating_add(other.faults),
        }
    }
}

/// The money of an order, a party or a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MoneyRow {
    /// What final blocks have moved.
    pub settled: Totals,
    /// Up to which block movements of stake are in it. No movement is counted twice: those of this block and before are in.
    pub upto: Option<u64>,
    /// Up to which block gas is in it.
    pub gas_upto: Option<u64>,
    /// What was moved since, in blocks that may be orphaned, or of orders that are still being read.
    pub open: Totals,
}

impl MoneyRow {
    /// All of it.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.settled.plus(&self.open)
    }
}
