//! An engine of the bench's own: a real process on a folder of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use client::{Client, ConnectOptions, Trust};
use serde::Deserialize;

/// Where the engine's files go and how it is set up.
#[derive(Args, Clone, Debug)]
pub(crate) struct EngineArguments {
    /// Folder for the engine's files; a temporary one beneath it is made and removed. It must be on the disk that is
    /// to be measured
    #[arg(long, default_value = "target/bench", value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Largest UDP payload on all links; loopback carries up to 65527
    #[arg(long, default_value_t = 8192, value_name = "BYTES")]
    pub(crate) mtu: u16,
}

/// A running engine; dropping it stops it and removes its files.
pub(crate) struct Engine {
    child: Child,
    folder: tempfile::TempDir,
    ready: Ready,
    mtu: u16,
}

#[derive(Deserialize)]
struct Ready {
    workers: SocketAddr,
    clients: SocketAddr,
}

const PASSWORD: &str = "bench";

impl Engine {
    pub(crate) fn start(arguments: &EngineArguments) -> Result<Self> {
        fs::create_dir_all(&arguments.data)
            .context("cannot make the folder for the engine's files (--data)")?;
        let folder = tempfile::tempdir_in(&arguments.data)?;
        let program = sibling("pool-engine", "engine-server")?;
        let ready_file = folder.path().join("ready.json");
        let log = fs::File::create(folder.path().join("engine.log"))?;
        let child = Command::new(&program)
            .arg("--data")
            .arg(folder.path().join("engine"))
            .arg("--certs")
            .arg(folder.path().join("certs"))
            .args([
                "--listen-workers",
                "127.0.0.1:0",
                "--listen-clients",
                "127.0.0.1:0",
            ])
            .args([
                "--listen-health",
                "127.0.0.1:0",
                "--mtu-max",
                &arguments.mtu.to_string(),
            ])
            .arg("--ready-file")
            .arg(&ready_file)
            .env("ADMINPASSWORD", PASSWORD)
            .env("WORKERPASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut engine = Self {
            child,
            folder,
            ready: Ready {
                workers: ([0; 4], 0).into(),
                clients: ([0; 4], 0).into(),
            },
            mtu: arguments.mtu,
        };
        engine.ready = engine.wait_until_ready(&ready_file)?;
        Ok(engine)
    }

    fn wait_until_ready(&mut self, file: &Path) -> Result<Ready> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(bytes) = fs::read(file) {
                return serde_json::from_slice(&bytes).context("the engine's ready file cannot be read");
            }
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(self.folder.path().join("engine.log")).unwrap_or_default();
                bail!("the engine ended ({status}) before it was ready:\n{log}");
            }
            if Instant::now() > deadline {
                bail!("the engine was not ready within 20 s");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn workers_addr(&self) -> String {
        self.ready.workers.to_string()
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::Ca(self.folder.path().join("certs/ca.pem"))
    }

    pub(crate) fn password(&self) -> &'static str {
        PASSWORD
    }

    pub(crate) async fn connect(&self) -> Result<Client> {
        let mut options = ConnectOptions::new(self.ready.clients, self.trust(), "admin", PASSWORD);
        options.mtu_max = self.mtu;
        Client::connect(options)
            .await
            .context("cannot connect to the engine")
    }

    /// Bytes of the engine's journal and snapshots.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let files = fs::read_dir(self.folder.path().join("engine"))
            .into_iter()
            .flatten()
            .flatten();
        files
            .filter_map(|file| file.metadata().ok())
            .map(|file| file.len())
            .sum()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Its files go with it, so there is nothing to save.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A program beside this one. Where it is missing and cargo runs this one, it is built first.
fn sibling(name: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if let Some(cargo) = std::env::var_os("CARGO").filter(|_| !path.exists()) {
        let release = path.parent().is_some_and(|folder| folder.ends_with("release"));
        let mut build = Command::new(cargo);
        build
            .args(["build", "--quiet", "--locked", "--package", package])
            .args(release.then_some("--release"));
        if !build.status().context("cannot run cargo")?.success() {
            bail!("{name} could not be built");
        }
    }
    if !path.exists() {
        bail!(
            "{} is missing; build it with `cargo build --release --workspace --bins`",
            path.display()
        );
    }
    Ok(path)
}
