//! How fast a start reads the journal back: `cargo bench -p engine-journal --bench replay`.
//!
//! `verify` opens a journal: reads it, sums every record, follows the chain of hashes. `recover` does what
//! `pool-engine` does: one thread verifies, another applies to a scheduler what has been verified. `history` is what a
//! snapshot includes and must be verified all the same, by one thread and by two. The last number of a line is records per second. The target is 5 million of them where a record is about one work; a record of an
//! array is about many, so there works per second count.
//!
//! The journals lie in `TMPDIR` and in the page cache, as after a `kill -9`. They are short where criterion only tests.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine_core::{Config, Scheduler};
use engine_journal::{
    Config as JournalConfig, Crew, Job, Journal, OneByOne, OsStorage, RecordBatch, Shown, Verified,
};
use mimalloc::MiMalloc;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use tempfile::TempDir;
use wire_protocol::codec::{put_bytes, put_control};
use wire_protocol::ids::{Attempt, BagId, Epoch, LeaseToken, Lsn, Shard, TenantId, WorkId, WorkerId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record::{
    BagOpened, EpochStarted, RowsAdded, SettledItem, TenantAdded, WorkerJoined, begin_attempts,
    begin_settled, kind,
};
use wire_protocol::template::{Offer, Rows, WorkTemplate};
use wire_protocol::units::Instant;

/// The engine's allocator: a replay allocates.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const AT: Instant = Instant(1);
const WORKERS: u32 = 8;
/// Works that are with workers at a time.
const HELD: usize = 8 * 64;
const ROW: [u8; 16] = [0x5A; 16];
const RESULT: [u8; 8] = [0xA5; 8];

/// A journal in a folder, and how many records it has.
struct Story {
    folder: TempDir,
    journal: Journal,
    batch: RecordBatch,
    /// Records that are committed together.
    batch_records: u32,
    payload: Vec<u8>,
    records: u64,
}

impl Story {
    fn new(batch_records: u32) -> Self {
        Self::with(JournalConfig::default(), batch_records)
    }

    fn with(config: JournalConfig, batch_records: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Arc::new(OsStorage::open(folder.path()).expect("a folder"));
        let (mut journal, _) = Journal::open(storage, config).expect("opens");
        let epoch = journal.begin_epoch();
        let mut story = Self {
            folder,
            journal,
            batch: RecordBatch::new(),
            batch_records,
            payload: Vec::new(),
            records: 0,
        };
        let started = EpochStarted {
            shard: Shard(0),
            epoch,
            at: AT,
            version: String::new(),
        };
        story.tell(kind::EPOCH_STARTED, |out| put_control(out, &started));
        let tenant = TenantAdded {
            tenant: TenantId(1),
            name: "bench".to_owned(),
            weight: 1,
        };
        story.tell(kind::TENANT_ADDED, |out| put_control(out, &tenant));
        for worker in 1..=WORKERS {
            let joined = WorkerJoined {
                worker: WorkerId(worker),
                uid: worker.to_string(),
                name: String::new(),
                version: String::new(),
                offer: Offer::default(),
                at: AT,
            };
            story.tell(kind::WORKER_JOINED, |out| put_control(out, &joined));
        }
        story
    }

    fn tell(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        self.payload.clear();
        write(&mut self.payload);
        self.batch.push(kind, &self.payload);
        self.records += 1;
        if self.batch.len() >= self.batch_records {
            self.commit();
        }
    }

    fn commit(&mut self) {
        let first = self.journal.next_lsn();
        self.journal.append(&mut self.batch, first, 0).expect("appended");
    }

    fn bag(&mut self, bag: u64, first: u64, rows_total: u32) {
        let opened = BagOpened {
            bag: BagId(bag),
            first: WorkId(first),
            rows_total,
            tenant: TenantId(1),
            key: [0; 16],
            at: AT,
            template: WorkTemplate {
                app: "null".to_owned(),
                columns: vec!["n".to_owned()],
                ..WorkTemplate::default()
            },
        };
        self.tell(kind::BAG_OPENED, |out| put_control(out, &opened));
    }

    fn rows(&mut self, bag: u64, first_row: u32, count: u32) {
        let mut rows = Vec::new();
        (0..count).for_each(|_| put_bytes(&mut rows, &ROW));
        let added = RowsAdded {
            at: AT,
            bag: BagId(bag),
            first_row,
            rows: Rows::parse(count, &rows).expect("well-formed"),
        };
        self.tell(kind::ROWS_ADDED, |out| added.put(out));
    }

    fn lease(&mut self, worker: u32, works: std::ops::Range<u64>) {
        self.tell(kind::LEASED, |out| {
            begin_attempts(out, AT, WorkerId(worker), Reason::None);
            for work in works {
                let token = LeaseToken {
                    work: WorkId(work),
                    epoch: Epoch(1),
                    attempt: Attempt(1),
                    shard: Shard(0),
                };
                out.extend_from_slice(&token.to_bytes());
            }
        });
    }

    fn settle(&mut self, worker: u32, works: std::ops::Range<u64>) {
        self.tell(kind::SETTLED, |out| {
            begin_settled(out, AT, WorkerId(worker));
            for work in works {
                SettledItem {
                    work: WorkId(work),
                    attempt: Attempt(1),
                    outcome: Outcome::Succeeded,
                    reason: Reason::None,
                    exit_code: 0,
                    elapsed_us: 1_000,
                    result: &RESULT,
                }
                .put(out);
            }
        });
    }

    /// Leases stretches of works to workers in turn, and settles each when as many more are with workers.
    fn run(&mut self, works: std::ops::Range<u64>, stretch: u64, mut before: impl FnMut(&mut Self, u64)) {
        let mut held = VecDeque::new();
        for (nth, first) in works.step_by(stretch as usize).enumerate() {
            before(self, first);
            let worker = nth as u32 % WORKERS + 1;
            self.lease(worker, first..first + stretch);
            held.push_back((worker, first));
            if held.len() * stretch as usize > HELD {
                let (worker, first) = held.pop_front().expect("just pushed");
                self.settle(worker, first..first + stretch);
            }
        }
        for (worker, first) in held {
            self.settle(worker, first..first + stretch);
        }
    }

    /// The folder, and the number of records in it.
    fn end(mut self) -> (TempDir, u64) {
        self.commit();
        (self.folder, self.records)
    }
}

/// Works that are told of one by one: three records each.
fn singles(works: u32, mut story: Story) -> (TempDir, u64) {
    story.bag(1, 1, works);
    story.run(1..u64::from(works) + 1, 1, |story, work| {
        story.rows(1, work as u32 - 1, 1)
    });
    story.end()
}

/// The same, and each in a bag of its own: four records, the first of which is much.
fn bags_of_one(works: u32, batch_records: u32) -> (TempDir, u64) {
    let mut story = Story::new(batch_records);
    story.run(1..u64::from(works) + 1, 1, |story, work| {
        story.bag(work, work, 1);
        story.rows(work, 0, 1);
    });
    story.end()
}

/// An array: frames of 4 096 rows, leases and outcomes of 64 works together.
fn array(works: u32, batch_records: u32) -> (TempDir, u64) {
    const CHUNK: u32 = 4_096;
    let works = works / CHUNK * CHUNK;
    let mut story = Story::new(batch_records);
    story.bag(1, 1, works);
    for first in (0..works).step_by(CHUNK as usize) {
        story.rows(1, first, CHUNK);
    }
    story.run(1..u64::from(works) + 1, 64, |_, _| {});
    story.end()
}

fn open(folder: &Path) -> Journal {
    let storage = OsStorage::open(folder).expect("a folder");
    Journal::open(Arc::new(storage), JournalConfig::default())
        .expect("opens")
        .0
}

/// Segments of a length of which the history has many.
fn short_segments() -> JournalConfig {
    JournalConfig {
        segment_bytes: 4 << 20,
        ..JournalConfig::default()
    }
}

/// The same records as `story`'s in short segments, and a snapshot behind them.
fn history(story: impl FnOnce(Story) -> (TempDir, u64), batch_records: u32) -> (TempDir, u64) {
    let (folder, records) = story(Story::with(short_segments(), batch_records));
    let storage = Arc::new(OsStorage::open(folder.path()).expect("a folder"));
    let (journal, _) = Journal::open(storage, short_segments()).expect("opens");
    let anchor = journal
        .reader()
        .anchor(Lsn(records))
        .expect("readable")
        .expect("durable");
    journal
        .snapshot_writer()
        .write(anchor, |_| Ok(()))
        .expect("written");
    (folder, records)
}

struct TwoThreads;

impl Crew for TwoThreads {
    fn run(&self, jobs: Vec<Job<'_>>) {
        let jobs = Mutex::new(jobs.into_iter());
        let next = || jobs.lock().expect("no job panics").next();
        let work = || std::iter::from_fn(next).for_each(|job| job());
        thread::scope(|threads| (0..2).for_each(|_| _ = threads.spawn(work)));
    }
}

fn verify_history(folder: &Path, crew: &dyn Crew) -> Lsn {
    let storage = Arc::new(OsStorage::open(folder).expect("a folder"));
    let opened = Journal::open_and_show(storage, short_segments(), crew, &mut |_| {});
    opened.expect("opens").0.next_lsn()
}

/// As the engine does it: `engine/server/src/recovery.rs`.
fn recover(folder: &Path) -> Scheduler {
    let storage = Arc::new(OsStorage::open(folder).expect("a folder"));
    let mut core = Scheduler::new(Config::default());
    let (blocks_in, blocks) = sync_channel::<Verified>(4);
    let (empty_in, empty) = channel::<Verified>();
    thread::scope(|threads| {
        threads.spawn(move || {
            let mut hand_over = |shown: Shown<'_>| {
                if let Shown::Records(block) = shown {
                    let next = empty.try_recv().unwrap_or_default();
                    blocks_in
                        .send(std::mem::replace(block, next))
                        .expect("somebody replays");
                }
            };
            let config = JournalConfig::default();
            Journal::open_and_show(storage, config, &OneByOne, &mut hand_over).expect("opens");
        });
        for mut block in blocks {
            for record in block.records() {
                core.replay(record.lsn, record.kind, record.payload)
                    .expect("fits");
            }
            block.clear();
            drop(empty_in.send(block));
        }
    });
    core
}

