//! A bounded ring from one producer to one consumer.
//!
//! ```text
//!             head (the consumer's)          tail (the producer's)
//!              ▼                              ▼
//!  slots │ · │ c │ d │ e │ f │ g │ h │ i │ j │ · │ · │ ·       slot of position p = p & (capacity − 1)
//!              └───── filled: tail − head ─────┘
//! ```
//!
//! Positions count up for ever and wrap with the integer; `tail − head` is the number of items also
//! across the wrap, because the capacity is a power of two. Each side owns its position and keeps a
//! *copy of the other's* that may be old. An old copy errs on the safe side: the producer thinks that
//! the ring is fuller than it is, the consumer that it is emptier. So the other side's cache line is
//! fetched only when the copy says full or empty, and one publication stands for a whole batch.
//!
//! Between two cores that makes ~2 ns an item of 8 bytes in batches of 16 to 256, and ~15 ns one of 64 bytes.
//! One item at a time, with a consumer that is close behind, the line of `tail` travels for every item
//! and it costs ~45 ns, no better than crossbeam's queue (~28 ns): so use the batch calls
//! (`cargo bench -p engine-queue -- across`).
//!
//! # The atomics
//!
//! - `tail`: written by the producer alone. Its `Release` store publishes the slots filled before it; the
//!   consumer's `Acquire` load receives them.
//! - `head`: written by the consumer alone. Its `Release` store publishes that the slots before it
//!   have been *read out*; the producer's `Acquire` load lets it overwrite them.
//! - `producer_gone`, `consumer_gone`: set once, when that end is dropped. `Release`/`Acquire`, so that
//!   whoever sees the flag also sees the last position that was published before it.
//!
//! The idea of cached copies: Lee, Bu, Chandranmenon, "A lock-free, cache-efficient multi-core
//! synchronization mechanism for line-rate network traffic monitoring" (MCRingBuffer, IPDPS 2010).

use crate::sync::{Acquire, Arc, AtomicBool, AtomicUsize, Relaxed, Release, UnsafeCell};
use crossbeam::utils::CachePadded;
use std::fmt;
use std::mem::MaybeUninit;

/// A ring with room for `capacity` items, as its two ends.
///
/// # Panics
/// If `capacity` is not a power of two. A bound is a promise, so it is not rounded in silence.
#[must_use]
pub fn ring<T: Send>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    ring_at(capacity, 0)
}

/// As [`ring`], with positions that start at `position`: the wrap-around is tested with it.
fn ring_at<T: Send>(capacity: usize, position: usize) -> (Producer<T>, Consumer<T>) {
    assert!(
        capacity.is_power_of_two(),
        "the capacity of a ring is a power of two, not {capacity}"
    );
    let shared = Arc::new(Shared {
        tail: CachePadded::new(AtomicUsize::new(position)),
        head: CachePadded::new(AtomicUsize::new(position)),
        producer_gone: AtomicBool::new(false),
        consumer_gone: AtomicBool::new(false),
        slots: (0..capacity)
            .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
            .collect(),
    });
    let producer = Producer {
        shared: Arc::clone(&shared),
        tail: position,
        head_seen: position,
    };
    let consumer = Consumer {
        shared,
        head: position,
        tail_seen: position,
    };
    (producer, consumer)
}

