//! Decides what to send, and touches nothing: no node, no key, no clock, no file.
//!
//! Each block is a new look: what the contracts have of an order says where it stands, whatever was known before. So a block
//! that was missed, a reorganisation and a restart need no case of their own; what is remembered of an order is its result.
//!
//! ```text
//!   Computed ─► note, durable ─► Taken ─► Head ─► See each order, Meet oneself ─► judge ─► Intend ─► lane ─► Send
//!                                          ▲                                                          │
//!                                          └───────────────── Account, Receipt ◄──────────────────────┘
//! ```

mod contributor;
mod event;
mod judge;
mod membership;
mod notes;
mod order;
mod transactions;

pub use contributor::Contributor;
pub use event::{Effect, Event, Now, Paid, Refusal, Settings};
pub use membership::Membership;
pub use notes::{NotesError, Restored, order_note};
pub use order::State;

#[cfg(test)]
mod tests;
