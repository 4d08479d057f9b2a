//! Many seeds, from a fixed base, so that the test run is the same everywhere. `SIM_SEED_BASE` explores others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sim::{Mode, Options, Report};

/// Seeds of a test run.
const SEEDS: u64 = 500;

fn base() -> u64 {
    std::env::var("SIM_SEED_BASE").map_or(0, |base| base.parse().expect("SIM_SEED_BASE is a number"))
}

/// Runs seeds on two threads and gives each report to `look`.
fn run_all(seeds: std::ops::Range<u64>, run: impl Fn(u64) -> Report + Sync, look: impl Fn(&Report) + Sync) {
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    look(&run(seed));
                }
            });
        }
    });
}

fn fails(report: &Report) -> Option<String> {
    let violation = report.violation.as_ref()?;
    Some(format!(
        "seed {}: {} objects: {}\n{}\n  {}\nrepeat it with: {}",
        report.options.seed,
        violation.oracle,
        violation.what,
        report.options,
        report.story.join("\n  "),
        report.options.command()
    ))
}

#[test]
fn nothing_that_was_promised_is_broken_and_everything_settles() {
    let failures = Mutex::new(Vec::new());
    let reached = Mutex::new(BTreeMap::<&str, u64>::new());
    let run = |seed| sim::run(&Options::from_seed(seed));
    let base = base();
    run_all(base..base + SEEDS, run, |report| {
        failures.lock().expect("nobody panics").extend(fails(report));
        let mut all = reached.lock().expect("nobody panics");
        for (what, times) in &report.reached {
            *all.entry(what).or_default() += times;
        }
    });
    let failures = failures.into_inner().expect("nobody panics");
    assert!(
        failures.is_empty(),
        "{} of {SEEDS} seeds failed; the first:\n{}",
        failures.len(),
        failures[0]
    );
    // Seeds that do not come to where bugs live prove nothing.
    let reached = reached.into_inner().expect("nobody panics");
    let wanted = [
        "a bag forgotten",
        "a busy answer",
        "a commit fails",
        "a crash during a commit",
        "a follower lags",
        "a forgotten lease adopted",
        "a reorganisation followed",
        "a stake seized",
        "a worker paid",
        "a worker that is too late",
        "an order claimed",
        "an order completed",
        "the pool's process killed",
        "a full link",
        "a lease abandoned",
        "a lease expired",
        "a lease retracted",
        "a lease returned by a draining worker",
        "a stale report",
        "a start fails",
        "a start from a snapshot",
        "a torn tail",
        "a trimmed journal",
        "a work quarantined",
        "a worker that takes no work",
        "an attempt killed",
        "a grant given",
        "a drain over",
        "a worker that is told why it idles",
        "output of a work that runs",
        "the end of a work's output",
        "intake finds the disk full",
        "records lost that nobody was promised",
        "the journal is behind",
        "works cancelled",
        "works expired",
        "works revived",
    ];
    let missing: BTreeSet<_> = wanted
        .iter()
        .filter(|what| !reached.contains_key(**what))
        .collect();
    assert!(
        missing.is_empty(),
        "no seed reached {missing:?}; reached: {reached:#?}"
    );
}

#[test]
fn a_seed_is_repeated_event_for_event() {
    run_all(
        0..40,
        |seed| {
            sim::run_twice(&Options::from_seed(seed))
                .unwrap_or_else(|differs| panic!("seed {seed}: {differs:?}"))
        },
        |report| assert!(report.events > 100, "seed {} does nothing", report.options.seed),
    );
}

#[test]
fn without_faults_everything_settles() {
    run_all(
        0..60,
        |seed| sim::run(&Options::from_seed(seed).with_mode(Mode::Liveness)),
        |report| assert_eq!(fails(report), None),
    );
}

#[test]
fn under_faults_alone_nothing_is_broken() {
    run_all(
        0..60,
        |seed| sim::run(&Options::from_seed(seed).with_mode(Mode::Safety)),
        |report| assert_eq!(fails(report), None),
    );
}
