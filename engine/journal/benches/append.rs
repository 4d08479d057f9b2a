//! What a commit costs: `cargo bench -p engine-journal --bench append`; `TMPDIR` says on which disk.
//!
//! `encode` appends to a storage that forgets, so it is everything but the disk: push, CRC, mask, BLAKE3, index.
//! `append` is the same on real files, one write and one `fdatasync` a batch, with a janitor beside it. A batch of one
//! record is an idle pool's, one of 64 a busy one's, one of 1024 what gathers behind a slow disk.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine_journal::{Config, File, Journal, OsStorage, RecordBatch, Storage, Upkeep};
use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PAYLOAD: [u8; 200] = [0x5A; 200];
const SIZES: [u32; 3] = [1, 64, 1024];

/// A folder that takes everything and keeps nothing.
struct Forgetful;

impl Storage for Forgetful {
    fn open(&self, _: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(Self))
    }
    fn create(&self, _: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(Self))
    }
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        Ok(Box::new(()))
    }
    fn describe(&self) -> String {
        "nowhere".to_owned()
    }
}

impl File for Forgetful {
    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
    fn write_at(&self, _: u64, bytes: &[u8]) -> io::Result<()> {
        black_box(bytes);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn size(&self) -> io::Result<u64> {
        Ok(0)
    }
}

fn open(storage: impl Storage) -> Journal {
    let (mut journal, _) = Journal::open(Arc::new(storage), Config::default()).expect("opens");
    journal.begin_epoch();
    journal
}

fn commit(journal: &mut Journal, batch: &mut RecordBatch, records: u32) {
    for _ in 0..records {
        batch.push(1, &PAYLOAD);
    }
    let first = journal.next_lsn();
    journal.append(batch, first, 0).expect("appended");
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for records in SIZES {
        let mut journal = open(Forgetful);
        let mut batch = RecordBatch::new();
        group.throughput(Throughput::Bytes(u64::from(records) * 200));
        group.bench_function(
            BenchmarkId::from_parameter(format!("{records}x200B")),
            |bencher| {
                bencher.iter(|| commit(&mut journal, &mut batch, records));
            },
        );
    }
    group.finish();
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    group
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_secs(1));
    for records in SIZES {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = open(OsStorage::open(folder.path()).expect("a folder"));
        let mut batch = RecordBatch::new();
        let mut janitor = journal.janitor();
        while janitor.step().expect("prepared") == Upkeep::Working {}
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    if janitor.step().expect("prepared") != Upkeep::Working {
                        janitor.wait(Duration::from_millis(50));
                    }
                }
            });
            group.throughput(Throughput::Elements(u64::from(records)));
            group.bench_function(
                BenchmarkId::from_parameter(format!("{records}x200B")),
                |bencher| {
                    bencher.iter(|| commit(&mut journal, &mut batch, records));
                },
            );
            stop.store(true, Ordering::Relaxed);
        });
    }
    group.finish();
}

criterion_group!(benches, encode, append);
criterion_main!(benches);
