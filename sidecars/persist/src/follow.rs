//! The shell: from the engine's feed into the database, for as long as both are there and again when they are back.
//!
//! A session opens the database, asks it where it is, and subscribes behind that. Two threads then work hand in hand:
//!
//! ```text
//!  feed thread                                   main thread
//!  records ─► Coalescer ─► Batch ───────────────► Database::apply
//!  acknowledges  ◄────── what is stored ──────────┘
//! ```
//!
//! While one batch is written the next fills; the longer writing takes, the more the next one holds, up to a bound.
//! Whatever breaks, the next session begins from the database, which alone knows what a commit did that was not
//! answered. Only what no waiting cures ends the loop.

mod session;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sidecars_tables::{DatabaseError, RecordError, Target};
use thiserror::Error;
use wire_feed::SubscriptionError;
use wire_protocol::ids::Lsn;

use crate::status::Status;

/// The first and the longest wait before another session; each is twice the one before, less up to half by chance, so
/// that many sidecars do not come back to one database at the same moment.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// A subscription that was refused so many times in a row is refused for good; an engine that is just stopping
/// refuses once and is gone.
const REFUSALS_MAX: u32 = 3;

/// Ends of batches that are remembered as unknown; one is added by a session that got as far as to write.
const UNKNOWN_MAX: usize = 64;

/// How long a thread waits before it looks whether it is to stop.
const PATIENCE: Duration = Duration::from_millis(50);

/// Follows one engine's feed into one database.
#[derive(Debug)]
pub struct Follower {
    /// The engine's `feed.sock`.
    pub feed: PathBuf,
    /// The database.
    pub target: Target,
    /// Set by whoever wants it to end.
    pub stop: Arc<AtomicBool>,
    /// Where it says how far it is.
    pub status: Arc<Status>,
}

/// Why it ended or, of a session, why it is begun again.
#[derive(Debug, Error)]
pub enum FollowError {
    /// The feed ended or cannot be had.
    #[error("the feed of {} cannot be followed", feed.display())]
    Feed {
        /// Its socket.
        feed: PathBuf,
        /// Why.
        source: SubscriptionError,
    },
    /// The engine says again and again that it will not feed this subscriber.
    #[error("the records behind {after}, where the database is, cannot be had")]
    Refused {
        /// The last record in the database.
        after: Lsn,
        /// What the engine says.
        source: SubscriptionError,
    },
    /// A record is not understood.
    #[error("a record cannot be turned into rows")]
    Record(#[from] RecordError),
    /// The database failed.
    #[error("the database {database} cannot be used")]
    Database {
        /// Which one.
        database: String,
        /// Why.
        source: DatabaseError,
    },
    /// Somebody else writes to the database.
    #[error(
        "another writer brought the database to record {found}, this one to {stored}; one of them is too many"
    )]
    OtherWriter {
        /// The last record that this program wrote.
        stored: Lsn,
        /// The last one in the database.
        found: Lsn,
    },
    /// The database does not answer.
    #[error("the database {database} did not answer within {} s", within.as_secs())]
    Silent {
        /// Which one.
        database: String,
        /// How long it had.
        within: Duration,
    },
    /// The operating system gives no runtime.
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
}

impl FollowError {
    /// Waiting may cure it.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Feed { source, .. } => !matches!(source, SubscriptionError::Version(_)),
            Self::Database { source, .. } => source.is_passing(),
            Self::Silent { .. } => true,
            Self::Refused { .. } | Self::Record(_) | Self::OtherWriter { .. } | Self::Runtime(_) => false,
        }
    }

    /// What a person can do about what the database's server says; see [`DatabaseError::cure`].
    fn cure(&self) -> Option<&'static str> {
        match self {
            Self::Database { source, .. } => source.cure(),
            _ => None,
        }
    }
}

