//! Workers: real processes, and agents inside the test for works that need none.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use client::protocol::template::Offer;
use testkit::net::Namespace;
use tokio::sync::oneshot;
use worker_agent::executor::Executor;
use worker_agent::{AgentConfig, Settings, Trust};

use super::{Engine, WORKER_PASSWORD, wait_for};

/// A `pool-worker` process. Dropped, it is killed.
pub(crate) struct Worker {
    pub(crate) name: String,
    child: Child,
    log: PathBuf,
}

impl Worker {
    /// Starts a worker of this name that may run `allow`.
    pub(crate) fn start(engine: &Engine, name: &str, slots: u32, allow: &str) -> Self {
        Self::start_with(engine, name, slots, allow, &[])
    }

    /// The same with more variables.
    pub(crate) fn start_with(
        engine: &Engine,
        name: &str,
        slots: u32,
        allow: &str,
        variables: &[(&str, &OsStr)],
    ) -> Self {
        Self::with(engine, name, |command| {
            command
                .env("WORKERPASSWORD", WORKER_PASSWORD)
                .args(["--slots", &slots.to_string(), "--allow", allow])
                .envs(variables.iter().copied())
        })
    }

    /// The same in a network of its own, where it finds the engine at this address.
    pub(crate) fn start_inside(
        network: &Namespace,
        at: SocketAddr,
        engine: &Engine,
        name: &str,
        slots: u32,
        variables: &[(&str, &OsStr)],
    ) -> Self {
        let mut inside = network.command();
        inside.arg(program());
        Self::spawn(inside, engine, name, |command| {
            command
                .env("WORKERPASSWORD", WORKER_PASSWORD)
                .env("POOL_ENGINE", at.to_string())
                .args(["--slots", &slots.to_string(), "--allow", "/bin/sh"])
                .envs(variables.iter().copied())
        })
    }

    /// Starts a worker of one slot that has no password: its folder says who it is, or this token does.
    pub(crate) fn without_password(engine: &Engine, name: &str, token: Option<&str>) -> Self {
        Self::with(engine, name, |command| {
            let command = command.args(["--slots", "1", "--allow", "/bin/sh"]);
            match token {
                Some(token) => command.env("POOL_ENROL_TOKEN", token),
                None => command,
            }
        })
    }

    /// What `pool-worker doctor` finds in the folder of the worker of this name, which has no password.
    pub(crate) fn doctor(engine: &Engine, name: &str) -> String {
        let mut command = Self::command(Command::new(program()), engine, name);
        let output = command.arg("doctor").output().expect("a worker can be started");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn with(engine: &Engine, name: &str, options: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        Self::spawn(Command::new(program()), engine, name, options)
    }

    fn spawn(
        program: Command,
        engine: &Engine,
        name: &str,
        options: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let log = engine.folder().join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log file");
        let mut command = Self::command(program, engine, name);
        command.args(["--name", name]).stdin(Stdio::null()).stderr(file);
        let child = options(&mut command).spawn().expect("a worker can be started");
        Self {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// The program, in the folder of this name.
    fn command(mut command: Command, engine: &Engine, name: &str) -> Command {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("POOL_ENGINE", engine.ready().workers.to_string())
            .env("SCHEDULER_DOMAIN", "localhost")
            .env("POOL_CA", engine.ca())
            .env("WORKERUID", name)
            .env("POOL_WORKER_FOLDER", engine.folder().join(name))
            // Works of tests leave marks there.
            .env("POOL_PROCESS_WRITE", engine.folder());
        command
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }

    /// What it has logged.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// It has ended, with this code.
    pub(crate) fn has_ended(&mut self) -> Option<i32> {
        self.child.try_wait().expect("our child")?.code()
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        super::signal(self.child.id(), rustix::process::Signal::TERM);
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for(&mut self.child).unwrap_or_else(|| panic!("{} does not end", self.name))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("--- log of {}\n{log}", self.name);
        }
    }
}

/// The worker's program. Cargo builds it for the tests of its own package, not for ours; if it is not there, this
/// builds it, once.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = Path::new(env!("CARGO_BIN_EXE_pool-engine")).with_file_name("pool-worker");
        if !program.exists() {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Command::new(cargo);
            build.args(["build", "--package", "worker-agent"]);
            if !cfg!(debug_assertions) {
                build.arg("--release");
            }
            let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status();
            assert!(status.expect("cargo runs").success(), "pool-worker is built");
        }
        program
    })
}

/// Agents in a thread of their own that run works of `null`. Dropped, they are gone without a word.
pub(crate) struct NullWorkers {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl NullWorkers {
    pub(crate) fn start(engine: &Engine, names: &[&str], slots: u32) -> Self {
        let configs: Vec<AgentConfig> = names.iter().map(|name| config(engine, name, slots)).collect();
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let mut agents = tokio::task::JoinSet::new();
                let local = tokio::task::LocalSet::new();
                for config in configs {
                    agents.spawn_local_on(worker_agent::run(config, std::future::pending()), &local);
                }
                tokio::select! {
                    ended = local.run_until(agents.join_next()) => panic!("an agent has ended: {ended:?}"),
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new()
            .name("null workers".to_owned())
            .spawn(work);
        Self {
            stop: Some(stop),
            thread: Some(thread.expect("a thread")),
        }
    }
}

impl Drop for NullWorkers {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().expect("joined once").join();
        assert!(
            ended.is_ok() || std::thread::panicking(),
            "null workers work to the end"
        );
    }
}

/// An agent in a thread of its own, with executors of the test. Dropped, it is gone without a word.
pub(crate) struct InnerWorker {
    _stop: oneshot::Sender<()>,
}

impl InnerWorker {
    pub(crate) fn start(engine: &Engine, name: &str, slots: u32, executors: Vec<Arc<dyn Executor>>) -> Self {
        let config = AgentConfig {
            executors,
            ..config(engine, name, slots)
        };
        let (stop, stopped) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                tokio::select! {
                    ended = worker_agent::run(config, std::future::pending()) => panic!("it has ended: {ended:?}"),
                    _ = stopped => {}
                }
            });
        });
        Self { _stop: stop }
    }
}

/// An offer of nothing but `null`.
pub(crate) fn offer(slots: u32) -> Offer {
    Offer {
        executors: vec!["null".to_owned()],
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        slots,
        prefill: slots * 2,
        ..Offer::default()
    }
}

fn config(engine: &Engine, name: &str, slots: u32) -> AgentConfig {
    AgentConfig {
        engine: engine.ready().workers.to_string(),
        server_name: "localhost".to_owned(),
        connector: worker_agent::connector(Trust::Ca(engine.ca())).expect("the engine made a CA"),
        certified: None,
        wallet: None,
        chain: None,
        settings: Settings {
            login: "vworker".to_owned(),
            password: WORKER_PASSWORD.to_owned(),
            identity: None,
            uid: name.to_owned(),
            name: name.to_owned(),
            version: "test".to_owned(),
            offer: offer(slots),
            warm: Vec::new(),
        },
        executors: Vec::new(),
        clerk: None,
        folder: None,
        drain_within: None,
        disk: None,
    }
}
