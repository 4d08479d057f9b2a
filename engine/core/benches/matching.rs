//! Which work goes to which worker: the two searches of dispatch, each where it is hardest.
//!
//! *take*: a worker takes its next works from queues of many classes whose works came in turns, so that after every
//! few works another queue has the oldest. *match*: a work comes to an idle pool of workers that differ in what they
//! can run, finds one, and is done; then the next comes, of another class. The last number of a line is works per
//! second. `cargo bench -p engine-core --bench matching`

mod kit;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wire_protocol::ids::{LeaseToken, LinkId};
use wire_protocol::template::Rows;

use kit::{Driver, encoded_rows, join};

/// A pool where so many classes have works that came in turns, and one worker that can run them all.
fn interleaved(classes: u32, run: u32) -> (Driver, LinkId, Vec<LeaseToken>) {
    const WORKS: u32 = 32_768;
    let mut pool = Driver::new();
    let encoded = encoded_rows(run);
    let rounds = WORKS / run / classes;
    for _ in 0..rounds.max(1) {
        for class in 1..=classes {
            let request = pool.open(class, run);
            pool.rows(request, 0, Rows::parse(run, &encoded).expect("well-formed"));
        }
    }
    let worker = pool.join(&join(0, classes, 64, 0));
    let mut held = Vec::new();
    pool.assigned(|_, token| held.push(token));
    (pool, worker, held)
}

fn take(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("take");
    group.sample_size(20);
    const FRAMES: u64 = 64;
    group.throughput(Throughput::Elements(FRAMES * 64));
    for (classes, run) in [(1, 64), (10, 64), (10, 1), (1_000, 8), (1_000, 1)] {
        let name = format!("{classes} classes, {run} works of a kind in a row");
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_batched_ref(
                || interleaved(classes, run),
                |(pool, worker, held)| {
                    for frame in 0..FRAMES {
                        pool.finished(*worker, frame * 64 + 1, held);
                        held.clear();
                        pool.assigned(|_, token| held.push(token));
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// An idle pool.
struct Idle {
    pool: Driver,
    /// Per class: the open submission, and the rows sent.
    open: Vec<(u32, u32)>,
    reports: Vec<u64>,
    class: usize,
    row: Vec<u8>,
}

/// Rows that a bag of the idle pool takes before the next is opened.
const BAG_ROWS: u32 = 1_000;

impl Idle {
    /// Workers can run a part of the classes, by profile: all of them, half of them, a third …
    fn new(workers: usize, classes: u32, profiles: u32) -> Self {
        let mut pool = Driver::new();
        for worker in 0..workers {
            let cores = (classes / (worker as u32 % profiles + 1)).max(1);
            pool.join(&join(worker, cores, 1, 2));
        }
        let open = (1..=classes)
            .map(|class| (pool.open(class, BAG_ROWS), 0))
            .collect();
        Self {
            pool,
            open,
            reports: vec![0; workers],
            class: 0,
            row: encoded_rows(1),
        }
    }

    /// A work comes, finds a worker, and is done.
    fn one(&mut self) {
        self.class = (self.class + 7) % self.open.len();
        let (request, sent) = self.open[self.class];
        self.open[self.class].1 += 1;
        self.pool
            .rows(request, sent, Rows::parse(1, &self.row).expect("well-formed"));
        let mut given = None;
        self.pool.assigned(|link, token| given = Some((link, token)));
        let (link, token) = given.expect("somebody is idle");
        let reports = &mut self.reports[(link.0 - 10) as usize];
        *reports += 1;
        self.pool.finished(link, *reports, &[token]);
        if sent + 1 == BAG_ROWS {
            self.open[self.class] = (self.pool.open(self.class as u32 + 1, BAG_ROWS), 0);
        }
    }
}

fn matching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("match");
    group.sample_size(20);
    const WORKS: u64 = 1_000;
    group.throughput(Throughput::Elements(WORKS));
    for workers in [1_000, 10_000, 100_000] {
        for (classes, profiles) in [(1, 1), (10, 8), (1_000, 64)] {
            let name = format!("{workers} workers of {profiles} profiles, {classes} classes");
            let mut idle = None;
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                let idle = idle.get_or_insert_with(|| Idle::new(workers, classes, profiles));
                bencher.iter(|| (0..WORKS).for_each(|_| idle.one()));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, take, matching);
criterion_main!(benches);
