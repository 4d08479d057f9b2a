//! What to do now: the difference between what the chain has and what is wanted, each part with its reason.
//!
//! A plan is made afresh from views at one block; nothing of the last one is remembered. As long as the chain does not show
//! that something was done it is in the plan, and whoever carries it out recognises it by its name ([`Step::intent`]).
//!
//! ```text
//!   t0                                                          7·ref      8·ref−margin          10·ref
//!   ├── allow, contribute ──────────────────────────────────────┼──────────────┼──────────────────┤
//!       revealConsensus as soon as a result is believed         │ best effort, │ nothing that     │ nothing
//!                                                               │ or give up   │ begins to reveal │
//!       ◄──────────── reveal: 2·ref ───────────►  finalizeWork, at once if all have revealed, else after that
//! ```
//!
//! After 8·ref the time to reveal would end behind 10·ref, and with one winner missing nothing could be finalized any more.
//! All times are those of blocks: the last one's, and what it takes until a transaction is in the next.
//!
//! Deliberately absent: keys, nonces and prices (`wire-lane`), and the engine's wire.

mod action;
mod gathering;
mod planner;
mod replay;
mod workers;

pub use action::{Action, Step, gas_limit};
pub use planner::{Order, Settings, World, plan};
pub use replay::{Replay, replays};
pub use workers::Candidate;

#[cfg(test)]
mod tests;
