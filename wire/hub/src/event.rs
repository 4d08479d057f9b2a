//! What the contracts have said.

use serde::{Deserialize, Serialize};

use crate::{Address, BlockRef, Hash, Rlc};

/// An event of the pool's contract, of the hub or of the marketplace.
///
/// All of an order's life is in the events of the pool's own contract, so a filter on that address alone is enough. The
/// others are read from receipts of our own transactions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are the event's own")]
pub enum Event {
    // The pool's contract.
    WorkOrderActive {
        woid: Address,
    },
    WorkOrderClaimed {
        woid: Address,
    },
    AllowWorkerToContribute {
        woid: Address,
        worker: Address,
        score: u64,
    },
    Contribute {
        woid: Address,
        worker: Address,
        result_hash: Hash,
    },
    RevealConsensus {
        woid: Address,
        consensus: Hash,
    },
    Reveal {
        woid: Address,
        worker: Address,
        result: Hash,
    },
    Reopen {
        woid: Address,
    },
    FinalizeWork {
        woid: Address,
        stdout: String,
        stderr: String,
        uri: String,
    },
    WorkerSubscribe {
        worker: Address,
    },
    WorkerUnsubscribe {
        worker: Address,
    },
    WorkerEviction {
        worker: Address,
    },
    WorkerPoolPolicyUpdate,
    // The hub.
    CreateWorkerPool {
        owner: Address,
        pool: Address,
    },
    Reward {
        user: Address,
        amount: Rlc,
    },
    Seize {
        user: Address,
        amount: Rlc,
    },
    AccurateContribution {
        woid: Address,
        worker: Address,
    },
    FaultyContribution {
        woid: Address,
        worker: Address,
    },
    // The marketplace.
    MarketOrderCreated {
        market_order: u64,
    },
    MarketOrderClosed {
        market_order: u64,
    },
    MarketOrderAskConsume {
        market_order: u64,
        requester: Address,
    },
    WorkOrderCallbackProof {
        woid: Address,
    },
}

impl Event {
    /// The order that it is of, if it is of one.
    #[must_use]
    pub const fn woid(&self) -> Option<Address> {
        match self {
            Self::WorkOrderActive { woid }
            | Self::WorkOrderClaimed { woid }
            | Self::AllowWorkerToContribute { woid, .. }
            | Self::Contribute { woid, .. }
            | Self::RevealConsensus { woid, .. }
            | Self::Reveal { woid, .. }
            | Self::Reopen { woid }
            | Self::FinalizeWork { woid, .. }
            | Self::AccurateContribution { woid, .. }
            | Self::FaultyContribution { woid, .. }
            | Self::WorkOrderCallbackProof { woid } => Some(*woid),
            _ => None,
        }
    }
}

/// Where in the chain something was said. After a reorganisation the same event may stand in another place, and another
/// event in the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The block.
    pub block: BlockRef,
    /// The number of the log in the block.
    pub log_index: u32,
    /// The transaction.
    pub transaction: Hash,
}

/// An event in its place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Log {
    /// Where.
    pub place: Place,
    /// What.
    pub event: Event,
}
