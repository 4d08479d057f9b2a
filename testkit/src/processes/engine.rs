//! The engine's process, and workers for it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;

use super::{Signal, appended, program, signal, until, wait_for};

/// Of the operator and of workers.
pub const PASSWORD: &str = "open sesame";

/// Where an engine listens, as its ready file says.
#[derive(Clone, Debug, Deserialize)]
struct Ready {
    workers: SocketAddr,
    clients: SocketAddr,
    health: SocketAddr,
}

/// An engine's process and its folder. Dropped, it is killed with its workers.
#[derive(Debug)]
pub struct Engine {
    folder: tempfile::TempDir,
    options: Vec<String>,
    ready: Option<Ready>,
    child: Option<Child>,
    workers: Vec<Child>,
}

impl Engine {
    /// An engine with small segments and snapshots, so that a test sees many of them.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(options: &[&str]) -> Self {
        let small = ["--segment-mib", "2", "--snapshot-mib", "1"];
        let mut engine = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            options: small
                .iter()
                .chain(options)
                .map(|word| (*word).to_owned())
                .collect(),
            ready: None,
            child: None,
            workers: Vec::new(),
        };
        engine.start_again();
        engine
    }

    /// Its folder, with certificates and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of journal and feed.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.folder().join("engine.log")
    }

    /// Starts it, at the same addresses as before if it ran before, and waits until it is ready.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_again(&mut self) {
        let ready_file = self.folder().join("ready.json");
        drop(fs::remove_file(&ready_file));
        let address = |choose: fn(&Ready) -> SocketAddr| {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            self.ready.as_ref().map_or(any, choose).to_string()
        };
        let child = Command::new(program("pool-engine"))
            .env_clear()
            .arg("--data")
            .arg(self.data())
            .arg("--certs")
            .arg(self.folder().join("certs"))
            .arg("--ready-file")
            .arg(&ready_file)
            .args(["--listen-workers", &address(|ready| ready.workers)])
            .args(["--listen-clients", &address(|ready| ready.clients)])
            .args(["--listen-health", &address(|ready| ready.health)])
            .args(&self.options)
            .env("ADMINPASSWORD", PASSWORD)
            .env("WORKERPASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stderr(appended(&self.log_file()))
            .spawn();
        self.child = Some(child.expect("the engine can be started"));
        until("the engine is ready", || {
            let ended = self
                .child
                .as_mut()
                .and_then(|child| child.try_wait().expect("our child"));
            assert!(ended.is_none(), "the engine ended:\n{}", self.log());
            ready_file.exists()
        });
        let text = fs::read(&ready_file).expect("it is renamed into place");
        self.ready = Some(serde_json::from_slice(&text).expect("the ready file is JSON"));
    }

    /// kill -9.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("our child");
        child.wait().expect("our child");
    }

    /// SIGTERM, and its end in good order.
    ///
    /// # Panics
    /// It does not run, or does not end.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        signal(child.id(), Signal::TERM);
        let status = wait_for(&mut child).expect("it ends");
        assert!(status.success(), "{status}:\n{}", self.log());
    }

    /// A `pool-worker` process that runs null works and every command.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn add_worker(&mut self, name: &str, slots: u32) {
        self.add_worker_with(name, slots, &[]);
    }

    /// The same with these variables.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn add_worker_with(&mut self, name: &str, slots: u32, variables: &[(&str, String)]) {
        let ready = self.ready.as_ref().expect("it was started");
        let worker = Command::new(program("pool-worker"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("POOL_ENGINE", ready.workers.to_string())
            .env("SCHEDULER_DOMAIN", "localhost")
            .env("POOL_CA", self.ca())
            .env("WORKERPASSWORD", PASSWORD)
            .env("WORKERUID", name)
            .env("POOL_WORKER_FOLDER", self.folder().join(name))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .args(["--name", name, "--slots", &slots.to_string(), "--allow", "*"])
            .stdin(Stdio::null())
            .stderr(appended(&self.folder().join(format!("{name}.log"))))
            .spawn();
        self.workers.push(worker.expect("a worker can be started"));
    }

    /// kill -9 of all its workers.
    ///
    /// # Panics
    /// They are no children of ours.
    pub fn stop_workers(&mut self) {
        for mut worker in self.workers.drain(..) {
            worker.kill().expect("our child");
            worker.wait().expect("our child");
        }
    }

    /// Where clients find it.
    ///
    /// # Panics
    /// It was not started.
    #[must_use]
    pub fn clients(&self) -> SocketAddr {
        self.ready.as_ref().expect("it was started").clients
    }

    /// The CA of its certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder().join("certs/ca.pem")
    }

    /// What it has said.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for child in self.workers.iter_mut().chain(&mut self.child) {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- log of the engine\n{}", self.log());
        }
    }
}
