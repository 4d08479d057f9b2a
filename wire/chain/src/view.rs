//! Questions that change nothing, and what they are answered with.

use wire_hub::{
    Address, Affiliation, Balance, Category, Consensus, Contribution, MarketOrder, OrderStatus, Policy, Rlc,
    WorkOrder,
};

/// A question to the contracts. None of them fails for what is unknown: that is [`crate::Answer::Absent`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the fields are what is asked for")]
pub enum View {
    // The hub and what it knows.
    /// Its other contracts: [`Seen::Wiring`].
    Wiring,
    /// How many categories: [`Seen::Count`].
    CategoriesCount,
    /// [`Seen::Category`]; absent beyond the count.
    Category { id: u64 },
    /// Stake: [`Seen::Balance`]; of whom nobody knows it is zero.
    Balance { who: Address },
    /// [`Seen::Affiliation`]; of whom nobody knows it is with nobody.
    Affiliation { worker: Address },
    /// Whether the hub made this order: [`Seen::Yes`].
    OrderRegistered { woid: Address },
    /// Whether a pool is of the hub: [`Seen::Yes`].
    PoolRegistered { pool: Address },
    /// How many pools somebody has: [`Seen::Count`].
    PoolsCount { owner: Address },
    /// One of them, from 1: [`Seen::Address`].
    PoolOf { owner: Address, index: u64 },
    /// How many apps somebody has: [`Seen::Count`].
    AppsCount { owner: Address },
    /// One of them, from 1: [`Seen::Address`].
    AppOf { owner: Address, index: u64 },
    /// [`Seen::App`]; absent where there is no contract.
    App { app: Address },
    // The token.
    /// RLC that is no stake: [`Seen::Amount`].
    Rlc { who: Address },
    /// What the hub may take of it: [`Seen::Amount`].
    Allowance { who: Address },
    // The marketplace.
    /// How many offers there ever were: [`Seen::Count`].
    MarketOrdersCount,
    /// [`Seen::MarketOrder`], from 1; absent beyond the count.
    MarketOrder { id: u64 },
    /// Whether an order's requester was called back: [`Seen::Yes`].
    CallbackDone { woid: Address },
    // The pool.
    /// Whose it is: [`Seen::Address`].
    PoolOwner,
    /// [`Seen::Policy`].
    Policy,
    /// How many workers: [`Seen::Count`].
    WorkersCount,
    /// One of them, from 0: [`Seen::Address`]. A worker that leaves is replaced by the last. The contract reverts
    /// beyond the count.
    Worker { index: u64 },
    /// [`Seen::Consensus`]; absent for an order that is not the pool's.
    Consensus { woid: Address },
    /// [`Seen::Contribution`]; of whom was not allowed it is [`wire_hub::ContributionStatus::Unset`].
    Contribution { woid: Address, worker: Address },
    /// How many have contributed, also those that were rejected since: [`Seen::Count`].
    ContributorsCount { woid: Address },
    /// One of them, from 0, in the order in which they came: [`Seen::Address`]. The contract reverts beyond the count.
    Contributor { woid: Address, index: u64 },
    // An order.
    /// [`Seen::WorkOrder`]; absent where there is no contract.
    WorkOrder { woid: Address },
    /// Its status alone: [`Seen::Status`].
    OrderStatus { woid: Address },
}

/// The answer to a [`View`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named like what they carry")]
pub enum Seen {
    Wiring(Wiring),
    Count(u64),
    Yes(bool),
    Address(Address),
    Amount(Rlc),
    Category(Category),
    Balance(Balance),
    Affiliation(Affiliation),
    App(App),
    MarketOrder(MarketOrder),
    Policy(Policy),
    Consensus(Consensus),
    Contribution(Contribution),
    WorkOrder(Box<WorkOrder>),
    Status(OrderStatus),
}

/// The hub's other contracts, as it names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "as in Contracts")]
pub struct Wiring {
    pub rlc: Address,
    pub marketplace: Address,
    pub pools: Address,
    pub apps: Address,
    pub datasets: Address,
}

/// An app, whose price and parameters never change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct App {
    /// Its name.
    pub name: String,
    /// What its owner gets for each use.
    pub price: Rlc,
    /// How it is run, as its owner wrote it.
    pub params: String,
    /// Who gets that.
    pub owner: Address,
}
