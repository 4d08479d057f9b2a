//! The lock-free structures that stand *between* the threads of the engine.
//!
//! One thread owns one table; what crosses from one thread to another crosses here, bounded and in
//! batches. An owned `VecDeque` costs ~1.3 ns a push and pop, a contended lock-free queue 30–80 ns, and
//! waking a sleeping thread on another core and hearing back ~40 µs. So each structure publishes
//! once per *batch*, keeps what each side writes on cache lines of its own, and makes the expensive
//! wake-up only when the other side is asleep.
//!
//! | from → to | structure | when full |
//! | --- | --- | --- |
//! | one thread → one thread, small items | [`spsc`] | the producer keeps the item |
//! | many threads → one thread | [`mailbox`] | the sender gets the item back: answer `busy` |
//! | core → journal, whole batches, buffers come back | [`exchange`] | the core goes on filling its batch |
//! | one thread → whoever looks | [`published`], [`counters`] | cannot be full: the newest value wins |
//! | "something happened, get up" | [`doorbell`] | – |
//!
//! # How the orderings are argued
//!
//! Nearly everything is one pattern, *publication*: the writer prepares plain memory, then stores an
//! index with `Release`; the reader loads the index with `Acquire` and may then read what was prepared.
//! Each ordering is justified where it stands. The one place that publication cannot express, "I go to
//! sleep" against "I have put something in", is the [`doorbell`], which needs `SeqCst` fences.
//!
//! # How they are checked
//!
//! Every structure has a model test against the obvious sequential one (`tests/model.rs`), stress tests
//! with checksums on real threads (`tests/stress.rs`), the same under ThreadSanitizer (`cargo xtask
//! tsan`), and an exhaustive exploration of its interleavings *and of the reorderings that the memory
//! model allows* by loom (`cargo xtask loom`; the modules called `loom_tests`).
//!
//! Not here: anything that knows what it carries, anything that can grow, and queues with many
//! consumers, which an engine of single owners does not need.

pub mod counters;
pub mod doorbell;
pub mod exchange;
pub mod mailbox;
pub mod published;
pub mod spsc;

mod sync;
