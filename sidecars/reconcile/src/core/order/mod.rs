//! One order: who it is, what is seen of it, what is wanted of it, and what state follows.
//!
//! A state is never stored. It is derived afresh from what the chain has at one block ([`Observed`]) and what the pool has
//! set under way ([`Intended`]), so that a restart, or a reorganisation, needs no case of its own.

mod book;
mod identity;
mod intended;
mod observed;
mod state;

pub use book::{Book, Entry};
pub use identity::Identity;
pub use intended::{Asked, Bag, Intended, Job, Outcome, Texts};
pub use observed::Observed;
pub use state::State;
pub(crate) use state::pending;
