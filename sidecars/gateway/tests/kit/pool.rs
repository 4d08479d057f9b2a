//! An engine, a worker and the command line beside the gateway: works that have files.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use super::{Gateway, PASSWORD, until};

/// A program of another package, beside the one of ours. Cargo builds it for the tests of its own package, not for
/// ours; if it is not there, this builds it, once.
pub(crate) fn program(name: &str) -> PathBuf {
    static BUILDS: OnceLock<()> = OnceLock::new();
    let path = PathBuf::from(env!("CARGO_BIN_EXE_pool-gateway")).with_file_name(name);
    if !path.exists() {
        BUILDS.get_or_init(|| {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Command::new(cargo);
            let packages = ["engine-server", "worker-agent", "client"];
            build.args(["build", "--locked"]);
            build.args(packages.iter().flat_map(|package| ["--package", package]));
            if !cfg!(debug_assertions) {
                build.arg("--release");
            }
            let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status();
            assert!(status.expect("cargo runs").success(), "the programs are built");
        });
    }
    path
}

/// A pool with files. Dropped, its processes are killed.
pub(crate) struct Pool {
    pub(crate) gateway: Gateway,
    ready: Value,
    engine: Child,
    worker: Option<Child>,
}

impl Pool {
    pub(crate) fn start(gateway_options: &[&str]) -> Self {
        let gateway = Gateway::with(gateway_options);
        let folder = gateway.folder.path().to_owned();
        let ready_file = folder.join("engine.json");
        let engine = Command::new(program("pool-engine"))
            .env_clear()
            .env("ADMINPASSWORD", PASSWORD)
            .env("WORKERPASSWORD", PASSWORD)
            .arg("--data")
            .arg(folder.join("engine"))
            .arg("--certs")
            .arg(folder.join("certs"))
            .arg("--ready-file")
            .arg(&ready_file)
            .args([
                "--listen-workers",
                "127.0.0.1:0",
                "--listen-clients",
                "127.0.0.1:0",
            ])
            .args(["--listen-health", "127.0.0.1:0", "--files-url", &gateway.url("")])
            .stdin(Stdio::null())
            .stderr(log(&folder, "engine"))
            .spawn();
        let engine = engine.expect("it can be started");
        until("the engine is ready", || ready_file.exists());
        let ready = fs::read(&ready_file).expect("it is renamed into place");
        let mut pool = Self {
            gateway,
            ready: serde_json::from_slice(&ready).expect("JSON"),
            engine,
            worker: None,
        };
        pool.start_worker(&[]);
        pool
    }

    pub(crate) fn folder(&self) -> &Path {
        self.gateway.folder.path()
    }

    pub(crate) fn start_worker(&mut self, options: &[&str]) {
        let folder = self.folder().to_owned();
        let worker = Command::new(program("pool-worker"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("POOL_ENGINE", self.ready["workers"].as_str().expect("an address"))
            .env("SCHEDULER_DOMAIN", "localhost")
            .env("POOL_CA", folder.join("certs/ca.pem"))
            .env("WORKERPASSWORD", PASSWORD)
            .env("POOL_WORKER_FOLDER", folder.join("worker"))
            .args(["--slots", "2", "--allow", "*"])
            .args(options)
            .stdin(Stdio::null())
            .stderr(log(&folder, "worker"))
            .spawn();
        self.worker = Some(worker.expect("it can be started"));
    }

    /// kill -9.
    pub(crate) fn kill_worker(&mut self) {
        let mut worker = self.worker.take().expect("it runs");
        worker.kill().expect("our child");
        worker.wait().expect("our child");
    }

    pub(crate) fn worker_pid(&self) -> u32 {
        self.worker.as_ref().expect("it runs").id()
    }

    /// The command line: its exit code, and what it prints.
    pub(crate) fn pool(&self, arguments: &[&str]) -> (i32, Value) {
        let ended = Command::new(program("pool"))
            .env_clear()
            .env(
                "POOL_ENGINE_CLIENT",
                self.ready["clients"].as_str().expect("an address"),
            )
            .env("POOL_CA", self.folder().join("certs/ca.pem"))
            .env("ADMINPASSWORD", PASSWORD)
            .args(["-o", "json", "--server-name", "localhost"])
            .args(arguments)
            .output()
            .expect("it runs");
        let said = serde_json::from_slice(&ended.stdout).unwrap_or_else(|_| {
            Value::String(String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned())
        });
        (ended.status.code().expect("it was not killed"), said)
    }

    /// Submits works and waits for them; the first as it is shown then.
    pub(crate) fn run(&self, arguments: &[&str]) -> Value {
        let (code, bag) = self.pool(&[&["work", "submit"], arguments].concat());
        assert_eq!(code, 0, "{bag}");
        let first = bag["first_work"].to_string();
        self.pool(&["work", "wait", &first, "--timeout", "60s"]);
        let (code, work) = self.pool(&["work", "get", &first]);
        assert_eq!(code, 0, "{bag} {work}");
        work
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for child in [Some(&mut self.engine), self.worker.as_mut()]
            .into_iter()
            .flatten()
        {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            for name in ["engine", "worker"] {
                let text = fs::read_to_string(self.folder().join(format!("{name}.log")));
                eprintln!("--- log of the {name}\n{}", text.unwrap_or_default());
            }
        }
    }
}

fn log(folder: &Path, name: &str) -> fs::File {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join(format!("{name}.log")));
    file.expect("a log")
}
