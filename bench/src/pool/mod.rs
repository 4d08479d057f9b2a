//! The pool that is measured: an engine and workers, each a process of its own, as they are in use.

mod consumption;
mod engine;
mod mariadb;
mod metrics;
mod persist;
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
pub(crate) use persist::Persist;
pub(crate) use workers::{ServeArguments, Workers, serve};

/// How long workers may take to connect.
const CONNECT_DEADLINE: Duration = Duration::from_secs(60);

/// A running pool. Dropping it stops its processes and removes its files.
pub(crate) struct Pool {
    // In this order workers go before their engine.
    workers: Mutex<Workers>,
    engine: Engine,
    plan: PoolPlan,
}

impl Pool {
    /// Starts an engine in a folder of its own under `data`, and no workers yet.
    pub(crate) fn start(plan: &PoolPlan, cores: u32, data: &Path) -> Result<Self> {
        let engine = Engine::start(plan, data)?;
        let workers = Workers::new(plan, cores, &engine)?;
        Ok(Self {
            workers: Mutex::new(workers),
            engine,
            plan: plan.clone(),
        })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
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

    /// What engine and workers used so far; an engine that starts counts from its start.
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    /// A program that takes every option, goes on for ever, and is never ready.
    fn never_ready(folder: &Path) -> PathBuf {
        let program = folder.join("never-ready");
        fs::write(&program, "#!/bin/sh\nexec sleep 600\n").expect("a file");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("our file");
        program
    }

    fn until(what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + CONNECT_DEADLINE;
        while !holds() {
            assert!(Instant::now() < deadline, "in vain: {what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn an_engine_that_starts_is_looked_at_without_waiting_and_can_be_killed() {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = PoolPlan::default();
        let engine =
            Engine::prepare(never_ready(folder.path()), &plan, folder.path()).expect("nothing runs yet");
        let pool = Pool {
            workers: Mutex::new(Workers::new(&plan, 1, &engine).expect("none is started")),
            engine,
            plan,
        };
        assert_eq!(pool.usage().engine, Usage::default(), "nobody uses nothing");
        let launched = std::thread::scope(|scope| {
            let launch = scope.spawn(|| pool.engine().launch());
            until("the process that starts uses something", || {
                launch.is_finished() || pool.usage().engine.memory_bytes > 0
            });
            assert!(pool.metrics().is_none(), "it does not answer yet");
            assert!(pool.engine().launch().is_err(), "one at a time");
            assert!(!launch.is_finished(), "it is still starting");
            pool.engine().kill();
            launch.join().expect("no panic")
        });
        let error = launched.expect_err("it never gets ready");
        assert!(error.to_string().contains("killed"), "{error:#}");
        assert_eq!(pool.usage().engine, Usage::default());
    }
}
