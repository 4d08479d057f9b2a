//! Appending, reading back, rolling over, epochs.

use crate::common::{Oracle, WALL_US, append, config, open, payloads, records, segments, start, tidy};
use engine_journal::{Config, FaultStorage, Journal, JournalError, Loss, PAYLOAD_BYTES_MAX, RecordBatch};
use std::sync::Arc;
use wire_protocol::ids::{Epoch, Lsn};

#[test]
fn records_come_back_in_order_across_segments_and_starts() {
    let storage = FaultStorage::new(1);
    let mut oracle = Oracle::default();
    for salt in 0..5 {
        let (mut journal, recovery) = open(&storage).expect("opens");
        oracle.check(&journal, &recovery);
        assert_eq!(
            journal.begin_epoch(),
            Epoch(u32::try_from(salt).expect("small") + 1)
        );
        for nth in 0..7 {
            oracle
                .append(&mut journal, payloads(salt * 100 + nth, 4, 400))
                .expect("appended");
        }
    }
    assert!(segments(&storage).len() > 4);
    let (journal, recovery) = open(&storage).expect("opens");
    oracle.check(&journal, &recovery);
    assert_eq!(journal.epoch(), Epoch(5));
    assert_eq!(recovery.torn, None);
}

#[test]
fn what_was_appended_survives_the_loss_of_everything_unsynced() {
    let storage = FaultStorage::new(1);
    let mut oracle = Oracle::default();
    let mut journal = start(&storage);
    for salt in 0..20 {
        oracle
            .append(&mut journal, payloads(salt, 2, 500))
            .expect("appended");
        let storage = storage.fork();
        storage.crash(Loss::All);
        let (journal, recovery) = open(&storage).expect("opens");
        oracle.clone().check(&journal, &recovery);
    }
}

#[test]
fn each_record_can_be_read_by_its_position() {
    let storage = FaultStorage::new(1);
    let config = Config {
        segment_bytes: 256 * 1024,
        ..config()
    };
    let (mut journal, _) = Journal::open(Arc::new(storage.clone()), config).expect("opens");
    journal.begin_epoch();
    let mut written = Vec::new();
    for salt in 0..120 {
        let batch = payloads(salt, 5, 3_000);
        append(&mut journal, &batch).expect("appended");
        written.extend(batch);
    }
    assert!(segments(&storage).len() > 2);
    for reader in [journal.reader(), open_again(&storage).reader()] {
        for (lsn, payload) in (1..).map(Lsn).zip(&written) {
            let record = reader.read(lsn).expect("readable").expect("durable");
            assert_eq!((record.lsn, &record.payload), (lsn, payload));
            assert_eq!(record.epoch, Epoch(1));
            let first_of_batch = (lsn.0 - 1) / 5 * 5 + 1;
            assert_eq!(record.wall_us, WALL_US + first_of_batch);
        }
        assert_eq!(reader.read(Lsn(601)).expect("readable"), None);
        assert_eq!(reader.read(Lsn(0)).expect("readable"), None);
    }
}

fn open_again(storage: &FaultStorage) -> Journal {
    let config = Config {
        segment_bytes: 256 * 1024,
        ..config()
    };
    Journal::open(Arc::new(storage.fork()), config).expect("opens").0
}

#[test]
fn reading_on_stops_at_the_bound_and_at_the_position_it_is_told() {
    let storage = FaultStorage::new(1);
    let mut journal = start(&storage);
    for nth in 0..12 {
        append(&mut journal, &vec![vec![nth; 300]; 3]).expect("appended");
    }
    let reader = journal.reader();
    let lsns = |after, up_to, bytes| -> Vec<u64> {
        let records = reader
            .read_after(Lsn(after), Lsn(up_to), bytes)
            .expect("readable");
        assert_eq!(records.last_lsn(), records.iter().last().map(|record| record.lsn));
        assert_eq!(
            (records.len(), records.is_empty()),
            (records.iter().len(), records.last_lsn().is_none())
        );
        records.iter().map(|record| record.lsn.0).collect()
    };
    assert_eq!(lsns(0, u64::MAX, usize::MAX), (1..=36).collect::<Vec<_>>());
    assert_eq!(lsns(0, 2, usize::MAX), [1, 2], "in the middle of a batch");
    assert_eq!(
        lsns(4, 30, 601),
        [5, 6, 7],
        "the one that passes the bound is the last"
    );
    assert_eq!(lsns(4, 30, 0), [5], "one at least");
    assert_eq!(lsns(36, u64::MAX, 1), []);
    assert_eq!(lsns(20, 10, 1), []);
}

#[test]
fn payloads_of_every_length_up_to_the_largest_fit() {
    let storage = FaultStorage::new(1);
    let config = Config {
        segment_bytes: 4 * 1024 * 1024,
        ..config()
    };
    let (mut journal, recovery) = Journal::open(Arc::new(storage), config).expect("opens");
    journal.begin_epoch();
    let lengths = (0..3)
        .chain(380..420)
        .chain([PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX - 1]);
    let written: Vec<Vec<u8>> = lengths.map(|len| vec![0; len]).collect();
    for payload in &written {
        append(&mut journal, std::slice::from_ref(payload)).expect("appended");
    }
    let reader = journal.reader();
    for (lsn, payload) in (1..).map(Lsn).zip(&written) {
        assert_eq!(
            &reader.read(lsn).expect("readable").expect("durable").payload,
            payload
        );
    }
    assert_eq!(recovery.last_lsn, Lsn(0));
}

