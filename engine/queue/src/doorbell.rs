//! "There is something for you", said to a thread that may be asleep, without waking one that is not.
//!
//! A wake-up is a system call that costs 20–40 µs of both cores. Under load the consumer is awake
//! anyway, so those who put something in ask a flag first. The danger is the *lost wake-up*:
//!
//! ```text
//! consumer: nothing there?  yes ─────────────────────────────► sleep (for ever)
//! producer:                       put in · asleep? no, be quiet
//! ```
//!
//! So the consumer says that it is going to sleep *before* it looks for the last time:
//!
//! ```text
//! consumer:  asleep = true ─ fence ─ anything there? ── no ──► sleep         yes ─► go on
//! producer:  put in ──────── fence ─ asleep? ── yes, and I am the one who clears it ──► wake
//! ```
//!
//! Each side writes one place and then reads the other's. The fences forbid the one bad outcome, that
//! both read the old value: whichever fence is second in the single order of all `SeqCst` fences, that
//! side sees what the other wrote before its own. (Release and Acquire do not suffice: they order what
//! comes *before* a store and *after* a load, and here a store must come before a *load* of something
//! else. This is Dekker's pattern; loom finds the lost wake-up when either fence is removed.)
//!
//! `asleep` itself is `Relaxed` everywhere: it carries no data, the fences order it, and what was put in
//! is published by the structure it was put into. A bell may ring for nothing (a producer that was slow
//! between reading the flag and waking); it never fails to ring.

use crate::sync::{Arc, AtomicBool, Relaxed, SeqCst, fence};
use crossbeam::utils::CachePadded;
use std::fmt;

/// How to wake the thread behind a [`Doorbell`]: an `mio::Waker`, an eventfd, an unparker.
///
/// A wake-up must *stick*: one that comes just before the thread sleeps must end that sleep at once. All
/// of the above do. It is called from many threads, and only when the consumer is going to sleep.
pub trait Wake: Send + Sync {
    /// Ends the present or else the next sleep of the thread.
    fn wake(&self);
}

impl<F: Fn() + Send + Sync> Wake for F {
    fn wake(&self) {
        self();
    }
}

/// The bell of one consuming thread. Clones are handles of the same bell; one bell may serve any number
/// of queues that the thread reads, because ringing it says "look", not "look there".
#[derive(Clone)]
pub struct Doorbell(Arc<Bell>);

struct Bell {
    /// Whether the consumer has said that it goes to sleep and nobody has taken it on himself to wake it.
    /// On a line of its own: every producer reads it after every batch, and it seldom changes.
    asleep: CachePadded<AtomicBool>,
    wake: Box<dyn Wake>,
}

impl Doorbell {
    /// A bell that calls `wake` when it rings for a sleeper.
    #[must_use]
    pub fn new(wake: impl Wake + 'static) -> Self {
        Self(Arc::new(Bell {
            asleep: CachePadded::new(AtomicBool::new(false)),
            wake: Box::new(wake),
        }))
    }

    /// For producers, *after* what they put in is published: wakes the consumer if it sleeps.
    ///
    /// Costs a fence (~2–10 ns) when the consumer is awake: once per batch, not per item.
    #[inline]
    pub fn ring(&self) {
        // What was put in comes before the reading of the flag: see the module.
        fence(SeqCst);
        // The load first, because it leaves the line shared among the producers; the exchange decides
        // who of several makes the one system call, and writes nothing if another was first.
        let asleep = &self.0.asleep;
        if asleep.load(Relaxed) && asleep.compare_exchange(true, false, Relaxed, Relaxed).is_ok() {
            self.0.wake.wake();
        }
    }

