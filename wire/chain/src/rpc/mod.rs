//! JSON-RPC to one node, in batches: <https://www.jsonrpc.org/specification>, over HTTP or HTTPS.
//!
//! ```text
//!   requests ─► chunks of at most batch_max ─► POST ─► answers in any order, by id
//!                      ▲                         │
//!                      └── halved, if the node ◄─┤ one error for the whole batch, 413, an answer too long
//!                          refuses it            │
//!                      ┌── after a backoff ◄─────┘ what is worth another try, of what may be asked twice
//!                      ▼
//!                   the same requests again, until patience ends
//! ```
//!
//! It knows what nodes say when they do not answer ([`NodeErrorKind`]), and nothing of what is asked.

mod client;
mod endpoint;
mod error;
#[cfg(test)]
mod tests;
mod texts;

pub use client::{Request, Rpc, RpcOptions};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{MESSAGE_CHARS_MAX, NodeError, NodeErrorKind, RpcError};
