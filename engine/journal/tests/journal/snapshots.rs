//! Snapshots, retention and recycling.

use crate::common::{Oracle, append, change, damaged, open, payloads, retain, segments, start, tidy};
use engine_journal::{FaultStorage, Journal, JournalError, Loss};
use wire_protocol::ids::Lsn;

fn snapshots(storage: &FaultStorage) -> Vec<String> {
    storage
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".snap"))
        .collect()
}

/// Three records a batch, about two batches a segment.
fn grow(journal: &mut Journal, oracle: &mut Oracle, batches: u64) {
    for _ in 0..batches {
        oracle
            .append(journal, payloads(oracle.len(), 3, 500))
            .expect("appended");
    }
}

#[test]
fn a_start_takes_the_newest_snapshot_and_the_records_after_it() {
    let storage = FaultStorage::new(1);
    let mut oracle = Oracle::default();
    let mut journal = start(&storage);
    grow(&mut journal, &mut oracle, 5);
    for lsn in [4, 9, 14] {
        oracle.snapshot(&journal, Lsn(lsn)).expect("written");
    }
    assert_eq!(
        journal.stats().expect("listed").snapshots,
        [Lsn(9), Lsn(14)],
        "two are kept"
    );
    drop(journal);
    storage.crash(Loss::All);
    let (journal, recovery) = open(&storage).expect("opens");
    assert_eq!(
        recovery.snapshot.as_ref().map(|snapshot| snapshot.lsn),
        Some(Lsn(14))
    );
    oracle.check(&journal, &recovery);
}

#[test]
fn a_snapshot_of_a_megabyte_comes_back() {
    let storage = FaultStorage::new(1);
    let mut journal = start(&storage);
    append(&mut journal, &payloads(1, 1, 10)).expect("appended");
    let state: Vec<u8> = (0..1_000_003_u32).map(|nth| (nth % 251) as u8).collect();
    let anchor = journal
        .reader()
        .anchor(Lsn(1))
        .expect("readable")
        .expect("durable");
    let chunks =
        |sink: &mut dyn std::io::Write| state.chunks(7_777).try_for_each(|chunk| sink.write_all(chunk));
    journal.snapshot_writer().write(anchor, chunks).expect("written");
    drop(journal);
    let (_, recovery) = open(&storage).expect("opens");
    assert!(recovery.snapshot.expect("there is one").bytes == state);
}

#[test]
fn only_durable_positions_have_an_anchor() {
    let storage = FaultStorage::new(1);
    let mut journal = start(&storage);
    append(&mut journal, &payloads(1, 2, 10)).expect("appended");
    let reader = journal.reader();
    assert_eq!(
        reader.anchor(Lsn(2)).expect("readable").expect("durable").lsn(),
        Lsn(2)
    );
    assert_eq!(reader.anchor(Lsn(3)).expect("readable"), None);
}

#[test]
fn retention_keeps_what_a_reader_or_the_older_snapshot_needs() {
    let storage = FaultStorage::new(1);
    let mut oracle = Oracle::default();
    let mut journal = start(&storage);
    grow(&mut journal, &mut oracle, 12);
    assert_eq!(
        retain(&journal, Lsn(36)).expect("retained").deleted,
        0,
        "there is no snapshot"
    );
    oracle.snapshot(&journal, Lsn(20)).expect("written");
    oracle.snapshot(&journal, Lsn(30)).expect("written");
    let reader = journal.reader();
    retain(&journal, Lsn(10)).expect("retained");
    assert!(
        reader.first_lsn() > Lsn(4) && reader.first_lsn() <= Lsn(10),
        "the reader's wish counts"
    );
    retain(&journal, Lsn(36)).expect("retained");
    assert!(
        reader.first_lsn() > Lsn(15) && reader.first_lsn() <= Lsn(21),
        "the older snapshot counts"
    );
    let trimmed = reader.read(Lsn(1));
    assert!(
        matches!(trimmed, Err(JournalError::Trimmed { wanted: Lsn(1), .. })),
        "{trimmed:?}"
    );
    assert_eq!(
        segments(&storage).len() as u64,
        journal.stats().expect("listed").segments
    );
    drop(journal);
    let (journal, recovery) = open(&storage).expect("opens");
    oracle.check(&journal, &recovery);
}

#[test]
fn the_live_segment_is_never_deleted() {
    let storage = FaultStorage::new(1);
    let mut oracle = Oracle::default();
    let mut journal = start(&storage);
    grow(&mut journal, &mut oracle, 9);
    oracle.snapshot(&journal, Lsn(27)).expect("written");
    retain(&journal, Lsn(u64::MAX)).expect("retained");
    assert_eq!(segments(&storage).len(), 1);
    grow(&mut journal, &mut oracle, 3);
    drop(journal);
    let (journal, recovery) = open(&storage).expect("opens");
    oracle.check(&journal, &recovery);
}

