//! The one room that ethers is in: between the vocabulary of `wire-hub` and the bytes of contracts and transactions.
//!
//! ```text
//!   call.rs         Call, Setup ─► bytes
//!   event.rs        topics, bytes ─► Event
//!   view.rs         View ─► questions; answers ─► Seen
//!   transaction.rs  RLP of transactions
//!   convert.rs      numbers and addresses, checked
//! ```
//!
//! Nothing of ethers is in a signature that leaves this folder, so that another library (alloy is the one upstream names)
//! would change these files and no others.

mod bindings;
mod call;
mod convert;
mod event;
mod transaction;
mod view;

pub(crate) use call::{encode, encode_setup};
pub(crate) use event::decode;
pub(crate) use transaction::rlp;
pub(crate) use view::{answer, questions};
