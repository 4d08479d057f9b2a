//! The simulator: the pool's cores in one thread, under faults, from one seed.
//!
//! The real scheduler (`engine-core`) writes through the real journal (`engine-journal`) to a disk that loses
//! what was not synced; real agents (`worker-core`) run works that only take time; client models submit, follow,
//! cancel and retry. In some runs there is a marketplace too: the pool's real reconciler and the real chain side of
//! workers deal with orders on a model chain. Time is virtual, the network delays, cuts and partitions, processes die
//! and start again, chains are reorganised, and hostile peers lie. Everything follows from the seed, so that a run that fails can be repeated event for event.
//!
//! ```text
//!             ┌── clock: (time, sequence) ──┐
//!  faults ──► │ world                       │ ──► trace: a hash, and the story of a failure
//!             │  engine ⇄ net ⇄ workers     │
//!             │  (disk)        ⇄ clients    │ ──► oracle/*: what must never happen, one file each
//!             │     ⇅            ⇅          │
//!             │    pool ⇄ market/chain      │
//!             └─────────────────────────────┘
//! ```
//!
//! A run has two parts. *Safety*: faults as the seed mixes them; nothing that was promised may be broken.
//! *Liveness*: the faults stop; everything has to settle or fail with a reason, and every client has to learn it.
//! At the end the engine loses power once more, and what the disk holds is compared with all promises.
//!
//! What it deliberately does not do: sockets, threads, encryption, executors, wall-clock time. Those are tested
//! with real processes elsewhere.

mod client;
mod clock;
mod engine;
mod faults;
mod hostile;
mod market;
mod net;
mod oracle;
mod sabotage;
mod story;
mod trace;
mod worker;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use serde::Serialize;

pub use faults::{Fault, MarketOptions, Mode, Options, Sabotage};
pub use oracle::Violation;

use trace::Trace;
use wire_protocol::ids::WorkId;
use world::World;

/// Lines of the story of a failure.
const STORY_LINES: usize = 50;

/// How a run ended.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was run.
    pub options: Options,
    /// A hash of everything that happened: equal for two runs with equal options.
    pub hash: u64,
    /// Events.
    pub events: u64,
    /// Virtual time, in seconds.
    pub virtual_seconds: u64,
    /// How often rare things happened, by name.
    pub reached: BTreeMap<&'static str, u64>,
    /// What went wrong.
    pub violation: Option<Violation>,
    /// What led to it: the last events about the work, or the last of all.
    pub story: Vec<String>,
}

/// Runs what the options say, and once more for the story if it fails.
#[must_use]
pub fn run(options: &Options) -> Report {
    let report = run_once(options, Trace::new(false, false));
    if report.violation.is_none() {
        return report;
    }
    let told = run_once(options, Trace::new(true, false));
    if told.hash == report.hash { told } else { report }
}

/// Runs what the options say and prints the story as it goes.
#[must_use]
pub fn run_aloud(options: &Options) -> Report {
    run_once(options, Trace::new(true, true))
}

/// Runs twice and compares.
///
/// # Errors
/// The two runs differ: something is not in the seed.
pub fn run_twice(options: &Options) -> Result<Report, Violation> {
    let (one, other) = (run(options), run(options));
    if one.hash == other.hash && one.events == other.events {
        return Ok(one);
    }
    let what = format!(
        "two runs of one seed differ: {} events with hash {:016x}, {} with {:016x}",
        one.events, one.hash, other.events, other.hash
    );
    Err(Violation::new("determinism", None, what))
}

fn run_once(options: &Options, trace: Trace) -> Report {
    let mut world = World::new(options.clone(), trace);
    let violation = match catch(|| world.run()) {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(violation),
        Err(panic) => Some(Violation::new("panic", None, panic)),
    };
    let trace = &world.ctx.trace;
    let story = match &violation {
        None => Vec::new(),
        Some(violation) => trace.story(violation.work.map(WorkId), STORY_LINES),
    };
    Report {
        options: options.clone(),
        hash: trace.hash(),
        events: trace.events(),
        virtual_seconds: world.ctx.clock.now() / clock::SEC,
        reached: trace.reached().clone(),
        violation,
        story,
    }
}

thread_local! {
    /// What a panic in this thread said, while somebody wants to know.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs, and gives back what a panic says: the assertions of the cores are oracles too.
fn catch<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let wanted = PANIC.with_borrow_mut(|said| said.as_mut().map(|said| *said = info.to_string()));
            if wanted.is_none() {
                before(info);
            }
        }));
    });
    PANIC.set(Some(String::new()));
    let outcome = panic::catch_unwind(AssertUnwindSafe(run));
    let said = PANIC.take().unwrap_or_default();
    outcome.map_err(|_| said)
}