#[test]
fn a_damaged_newest_snapshot_is_replaced_by_the_older_one() {
    let storage = FaultStorage::new(1);
    let mut oracle = Oracle::default();
    let mut journal = start(&storage);
    grow(&mut journal, &mut oracle, 12);
    for lsn in [20, 30] {
        oracle.snapshot(&journal, Lsn(lsn)).expect("written");
    }
    retain(&journal, Lsn(36)).expect("retained");
    drop(journal);
    let newest = snapshots(&storage)[1].clone();
    change(&storage, &newest, |content| content[600] ^= 4);
    let (journal, recovery) = open(&storage).expect("opens");
    assert_eq!(
        recovery.snapshot.as_ref().map(|snapshot| snapshot.lsn),
        Some(Lsn(20))
    );
    assert_eq!(recovery.damaged_snapshots[0].file, newest);
    oracle.check(&journal, &recovery);
    assert!(
        storage.content(&format!("{newest}.damaged")).is_some(),
        "it is kept for a look"
    );
    // The damaged one no longer counts as one of two.
    oracle.snapshot(&journal, Lsn(33)).expect("written");
    assert_eq!(journal.stats().expect("listed").snapshots, [Lsn(20), Lsn(33)]);
}

#[test]
fn a_damaged_only_snapshot_stops_the_start_if_the_journal_does_not_reach_back() {
    let storage = FaultStorage::new(1);
    let mut oracle = Oracle::default();
    let mut journal = start(&storage);
    grow(&mut journal, &mut oracle, 12);
    oracle.snapshot(&journal, Lsn(20)).expect("written");
    let name = snapshots(&storage)[0].clone();
    let before_retention = storage.fork();
    retain(&journal, Lsn(36)).expect("retained");
    for storage in [&storage, &before_retention] {
        storage.crash(Loss::Nothing);
        change(storage, &name, |content| content[520] ^= 4);
    }
    let (file, offset, what) = damaged(open(&storage).err().expect("reported"));
    assert_eq!((file, offset), (name, 512));
    assert!(what.contains("no older snapshot"), "{what}");
    let (journal, recovery) = open(&before_retention).expect("all records are still there");
    assert_eq!(recovery.snapshot, None);
    oracle.check(&journal, &recovery);
}

#[test]
fn a_recycled_segment_never_shows_its_old_records() {
    for seed in 0..200 {
        let storage = FaultStorage::new(seed);
        let mut oracle = Oracle::default();
        let mut journal = start(&storage);
        grow(&mut journal, &mut oracle, 8);
        let last = Lsn(oracle.len());
        oracle.snapshot(&journal, last).expect("written");
        let mut janitor = journal.janitor();
        let retained = janitor.retain_from(last).expect("retained");
        assert_eq!(retained.recycled, 1);
        // Cut the power at some point of the zeroing, or let it finish and use the file.
        storage.fail_call(seed % 5 + 1, engine_journal::Fault::Io);
        if janitor.step().is_ok() && tidy(&journal).is_ok() {
            drop(oracle.append(&mut journal, payloads(seed, 2, 900)));
        }
        storage.crash(Loss::Random);
        for round in 0..4 {
            let (mut journal, recovery) =
                open(&storage).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            oracle.check(&journal, &recovery);
            journal.begin_epoch();
            grow(&mut journal, &mut oracle, 1 + round);
            storage.crash(Loss::All);
        }
    }
}

#[test]
fn a_segment_that_somebody_reads_is_not_recycled_under_him() {
    let storage = FaultStorage::new(1);
    let mut oracle = Oracle::default();
    let mut journal = start(&storage);
    grow(&mut journal, &mut oracle, 8);
    let last = Lsn(oracle.len());
    oracle.snapshot(&journal, last).expect("written");
    // Reading in slices while the segments go: each read gives the right record or says that it is gone.
    let reader = journal.reader();
    let mut janitor = journal.janitor();
    for lsn in 1..=last.0 {
        let expected = payloads((lsn - 1) / 3 * 3, 3, 500)[((lsn - 1) % 3) as usize].clone();
        match reader.read(Lsn(lsn)) {
            Ok(record) => assert_eq!(record.expect("durable").payload, expected),
            Err(JournalError::Trimmed { first, .. }) => assert!(first > Lsn(lsn)),
            Err(error) => panic!("{error}"),
        }
        janitor.retain_from(Lsn(lsn + 5)).expect("retained");
        janitor.step().expect("zeroed");
    }
}

#[test]
fn what_a_broken_off_roll_over_left_in_a_spare_is_gone_before_the_spare_is_used() {
    let storage = FaultStorage::new(1);
    let mut oracle = Oracle::default();
    let mut journal = start(&storage);
    grow(&mut journal, &mut oracle, 1);
    tidy(&journal).expect("prepared");
    drop(journal);
    let spares = storage
        .names()
        .into_iter()
        .filter(|name| name.starts_with("spare-"));
    for name in spares {
        change(&storage, &name, |content| {
            content[..512].fill(7);
            content
                .iter_mut()
                .skip(600)
                .step_by(512)
                .for_each(|byte| *byte = 7);
        });
    }
    let (mut journal, recovery) = open(&storage).expect("opens");
    oracle.check(&journal, &recovery);
    journal.begin_epoch();
    grow(&mut journal, &mut oracle, 2);
    assert!(segments(&storage).len() > 1, "a spare was used");
    drop(journal);
    storage.crash(Loss::All);
    let (journal, recovery) = open(&storage).expect("opens");
    oracle.check(&journal, &recovery);
}
