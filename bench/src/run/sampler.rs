//! How a run goes, ten times a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::ProgressBar;
use tokio::task::JoinHandle;

use super::Shared;
use crate::load::Progress;
use crate::measurement::{Column, Series};
use crate::pool::{Pool, Usage, used};

const EVERY: Duration = Duration::from_millis(100);

/// Values of a series; beyond that, two are made one and the distance doubles.
const VALUES_MAX: usize = 400;

/// A task that looks at the pool while a run goes on.
pub(super) struct Sampler {
    task: JoinHandle<Vec<Sample>>,
    stop: Shared<bool>,
}

impl Sampler {
    pub(super) fn start(pool: &Arc<Pool>, progress: &Arc<Progress>, bar: &ProgressBar) -> Self {
        let stop = Shared::<bool>::default();
        let (pool, progress, bar) = (Arc::clone(pool), Arc::clone(progress), bar.clone());
        let seen = Shared::clone(&stop);
        let task = tokio::task::spawn_local(async move {
            let mut samples = Vec::new();
            let mut before = Reading::of(&pool, &progress);
            while !seen.get() {
                tokio::time::sleep(EVERY).await;
                let now = Reading::of(&pool, &progress);
                samples.push(now.since(&before));
                bar.inc(now.done - before.done);
                before = now;
            }
            samples
        });
        Self { task, stop }
    }

    pub(super) async fn finish(self) -> Result<Series> {
        self.stop.set(true);
        Ok(series(self.task.await?))
    }
}

/// What was at one moment.
struct Reading {
    at: Instant,
    done: u64,
    submitted: u64,
    engine: Usage,
    workers: Usage,
    client: Usage,
}

impl Reading {
    fn of(pool: &Pool, progress: &Progress) -> Self {
        let usage = pool.usage();
        Self {
            at: Instant::now(),
            done: progress.done(),
            submitted: progress.submitted(),
            engine: usage.engine,
            workers: usage.workers,
            client: used(std::process::id()),
        }
    }

    fn since(&self, before: &Self) -> Sample {
        let seconds = (self.at - before.at).as_secs_f64();
        let cores = |now: &Usage, before: &Usage| now.cpu.saturating_sub(before.cpu).as_secs_f64() / seconds;
        Sample([
            Some((self.done - before.done) as f64 / seconds),
            Some((self.submitted - before.submitted) as f64 / seconds),
            Some((self.submitted - self.done) as f64),
            Some(cores(&self.engine, &before.engine)),
            Some(cores(&self.workers, &before.workers)),
            Some(cores(&self.client, &before.client)),
            (self.engine.memory_bytes > 0).then_some(self.engine.memory_bytes as f64),
        ])
    }
}

/// Columns of the series, with their units, in the order of a [`Sample`].
const COLUMNS: [(&str, &str); 7] = [
    ("done_per_second", "works/s"),
    ("submitted_per_second", "works/s"),
    ("open", "works"),
    ("engine_cpu", "cores"),
    ("workers_cpu", "cores"),
    ("client_cpu", "cores"),
    ("engine_memory", "bytes"),
];

/// What was in one span, by column; `None`: unknown.
#[derive(Clone, Copy)]
struct Sample([Option<f64>; COLUMNS.len()]);

impl Sample {
    /// The mean of two neighbours.
    fn and(self, next: Self) -> Self {
        let mut both = self;
        for (value, next) in both.0.iter_mut().zip(next.0) {
            *value = match (*value, next) {
                (Some(a), Some(b)) => Some((a + b) / 2.0),
                (a, b) => a.or(b),
            };
        }
        both
    }
}

fn series(mut samples: Vec<Sample>) -> Series {
    let mut every = EVERY;
    while samples.len() > VALUES_MAX {
        samples = samples
            .chunks(2)
            .map(|pair| pair.iter().skip(1).fold(pair[0], |a, b| a.and(*b)))
            .collect();
        every *= 2;
    }
    let column = |(index, (name, unit)): (usize, &(&str, &str))| {
        let column = Column {
            unit: (*unit).to_owned(),
            // Three digits are more than a chart shows.
            values: samples
                .iter()
                .map(|sample| sample.0[index].map(|value| (value * 1e3).round() / 1e3))
                .collect(),
        };
        ((*name).to_owned(), column)
    };
    Series {
        every_ms: every.as_millis() as u32,
        columns: COLUMNS.iter().enumerate().map(column).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_is_told_in_fewer_and_longer_spans() {
        let samples: Vec<Sample> = (0..1_000)
            .map(|n| Sample([Some(f64::from(n)); COLUMNS.len()]))
            .collect();
        let series = series(samples);
        assert_eq!(series.every_ms, 400);
        let done = &series.columns["done_per_second"].values;
        assert_eq!(done.len(), 250);
        assert_eq!(done[0], Some(1.5), "the mean of 0 to 3");
    }

    #[test]
    fn what_is_unknown_in_one_half_is_known_from_the_other() {
        let known = Sample([Some(4.0); COLUMNS.len()]);
        let unknown = Sample([None; COLUMNS.len()]);
        assert_eq!(known.and(unknown).0[0], Some(4.0));
        assert_eq!(unknown.and(unknown).0[0], None);
    }
}
