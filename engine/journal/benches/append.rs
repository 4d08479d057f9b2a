//! What a commit costs: `cargo bench -p engine-journal --bench append`; `TMPDIR` says on which disk.
//!
//! `encode` appends to a storage that forgets, so it is everything but the disk: push, CRC, mask, BLAKE3, index.
//! `append` is the same on real files, one write and one `fdatasync` a batch, with a janitor beside it. A batch of one
//! record is an idle pool's, one of 64 a busy one's, one of 1024 what gathers behind a slow disk.
//!
//! `write` is one write and one `fdatasync` in a file of zeros, from memory that may go past the page cache and from
//! memory one byte behind it, which may not.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine_journal::{Config, File, Journal, OsStorage, RecordBatch, Storage, Upkeep};
use rustix::fs::Advice;
use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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

/// What is written begins at a page, or one byte behind it.
#[repr(align(4096))]
struct Aligned([u8; WRITTEN_MAX + 1]);

const WRITTEN_MAX: usize = 800 << 10;
const FILE_BYTES: u64 = 64 << 20;

fn write(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write");
    group
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_secs(1));
    let source = Box::new(Aligned([0x5A; WRITTEN_MAX + 1]));
    for bytes in [4 << 10, 64 << 10, WRITTEN_MAX] {
        for (way, from) in [("past the cache", 0), ("through it", 1)] {
            let folder = tempfile::tempdir().expect("a folder");
            let storage = OsStorage::open(folder.path()).expect("a folder");
            let file = storage.create("zeros").expect("a file");
            file.write_zeros(0, FILE_BYTES).expect("zeros");
            file.sync_data().expect("synced");
            let cached = std::fs::File::open(folder.path().join("zeros")).expect("a file");
            let mut at = 0;
            group.throughput(Throughput::Bytes(bytes as u64));
            group.bench_function(BenchmarkId::new(way, bytes), |bencher| {
                bencher.iter_custom(|times| {
                    let mut took = Duration::ZERO;
                    for _ in 0..times {
                        if at + bytes as u64 > FILE_BYTES {
                            // A journal writes each place once, so that none of its pages is there yet.
                            let all = rustix::fs::fadvise(&cached, 0, None, Advice::DontNeed);
                            all.expect("the cache lets go");
                            at = 0;
                        }
                        let began = Instant::now();
                        file.write_at(at, &source.0[from..from + bytes]).expect("written");
                        file.sync_data().expect("synced");
                        took += began.elapsed();
                        at += bytes as u64;
                    }
                    took
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, encode, append, write);
criterion_main!(benches);
