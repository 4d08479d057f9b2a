//! The gateway: what a pool has for the world over HTTPS. So far that is its files.
//!
//! ```text
//!  TCP ─► TLS ─► HTTP/1.1, HTTP/2 ─► sidecars_files::http ─► the store
//!   (serve.rs: caps and times)            │
//!                                  Gatekeeper: who is that? (login and password, or a grant of the engine)
//! ```
//!
//! It asks the engine nothing: grants are signed with a key that both have. [`run`] is the life of the process.

mod config;
pub mod exit;
mod gatekeeper;
mod process;
mod serve;
mod status;
mod stream;

pub use config::{Config, Options};
pub use process::{Failure, run};