fn replay(criterion: &mut Criterion) {
    let short = only_tests();
    let works = if short { 8_192 } else { 300_000 };
    let many = if short { 8_192 } else { 1_000_000 };
    let few = if short { 100 } else { 20_000 };
    let stories: [(&str, (TempDir, u64)); 6] = [
        ("a work a record, 1 a batch", singles(few, Story::new(1))),
        ("a work a record, 64 a batch", singles(works, Story::new(64))),
        ("a work a record, 1024 a batch", singles(works, Story::new(1_024))),
        ("a bag a work, 64 a batch", bags_of_one(works, 64)),
        ("64 works a record, 64 a batch", array(many, 64)),
        ("64 works a record, 1024 a batch", array(many, 1_024)),
    ];
    for (name, (folder, records)) in &stories {
        let mut group = criterion.benchmark_group("replay");
        group.sample_size(10).throughput(Throughput::Elements(*records));
        group.bench_function(BenchmarkId::new("verify", name), |bencher| {
            bencher.iter(|| open(folder.path()).next_lsn());
        });
        group.bench_function(BenchmarkId::new("recover", name), |bencher| {
            // Forgetting a state is not part of a start.
            bencher.iter_batched(|| (), |()| recover(folder.path()), BatchSize::PerIteration);
        });
        assert_eq!(recover(folder.path()).last_lsn(), Lsn(*records));
        group.finish();
    }
    for (name, batch) in [("1 a batch", 1), ("64 a batch", 64)] {
        let works = if batch == 1 { few } else { works };
        let (folder, records) = history(|story| singles(works, story), batch);
        let mut group = criterion.benchmark_group("history");
        group.sample_size(10).throughput(Throughput::Elements(records));
        group.bench_function(BenchmarkId::new("one thread", name), |bencher| {
            bencher.iter(|| verify_history(folder.path(), &OneByOne));
        });
        group.bench_function(BenchmarkId::new("two threads", name), |bencher| {
            bencher.iter(|| verify_history(folder.path(), &TwoThreads));
        });
        group.finish();
    }
}

/// Whether criterion only sees that everything runs, by its own rules; it does not say.
fn only_tests() -> bool {
    let has = |wanted| std::env::args().any(|argument| argument == wanted);
    has("--test") || !has("--bench")
}

criterion_group!(benches, replay);
criterion_main!(benches);
