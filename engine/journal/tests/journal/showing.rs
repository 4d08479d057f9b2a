//! What a start shows while it verifies: whole, in order, and never more than it has verified.

use crate::common::{
    Oracle, append, change, config, damaged, open, payloads, records, segments, start, tidy,
};
use engine_journal::{Config, Crew, FaultStorage, Job, Journal, JournalError, Loss, Recovery, Shown};
use std::sync::Arc;
use wire_protocol::ids::Lsn;

/// Each job on a thread of its own.
struct Threads;

impl Crew for Threads {
    fn run(&self, jobs: Vec<Job<'_>>) {
        std::thread::scope(|threads| jobs.into_iter().for_each(|job| _ = threads.spawn(job)));
    }
}

/// What was shown during one opening.
#[derive(Default)]
struct Seen {
    snapshot: Option<Lsn>,
    records: Vec<(Lsn, Vec<u8>)>,
    blocks: usize,
}

impl Seen {
    fn look(&mut self, shown: &Shown<'_>) {
        match shown {
            Shown::Snapshot(snapshot) => {
                assert!(
                    self.blocks == 0 && self.snapshot.is_none(),
                    "the snapshot comes first, and once"
                );
                self.snapshot = Some(snapshot.lsn);
            }
            Shown::Records(block) => {
                let records = block
                    .records()
                    .map(|record| (record.lsn, record.payload.to_vec()));
                self.records.extend(records);
                self.blocks += 1;
            }
        }
    }
}

fn open_seeing(storage: &FaultStorage, config: Config) -> (Result<(Journal, Recovery), JournalError>, Seen) {
    let mut seen = Seen::default();
    let opened = Journal::open_and_show(Arc::new(storage.clone()), config, &Threads, &mut |shown| {
        seen.look(&shown);
    });
    (opened, seen)
}

/// In the middle of a batch, and of the journal.
const SNAPSHOT: Lsn = Lsn(38);

/// Several segments before a snapshot, and several after it.
fn journal_with_snapshot() -> FaultStorage {
    let storage = FaultStorage::new(1);
    let mut oracle = Oracle::default();
    let mut journal = start(&storage);
    for salt in 0..24 {
        oracle
            .append(&mut journal, payloads(salt, 3, 400))
            .expect("appended");
        tidy(&journal).expect("prepared");
    }
    oracle.snapshot(&journal, SNAPSHOT).expect("written");
    let before = segments(&storage)
        .iter()
        .filter(|name| **name < format!("journal-{:020}", SNAPSHOT.0))
        .count();
    assert!(
        before >= 3 && segments(&storage).len() >= before + 2,
        "{:?}",
        storage.names()
    );
    storage
}

#[test]
fn a_start_shows_the_snapshot_and_then_what_a_replay_would() {
    let storage = journal_with_snapshot();
    let (opened, seen) = open_seeing(&storage, config());
    let (journal, recovery) = opened.expect("opens");
    assert_eq!(seen.snapshot, Some(SNAPSHOT));
    assert_eq!(seen.records, records(&journal, &recovery));
    assert_eq!(seen.records.len(), 72 - SNAPSHOT.0 as usize);
}

#[test]
fn nothing_is_shown_that_lies_at_or_behind_a_changed_byte() {
    let storage = journal_with_snapshot();
    let (_, whole) = open_seeing(&storage.fork(), config());
    for name in segments(&storage) {
        let bytes = storage.content(&name).expect("exists").len();
        for at in (0..bytes).step_by(7) {
            let storage = storage.fork();
            change(&storage, &name, |content| content[at] ^= 0x10);
            let (opened, seen) = open_seeing(&storage, config());
            let found = opened
                .err()
                .unwrap_or_else(|| panic!("{name} {at} went unnoticed"));
            let alone = open(&storage).err().expect("it is the same journal");
            assert_eq!(damaged(found), damaged(alone), "whoever verifies finds the same");
            let prefix = &whole.records[..seen.records.len()];
            assert!(seen.records == prefix, "{name} {at}: something else was shown");
        }
    }
}

#[test]
fn a_torn_batch_is_not_shown() {
    let storage = FaultStorage::new(1);
    let mut journal = start(&storage);
    append(&mut journal, &payloads(1, 3, 300)).expect("appended");
    let name = segments(&storage).remove(0);
    let before = storage.content(&name).expect("exists");
    append(&mut journal, &payloads(2, 3, 600)).expect("appended");
    drop(journal);
    storage.crash(Loss::All);
    // The last batch's second sector never arrived.
    let torn = before
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("not empty")
        .next_multiple_of(512)
        + 512;
    change(&storage, &name, |content| content[torn..torn + 512].fill(0));
    let (opened, seen) = open_seeing(&storage, config());
    let (_, recovery) = opened.expect("opens");
    assert!(recovery.torn.is_some());
    assert_eq!(seen.records.last().map(|(lsn, _)| *lsn), Some(Lsn(3)));
}

#[test]
fn blocks_may_be_taken_and_come_one_after_the_other() {
    let storage = FaultStorage::new(1);
    let config = Config {
        segment_bytes: 1 << 20,
        ..config()
    };
    let (mut journal, _) = Journal::open(Arc::new(storage.clone()), config.clone()).expect("opens");
    journal.begin_epoch();
    for salt in 0..40 {
        append(&mut journal, &payloads(salt, 20, 2_000)).expect("appended");
    }
    drop(journal);
    let mut taken = Vec::new();
    let (journal, recovery) = Journal::open_and_show(Arc::new(storage), config, &Threads, &mut |shown| {
        if let Shown::Records(block) = shown {
            taken.push(std::mem::take(block));
        }
    })
    .expect("opens");
    assert!(taken.len() > 1, "{} block", taken.len());
    let seen: Vec<_> = taken
        .iter()
        .flat_map(|block| {
            block
                .records()
                .map(|record| (record.lsn, record.payload.to_vec()))
        })
        .collect();
    assert_eq!(seen, records(&journal, &recovery));
}

#[test]
fn an_empty_journal_shows_nothing() {
    let (opened, seen) = open_seeing(&FaultStorage::new(1), config());
    drop(opened.expect("opens"));
    assert_eq!((seen.snapshot, seen.blocks), (None, 0));
    // Nor does one that has only begun.
    let storage = FaultStorage::new(1);
    drop(open(&storage).expect("opens"));
    assert_eq!(open_seeing(&storage, config()).1.blocks, 0);
}