#[test]
fn a_batch_is_empty_after_it_was_committed_and_an_empty_one_commits_nothing() {
    let storage = FaultStorage::new(1);
    let mut journal = start(&storage);
    let mut batch = RecordBatch::new();
    batch.push(1, b"one");
    assert_eq!(journal.append(&mut batch, Lsn(1), 0).expect("appended"), Lsn(1));
    assert!(batch.is_empty());
    let calls = storage.calls();
    assert_eq!(
        journal.append(&mut batch, Lsn(2), 0).expect("nothing to do"),
        Lsn(1)
    );
    assert_eq!(storage.calls(), calls);
    batch.push(2, b"two");
    assert_eq!(journal.append(&mut batch, Lsn(2), 0).expect("appended"), Lsn(2));
    assert_eq!(journal.stats().expect("listed").commits, 2);
}

#[test]
fn a_commit_is_one_write_and_one_sync() {
    let storage = FaultStorage::new(1);
    let mut journal = start(&storage);
    for _ in 0..3 {
        let calls = storage.calls();
        append(&mut journal, &payloads(1, 2, 200)).expect("appended");
        assert_eq!(storage.calls(), calls + 2);
    }
}

#[test]
#[should_panic(expected = "a gap or a repeat")]
fn a_gap_in_the_positions_is_a_bug() {
    let mut journal = start(&FaultStorage::new(1));
    let mut batch = RecordBatch::new();
    batch.push(1, b"one");
    drop(journal.append(&mut batch, Lsn(2), 0));
}

#[test]
#[should_panic(expected = "begin_epoch")]
fn appending_without_an_epoch_is_a_bug() {
    let (mut journal, _) = open(&FaultStorage::new(1)).expect("opens");
    drop(append(&mut journal, &[vec![1]]));
}

#[test]
#[should_panic(expected = "a batch of")]
fn a_batch_that_no_segment_can_hold_is_a_bug() {
    let mut journal = start(&FaultStorage::new(1));
    assert_eq!(journal.batch_bytes_max(), 3072);
    drop(append(&mut journal, &[vec![1; 3_000]]));
}

#[test]
fn a_prepared_segment_makes_rolling_over_a_matter_of_seven_calls() {
    let storage = FaultStorage::new(1);
    let mut journal = start(&storage);
    tidy(&journal).expect("prepared");
    assert_eq!(journal.stats().expect("listed").spares, 2);
    append(&mut journal, &payloads(1, 1, 2_800)).expect("appended");
    let calls = storage.calls();
    append(&mut journal, &payloads(2, 1, 2_800)).expect("appended");
    // Header, sync, rename, folder, seal, sync; then the commit's two.
    assert_eq!(storage.calls() - calls, 8);
    assert_eq!(journal.stats().expect("listed").spares, 1);
}

#[test]
fn numbers_about_the_journal_are_right() {
    let storage = FaultStorage::new(1);
    let mut journal = start(&storage);
    let empty = journal.stats().expect("listed");
    assert_eq!(
        (empty.records, empty.first_lsn, empty.last_lsn),
        (0, Lsn(1), Lsn(0))
    );
    for salt in 0..6 {
        append(&mut journal, &payloads(salt, 3, 600)).expect("appended");
    }
    let stats = journal.stats().expect("listed");
    assert_eq!(
        (stats.records, stats.first_lsn, stats.last_lsn, stats.commits),
        (18, Lsn(1), Lsn(18), 6)
    );
    assert_eq!(stats.segments, segments(&storage).len() as u64);
    assert_eq!(stats.bytes, storage.used_bytes());
}

#[test]
fn a_journal_goes_on_with_segments_of_another_length() {
    let storage = FaultStorage::new(1);
    let mut oracle = Oracle::default();
    for segment_bytes in [8192, 4096, 16384] {
        let config = Config {
            segment_bytes,
            ..config()
        };
        let (mut journal, recovery) = Journal::open(Arc::new(storage.clone()), config).expect("opens");
        oracle.check(&journal, &recovery);
        journal.begin_epoch();
        for salt in 0..12 {
            oracle
                .append(&mut journal, payloads(segment_bytes + salt, 2, 900))
                .expect("appended");
            tidy(&journal).expect("prepared");
        }
    }
    let (journal, recovery) = open(&storage).expect("opens");
    oracle.check(&journal, &recovery);
}

#[test]
fn an_error_of_the_replaying_side_ends_the_replay() {
    #[derive(Debug)]
    struct Enough;
    impl From<JournalError> for Enough {
        fn from(error: JournalError) -> Self {
            panic!("{error}")
        }
    }
    let storage = FaultStorage::new(1);
    append(&mut start(&storage), &payloads(1, 9, 50)).expect("appended");
    let (journal, recovery) = open(&storage).expect("opens");
    let mut seen = 0;
    let result = recovery.replay(|_| {
        seen += 1;
        if seen < 4 { Ok(()) } else { Err(Enough) }
    });
    assert!(result.is_err());
    assert_eq!(seen, 4);
    assert_eq!(records(&journal, &recovery).len(), 9);
}
