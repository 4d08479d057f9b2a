//! Performs what the core asks for, and decides nothing.
//!
//! ```text
//!   node ◄── questions, transactions ── Driver ── notes ──► Keeper ── one write at a time ──► engine's notebook
//!     │                                 ▲  │                   │ durable: then works are asked for
//!     └── answers ───────── events ─────┘  └── works ◄─────────┘
//!                             ▲                 │
//!        workers, requests ───┴──── outcomes ───┘   engine
//! ```

mod backoff;
mod driver;
mod inbox;
mod keeper;
mod node;
mod offers;
pub mod roster;
mod works;

pub use driver::{Driver, DriverError, Engine};
pub use node::NodeShell;
pub use works::WorkSettings;
