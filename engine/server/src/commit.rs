//! The journal thread: takes batches from the main thread, makes them durable, raises the watermark.
//!
//! While one batch is being synced the next ones fill, and all that have come by then are one commit: batches grow
//! with the load and the number of syncs does not. Under load a pause before a sync makes batches larger still: a sync
//! costs processor time whatever it writes, which is better spent on works once there are more than some thousands of
//! syncs a second.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use engine_journal::{Journal, JournalError, RecordBatch};
use engine_queue::exchange::{Batch, Taker};
use wire_feed::FeedWaker;
use wire_protocol::ids::Lsn;

use crate::clock::wall_us;
use crate::metrics::Histogram;
use crate::shared::{DiskState, Shared};

/// Records that are committed together.
#[derive(Default)]
pub(crate) struct Commit {
    pub(crate) records: RecordBatch,
    /// Position of the first of them.
    pub(crate) first: Lsn,
}

impl Batch for Commit {
    fn reset(&mut self) {
        self.records.clear();
    }
}

/// How long to wait before trying a full disk again.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(100);

/// Records in a batch from which the next one is worth waiting for.
const BUSY_RECORDS: u32 = 8;

/// Starts the thread. It ends when the other end of the exchange is dropped and all is durable, or when the
/// journal cannot go on, which it then says in [`Shared::failed`].
pub(crate) fn spawn(
    mut journal: Journal,
    mut batches: Taker<Commit>,
    shared: Arc<Shared>,
    feed: FeedWaker,
    commits: Arc<Histogram>,
    floor: Duration,
) -> JoinHandle<()> {
    let work = move || {
        let mut last = Instant::now();
        let mut carried = None;
        while let Some(mut batch) = carried.take().or_else(|| batches.take()) {
            let busy = batch.records.len() >= BUSY_RECORDS;
            let since = last.elapsed();
            if busy && since < floor {
                thread::park_timeout(floor - since);
            }
            carried = gather(&mut batch, &mut batches, journal.batch_bytes_max());
            let started = Instant::now();
            match append(&mut journal, &mut batch, &shared) {
                Ok(durable) => {
                    shared.durable.raise(durable.0);
                    shared.bell.ring();
                }
                Err(error) => return shared.fail(error),
            }
            last = Instant::now();
            commits.record(last - started);
            shared.set_disk(DiskState::of(journal.headroom()));
            batches.give_back(batch);
            // The feed's readers are served next time if this fails; nothing is lost.
            drop(feed.more_durable());
        }
    };
    thread::Builder::new()
        .name("journal".to_owned())
        .spawn(work)
        .expect("the system has room for a thread")
}

/// Puts what has come meanwhile into the same batch, as far as it fits; returns what does not.
fn gather(batch: &mut Commit, batches: &mut Taker<Commit>, bytes_max: u64) -> Option<Commit> {
    while let Some(next) = batches.try_take() {
        if batch.records.bytes() + next.records.bytes() > bytes_max {
            return Some(next);
        }
        batch.records.extend(&next.records);
        batches.give_back(next);
    }
    None
}

/// Appends, and on a full disk tries until there is room: what was accepted goes on to its end, and nothing of
/// it may be told before it is durable.
fn append(journal: &mut Journal, batch: &mut Commit, shared: &Shared) -> Result<Lsn, JournalError> {
    loop {
        match journal.append(&mut batch.records, batch.first, wall_us()) {
            Err(JournalError::DiskFull { what }) => {
                tracing::error!(
                    what,
                    "the disk is full; nothing is acknowledged until there is room"
                );
                shared.set_disk(DiskState::Full);
                thread::sleep(FULL_DISK_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use engine_queue::exchange::{Filler, Published, exchange};

    use super::*;

    const PAYLOAD: &[u8] = &[7; 3_000];

    /// One record each, from `#1`.
    fn publish(filler: &mut Filler<Commit>, commits: u64) {
        for lsn in 1..=commits {
            let mut commit = Commit {
                first: Lsn(lsn),
                ..Commit::default()
            };
            commit.records.push(lsn as u8, PAYLOAD);
            assert_eq!(filler.publish(&mut commit), Published::Sent);
            assert!(commit.records.is_empty(), "what comes back is empty");
        }
    }

    /// What the records of these kinds are together.
    fn records(kinds: &[u8]) -> RecordBatch {
        let mut records = RecordBatch::new();
        kinds.iter().for_each(|kind| records.push(*kind, PAYLOAD));
        records
    }

    fn assert_holds(commit: &Commit, kinds: &[u8]) {
        assert_eq!(
            commit.first,
            Lsn(u64::from(kinds[0])),
            "its first keeps its place"
        );
        let wanted = records(kinds);
        assert_eq!(commit.records.len(), wanted.len());
        assert_eq!(
            format!("{:?}", commit.records),
            format!("{wanted:?}"),
            "all of them, in order"
        );
    }

    #[test]
    fn all_that_has_come_by_then_is_one_commit() {
        let (mut filler, mut taker) = exchange(4);
        publish(&mut filler, 4);
        let mut batch = taker.take().expect("some were published");
        assert!(gather(&mut batch, &mut taker, u64::MAX).is_none());
        assert_holds(&batch, &[1, 2, 3, 4]);
        assert_eq!(taker.waiting(), 0);
    }

    #[test]
    fn with_nothing_else_there_a_batch_is_committed_as_it_is_however_large() {
        let (mut filler, mut taker) = exchange(2);
        publish(&mut filler, 1);
        let mut batch = taker.take().expect("one was published");
        assert!(gather(&mut batch, &mut taker, 0).is_none());
        assert_holds(&batch, &[1]);
    }

    #[test]
    fn what_does_not_fit_begins_the_next_commit_and_nothing_overtakes_it() {
        let (mut filler, mut taker) = exchange(4);
        publish(&mut filler, 4);
        // Judged by what each takes alone, which is no less than they take together.
        let bytes_max = 2 * records(&[1]).bytes();
        let mut batch = taker.take().expect("some were published");
        let carried = gather(&mut batch, &mut taker, bytes_max);
        assert!(batch.records.bytes() <= bytes_max);
        assert_holds(&batch, &[1, 2]);
        assert_eq!(taker.waiting(), 1, "those behind it wait where they are");

        let mut batch = carried.expect("a third does not fit");
        assert_holds(&batch, &[3]);
        assert!(gather(&mut batch, &mut taker, bytes_max).is_none());
        assert_holds(&batch, &[3, 4]);
    }

    #[test]
    fn a_bound_that_two_might_pass_is_kept() {
        let (mut filler, mut taker) = exchange(2);
        publish(&mut filler, 2);
        let mut batch = taker.take().expect("some were published");
        let one_too_few = 2 * records(&[1]).bytes() - 1;
        let carried = gather(&mut batch, &mut taker, one_too_few);
        assert_holds(&batch, &[1]);
        assert_holds(&carried.expect("it does not fit"), &[2]);
    }
}
