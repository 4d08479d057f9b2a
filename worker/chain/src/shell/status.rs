//! What is going on, for people and for the agent.

use serde::{Deserialize, Serialize};

/// What a worker does on its chain.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// The worker's wallet.
    pub wallet: String,
    /// The chain's number; 0 before a node has answered.
    pub chain_id: u64,
    /// The last block that a node has.
    pub block: u64,
    /// Why the chain is not followed, if it is not.
    pub problem: Option<String>,
    /// Where this worker stands with the pool.
    pub membership: String,
    /// Stake at the hub in nRLC, free and locked; `None`: not read yet.
    pub stake: Option<(u128, u128)>,
    /// Why no order will come to this worker, or none can be contributed to.
    pub obstacle: Option<String>,
    /// What holds transactions up.
    pub alert: Option<String>,
    /// Transactions that are signed and in no block.
    pub in_flight: usize,
    /// Orders under way, and those that are over and not final.
    pub orders: Vec<OrderStatus>,
    /// Orders that ended since this worker was started.
    pub won: u64,
    /// Those of them that cost stake.
    pub lost: u64,
    /// What was earned by them, in nRLC.
    pub earned: u128,
    /// The last ones that ended, or were refused, oldest first.
    pub ended: Vec<Ended>,
}

/// An order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OrderStatus {
    /// Its address.
    pub woid: String,
    /// A word for how it stands.
    pub state: String,
    /// The same for people.
    pub says: String,
}

/// What was the end of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// When, in seconds since 1970.
    pub at_s: u64,
    /// Which order.
    pub woid: String,
    /// How.
    pub says: String,
}
