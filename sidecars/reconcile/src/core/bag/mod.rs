//! An order that stands for many works: what its parameters say, and the one result of all of them.
//!
//! The works of a sweep run once each on the whole pool; the workers that were chosen for the order contribute the root

mod params;

pub use params::{Job, ParamsError, parse};
