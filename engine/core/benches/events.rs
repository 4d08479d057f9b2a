//! What one event costs, kind by kind: where a change of the scheduler's speed comes from.
//!
//! Each line is a batch of events of one kind on a pool that was made for it outside of the measured time; the last
//! number is events (for rows, reports and cancelled works: works) per second. Small frames show what a frame costs
//! by itself, large ones what a work costs. `cargo bench -p engine-core --bench events`

mod kit;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine_core::Event;
use wire_protocol::client_link::{Command, CommandRequest, Selector, kind};
use wire_protocol::ids::{BagId, LeaseToken, LinkId, WorkId};
use wire_protocol::template::Rows;
use wire_protocol::worker_link::push_control;

use kit::{Driver, encoded_rows, join};

/// Works that wait where some have to.
const BACKLOG: u32 = 16_384;

/// A client's largest frame of rows here.
const CHUNK: u32 = 4_096;

fn pool_with_backlog() -> Driver {
    let mut pool = Driver::new();
    let request = pool.open(1, BACKLOG);
    let encoded = encoded_rows(CHUNK);
    for first in (0..BACKLOG).step_by(CHUNK as usize) {
        pool.rows(request, first, Rows::parse(CHUNK, &encoded).expect("well-formed"));
    }
    pool
}

fn submissions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("submission");
    group.sample_size(20);
    group.throughput(Throughput::Elements(100));
    group.bench_function("open", |bencher| {
        let open = |pool: &mut Driver| {
            for _ in 0..100 {
                pool.open(1, 1);
            }
        };
        bencher.iter_batched_ref(Driver::new, open, BatchSize::PerIteration);
    });
    for count in [1, 256, CHUNK] {
        let encoded = encoded_rows(count);
        group.throughput(Throughput::Elements(16 * u64::from(count)));
        group.bench_function(BenchmarkId::new("frame of rows", count), |bencher| {
            let opened = || {
                let mut pool = Driver::new();
                let request = pool.open(1, 16 * count);
                (pool, request)
            };
            let rows = |(pool, request): &mut (Driver, u32)| {
                for frame in 0..16 {
                    let rows = Rows::parse(count, &encoded).expect("well-formed");
                    pool.rows(*request, frame * count, rows);
                }
            };
            bencher.iter_batched_ref(opened, rows, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn joins(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("join");
    group.sample_size(20);
    let joins: Vec<_> = (0..1_000).map(|worker| join(worker, 1, 4, 8)).collect();
    group.throughput(Throughput::Elements(joins.len() as u64));
    for (name, pool) in [
        ("with nothing to do", Driver::new as fn() -> Driver),
        ("and gets works", pool_with_backlog),
    ] {
        group.bench_function(name, |bencher| {
            let join = |pool: &mut Driver| {
                for join in &joins {
                    pool.join(join);
                }
            };
            bencher.iter_batched_ref(pool, join, BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// A worker that holds 256 works of a backlog and reports some of them again and again.
struct Reporting {
    pool: Driver,
    worker: LinkId,
    held: Vec<LeaseToken>,
    reports: u64,
}

impl Reporting {
    fn new() -> Self {
        let mut pool = pool_with_backlog();
        let worker = pool.join(&join(0, 1, 256, 0));
        let mut held = Vec::new();
        pool.assigned(|_, token| held.push(token));
        Self {
            pool,
            worker,
            held,
            reports: 0,
        }
    }

    fn report(&mut self, count: usize) {
        self.pool
            .finished(self.worker, self.reports + 1, &self.held[..count]);
        self.reports += count as u64;
        self.held.drain(..count);
        self.pool.assigned(|_, token| self.held.push(token));
    }
}

fn reports(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("finished");
    group.sample_size(20);
    for count in [1_usize, 16, 256] {
        group.throughput(Throughput::Elements(32 * count as u64));
        group.bench_function(BenchmarkId::new("reports a frame", count), |bencher| {
            let report = |reporting: &mut Reporting| {
                for _ in 0..32 {
                    reporting.report(count);
                }
            };
            bencher.iter_batched_ref(Reporting::new, report, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cancel");
    group.sample_size(20);
    let cancel = |pool: &mut Driver, selector| {
        let command = CommandRequest {
            request: 1,
            command: Command::Cancel(selector),
        };
        pool.client_says(|out| push_control(out, kind::COMMAND, &command));
    };
    group.throughput(Throughput::Elements(100));
    group.bench_function("a work that waits", |bencher| {
        let works = |pool: &mut Driver| {
            for work in 1..=100 {
                cancel(pool, Selector::Work(WorkId(work)));
            }
        };
        bencher.iter_batched_ref(pool_with_backlog, works, BatchSize::PerIteration);
    });
    group.throughput(Throughput::Elements(u64::from(BACKLOG)));
    group.bench_function("a bag", |bencher| {
        let bag = |pool: &mut Driver| cancel(pool, Selector::Bag(BagId(1)));
        bencher.iter_batched_ref(pool_with_backlog, bag, BatchSize::PerIteration);
    });
    group.finish();
}

fn ticks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tick");
    group.throughput(Throughput::Elements(100));
    for workers in [0, 10_000] {
        let mut pool = Driver::new();
        for worker in 0..workers {
            pool.join(&join(worker, 1, 1, 0));
        }
        group.bench_function(BenchmarkId::new("nothing is due, workers", workers), |bencher| {
            bencher.iter(|| (0..100).for_each(|_| pool.handle(Event::Tick)));
        });
    }
    group.finish();
}

criterion_group!(benches, submissions, joins, reports, commands, ticks);
criterion_main!(benches);
