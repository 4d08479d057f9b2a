//! What the processes around the cores do in the same way: log, read secrets, check logins, say where they listen, and
//! serve health and metrics over HTTP.
//!
//! It knows nothing of works; a process that needs another form of one of these has a reason of its own and keeps it
//! to itself.

pub mod http;
pub mod log;
mod login;
mod ready;
mod secret;

pub use login::{Credential, Guesses};
pub use ready::ReadyFile;
pub use secret::secret;
