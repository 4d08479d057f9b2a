//! What a work costs the scheduler, all of its events together: its row accepted, leased, reported, settled.
//!
//! One iteration is many rounds of a running pool, see [`pool`]. `cargo bench -p engine-core --bench scheduler`; the last
//! number of a line is works per second, its inverse is the cost of a work.

mod pool;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pool::{Grid, Pool, grid};

/// Works per measured iteration.
const WORKS: u64 = 100_000;

const GRID: [Grid; 18] = [
    // A few large workers; then many classes.
    grid(8, 64, 128, 1, 100_000),
    grid(8, 64, 128, 10, 100_000),
    grid(8, 64, 128, 1_000, 100_000),
    // Many small ones, with two works ahead a slot.
    grid(1_000, 4, 8, 1, 100_000),
    grid(10_000, 4, 8, 1, 1_000_000),
    grid(100_000, 4, 8, 1, 4_000_000),
    grid(1_000, 1, 2, 1, 100_000),
    grid(10_000, 1, 2, 1, 1_000_000),
    grid(100_000, 1, 2, 1, 1_000_000),
    // The same with more ahead: a frame's own cost is shared by more works.
    grid(1_000, 1, 7, 1, 100_000),
    grid(100_000, 1, 7, 1, 4_000_000),
    grid(1_000, 1, 31, 1, 100_000),
    grid(100_000, 1, 31, 1, 8_000_000),
    // More and more waits.
    grid(8, 64, 128, 1, 1_000),
    grid(8, 64, 128, 1, 10_000),
    grid(8, 64, 128, 1, 1_000_000),
    grid(8, 64, 128, 1, 10_000_000),
    grid(1_000, 1, 2, 1, 10_000_000),
];

fn cycle(criterion: &mut Criterion) {
    // The pools are small where criterion only tests, so that this is quick without optimisation too.
    let (works, workers_max, backlog_max) = if only_tests() {
        (4_096, 1_000, 10_000)
    } else {
        (WORKS, usize::MAX, u32::MAX)
    };
    let mut group = criterion.benchmark_group("work");
    group.throughput(Throughput::Elements(works));
    group.sample_size(10);
    for size in &GRID {
        let Grid {
            workers,
            slots,
            prefill,
            classes,
            backlog,
            packing: _,
        } = size;
        let name = format!("{workers} workers × {slots}+{prefill}, {classes} classes, {backlog} queued");
        // A pool is made when it is measured, so that a filter skips the making too.
        let mut pool = None;
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            let pool = pool.get_or_insert_with(|| {
                let mut pool = Pool::new(&Grid {
                    workers: size.workers.min(workers_max),
                    backlog: size.backlog.min(backlog_max),
                    ..*size
                });
                pool.run(works);
                pool
            });
            bencher.iter(|| pool.run(works));
        });
    }
    group.finish();
}

/// Whether criterion only sees that everything runs, by its own rules; it does not say.
fn only_tests() -> bool {
    let has = |wanted| std::env::args().any(|argument| argument == wanted);
    has("--test") || !has("--bench")
}

criterion_group!(benches, cycle);
criterion_main!(benches);
