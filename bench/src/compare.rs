//! Whether B is slower than A, said so that a script can act on it and a person can doubt it.
//!
//! Measurements meet by scenario, variant, program and durability ([`crate::measurement::Key`]); metrics meet by name. A verdict
//! is given on an interval and not on two numbers ([`statistics`]): worse means that all of the interval lies beyond
//! the threshold on the worse side. What is not shown to be worse or better is the same *as far as these runs can
//! tell*, and where the interval reaches beyond the threshold the reason says so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::measurement::{self, Better, Key, Measurement, Metric};
use crate::numbers::{percent, ratio, short};
use crate::statistics::{self, RUNS_MIN};

/// Name of the JSON format; a changed meaning gets a new one.
const SCHEMA: &str = "workerpool/v1/bench-comparison";

/// Nothing got worse, as far as the runs can tell.
const FINE: i32 = 0;
/// Something got worse.
const REGRESSION: i32 = 1;
/// No verdict: bad input, or nothing to compare. Also what clap ends with on wrong options.
const NOTHING_TO_SAY: i32 = 2;

/// A memory that differs by less is the same machine after another boot.
const MEMORY_TOLERANCE: f64 = 0.02;

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

/// What two numbers are judged by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) threshold: f64,
    pub(crate) confidence: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            threshold: 0.03,
            confidence: 0.95,
        }
    }
}

#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Better,
    Worse,
    Same,
    Unknown,
}

impl Verdict {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Same => "same",
            Self::Unknown => "unknown",
        }
    }
}

/// What can be said of one metric.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Judgement {
    /// Of the means, B to A; `None`: A is zero, or there are no runs.
    pub(crate) ratio: Option<f64>,
    /// In JSON an upper end without bound is `null`.
    pub(crate) interval: Option<(f64, f64)>,
    pub(crate) verdict: Verdict,
    /// Why there is no verdict, or what the verdict leaves open.
    pub(crate) reason: Option<String>,
}

/// Judges one metric of B by its runs in A.
pub(crate) fn judge(a: &[f64], b: &[f64], better: Better, rules: Rules) -> Judgement {
    let unknown = |ratio, reason: String| Judgement {
        ratio,
        interval: None,
        verdict: Verdict::Unknown,
        reason: Some(reason),
    };
    let (Some(mean_a), Some(mean_b)) = (statistics::mean(a), statistics::mean(b)) else {
        return unknown(None, "a side has no runs".to_owned());
    };
    if a.iter().chain(b).any(|value| *value < 0.0) {
        return unknown(None, "a ratio of numbers below zero means nothing".to_owned());
    }
    let ratio = (mean_a > 0.0).then(|| mean_b / mean_a);
    let Some(interval) = statistics::ratio_interval(a, b, rules.confidence) else {
        let few = format!(
            "{} and {} runs; an interval needs {RUNS_MIN} on each side",
            a.len(),
            b.len()
        );
        return unknown(ratio, few);
    };
    if mean_a == 0.0 {
        return from_zero(b, better);
    }
    let verdict = place(interval, better, rules.threshold);
    Judgement {
        ratio,
        interval: Some(interval),
        verdict,
        reason: (verdict == Verdict::Same)
            .then(|| hidden(interval, rules.threshold))
            .flatten(),
    }
}

/// A is zero in every run: there is no ratio, but lost works that appear are worse nevertheless.
fn from_zero(b: &[f64], better: Better) -> Judgement {
    let judgement = |ratio, verdict, reason: &str| Judgement {
        ratio,
        interval: None,
        verdict,
        reason: Some(reason.to_owned()),
    };
    if b.iter().all(|value| *value == 0.0) {
        return judgement(Some(1.0), Verdict::Same, "zero in every run");
    }
    if b.contains(&0.0) {
        return judgement(None, Verdict::Unknown, "A is zero in every run, B in some");
    }
    let verdict = match better {
        Better::Higher => Verdict::Better,
        Better::Lower => Verdict::Worse,
        Better::Neither => Verdict::Unknown,
    };
    judgement(None, verdict, "A is zero in every run, B in none")
}

fn place((low, high): (f64, f64), better: Better, threshold: f64) -> Verdict {
    match better {
        Better::Neither => Verdict::Unknown,
        Better::Higher if low > 1.0 + threshold => Verdict::Better,
        Better::Higher if high < 1.0 - threshold => Verdict::Worse,
        Better::Lower if low > 1.0 + threshold => Verdict::Worse,
        Better::Lower if high < 1.0 - threshold => Verdict::Better,
        Better::Higher | Better::Lower => Verdict::Same,
    }
}

