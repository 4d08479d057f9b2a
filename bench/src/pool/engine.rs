//! An engine of the bench's own: a real process on a folder of its own, which can be killed and started again.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use client::{Client, ConnectOptions, Trust};
use serde::Deserialize;

use super::program::sibling;
use crate::scenario::PoolPlan;

/// The one password, of the administrator and of workers.
pub(crate) const PASSWORD: &str = "bench";

/// How long a start may take; one that reads back a long journal takes its time.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// The number of no process; Linux gives out up to 2²².
const NOBODY: u32 = u32::MAX;

/// An engine; dropping it kills it and removes its files.
///
/// A start takes as long as there is to read back. Whoever looks at the engine meanwhile is told of the process that is
/// starting and need not wait, so the lock is held for a moment at a time and never for a start.
pub(crate) struct Engine {
    program: PathBuf,
    plan: PoolPlan,
    folder: tempfile::TempDir,
    running: Mutex<Running>,
}

/// What runs at the moment.
struct Running {
    /// `None`: it was killed, or never started.
    child: Option<Child>,
    /// Where it listens, or listened last: that is where it will again.
    ready: Ready,
}

/// What an engine says of itself when it is ready.
#[derive(Deserialize, Clone, Copy)]
struct Ready {
    workers: SocketAddr,
    clients: SocketAddr,
    health: SocketAddr,
}

impl Engine {
    /// Starts one in a folder of its own under `data`.
    pub(crate) fn start(plan: &PoolPlan, data: &Path) -> Result<Self> {
        let engine = Self::prepare(sibling("pool-engine", "engine-server")?, plan, data)?;
        engine.launch()?;
        Ok(engine)
    }

    /// The same of this program, not started yet.
    pub(super) fn prepare(program: PathBuf, plan: &PoolPlan, data: &Path) -> Result<Self> {
        fs::create_dir_all(data).context("cannot make the folder for the engine's files (--data)")?;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let ready = Ready {
            workers: any,
            clients: any,
            health: any,
        };
        Ok(Self {
            program,
            plan: plan.clone(),
            folder: tempfile::tempdir_in(data)?,
            running: Mutex::new(Running { child: None, ready }),
        })
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it, or starts it again where it was; returns how long it took to be ready.
    ///
    /// # Errors
    /// It runs already, the program cannot be run, is not ready in time, or ends or is killed before it is.
    pub(crate) fn launch(&self) -> Result<Duration> {
        let began = Instant::now();
        let mut running = self.running();
        ensure!(running.child.is_none(), "the engine runs already");
        let ready_file = self.folder.path().join("ready.json");
        // One that was killed could not remove it.
        drop(fs::remove_file(&ready_file));
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())?;
        let Ready {
            workers,
            clients,
            health,
        } = running.ready;
        let child = Command::new(&self.program)
            .arg("--data")
            .arg(self.data())
            .arg("--certs")
            .arg(self.folder.path().join("certs"))
            .arg("--ready-file")
            .arg(&ready_file)
            .args(["--listen-workers", &workers.to_string()])
            .args(["--listen-clients", &clients.to_string()])
            .args(["--listen-health", &health.to_string()])
            .args(["--mtu-max", &self.plan.mtu.to_string()])
            .args(["--durability", self.plan.durability.flag()])
            .args(["--snapshot-mib", &self.plan.snapshot_mib.to_string()])
            .args(["--works-open-max", &self.plan.works_open_max.to_string()])
            .args(["--lease-timeout-ms", &self.plan.lease_timeout_ms.to_string()])
            // All workers come from this machine.
            .args(["--links-per-address-max", "16384"])
            .env("ADMINPASSWORD", PASSWORD)
            .env("WORKERPASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        running.child = Some(child);
        drop(running);
        let ready = self.wait_until_ready(&ready_file)?;
        self.running().ready = ready;
        Ok(began.elapsed())
    }

    fn wait_until_ready(&self, file: &Path) -> Result<Ready> {
        let deadline = Instant::now() + READY_DEADLINE;
        loop {
            // It is renamed into place, so what is there is whole.
            if let Ok(bytes) = fs::read(file) {
                return serde_json::from_slice(&bytes).context("the engine's ready file cannot be read");
            }
            let ended = match &mut self.running().child {
                Some(child) => child.try_wait()?,
                None => bail!("the engine was killed before it was ready"),
            };
            if let Some(status) = ended {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                bail!("the engine ended ({status}) before it was ready:\n{log}");
            }
            if Instant::now() > deadline {
                bail!("the engine was not ready within {} s", READY_DEADLINE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&self) {
        let child = self.running().child.take();
        if let Some(mut child) = child {
            // Either fails only if it is gone.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Its process, also while it starts; while there is none, a number that no process has.
    pub(crate) fn pid(&self) -> u32 {
        self.running().child.as_ref().map_or(NOBODY, Child::id)
    }

    pub(crate) fn workers_addr(&self) -> SocketAddr {
        self.running().ready.workers
    }

    pub(crate) fn health(&self) -> SocketAddr {
        self.running().ready.health
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("certs/ca.pem")
    }

    /// The folder of journal and feed.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("engine")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("engine.log")
    }

    pub(crate) fn connect_options(&self) -> ConnectOptions {
        let trust = Trust::Ca(self.ca());
        let mut options = ConnectOptions::new(self.running().ready.clients, trust, "admin", PASSWORD);
        options.mtu_max = self.plan.mtu;
        options
    }

    pub(crate) async fn connect(options: ConnectOptions) -> Result<Client> {
        Client::connect(options)
            .await
            .context("cannot connect to the engine")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Its files go with it, so there is nothing to save.
        self.kill();
    }
}