struct Shared<T> {
    tail: CachePadded<AtomicUsize>,
    head: CachePadded<AtomicUsize>,
    // Written once in a ring's life, so they share a line with the pointer to the slots, which is read
    // all the time and never written.
    producer_gone: AtomicBool,
    consumer_gone: AtomicBool,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: a slot is touched by one side at a time: by the producer from when it has seen the `head` that
// frees it until it stores the `tail` behind it, by the consumer from then until it stores the `head`
// behind it. There is one producer and one consumer (neither end is `Clone`, both take `&mut self`).
// So the ends may be on two threads; items move across, hence `T: Send`.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above; the last end to go drops the remaining items on its own thread, hence `T: Send`.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    #[inline]
    fn slot(&self, position: usize) -> &UnsafeCell<MaybeUninit<T>> {
        // A mask of the length that the box itself carries: the compiler sees that it is in bounds.
        &self.slots[position & (self.slots.len() - 1)]
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Both ends are gone and the count of references has synchronised with both, so `Relaxed` would
        // do. `Acquire` costs nothing here and pairs with their last stores in a way that
        // ThreadSanitizer, which knows no fences, can follow.
        let (mut head, tail) = (self.head.load(Acquire), self.tail.load(Acquire));
        while head != tail {
            // SAFETY: positions from `head` to `tail` were filled and not read out, and nobody else is left.
            self.slot(head)
                .with_mut(|slot| unsafe { (*slot).assume_init_drop() });
            head = head.wrapping_add(1);
        }
    }
}

/// The end that puts items in. Dropping it closes the ring; what is inside can still be taken.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// The truth; `shared.tail` is what has been published of it.
    tail: usize,
    /// The consumer's position when last looked: never ahead of the truth.
    head_seen: usize,
}

impl<T> Producer<T> {
    /// Puts one item in.
    ///
    /// # Errors
    /// Gives the item back if the ring is full. A ring whose consumer is gone fills up and stays full:
    /// look at [`Producer::is_closed`] where that matters.
    #[inline]
    pub fn push(&mut self, item: T) -> Result<(), T> {
        if self.free(1) == 0 {
            return Err(item);
        }
        // SAFETY: `free` says that this slot is ours.
        unsafe { self.write(item) };
        self.publish();
        Ok(())
    }

    /// Puts in as many of `items` as there is room for, and publishes them at once. Returns how many;
    /// the rest stays in the iterator, of which nothing is taken that cannot be put in.
    #[inline]
    pub fn push_many(&mut self, items: &mut impl Iterator<Item = T>) -> usize {
        let wanted = items.size_hint().1.unwrap_or(usize::MAX);
        let free = self.free(wanted);
        if free == 0 {
            return 0;
        }
        let batch = Batch(self);
        let before = batch.0.tail;
        for item in items.take(free) {
            // SAFETY: at most `free` items are written, and `free` slots are ours.
            unsafe { batch.0.write(item) };
        }
        batch.0.tail.wrapping_sub(before)
    }

    /// Copies in as many of `items` as there is room for, from the front, and publishes them at once.
    /// Returns how many.
    #[inline]
    pub fn push_slice(&mut self, items: &[T]) -> usize
    where
        T: Copy,
    {
        self.push_many(&mut items.iter().copied())
    }

    /// How many slots are free, of at least `wanted` if there are so many: the consumer's line is fetched
    /// only if the old copy does not suffice.
    #[inline]
    fn free(&mut self, wanted: usize) -> usize {
        let free = self.capacity() - self.tail.wrapping_sub(self.head_seen);
        if free >= wanted {
            return free;
        }
        // Acquire: what the consumer read out of the slots before this position has been read before we
        // overwrite them.
        self.head_seen = self.shared.head.load(Acquire);
        self.capacity() - self.tail.wrapping_sub(self.head_seen)
    }

    /// # Safety
    /// At least one slot is free.
    #[inline]
    unsafe fn write(&mut self, item: T) {
        // SAFETY: the slot at `tail` is free, so it holds no item to drop and the consumer keeps away.
        self.shared
            .slot(self.tail)
            .with_mut(|slot| unsafe { (*slot).write(item) });
        self.tail = self.tail.wrapping_add(1);
    }

    #[inline]
    fn publish(&mut self) {
        // Release: the items are written before the consumer can see that they are there.
        self.shared.tail.store(self.tail, Release);
    }

    /// Items inside, give or take what the consumer takes meanwhile: never fewer than there are.
    #[must_use]
    pub fn len(&self) -> usize {
        // Relaxed: a number to look at, no slot is touched on its account.
        self.tail.wrapping_sub(self.shared.head.load(Relaxed))
    }

