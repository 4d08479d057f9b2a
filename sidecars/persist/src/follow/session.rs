//! One session: from opening the database to the first thing that breaks.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use sidecars_tables::{Batch, Coalescer, Database, DatabaseError};
use tokio::runtime::Runtime;
use wire_feed::{Subscription, SubscriptionError};
use wire_protocol::ids::Lsn;

use super::{FollowError, Follower, Memory, PATIENCE};

/// Its name at the engine.
const NAME: &str = "persist";

/// A batch is closed at so many bytes of records; with one that is written and one that fills or waits this is what
/// bounds the memory.
const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A batch is closed at so many state changes; where between these depends on how long the last one took.
const BATCH_CHANGES_MIN: usize = 1_000;
const BATCH_CHANGES_MAX: usize = 200_000;

/// Writing a full batch should take about so long. Batches are full only while the database is behind; then the longer
/// they are, the more of a work's life is in one and the less there is to write.
const BATCH_TAKES: Duration = Duration::from_secs(2);

/// How soon it is noticed, while nothing comes, that what was gathered may be written.
const LINGER: Duration = Duration::from_millis(2);

/// A connection has to stand within this time.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

/// A batch has to be written within this time. A database that takes longer is taken for gone; what it did is
/// found out from a new connection.
const APPLY_WITHIN: Duration = Duration::from_secs(120);

/// Once told to stop, a batch that is being written has this time.
const STOP_WITHIN: Duration = Duration::from_secs(8);

/// A batch with what is known of its records.
struct Gathered {
    batch: Batch,
    bytes: u64,
    /// When the oldest of them was committed by the engine, microseconds since 1970.
    oldest_us: u64,
}

/// What the two threads know of each other.
struct Shared {
    /// The last record in the database.
    stored: AtomicU64,
    /// State changes at which a batch is closed.
    changes_max: AtomicUsize,
    /// The main thread has nothing to write.
    waits: AtomicBool,
    /// The main thread takes no more.
    over: AtomicBool,
}

/// Follows until it is told to stop or something breaks.
pub(super) fn run(follower: &Follower, runtime: &Runtime, memory: &mut Memory) -> Result<(), FollowError> {
    let opened = runtime.block_on(answered(follower, OPEN_WITHIN, open(follower)))?;
    let Some((mut database, coalescer)) = opened else {
        return Ok(());
    };
    let after = coalescer.upto();
    memory.found(after)?;
    follower.status.stored_upto(after);
    let feed = subscribe(follower, memory, after)?;
    let shared = Shared {
        stored: AtomicU64::new(after.0),
        changes_max: AtomicUsize::new(BATCH_CHANGES_MIN * 10),
        waits: AtomicBool::new(false),
        over: AtomicBool::new(false),
    };
    // Nothing lies in between: a full batch waits where it was filled.
    let (give, take) = mpsc::sync_channel(0);
    let reader = Reader {
        follower,
        shared: &shared,
        feed,
        coalescer,
        bytes: 0,
        oldest_us: u64::MAX,
        acknowledged: 0,
    };
    let (written, read) = std::thread::scope(|scope| {
        let thread = scope.spawn(move || reader.run(&give));
        let written = runtime.block_on(write(follower, memory, &mut database, &shared, take));
        shared.over.store(true, Ordering::Relaxed);
        (written, thread.join().expect("the feed thread does not panic"))
    });
    if written.is_ok() {
        runtime.block_on(database.close());
    }
    written.and(read)
}

async fn open(follower: &Follower) -> Result<(Database, Coalescer), DatabaseError> {
    let mut database = Database::open(&follower.target).await?;
    let coalescer = database.resume().await?.coalescer();
    Ok((database, coalescer))
}

fn subscribe(follower: &Follower, memory: &mut Memory, after: Lsn) -> Result<Subscription, FollowError> {
    let feed = Subscription::connect(&follower.feed, NAME, after).map_err(|source| {
        let refused = matches!(source, SubscriptionError::Refused(_));
        memory.refusals = if refused { memory.refusals + 1 } else { 0 };
        feed_error(follower, source)
    })?;
    memory.refusals = 0;
    let durable = feed.feeding().durable;
    follower.status.following(durable);
    tracing::info!(database = %follower.target, after = after.0, durable = durable.0, "follows the feed");
    Ok(feed)
}

