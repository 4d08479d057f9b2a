//! What it costs to hand an item over: `cargo bench -p engine-queue`.
//!
//! "Owned" is push and pop on one thread, the cost of the instructions; "across" is between two
//! threads, where cache lines travel. Times of "across" are per block of
//! 100 000 items. With two cores, run it on a quiet machine.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam::queue::ArrayQueue;
use engine_queue::counters::counters;
use engine_queue::doorbell::Doorbell;
use engine_queue::exchange::{Published, exchange};
use engine_queue::mailbox::mailbox;
use engine_queue::published::{Watermark, published};
use engine_queue::{spsc, words};
use std::collections::VecDeque;
use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::thread::{scope, yield_now};
use std::time::{Duration, Instant};

/// Room for this many items in every queue: the engine's rings have about so much.
const CAPACITY: usize = 1_024;

fn owned(c: &mut Criterion) {
    let mut group = c.benchmark_group("owned");
    group.throughput(Throughput::Elements(1));
    group.bench_function("VecDeque", |b| {
        let mut queue = VecDeque::with_capacity(CAPACITY);
        b.iter(|| {
            queue.push_back(black_box(1u64));
            black_box(queue.pop_front())
        });
    });
    group.bench_function("spsc", |b| {
        let (mut producer, mut consumer) = spsc::ring(CAPACITY);
        b.iter(|| {
            producer.push(black_box(1u64)).expect("there is room");
            black_box(consumer.pop())
        });
    });
    group.bench_function("ArrayQueue", |b| {
        let queue = ArrayQueue::new(CAPACITY);
        b.iter(|| {
            queue.push(black_box(1u64)).expect("there is room");
            black_box(queue.pop())
        });
    });
    group.bench_function("mailbox", |b| {
        let (sender, mut receiver) = mailbox(CAPACITY, Doorbell::new(|| {}));
        b.iter(|| {
            sender.try_send(black_box(1u64)).expect("there is room");
            black_box(receiver.take())
        });
    });
    group.finish();
}

/// One iteration moves so many items, so that starting a thread does not count.
const BLOCK: u64 = 100_000;

/// The time in which `blocks` blocks pass from one thread, which runs `put`, to this one, which runs
/// `take`; both return how many they moved.
fn passage(blocks: u64, put: impl FnMut(u64) -> u64 + Send, mut take: impl FnMut() -> u64) -> Duration {
    let count = blocks * BLOCK;
    let start = Instant::now();
    scope(|threads| {
        threads.spawn(move || move_all(count, put));
        move_all(count, |_| take());
    });
    start.elapsed()
}

/// Spins while the other side is behind, and gives way now and then in case it has no processor.
fn move_all(mut left: u64, mut step: impl FnMut(u64) -> u64) {
    let mut idle = 0u32;
    while left > 0 {
        match step(left) {
            0 => {
                idle += 1;
                if idle.is_multiple_of(256) {
                    yield_now()
                } else {
                    spin_loop()
                }
            }
            moved => left -= moved,
        }
    }
}

fn ring_in_batches<T: Copy + Send>(count: u64, batch: usize, item: T) -> Duration {
    let (mut producer, mut consumer) = spsc::ring(CAPACITY);
    passage(
        count,
        move |left| producer.push_many(&mut std::iter::repeat_n(item, batch.min(left as usize))) as u64,
        || consumer.pop_many(batch, |item| _ = black_box(item)) as u64,
    )
}

fn across(c: &mut Criterion) {
    let mut group = c.benchmark_group("across");
    group.throughput(Throughput::Elements(BLOCK));
    group.bench_function("spsc single 8 B", |b| {
        b.iter_custom(|count| {
            let (mut producer, mut consumer) = spsc::ring(CAPACITY);
            passage(
                count,
                |left| u64::from(producer.push(left).is_ok()),
                || u64::from(black_box(consumer.pop()).is_some()),
            )
        });
    });
    for batch in [16, 64, 256] {
        group.bench_with_input(BenchmarkId::new("spsc batch 8 B", batch), &batch, |b, &batch| {
            b.iter_custom(|count| ring_in_batches(count, batch, 1u64));
        });
    }
    group.bench_function("spsc batch 64 B/64", |b| {
        b.iter_custom(|count| ring_in_batches(count, 64, [1u64; 8]));
    });
    group.bench_function("ArrayQueue 8 B", |b| {
        b.iter_custom(|count| {
            let queue = Arc::new(ArrayQueue::new(CAPACITY));
            let theirs = Arc::clone(&queue);
            passage(
                count,
                move |left| u64::from(theirs.push(left).is_ok()),
                || u64::from(black_box(queue.pop()).is_some()),
            )
        });
    });
    group.bench_function("mailbox 8 B", |b| {
        b.iter_custom(|count| {
            let (sender, mut receiver) = mailbox(CAPACITY, Doorbell::new(|| {}));
            passage(
                count,
                move |left| u64::from(sender.try_send(left).is_ok()),
                || receiver.take_many(64, |item| _ = black_box(item)) as u64,
            )
        });
    });
    group.finish();
}

words! {
    struct Overview {
        a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64, h: u64,
    }
}

fn state(c: &mut Criterion) {
    let mut group = c.benchmark_group("state");
    let zero = Overview {
        a: 0,
        b: 0,
        c: 0,
        d: 0,
        e: 0,
        f: 0,
        g: 0,
        h: 0,
    };
    let (mut writer, reader) = published(zero);
    group.bench_function("publish 64 B", |b| b.iter(|| writer.publish(black_box(zero))));
    group.bench_function("read 64 B", |b| b.iter(|| black_box(reader.read()).a));
    let (mut tally, _counters) = counters::<8>();
    group.bench_function("count", |b| b.iter(|| tally.add(black_box(3), 1)));
    let mark = Watermark::new(0);
    let mut lsn = 0;
    group.bench_function("raise a watermark", |b| {
        b.iter(|| {
            lsn += 1;
            mark.raise(lsn)
        });
    });
    let bell = Doorbell::new(|| {});
    group.bench_function("ring for one who is awake", |b| b.iter(|| bell.ring()));
    let (mut filler, mut taker) = exchange::<Vec<u64>>(2);
    let mut batch = Vec::with_capacity(64);
    group.bench_function("exchange there and back", |b| {
        b.iter(|| {
            batch.push(1);
            assert_eq!(filler.publish(&mut batch), Published::Sent);
            let taken = taker.try_take().expect("it was just published");
            taker.give_back(taken);
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_000));
    targets = owned, across, state
}
criterion_main!(benches);
