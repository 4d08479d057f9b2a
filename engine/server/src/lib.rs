//! The engine's process: threads, sockets, configuration, metrics, around a core that decides everything.
//!
//! ```text
//!  main thread                                 journal thread              other threads
//!  ───────────                                 ──────────────              ─────────────
//!  wire-link: UDP ⇄ QUIC ⇄ frames              append, fdatasync           upkeep: segments ahead, snapshots,
//!     │ frames            ▲ frames                  │                              retention
//!     ▼                   │                         │ durable LSN          fetch:  results read from the journal
//!  Scheduler::handle ─► Outbox (waits for LSN) ◄────┘ (watermark + bell)   feed:   records to sidecars
//!     │ records                                                            http:   /livez /readyz /healthz /metrics
//!     └──► batch ──[exchange of two buffers]──► journal thread             signals: SIGTERM, SIGINT
//! ```
//!
//! One thread reads the sockets and runs the core, to completion: a hop to another core costs tens of
//! microseconds, a work a fraction of one. It never waits for the disk; what may be told only once it is
//! durable lies in the outbox until the journal thread has raised the watermark. While one batch is
//! being synced, the next fills: group commit by itself.
//!
//! The shell decides nothing about works. What it does decide is its own: who may log in, how much may wait for
//! the disk, and in which order things stop.

mod auth;
mod clock;
mod commit;
mod config;
mod engine;
pub mod exit;
mod feed;
mod fetcher;
mod grants;
mod http;
mod metrics;
mod outbox;
mod recovery;
mod shared;
mod shell;
mod upkeep;

pub use config::{Config, Options};
pub use engine::{Failure, run};
