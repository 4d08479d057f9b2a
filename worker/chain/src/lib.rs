//! The worker's side of the chain: it contributes the results of works that are for orders, and reveals them.
//!
//! A work whose template has a [`Ticket`](wire_hub::Ticket) is for an order of the marketplace. When it has succeeded the
//! agent hands its result over here, before it reports to the engine, and the rest goes by itself:
//!
//! ```text
//!   pool    allow ──────────────┐            revealConsensus ─┐               finalizeWork ─┐
//!   worker  computes ─► result ─┴► contribute ────────────────┴► reveal ────────────────────┴► paid
//! ```
//!
//! [`core`] decides, from what the contracts have at the last block; [`shell`] asks nodes, signs with the worker's wallet,
//! keeps notes in a file and lives on a thread of its own. Transactions go through a lane (`wire-lane`), so none is mined
//! twice, whatever nodes lose and whenever the worker is killed.
//!
//! It never sends what would fail as far as anybody can know, nothing on the word of a node that has stood still, and never
//! deposits: money is moved into the hub by people.
//!
//! Deliberately absent: how works run, the engine, what the result of a work is (`wire_hub::result_of`).

pub mod core;
#[cfg(debug_assertions)]
pub mod faults;
pub mod shell;
