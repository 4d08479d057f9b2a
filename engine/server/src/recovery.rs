//! From a folder to a journal that takes records and a core that is where it was.
//!
//! Two threads share the work: one reads the journal and verifies it, this one applies what has been verified. So a
//! start costs the longer of the two, and nothing is applied before it is verified.
//!
//! ```text
//!  "verify"   Journal::open_and_show ──► [ blocks of records, at most 4 ] ──► Scheduler::restore, replay   (caller)
//!                      ▲                                                              │
//!                      └───────────────────── emptied blocks ◄────────────────────────┘
//! ```
//!
//! What lies before the snapshot is only verified, by as many threads as there are processors.
//!
//! The core counts only when both have come to their end. Damage, wherever it lies, is told rather than what the core
//! made of the records before it.

use std::error::Error;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use engine_core::{ReplayError, RestoreError, Scheduler};
use engine_journal::{Crew, Job, Journal, OsStorage, Recovery, Shown, Snapshot, Verified};
use thiserror::Error;

use crate::config::Config;
use crate::engine::EngineError;

/// Zeroed segments that are kept ahead hold at least this much, so that small ones do not run out between two
/// rounds of upkeep.
const AHEAD_BYTES: u64 = 16 << 20;

/// Room in the journal below which submissions are refused; half a segment where segments are small, so that a
/// fresh journal takes some before the first segments ahead are prepared.
const INTAKE_MARGIN_BYTES: u64 = 4 << 20;

/// Blocks between the two threads: enough that neither waits for the other's hiccups, and a megabyte.
const BLOCKS: usize = 4;

#[derive(Debug, Error)]
enum ReplayFailure {
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

/// Verifies what lies before the snapshot with all processors: it may be far more than what comes after, and while it
/// lasts there is nothing to replay.
struct Processors;

impl Crew for Processors {
    fn run(&self, jobs: Vec<Job<'_>>) {
        let hands = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(jobs.len());
        let jobs = Mutex::new(jobs.into_iter());
        let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || std::iter::from_fn(next).for_each(|job| job());
        thread::scope(|threads| (0..hands).for_each(|_| _ = threads.spawn(work)));
    }
}

/// What the verifying thread hands over.
enum Piece {
    Snapshot(Arc<Snapshot>),
    Records(Verified),
}

/// Opens the journal and brings the core to where it was.
pub(crate) fn recover(config: &Config) -> Result<(Journal, Scheduler), EngineError> {
    let failed = |source: Box<dyn Error + Send + Sync>| EngineError::Journal {
        folder: config.data.display().to_string(),
        source,
    };
    let started = Instant::now();
    let storage = Arc::new(OsStorage::open(&config.data).map_err(|error| failed(error.into()))?);
    let mut core = Scheduler::new(config.scheduler.clone());
    let (pieces_in, pieces) = sync_channel(BLOCKS);
    let (empty_in, empty) = channel();
    let (opened, replayed) = thread::scope(|threads| {
        let verify = move || {
            Journal::open_and_show(storage, journal_config(config), &Processors, &mut |shown| {
                hand_over(shown, &pieces_in, &empty);
            })
        };
        let verifying = thread::Builder::new()
            .name("verify".to_owned())
            .spawn_scoped(threads, verify)
            .expect("the system has room for a thread");
        let replayed = replay(&mut core, pieces, &empty_in);
        (
            verifying.join().unwrap_or_else(|panic| resume_unwind(panic)),
            replayed,
        )
    });
    let (journal, recovery) = opened.map_err(|error| failed(error.into()))?;
    replayed.map_err(|error| failed(error.into()))?;
    log(&recovery, &core, started);
    Ok((journal, core))
}

fn journal_config(config: &Config) -> engine_journal::Config {
    engine_journal::Config {
        shard: config.scheduler.shard,
        segment_bytes: config.segment_bytes,
        ahead_segments: u32::try_from(AHEAD_BYTES.div_ceil(config.segment_bytes)).expect("a few"),
        intake_margin_bytes: INTAKE_MARGIN_BYTES.min(config.segment_bytes / 2),
        ..engine_journal::Config::default()
    }
}

/// Gives a piece to the replaying side and keeps an empty block for the next. If that side has stopped at an error,
/// the journal is verified to its end all the same, because damage is the better answer.
fn hand_over(shown: Shown<'_>, pieces: &SyncSender<Piece>, empty: &Receiver<Verified>) {
    let piece = match shown {
        Shown::Snapshot(snapshot) => Piece::Snapshot(Arc::clone(snapshot)),
        Shown::Records(block) => {
            let next = empty.try_recv().unwrap_or_default();
            Piece::Records(std::mem::replace(block, next))
        }
    };
    drop(pieces.send(piece));
}

/// Applies pieces until the verifying side has shown all.
fn replay(
    core: &mut Scheduler,
    pieces: Receiver<Piece>,
    empty: &Sender<Verified>,
) -> Result<(), ReplayFailure> {
    for piece in pieces {
        match piece {
            Piece::Snapshot(snapshot) => core.restore(&snapshot.bytes)?,
            Piece::Records(mut block) => {
                for record in block.records() {
                    core.replay(record.lsn, record.kind, record.payload)?;
                }
                block.clear();
                // The other side may have ended already.
                drop(empty.send(block));
            }
        }
    }
    Ok(())
}

fn log(recovery: &Recovery, core: &Scheduler, started: Instant) {
    if let Some(torn) = &recovery.torn {
        tracing::warn!(
            ?torn,
            "the last batch was cut off by a crash and dropped; nobody had been told of it"
        );
    }
    for damage in &recovery.damaged_snapshots {
        tracing::warn!(?damage, "a damaged snapshot was passed over for an older one");
    }
    tracing::info!(
        snapshot = recovery.snapshot.as_ref().map_or(0, |snapshot| snapshot.lsn.0),
        lsn = recovery.last_lsn.0,
        epoch = core.epoch().0,
        after_ms = started.elapsed().as_millis() as u64,
        "recovered"
    );
}
