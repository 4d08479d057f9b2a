//! A full disk stops intake, then, much later, everything, and never a start.

use crate::common::{Oracle, config, intake_ok, open, payloads, start, tidy};
use engine_journal::{Config, FaultStorage, Journal, JournalError, Loss, Upkeep};
use std::sync::Arc;
use wire_protocol::ids::Lsn;

const SEGMENT: u64 = 4096;

/// Appends until the disk refuses; how many batches that were.
fn fill(journal: &mut Journal, oracle: &mut Oracle) -> u64 {
    for nth in 0.. {
        match oracle.append(journal, payloads(nth, 2, 600)) {
            Ok(()) => {}
            Err(JournalError::DiskFull { .. }) => return nth,
            Err(error) => panic!("{error}"),
        }
        tidy(journal).expect("a full disk is no error of the janitor");
    }
    unreachable!("the disk has an end")
}

#[test]
fn intake_stops_first_and_completions_have_the_reserve() {
    let storage = FaultStorage::new(1);
    storage.set_capacity(Some(5 * SEGMENT));
    let mut oracle = Oracle::default();
    let mut journal = start(&storage);
    assert_eq!(tidy(&journal).expect("prepared"), Upkeep::Idle);
    assert!(intake_ok(&journal));
    while intake_ok(&journal) {
        oracle
            .append(&mut journal, payloads(oracle.len(), 2, 600))
            .expect("there is room");
        tidy(&journal).expect("prepared");
    }
    assert_eq!(tidy(&journal).expect("no error"), Upkeep::DiskFull);
    let refused_at = oracle.len();
    let left = journal.headroom().completion_bytes;
    assert!(left >= SEGMENT - 1024, "the reserve is whole: {left}");
    let completions = fill(&mut journal, &mut oracle);
    assert!(completions >= 2, "{completions} after {refused_at}");
    assert!(!intake_ok(&journal));
}

#[test]
fn a_refused_batch_is_kept_and_goes_in_when_space_returns() {
    let storage = FaultStorage::new(1);
    storage.set_capacity(Some(3 * SEGMENT));
    let mut oracle = Oracle::default();
    let mut journal = start(&storage);
    fill(&mut journal, &mut oracle);
    let before = journal.next_lsn();
    let mut batch = engine_journal::RecordBatch::new();
    batch.push(9, &[9; 2_000]);
    for _ in 0..2 {
        let refused = journal.append(&mut batch, before, 0);
        assert!(
            matches!(refused, Err(JournalError::DiskFull { .. })),
            "{refused:?}"
        );
        assert_eq!((batch.len(), journal.next_lsn()), (1, before));
    }
    storage.set_capacity(Some(10 * SEGMENT));
    assert_eq!(
        journal
            .append(&mut batch, before, 0)
            .expect("there is room again"),
        before
    );
    assert_eq!(tidy(&journal).expect("prepared"), Upkeep::Idle);
    assert!(intake_ok(&journal));
    assert_eq!(
        journal
            .reader()
            .read(before)
            .expect("readable")
            .expect("durable")
            .payload,
        [9; 2_000]
    );
}

#[test]
fn a_start_on_a_full_disk_works_with_nothing_lost() {
    for loss in [Loss::All, Loss::Nothing, Loss::Random] {
        let storage = FaultStorage::new(1);
        storage.set_capacity(Some(6 * SEGMENT));
        let mut oracle = Oracle::default();
        let mut journal = start(&storage);
        fill(&mut journal, &mut oracle);
        drop(journal);
        storage.crash(loss);
        storage.set_capacity(Some(storage.used_bytes()));
        let (mut journal, recovery) = open(&storage).expect("opens");
        oracle.check(&journal, &recovery);
        assert!(!intake_ok(&journal));
        journal.begin_epoch();
        storage.set_capacity(None);
        tidy(&journal).expect("prepared");
        assert!(intake_ok(&journal));
        oracle
            .append(&mut journal, payloads(1_000, 3, 600))
            .expect("goes on");
    }
}

