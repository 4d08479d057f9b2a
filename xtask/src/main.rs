//! What a developer runs: `cargo xtask help`.
//!
//! `ci` is what CI runs and only reads; `fix` writes. Every step of `ci` is a command of its own, so that a
//! failure can be looked at alone. Rules about the code that no lint knows live here as plain
//! functions with tests: [`arrows`] (who may depend on whom) and [`purity`] (what a core may not touch).

mod arrows;
mod callgrind;
mod cargo;
mod ci;
mod purity;
mod tools;

use clap::Parser;
use std::process::ExitCode;

/// Dev tasks of the workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_version_flag = true)]
enum Task {
    /// Everything that CI runs, in order, up to the first failure; changes no file of the repository
    Ci,
    /// Formats, applies what clippy knows how to fix, and accepts the snapshots of the tests
    Fix,
    /// Fails when a crate depends on one that it must not
    Arrows,
    /// Fails when a core reads a clock, the environment, the network, files, threads or chance
    Purity,
    /// Explores the interleavings of the lock-free structures
    Loom,
    /// Runs the lock-free structures under ThreadSanitizer
    Tsan,
    /// Counts the instructions of hot paths under valgrind and prints them
    Callgrind,
    /// Checks licences, advisories, bans and sources of the dependencies (installs cargo-deny)
    Deny,
    /// Runs each fuzz target for a while (installs cargo-fuzz)
    Fuzz {
        /// Seconds for each target
        #[arg(long, default_value_t = 20)]
        seconds: u32,
    },
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Ci => ci::run(),
        Task::Fix => ci::fix(),
        Task::Arrows => arrows::run(),
        Task::Purity => purity::run(),
        Task::Loom => tools::loom(),
        Task::Tsan => tools::tsan(),
        Task::Callgrind => callgrind::callgrind(),
        Task::Deny => tools::deny(),
        Task::Fuzz { seconds } => tools::fuzz(seconds),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
