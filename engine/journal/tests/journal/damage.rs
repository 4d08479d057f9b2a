//! Damage is loud: no changed, cut, missing or foreign byte is acted on, and a torn tail is told from it.

use crate::common::{
    Oracle, append, change, config, damaged, open, payloads, records, retain, segments, start,
};
use engine_journal::{FaultStorage, Journal, JournalError, Loss, Recovery};
use std::sync::Arc;
use wire_protocol::ids::{Lsn, Shard};

const SECTOR: usize = 512;

/// A journal of several segments with two snapshots, closed.
fn small_journal() -> (FaultStorage, Oracle) {
    let storage = FaultStorage::new(1);
    let mut oracle = Oracle::default();
    let mut journal = start(&storage);
    for salt in 0..24 {
        oracle
            .append(&mut journal, payloads(salt, 3, 220))
            .expect("appended");
        if salt == 9 || salt == 15 {
            oracle.snapshot(&journal, Lsn(oracle.len() - 1)).expect("written");
            retain(&journal, Lsn(oracle.len())).expect("retained");
        }
    }
    (storage, oracle)
}

/// A journal of one segment whose last batch starts at the returned offset; the records before it.
fn before_last_batch(last: &[Vec<u8>]) -> (FaultStorage, usize, Vec<(Lsn, Vec<u8>)>) {
    let storage = FaultStorage::new(1);
    let mut journal = start(&storage);
    append(&mut journal, &payloads(7, 4, 150)).expect("appended");
    drop(journal);
    let offset = used(&storage, &segments(&storage)[0]);
    let (mut journal, recovery) = open(&storage).expect("opens");
    let before = records(&journal, &recovery);
    append(&mut journal, last).expect("appended");
    (storage, offset, before)
}

/// Where the last non-zero sector of a segment ends.
fn used(storage: &FaultStorage, name: &str) -> usize {
    let content = storage.content(name).expect("exists");
    let last = content.iter().rposition(|byte| *byte != 0).expect("not empty");
    (last + 1).next_multiple_of(SECTOR)
}

fn all(opened: &(Journal, Recovery)) -> Vec<(Lsn, Vec<u8>)> {
    records(&opened.0, &opened.1)
}

#[test]
fn every_flipped_byte_is_reported_or_was_not_part_of_anything() {
    let (storage, oracle) = small_journal();
    assert!(segments(&storage).len() >= 3, "{:?}", storage.names());
    let newest = storage
        .names()
        .into_iter()
        .rfind(|name| name.starts_with("snapshot-"))
        .expect("there are two");
    for name in storage.names() {
        let bytes = storage.content(&name).expect("exists").len();
        for at in 0..bytes {
            for flip in [1 << (at % 8), 0xFF] {
                let storage = storage.fork();
                change(&storage, &name, |content| content[at] ^= flip);
                let opened = open(&storage);
                if name.starts_with("journal-") {
                    let (file, offset, _) = damaged(
                        opened
                            .err()
                            .unwrap_or_else(|| panic!("{name} {at} went unnoticed")),
                    );
                    assert_eq!(file, name);
                    assert!(offset <= at as u64, "{name}: {offset} reported for {at}");
                    continue;
                }
                let (journal, recovery) = opened.unwrap_or_else(|error| panic!("{name} {at}: {error}"));
                oracle.clone().check(&journal, &recovery);
                assert_eq!(recovery.damaged_snapshots.len(), usize::from(name == newest));
            }
        }
    }
}

#[test]
fn a_last_batch_cut_off_at_any_byte_is_dropped_or_reported_and_never_half_read() {
    let (storage, start_of_last, before) = before_last_batch(&payloads(8, 5, 500));
    let name = segments(&storage)[0].clone();
    let end = used(&storage, &name);
    assert!(end - start_of_last >= 4 * SECTOR);
    for cut in start_of_last..end {
        let storage = storage.fork();
        change(&storage, &name, |content| content[cut..].fill(0));
        match open(&storage) {
            Ok(opened) => {
                assert_eq!(all(&opened), before, "cut at {cut}");
                let torn = opened.1.torn.map_or(0, |torn| torn.bytes);
                assert_eq!(torn > 0, cut > start_of_last, "what was dropped is said");
            }
            Err(error) => {
                // No power cut leaves half a sector, so this may be called damage.
                assert!(!cut.is_multiple_of(SECTOR), "cut at {cut}");
                let (file, offset, _) = damaged(error);
                assert_eq!((file, offset as usize >= start_of_last), (name.clone(), true));
            }
        }
    }
}

