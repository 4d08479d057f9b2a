//! The chain: what a pool and its workers ask an Ethereum node and tell it.
//!
//! ```text
//!   whoever follows the chain        wire_hub's words: Call, Event, views, blocks
//!            │
//!         Chain      what can be asked, in three answers: known, absent, unknown
//!        ╱     ╲
//!     Nodes ── Node ── Rpc           several nodes; one; JSON-RPC over HTTP(S)
//!                │
//!               abi                  bytes of contracts and transactions: ethers is here and nowhere else
//! ```
//!
//! Beside them: [`Unsigned`] transactions, [`LogReader`] for many blocks at once, [`reading`] of all that there is of an order,
//! [`lane`], which does what a lane of transactions asks for, and [`start`], which looks whether the settings lead to the
//! contracts of a pool.
//!
//! Deliberately absent: what is to be sent and when, nonces, fees, how many confirmations are enough, what follows from an
//! event. Nothing here waits for a block, keeps anything on disk or knows a pool's orders. Subscriptions over web sockets
//! are absent too: nodes do not say through them what a reorganisation has taken back, so blocks have to be compared
//! anyway.

mod abi;
mod chain;
mod contracts;
mod error;
mod json;
pub mod lane;
mod logs;
mod node;
mod nodes;
pub mod reading;
pub mod rpc;
pub mod start;
mod transaction;
mod view;

pub use chain::{Answer, At, Chain, Counted, Fees, RawLog, Sent, Simulated, Transaction};
pub use contracts::{Contracts, Input, Setup};
pub use error::{BadData, Why};
pub use logs::{LogReader, STRETCH_FIRST, STRETCH_MAX};
pub use node::Node;
pub use nodes::{NodeReport, Nodes, NodesOptions};
pub use transaction::{Price, Signed, Unsigned};
pub use view::{App, Seen, View, Wiring};
