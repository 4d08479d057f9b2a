//! Runs a scenario: a pool, a warm-up, runs that are measured, and what they came to.

mod collect;
mod disk;
mod faults;
mod recover;
mod sampler;
mod sidecar;

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use client::Client;
use indicatif::{ProgressBar, ProgressStyle};

use crate::load::{self, Offered, Progress};
use crate::machine::Machine;
use crate::measurement::{Measurement, SCHEMA};
use crate::pool::{Metrics, Pool, PoolUsage, Usage, used};
use crate::scenario::{Scenario, Timed, When};

use collect::Collected;
use faults::Faults;
use sampler::Sampler;
use sidecar::Beside;

/// How long a closed loop runs to find out what a share of the maximum is.
const CALIBRATION_WORKS: u64 = 2_000_000;

/// Runs one variant.
///
/// # Errors
/// A process could not be started, a work did not succeed, or nothing happened for long.
pub(crate) fn run(scenario: &Scenario, data: &Path) -> Result<Measurement> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // The generator's tasks share what they count, without locks.
    let local = tokio::task::LocalSet::new();
    let at_unix_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let mut collected = Collected::default();
    disk::measure(data, &mut collected)?;
    let measured = async {
        match (&scenario.recover, &scenario.sidecar) {
            (Some(plan), _) => recover::run(scenario, plan, data, &mut collected).await,
            (None, Some(plan)) if plan.when == When::After => {
                sidecar::catch_up(scenario, plan, data, &mut collected).await
            }
            _ => offer_load(scenario, data, &mut collected).await,
        }
    };
    local.block_on(&runtime, measured)?;
    let Collected {
        metrics,
        times,
        series,
        faults,
    } = collected;
    Ok(Measurement {
        schema: SCHEMA.to_owned(),
        scenario: scenario.name.clone(),
        variant: scenario.variant.clone(),
        system: format!("workerpool {}", env!("CARGO_PKG_VERSION")),
        durability: scenario.pool.durability.describe().to_owned(),
        at_unix_s,
        machine: Machine::here(),
        settings: serde_json::to_value(scenario)?,
        metrics,
        latencies: collect::latencies(times),
        series,
        faults,
        absent: None,
    })
}

/// What the processes and the engine's numbers were at one moment.
struct Moment {
    pool: PoolUsage,
    generator: Usage,
    metrics: Metrics,
}

impl Moment {
    fn of(pool: &Pool) -> Self {
        Self {
            pool: pool.usage(),
            generator: used(std::process::id()),
            metrics: pool.metrics().unwrap_or_default(),
        }
    }
}

async fn offer_load(scenario: &Scenario, data: &Path, collected: &mut Collected) -> Result<()> {
    let pool = Arc::new(Pool::start(&scenario.pool, scenario.load.classes, data)?);
    let memory_without_workers = pool.usage().engine.memory_bytes;
    pool.workers().start()?;
    let connected = pool.all_connected().await?;
    collected.add("workers_connected_s", "s", connected.as_secs_f64());
    let per_connection = pool
        .usage()
        .engine
        .memory_bytes
        .saturating_sub(memory_without_workers)
        / u64::from(scenario.pool.workers);
    collected.add(
        "engine_memory_bytes_per_connection",
        "bytes",
        per_connection as f64,
    );
    let clients = connect(&pool, scenario.load.clients).await?;
    let sidecar = match &scenario.sidecar {
        Some(plan) => Some(Beside::start(plan, &pool, data)?),
        None => None,
    };
    let target = target(scenario, &clients, collected).await?;
    warm_up(scenario, &clients, target).await?;
    let bar = bar(scenario, target);
    for _ in 0..scenario.runs.count {
        let rate = measure(scenario, &pool, &clients, target, &bar, collected).await?;
        bar.suspend(|| eprintln!("  {:>12.0} works/s", rate));
    }
    bar.finish_and_clear();
    if let Some(sidecar) = sidecar {
        sidecar.finish(&pool, collected)?;
    }
    if scenario.load.idle_s > 0.0 {
        rest(&pool, Duration::from_secs_f64(scenario.load.idle_s), collected).await;
    }
    Ok(())
}

