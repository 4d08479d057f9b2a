//! Who does work that can be done side by side.
//!
//! The journal has no threads, but a start has work for several: each segment that lies wholly before the snapshot is
//! read and verified on its own, and what counts is only whether it fits to its neighbours. A shell that has
//! processors to spare lends a [`Crew`]; the simulator lets [`OneByOne`] do it.

/// A piece of work that depends on no other.
pub type Job<'a> = Box<dyn FnOnce() + Send + 'a>;

/// Does jobs, in any order or at the same time.
pub trait Crew {
    /// Returns when all are done.
    fn run(&self, jobs: Vec<Job<'_>>);
}

/// One after the other, in order, on the calling thread.
pub struct OneByOne;

impl Crew for OneByOne {
    fn run(&self, jobs: Vec<Job<'_>>) {
        jobs.into_iter().for_each(|job| job());
    }
}