/// What an interval that reaches beyond the threshold cannot exclude.
fn hidden((low, high): (f64, f64), threshold: f64) -> Option<String> {
    let whole = |change: f64| {
        format!(
            "{}{}",
            if change > 0.0 { "+" } else { "−" },
            rounded(change.abs())
        )
    };
    let ends = [low - 1.0, high - 1.0]
        .into_iter()
        .filter(|end| end.abs() > threshold);
    let ends: Vec<String> = ends.map(whole).collect();
    (!ends.is_empty()).then(|| format!("cannot exclude {}", ends.join(" or ")))
}

fn rounded(fraction: f64) -> String {
    if fraction.is_finite() {
        percent((fraction * 1000.0).round() / 1000.0)
    } else {
        "∞".to_owned()
    }
}

/// What differs between two measurements besides the program, so that a verdict may be about that.
///
/// Each measurement comes with what it is called, such as A and B.
pub(crate) fn warnings((name_a, a): (&str, &Measurement), (name_b, b): (&str, &Measurement)) -> Vec<String> {
    let mut warnings = Vec::new();
    let machines = different_machines(a, b);
    if !machines.is_empty() {
        warnings.push(format!("measured on different machines: {}", machines.join(", ")));
    }
    let settings = different_settings(&a.settings, &b.settings);
    if !settings.is_empty() {
        warnings.push(format!("not the same load: {}", settings.join(", ")));
    }
    for (name, side) in [(name_a, a), (name_b, b)] {
        if side.is_dirty() {
            warnings.push(format!(
                "{name} was measured with changed files ({}): nobody can build it again",
                side.machine.commit
            ));
        }
    }
    warnings
}

fn different_machines(a: &Measurement, b: &Measurement) -> Vec<String> {
    let (a, b) = (&a.machine, &b.machine);
    let mut different = Vec::new();
    let mut note = |what: &str, a: &str, b: &str| {
        if a != b {
            different.push(format!("{what} {a} and {b}"));
        }
    };
    note("processor", &a.processor, &b.processor);
    note("cores", &a.cores.to_string(), &b.cores.to_string());
    note("kernel", &a.kernel, &b.kernel);
    let (memory_a, memory_b) = (a.memory_bytes as f64, b.memory_bytes as f64);
    if (memory_a - memory_b).abs() > MEMORY_TOLERANCE * memory_a.max(memory_b) {
        let shown = |bytes| crate::numbers::with_unit(bytes, "bytes");
        note("memory", &shown(memory_a), &shown(memory_b));
    }
    different
}

/// Names and values of settings that are not equal.
fn different_settings(a: &serde_json::Value, b: &serde_json::Value) -> Vec<String> {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
        return if a == b {
            Vec::new()
        } else {
            vec![format!("{a} and {b}")]
        };
    };
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let shown = |value: Option<&serde_json::Value>| value.map_or("nothing".to_owned(), ToString::to_string);
    names
        .into_iter()
        .filter(|name| a.get(*name) != b.get(*name))
        .map(|name| format!("{name} {} and {}", shown(a.get(name)), shown(b.get(name))))
        .collect()
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

#[derive(Serialize)]
struct Pair {
    scenario: String,
    variant: String,
    durability: String,
    a: Source,
    b: Source,
    warnings: Vec<String>,
    metrics: Vec<Compared>,
}

#[derive(Serialize)]
struct Source {
    system: String,
    commit: String,
    at_unix_s: u64,
}

#[derive(Serialize)]
struct Compared {
    metric: String,
    unit: String,
    better: Better,
    a: Side,
    b: Side,
    #[serde(flatten)]
    judgement: Judgement,
}

#[derive(Serialize)]
struct Side {
    runs: usize,
    median: Option<f64>,
    mean: Option<f64>,
}

impl Side {
    fn of(runs: &[f64]) -> Self {
        Self {
            runs: runs.len(),
            median: statistics::median(runs),
            mean: statistics::mean(runs),
        }
    }
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

/// The last measurement of each key; with `pooled` it has the runs of all.
fn by_key(lines: Vec<Measurement>, pooled: bool) -> BTreeMap<Key, Measurement> {
    let mut found = BTreeMap::<Key, Measurement>::new();
    for mut line in lines {
        let key = line.key();
        if let Some(earlier) = found.remove(&key).filter(|_| pooled) {
            pool(&mut line, earlier);
        }
        found.insert(key, line);
    }
    found
}

/// Puts the runs of an earlier line before those of a later one.
fn pool(later: &mut Measurement, earlier: Measurement) {
    for (name, mut metric) in earlier.metrics {
        let later = later.metrics.entry(name).or_insert_with(|| Metric {
            runs: Vec::new(),
            ..metric.clone()
        });
        metric.runs.append(&mut later.runs);
        later.runs = metric.runs;
    }
    // A later line that could not be measured takes nothing from what an earlier one did measure.
    if earlier.absent.is_none() {
        later.absent = None;
    }
}

/// What only one side has.
fn alone([a, b]: &[BTreeMap<Key, Measurement>; 2]) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, side, other) in [("A", a, b), ("B", b, a)] {
        for (key, measurement) in side {
            if !other.contains_key(key) {
                notes.push(format!("only in {name}: {}", title(key)));
            }
            if let Some(why) = &measurement.absent {
                notes.push(format!("not measured in {name}: {}: {why}", title(key)));
            }
        }
    }
    notes
}