#[test]
fn a_file_that_became_shorter_is_reported_whereever_it_ends() {
    let (storage, start_of_last, _) = before_last_batch(&payloads(8, 2, 300));
    let name = segments(&storage)[0].clone();
    for length in (0..SECTOR).chain(start_of_last..4096) {
        let storage = storage.fork();
        change(&storage, &name, |content| content.truncate(length));
        let (file, offset, _) = damaged(open(&storage).err().expect("reported"));
        assert_eq!((file, offset), (name.clone(), length as u64));
    }
}

#[test]
fn any_set_of_missing_sectors_of_the_last_batch_is_a_torn_tail() {
    for last in [payloads(8, 5, 500), vec![vec![0; 1_900]]] {
        let (storage, start_of_last, before) = before_last_batch(&last);
        let name = segments(&storage)[0].clone();
        let sectors = (used(&storage, &name) - start_of_last) / SECTOR;
        assert!(sectors >= 4);
        for kept in 0..(1 << sectors) - 1 {
            let storage = storage.fork();
            change(&storage, &name, |content| {
                for sector in (0..sectors).filter(|sector| kept >> sector & 1 == 0) {
                    let at = start_of_last + sector * SECTOR;
                    content[at..at + SECTOR].fill(0);
                }
            });
            let opened = open(&storage).unwrap_or_else(|error| panic!("kept {kept:b}: {error}"));
            assert_eq!(all(&opened), before, "kept {kept:b}");
            let torn = opened.1.torn.clone().map(|torn| (torn.segment, torn.offset));
            assert_eq!(torn, (kept != 0).then(|| (name.clone(), start_of_last as u64)));
            drop(opened);
            // The torn sectors are gone for good, also if the power goes right now.
            storage.crash(Loss::All);
            let mut opened = open(&storage).expect("opens again");
            assert_eq!((all(&opened), opened.1.torn.clone()), (before.clone(), None));
            opened.0.begin_epoch();
            append(&mut opened.0, &payloads(99, 1, 10)).expect("goes on");
        }
    }
}

#[test]
fn a_lost_sector_of_an_earlier_batch_is_damage() {
    let (storage, start_of_last, _) = before_last_batch(&payloads(8, 1, 100));
    let name = segments(&storage)[0].clone();
    for at in (SECTOR..start_of_last).step_by(SECTOR) {
        let storage = storage.fork();
        change(&storage, &name, |content| content[at..at + SECTOR].fill(0));
        let (file, offset, _) = damaged(open(&storage).err().expect("reported"));
        assert_eq!((file, offset <= at as u64), (name.clone(), true));
    }
}

#[test]
fn a_batch_that_was_replaced_by_an_older_one_is_damage() {
    let (storage, start_of_last, _) = before_last_batch(&payloads(8, 1, 100));
    let name = segments(&storage)[0].clone();
    change(&storage, &name, |content| {
        let first = content[SECTOR..start_of_last].to_vec();
        content[start_of_last..start_of_last + first.len()].copy_from_slice(&first);
    });
    let (file, offset, what) = damaged(open(&storage).err().expect("reported"));
    assert_eq!((file, offset), (name, start_of_last as u64));
    assert!(what.contains("#1 where"), "{what}");
}

#[test]
fn any_missing_segment_is_damage_unless_the_snapshot_includes_all_of_it() {
    let (storage, oracle) = small_journal();
    let names = segments(&storage);
    for (nth, name) in names.iter().enumerate() {
        let storage = storage.fork();
        storage.unplant(name);
        match open(&storage) {
            Err(error) => drop(damaged(error)),
            Ok((journal, recovery)) => {
                assert_eq!(nth, 0, "{name} is not missed");
                oracle.clone().check(&journal, &recovery);
            }
        }
    }
}

