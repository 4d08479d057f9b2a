//! The transactions of one wallet, each with a number of its own.
//!
//! The owner of a pool's contract cannot be changed, so one wallet sends everything, and its nonces are one line: a
//! transaction that is stuck stops all behind it. The lane is the one owner of these nonces.
//!
//! ```text
//!   Intend ─► queue ─► Sign ─► Note (raw bytes, durable) ─► Send ─► receipt ─► safe ─► final, forgotten
//!              │ by deadline     │                            │ ▲       │
//!              │                 └── nothing is sent that     │ └───────┘ orphaned, dropped: is it still right? then the
//!              │                     a restart would forget   │           same bytes again, else a no-op for its nonce
//!              └ at most so many without a receipt            └── too cheap: signed again, 10 % dearer, up to a cap
//! ```
//!
//! **No intent is mined twice.** An intent gets one nonce, and with it a set of attempts of which one can be mined. It gets
//! another nonce only when somebody else's transaction has its nonce in a *final* block, or its no-op has.
//!
//! **What a node says is provisional.** A receipt counts, and stops counting, until it is read again from under a final
//! block. So a late answer, a node that lags, and a chain that forgets (`evm_revert`) are repaired by the next answers and
//! need no case of their own.
//!
//! Gas prices are bounded by a cap, what is spent in an hour by another. Beyond them the lane holds and says so.
//!
//! Deliberately absent: keys, nodes, whether a call makes sense (`wire_hub::obstacle`).

mod event;
mod fees;
mod nonces;
mod polling;
mod slot;
mod spending;
mod wallet;

pub use event::{
    Account, Alert, Effect, Event, Intent, IntentId, Kept, Payload, Progress, Sending, Settings, Withdrawal,
};
pub use fees::{FeePolicy, Fees};
pub use slot::{Attempt, Purpose};
pub use wallet::Lane;

#[cfg(test)]
mod tests;
