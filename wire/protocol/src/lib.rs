//! The vocabulary of the pool: ids, units, messages and their codec.
//!
//! Everything that crosses a process boundary is defined here, and nothing else is: no clock, no
//! socket, no file.

pub mod frame;
pub mod ids;
pub mod units;
