//! An engine of the bench's own: a real process on a folder of its own, which can be killed and started again.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use client::{Client, ConnectOptions, Trust};
use serde::Deserialize;

use super::program::sibling;
use crate::scenario::PoolPlan;

/// The one password, of the administrator and of workers.
pub(crate) const PASSWORD: &str = "bench";

/// How long a start may take; one that reads back a long journal takes its time.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// A running engine; dropping it kills it and removes its files.
pub(crate) struct Engine {
    program: PathBuf,
    plan: PoolPlan,
    folder: tempfile::TempDir,
    child: Option<Child>,
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
        fs::create_dir_all(data).context("cannot make the folder for the engine's files (--data)")?;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut engine = Self {
            program: sibling("pool-engine", "engine-server")?,
            plan: plan.clone(),
            folder: tempfile::tempdir_in(data)?,
            child: None,
            ready: Ready {
                workers: any,
                clients: any,
                health: any,
            },
        };
        engine.launch()?;
        Ok(engine)
    }

    /// Starts it, or starts it again where it was; returns how long it took to be ready.
    pub(crate) fn launch(&mut self) -> Result<Duration> {
        let began = Instant::now();
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
        } = self.ready;
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
        self.child = Some(child);
        self.ready = self.wait_until_ready(&ready_file)?;
        Ok(began.elapsed())
    }

    fn wait_until_ready(&mut self, file: &Path) -> Result<Ready> {
        let deadline = Instant::now() + READY_DEADLINE;
        loop {
            // It is renamed into place, so what is there is whole.
            if let Ok(bytes) = fs::read(file) {
                return serde_json::from_slice(&bytes).context("the engine's ready file cannot be read");
            }
            let child = self.child.as_mut().expect("just started");
            if let Some(status) = child.try_wait()? {
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
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Either fails only if it is gone.
            drop(child.kill());
            drop(child.wait());
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(u32::MAX, Child::id)
    }

    pub(crate) fn workers_addr(&self) -> SocketAddr {
        self.ready.workers
    }

    pub(crate) fn health(&self) -> SocketAddr {
        self.ready.health
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
        let mut options = ConnectOptions::new(self.ready.clients, trust, "admin", PASSWORD);
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
