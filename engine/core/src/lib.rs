//! The scheduler: which work goes to which worker, and what becomes of it.
//!
//! Deterministic and sans-IO. One entrance, [`Scheduler::handle`], and one clock question,
//! [`Scheduler::next_deadline`]. The shell performs all [`Effects`] in order before it gives the next event. The
//! same sequence of (now, event) gives the same effects and the same snapshot, byte for byte: `now` and the seed
//! are arguments, iteration follows indices, nothing here reads a clock, a socket or an environment variable.
//!
//! ```text
//!   Event ──► Scheduler::handle ──► Effects: records to append (facts, in the order of their LSNs)
//!                  │                         frames to send (each after the LSN it depends on)
//!                  ▼
//!   works · bags · workers · ready queues · timers          (tables; one thread owns them all)
//!                  ▲
//!   Scheduler::replay ◄── records that a journal kept, after Scheduler::restore from a snapshot
//! ```
//!
//! What it deliberately does not do: check passwords and signatures, sign certificates, know files or results (they live in the journal and are
//! fetched from there, see [`Fetch`]), know SQL or a chain.

mod check;
mod config;
mod effect;
mod event;
mod fetch;
mod handler;
mod image;
mod parameters;
mod ready;
mod replay;
mod scheduler;
mod snapshot;
mod state;
mod table;
mod timers;
mod version;

pub use config::{ApprovalPolicy, Config, Limits};
pub use effect::{Certify, Effect, Effects};
pub use event::{Event, Pressure, Proof};
pub use fetch::{Fetch, ReadRecord};
pub use image::{
    BagImage, Chunk, Image, RestoreError, StandingImage, TenantImage, TokenImage, WorkImage, WorkerImage,
};
pub use replay::ReplayError;
pub use scheduler::{Counters, Scheduler};
pub use version::{Version, VersionError};
