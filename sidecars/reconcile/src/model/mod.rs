//! A hub in memory, with the rules of the contracts: for tests, and for the simulator.
//!
//! `IexecHub`, `Marketplace`, `WorkerPool` and `RLC` of npm `iexec-poco` 1.1.17, as far as a pool, its workers and
//! requesters use them: every `require` and every `assert` that can be met in that order, and the same arithmetic. A call
//! that does not take effect changes nothing. Enclaves are left out: nobody is given a challenge.
//!
//! ```text
//!   Hub::call(sender, call, time) ──► events, or why not          hub.rs, orders.rs
//!   Hub::{views, person, …}       ──► what the views answer       views.rs
//! ```

mod hub;
mod orders;
mod views;

pub use hub::{App, Hub, Revert};

#[cfg(test)]
mod tests;
