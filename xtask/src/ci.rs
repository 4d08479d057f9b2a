//! The steps of CI in the order of what they cost, so that a cheap failure is told first.

use crate::cargo::{cargo, run as command, works};
use crate::{arrows, callgrind, purity, tools};
use anyhow::{Context, Result};
use std::time::Instant;

type Step = (&'static str, fn() -> Result<()>);

/// Each must leave the repository's files as they are.
const STEPS: &[Step] = &[
    ("format", || command(&mut cargo("fmt --all --check"))),
    ("arrows", arrows::run),
    ("purity", purity::run),
    ("clippy", || {
        command(&mut cargo(
            "clippy --workspace --all-targets --locked -- -D warnings",
        ))
    }),
    ("tests", tests),
    ("doc tests", || {
        command(&mut cargo("test --workspace --doc --locked"))
    }),
    ("docs", || {
        command(cargo("doc --workspace --no-deps --locked").env("RUSTDOCFLAGS", "-D warnings"))
    }),
    // In the tests' profile: whether they run, not how fast.
    ("benches run", || {
        command(&mut cargo("test --workspace --bench * --locked"))
    }),
    ("instructions", callgrind::callgrind),
    ("loom", tools::loom),
    ("thread sanitizer", tools::tsan),
    ("dependencies", tools::deny),
    ("fuzz", || tools::fuzz(20)),
];

pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    for (at, (name, step)) in STEPS.iter().enumerate() {
        let begun = Instant::now();
        eprintln!("\n── {}/{} {name}", at + 1, STEPS.len());
        step().with_context(|| format!("step {name}"))?;
        eprintln!("── {name}: {:.1} s", begun.elapsed().as_secs_f64());
    }
    eprintln!(
        "\nAll {} steps passed in {:.0} s.",
        STEPS.len(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// By nextest where it is installed (a process per test, the slow ones side by side), else by cargo.
fn tests() -> Result<()> {
    let mut tests = if works(&mut cargo("nextest --version")) {
        cargo("nextest run --workspace --locked --no-fail-fast")
    } else {
        cargo("test --workspace --lib --bins --tests --locked")
    };
    // A changed snapshot is a failure here, never a new file.
    command(tests.env("INSTA_UPDATE", "no"))
}

/// Writes what [`run`] would complain about.
pub(crate) fn fix() -> Result<()> {
    command(&mut cargo(
        "clippy --workspace --all-targets --fix --allow-dirty --allow-staged",
    ))?;
    command(&mut cargo("fmt --all"))?;
    command(cargo("test --workspace").env("INSTA_UPDATE", "always"))
}