fn title(key: &Key) -> String {
    let parts = [&key.scenario, &key.variant, &key.program, &key.durability];
    let parts: Vec<&str> = parts
        .into_iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    parts.join(" · ")
}

fn pair(key: &Key, a: &Measurement, b: &Measurement, only: &[String], rules: Rules) -> Pair {
    let source = |side: &Measurement| Source {
        system: side.system.clone(),
        commit: side.machine.commit.clone(),
        at_unix_s: side.at_unix_s,
    };
    let wanted = |name: &String| only.is_empty() || only.contains(name);
    let metrics = a
        .metrics
        .iter()
        .filter(|(name, metric)| wanted(name) && metric.better != Better::Neither);
    Pair {
        scenario: key.scenario.clone(),
        variant: key.variant.clone(),
        durability: key.durability.clone(),
        a: source(a),
        b: source(b),
        warnings: warnings(("A", a), ("B", b)),
        metrics: metrics
            .filter_map(|(name, a)| compared(name, a, b.metrics.get(name)?, rules))
            .collect(),
    }
}

/// `None`: the units differ, so the same name means two things.
fn compared(name: &str, a: &Metric, b: &Metric, rules: Rules) -> Option<Compared> {
    (a.unit == b.unit).then(|| Compared {
        metric: name.to_owned(),
        unit: a.unit.clone(),
        better: a.better,
        a: Side::of(&a.runs),
        b: Side::of(&b.runs),
        judgement: judge(&a.runs, &b.runs, a.better, rules),
    })
}

fn print(comparison: &Comparison, output: Output) {
    for note in &comparison.notes {
        eprintln!("note: {note}");
    }
    print_warnings(&comparison.pairs);
    match output {
        Output::Json => {
            let json = serde_json::to_string(comparison).expect("numbers and text become JSON");
            println!("{json}");
        }
        Output::Table => {
            for pair in &comparison.pairs {
                println!("{}\n{}", pair.heading(), table(pair, comparison.confidence));
            }
            println!("{}", conclusion(comparison));
        }
    }
}

/// What holds for all pairs, such as another machine, is said once.
fn print_warnings(pairs: &[Pair]) {
    let all: BTreeSet<&String> = pairs.iter().flat_map(|pair| &pair.warnings).collect();
    for warning in all {
        let warned: Vec<&Pair> = pairs
            .iter()
            .filter(|pair| pair.warnings.contains(warning))
            .collect();
        if warned.len() == pairs.len() {
            eprintln!("warning: {warning}");
        } else {
            warned
                .iter()
                .for_each(|pair| eprintln!("warning: {}: {warning}", pair.heading()));
        }
    }
}

impl Pair {
    fn heading(&self) -> String {
        let system = if self.a.system == self.b.system {
            self.a.system.clone()
        } else {
            format!("{} → {}", self.a.system, self.b.system)
        };
        let parts = [&self.scenario, &self.variant, &system, &self.durability];
        let parts: Vec<&str> = parts
            .into_iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        parts.join(" · ")
    }
}

fn conclusion(comparison: &Comparison) -> String {
    let beyond = percent(comparison.threshold);
    match comparison.regressions {
        0 => format!("Nothing is shown to be worse by more than {beyond}."),
        1 => format!("1 metric is worse by more than {beyond}."),
        more => format!("{more} metrics are worse by more than {beyond}."),
    }
}

fn table(pair: &Pair, confidence: f64) -> String {
    let head = ["metric", "A median", "B median", "unit", "mean B/A"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    rows[0].extend([format!("{} interval", percent(confidence)), "verdict".to_owned()]);
    rows.extend(pair.metrics.iter().map(row));
    let columns = rows[0].len();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| {
                // Numbers to the right, words to the left.
                if matches!(column, 1 | 2 | 4) {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            });
        let line: Vec<String> = cells.collect();
        out.push_str(&format!("  {}\n", line.join("  ").trim_end()));
    }
    out
}

