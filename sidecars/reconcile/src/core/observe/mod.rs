//! Follows the chain: every event of its blocks once, in order, and taken back when its block is orphaned.
//!
//! A node says which block is the head. Between the last block that was followed (the tip) and the head, blocks are read
//! one by one: the block of the next number, whose parent must be the tip, then its logs *by its hash*, so that they
//! are of this very block however the node moves meanwhile. Far behind the head (further than the ring is long) logs are
//! read by ranges of numbers, after the tip was checked, up to a ring's length behind the head.
//!
//! ```text
//!   ring     A ─ B ─ C ─ D            the next block's parent is not D, or the head is another block at a number we have
//!                 \                   walk back: is C still there? B? — the first that is, is the common ancestor
//!   chain          C' ─ D' ─ E'       Undo D, Undo C (newest first), then C', D', E' are read and given out
//! ```
//!
//! Only what a node says *is there* counts. A node that lags behind, does not answer, or does not know a block yet
//! changes nothing; the question is put again. One question is out at a time and answers carry its number, so that
//! late and repeated ones are recognised.
//!
//! Deliberately absent: what events mean, and nodes.

mod event;
mod follower;
mod ring;

pub use event::{Effect, Event, Finality, Question, Reply, Settings, TooDeep};
pub use follower::{Cursor, Follower};

#[cfg(test)]
mod tests;