    /// Whether all has been taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Room for this many items, the bound.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.slots.len()
    }

    /// Whether the consumer is gone: nothing put in will ever be taken.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        // Acquire: pairs with the drop of the consumer, so that its last `head` is seen too.
        self.shared.consumer_gone.load(Acquire)
    }

    /// Says that nothing more will come; the drop says it too.
    pub(crate) fn close(&mut self) {
        // Release: whoever sees the flag sees every item published before it.
        self.shared.producer_gone.store(true, Release);
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Producer({} of {})", self.len(), self.capacity())
    }
}

/// Publishes what has been written when the batch ends, also by a panic of the caller's iterator: the
/// items written before it are in the ring and are not leaked.
struct Batch<'a, T>(&'a mut Producer<T>);

impl<T> Drop for Batch<'_, T> {
    fn drop(&mut self) {
        self.0.publish();
    }
}

/// The end that takes items out. After its drop the producer sees [`Producer::is_closed`].
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// The truth; `shared.head` is what has been published of it.
    head: usize,
    /// The producer's position when last looked: never ahead of the truth.
    tail_seen: usize,
}

impl<T> Consumer<T> {
    /// Takes the oldest item; `None` if there is none *now*.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.ready(1) == 0 {
            return None;
        }
        // SAFETY: `ready` says that this item is there.
        let item = unsafe { self.read() };
        self.publish();
        Some(item)
    }

    /// Hands the oldest items, at most `max`, to `take`, and frees their slots together at the end.
    /// Returns how many.
    #[inline]
    pub fn pop_many(&mut self, max: usize, take: impl FnMut(T)) -> usize {
        let items = self.drain(max);
        let count = items.len();
        items.for_each(take);
        count
    }

    /// The items that are inside now, at most `max`, oldest first. Slots are freed together when the
    /// iterator is dropped; what it has not given out stays in the ring.
    #[inline]
    pub fn drain(&mut self, max: usize) -> Drain<'_, T> {
        let count = self.ready(max).min(max);
        Drain {
            end: self.head.wrapping_add(count),
            consumer: self,
        }
    }

    /// How many items can be taken, of at least `wanted` if there are so many: the producer's line is
    /// fetched only if the old copy does not suffice.
    #[inline]
    fn ready(&mut self, wanted: usize) -> usize {
        let ready = self.tail_seen.wrapping_sub(self.head);
        if ready >= wanted {
            return ready;
        }
        // Acquire: the items before this position have been written before we read them.
        self.tail_seen = self.shared.tail.load(Acquire);
        self.tail_seen.wrapping_sub(self.head)
    }

    /// # Safety
    /// `ready` has seen at least one item that has not been read since.
    #[inline]
    unsafe fn read(&mut self) -> T {
        // SAFETY: the item at `head` was seen published and has not been read out: `head` moves on in the
        // same step, so that no panic and no leak of the caller can make us read it twice.
        let item = self
            .shared
            .slot(self.head)
            .with(|slot| unsafe { (*slot).assume_init_read() });
        self.head = self.head.wrapping_add(1);
        item
    }

    #[inline]
    fn publish(&mut self) {
        // Release: the items have been read out before the producer can see that their slots are free.
        self.shared.head.store(self.head, Release);
    }

    /// Items inside, give or take what the producer adds meanwhile: never more than there are.
    #[must_use]
    pub fn len(&self) -> usize {
        // Relaxed: a number to look at, no slot is read on its account.
        self.shared.tail.load(Relaxed).wrapping_sub(self.head)
    }

    /// Whether there is nothing to take now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Room for this many items, the bound.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.slots.len()
    }

    /// Whether the producer is gone *and* everything it put in has been taken: nothing will ever come.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        // The flag first, the position after. Acquire: having seen the flag we see the last `tail` too,
        // so an empty ring is empty for ever. In the other order an item could slip in between.
        self.shared.producer_gone.load(Acquire) && self.is_empty()
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        // A `Drain` that was leaked (`mem::forget`) has taken items without publishing it.
        self.publish();
        // Release: whoever sees the flag sees the last `head`.
        self.shared.consumer_gone.store(true, Release);
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Consumer({} of {})", self.len(), self.capacity())
    }
}

