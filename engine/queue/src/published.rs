//! The state of one thread, for whoever wants to look, without that thread noticing.
//!
//! # A snapshot: [`published`]
//!
//! A *seqlock*: the writer counts up to an odd number, writes, and counts up to an even one; a reader
//! copies and believes its copy only if the number was even and the same before and after. The writer
//! never waits for a reader, readers never write (so a thousand of them do not disturb each other's caches),
//! and a reader that meets a write tries again.
//!
//! Copying memory while another thread writes it is undefined behaviour, whatever is done with the copy. So
//! the value is kept as words, each an atomic, read and written `Relaxed`, which on any real machine is an
//! ordinary load and store. [`Words`] says how a struct becomes words; the macro [`words!`](crate::words)
//! writes it. The value is rebuilt from any words whatever, also from torn ones, and then
//! thrown away; that is why only types for which *every* word means something implement [`Word`].
//!
//! The four orderings are those of Boehm, "Can seqlocks get along with programming language memory
//! models?" (MSPC 2012), figures 4 and 6; each stands with its reason below.
//!
//! # A mark that only rises: [`Watermark`]
//!
//! Such as the durable LSN: "everything up to here".

use crate::sync::{Acquire, Arc, AtomicU64, Relaxed, Release, fence, yield_now};
use crossbeam::utils::CachePadded;
use std::fmt;
use std::marker::PhantomData;

/// A value that fits one 64-bit word, and for which any word is some value.
pub trait Word: Copy {
    /// As a word.
    fn to_word(self) -> u64;
    /// From any word: total, though what it makes of one that `to_word` did not write is arbitrary.
    fn from_word(word: u64) -> Self;
}

macro_rules! integers_are_words {
    ($($integer:ty),*) => { $(
        impl Word for $integer {
            fn to_word(self) -> u64 {
                self as u64
            }
            fn from_word(word: u64) -> Self {
                word as Self
            }
        }
    )* };
}
integers_are_words!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);

impl Word for bool {
    fn to_word(self) -> u64 {
        u64::from(self)
    }
    fn from_word(word: u64) -> Self {
        word != 0
    }
}

impl Word for f64 {
    fn to_word(self) -> u64 {
        self.to_bits()
    }
    fn from_word(word: u64) -> Self {
        Self::from_bits(word)
    }
}

/// A struct that is a fixed number of words: use [`words!`](crate::words) to write it.
pub trait Words: Copy {
    /// How many words.
    const COUNT: usize;
    /// Gives its words to `put`, first to last, exactly [`Words::COUNT`] of them.
    fn to_words(self, put: impl FnMut(u64));
    /// Takes as many from `next`. Any words make some value: see [`Word`].
    fn from_words(next: impl FnMut() -> u64) -> Self;
}

/// Declares a struct whose fields are [`Word`]s, and implements [`Words`] for it.
///
/// ```
/// engine_queue::words! {
///     /// What the core publishes after each batch.
///     #[derive(Debug, Default)]
///     pub struct Overview {
///         /// Works that wait for a worker.
///         pub queued: u64,
///         /// Whether submissions are refused.
///         pub draining: bool,
///     }
/// }
/// let (mut writer, reader) = engine_queue::published::published(Overview::default());
/// writer.publish(Overview { queued: 7, draining: true });
/// assert_eq!(reader.read().queued, 7);
/// ```
#[macro_export]
macro_rules! words {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$field_meta:meta])* $field_vis:vis $field:ident : $type:ty ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy)]
        $vis struct $name {
            $( $(#[$field_meta])* $field_vis $field: $type, )*
        }

        impl $crate::published::Words for $name {
            const COUNT: usize = [$( stringify!($field) ),*].len();

            fn to_words(self, mut put: impl FnMut(u64)) {
                $( put($crate::published::Word::to_word(self.$field)); )*
            }

            fn from_words(mut next: impl FnMut() -> u64) -> Self {
                // Fields of a struct expression are evaluated in the order in which they are written.
                Self { $( $field: $crate::published::Word::from_word(next()), )* }
            }
        }
    };
}