    /// For the one consumer, before it sleeps: announces the sleep, then looks for the last time by
    /// calling `nothing_to_do` (which must look at *every* queue that this bell serves, also at whether
    /// it was closed). Returns its answer: `true` means sleep, `false` means do not block.
    ///
    /// Follow it with [`Doorbell::wake_up`], whether it slept or not.
    #[must_use]
    pub fn may_sleep(&self, nothing_to_do: impl FnOnce() -> bool) -> bool {
        self.0.asleep.store(true, Relaxed);
        // The announcement comes before the last look: see the module.
        fence(SeqCst);
        nothing_to_do()
    }

    /// For the consumer, when it is up again: from here on nobody needs to wake it.
    ///
    /// Forgetting it costs a useless system call, not correctness.
    pub fn wake_up(&self) {
        self.0.asleep.store(false, Relaxed);
    }
}

impl fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asleep = self.0.asleep.load(Relaxed);
        f.debug_struct("Doorbell")
            .field("asleep", &asleep)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    fn counted() -> (Doorbell, Arc<AtomicU32>) {
        let wakes = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&wakes);
        let bell = Doorbell::new(move || {
            count.fetch_add(1, Relaxed);
        });
        (bell, wakes)
    }

    #[test]
    fn a_bell_is_silent_while_the_consumer_is_awake() {
        let (bell, wakes) = counted();
        bell.ring();
        assert!(bell.may_sleep(|| true));
        bell.wake_up();
        bell.ring();
        assert_eq!(wakes.load(Relaxed), 0);
    }

    #[test]
    fn of_many_who_ring_for_one_sleep_only_the_first_wakes() {
        let (bell, wakes) = counted();
        assert!(bell.may_sleep(|| true));
        let other = bell.clone();
        for _ in 0..5 {
            bell.ring();
            other.ring();
        }
        assert_eq!(wakes.load(Relaxed), 1);
    }

    #[test]
    fn the_last_look_comes_after_the_announcement() {
        let (bell, wakes) = counted();
        let slept = bell.may_sleep(|| {
            bell.ring();
            false
        });
        assert!(!slept);
        assert_eq!(
            wakes.load(Relaxed),
            1,
            "who rings between the announcement and the look is heard"
        );
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::sync::explore::{explore, spawn};
    use crate::sync::{AtomicUsize, Parker};

    /// Takes until `count` has been put in. `inbox` stands for any queue: it is Relaxed, so that only the
    /// bell's own fences can prevent the lost wake-up, which loom would report as a deadlock.
    fn consume(inbox: &AtomicUsize, bell: &Doorbell, parker: &Parker, count: usize) {
        loop {
            let seen = inbox.load(Relaxed);
            if seen == count {
                return;
            }
            if bell.may_sleep(|| inbox.load(Relaxed) == seen) {
                parker.park();
            }
            bell.wake_up();
        }
    }

    fn scene() -> (Arc<AtomicUsize>, Doorbell, Parker) {
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        (
            Arc::new(AtomicUsize::new(0)),
            Doorbell::new(move || unparker.unpark()),
            parker,
        )
    }

    #[test]
    fn no_wake_up_is_lost_with_one_producer() {
        explore(3, || {
            let (inbox, bell, parker) = scene();
            let (their_inbox, their_bell) = (Arc::clone(&inbox), bell.clone());
            let other = spawn(move || {
                for _ in 0..2 {
                    their_inbox.fetch_add(1, Relaxed);
                    their_bell.ring();
                }
            });
            consume(&inbox, &bell, &parker, 2);
            other.join().expect("the producer does not panic");
        });
    }

    #[test]
    fn no_wake_up_is_lost_with_two_producers() {
        explore(2, || {
            let (inbox, bell, parker) = scene();
            let others = [(); 2].map(|()| {
                let (inbox, bell) = (Arc::clone(&inbox), bell.clone());
                spawn(move || {
                    inbox.fetch_add(1, Relaxed);
                    bell.ring();
                })
            });
            consume(&inbox, &bell, &parker, 2);
            for other in others {
                other.join().expect("a producer does not panic");
            }
        });
    }
}
