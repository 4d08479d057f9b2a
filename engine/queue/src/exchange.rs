//! Whole batches from one thread to another, and their emptied buffers back.
//!
//! The core fills a batch of records while the journal writes the one before it:
//!
//! ```text
//!            publish ──► [ full │ full │ … ] ──► take
//!   core                                             journal: append, fdatasync
//!   fills    ◄── [ empty │ empty │ … ] ◄── give_back
//! ```
//!
//! - **Nothing is allocated in the long run**: a buffer grows once to its usual size and then goes round.
//!   At most `depth` wait, one is being filled and one written, so `depth + 2` buffers exist.
//! - **Full is not a failure**: the core goes on filling the batch that it holds and publishes it later.
//!   So the batches grow just as much as the disk is behind: group commit by itself. The core bounds its batch
//!   by its own limits.
//! - **A sleeping journal is woken, a running one is left alone**: see [`crate::doorbell`]. A publication
//!   to a running journal costs ~10–20 ns and no system call.
//!
//! There is no atomic here: two [`spsc`] rings, a [`Doorbell`], a parker.

use crate::doorbell::Doorbell;
use crate::spsc::{self, Consumer, Producer};
use crate::sync::Parker;

/// Something that is filled, emptied, and filled again.
pub trait Batch: Default + Send {
    /// Empties it and keeps its memory. Called on the *taking* thread, so that dropping what was inside
    /// costs the filling thread nothing.
    fn reset(&mut self);
}

impl<T: Send> Batch for Vec<T> {
    fn reset(&mut self) {
        self.clear();
    }
}

/// An exchange in which up to `depth` full batches wait, as its two ends.
///
/// # Panics
/// If `depth` is not a power of two of at least 2: with one place the filling thread would have to wait for
/// the taking one to come round.
#[must_use]
pub fn exchange<T: Batch>(depth: usize) -> (Filler<T>, Taker<T>) {
    assert!(depth >= 2, "an exchange has at least two places, not {depth}");
    let (full, full_out) = spsc::ring(depth);
    // Every buffer fits at once, `depth + 2` of them, so giving back never fails.
    let (empty_in, empty) = spsc::ring((depth + 2).next_power_of_two());
    let parker = Parker::new();
    let unparker = parker.unparker().clone();
    let bell = Doorbell::new(move || unparker.unpark());
    let filler = Filler {
        full,
        empty,
        bell: bell.clone(),
    };
    (
        filler,
        Taker {
            full: full_out,
            empty: empty_in,
            bell,
            parker,
        },
    )
}

/// What became of a batch that was to be published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Published {
    /// It is on its way, and the caller holds an empty one.
    Sent,
    /// All places are taken, the caller still holds it: go on filling it and try again when the taker has
    /// made progress.
    Full,
    /// The taker is gone, the caller still holds it. What was sent and not yet written is lost.
    Closed,
}

/// The end of the thread that fills batches. Dropping it ends the exchange once all is taken.
#[derive(Debug)]
pub struct Filler<T> {
    full: Producer<T>,
    empty: Consumer<T>,
    bell: Doorbell,
}

impl<T: Batch> Filler<T> {
    /// Sends `*batch` off and leaves an empty one in its place: one that has come back, or else
    /// `T::default()`.
    pub fn publish(&mut self, batch: &mut T) -> Published {
        if self.full.is_closed() {
            return Published::Closed;
        }
        if !self.has_room() {
            return Published::Full;
        }
        let next = self.empty.pop().unwrap_or_default();
        let sent = self.full.push(std::mem::replace(batch, next));
        assert!(sent.is_ok(), "there was room and nobody else fills it");
        self.bell.ring();
        Published::Sent
    }

    /// Whether a publication would find a place now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.full.len() < self.full.capacity()
    }

    /// Batches that wait to be taken; the one being worked on is not counted.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.full.len()
    }
}

impl<T> Drop for Filler<T> {
    fn drop(&mut self) {
        self.full.close();
        self.bell.ring();
    }
}

/// The end of the thread that takes batches.
#[derive(Debug)]
pub struct Taker<T> {
    full: Consumer<T>,
    empty: Producer<T>,
    bell: Doorbell,
    parker: Parker,
}

