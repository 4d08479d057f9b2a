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
use std::time::{Duration, Instant};

use engine_core::{ReplayError, RestoreError, Scheduler};
use engine_journal::{Crew, Job, Journal, OsStorage, Recovery, Shown, Snapshot, Verified};
use thiserror::Error;

use crate::config::Config;
use crate::engine::EngineError;

/// Zeroed segments that are kept ahead hold at least this much, so that small ones do not run out between two
/// rounds of upkeep.
const AHEAD_BYTES: u64 = 16 << 20;

/// And there are so many at least: one may be taken while the next is being zeroed.
const AHEAD_MIN: u64 = 2;

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

/// What a start read back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovered {
    /// Records behind the snapshot.
    pub(crate) records: u64,
    pub(crate) took: Duration,
}

/// Opens the journal and brings the core to where it was.
pub(crate) fn recover(config: &Config) -> Result<(Journal, Scheduler, Recovered), EngineError> {
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
    let recovered = Recovered {
        records: recovery.last_lsn.0 - recovery.snapshot.as_ref().map_or(0, |snapshot| snapshot.lsn.0),
        took: started.elapsed(),
    };
    log(&recovery, &core, started);
    Ok((journal, core, recovered))
}

fn journal_config(config: &Config) -> engine_journal::Config {
    engine_journal::Config {
        shard: config.scheduler.shard,
        segment_bytes: config.segment_bytes,
        ahead_segments: u32::try_from(AHEAD_BYTES.div_ceil(config.segment_bytes).max(AHEAD_MIN))
            .expect("a few"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;
    use clap::Parser;
    use engine_journal::RecordBatch;
    use std::path::Path;
    use wire_protocol::codec::put_control;
    use wire_protocol::ids::{Epoch, Lsn, Shard};
    use wire_protocol::record::{EpochStarted, kind};

    fn config(folder: &Path) -> Config {
        let folder = folder.to_str().expect("a name");
        let arguments = [
            "pool-engine",
            "--data",
            folder,
            "--admin-password",
            "a",
            "--worker-password",
            "w",
        ];
        let options = Options::try_parse_from(arguments).expect("well-formed flags");
        options.into_config().expect("both passwords are given")
    }

    /// A journal that tells of these epochs, so many in a batch.
    fn journal_of(config: &Config, epochs: &[u32], batch_len: usize) {
        let storage = OsStorage::open(&config.data).expect("a folder");
        let (mut journal, _) = Journal::open(Arc::new(storage), journal_config(config)).expect("opens");
        journal.begin_epoch();
        let mut batch = RecordBatch::new();
        for epochs in epochs.chunks(batch_len) {
            for epoch in epochs {
                let started = EpochStarted {
                    shard: Shard(0),
                    epoch: Epoch(*epoch),
                    at: wire_protocol::units::Instant(1),
                    version: String::new(),
                };
                let mut payload = Vec::new();
                put_control(&mut payload, &started);
                batch.push(kind::EPOCH_STARTED, &payload);
            }
            let first = journal.next_lsn();
            journal.append(&mut batch, first, 0).expect("appended");
        }
    }

    fn refusal(config: &Config) -> String {
        match recover(config) {
            Err(EngineError::Journal { source, .. }) => source.to_string(),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it was taken"),
        }
    }

    #[test]
    fn a_start_is_where_the_last_record_left_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        // Each batch fills a block, and they are more than the two threads have between them.
        let epochs: Vec<u32> = (1..=200_000).collect();
        journal_of(&config, &epochs, 10_000);
        let (journal, core, recovered) = recover(&config).expect("nothing is wrong with it");
        assert_eq!(core.last_lsn(), Lsn(200_000));
        assert_eq!(recovered.records, 200_000);
        assert_eq!((core.epoch(), journal.next_lsn()), (Epoch(200_000), Lsn(200_001)));
    }

    #[test]
    fn records_that_contradict_each_other_stop_a_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        journal_of(&config, &[1, 2, 2, 3], 1);
        let refusal = refusal(&config);
        assert!(refusal.contains("contradicts those before it"), "{refusal}");
    }

    #[test]
    fn damage_is_told_even_behind_records_that_contradict_each_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        journal_of(&config, &[1, 2, 2, 3], 1);
        let segment = config.data.join(format!("journal-{:020}.seg", 1));
        let mut content = std::fs::read(&segment).expect("a segment");
        // After the header of the segment each batch has one sector.
        content[4 * 512 + 200] ^= 1;
        std::fs::write(&segment, content).expect("written");
        let refusal = refusal(&config);
        assert!(
            refusal.contains("journal-") && refusal.contains("is damaged at byte"),
            "{refusal}"
        );
    }
}