fn row(metric: &Compared) -> Vec<String> {
    let judgement = &metric.judgement;
    let number = |value: Option<f64>| value.map_or("–".to_owned(), short);
    let verdict = judgement.verdict.word();
    vec![
        metric.metric.clone(),
        number(metric.a.median),
        number(metric.b.median),
        metric.unit.clone(),
        judgement.ratio.map_or("–".to_owned(), ratio),
        judgement.interval.map_or("–".to_owned(), |(low, high)| {
            format!("{} – {}", ratio(low), ratio(high))
        }),
        judgement
            .reason
            .as_ref()
            .map_or(verdict.to_owned(), |reason| format!("{verdict} ({reason})")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: [f64; 5] = [100.0, 102.0, 98.0, 101.0, 99.0];
    const FAST: [f64; 5] = [120.0, 122.0, 118.0, 121.0, 119.0];

    fn verdict(a: &[f64], b: &[f64], better: Better) -> Verdict {
        judge(a, b, better, Rules::default()).verdict
    }

    #[test]
    fn a_difference_beyond_the_threshold_is_better_or_worse_by_direction() {
        assert_eq!(verdict(&SLOW, &FAST, Better::Higher), Verdict::Better);
        assert_eq!(verdict(&SLOW, &FAST, Better::Lower), Verdict::Worse);
        assert_eq!(verdict(&FAST, &SLOW, Better::Higher), Verdict::Worse);
        assert_eq!(verdict(&FAST, &SLOW, Better::Lower), Verdict::Better);
        assert_eq!(verdict(&FAST, &SLOW, Better::Neither), Verdict::Unknown);
    }

    #[test]
    fn a_difference_within_the_threshold_is_none() {
        let rules = Rules {
            threshold: 0.3,
            ..Rules::default()
        };
        let judgement = judge(&SLOW, &FAST, Better::Lower, rules);
        assert_eq!((judgement.verdict, judgement.reason), (Verdict::Same, None));
    }

    #[test]
    fn identical_runs_are_the_same_whatever_they_are() {
        let mut chance = fastrand::Rng::with_seed(3);
        for _ in 0..50 {
            let runs: Vec<f64> = (0..chance.usize(3..12)).map(|_| chance.f64() * 1e6).collect();
            for better in [Better::Higher, Better::Lower] {
                let judgement = judge(&runs, &runs, better, Rules::default());
                assert_eq!(judgement.verdict, Verdict::Same, "{runs:?}");
                assert_eq!(judgement.ratio, Some(1.0));
                let (low, high) = judgement.interval.expect("enough runs");
                assert!(low <= 1.0 && 1.0 <= high, "{runs:?}: {low} to {high}");
            }
        }
    }

    #[test]
    fn the_same_that_hides_much_says_how_much() {
        let judgement = judge(
            &[50.0, 100.0, 150.0],
            &[60.0, 100.0, 140.0],
            Better::Lower,
            Rules::default(),
        );
        assert_eq!(judgement.verdict, Verdict::Same);
        let reason = judgement.reason.expect("a wide interval");
        assert!(
            reason.starts_with("cannot exclude −") && reason.contains(" or +"),
            "{reason}"
        );
    }

    #[test]
    fn too_few_runs_are_unknown_and_have_a_ratio_all_the_same() {
        let judgement = judge(&[100.0], &[50.0], Better::Higher, Rules::default());
        assert_eq!((judgement.ratio, judgement.interval), (Some(0.5), None));
        assert_eq!(judgement.verdict, Verdict::Unknown);
        assert!(judgement.reason.expect("why").contains("1 and 1 runs"));
        assert_eq!(verdict(&[], &SLOW, Better::Higher), Verdict::Unknown);
        assert_eq!(
            verdict(&[-1.0, 1.0, 1.0], &SLOW[..3], Better::Higher),
            Verdict::Unknown
        );
    }

    #[test]
    fn what_was_zero_and_is_no_longer_has_a_verdict_without_a_ratio() {
        assert_eq!(verdict(&[0.0; 3], &[0.0; 3], Better::Lower), Verdict::Same);
        assert_eq!(
            verdict(&[0.0; 3], &[1.0, 2.0, 3.0], Better::Lower),
            Verdict::Worse
        );
        assert_eq!(
            verdict(&[0.0; 3], &[0.0, 2.0, 3.0], Better::Lower),
            Verdict::Unknown
        );
        // A mean of zero among the resamples leaves the interval open above.
        let judgement = judge(
            &[0.0, 0.0, 1.0],
            &[1.0, 1.0, 1.0],
            Better::Lower,
            Rules::default(),
        );
        assert_eq!(judgement.interval.expect("enough runs").1, f64::INFINITY);
        assert_eq!(judgement.verdict, Verdict::Same);
    }
}
