//! What the stress tests do on real threads; `tests/tsan.rs` does the same under ThreadSanitizer.
//!
//! Items are numbers in boxes: a lost, repeated or reordered one breaks the count or the sum, one that is
//! read before it was written breaks the heap.

use engine_queue::counters::counters;
use engine_queue::doorbell::Doorbell;
use engine_queue::exchange::{Published, exchange};
use engine_queue::mailbox::{Refused, mailbox};
use engine_queue::published::{Watermark, published};
use engine_queue::{spsc, words};
use std::thread::{scope, yield_now};

/// The sum of 0, 1, … `count − 1`.
fn sum_below(count: u64) -> u64 {
    count * (count - 1) / 2
}

/// One item at a time through a small ring that wraps and is full or empty most of the time.
pub(crate) fn single_items_through_a_ring(count: u64) {
    let (mut producer, mut consumer) = spsc::ring(8);
    scope(|threads| {
        threads.spawn(move || {
            for n in 0..count {
                let mut item = Box::new(n);
                while let Err(back) = producer.push(item) {
                    item = back;
                    yield_now();
                }
            }
        });
        let mut expected = 0;
        while !consumer.is_finished() {
            match consumer.pop() {
                Some(item) => {
                    assert_eq!(*item, expected);
                    expected += 1;
                }
                None => yield_now(),
            }
        }
        assert_eq!(expected, count);
    });
}

/// Batches of changing sizes, of which the consumer takes others.
pub(crate) fn batches_through_a_ring(count: u64) {
    let (mut producer, mut consumer) = spsc::ring(64);
    scope(|threads| {
        threads.spawn(move || {
            let mut items = (0..count).map(Box::new);
            let (mut left, mut size) = (count, 1);
            while left > 0 {
                match producer.push_many(&mut items.by_ref().take(size)) {
                    0 => yield_now(),
                    pushed => left -= pushed as u64,
                }
                size = size % 100 + 7;
            }
        });
        let (mut expected, mut max) = (0, 1);
        while !consumer.is_finished() {
            let before = expected;
            consumer.pop_many(max, |item| {
                assert_eq!(*item, expected);
                expected += 1;
            });
            if before == expected {
                yield_now();
            }
            max = max % 90 + 11;
        }
        assert_eq!(expected, count);
    });
}

/// A consumer that leaves in the middle: the producer sees it, and nothing is leaked or dropped twice.
pub(crate) fn a_ring_whose_consumer_leaves(rounds: u64) {
    for round in 0..rounds {
        let (mut producer, mut consumer) = spsc::ring(16);
        scope(|threads| {
            threads.spawn(move || {
                while !producer.is_closed() {
                    if producer.push(Box::new(round)).is_err() {
                        yield_now();
                    }
                }
            });
            let mut taken = 0;
            while taken < 40 {
                taken += consumer.pop_many(40 - taken, |item| assert_eq!(*item, round));
            }
            drop(consumer);
        });
    }
}

/// Four producers and one consumer that sleeps whenever it may: a lost wake-up would hang here.
pub(crate) fn many_producers_and_a_sleeper(count: u64) {
    let parker = crossbeam::sync::Parker::new();
    let unparker = parker.unparker().clone();
    let (sender, mut inbox) = mailbox(32, Doorbell::new(move || unparker.unpark()));
    scope(|threads| {
        for part in 0..4 {
            let sender = sender.clone();
            threads.spawn(move || {
                for n in (part..count).step_by(4) {
                    let mut item = Box::new(n);
                    while let Err(refused) = sender.try_send(item) {
                        let Refused::Full(back) = refused else {
                            panic!("the consumer is there")
                        };
                        item = back;
                        yield_now();
                    }
                }
            });
        }
        drop(sender);
        let (mut sum, mut taken) = (0, 0);
        while !inbox.is_finished() {
            taken += inbox.take_many(16, |item| sum += *item) as u64;
            if inbox.may_sleep() {
                parker.park();
            }
            inbox.wake_up();
        }
        assert_eq!((taken, sum), (count, sum_below(count)));
    });
}

/// The core and the journal, with a disk that is sometimes slow and sometimes waiting.
pub(crate) fn a_core_and_its_journal(count: u64) {
    let (mut filler, mut taker) = exchange::<Vec<Box<u64>>>(2);
    let durable = Watermark::new(0);
    scope(|threads| {
        let mark = durable.clone();
        threads.spawn(move || {
            let mut batch = Vec::new();
            for n in 0..count {
                batch.push(Box::new(n));
                // Sometimes after each item, so that the taker sleeps; sometimes in large batches.
                if n % 1_000 < 100 || n % 1_000 == 999 {
                    while filler.publish(&mut batch) != Published::Sent {
                        yield_now();
                    }
                    assert!(batch.is_empty());
                    assert!(mark.get() <= n + 1);
                }
            }
            while !batch.is_empty() && filler.publish(&mut batch) != Published::Sent {
                yield_now();
            }
        });
        let mut expected = 0;
        while let Some(batch) = taker.take() {
            for item in &batch {
                assert_eq!(**item, expected);
                expected += 1;
            }
            assert!(durable.raise(expected));
            taker.give_back(batch);
        }
        assert_eq!(expected, count);
    });
}

words! {
    /// Its words are multiples of each other, so that a torn one shows.
    struct Row {
        one: u64,
        two: u64,
        three: u64,
        seven: u64,
        eleven: u64,
    }
}

impl Row {
    fn of(n: u64) -> Self {
        Self {
            one: n,
            two: n * 2,
            three: n * 3,
            seven: n * 7,
            eleven: n * 11,
        }
    }

    fn check(self) -> u64 {
        let n = self.one;
        assert_eq!(
            (self.two, self.three, self.seven, self.eleven),
            (n * 2, n * 3, n * 7, n * 11),
            "torn"
        );
        n
    }
}

/// One writer that never pauses, three readers that never see half a value nor an older one.
pub(crate) fn a_writer_and_its_readers(count: u64) {
    let (mut writer, reader) = published(Row::of(0));
    let (mut tally, counters) = counters::<1>();
    scope(|threads| {
        for _ in 0..3 {
            let (reader, counters) = (reader.clone(), counters.clone());
            threads.spawn(move || {
                let (mut last, mut counted) = (0, 0);
                while last < count {
                    let row = reader.read().check();
                    assert!(row >= last, "back in time");
                    let now = counters.get(0);
                    assert!(now >= counted, "a counter fell");
                    (last, counted) = (row, now);
                }
            });
        }
        for n in 1..=count {
            writer.publish(Row::of(n));
            tally.add(0, 1);
        }
    });
    assert_eq!(counters.all(), [count]);
}
