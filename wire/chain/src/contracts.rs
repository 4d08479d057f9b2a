//! Which contracts: the addresses that a pool speaks to, and what is said to them.

use serde::{Deserialize, Serialize};
use wire_hub::{Address, Call, NOBODY};

use crate::abi;

/// The marketplace that a pool is of, and the pool.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Contracts {
    /// The chain: what is signed for it is good on no other.
    pub chain_id: u64,
    /// The token.
    pub rlc: Address,
    /// `IexecHub`.
    pub hub: Address,
    /// `Marketplace`.
    pub marketplace: Address,
    /// `WorkerPoolHub`: which pools there are.
    pub pools: Address,
    /// `AppHub`: which apps.
    pub apps: Address,
    /// `DatasetHub`: which datasets.
    pub datasets: Address,
    /// The pool's own contract; [`NOBODY`] as long as there is none.
    pub pool: Address,
}

impl Contracts {
    /// For tests: the token at `0x0101…`, the hub at `0x0202…`, then marketplace, registries of pools, apps and datasets,
    /// and the pool at `0x0707…`.
    #[cfg(test)]
    pub(crate) const fn numbered() -> Self {
        Self {
            chain_id: 1,
            rlc: Address([1; 20]),
            hub: Address([2; 20]),
            marketplace: Address([3; 20]),
            pools: Address([4; 20]),
            apps: Address([5; 20]),
            datasets: Address([6; 20]),
            pool: Address([7; 20]),
        }
    }

    /// The same marketplace with another pool.
    #[must_use]
    pub const fn with_pool(self, pool: Address) -> Self {
        Self { pool, ..self }
    }

    /// What a transaction that does this carries, and to whom.
    ///
    /// # Panics
    /// The call is to a pool, and there is none.
    #[must_use]
    pub fn encode(&self, call: &Call) -> Input {
        let input = abi::encode(self, call);
        assert_ne!(input.to, NOBODY, "{call:?} wants a pool");
        input
    }
}

/// What a contract is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Input {
    /// The contract.
    pub to: Address,
    /// Selector of the function and its arguments.
    pub data: Vec<u8>,
}

/// What sets a marketplace up. No pool does that: it is for chains of tests.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(
    missing_docs,
    reason = "the fields are the arguments of the contract's function"
)]
pub enum Setup {
    /// A registry goes to the hub, for good.
    SetImmutableOwnership { of: Address, owner: Address },
    /// The hub learns of the others, once. Those of [`Contracts`] are meant.
    AttachContracts,
    /// Who makes categories.
    SetCategoriesCreator { creator: Address },
    /// Makes one.
    CreateCategory {
        name: String,
        description: String,
        period_s: u64,
    },
    /// Makes an app, which is its sender's.
    CreateApp {
        name: String,
        price: u128,
        params: String,
    },
    /// Makes a dataset.
    CreateDataset {
        name: String,
        price: u128,
        params: String,
    },
    /// Gives RLC to somebody.
    Transfer { to: Address, amount: u128 },
}

impl Setup {
    /// What a transaction that does this carries, and to whom.
    #[must_use]
    pub fn encode(&self, contracts: &Contracts) -> Input {
        abi::encode_setup(contracts, self)
    }
}
