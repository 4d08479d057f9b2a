//! What a run found out, in one shape for every scenario and every system that was measured: JSON lines are this,
//! the page and the comparison read this.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// Name of the format; a changed meaning gets a new one.
pub(crate) const SCHEMA: &str = "workerpool/v2/bench";

/// One scenario, or one variant of it, run several times on one system.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) struct Measurement {
    /// [`SCHEMA`].
    pub(crate) schema: String,
    /// Name of the scenario.
    pub(crate) scenario: String,
    /// What sets it apart from others of the scenario, such as a load level; empty: nothing does.
    #[serde(default)]
    pub(crate) variant: String,
    /// What was measured, with its version: `workerpool 0.1.0`, `redis 7.0.15`.
    pub(crate) system: String,
    /// What was waited for before an acknowledgement, in words.
    pub(crate) durability: String,
    /// When it began, in seconds since 1970.
    pub(crate) at_unix_s: u64,
    /// Where.
    pub(crate) machine: Machine,
    /// The load as it was run.
    pub(crate) settings: serde_json::Value,
    /// Numbers, by name; the unit ends the name where it has one (`engine_cpu_us_per_work`).
    pub(crate) metrics: BTreeMap<String, Metric>,
    /// Latencies of all runs together, by name (`accepted`, `assigned`, `outcome`).
    #[serde(default)]
    pub(crate) latencies: BTreeMap<String, Latency>,
    /// How the last run went.
    #[serde(default)]
    pub(crate) series: Option<Series>,
    /// What was done to the pool in the last run.
    #[serde(default)]
    pub(crate) faults: Vec<Fault>,
    /// Why it could not be measured: then there are no numbers.
    #[serde(default)]
    pub(crate) absent: Option<String>,
}

/// A number, once per run.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Metric {
    /// Its unit, for people: `works/s`, `µs`, `bytes`.
    pub(crate) unit: String,
    /// Which way is better.
    pub(crate) better: Better,
    /// One value per run, in order.
    pub(crate) runs: Vec<f64>,
}

/// Which way a number is better.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
    /// It describes the run and is not compared.
    Neither,
}

/// A distribution of times.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Latency {
    /// How many were measured.
    pub(crate) count: u64,
    /// (quantile from 0 to 1, microseconds), rising in both; ends with (1, the longest).
    pub(crate) curve_us: Vec<(f64, u64)>,
}

/// Values at even distances.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Series {
    /// Distance of two values, in milliseconds; the first is for the span that begins at 0.
    pub(crate) every_ms: u32,
    /// By name; all equally long.
    pub(crate) columns: BTreeMap<String, Column>,
}

/// One line of a chart.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Column {
    /// Its unit, for people.
    pub(crate) unit: String,
    /// `None`: unknown, such as the memory of an engine that does not run.
    pub(crate) values: Vec<Option<f64>>,
}

/// Something that was done to the pool.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    /// When, in seconds of the series.
    pub(crate) at_s: f64,
    /// What, in words: `kill -9 of worker 3`.
    pub(crate) what: String,
}

/// What a file of measurements holds.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// In the order of the file.
    pub(crate) measurements: Vec<Measurement>,
    /// What was passed over, in words for people.
    pub(crate) notes: Vec<String>,
}

/// Reads a file of measurements, one a line; empty lines are nothing.
///
/// Lines of the format before this one (`workerpool/v1/bench-…`) are passed over with a note: they have a median
/// and no runs, which is too little to judge by.
///
/// # Errors
/// The file cannot be read, or a line is no measurement: the error names file, line and what is wrong with it. A
/// line that is not understood is never passed over: whoever compares wants to know that it is missing.
pub(crate) fn read(path: &Path) -> Result<Lines> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text, &path.display().to_string())
}

fn parse(text: &str, file: &str) -> Result<Lines> {
    let mut lines = Lines::default();
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let number = index + 1;
        match parse_line(line).with_context(|| format!("{file}, line {number}"))? {
            Line::Measurement(measurement) => lines.measurements.push(*measurement),
            Line::Old(schema) => lines.notes.push(format!(
                "{file}, line {number}: passed over, as it is in the older format {schema}"
            )),
        }
    }
    Ok(lines)
}

enum Line {
    Measurement(Box<Measurement>),
    Old(String),
}

fn parse_line(line: &str) -> Result<Line> {
    let value: serde_json::Value = serde_json::from_str(line).context("this is not JSON")?;
    match value.get("schema").and_then(serde_json::Value::as_str) {
        Some(SCHEMA) => {}
        Some(old) if old.starts_with("workerpool/v1/bench-") => return Ok(Line::Old(old.to_owned())),
        Some(other) => bail!("unknown schema \"{other}\"; this program reads \"{SCHEMA}\""),
        None => bail!("no schema; lines of pool-bench have \"schema\": \"{SCHEMA}\""),
    }
    let measurement: Measurement = serde_json::from_value(value).context("this is no measurement")?;
    measurement.check()?;
    Ok(Line::Measurement(Box::new(measurement)))
}

/// What makes two measurements comparable: the same load on the same program with the same promise.
///
/// The version of the program is not part of it, as comparing versions is what this is for. Durability is: an
/// acknowledgement that waited for a disk is a different thing from one that did not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) scenario: String,
    pub(crate) variant: String,
    /// Name of the system, without its version.
    pub(crate) program: String,
    pub(crate) durability: String,
}

