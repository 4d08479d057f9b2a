//! What runs came to, by name.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::Moment;
use crate::load::{Offered, Times};
use crate::measurement::{Better, Fault, Latency, Metric, Series};
use crate::scenario::Scenario;

/// Numbers and distributions of a scenario as its runs add to them.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) metrics: BTreeMap<String, Metric>,
    pub(super) times: Option<Times>,
    pub(super) series: Option<Series>,
    pub(super) faults: Vec<Fault>,
}

/// Numbers that are better the more there is of them. Of others less is better, or nothing is: see [`DESCRIBES`].
const MORE_IS_BETTER: &[&str] = &[
    "works_per_second",
    "works_per_second_max",
    "goodput_per_second",
    "goodput_of_max",
    "replayed_records_per_second",
    "changes_per_second",
];

/// Numbers that say what a run was like and not how good it was.
const DESCRIBES: &[&str] = &[
    "disk_fdatasync_p50_us",
    "disk_fdatasync_p99_us",
    "works_left_out",
    "recovered_records",
    "sidecar_lag_records",
    "sidecar_batches",
    "disk_grown_bytes_per_work",
];

impl Collected {
    /// Adds one run's value of a number.
    pub(super) fn add(&mut self, name: &str, unit: &str, value: f64) {
        let better = match name {
            _ if MORE_IS_BETTER.contains(&name) => Better::Higher,
            _ if DESCRIBES.contains(&name) => Better::Neither,
            _ => Better::Lower,
        };
        let metric = self.metrics.entry(name.to_owned()).or_insert_with(|| Metric {
            unit: unit.to_owned(),
            better,
            runs: Vec::new(),
        });
        metric.runs.push(value);
    }

    /// Adds what a run of load came to.
    pub(super) fn add_run(
        &mut self,
        scenario: &Scenario,
        offered: &Offered,
        before: &Moment,
        after: &Moment,
    ) {
        let works = offered.works.max(1) as f64;
        self.add("works_per_second", "works/s", works / offered.span.as_secs_f64());
        self.add_cost(works, before, after);
        self.add_times(&offered.times);
        if !scenario.load.is_open_loop() {
            return;
        }
        self.add("goodput_per_second", "works/s", offered.goodput);
        self.add("drain_s", "s", offered.drain.as_secs_f64());
        self.add("works_left_out", "works", offered.left_out as f64);
        let most = self.metrics.get("works_per_second_max");
        if let Some(most) = most.and_then(|metric| metric.runs.last().copied()) {
            self.add("goodput_of_max", "", offered.goodput / most);
        }
    }

    /// What a work cost, by resource.
    fn add_cost(&mut self, works: f64, before: &Moment, after: &Moment) {
        let cpu = [
            (
                "engine_cpu_us_per_work",
                before.pool.engine.cpu,
                after.pool.engine.cpu,
            ),
            (
                "workers_cpu_us_per_work",
                before.pool.workers.cpu,
                after.pool.workers.cpu,
            ),
            (
                "client_cpu_us_per_work",
                before.generator.cpu,
                after.generator.cpu,
            ),
        ];
        for (name, before, after) in cpu {
            // A process that was killed took its count along.
            self.add(
                name,
                "µs",
                after.saturating_sub(before).as_secs_f64() * 1e6 / works,
            );
        }
        let engine = after.pool.engine;
        self.add("engine_memory_bytes_max", "bytes", engine.memory_bytes_max as f64);
        let since = |name: &str| after.metrics.since(&before.metrics, name);
        let link_bytes = since("pool_link_received_bytes_total") + since("pool_link_sent_bytes_total");
        let datagrams = since("pool_link_datagrams_received_total") + since("pool_link_datagrams_sent_total");
        let commits = since("pool_journal_commit_seconds_count");
        let file_calls = engine.file_calls.saturating_sub(before.pool.engine.file_calls) as f64;
        let calls = since("pool_link_syscalls_total") + file_calls + commits;
        for (name, unit, value) in [
            ("link_bytes_per_work", "bytes", link_bytes),
            ("datagrams_per_work", "", datagrams),
            ("syscalls_per_work", "", calls),
            ("commits_per_work", "", commits),
        ] {
            self.add(name, unit, value / works);
        }
    }

    fn add_times(&mut self, times: &Times) {
        for (name, histogram) in named(times) {
            if histogram.is_empty() {
                continue;
            }
            for (quantile, text) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p999")] {
                let value = histogram.value_at_quantile(quantile);
                self.add(&format!("{name}_{text}_us"), "µs", value as f64);
            }
        }
        match &mut self.times {
            Some(all) => all.add(times),
            None => self.times = Some(times.clone()),
        }
    }
}

fn named(times: &Times) -> [(&'static str, &Histogram<u64>); 3] {
    [
        ("accepted", &times.accepted),
        ("assigned", &times.assigned),
        ("outcome", &times.outcome),
    ]
}

/// Distributions of all runs together.
pub(super) fn latencies(times: Option<Times>) -> BTreeMap<String, Latency> {
    let Some(times) = times else {
        return BTreeMap::new();
    };
    let named = named(&times).into_iter();
    let named = named.filter(|(_, histogram)| !histogram.is_empty());
    named
        .map(|(name, histogram)| (name.to_owned(), latency(histogram)))
        .collect()
}

/// The curve at quantiles that get closer towards the end, where the tail is.
fn latency(histogram: &Histogram<u64>) -> Latency {
    let mut curve_us: Vec<(f64, u64)> = Vec::new();
    for point in histogram.iter_quantiles(5) {
        let next = (point.quantile_iterated_to(), point.value_iterated_to());
        match curve_us.last_mut() {
            Some(last) if last.0 >= next.0 => *last = next,
            _ => curve_us.push(next),
        }
    }
    Latency {
        count: histogram.len(),
        curve_us,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_rises_and_ends_with_the_longest() {
        let mut histogram = Histogram::new(2).expect("two digits");
        (1..=10_000_u64).for_each(|value| histogram.record(value).expect("it grows"));
        let latency = latency(&histogram);
        assert_eq!(latency.count, 10_000);
        assert!(
            latency
                .curve_us
                .windows(2)
                .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1)
        );
        let (quantile, longest) = *latency.curve_us.last().expect("some points");
        assert!((quantile - 1.0).abs() < 1e-9 && (9_900..10_100).contains(&longest));
        assert!(latency.curve_us.len() < 200, "{}", latency.curve_us.len());
    }

    #[test]
    fn a_number_has_a_value_per_run_and_a_direction() {
        let mut collected = Collected::default();
        for value in [1.0, 2.0] {
            collected.add("works_per_second", "works/s", value);
            collected.add("drain_s", "s", value);
        }
        let rate = &collected.metrics["works_per_second"];
        assert_eq!(
            (rate.better, rate.runs.as_slice()),
            (Better::Higher, &[1.0, 2.0][..])
        );
        assert_eq!(collected.metrics["drain_s"].better, Better::Lower);
    }
}
