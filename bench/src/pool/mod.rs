//! The pool that is measured: an engine and workers, each a process of its own, as they are in use.

mod consumption;
mod engine;
mod metrics;
mod program;
mod workers;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use client::Client;

use crate::scenario::PoolPlan;

pub(crate) use consumption::{Usage, used};
pub(crate) use engine::Engine;
pub(crate) use metrics::Metrics;
pub(crate) use workers::{ServeArguments, Workers, serve};

/// How long workers may take to connect.
const CONNECT_DEADLINE: Duration = Duration::from_secs(60);

/// A running pool. Dropping it stops its processes and removes its files.
pub(crate) struct Pool {
    // In this order workers go before their engine.
    workers: Mutex<Workers>,
    engine: Mutex<Engine>,
    plan: PoolPlan,
}

impl Pool {
    /// Starts an engine in a folder of its own under `data`, and no workers yet.
    pub(crate) fn start(plan: &PoolPlan, cores: u32, data: &Path) -> Result<Self> {
        let engine = Engine::start(plan, data)?;
        let workers = Workers::new(plan, cores, &engine)?;
        Ok(Self {
            workers: Mutex::new(workers),
            engine: Mutex::new(engine),
            plan: plan.clone(),
        })
    }

    pub(crate) fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn workers(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all workers are there and the engine gives out works; returns how long that took.
    pub(crate) async fn all_connected(&self) -> Result<Duration> {
        let began = Instant::now();
        loop {
            let metrics = self.metrics();
            let connected = metrics.as_ref().map_or(0.0, |m| m.get("pool_workers_connected"));
            if connected >= f64::from(self.plan.workers) {
                return Ok(began.elapsed());
            }
            if began.elapsed() > CONNECT_DEADLINE {
                bail!(
                    "only {connected} of {} workers connected within {} s",
                    self.plan.workers,
                    CONNECT_DEADLINE.as_secs()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The engine's numbers; `None` while it does not answer.
    pub(crate) fn metrics(&self) -> Option<Metrics> {
        let address = self.engine().health();
        Metrics::fetch(address).ok()
    }

    pub(crate) async fn connect(&self) -> Result<Client> {
        let options = self.engine().connect_options();
        Engine::connect(options).await
    }

    /// What engine and workers used so far.
    pub(crate) fn usage(&self) -> PoolUsage {
        PoolUsage {
            engine: used(self.engine().pid()),
            workers: self.workers().used(),
        }
    }
}

/// What the pool's processes used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolUsage {
    pub(crate) engine: Usage,
    pub(crate) workers: Usage,
}
