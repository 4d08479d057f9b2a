//! `pool-bench`: how fast a real pool is, measured from outside, over the real wire.
//!
//! ```text
//!  scenario (TOML) ─► run ─► pool: engine and workers, each a process     load: clients, here
//!                      │       ▲ faults, samples                             │
//!                      └─► measurement (one JSON line) ◄─────────────────────┘
//! ```
//!
//! Engine, workers and generator share the machine; a measurement says what each of them used.

mod compare;
mod load;
mod machine;
mod measurement;
mod numbers;
mod page;
mod peers;
mod pool;
mod run;
mod scenario;
mod statistics;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::pool::ServeArguments;
use crate::scenario::{STANDARD, Scenario};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const AFTER_HELP: &str = "\
Examples:
  pool-bench throughput                               works per second, all variants
  pool-bench throughput --variant arrays --set load.works=500000 --set runs.count=5
  pool-bench latency >> perf/baselines/latency.jsonl  the JSON lines go to standard output
  pool-bench list                                     what there is
  pool-bench run my-scenario.toml                     one of your own

Build everything first: cargo build --release --workspace --bins

Exit codes: 0 measured; 1 failed; 2 wrong usage.";

/// Measures a pool from outside.
///
/// Each scenario starts a pool-engine (the one beside this program) on a folder of its own, workers in processes of
/// their own, and clients inside this one. What people want to know goes to standard error, one JSON line per variant
/// to standard output.
#[derive(Parser)]
#[command(name = "pool-bench", version, max_term_width = 110, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a scenario, by its name or the path of its file; `pool-bench NAME` does the same
    Run(RunArguments),
    /// List the standard scenarios with their variants
    List,
    /// Print the file of a standard scenario, to begin one of your own with
    Show {
        /// Its name
        name: String,
    },
    /// Whether B is slower than A, with an interval for every number; exit code 1 if it is
    Compare(compare::Compare),
    /// Measurements as one HTML file with charts, which needs nothing else
    Page(page::Page),
    /// Other systems on the same job, on this machine: Redis, NATS, beanstalkd, RabbitMQ, BullMQ, HyperQueue
    ///
    /// Starts each server by itself. One JSON line per peer and variant goes to standard output. A peer that is not
    /// installed is listed as absent; `--install` brings it into a folder, without touching the machine.
    Peers(peers::Peers),
    /// Workers of a scenario
    #[command(hide = true)]
    Workers(ServeArguments),
    #[command(external_subcommand)]
    Named(Vec<String>),
}

#[derive(Args, Clone, Debug)]
struct RunArguments {
    /// A standard scenario, or the path of a .toml file
    scenario: String,
    /// Only variants whose name contains this
    #[arg(long, value_name = "TEXT")]
    variant: Option<String>,
    /// Another value for a field, such as load.works=100000; may be repeated
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// Folder for the engine's files; a temporary one beneath it is made and removed. It must be on the disk that is to
    /// be measured
    #[arg(long, default_value = "target/bench", value_name = "DIR")]
    data: PathBuf,
}

/// The arguments of `pool-bench NAME …`.
#[derive(Parser)]
#[command(name = "pool-bench", max_term_width = 110)]
struct NamedArguments {
    #[command(flatten)]
    run: RunArguments,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Run(arguments) => run_scenario(&arguments),
        Command::Named(words) => {
            let words = std::iter::once("pool-bench".to_owned()).chain(words);
            run_scenario(&NamedArguments::parse_from(words).run)
        }
        Command::List => list(),
        Command::Show { name } => show(&name),
        Command::Compare(arguments) => std::process::exit(compare::run(&arguments)),
        Command::Page(arguments) => page::run(&arguments),
        Command::Peers(arguments) => peers::run(&arguments),
        Command::Workers(arguments) => pool::serve(&arguments),
    }
}

fn run_scenario(arguments: &RunArguments) -> Result<()> {
    let mut variants = Scenario::load(&arguments.scenario, &arguments.set)?;
    if let Some(wanted) = &arguments.variant {
        let names: Vec<String> = variants.iter().map(|variant| variant.variant.clone()).collect();
        variants.retain(|variant| variant.variant.contains(wanted.as_str()));
        anyhow::ensure!(
            !variants.is_empty(),
            "no variant of {} has {wanted:?} in its name; there are {}",
            arguments.scenario,
            names.join(", ")
        );
    }
    for scenario in variants {
        eprintln!("{}: {}", scenario.title(), scenario.about);
        let measurement = run::run(&scenario, &arguments.data)?;
        for (name, metric) in &measurement.metrics {
            eprintln!(
                "  {name:36} {}",
                summary(&metric.runs, &metric.unit).unwrap_or_default()
            );
        }
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &measurement)?;
        writeln!(out)?;
    }
    Ok(())
}

fn summary(runs: &[f64], unit: &str) -> Option<String> {
    let middle = numbers::with_unit(statistics::median(runs)?, unit);
    let (least, greatest) = statistics::ends(runs)?;
    Some(match runs.len() {
        1 => middle,
        count => format!(
            "{middle} (median of {count}; {} to {})",
            numbers::short(least),
            numbers::short(greatest)
        ),
    })
}

fn list() -> Result<()> {
    for standard in STANDARD {
        let variants = Scenario::load(standard.name, &[])?;
        println!("{:15} {}", standard.name, variants[0].about);
        for variant in variants.iter().filter(|variant| !variant.variant.is_empty()) {
            println!("{:15}   {}", "", variant.variant);
        }
    }
    Ok(())
}

fn show(name: &str) -> Result<()> {
    let standard = STANDARD.iter().find(|standard| standard.name == name);
    let standard =
        standard.with_context(|| format!("there is no scenario {name:?}; see `pool-bench list`"))?;
    print!("{}", standard.text);
    Ok(())
}
