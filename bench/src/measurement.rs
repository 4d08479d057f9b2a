//! What a run found out, in one shape for every scenario and every system that was measured: JSON lines are this,
//! the page and the comparison read this.

use std::collections::BTreeMap;

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
