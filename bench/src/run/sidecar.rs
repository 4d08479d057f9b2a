//! The persist sidecar: beside the load, away meanwhile, or catching up with a journal that was filled before.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::collect::Collected;
use super::{Scenario, connect};
use crate::load::{self, Progress};
use crate::pool::{Persist, Pool, used};
use crate::scenario::{SidecarPlan, When};

/// Fills a journal and lets the sidecar catch up with an empty database, as often as there are runs.
pub(super) async fn catch_up(
    scenario: &Scenario,
    plan: &SidecarPlan,
    data: &Path,
    collected: &mut Collected,
) -> Result<()> {
    let pool = Pool::start(&scenario.pool, scenario.load.classes, data)?;
    pool.workers().start()?;
    pool.all_connected().await?;
    let clients = connect(&pool, scenario.load.clients).await?;
    let progress = Arc::<Progress>::default();
    load::closed(&clients, &scenario.load, scenario.load.works, &progress).await?;
    let works = progress.done() as f64;
    pool.workers().stop();
    let last = durable(&pool)?;
    for _ in 0..scenario.runs.count {
        let persist = Persist::start(plan.into, &pool, data)?;
        let began = Instant::now();
        persist.catch_up(last)?;
        let took = began.elapsed().as_secs_f64();
        eprintln!("  {works} works in {took:.2} s");
        let metrics = persist.metrics()?;
        let per_work = |cpu: Duration| cpu.as_secs_f64() * 1e6 / works;
        let changes = metrics.get("pool_persist_changes_total");
        let usage = persist.usage();
        collected.add("works_per_second", "works/s", works / took);
        collected.add("changes_per_second", "changes/s", changes / took);
        collected.add("sidecar_cpu_us_per_work", "µs", per_work(usage.cpu));
        collected.add("sidecar_memory_bytes_max", "bytes", usage.memory_bytes_max as f64);
        let batches = metrics.get("pool_persist_batches_total");
        collected.add("sidecar_batches", "batches", batches);
        if let Some(server) = persist.server() {
            collected.add("database_cpu_us_per_work", "µs", per_work(used(server.pid()).cpu));
        }
    }
    Ok(())
}

/// A sidecar beside the load.
pub(super) struct Beside {
    persist: Persist,
    when: When,
    /// Bytes of the engine's folder before the load.
    disk_before: u64,
}

impl Beside {
    pub(super) fn start(plan: &SidecarPlan, pool: &Pool, data: &Path) -> Result<Self> {
        let persist = Persist::start(plan.into, pool, data)?;
        if plan.when == When::Away {
            persist.server().context("a server can be away")?.pause()?;
        }
        Ok(Self {
            persist,
            when: plan.when,
            disk_before: bytes(&pool.engine().data())?,
        })
    }

    /// After the load: how far it is and what it has used, and how it catches up where its server was away.
    pub(super) fn finish(self, pool: &Pool, collected: &mut Collected) -> Result<()> {
        let last = durable(pool)?;
        let stored = self.persist.metrics()?.get("pool_persist_lsn");
        let usage = self.persist.usage();
        collected.add("sidecar_lag_records", "records", last - stored);
        collected.add("sidecar_memory_bytes_max", "bytes", usage.memory_bytes_max as f64);
        if self.when != When::Away {
            return Ok(());
        }
        let metrics = pool.metrics().context("the engine answers")?;
        let works = metrics.get("pool_works_accepted_total");
        let grown = bytes(&pool.engine().data())?.saturating_sub(self.disk_before);
        collected.add("disk_grown_bytes_per_work", "bytes", grown as f64 / works);
        let began = Instant::now();
        self.persist.server().context("it was away")?.resume()?;
        self.persist.catch_up(last)?;
        let took = began.elapsed().as_secs_f64();
        eprintln!("  caught up with {works} works in {took:.1} s");
        let usage = self.persist.usage();
        collected.add("catch_up_s", "s", took);
        let memory = usage.memory_bytes_max as f64;
        collected.add("catch_up_memory_bytes_max", "bytes", memory);
        Ok(())
    }
}

/// The last record that the engine has made durable.
fn durable(pool: &Pool) -> Result<f64> {
    let metrics = pool.metrics().context("the engine answers")?;
    Ok(metrics.get("pool_journal_durable_lsn"))
}

/// Of the files in a folder.
fn bytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let metadata = entry?.metadata()?;
        sum += if metadata.is_file() { metadata.len() } else { 0 };
    }
    Ok(sum)
}
