//! A bounded queue from many producers to one consumer that sleeps when it has nothing to do.
//!
//! For what comes from the side (the intake, an admin request, a signal, a second link thread): seldom,
//! from anywhere. The items go through crossbeam's `ArrayQueue`, which is 30–100 ns under contention
//! and correct for many producers, where a ring of our own was not measured to win; the sleep is guarded by a
//! [`Doorbell`], which may be shared with other queues of the same consumer.
//!
//! ```
//! # use engine_queue::{doorbell::Doorbell, mailbox::mailbox};
//! # let parker = crossbeam::sync::Parker::new();
//! # let unparker = parker.unparker().clone();
//! let bell = Doorbell::new(move || unparker.unpark());
//! let (sender, mut inbox) = mailbox::<u32>(64, bell);
//! # let producer = std::thread::spawn(move || sender.try_send(7).expect("there is room"));
//! let mut sum = 0;
//! while !inbox.is_finished() {
//!     inbox.take_many(32, |item| sum += item);
//!     if inbox.may_sleep() {
//!         parker.park(); // or mio's `poll`; if it may not sleep, `poll` with a timeout of zero
//!     }
//!     inbox.wake_up();
//! }
//! assert_eq!(sum, 7);
//! # producer.join().expect("the producer does not panic");
//! ```
//!
//! # The atomics
//!
//! - The queue's own are crossbeam's: a push publishes its item to the pop that takes it. A sender that is
//!   interrupted amid its push makes the consumer spin until it is scheduled again: rare, and the price
//!   of many producers.
//! - `senders`: how many are left. The last one to go decrements it with `Release` after its last item,
//!   the consumer reads it with `Acquire`: zero senders and an empty queue is the end.
//! - `closed`: set once when the consumer goes; it only saves a sender from filling a dead queue, so a
//!   sender may see it one item late. What is inside then is dropped with the last handle.

use crate::doorbell::Doorbell;
use crate::sync::{Acquire, Arc, AtomicBool, AtomicUsize, Relaxed, Release};
use crossbeam::queue::ArrayQueue;
use std::fmt;

/// A mailbox with room for `capacity` items (at least 1), as its two ends. `bell` is the consumer's.
///
/// # Panics
/// If `capacity` is zero.
#[must_use]
pub fn mailbox<T: Send>(capacity: usize, bell: Doorbell) -> (Sender<T>, Receiver<T>) {
    let queue = ArrayQueue::new(capacity);
    let shared = Arc::new(Shared {
        queue,
        bell,
        senders: AtomicUsize::new(1),
        closed: AtomicBool::new(false),
    });
    (
        Sender {
            shared: Arc::clone(&shared),
        },
        Receiver { shared },
    )
}

struct Shared<T> {
    queue: ArrayQueue<T>,
    bell: Doorbell,
    senders: AtomicUsize,
    closed: AtomicBool,
}

/// Why an item was not taken; it is handed back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused<T> {
    /// The mailbox is full: the consumer is behind. Say `busy` to whoever asked.
    Full(T),
    /// The consumer is gone and will take nothing more.
    Closed(T),
}

/// An end that puts items in. Clone it for each producer; when the last one is dropped, the consumer is
/// woken to see the end.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Puts one item in, and wakes the consumer if it sleeps.
    ///
    /// # Errors
    /// Gives the item back: [`Refused::Full`] or [`Refused::Closed`].
    pub fn try_send(&self, item: T) -> Result<(), Refused<T>> {
        self.put(item)?;
        self.shared.bell.ring();
        Ok(())
    }

    /// Puts in `items` until one is refused, and wakes the consumer once. Returns how many were put in,
    /// and the one that was refused; those behind it stay in the iterator.
    pub fn try_send_many(&self, items: &mut impl Iterator<Item = T>) -> (usize, Option<Refused<T>>) {
        let mut sent = 0;
        let refused = items.find_map(|item| {
            let refused = self.put(item).err();
            sent += usize::from(refused.is_none());
            refused
        });
        self.shared.bell.ring();
        (sent, refused)
    }

    fn put(&self, item: T) -> Result<(), Refused<T>> {
        // Relaxed: a hint, see the module.
        if self.shared.closed.load(Relaxed) {
            return Err(Refused::Closed(item));
        }
        self.shared.queue.push(item).map_err(Refused::Full)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        // Relaxed: as in a reference count, a new handle comes from one that keeps the count above zero.
        self.shared.senders.fetch_add(1, Relaxed);
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // Release: whoever sees the count sees the items that were sent before it. The counts of several
        // senders form one release sequence, so zero shows the items of them all.
        if self.shared.senders.fetch_sub(1, Release) == 1 {
            self.shared.bell.ring();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Sender({} of {})",
            self.shared.queue.len(),
            self.shared.queue.capacity()
        )
    }
}

