//! A hub in memory, with the rules of the contracts: for tests, and for the simulator.
//!
//! `IexecHub`, `Marketplace`, `WorkerPool` and `RLC` of npm `iexec-poco` 1.1.17, as far as a pool, its workers and
//! requesters use them: every `require` and every `assert` that can be met in that order, and the same arithmetic. A call
//! that does not take effect changes nothing. Enclaves are left out: nobody is given a challenge.
//!
//! ```text
//!   Hub::call(sender, call, time) ──► events, or why not          hub.rs, orders.rs
//!   Hub::{views, person, …}       ──► what the views answer       views.rs
//!   Chain: a Hub in each block, transactions, reorganisations       chain.rs
//!   Node: what a node of that chain answers to cores                node.rs
//! ```

mod chain;
mod hub;
mod node;
mod orders;
mod views;

pub use chain::{Chain, Draw, Mined, Transaction};
pub use hub::{App, Hub, Revert};
pub use node::Node;

#[cfg(test)]
mod tests;
