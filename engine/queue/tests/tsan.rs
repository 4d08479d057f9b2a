//! The scenarios of `tests/stress.rs` for ThreadSanitizer, in a plain program: `cargo xtask tsan`.
//!
//! libtest's own threads would be reported, because std is not instrumented. Fewer items than in the
//! stress tests: ThreadSanitizer finds a race from the order of two accesses, not from their meeting.

mod scenarios;

fn main() {
    scenarios::single_items_through_a_ring(20_000);
    scenarios::batches_through_a_ring(100_000);
    scenarios::a_ring_whose_consumer_leaves(20);
    scenarios::many_producers_and_a_sleeper(20_000);
    scenarios::a_core_and_its_journal(20_000);
    scenarios::a_writer_and_its_readers(10_000);
    println!("ThreadSanitizer has seen every scenario to its end.");
}
