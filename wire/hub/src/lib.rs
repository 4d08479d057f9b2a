//! The vocabulary of the marketplace on Ethereum: what its contracts say and are told, PoCo V2.
//!
//! ```text
//!   IexecHub       money and scores      stake, locked, rewards, seizures; works are bought here
//!   Marketplace    offers                 a pool sells `volume` works of a category for `value` each
//!   WorkerPool     the life of an order   ACTIVE ─► REVEALING ─► COMPLETED      (see [`OrderStatus`])
//!   WorkOrder      one order              its app, parameters, requester
//! ```
//!
//! Names are the contracts' own. Values are checked where they come in, in `wire-chain`, which also knows the ABI, nodes and
//! signatures; here are no sockets, no clock and no foreign library of Ethereum, so that cores and the simulator can
//! speak of the chain.
//!
//! The contracts: npm `iexec-poco` 1.1.17, `contracts/*.sol`.

mod answer;
mod block;
mod call;
mod contribution;
mod event;
mod hash;
mod identity;
pub mod merkle;
mod money;
mod obstacle;
mod order;
pub mod request;
pub mod row;
mod rules;
mod ticket;
mod view;

pub use answer::Answer;
pub use block::{Block, BlockRef, Hash, Receipt, Timestamp};
pub use call::Call;
pub use contribution::{Commitment, result_hash};
pub use event::{Event, Log, Place};
pub use hash::{Hasher, keccak};
pub use identity::Identity;
pub use money::{Gas, Nonce, Rlc, Trust, Wei};
pub use obstacle::{Obstacle, Scene, explain, holds, obstacle};
pub use order::{Person, Views};
pub use rules::{
    ALLOWED_AT_ONCE_MAX, ASK_STAKE_PERCENT, CONSENSUS_PERIODS, Category, Policy, REVEAL_PERIODS,
    SCORE_SLASHED,
};
pub use ticket::{Ticket, result_of};
pub use view::{
    Affiliation, Balance, Consensus, Contribution, ContributionStatus, MarketOrder, MarketStatus,
    OrderStatus, WorkOrder,
};
pub use wire_protocol::joining::Address;

/// Nobody: what the contracts keep where an address was not given.
pub const NOBODY: Address = Address([0; 20]);