/// What outlives a session.
///
/// A commit that was not answered may still be under way in the server when the next session asks where the database
/// is. So the database may be at any of those ends until something else is known to be stored: a transaction begins at a
/// position, and what was begun at an older one can no longer be done.
#[derive(Debug, Default)]
struct Memory {
    /// The last record that this program knows to be in the database.
    stored: Option<Lsn>,
    /// The ends of batches of which it does not know whether they are.
    unknown: BTreeSet<Lsn>,
    /// Refusals in a row.
    refusals: u32,
    /// The session stored something.
    moved: bool,
}

impl Memory {
    /// The database was asked where it is.
    ///
    /// # Errors
    /// It is where only somebody else can have brought it.
    fn found(&mut self, found: Lsn) -> Result<(), FollowError> {
        match self.stored {
            Some(stored) if found > stored && !self.unknown.contains(&found) => {
                return Err(FollowError::OtherWriter { stored, found });
            }
            Some(stored) if found == stored => return Ok(()),
            Some(stored) if found < stored => tracing::warn!(
                was = stored.0,
                is = found.0,
                "the database went back, as a restored copy does"
            ),
            _ => {}
        }
        self.unknown.clear();
        self.stored = Some(found);
        Ok(())
    }

    fn begins(&mut self, upto: Lsn) {
        if self.unknown.len() >= UNKNOWN_MAX {
            self.unknown.pop_first();
        }
        self.unknown.insert(upto);
    }

    fn stored(&mut self, upto: Lsn) {
        self.unknown.clear();
        (self.stored, self.moved) = (Some(upto), true);
    }
}

impl Follower {
    /// Follows until it is told to stop.
    ///
    /// # Errors
    /// Something that no waiting cures; see [`FollowError::is_passing`].
    pub fn run(&self) -> Result<(), FollowError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(FollowError::Runtime)?;
        let mut backoff = BACKOFF_MIN;
        let mut chance = fastrand::Rng::with_seed(u64::from(std::process::id()));
        let mut memory = Memory::default();
        while !self.stopped() {
            memory.moved = false;
            let ended = session::run(self, &runtime, &mut memory);
            self.status.interrupted();
            let Err(error) = ended else { break };
            let error = match error {
                FollowError::Feed {
                    source: source @ SubscriptionError::Refused(_),
                    ..
                } if memory.refusals >= REFUSALS_MAX => {
                    let after = memory.stored.unwrap_or_default();
                    FollowError::Refused { after, source }
                }
                error => error,
            };
            if !error.is_passing() {
                return Err(error);
            }
            if memory.moved {
                backoff = BACKOFF_MIN;
            }
            let wait = backoff.mul_f64(1.0 - chance.f64() / 2.0);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                cure = error.cure(),
                wait_ms = wait.as_millis() as u64,
                "begins again"
            );
            self.status.failed(&error);
            self.sleep(wait);
            backoff = (2 * backoff).min(BACKOFF_MAX);
        }
        tracing::info!(lsn = self.status.stored().0, "stopped");
        Ok(())
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn sleep(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while !self.stopped() && Instant::now() < until {
            std::thread::sleep(PATIENCE.min(until.saturating_duration_since(Instant::now())));
        }
    }
}

#[cfg(test)]
mod faults;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_commit_may_have_been_done_or_not_and_nothing_else_may() {
        let mut memory = Memory::default();
        memory.found(Lsn(7)).expect("it may begin anywhere");
        memory.stored(Lsn(9));
        memory.begins(Lsn(12));
        memory.found(Lsn(9)).expect("it was not done");
        memory.begins(Lsn(14));
        memory.found(Lsn(12)).expect("it was under way and is done now");
        let other = memory
            .found(Lsn(14))
            .expect_err("begun at 9, it cannot be done at 12");
        assert!(!other.is_passing(), "{other}");
        memory.begins(Lsn(20));
        memory.found(Lsn(15)).expect_err("nobody here wrote up to 15");
        memory.found(Lsn(3)).expect("an older copy was restored");
        memory.found(Lsn(20)).expect_err("that was before");
    }
}
