//! `verify`, `export`, `stats` and `repair`.

use crate::common::{
    Oracle, append, change, config, damaged, open, payloads, records, retain, segments, start,
};
use engine_journal::{
    Fault, FaultStorage, Journal, JournalError, Loss, RecordView, Repair, export, repair, stats, verify,
};
use std::sync::Arc;
use wire_protocol::ids::{Epoch, Lsn};

/// Twelve batches of three records, in segments of two or three batches.
fn journal_of_36() -> (FaultStorage, Oracle) {
    let storage = FaultStorage::new(1);
    let mut oracle = Oracle::default();
    let mut journal = start(&storage);
    for salt in 0..12 {
        oracle
            .append(&mut journal, payloads(salt, 3, 500))
            .expect("appended");
    }
    (storage, oracle)
}

#[test]
fn a_sound_folder_is_reported_with_all_its_numbers() {
    let (storage, oracle) = journal_of_36();
    let (journal, _) = open(&storage).expect("opens");
    oracle.snapshot(&journal, Lsn(7)).expect("written");
    let report = verify(&storage).expect("readable, also while an engine has it");
    assert!(report.is_sound());
    assert_eq!(
        (report.first_lsn(), report.last_lsn(), report.epoch),
        (Lsn(1), Lsn(36), Epoch(1))
    );
    assert_eq!(
        report.segments.iter().map(|segment| segment.batches).sum::<u64>(),
        12
    );
    let (live, closed) = report.segments.split_last().expect("there are some");
    assert!(!live.sealed && closed.iter().all(|segment| segment.sealed));
    assert_eq!(report.snapshots[0].lsn, Lsn(7));
    let offline = stats(&storage).expect("sound");
    assert_eq!(
        offline,
        engine_journal::Stats {
            commits: 12,
            ..journal.stats().expect("listed")
        }
    );
}

#[test]
fn export_shows_exactly_the_records_asked_for() {
    let (storage, _) = journal_of_36();
    let mut seen = Vec::new();
    let report = export(&storage, Lsn(5), Lsn(17), |record: RecordView<'_>| {
        seen.push(record.lsn.0)
    })
    .expect("readable");
    assert_eq!(seen, (5..=17).collect::<Vec<_>>());
    assert!(report.is_sound());
}

#[test]
fn a_damaged_folder_is_shown_up_to_the_damage() {
    let (storage, _) = journal_of_36();
    let name = segments(&storage)[1].clone();
    change(&storage, &name, |content| content[600] ^= 1);
    let mut seen = Vec::new();
    let report = export(&storage, Lsn(0), Lsn(u64::MAX), |record| seen.push(record.lsn.0)).expect("readable");
    let damage = report.damage.clone().expect("reported");
    assert_eq!((damage.file.as_str(), damage.offset < 600), (name.as_str(), true));
    assert_eq!(seen, (1..=report.last_lsn().0).collect::<Vec<_>>());
    assert!(!seen.is_empty() && seen.len() < 36);
    assert_eq!(damaged(stats(&storage).expect_err("damaged")).0, name);
}

#[test]
fn a_torn_tail_and_a_damaged_old_snapshot_are_reported() {
    let (storage, oracle) = journal_of_36();
    let (mut journal, _) = open(&storage).expect("opens");
    oracle.snapshot(&journal, Lsn(7)).expect("written");
    oracle.snapshot(&journal, Lsn(9)).expect("written");
    journal.begin_epoch();
    append(&mut journal, &payloads(50, 2, 800)).expect("appended");
    drop(journal);
    let live = segments(&storage).pop().expect("there is one");
    change(&storage, &live, |content| {
        let last = content.iter().rposition(|byte| *byte != 0).expect("not empty") / 512 * 512;
        content[last..last + 512].fill(0);
    });
    let old = storage
        .names()
        .into_iter()
        .find(|name| name.ends_with(".snap"))
        .expect("there are two");
    change(&storage, &old, |content| content[3] ^= 1);
    let report = verify(&storage).expect("readable");
    assert_eq!(report.damage, None);
    assert_eq!(report.torn.as_ref().map(|torn| &torn.segment), Some(&live));
    assert_eq!(
        report.snapshots[0].damage.as_ref().map(|damage| &damage.file),
        Some(&old)
    );
    assert!(!report.is_sound());
    assert_eq!(report.last_lsn(), Lsn(36));
}