#[test]
fn a_torn_tail_can_be_mended_on_a_full_disk() {
    let storage = FaultStorage::new(4);
    let mut oracle = Oracle::default();
    let mut journal = start(&storage);
    oracle
        .append(&mut journal, payloads(1, 2, 200))
        .expect("appended");
    storage.fail_call(2, engine_journal::Fault::Io);
    oracle
        .append(&mut journal, payloads(2, 4, 600))
        .expect_err("the sync fails");
    storage.crash(Loss::Random);
    storage.set_capacity(Some(0));
    let (journal, recovery) = open(&storage).expect("opens");
    oracle.check(&journal, &recovery);
}

#[test]
fn the_reserve_survives_a_restart_in_the_middle_of_the_shortage() {
    let storage = FaultStorage::new(1);
    storage.set_capacity(Some(4 * SEGMENT));
    let mut oracle = Oracle::default();
    let mut journal = start(&storage);
    tidy(&journal).expect("prepared");
    while intake_ok(&journal) {
        oracle
            .append(&mut journal, payloads(oracle.len(), 2, 600))
            .expect("there is room");
        tidy(&journal).expect("prepared");
    }
    let before = journal.headroom();
    drop(journal);
    storage.crash(Loss::All);
    let (journal, recovery) = open(&storage).expect("opens");
    oracle.check(&journal, &recovery);
    assert_eq!(journal.headroom(), before);
}

#[test]
fn a_bound_on_the_journal_is_kept_like_a_full_disk() {
    let storage = FaultStorage::new(1);
    let config = Config {
        bytes_max: Some(4 * SEGMENT + 100),
        ..config()
    };
    let (mut journal, _) = Journal::open(Arc::new(storage.clone()), config).expect("opens");
    journal.begin_epoch();
    let mut oracle = Oracle::default();
    fill(&mut journal, &mut oracle);
    assert_eq!(storage.used_bytes(), 4 * SEGMENT);
    // Snapshots still have the disk, and with them the old segments can go.
    oracle.snapshot(&journal, Lsn(oracle.len())).expect("written");
    assert!(!intake_ok(&journal));
    let retained = crate::common::retain(&journal, Lsn(oracle.len())).expect("retained");
    assert_eq!(retained.deleted + retained.recycled, 3);
    assert!(intake_ok(&journal));
}

#[test]
fn a_new_journal_on_a_full_disk_says_so_and_leaves_nothing_behind() {
    let storage = FaultStorage::new(1);
    storage.set_capacity(Some(SEGMENT / 2));
    let refused = open(&storage).err();
    assert!(
        matches!(refused, Some(JournalError::DiskFull { .. })),
        "{refused:?}"
    );
    assert_eq!(storage.used_bytes(), 0);
    storage.set_capacity(None);
    open(&storage).expect("opens");
}

#[test]
fn a_snapshot_that_finds_no_room_leaves_the_ones_there_are() {
    let storage = FaultStorage::new(1);
    let mut oracle = Oracle::default();
    let mut journal = start(&storage);
    oracle
        .append(&mut journal, payloads(1, 40, 30))
        .expect("appended");
    oracle.snapshot(&journal, Lsn(3)).expect("written");
    storage.set_capacity(Some(storage.used_bytes() + 600));
    let refused = oracle.snapshot(&journal, Lsn(40));
    assert!(
        matches!(refused, Err(JournalError::DiskFull { .. })),
        "{refused:?}"
    );
    assert_eq!(journal.stats().expect("listed").snapshots, [Lsn(3)]);
    oracle
        .append(&mut journal, payloads(2, 1, 30))
        .expect("the journal goes on");
    drop(journal);
    let (journal, recovery) = open(&storage).expect("opens");
    oracle.check(&journal, &recovery);
}
