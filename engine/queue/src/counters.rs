//! Numbers that one thread counts and any thread reads: the metrics.
//!
//! An atomic `fetch_add` costs ~5 ns because it must exclude other writers. Here there are none: each
//! thread has a [`Tally`] of its own and whoever exposes the metrics adds them up. So counting is a load and a
//! store of a line that stays in the writer's cache, about as cheap as a plain integer.
//!
//! All accesses are `Relaxed`: each number stands for itself. Two numbers read one after the other may be of
//! different moments; what must be consistent is [`crate::published`] instead.

use crate::sync::{Arc, AtomicU64, Relaxed};
use crossbeam::utils::CachePadded;
use std::fmt;

/// `N` numbers that start at zero, as the end that counts and one that reads, to be cloned.
#[must_use]
pub fn counters<const N: usize>() -> (Tally<N>, Counters<N>) {
    let numbers = Arc::new(CachePadded::new([(); N].map(|()| AtomicU64::new(0))));
    (Tally(Arc::clone(&numbers)), Counters(numbers))
}

/// The end of the one thread that counts.
pub struct Tally<const N: usize>(Arc<CachePadded<[AtomicU64; N]>>);

impl<const N: usize> Tally<N> {
    /// Adds `amount` to number `index`; past 2⁶⁴ it starts again from zero.
    ///
    /// # Panics
    /// If `index` is not below `N`.
    #[inline]
    pub fn add(&mut self, index: usize, amount: u64) {
        let number = &self.0[index];
        // Two steps instead of one: `&mut self` makes this the only writer.
        number.store(number.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// Sets number `index` to `value`, for what goes up and down.
    ///
    /// # Panics
    /// If `index` is not below `N`.
    #[inline]
    pub fn set(&mut self, index: usize, value: u64) {
        self.0[index].store(value, Relaxed);
    }
}

impl<const N: usize> fmt::Debug for Tally<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tally").field(&**self.0).finish()
    }
}

/// An end that reads. Any number of them on any threads.
#[derive(Clone)]
pub struct Counters<const N: usize>(Arc<CachePadded<[AtomicU64; N]>>);

impl<const N: usize> Counters<N> {
    /// Number `index` as it stands.
    ///
    /// # Panics
    /// If `index` is not below `N`.
    #[must_use]
    pub fn get(&self, index: usize) -> u64 {
        self.0[index].load(Relaxed)
    }

    /// All of them, each as it stands.
    #[must_use]
    pub fn all(&self) -> [u64; N] {
        std::array::from_fn(|index| self.get(index))
    }
}

impl<const N: usize> fmt::Debug for Counters<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counters").field(&**self.0).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_read() {
        let (mut tally, counters) = counters::<3>();
        tally.add(0, 2);
        tally.add(0, 3);
        tally.set(2, 9);
        tally.set(2, 1);
        let another = counters.clone();
        assert_eq!((counters.all(), another.get(0)), ([5, 0, 1], 5));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::sync::explore::{explore, spawn};

    #[test]
    fn a_reader_never_sees_a_counter_fall() {
        explore(3, || {
            let (mut tally, counters) = counters::<1>();
            let other = spawn(move || {
                tally.add(0, 1);
                tally.add(0, 1);
            });
            let (first, second) = (counters.get(0), counters.get(0));
            assert!(first <= second);
            other.join().expect("the counting thread does not panic");
            assert_eq!(counters.get(0), 2);
        });
    }
}
