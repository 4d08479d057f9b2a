//! What the core asks for, done: it decides nothing.
//!
//! ```text
//!   agent's thread                        thread `chain`
//!   ──────────────                        ───────────────────────────────────────────────
//!   Chain::hand_over ── ticket, result ─► notebook (fsync) ─► answered: it is durable
//!   Chain::status ◄────────────────────── what orders, stake and node are like
//!                                         nodes: heads, views, transactions, beside each other
//! ```
//!
//! Before a node has answered for the first time the chain's number and the hub's other contracts are not known; results
//! are noted meanwhile, and contributed once they are.

mod chain;
mod life;
pub mod node;
mod notebook;
mod status;

pub use chain::{Chain, Config, ConfigError, Look};
pub use notebook::{Notebook, NotebookError};
pub use status::{Ended, OrderStatus, Status};
pub use wire_chain::rpc::Endpoint;
pub use wire_chain::start::Setting;
