//! Whether B is slower than A, said so that a script can act on it and a person can doubt it.
//!
//! Measurements meet by scenario, variant, program and durability ([`crate::measurement::Key`]), metrics by name and
//! unit ([`pairs`]). A verdict is given on an interval and not on two numbers ([`verdict`]): worse means that all of the
//! interval lies beyond the threshold on the worse side. What is not shown to be worse or better is the same *as far as
//! these runs can tell*, and where the interval reaches beyond the threshold the reason says so. What may explain a
//! verdict besides the program is said beside it ([`warnings`](mod@warnings)).

mod pairs;
mod print;
mod verdict;
mod warnings;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::measurement;
use crate::statistics;

use pairs::{Pair, alone, by_key, pair};
use print::print;

pub(crate) use verdict::{Judgement, Rules, Verdict, judge};
pub(crate) use warnings::warnings;

/// Name of the JSON format; a changed meaning gets a new one.
const SCHEMA: &str = "workerpool/v1/bench-comparison";

/// Nothing got worse, as far as the runs can tell.
const FINE: i32 = 0;
/// Something got worse.
const REGRESSION: i32 = 1;
/// No verdict: bad input, or nothing to compare. Also what clap ends with on wrong options.
const NOTHING_TO_SAY: i32 = 2;

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit codes:
  0  nothing got worse, as far as these runs can tell
  1  a metric got worse: all of its interval lies beyond the threshold on the worse side
  2  no verdict: a file cannot be read, or no metric of A can be compared with B

The ratio is B to A of the means over runs; its interval is a bootstrap over runs with a fixed seed, so the same files
give the same verdict. At least 3 runs on each side are needed, 5 or more are better. Verdicts:

  worse, better  all of the interval lies beyond the threshold on that side
  same           it does not; \"cannot exclude\" says how much may hide in the spread
  unknown        no interval: too few runs")]
pub(crate) struct Compare {
    /// Measurements to compare with, one JSON line each
    #[arg(value_name = "A.jsonl")]
    a: PathBuf,
    /// Measurements to judge
    #[arg(value_name = "B.jsonl")]
    b: PathBuf,
    /// Only these metrics (repeat, or put commas between); every one of them has to be there
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    metric: Vec<String>,
    /// A change of less is no change; 0.03 is 3 %
    #[arg(long, default_value_t = 0.03, value_name = "FRACTION", value_parser = threshold)]
    threshold: f64,
    /// How sure to be; 0.95 errs once in twenty, and wider means surer
    #[arg(long, default_value_t = 0.95, value_name = "FRACTION", value_parser = confidence)]
    confidence: f64,
    /// Pool the runs of all lines of a scenario, and not only those of the last line
    #[arg(long)]
    all: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table, value_name = "FORMAT")]
    output: Output,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// For people
    Table,
    /// For programs: one JSON object
    Json,
}

fn threshold(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..1.0).contains(&value) {
        Ok(value)
    } else {
        Err("must be 0 or more and below 1".to_owned())
    }
}

fn confidence(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if value > 0.5 && value < 1.0 {
        Ok(value)
    } else {
        Err("must lie between 0.5 and 1, such as 0.95".to_owned())
    }
}

/// All of a comparison, as JSON.
#[derive(Serialize)]
struct Comparison {
    schema: &'static str,
    a: String,
    b: String,
    threshold: f64,
    confidence: f64,
    resamples: usize,
    regressions: usize,
    /// Measurements of one file that have no counterpart, and lines that were passed over.
    notes: Vec<String>,
    pairs: Vec<Pair>,
}

/// Compares, prints, and says with which code to exit.
pub(crate) fn run(arguments: &Compare) -> i32 {
    match compare(arguments) {
        Ok(comparison) => {
            print(&comparison, arguments.output);
            if comparison.regressions > 0 {
                REGRESSION
            } else {
                FINE
            }
        }
        Err(error) => {
            eprintln!("Error: {error:#}");
            NOTHING_TO_SAY
        }
    }
}

fn compare(arguments: &Compare) -> Result<Comparison> {
    let rules = Rules {
        threshold: arguments.threshold,
        confidence: arguments.confidence,
    };
    let (a, b) = (measurement::read(&arguments.a)?, measurement::read(&arguments.b)?);
    let mut notes = [a.notes, b.notes].concat();
    let sides = [a.measurements, b.measurements].map(|lines| by_key(lines, arguments.all));
    notes.extend(alone(&sides));
    let [a, b] = sides;
    let pairs: Vec<Pair> = a
        .iter()
        .filter_map(|(key, a)| Some(pair(key, a, b.get(key)?, &arguments.metric, rules)))
        .collect();
    let verdicts = || {
        pairs
            .iter()
            .flat_map(|pair| &pair.metrics)
            .map(|metric| metric.judgement.verdict)
    };
    for name in &arguments.metric {
        if !pairs
            .iter()
            .flat_map(|pair| &pair.metrics)
            .any(|metric| metric.metric == *name)
        {
            bail!("no scenario of both files has a metric \"{name}\" that is better higher or lower");
        }
    }
    if verdicts().count() == 0 {
        bail!(
            "{} and {} have no scenario, variant, system and durability in common with a metric to compare{}",
            arguments.a.display(),
            arguments.b.display(),
            listed(&notes)
        );
    }
    if verdicts().all(|verdict| verdict == Verdict::Unknown) {
        bail!("nothing can be judged: {}", first_reason(&pairs));
    }
    Ok(Comparison {
        schema: SCHEMA,
        a: arguments.a.display().to_string(),
        b: arguments.b.display().to_string(),
        threshold: rules.threshold,
        confidence: rules.confidence,
        resamples: statistics::RESAMPLES,
        regressions: verdicts().filter(|verdict| *verdict == Verdict::Worse).count(),
        notes,
        pairs,
    })
}

fn listed(notes: &[String]) -> String {
    notes.iter().map(|note| format!("\n  {note}")).collect()
}

fn first_reason(pairs: &[Pair]) -> String {
    let mut metrics = pairs.iter().flat_map(|pair| &pair.metrics);
    metrics
        .find_map(|metric| {
            Some(format!(
                "{}: {}",
                metric.metric,
                metric.judgement.reason.as_ref()?
            ))
        })
        .unwrap_or_default()
}
