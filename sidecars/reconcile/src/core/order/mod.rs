//! One order: who it is, what is seen of it, what is wanted of it, and what state follows.
//!
//! A state is never stored. It is derived afresh from what the chain has at one block ([`Observed`]) and what the pool has
//! set under way ([`Intended`]), so that a restart, or a reorganisation, needs no case of its own.

mod book;
mod intended;
mod observed;
mod state;

pub use book::{Book, Entry};
pub use intended::{Asked, Bag, Intended, Job};
pub use observed::Observed;
pub(crate) use state::pending;
pub use state::state_of;
pub use wire_hub::Identity;
pub use wire_hub::row::{OrderState as State, Outcome, Texts};
