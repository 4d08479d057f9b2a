//! The persist sidecar: what the engine's journal says, as rows of a database.
//!
//! The engine never waits for SQL. It hands its durable records to whoever follows its feed, and keeps those that a
//! follower has not acknowledged. This crate turns them into row changes.
//!
//! ```text
//!  feed ──records──► Coalescer ──Batch──► Database: rows, events and position in one transaction
//!                    (pure)                  │
//!                    ◄── acknowledge ────────┘
//! ```
//!
//! [`Coalescer`] is the core: no clock, no socket, no SQL. A work that was queued, leased, started and settled
//! within one batch becomes one row; each of those changes is still an [`Event`]. What it cannot know, because it
//! does not hold the works, is which works of a cancelled or revived run it concerns; that is left to the tables as a
//! [`RunChange`], in its place among the others.

mod change;
mod coalescer;
mod config;
mod database;
pub mod exit;
mod follow;
mod process;
mod status;

pub use change::{
    AttemptChange, AttemptEnd, Batch, Bookkeeping, Decided, Event, NewWork, RunChange, Step, WorkChange,
    WorkNow,
};
pub use coalescer::{Coalescer, RecordError};
pub use config::{Config, Options};
pub use database::{Database, DatabaseError, MySqlTarget, Resume, Target, Tls};
pub use follow::{FollowError, Follower};
pub use process::{Failure, run};
pub use status::Status;
