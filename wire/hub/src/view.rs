//! What the contracts keep, as their views answer.

use serde::{Deserialize, Serialize};

use crate::{Address, Hash, Hasher, Rlc, Timestamp, Trust};

/// The state of an order (`WorkOrderStatusEnum`).
///
/// ```text
///   Unset ─ buyForWorkOrder ─► Active ─ revealConsensus ─► Revealing ─ finalizeWork ─► Completed
///                                │ ▲                         │   │
///                                │ └──────── reopen ─────────┘   │
///                                └─── claimFailedConsensus ──────┴──► Claimed
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "drawn above")]
pub enum OrderStatus {
    #[default]
    Unset = 0,
    Active = 1,
    Revealing = 2,
    Claimed = 3,
    Completed = 4,
}

/// What a requester has bought. Nothing of it changes, but `status`; the address `woid` may be another order's after
/// a reorganisation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkOrder {
    /// Its address.
    pub woid: Address,
    /// The offer that it was bought of.
    pub market_order: u64,
    /// The pool that is to do it.
    pub workerpool: Address,
    /// The app to run.
    pub app: Address,
    /// A dataset, or [`crate::NOBODY`].
    pub dataset: Address,
    /// Who paid.
    pub requester: Address,
    /// Parameters, as the requester wrote them.
    pub params: String,
    /// Whom to tell, or [`crate::NOBODY`].
    pub callback: Address,
    /// Whose the result is.
    pub beneficiary: Address,
    /// What it paid for app and dataset, beside the value of the offer.
    pub emitcost: Rlc,
    /// Where it stands.
    pub status: OrderStatus,
}

impl WorkOrder {
    /// The hash of all that makes it what it is, but for its address and its place in the chain.
    #[must_use]
    pub fn fingerprint(&self) -> Hash {
        Hasher::default()
            .bytes(&self.requester.0)
            .bytes(&self.app.0)
            .bytes(&self.dataset.0)
            .text(&self.params)
            .bytes(&self.callback.0)
            .bytes(&self.beneficiary.0)
            .number(self.market_order)
            .finish()
    }
}

/// What the pool's contract keeps of an order (`m_consensus`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Consensus {
    /// What its workers and the pool share, without seized stakes.
    pub pool_reward: Rlc,
    /// What each contribution locks.
    pub stake_amount: Rlc,
    /// The result's hash, once it was decided; zero before.
    pub consensus: Hash,
    /// Until when winners reveal; 0 before that.
    pub reveal_date: Timestamp,
    /// How many have revealed.
    pub reveal_counter: u64,
    /// Until when everything happens.
    pub consensus_timeout: Timestamp,
    /// How many contributed the result.
    pub winner_count: u64,
    /// Percentage of the rewards that the pool keeps.
    pub scheduler_reward_ratio: u64,
}

/// How far a worker is with an order (`ContributionStatusEnum`).
///
/// ```text
///   Unset ─ allow ─► Authorized ─ contribute ─► Contributed ─ reveal ─► Proved
///                                                    └─ reopen, if it had won ─► Rejected
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "drawn above")]
pub enum ContributionStatus {
    #[default]
    Unset = 0,
    Authorized = 1,
    Contributed = 2,
    Proved = 3,
    Rejected = 4,
}

impl ContributionStatus {
    /// Its name for tables and JSON: never changed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Authorized => "authorized",
            Self::Contributed => "contributed",
            Self::Proved => "proved",
            Self::Rejected => "rejected",
        }
    }
}

/// A worker's part in an order (`m_contributions`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Contribution {
    /// How far it is.
    pub status: ContributionStatus,
    /// The hash that it contributed; zero before.
    pub result_hash: Hash,
    /// The signature that binds it to the worker; zero before.
    pub result_sign: Hash,
    /// The worker's score when it contributed.
    pub score: u64,
    /// Its weight when the work is paid.
    pub weight: u64,
}

/// What somebody has at the hub (`checkBalance`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Balance {
    /// Free.
    pub stake: Rlc,
    /// Bound by orders, offers and subscriptions.
    pub locked: Rlc,
}

/// Where a worker belongs (`getWorkerStatus`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Affiliation {
    /// Its pool, or [`crate::NOBODY`].
    pub pool: Address,
    /// What it is known for.
    pub score: u64,
}

/// The state of an offer (`MarketOrderDirectionEnum`; the contract takes no `BID`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MarketStatus {
    /// It can be bought.
    Ask,
    /// All was bought, or it was taken back.
    Closed,
}

/// An offer to do works.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MarketOrder {
    /// Its number.
    pub id: u64,
    /// Its state.
    pub status: MarketStatus,
    /// Of which category.
    pub category: u64,
    /// How sure.
    pub trust: Trust,
    /// For how much.
    pub value: Rlc,
    /// How many.
    pub volume: u64,
    /// How many are left; a closed one keeps its number.
    pub remaining: u64,
    /// Which pool.
    pub workerpool: Address,
    /// Who made it.
    pub workerpool_owner: Address,
}
