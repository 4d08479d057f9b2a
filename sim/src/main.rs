//! `sim`: runs seeds and tells the story of one that fails.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::{Args, Parser, Subcommand, ValueEnum};
use sim::{Mode, Options, Report};

#[derive(Parser)]
#[command(about = "Runs the whole pool in one thread from a seed, under faults")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs one seed, or many
    Run(Run),
}

#[derive(Args)]
struct Run {
    /// The seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Seeds from A up to, but not including, B
    #[arg(long, value_name = "A..B", conflicts_with = "seed", value_parser = range)]
    seeds: Option<std::ops::Range<u64>>,
    /// Print every event; for one seed
    #[arg(long, conflicts_with = "seeds")]
    verbose: bool,
    /// Which part to run
    #[arg(long, value_enum, default_value_t = Part::Both)]
    mode: Part,
    /// Run each seed twice and compare
    #[arg(long)]
    twice: bool,
    /// How to print results
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Threads for many seeds; 0: as many as there are cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// Faults, and what they must not break
    Safety,
    /// No faults; everything has to settle
    Liveness,
    /// One after the other
    Both,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Output {
    Text,
    /// One JSON object a seed
    Json,
}

fn range(text: &str) -> Result<std::ops::Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("give two numbers, as in 0..500")?;
    let number = |text: &str| text.parse().map_err(|error| format!("`{text}`: {error}"));
    Ok(number(from)?..number(to)?)
}

fn main() -> ExitCode {
    let Cli {
        command: Task::Run(task),
    } = Cli::parse();
    let seeds = task.seeds.clone().unwrap_or(task.seed..task.seed + 1);
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicU64::new(0);
    let reached = Mutex::new(BTreeMap::<&str, u64>::new());
    let threads = match task.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.min(usize::try_from(seeds.end - seeds.start).unwrap_or(usize::MAX)) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let report = run(&task, seed);
                    let mut reached = reached.lock().expect("no thread panics while it holds it");
                    for (what, times) in &report.reached {
                        *reached.entry(what).or_default() += times;
                    }
                    print(&task, &report);
                    failed.fetch_add(u64::from(report.violation.is_some()), Ordering::Relaxed);
                }
            });
        }
    });
    let failed = failed.into_inner();
    let reached = reached.into_inner().expect("no thread panics while it holds it");
    if task.output == Output::Text {
        for (what, times) in reached {
            println!("{times:>10} × {what}");
        }
    }
    if task.output == Output::Text && task.seeds.is_some() {
        println!("{} seeds, {failed} failed", seeds.end - seeds.start);
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run(task: &Run, seed: u64) -> Report {
    let mode = match task.mode {
        Part::Safety => Mode::Safety,
        Part::Liveness => Mode::Liveness,
        Part::Both => Mode::Both,
    };
    let options = Options::from_seed(seed).with_mode(mode);
    if task.verbose {
        println!("{options}");
        return sim::run_aloud(&options);
    }
    if task.twice {
        return match sim::run_twice(&options) {
            Ok(report) => report,
            Err(violation) => Report {
                violation: Some(violation),
                ..sim::run(&options)
            },
        };
    }
    sim::run(&options)
}

fn print(task: &Run, report: &Report) {
    if task.output == Output::Json {
        println!(
            "{}",
            serde_json::to_string(report).expect("a report has only names, numbers and text")
        );
        return;
    }
    let Report {
        options,
        hash,
        events,
        virtual_seconds,
        violation,
        story,
        ..
    } = report;
    let seed = options.seed;
    match violation {
        None if task.seeds.is_some() => {}
        None => println!(
            "seed {seed}: fine; {events} events in {virtual_seconds} virtual seconds, hash {hash:016x}\n{options}"
        ),
        Some(violation) => {
            println!("seed {seed}: {} objects: {}", violation.oracle, violation.what);
            println!("{options}");
            if !task.verbose {
                for line in story {
                    println!("  {line}");
                }
            }
            println!("repeat it with: {}", options.command());
        }
    }
}
