//! The brain as one core: follower, book, planner and lane, and what goes between them.
//!
//! ```text
//!  Head ─► Follower ─► Book ─┐ followed up to the head
//!                            ▼
//!                 Reading: views of all orders and people at this block ─► plan ─► works to ask for, calls
//!                            ▲                                                            │
//!  engine: workers, ends ────┘ planned anew                                    Lane ◄─────┘
//! ```
//!
//! A plan is made from one block: all views that it needs are asked for at once, and it is made when all were answered, be it
//! that nobody knows. An order that was bought is read at the block that bought it, so that its content is known before
//! anything is done for it; what the chain says of it meanwhile waits for that.
//!
//! What has to outlive the process goes out as notes: where the follower is, each order with what is under way for it, each
//! nonce. All notes of one [`Reconciler::handle`] belong together; the shell writes them in one piece. A transaction is sent
//! only once its note is durable; works are asked for under a key, so that asking twice is asking once.
//!
//! Rows for people and tables go out in the same way ([`wire_hub::row`]), and the books, which are the rows of money and what
//! is not in them yet ([`crate::core::ledger`]). The lane hears of a block only when the chain was followed up to the last:
//! so it may be followed again, from any block, while transactions are under way.
//!
//! Deliberately absent: where answers come from, keys, what parameters of an order mean to the engine (the shell asks
//! [`crate::core::bag`]).

mod books;
mod brain;
mod chain;
mod event;
mod explaining;
mod lane;
mod notes;
mod offers;
mod planning;
mod reading;
mod requests;
mod rows;
mod transactions;

pub use brain::Reconciler;
pub use event::{Effect, Event, LaneEvent, Settings, Share, Worker};
pub use notes::{CURSOR, NOTEBOOK, NotesError, Place, Restored, place as place_note};
pub use offers::Offers;
