//! What is the same for every peer: runs and their numbers.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use indicatif::ProgressBar;
use tokio::task::JoinSet;

use super::load::{Load, Tally};
use super::programs::Programs;
use crate::pool::used;

/// A run in which nothing happens for this long has failed.
const STALLED_AFTER: Duration = Duration::from_secs(20);
/// The first warm-up, and how long one must take before its rate says how many works a run gets.
const WARM_UP_WORKS: u32 = 1_000;
const WARM_UP: Duration = Duration::from_millis(500);

/// What survives a crash, by kind; the words are in [`Variant::waits_for`].
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Nothing: works are in memory alone
    Memory,
    /// What the operating system happened to write: a file without fsync, or with one now and then
    File,
    /// All that was confirmed: fsync before the confirmation
    Fsync,
}

/// One way to set a peer up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    pub(super) name: &'static str,
    /// What the server waits for before it confirms, in words.
    pub(super) waits_for: &'static str,
    pub(super) durability: Durability,
}

/// What a peer is measured with.
pub(super) struct Setup<'a> {
    pub(super) programs: &'a Programs,
    /// Folder for temporary folders; on the disk that is measured.
    pub(super) data: &'a Path,
    pub(super) load: Load,
    /// Works of each run; `None`: as many as take about `seconds`.
    pub(super) works: Option<u32>,
    pub(super) seconds: f64,
    pub(super) runs: u32,
    pub(super) bar: &'a ProgressBar,
}

/// What was measured.
pub(super) struct Measured {
    /// Name and version as the server reports them.
    pub(super) system: String,
    pub(super) runs: Vec<Run>,
}

/// The numbers of a run.
pub(super) struct Run {
    pub(super) works: u32,
    pub(super) rate: f64,
    pub(super) server_us: f64,
    pub(super) client_us: f64,
    pub(super) server_memory_bytes: u64,
}

impl Setup<'_> {
    /// A temporary folder for a server.
    pub(super) fn folder(&self) -> Result<tempfile::TempDir> {
        std::fs::create_dir_all(self.data)
            .context("cannot make the folder for the servers' files (--data)")?;
        let data = std::path::absolute(self.data)?;
        tempfile::tempdir_in(data).context("cannot make a folder for the server's files")
    }

    /// Warms up and runs; `server` and `client` are the processes whose use of the processor is counted.
    pub(super) async fn repeat(
        &self,
        server: u32,
        client: u32,
        mut run: impl AsyncFnMut(Load) -> Result<()>,
    ) -> Result<Vec<Run>> {
        let works = self.warm_up(&mut run).await?;
        let load = Load { works, ..self.load };
        let mut runs = Vec::new();
        for _ in 0..self.runs {
            let before = (used(server).cpu, used(client).cpu);
            let started = Instant::now();
            run(load).await?;
            let seconds = started.elapsed().as_secs_f64();
            let per_work =
                |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() * 1e6 / f64::from(works);
            runs.push(Run {
                works,
                rate: f64::from(works) / seconds,
                server_us: per_work(before.0, used(server).cpu),
                client_us: per_work(before.1, used(client).cpu),
                server_memory_bytes: used(server).memory_bytes_max,
            });
            self.bar.inc(1);
        }
        Ok(runs)
    }

    /// Warms up; returns how many works a run gets.
    async fn warm_up(&self, run: &mut impl AsyncFnMut(Load) -> Result<()>) -> Result<u32> {
        let mut works = self.works.map_or(WARM_UP_WORKS, |works| (works / 10).max(1));
        loop {
            let started = Instant::now();
            run(Load { works, ..self.load }).await?;
            let took = started.elapsed();
            match self.works {
                Some(works) => return Ok(works),
                None if took >= WARM_UP => return Ok(sized(works, took, self.seconds)),
                None => works = works.saturating_mul(2),
            }
        }
    }
}

/// Works that take `seconds` at the rate of a warm-up, in thousands.
fn sized(works: u32, took: Duration, seconds: f64) -> u32 {
    let thousands = f64::from(works) / took.as_secs_f64() * seconds / 1e3;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and a cast to an integer saturates"
    )]
    let thousands = thousands.ceil() as u32;
    thousands.clamp(1, 100_000) * 1_000
}

/// Runs submitters and consumers until every work is done; the first that fails, or a stall, ends them all.
pub(super) async fn until_done(tally: &Tally, mut tasks: JoinSet<Result<()>>) -> Result<()> {
    let mut progress = tally.progress();
    loop {
        tokio::select! {
            () = tally.complete() => return Ok(()),
            Some(ended) = tasks.join_next() => ended??,
            () = tokio::time::sleep(STALLED_AFTER) => {
                if progress == tally.progress() {
                    bail!("stalled: {} works were confirmed and {} are known to be done", progress.0, progress.1);
                }
                progress = tally.progress();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_sized_by_the_warm_up() {
        assert_eq!(sized(2_000, Duration::from_secs(1), 3.0), 6_000);
        assert_eq!(sized(1, Duration::from_secs(100), 3.0), 1_000, "never none");
    }

    #[tokio::test]
    async fn the_first_task_that_fails_ends_the_run() {
        let mut tasks = JoinSet::new();
        tasks.spawn(async { Ok(()) });
        tasks.spawn(async { bail!("refused") });
        tasks.spawn(std::future::pending());
        let failed = until_done(&Tally::new(1), tasks).await.expect_err("it fails");
        assert_eq!(failed.to_string(), "refused");
    }
}