/// Items on their way out of a ring: see [`Consumer::drain`].
#[derive(Debug)]
pub struct Drain<'a, T> {
    consumer: &'a mut Consumer<T>,
    end: usize,
}

impl<T> Iterator for Drain<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        if self.consumer.head == self.end {
            return None;
        }
        // SAFETY: the items before `end` were seen published when the drain began.
        Some(unsafe { self.consumer.read() })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.wrapping_sub(self.consumer.head);
        (left, Some(left))
    }
}

impl<T> ExactSizeIterator for Drain<'_, T> {}

impl<T> Drop for Drain<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // A consumer that polls an empty ring must not take the line of `head` from the producer's cache.
        // Relaxed: nobody else writes it.
        if self.consumer.shared.head.load(Relaxed) != self.consumer.head {
            self.consumer.publish();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    #[test]
    fn items_come_out_in_the_order_they_went_in_across_the_wrap_of_the_positions() {
        let (mut producer, mut consumer) = ring_at::<u32>(4, usize::MAX - 5);
        for round in 0..20 {
            assert_eq!(producer.push_many(&mut (round..round + 3)), 3);
            assert_eq!(consumer.len(), 3);
            assert_eq!(
                consumer.drain(9).collect::<Vec<_>>(),
                [round, round + 1, round + 2]
            );
        }
    }

    #[test]
    fn a_full_ring_gives_the_item_back_and_takes_no_more_from_an_iterator_than_fits() {
        let (mut producer, mut consumer) = ring::<u32>(4);
        let mut items = 0..10;
        assert_eq!(producer.push_many(&mut items), 4);
        assert_eq!(items, 4..10);
        assert_eq!(producer.push(99), Err(99));
        assert_eq!(producer.push_slice(&[99]), 0);
        assert_eq!(consumer.pop(), Some(0));
        assert_eq!(producer.push_slice(&[4, 5]), 1);
        assert_eq!(consumer.drain(usize::MAX).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn what_is_left_is_dropped_once_with_the_last_end() {
        let item = Arc::new(());
        let (mut producer, mut consumer) = ring_at(8, usize::MAX - 2);
        assert_eq!(producer.push_many(&mut (0..7).map(|_| Arc::clone(&item))), 7);
        drop(consumer.pop());
        assert_eq!(Arc::strong_count(&item), 7);
        drop(producer);
        assert_eq!(Arc::strong_count(&item), 7, "the consumer may still take them");
        drop(consumer);
        assert_eq!(Arc::strong_count(&item), 1);
    }

    #[test]
    fn a_producer_that_left_is_seen_only_after_its_last_item_was_taken() {
        let (mut producer, mut consumer) = ring(2);
        producer.push(1).expect("there is room");
        assert!(!consumer.is_finished());
        drop(producer);
        assert!(!consumer.is_finished());
        assert_eq!(consumer.pop(), Some(1));
        assert!(consumer.is_finished());
    }

    #[test]
    fn a_consumer_that_left_is_seen_by_the_producer() {
        let (producer, consumer) = ring::<u8>(2);
        assert!(!producer.is_closed());
        drop(consumer);
        assert!(producer.is_closed());
    }

    #[test]
    fn what_a_drain_did_not_give_out_stays() {
        let (mut producer, mut consumer) = ring(4);
        producer.push_slice(&[1, 2, 3]);
        let mut drain = consumer.drain(2);
        assert_eq!((drain.len(), drain.next()), (2, Some(1)));
        drop(drain);
        assert_eq!(
            (consumer.pop(), consumer.pop(), consumer.pop()),
            (Some(2), Some(3), None)
        );
    }

    #[test]
    fn a_leaked_drain_makes_no_item_come_twice() {
        let item = Arc::new(());
        let (mut producer, mut consumer) = ring(4);
        assert_eq!(producer.push_many(&mut (0..3).map(|_| Arc::clone(&item))), 3);
        let mut drain = consumer.drain(3);
        drop(drain.next());
        std::mem::forget(drain);
        drop((producer, consumer));
        assert_eq!(Arc::strong_count(&item), 1);
    }

    #[test]
    fn a_panic_amid_a_batch_keeps_what_was_put_in_and_forgets_what_was_taken() {
        let (mut producer, mut consumer) = ring(8);
        let mut bad = (0..5).inspect(|n| assert_ne!(*n, 3, "on purpose"));
        catch_unwind(AssertUnwindSafe(|| producer.push_many(&mut bad))).expect_err("the iterator panics");
        assert_eq!(consumer.len(), 3);
        let taken = AssertUnwindSafe(|| consumer.pop_many(3, |n| assert_ne!(n, 1, "on purpose")));
        catch_unwind(taken).expect_err("the closure panics");
        assert_eq!((consumer.pop(), consumer.pop()), (Some(2), None));
        assert_eq!(producer.push_many(&mut (0..9)), 8, "every slot is usable again");
    }

    #[test]
    fn items_without_size_are_carried_too() {
        let (mut producer, mut consumer) = ring(2);
        assert_eq!(producer.push_many(&mut std::iter::repeat(())), 2);
        assert_eq!(consumer.pop_many(9, |()| ()), 2);
    }

    #[test]
    #[should_panic(expected = "power of two, not 6")]
    fn a_bound_is_not_rounded_in_silence() {
        let _ = ring::<u8>(6);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::sync::explore::{explore, spawn};
    use crate::sync::yield_now;

    #[test]
    fn items_arrive_whole_and_in_order_through_a_ring_that_wraps() {
        explore(3, || {
            let (mut producer, mut consumer) = ring_at(2, usize::MAX);
            let other = spawn(move || {
                let mut next = 0;
                while next < 3 {
                    match producer.push(Box::new(next)) {
                        Ok(()) => next += 1,
                        Err(_) => yield_now(),
                    }
                }
            });
            let mut expected = 0;
            while expected < 3 {
                match consumer.pop() {
                    Some(item) => {
                        assert_eq!(*item, expected);
                        expected += 1;
                    }
                    None => yield_now(),
                }
            }
            other.join().expect("the producer does not panic");
        });
    }

    #[test]
    fn batches_arrive_whole_and_in_order() {
        explore(3, || {
            let (mut producer, mut consumer) = ring_at(4, usize::MAX - 2);
            let other = spawn(move || {
                let mut items = (0..5).map(Box::new);
                while producer.push_many(&mut items) == 0 || items.len() > 0 {
                    yield_now();
                }
            });
            let mut seen = 0;
            while seen < 5 {
                let before = seen;
                consumer.pop_many(3, |item| {
                    assert_eq!(*item, seen);
                    seen += 1;
                });
                if before == seen {
                    yield_now();
                }
            }
            other.join().expect("the producer does not panic");
        });
    }

    #[test]
    fn a_finished_ring_has_given_out_everything() {
        explore(3, || {
            let (mut producer, mut consumer) = ring(2);
            let other = spawn(move || {
                producer.push(1).expect("there is room");
                producer.push(2).expect("there is room");
            });
            let mut sum = 0;
            while !consumer.is_finished() {
                match consumer.pop() {
                    Some(item) => sum += item,
                    None => yield_now(),
                }
            }
            assert_eq!(sum, 3);
            other.join().expect("the producer does not panic");
        });
    }

    #[test]
    fn what_is_left_is_dropped_once_whichever_end_goes_last() {
        explore(3, || {
            let item = Arc::new(());
            let (mut producer, mut consumer) = ring(2);
            let copy = Arc::clone(&item);
            let other = spawn(move || {
                assert!(producer.push(Arc::clone(&copy)).is_ok());
                assert!(producer.push(copy).is_ok());
            });
            drop(consumer.pop());
            drop(consumer);
            other.join().expect("the producer does not panic");
            assert_eq!(Arc::strong_count(&item), 1);
        });
    }
}