/// A published value that starts as `initial`, as its writer and a reader to be cloned.
#[must_use]
pub fn published<T: Words>(initial: T) -> (Writer<T>, Reader<T>) {
    let words: Box<[AtomicU64]> = (0..T::COUNT).map(|_| AtomicU64::new(0)).collect();
    let mut places = words.iter();
    initial.to_words(|word| {
        places
            .next()
            .expect("a struct has COUNT words")
            .store(word, Relaxed);
    });
    let shared = Arc::new(CachePadded::new(Shared {
        sequence: AtomicU64::new(0),
        words,
    }));
    (
        Writer {
            shared: Arc::clone(&shared),
            of: PhantomData,
        },
        Reader {
            shared,
            of: PhantomData,
        },
    )
}

struct Shared {
    /// Even: at rest. Odd: being written. It would wrap after centuries.
    sequence: AtomicU64,
    words: Box<[AtomicU64]>,
}

/// The one thread that may publish.
pub struct Writer<T> {
    shared: Arc<CachePadded<Shared>>,
    of: PhantomData<fn(T)>,
}

impl<T: Words> Writer<T> {
    /// Replaces the value. Never waits; costs about a store per word.
    pub fn publish(&mut self, value: T) {
        let Shared { sequence, words } = &**self.shared;
        // Relaxed: this thread alone writes it, so it reads its own last store.
        let at_rest = sequence.load(Relaxed);
        sequence.store(at_rest + 1, Relaxed);
        // Release: a reader that sees any of the words below and then passes its Acquire fence also sees
        // the odd number above, and rejects its copy.
        fence(Release);
        let mut places = words.iter();
        value.to_words(|word| {
            places
                .next()
                .expect("a struct has COUNT words")
                .store(word, Relaxed);
        });
        // Release: a reader that sees this even number sees all the words above.
        sequence.store(at_rest + 2, Release);
    }
}

impl<T> fmt::Debug for Writer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Writer({} publications)",
            self.shared.sequence.load(Relaxed) / 2
        )
    }
}

/// Reads the newest value. Any number of them on any threads.
pub struct Reader<T> {
    shared: Arc<CachePadded<Shared>>,
    of: PhantomData<fn() -> T>,
}

impl<T: Words> Reader<T> {
    /// The newest value, whole. Waits only while a write is under way, some nanoseconds, or until the
    /// writer is scheduled again if it was interrupted just there: not for threads that must not wait.
    #[must_use]
    pub fn read(&self) -> T {
        loop {
            for _ in 0..SPINS {
                if let Some(value) = self.try_read() {
                    return value;
                }
                std::hint::spin_loop();
            }
            yield_now();
        }
    }

    /// The newest value, or `None` if it was being written.
    #[must_use]
    pub fn try_read(&self) -> Option<T> {
        let Shared { sequence, words } = &**self.shared;
        // Acquire: the words below are at least as new as this number says.
        let before = sequence.load(Acquire);
        if before % 2 == 1 {
            return None;
        }
        let mut places = words.iter();
        let value = T::from_words(|| places.next().expect("a struct has COUNT words").load(Relaxed));
        // Acquire: if a word above came from a later write, the number below is at least its odd one
        // (pairs with the fence in `publish`). It also keeps the loads above from sinking below the next.
        fence(Acquire);
        // Relaxed: ordered by the fence.
        (sequence.load(Relaxed) == before).then_some(value)
    }
}

/// Tries before the processor is yielded: a write takes some ten nanoseconds, a pause about as long.
#[cfg(not(loom))]
const SPINS: u32 = 64;
/// loom would try each of them against everything else.
#[cfg(loom)]
const SPINS: u32 = 1;