async fn connect(pool: &Pool, count: u32) -> Result<Vec<Client>> {
    let first = pool.connect().await?;
    let mut clients = vec![first.clone()];
    for _ in 1..count {
        clients.push(first.another().await?);
    }
    Ok(clients)
}

/// What a run does.
#[derive(Clone, Copy)]
enum Target {
    /// So many works, closed loop.
    Works(u64),
    /// So many works per second, open loop.
    Rate(f64),
}

async fn target(scenario: &Scenario, clients: &[Client], collected: &mut Collected) -> Result<Target> {
    let load = &scenario.load;
    if !load.is_open_loop() {
        return Ok(Target::Works(load.works));
    }
    if load.rate > 0.0 {
        return Ok(Target::Rate(load.rate));
    }
    eprintln!("  finding out how much the pool can do");
    let works = CALIBRATION_WORKS.min(load.works);
    let progress = Arc::default();
    load::closed(clients, load, works / 10 + 1, &progress).await?;
    let most = load::closed(clients, load, works, &progress).await?.goodput;
    collected.add("works_per_second_max", "works/s", most);
    Ok(Target::Rate(most * load.rate_of_max))
}

async fn warm_up(scenario: &Scenario, clients: &[Client], target: Target) -> Result<()> {
    let share = scenario.runs.warm_up;
    if share > 0.0 {
        let progress = Arc::default();
        offer(scenario, clients, target, share, &progress, &|_| false).await?;
    }
    Ok(())
}

/// Offers a share of a run.
async fn offer(
    scenario: &Scenario,
    clients: &[Client],
    target: Target,
    share: f64,
    progress: &Arc<Progress>,
    recorded: &load::Recorded<'_>,
) -> Result<Offered> {
    let load = &scenario.load;
    match target {
        Target::Works(works) => {
            let works = ((works as f64 * share) as u64).max(1);
            load::closed(clients, load, works, progress).await
        }
        Target::Rate(rate) => {
            let span = Duration::from_secs_f64(load.seconds * share);
            load::open(clients, load, rate, span, progress, recorded).await
        }
    }
}

/// One run; returns its works per second.
async fn measure(
    scenario: &Scenario,
    pool: &Arc<Pool>,
    clients: &[Client],
    target: Target,
    bar: &ProgressBar,
    collected: &mut Collected,
) -> Result<f64> {
    let progress = Arc::<Progress>::default();
    let sampler = Sampler::start(pool, &progress, bar);
    let faults = Faults::start(&scenario.faults, pool);
    let before = Moment::of(pool);
    let window = faults.window();
    let recorded = |due_ns: u64| scenario.load.timed == Timed::All || window.holds(due_ns);
    let offered = offer(scenario, clients, target, 1.0, &progress, &recorded).await?;
    let done_faults = faults.finish(collected).await?;
    let after = Moment::of(pool);
    collected.series = Some(sampler.finish().await?);
    collected.faults = done_faults;
    collected.add_run(scenario, &offered, &before, &after);
    Ok(offered.works as f64 / offered.span.as_secs_f64())
}

/// What the engine uses when nothing happens.
async fn rest(pool: &Pool, span: Duration, collected: &mut Collected) {
    eprintln!("  resting for {} s", span.as_secs());
    // What the load left behind (acknowledgements, snapshots) is not rest.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = pool.usage().engine.cpu;
    tokio::time::sleep(span).await;
    let used = pool.usage().engine.cpu.saturating_sub(before);
    let percent = used.as_secs_f64() / span.as_secs_f64() * 100.0;
    collected.add("engine_cpu_idle_percent", "% of a core", percent);
}

fn bar(scenario: &Scenario, target: Target) -> ProgressBar {
    let works = match target {
        Target::Works(works) => works,
        Target::Rate(rate) => (rate * scenario.load.seconds) as u64,
    };
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} works  {per_sec}  {eta} left");
    ProgressBar::new(works * u64::from(scenario.runs.count)).with_style(style.expect("a valid template"))
}

/// A cell that a closure of one task sets and another reads.
type Shared<T> = std::rc::Rc<Cell<T>>;
