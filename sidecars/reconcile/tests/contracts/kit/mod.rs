//! What the scenarios share: a chain of their own with the real contracts, the pool's brain with its shell, workers' cores
//! with theirs, an engine in a few lines; and what must hold whatever happens.
//!
//! ```text
//!   market      who offers, buys, claims, and what everybody has
//!   pool        the reconciler
//!   fate        where it is killed
//!   engine      works under keys
//!   member      a worker
//!   troubled    the nodes of both: away, behind, forgetful
//!   journal     every transaction of the pool, and what it was for
//!   invariants  I1, I2, I4, I6
//! ```

mod engine;
mod fate;
mod invariants;
mod journal;
mod market;
mod member;
mod pool;
mod settings;
mod troubled;

use wire_protocol::units::{Instant, Millis};

pub(crate) use fate::{Death, Moment};
pub(crate) use invariants::Ending;
pub(crate) use market::has;
pub(crate) use member::{CLUMSY, HONEST, Habits, SILENT, liar};
pub(crate) use pool::{Pool, Way};

/// So many milliseconds after everything began.
fn instant(ms: u64) -> Instant {
    Instant(0) + Millis(ms)
}
