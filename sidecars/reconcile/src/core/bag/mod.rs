//! An order that stands for many works: what its parameters say, and the one result of all of them.
//!
//! The works of a sweep run once each on the whole pool; the workers that were chosen for the order contribute the root
//! of a Merkle tree over their results. Whoever has a work's result and its proof can check it against what the chain
//! has, without the others.

mod merkle;
mod params;

pub use merkle::{NO_RESULT, Proof, Tree, root};
pub use params::{Job, ParamsError, parse};