/// Writes batches as they come; ends when there will be no more, or it is told to stop.
async fn write(
    follower: &Follower,
    memory: &mut Memory,
    database: &mut Database,
    shared: &Shared,
    batches: mpsc::Receiver<Gathered>,
) -> Result<(), FollowError> {
    while !follower.stopped() {
        // Nothing else is under way on this thread's runtime, so that it may block.
        shared.waits.store(true, Ordering::Relaxed);
        let gathered = batches.recv_timeout(PATIENCE);
        shared.waits.store(false, Ordering::Relaxed);
        let Gathered {
            batch,
            bytes,
            oldest_us,
        } = match gathered {
            Ok(gathered) => gathered,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let (began, upto) = (Instant::now(), batch.upto);
        follower.status.writes(oldest_us);
        memory.begins(upto);
        if answered(follower, APPLY_WITHIN, database.apply(&batch))
            .await?
            .is_none()
        {
            tracing::info!(upto = upto.0, "stops without the answer to its last batch");
            break;
        }
        memory.stored(upto);
        shared.stored.store(upto.0, Ordering::Relaxed);
        let took = began.elapsed();
        follower.status.wrote(&batch, bytes, took);
        shared.adapt(batch.changes(), took);
    }
    Ok(())
}

/// What the database says, if it says something in time. `None`: it is told to stop and cannot wait any longer.
async fn answered<T>(
    follower: &Follower,
    within: Duration,
    asked: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<Option<T>, FollowError> {
    let asked = pin!(asked);
    let told_to_stop = async {
        while !follower.stopped() {
            tokio::time::sleep(PATIENCE).await;
        }
        tokio::time::sleep(STOP_WITHIN).await;
    };
    let database = follower.target.to_string();
    tokio::select! {
        answer = asked => match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(source) => Err(FollowError::Database { database, source }),
        },
        () = tokio::time::sleep(within) => Err(FollowError::Silent { database, within }),
        () = told_to_stop => Ok(None),
    }
}

impl Shared {
    /// The next batch is larger if a full one was quick, and smaller if one was slow.
    fn adapt(&self, changes: usize, took: Duration) {
        let now = self.changes_max.load(Ordering::Relaxed);
        let next = if took > BATCH_TAKES * 2 {
            now / 2
        } else if took < BATCH_TAKES / 2 && changes >= now {
            now * 2
        } else {
            now
        };
        let next = next.clamp(BATCH_CHANGES_MIN, BATCH_CHANGES_MAX);
        self.changes_max.store(next, Ordering::Relaxed);
    }
}

/// The feed thread's half.
struct Reader<'a> {
    follower: &'a Follower,
    shared: &'a Shared,
    feed: Subscription,
    coalescer: Coalescer,
    /// Of the records in the coalescer.
    bytes: usize,
    oldest_us: u64,
    /// The last record that the engine was told is stored.
    acknowledged: u64,
}

impl Reader<'_> {
    fn run(mut self, give: &mpsc::SyncSender<Gathered>) -> Result<(), FollowError> {
        while !self.is_over() {
            let ended = self.gather();
            // What came before an error is as good as any.
            if self.coalescer.records() > 0 {
                let gathered = Gathered {
                    batch: self.coalescer.batch(),
                    bytes: std::mem::take(&mut self.bytes) as u64,
                    oldest_us: std::mem::replace(&mut self.oldest_us, u64::MAX),
                };
                if give.send(gathered).is_err() {
                    break;
                }
            }
            ended?;
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.follower.stopped() || self.shared.over.load(Ordering::Relaxed)
    }

    /// Takes what has arrived and, while another batch is written, what arrives, up to a full one: the more of a work's
    /// life is in one batch, the less there is to write.
    fn gather(&mut self) -> Result<(), FollowError> {
        while !self.is_full() && !self.is_over() {
            self.acknowledge()?;
            let wait = if self.coalescer.records() == 0 {
                PATIENCE
            } else {
                LINGER
            };
            self.take_arrived(wait)?;
            if self.coalescer.records() > 0 && self.shared.waits.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.coalescer.changes() >= self.shared.changes_max.load(Ordering::Relaxed)
            || self.bytes >= BATCH_BYTES_MAX
    }

    /// Waits for a record, and takes those that came with it.
    fn take_arrived(&mut self, mut wait: Duration) -> Result<(), FollowError> {
        let before = self.bytes;
        while !self.is_full() {
            let next = self.feed.next_within(wait);
            let Some(record) = next.map_err(|source| feed_error(self.follower, source))? else {
                break;
            };
            self.coalescer.take(&record)?;
            self.bytes += record.payload.len();
            self.oldest_us = self.oldest_us.min(record.wall_us);
            wait = Duration::ZERO;
        }
        let bytes = (self.bytes - before) as u64;
        self.follower
            .status
            .received(self.coalescer.upto(), bytes, self.oldest_us);
        Ok(())
    }

    fn acknowledge(&mut self) -> Result<(), FollowError> {
        let stored = self.shared.stored.load(Ordering::Relaxed);
        if stored > self.acknowledged {
            self.acknowledged = stored;
            let told = self.feed.acknowledge(Lsn(stored));
            told.map_err(|source| feed_error(self.follower, source))?;
        }
        Ok(())
    }
}

fn feed_error(follower: &Follower, source: SubscriptionError) -> FollowError {
    let feed = follower.feed.clone();
    FollowError::Feed { feed, source }
}
