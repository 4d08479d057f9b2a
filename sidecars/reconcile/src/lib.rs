//! Orders of the marketplace become works, and outcomes become transactions.
//!
//! Observed + intended → plan → execute, afresh each time: a plan is the difference between what the chain has and what
//! the pool wants, so a restart at any point makes the same plan from the same facts.
//!
//! ```text
//!   node ── blocks, logs ──► Follower ── events, undone and done again ──► orders (observed)
//!                                                                            │  views at one block
//!   engine ── outcomes ──────────────────────────────────► intended ────────┤
//!                                                                            ▼
//!                 Ledger ◄── receipts ── Lane ◄── calls with reasons ──── plan ──► works for the engine, letters
//!                                         │
//!                                         └──► signed, durable, sent, mined, safe, final
//! ```
//!
//! Everything is in [`core`] and knows neither a node nor the engine's wire: blocks, answers and acknowledgements come in as
//! events, questions, transactions and notes go out as effects. Names of the hub's contracts are spelled as they spell
//! them, and stay here.
//!
//! [`shell`] performs them; [`run`] is the life of the process around it.
//!
//! Deliberately absent: the ABI, nodes and signatures (`wire-chain`).

mod config;
pub mod core;
pub mod exit;
#[cfg(any(test, feature = "model"))]
pub mod model;
mod process;
pub mod shell;
mod status;

pub use config::{Config, Options};
pub use process::{Failure, run};
pub use status::Status;