impl<T> Clone for Reader<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            of: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Reader({} publications)",
            self.shared.sequence.load(Relaxed) / 2
        )
    }
}

/// A number that only rises, such as "durable up to this LSN". Clones are handles of the same mark.
///
/// `Release` when it rises and `Acquire` when it is read: who sees the mark sees everything that was done
/// before it was raised.
#[derive(Clone, Debug)]
pub struct Watermark(Arc<CachePadded<AtomicU64>>);

impl Watermark {
    /// A mark that stands at `start`.
    #[must_use]
    pub fn new(start: u64) -> Self {
        Self(Arc::new(CachePadded::new(AtomicU64::new(start))))
    }

    /// Raises the mark to `to`; does nothing if it stands there or above. Returns whether it rose.
    pub fn raise(&self, to: u64) -> bool {
        // Release: what this thread did before. A maximum rather than a store (5 ns instead of 1, once
        // per commit), so that no mistake of a caller can make a promise taken back.
        self.0.fetch_max(to, Release) < to
    }

    /// Where the mark stands.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        // Acquire: pairs with `raise`.
        self.0.load(Acquire)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    words! {
        #[derive(PartialEq, Debug)]
        struct Mixed {
            small: u8,
            negative: i32,
            flag: bool,
            real: f64,
            size: usize,
        }
    }

    #[test]
    fn every_field_comes_back_as_it_was_published() {
        let first = Mixed {
            small: 255,
            negative: -7,
            flag: true,
            real: -0.5,
            size: usize::MAX,
        };
        let second = Mixed {
            small: 0,
            negative: i32::MAX,
            flag: false,
            real: f64::INFINITY,
            size: 0,
        };
        let (mut writer, reader) = published(first);
        assert_eq!(Mixed::COUNT, 5);
        let another = reader.clone();
        assert_eq!(reader.read(), first);
        writer.publish(second);
        assert_eq!((reader.read(), another.try_read()), (second, Some(second)));
    }

    #[test]
    fn a_reader_does_not_believe_what_is_being_written() {
        let (_writer, reader) = published(Mixed::from_words(|| 0));
        reader.shared.sequence.store(1, Relaxed);
        assert_eq!(reader.try_read(), None);
    }

    #[test]
    fn a_watermark_never_falls() {
        let mark = Watermark::new(5);
        let another = mark.clone();
        assert!(mark.raise(9));
        assert!(!another.raise(7));
        assert!(!mark.raise(9));
        assert_eq!(mark.get(), 9);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::sync::explore::{explore, spawn};

    words! {
        struct Pair {
            left: u64,
            right: u64,
        }
    }

    #[test]
    fn a_value_that_is_believed_is_whole_and_never_older_than_one_seen_before() {
        explore(3, || {
            let (mut writer, reader) = published(Pair { left: 0, right: 0 });
            let other = spawn(move || {
                for n in 1..3 {
                    writer.publish(Pair {
                        left: n,
                        right: n * 10,
                    });
                }
            });
            let mut last = 0;
            for _ in 0..2 {
                if let Some(pair) = reader.try_read() {
                    assert_eq!(pair.right, pair.left * 10, "torn");
                    assert!(pair.left >= last, "back in time");
                    last = pair.left;
                }
            }
            other.join().expect("the writer does not panic");
            assert_eq!(reader.read().left, 2);
        });
    }

    #[test]
    fn who_sees_the_mark_sees_what_was_done_before_it_was_raised() {
        explore(3, || {
            let (mark, done) = (Watermark::new(0), Arc::new(AtomicU64::new(0)));
            let (their_mark, their_done) = (mark.clone(), Arc::clone(&done));
            let other = spawn(move || {
                for n in 1..3 {
                    their_done.store(n, Relaxed);
                    their_mark.raise(n);
                }
            });
            let seen = mark.get();
            assert!(done.load(Relaxed) >= seen);
            other.join().expect("the writer does not panic");
        });
    }
}
