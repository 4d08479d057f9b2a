//! Which measurements and metrics meet: those of one key, and those of one name and unit.

use std::collections::BTreeMap;

use serde::Serialize;

use super::verdict::{Judgement, Rules, judge};
use super::warnings::warnings;
use crate::measurement::{Better, Key, Measurement, Metric};
use crate::statistics;

/// A measurement of A and the one of B that it is compared with.
#[derive(Serialize)]
pub(super) struct Pair {
    scenario: String,
    variant: String,
    durability: String,
    a: Source,
    b: Source,
    pub(super) warnings: Vec<String>,
    pub(super) metrics: Vec<Compared>,
}

impl Pair {
    /// For people, with both versions where they differ.
    pub(super) fn heading(&self) -> String {
        let system = if self.a.system == self.b.system {
            self.a.system.clone()
        } else {
            format!("{} → {}", self.a.system, self.b.system)
        };
        heading([&self.scenario, &self.variant, &system, &self.durability])
    }
}

/// What was measured, and when.
#[derive(Serialize)]
struct Source {
    system: String,
    commit: String,
    at_unix_s: u64,
}

/// A metric that both have.
#[derive(Serialize)]
pub(super) struct Compared {
    pub(super) metric: String,
    pub(super) unit: String,
    better: Better,
    pub(super) a: Side,
    pub(super) b: Side,
    #[serde(flatten)]
    pub(super) judgement: Judgement,
}

/// The runs of one side.
#[derive(Serialize)]
pub(super) struct Side {
    runs: usize,
    pub(super) median: Option<f64>,
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

/// The last measurement of each key; with `pooled` it has the runs of all.
pub(super) fn by_key(lines: Vec<Measurement>, pooled: bool) -> BTreeMap<Key, Measurement> {
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
pub(super) fn alone([a, b]: &[BTreeMap<Key, Measurement>; 2]) -> Vec<String> {
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
    heading([&key.scenario, &key.variant, &key.program, &key.durability])
}

/// Scenario, variant, system and durability for people; what is empty says nothing.
fn heading(parts: [&str; 4]) -> String {
    let said: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    said.join(" · ")
}

/// Two measurements of one key, by the metrics that are better higher or lower; `only` some, if it names any.
pub(super) fn pair(key: &Key, a: &Measurement, b: &Measurement, only: &[String], rules: Rules) -> Pair {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn source(version: &str) -> Source {
        Source {
            system: format!("workerpool {version}"),
            commit: String::new(),
            at_unix_s: 0,
        }
    }

    #[test]
    fn a_heading_leaves_out_what_is_empty_and_names_both_versions_where_they_differ() {
        let key = Key {
            scenario: "throughput".to_owned(),
            variant: String::new(),
            program: "workerpool".to_owned(),
            durability: "none".to_owned(),
        };
        assert_eq!(title(&key), "throughput · workerpool · none");
        let mut pair = Pair {
            scenario: "throughput".to_owned(),
            variant: "arrays".to_owned(),
            durability: "none".to_owned(),
            a: source("1"),
            b: source("1"),
            warnings: Vec::new(),
            metrics: Vec::new(),
        };
        assert_eq!(pair.heading(), "throughput · arrays · workerpool 1 · none");
        pair.b = source("2");
        assert_eq!(
            pair.heading(),
            "throughput · arrays · workerpool 1 → workerpool 2 · none"
        );
    }
}
