//! Transactions that the pool and its workers send, and those of requesters, which tests send.

use serde::{Deserialize, Serialize};

use crate::{Address, Hash, Policy, Rlc, Trust};

/// A call that changes the chain. Who sends it stands at each: *pool* is the owner of the pool's contract.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the fields are the arguments of the contract's function"
)]
pub enum Call {
    /// Anybody: lets the hub take so much of the sender's RLC.
    Approve { amount: Rlc },
    /// Anybody: RLC becomes stake.
    Deposit { amount: Rlc },
    /// Anybody: free stake becomes RLC.
    Withdraw { amount: Rlc },
    /// Pool: creates its contract; 2.9 million gas.
    CreateWorkerPool {
        description: String,
        subscription_lock_stake: Rlc,
        subscription_minimum_stake: Rlc,
        subscription_minimum_score: u64,
    },
    /// Pool: changes what it asks and gives; orders that are there keep what they have.
    ChangeWorkerPoolPolicy { policy: Policy },
    /// Pool: offers to do `volume` works; locks [`crate::ASK_STAKE_PERCENT`] of `value` for each.
    CreateMarketOrder {
        category: u64,
        trust: Trust,
        value: Rlc,
        volume: u64,
    },
    /// Pool: takes back what is left of an offer.
    CloseMarketOrder { market_order: u64 },
    /// Pool: lets these contribute. All or none.
    AllowWorkersToContribute { woid: Address, workers: Vec<Address> },
    /// Pool: this is the result; who contributed it reveals now.
    RevealConsensus { woid: Address, consensus: Hash },
    /// Pool: nobody revealed in time, others try.
    Reopen { woid: Address },
    /// Pool: pays everybody.
    FinalizeWork {
        woid: Address,
        stdout: String,
        stderr: String,
        uri: String,
    },
    /// Pool: ends a worker's subscription; it may subscribe again at once.
    EvictWorker { worker: Address },
    /// Anybody: gives a completed order's result to the contract that its requester named.
    WorkOrderCallback {
        woid: Address,
        stdout: String,
        stderr: String,
        uri: String,
    },
    /// Worker: joins the pool.
    SubscribeToPool,
    /// Worker: leaves the pool.
    UnsubscribeFromPool,
    /// Worker: has a result; locks its stake.
    Contribute {
        woid: Address,
        result_hash: Hash,
        result_sign: Hash,
    },
    /// Worker: shows the result that it has contributed.
    Reveal { woid: Address, result: Hash },
    /// Requester: buys one work of an offer.
    BuyForWorkOrder {
        market_order: u64,
        app: Address,
        dataset: Address,
        params: String,
        callback: Address,
        beneficiary: Address,
    },
    /// Requester: its order was not finalized in time; everybody but the pool gets their money back.
    ClaimFailedConsensus { woid: Address },
}

impl Call {
    /// The name of the contract's function.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Approve { .. } => "approve",
            Self::Deposit { .. } => "deposit",
            Self::Withdraw { .. } => "withdraw",
            Self::CreateWorkerPool { .. } => "createWorkerPool",
            Self::ChangeWorkerPoolPolicy { .. } => "changeWorkerPoolPolicy",
            Self::CreateMarketOrder { .. } => "createMarketOrder",
            Self::CloseMarketOrder { .. } => "closeMarketOrder",
            Self::AllowWorkersToContribute { .. } => "allowWorkersToContribute",
            Self::RevealConsensus { .. } => "revealConsensus",
            Self::Reopen { .. } => "reopen",
            Self::FinalizeWork { .. } => "finalizeWork",
            Self::EvictWorker { .. } => "evictWorker",
            Self::WorkOrderCallback { .. } => "workOrderCallback",
            Self::SubscribeToPool => "subscribeToPool",
            Self::UnsubscribeFromPool => "unsubscribeFromPool",
            Self::Contribute { .. } => "contribute",
            Self::Reveal { .. } => "reveal",
            Self::BuyForWorkOrder { .. } => "buyForWorkOrder",
            Self::ClaimFailedConsensus { .. } => "claimFailedConsensus",
        }
    }

    /// The order that it is about, if it is about one.
    #[must_use]
    pub const fn woid(&self) -> Option<Address> {
        match self {
            Self::AllowWorkersToContribute { woid, .. }
            | Self::RevealConsensus { woid, .. }
            | Self::Reopen { woid }
            | Self::FinalizeWork { woid, .. }
            | Self::WorkOrderCallback { woid, .. }
            | Self::Contribute { woid, .. }
            | Self::Reveal { woid, .. }
            | Self::ClaimFailedConsensus { woid } => Some(*woid),
            _ => None,
        }
    }
}