/// The end that takes items out.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Receiver<T> {
    /// Takes the oldest item; `None` if there is none now.
    pub fn take(&mut self) -> Option<T> {
        self.shared.queue.pop()
    }

    /// Hands the oldest items, at most `max`, to `each`. Returns how many.
    pub fn take_many(&mut self, max: usize, mut each: impl FnMut(T)) -> usize {
        let mut taken = 0;
        while taken < max {
            let Some(item) = self.take() else { break };
            taken += 1;
            each(item);
        }
        taken
    }

    /// Before the consumer sleeps: announces it and looks for the last time. `true` means sleep; follow it
    /// with [`Receiver::wake_up`]. A consumer of several queues uses [`Doorbell::may_sleep`] itself.
    #[must_use]
    pub fn may_sleep(&self) -> bool {
        self.shared
            .bell
            .may_sleep(|| self.is_empty() && !self.is_finished())
    }

    /// When the consumer is up again: see [`Doorbell::wake_up`].
    pub fn wake_up(&self) {
        self.shared.bell.wake_up();
    }

    /// Items inside, give or take what arrives meanwhile.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.queue.len()
    }

    /// Whether there is nothing to take now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.queue.is_empty()
    }

    /// Whether every sender is gone *and* everything has been taken: nothing will ever come.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        // Acquire: see `Sender::drop`. The count first, the queue after, so that nothing slips between.
        self.shared.senders.load(Acquire) == 0 && self.is_empty()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.closed.store(true, Relaxed);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({} of {})", self.len(), self.shared.queue.capacity())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn silent() -> Doorbell {
        Doorbell::new(|| {})
    }

    #[test]
    fn a_full_mailbox_gives_the_item_back() {
        let (sender, mut receiver) = mailbox(2, silent());
        assert_eq!(sender.try_send(1), Ok(()));
        let mut items = 2..9;
        assert_eq!(sender.try_send_many(&mut items), (1, Some(Refused::Full(3))));
        assert_eq!(items, 4..9);
        assert_eq!(
            (receiver.take(), receiver.take(), receiver.take()),
            (Some(1), Some(2), None)
        );
        assert_eq!(sender.try_send_many(&mut (5..7)), (2, None));
        assert_eq!(receiver.take_many(1, |item| assert_eq!(item, 5)), 1);
        assert_eq!(receiver.len(), 1);
    }

    #[test]
    fn a_mailbox_without_consumer_says_so() {
        let (sender, receiver) = mailbox(2, silent());
        drop(receiver);
        assert_eq!(sender.try_send(1), Err(Refused::Closed(1)));
    }

    #[test]
    fn a_mailbox_is_finished_when_the_last_sender_is_gone_and_all_is_taken() {
        let (sender, mut receiver) = mailbox(2, silent());
        let second = sender.clone();
        drop(sender);
        second.try_send(1).expect("there is room");
        drop(second);
        assert!(!receiver.is_finished());
        assert!(!receiver.may_sleep());
        assert_eq!(receiver.take(), Some(1));
        assert!(receiver.is_finished());
        assert!(!receiver.may_sleep(), "nobody is left to wake the sleeper");
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::sync::Parker;
    use crate::sync::explore::{explore, spawn};

    /// The queue inside is crossbeam's real one, which loom sees as one indivisible step; what is explored
    /// is the announcement of sleep against sending and leaving.
    #[test]
    fn a_sleeping_consumer_gets_every_item_and_the_end() {
        explore(2, || {
            let parker = Parker::new();
            let unparker = parker.unparker().clone();
            let (sender, mut inbox) = mailbox(2, Doorbell::new(move || unparker.unpark()));
            let others = [sender.clone(), sender]
                .map(|sender| spawn(move || sender.try_send(1).expect("there is room")));
            let mut sum = 0;
            while !inbox.is_finished() {
                inbox.take_many(8, |item| sum += item);
                if inbox.may_sleep() {
                    parker.park();
                }
                inbox.wake_up();
            }
            assert_eq!(sum, 2);
            for other in others {
                other.join().expect("a producer does not panic");
            }
        });
    }
}