impl Measurement {
    pub(crate) fn key(&self) -> Key {
        Key {
            scenario: self.scenario.clone(),
            variant: self.variant.clone(),
            program: program(&self.system),
            durability: self.durability.clone(),
        }
    }

    /// Whether files were changed in the commit that was measured, so that nobody can build it again.
    pub(crate) fn is_dirty(&self) -> bool {
        self.machine.commit.ends_with("-dirty")
    }

    /// What types do not say.
    fn check(&self) -> Result<()> {
        for (name, latency) in &self.latencies {
            let curve = &latency.curve_us;
            ensure!(
                curve.iter().all(|(quantile, _)| (0.0..=1.0).contains(quantile)),
                "latency \"{name}\" has a quantile outside 0 to 1"
            );
            ensure!(
                curve
                    .windows(2)
                    .all(|two| two[0].0 <= two[1].0 && two[0].1 <= two[1].1),
                "latency \"{name}\" does not rise"
            );
        }
        let Some(series) = &self.series else {
            return Ok(());
        };
        ensure!(series.every_ms > 0, "the values of the series are 0 ms apart");
        let mut lengths = series.columns.values().map(|column| column.values.len());
        let first = lengths.next().unwrap_or(0);
        ensure!(
            lengths.all(|length| length == first),
            "the columns of the series are not equally long"
        );
        Ok(())
    }
}

/// `redis 7.0.15 streams` without its version: `redis streams`.
fn program(system: &str) -> String {
    let is_version = |word: &&str| {
        let digits = word.strip_prefix('v').unwrap_or(word);
        digits.starts_with(|first: char| first.is_ascii_digit())
    };
    let name: Vec<&str> = system
        .split_whitespace()
        .filter(|word| !is_version(word))
        .collect();
    name.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../tests/samples/before.jsonl");

    fn first_line() -> serde_json::Value {
        serde_json::from_str(SAMPLE.lines().next().expect("a line")).expect("JSON")
    }

    /// The whole chain of causes that reading this gives, or nothing.
    fn complaint(text: &str) -> String {
        parse(text, "runs.jsonl").map_or_else(|error| format!("{error:#}"), |_| String::new())
    }

    #[test]
    fn a_file_is_read_line_by_line() {
        let lines = parse(&format!("\n{SAMPLE}\n"), "runs.jsonl").expect("readable");
        assert_eq!(lines.measurements.len(), SAMPLE.lines().count());
        assert!(lines.notes.is_empty(), "{:?}", lines.notes);
        let again = serde_json::to_value(&lines.measurements[0]).expect("JSON");
        assert_eq!(again, first_line());
    }

    #[test]
    fn lines_of_the_older_format_are_passed_over_with_a_note() {
        let text = include_str!("../../perf/baselines/throughput.jsonl");
        let text = text
            .lines()
            .next()
            .expect("the first baseline is of the older format");
        let lines = parse(text, "throughput.jsonl").expect("readable");
        assert!(lines.measurements.is_empty());
        assert!(
            lines.notes[0].contains("line 1") && lines.notes[0].contains("workerpool/v1/bench-throughput")
        );
    }

    #[test]
    fn what_cannot_be_read_is_named_with_file_and_line() {
        let sample = SAMPLE.lines().next().expect("a line");
        let truncated = complaint(&format!("{sample}\n{}", &sample[..40]));
        assert!(
            truncated.starts_with("runs.jsonl, line 2: this is not JSON"),
            "{truncated}"
        );
        let unknown = complaint(r#"{"schema":"workerpool/v9/bench"}"#);
        assert!(
            unknown.contains("line 1: unknown schema \"workerpool/v9/bench\""),
            "{unknown}"
        );
        assert!(complaint("{}").contains("no schema"));
        assert!(complaint("[1]").contains("no schema"));
        let bare = complaint(&format!(r#"{{"schema":"{SCHEMA}"}}"#));
        assert!(bare.contains("missing field `scenario`"), "{bare}");
        assert!(complaint(&sample.replacen("\"runs\":[", "\"runs\":[1e999,", 1)).contains("not JSON"));
    }

    #[test]
    fn what_would_break_a_chart_is_refused() {
        let with = |field: &str, value: serde_json::Value| {
            let mut line = first_line();
            line[field] = value;
            complaint(&line.to_string())
        };
        let falling = serde_json::json!({ "accepted": { "count": 2, "curve_us": [[0.5, 20], [1.0, 10]] } });
        assert!(with("latencies", falling).contains("\"accepted\" does not rise"));
        let outside = serde_json::json!({ "accepted": { "count": 2, "curve_us": [[50.0, 20]] } });
        assert!(with("latencies", outside).contains("outside 0 to 1"));
        let column = |values: &[f64]| serde_json::json!({ "unit": "cores", "values": values });
        let uneven =
            serde_json::json!({ "every_ms": 100, "columns": { "a": column(&[1.0]), "b": column(&[]) } });
        assert!(with("series", uneven).contains("not equally long"));
        let still = serde_json::json!({ "every_ms": 0, "columns": {} });
        assert!(with("series", still).contains("0 ms apart"));
    }

    #[test]
    fn a_program_is_a_system_without_its_version() {
        assert_eq!(program("workerpool 0.1.0"), "workerpool");
        assert_eq!(program("Apache Kafka v3.7 (KRaft)"), "Apache Kafka (KRaft)");
        assert_eq!(program("nats-server"), "nats-server");
    }
}
