//! The persist sidecar: what the engine's journal says, as rows of a database.
//!
//! The engine never waits for SQL. It hands its durable records to whoever follows its feed, and keeps those that a
//! follower has not acknowledged. This crate takes them from there to the tables of `sidecars-tables`.
//!
//! ```text
//!  feed ──records──► Coalescer ──Batch──► Database: rows, events and position in one transaction
//!                                            │
//!                    ◄── acknowledge ────────┘
//! ```
//!
//! [`Follower`] is the loop around these; [`run`] is the life of the process around it.

mod config;
pub mod exit;
mod follow;
mod process;
mod status;

pub use config::{Config, Options};
pub use follow::{FollowError, Follower};
pub use process::{Failure, run};
pub use status::Status;
