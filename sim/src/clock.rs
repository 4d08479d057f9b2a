//! Virtual time: what happens next, and when.
//!
//! Events come in order of their time, those of the same time in the order in which they were planned. Nothing
//! waits: an hour of silence costs one step.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Nanoseconds since the simulation began.
pub(crate) type Time = u64;

/// A microsecond.
pub(crate) const US: Time = 1_000;
/// A millisecond.
pub(crate) const MS: Time = 1_000 * US;
/// A second.
pub(crate) const SEC: Time = 1_000 * MS;

pub(crate) struct Clock<E> {
    now: Time,
    planned: u64,
    heap: BinaryHeap<Reverse<Planned<E>>>,
}

struct Planned<E> {
    at: Time,
    sequence: u64,
    event: E,
}

impl<E> Clock<E> {
    pub(crate) fn new() -> Self {
        Self {
            now: 0,
            planned: 0,
            heap: BinaryHeap::new(),
        }
    }

    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// Plans an event; one for the past comes at once.
    pub(crate) fn at(&mut self, at: Time, event: E) {
        self.planned += 1;
        self.heap.push(Reverse(Planned {
            at: at.max(self.now),
            sequence: self.planned,
            event,
        }));
    }

    pub(crate) fn after(&mut self, delay: Time, event: E) {
        self.at(self.now + delay, event);
    }

    /// Goes to the next event.
    pub(crate) fn next(&mut self) -> Option<E> {
        let Reverse(planned) = self.heap.pop()?;
        self.now = planned.at;
        Some(planned.event)
    }
}

impl<E> Ord for Planned<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Planned<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_the_same_time_come_in_the_order_in_which_they_were_planned() {
        let mut clock = Clock::new();
        for (at, event) in [(5, 'b'), (3, 'a'), (5, 'c'), (9, 'd')] {
            clock.at(at, event);
        }
        let order: String = std::iter::from_fn(|| clock.next()).collect();
        assert_eq!(order, "abcd");
        clock.at(2, 'e');
        assert_eq!(clock.next(), Some('e'));
        assert_eq!(clock.now(), 9, "time does not go back");
    }
}
