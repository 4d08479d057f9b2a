//! The primitives, from `std` and crossbeam, or from loom when a test explores interleavings.
//!
//! loom replaces what decides about ordering: atomics, fences, reference counts, parking, and the cell,
//! so that it sees each access to the memory that the atomics protect.

#[cfg(not(loom))]
mod real {
    pub(crate) use crossbeam::sync::Parker;
    pub(crate) use std::sync::Arc;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, fence};
    pub(crate) use std::thread::yield_now;

    /// `std`'s cell with the closure interface of loom's.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// A pointer for reading: loom checks that nobody writes meanwhile.
        #[inline]
        pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
            read(self.0.get())
        }

        /// A pointer for writing: loom checks that nobody else reads or writes meanwhile.
        #[inline]
        pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
            write(self.0.get())
        }
    }
}

#[cfg(loom)]
mod model {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, fence};
    pub(crate) use loom::thread::yield_now;

    /// crossbeam's `Parker` as its documentation specifies it: a token that `unpark` leaves and `park`
    /// takes, waiting for it if need be. Unlike crossbeam's it belongs to the thread that makes it.
    #[derive(Debug)]
    pub(crate) struct Parker(Unparker);

    /// The handle that leaves the token.
    #[derive(Clone, Debug)]
    pub(crate) struct Unparker(loom::thread::Thread);

    impl Parker {
        pub(crate) fn new() -> Self {
            Self(Unparker(loom::thread::current()))
        }

        pub(crate) fn unparker(&self) -> &Unparker {
            &self.0
        }

        #[expect(clippy::unused_self, reason = "crossbeam's takes it")]
        pub(crate) fn park(&self) {
            loom::thread::park();
        }
    }

    impl Unparker {
        pub(crate) fn unpark(&self) {
            self.0.unpark();
        }
    }
}

#[cfg(loom)]
pub(crate) use model::*;
#[cfg(not(loom))]
pub(crate) use real::*;
pub(crate) use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

/// What the loom tests share.
#[cfg(all(test, loom))]
pub(crate) mod explore {
    pub(crate) use loom::thread::spawn;

    /// Every interleaving of `test` in which threads are preempted at most `preemptions` times (they
    /// may give way by themselves as often as they like). Two find nearly every known bug of this kind
    /// (Musuvathi & Qadeer, "Iterative context bounding", PLDI 2007); three is our habit.
    pub(crate) fn explore(preemptions: usize, test: impl Fn() + Send + Sync + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(preemptions);
        model.check(test);
    }
}