impl<T: Batch> Taker<T> {
    /// The oldest batch; sleeps while there is none. `None` when the filler is gone and all is taken.
    pub fn take(&mut self) -> Option<T> {
        loop {
            if let Some(batch) = self.full.pop() {
                return Some(batch);
            }
            if self.full.is_finished() {
                return None;
            }
            let Self {
                full, bell, parker, ..
            } = self;
            if bell.may_sleep(|| full.is_empty() && !full.is_finished()) {
                parker.park();
            }
            bell.wake_up();
        }
    }

    /// The oldest batch, `None` if there is none now.
    pub fn try_take(&mut self) -> Option<T> {
        self.full.pop()
    }

    /// Empties a batch and sends its buffer back to be filled again.
    pub fn give_back(&mut self, mut batch: T) {
        batch.reset();
        // Only a stranger's buffer can find no place, one that did not come from this exchange: drop it.
        drop(self.empty.push(batch));
    }

    /// Batches that wait to be taken.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.full.len()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn buffers_go_round_and_none_is_allocated_in_the_long_run() {
        let (mut filler, mut taker) = exchange::<Vec<u32>>(2);
        let mut batch = Vec::with_capacity(64);
        let mut buffers = std::collections::BTreeSet::new();
        for round in 0..100 {
            batch.push(round);
            buffers.insert(batch.as_ptr());
            assert_eq!(filler.publish(&mut batch), Published::Sent);
            assert!(batch.is_empty());
            batch.reserve(64);
            let taken = taker.take().expect("one was published");
            assert_eq!(taken, [round]);
            taker.give_back(taken);
        }
        assert!(buffers.len() <= 4, "{} buffers for a depth of two", buffers.len());
    }

    #[test]
    fn a_full_exchange_leaves_the_batch_with_its_owner_who_goes_on_filling_it() {
        let (mut filler, mut taker) = exchange::<Vec<u32>>(2);
        let mut batch = vec![1];
        assert_eq!(filler.publish(&mut batch), Published::Sent);
        batch.push(2);
        assert_eq!(filler.publish(&mut batch), Published::Sent);
        batch.push(3);
        assert_eq!(
            (filler.publish(&mut batch), filler.waiting()),
            (Published::Full, 2)
        );
        batch.push(4);
        assert_eq!(taker.try_take(), Some(vec![1]));
        assert_eq!(filler.publish(&mut batch), Published::Sent);
        assert_eq!((taker.take(), taker.take()), (Some(vec![2]), Some(vec![3, 4])));
        assert_eq!((taker.try_take(), taker.waiting()), (None, 0));
    }

    #[test]
    fn the_taker_gets_what_was_published_before_the_end() {
        let (mut filler, mut taker) = exchange::<Vec<u32>>(2);
        assert_eq!(filler.publish(&mut vec![1]), Published::Sent);
        drop(filler);
        assert_eq!((taker.take(), taker.take()), (Some(vec![1]), None));
    }

    #[test]
    fn a_filler_whose_taker_is_gone_keeps_its_batch() {
        let (mut filler, taker) = exchange::<Vec<u32>>(2);
        drop(taker);
        let mut batch = vec![1];
        assert_eq!((filler.publish(&mut batch), batch), (Published::Closed, vec![1]));
    }

    #[test]
    fn a_strange_buffer_too_many_is_dropped() {
        let (filler, mut taker) = exchange::<Vec<u32>>(2);
        for _ in 0..9 {
            taker.give_back(vec![1]);
        }
        assert_eq!(filler.empty.len(), 4);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::sync::explore::{explore, spawn};

    #[test]
    fn a_taker_that_sleeps_gets_every_batch_and_the_end() {
        explore(2, || {
            let (mut filler, mut taker) = exchange::<Vec<u32>>(2);
            let other = spawn(move || {
                let mut batch = Vec::new();
                for item in [1, 2] {
                    batch.push(item);
                    assert_eq!(filler.publish(&mut batch), Published::Sent, "two fit");
                    assert!(batch.is_empty(), "what comes back is empty");
                }
            });
            let mut seen: Vec<u32> = Vec::new();
            while let Some(batch) = taker.take() {
                seen.extend(&batch);
                taker.give_back(batch);
            }
            assert_eq!(seen, [1, 2]);
            other.join().expect("the filler does not panic");
        });
    }
}