#[test]
fn segments_that_changed_names_are_damage() {
    let (storage, _) = small_journal();
    let names = segments(&storage);
    let contents = [
        storage.content(&names[0]).expect("exists"),
        storage.content(&names[1]).expect("exists"),
    ];
    let [first, second] = contents;
    storage.plant(&names[0], second);
    storage.plant(&names[1], first);
    assert_eq!(damaged(open(&storage).err().expect("reported")).0, names[0]);
}

#[test]
fn a_segment_of_another_journal_does_not_fit_the_chain() {
    let journal_with = |salt| {
        let storage = FaultStorage::new(1);
        let mut journal = start(&storage);
        for nth in 0..8 {
            append(&mut journal, &[vec![salt; 900], vec![nth; 10]]).expect("appended");
        }
        storage
    };
    let (ours, theirs) = (journal_with(1), journal_with(2));
    let names = segments(&ours);
    assert!(names.len() > 2 && names == segments(&theirs));
    ours.plant(&names[1], theirs.content(&names[1]).expect("exists"));
    let (file, offset, what) = damaged(open(&ours).err().expect("reported"));
    assert_eq!((file, offset), (names[1].clone(), 0));
    assert!(what.contains("hash chain"), "{what}");
}

#[test]
fn a_snapshot_of_another_journal_is_refused() {
    let with_snapshot = |salt: u8| {
        let storage = FaultStorage::new(1);
        let mut journal = start(&storage);
        append(&mut journal, &[vec![salt; 30]]).expect("appended");
        let anchor = journal
            .reader()
            .anchor(Lsn(1))
            .expect("readable")
            .expect("durable");
        journal
            .snapshot_writer()
            .write(anchor, |sink| sink.write_all(b"state"))
            .expect("written");
        storage
    };
    let (ours, theirs) = (with_snapshot(1), with_snapshot(2));
    let name = ours
        .names()
        .into_iter()
        .find(|name| name.starts_with("snapshot-"))
        .expect("there is one");
    ours.plant(&name, theirs.content(&name).expect("exists"));
    let (_, _, what) = damaged(open(&ours).err().expect("reported"));
    assert!(what.contains("hash differs"), "{what}");
}

#[test]
fn a_snapshot_ahead_of_the_journal_means_that_records_are_missing() {
    let (storage, start_of_last, _) = before_last_batch(&payloads(8, 1, 100));
    let (journal, _) = open(&storage).expect("opens");
    let last = journal.durable_lsn();
    let anchor = journal.reader().anchor(last).expect("readable").expect("durable");
    journal
        .snapshot_writer()
        .write(anchor, |sink| sink.write_all(b"state"))
        .expect("written");
    drop(journal);
    let name = segments(&storage)[0].clone();
    change(&storage, &name, |content| content[start_of_last..].fill(0));
    let (file, offset, _) = damaged(open(&storage).err().expect("reported"));
    assert_eq!((file, offset), (name, start_of_last as u64));
}

#[test]
fn a_folder_of_another_shard_is_refused() {
    let (storage, _) = small_journal();
    let other = engine_journal::Config {
        shard: Shard(2),
        ..config()
    };
    let refused = Journal::open(Arc::new(storage), other).err();
    assert!(
        matches!(refused, Some(JournalError::Foreign { .. })),
        "{refused:?}"
    );
}

#[test]
fn nothing_is_changed_in_a_damaged_folder() {
    let (storage, _) = small_journal();
    let name = segments(&storage)[1].clone();
    change(&storage, &name, |content| content[700] ^= 1);
    let before: Vec<_> = storage
        .names()
        .into_iter()
        .map(|name| (storage.content(&name), name))
        .collect();
    damaged(open(&storage).err().expect("reported"));
    let after: Vec<_> = storage
        .names()
        .into_iter()
        .map(|name| (storage.content(&name), name))
        .collect();
    assert!(before == after);
}
