//! On real files: permissions, the lock, several threads.

use crate::common::{Oracle, append, config, payloads, records};
use engine_journal::{Config, Journal, JournalError, OsStorage, Storage, Upkeep, verify};
use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wire_protocol::ids::Lsn;

fn open(folder: &Path, config: Config) -> Result<(Journal, engine_journal::Recovery), JournalError> {
    Journal::open(Arc::new(OsStorage::open(folder).expect("a folder")), config)
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("exists").permissions().mode() & 0o777
}

#[test]
fn a_folder_belongs_to_one_engine_and_to_its_user() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = temporary.path().join("new").join("journal");
    let (mut journal, _) = open(&folder, config()).expect("opens");
    journal.begin_epoch();
    append(&mut journal, &payloads(1, 2, 100)).expect("appended");
    let second = open(&folder, config()).err();
    assert!(matches!(second, Some(JournalError::Locked { .. })), "{second:?}");
    assert_eq!(mode(&folder), 0o700);
    for entry in folder.read_dir().expect("listed") {
        assert_eq!(mode(&entry.expect("listed").path()), 0o600);
    }
    drop(journal);
    let (journal, _) = open(&folder, config()).expect("the lock goes with the journal");
    assert_eq!(journal.durable_lsn(), Lsn(2));
}

#[test]
fn looking_at_a_folder_changes_nothing() {
    let temporary = tempfile::tempdir().expect("a folder");
    let storage = OsStorage::open_read_only(temporary.path()).expect("a folder");
    assert!(storage.create("new").is_err() && storage.lock().is_err());
    assert!(OsStorage::open_read_only(temporary.path().join("absent")).is_err());
    let report = verify(&storage).expect("an empty folder is sound");
    assert!(report.is_sound());
    assert_eq!(temporary.path().read_dir().expect("listed").count(), 0);
}

#[test]
fn real_files_hold_the_journal_across_starts() {
    let temporary = tempfile::tempdir().expect("a folder");
    let mut oracle = Oracle::default();
    for salt in 0..4 {
        let (mut journal, recovery) = open(temporary.path(), config()).expect("opens");
        oracle.check(&journal, &recovery);
        journal.begin_epoch();
        for nth in 0..5 {
            oracle
                .append(&mut journal, payloads(salt * 10 + nth, 3, 500))
                .expect("appended");
        }
        oracle.snapshot(&journal, Lsn(oracle.len() - 2)).expect("written");
        crate::common::retain(&journal, Lsn(oracle.len())).expect("retained");
    }
    let (journal, recovery) = open(temporary.path(), config()).expect("opens");
    oracle.check(&journal, &recovery);
    assert!(records(&journal, &recovery).len() >= 2);
}

#[test]
fn readers_the_janitor_and_verify_work_beside_the_appender() {
    const BATCHES: u64 = 150;
    let temporary = tempfile::tempdir().expect("a folder");
    let config = Config {
        segment_bytes: 16 * 1024,
        ..config()
    };
    let (mut journal, _) = open(temporary.path(), config).expect("opens");
    journal.begin_epoch();
    append(&mut journal, &payloads(0, 3, 500)).expect("appended");
    let done = AtomicBool::new(false);
    let expected = |lsn: Lsn| payloads((lsn.0 - 1) / 3, 3, 500)[((lsn.0 - 1) % 3) as usize].clone();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let reader = journal.reader();
            let done = &done;
            scope.spawn(move || {
                let mut after = Lsn(0);
                while !(done.load(Ordering::Acquire) && after == reader.durable_lsn()) {
                    let records = reader.read_after(after, Lsn(u64::MAX), 10_000).expect("readable");
                    for record in records.iter() {
                        assert_eq!(record.lsn, after.next());
                        assert_eq!(record.payload, expected(record.lsn));
                        after = record.lsn;
                    }
                    let middle = Lsn(after.0 / 2 + 1);
                    assert_eq!(
                        reader.read(middle).expect("readable").expect("durable").payload,
                        expected(middle)
                    );
                }
                assert_eq!(after, Lsn((BATCHES + 1) * 3));
            });
        }
        let mut janitor = journal.janitor();
        let looker = OsStorage::open_read_only(temporary.path()).expect("a folder");
        let done = &done;
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                if janitor.step().expect("prepared") != Upkeep::Working {
                    janitor.wait(std::time::Duration::from_millis(1));
                }
            }
        });
        scope.spawn(move || {
            let mut seen = Lsn(0);
            while !done.load(Ordering::Acquire) {
                let report = verify(&looker).expect("readable");
                assert_eq!((&report.damage, &report.torn), (&None, &None));
                assert!(report.last_lsn() >= seen);
                seen = report.last_lsn();
            }
        });
        for salt in 1..=BATCHES {
            append(&mut journal, &payloads(salt, 3, 500)).expect("appended");
        }
        done.store(true, Ordering::Release);
    });
}

/// Whole sectors that lie at a sector's multiple in memory take another way to the disk than the rest.
#[test]
fn writes_past_the_page_cache_and_through_it_are_one_file() {
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    const BYTES: usize = 64 << 10;
    let temporary = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk");
    let storage = OsStorage::open(temporary.path()).expect("a folder");
    let mut file = storage.create("before").expect("a file");
    file.write_zeros(0, BYTES as u64).expect("zeros");
    let mut model = vec![0; BYTES];
    let mut random = fastrand::Rng::with_seed(1);
    for round in 1..=200_u8 {
        if round == 100 {
            // The file that was opened under this name keeps its two ways, wherever they are opened.
            storage.rename("before", "after").expect("a name");
            file = storage.open("after").expect("a file");
            storage.create("before").expect("the name is free");
        }
        let source = Page([round; 4096]);
        let from = random.usize(0..3) * 256;
        let len = random.usize(1..=6) * 256;
        let at = random.usize(0..(BYTES - 4096) / 256) * 256;
        file.write_at(at as u64, &source.0[from..from + len])
            .expect("written");
        model[at..at + len].fill(round);
        let mut seen = vec![0; BYTES];
        assert_eq!(file.read_at(0, &mut seen).expect("read"), BYTES);
        assert!(seen == model, "round {round}: {len} bytes at {at} from {from}");
    }
    // Opened once to read and write, and once more to write past the cache, where the file system has that.
    let path = temporary.path().join("after");
    let direct = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).expect("a flag");
    let has_direct = fs::OpenOptions::new()
        .write(true)
        .custom_flags(direct)
        .open(&path)
        .is_ok();
    let open = fs::read_dir("/proc/self/fd").expect("this process").flatten();
    let open = open
        .filter(|fd| fs::read_link(fd.path()).is_ok_and(|name| name == path))
        .count();
    assert_eq!(open, 1 + usize::from(has_direct));
}
