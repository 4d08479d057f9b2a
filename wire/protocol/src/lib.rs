//! The vocabulary of the pool: ids, units, messages and their codec.
//!
//! Everything that crosses a process boundary is defined here, and nothing else is: no clock, no socket, no
//! file. `docs/protocol.md` describes the same bytes for readers who do not speak Rust; golden bytes in
//! `tests/golden.rs` hold both to their word.

pub mod category;
pub mod client_link;
pub mod codec;
pub mod feed;
pub mod file;
pub mod frame;
pub mod ids;
pub mod joining;
pub mod limits;
pub mod log;
pub mod note;
pub mod outcome;
pub mod placeholders;
pub mod record;
pub mod resources;
mod rows;
pub mod sweep;
pub mod template;
pub mod units;
pub mod view;
pub mod warm;
pub mod worker_link;