/// Repairs and opens; checks that what is left is the beginning of what there was, and can be extended.
fn repaired(storage: &FaultStorage, was: &[(Lsn, Vec<u8>)]) -> (Repair, Vec<(Lsn, Vec<u8>)>) {
    damaged(open(storage).err().expect("it is damaged"));
    let before: Vec<_> = storage.names();
    let done = repair(storage).expect("repaired");
    storage.crash(Loss::All);
    for name in &done.set_aside {
        assert!(
            name.ends_with(".damaged") && storage.content(name).is_some() && !before.contains(name),
            "{name}"
        );
    }
    let (mut journal, recovery) = open(storage).expect("opens");
    assert_eq!(journal.durable_lsn(), done.last_lsn);
    let left = records(&journal, &recovery);
    assert!(was.ends_with(&left) || was.starts_with(&left));
    journal.begin_epoch();
    append(&mut journal, &payloads(90, 3, 500)).expect("goes on");
    append(&mut journal, &payloads(91, 3, 500)).expect("goes on");
    drop(journal);
    assert!(verify(storage).expect("readable").is_sound());
    assert_eq!(
        repair(storage).expect("nothing to do"),
        Repair {
            cut: None,
            last_lsn: Lsn(done.last_lsn.0 + 6),
            set_aside: Vec::new()
        }
    );
    (done, left)
}

fn all_records(storage: &FaultStorage) -> Vec<(Lsn, Vec<u8>)> {
    let mut all = Vec::new();
    export(storage, Lsn(1), Lsn(u64::MAX), |record| {
        all.push((record.lsn, record.payload.to_vec()))
    })
    .expect("readable");
    all
}

#[test]
fn repair_keeps_everything_before_the_damage_and_the_damaged_files_aside() {
    let (folder, _) = journal_of_36();
    let was = all_records(&folder);
    let names = segments(&folder);
    for (nth, name) in names.iter().enumerate() {
        // In the segment header, in the first batch, in the last bytes of the file.
        for at in [20, 530, 4_090] {
            let storage = folder.fork();
            change(&storage, name, |content| content[at] ^= 0x40);
            let original = storage.content(name).expect("exists");
            let (done, left) = repaired(&storage, &was);
            assert_eq!(done.cut.as_ref().map(|damage| &damage.file), Some(name));
            assert_eq!(done.set_aside.len(), names.len() - nth);
            assert!(
                done.set_aside
                    .iter()
                    .any(|aside| storage.content(aside).as_ref() == Some(&original))
            );
            assert_eq!(left.len() as u64, done.last_lsn.0);
        }
        let storage = folder.fork();
        storage.unplant(name);
        if nth > 0 {
            assert_eq!(repaired(&storage, &was).0.set_aside.len(), names.len() - nth - 1);
        } else {
            let refused = repair(&storage);
            assert!(
                matches!(refused, Err(JournalError::Damaged { .. })),
                "there is no beginning: {refused:?}"
            );
            assert_eq!(segments(&storage).len(), names.len() - 1, "nothing was changed");
        }
    }
}

#[test]
fn repair_starts_behind_the_snapshot_if_the_damage_is_before_it() {
    let (storage, oracle) = journal_of_36();
    let (journal, _) = open(&storage).expect("opens");
    oracle.snapshot(&journal, Lsn(30)).expect("written");
    retain(&journal, Lsn(10)).expect("retained");
    drop(journal);
    let name = segments(&storage)[0].clone();
    change(&storage, &name, |content| content[600] ^= 1);
    let (done, left) = repaired(&storage, &[]);
    assert_eq!((done.last_lsn, left), (Lsn(30), Vec::new()));
}

#[test]
fn an_interrupted_repair_can_be_repeated() {
    let (folder, _) = journal_of_36();
    let was = all_records(&folder);
    let name = segments(&folder)[1].clone();
    change(&folder, &name, |content| content[1_600] ^= 1);
    let reference = {
        let storage = folder.fork();
        repair(&storage).expect("repaired").last_lsn
    };
    for n in 1.. {
        let storage = folder.fork();
        storage.fail_call(n, Fault::Io);
        let interrupted = repair(&storage).is_err();
        storage.crash(Loss::Random);
        let done = repair(&storage).unwrap_or_else(|error| panic!("call {n}: {error}"));
        let (journal, recovery) = open(&storage).unwrap_or_else(|error| panic!("call {n}: {error}"));
        assert_eq!(
            (journal.durable_lsn(), done.last_lsn),
            (reference, reference),
            "call {n}"
        );
        assert!(was.starts_with(&records(&journal, &recovery)));
        if !interrupted {
            assert!(n > 20);
            break;
        }
    }
}

#[test]
fn repair_is_refused_while_an_engine_runs() {
    let (storage, _) = journal_of_36();
    let _journal = Journal::open(Arc::new(storage.clone()), config()).expect("opens");
    assert!(matches!(repair(&storage), Err(JournalError::Locked { .. })));
}

#[test]
fn repair_refuses_to_choose_between_two_histories() {
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
        storage.crash(Loss::All);
        storage
    };
    let (ours, theirs) = (with_snapshot(1), with_snapshot(2));
    let name = ours
        .names()
        .into_iter()
        .find(|name| name.ends_with(".snap"))
        .expect("there is one");
    ours.plant(&name, theirs.content(&name).expect("exists"));
    assert!(matches!(repair(&ours), Err(JournalError::Damaged { .. })));
}
