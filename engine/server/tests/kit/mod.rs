//! A pool of real processes in a folder of its own: an engine that can be killed and started again in the same
//! place, workers, clients, hostile peers, and a look into the journal afterwards.

mod hold;
mod journal;
mod load;
mod peer;
mod workers;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use client::protocol::ids::WorkId;
use client::protocol::template::{Retry, WorkTemplate};
use client::protocol::units::Millis;
use client::{Client, ConnectOptions, Follow, Trust};
use serde::Deserialize;

pub(crate) use hold::Held;
pub(crate) use journal::{Audit, History};
pub(crate) use load::{Load, Promise};
pub(crate) use peer::{Heard, Peer, connector, join, join_with_wallet, login};
pub(crate) use workers::{InnerWorker, NullWorkers, Worker};

/// How long anything may take before a test gives up; far more than it needs on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const ADMIN_PASSWORD: &str = "open sesame";
pub(crate) const WORKER_PASSWORD: &str = "hunter2";

/// Where an engine listens, as its ready file says.
#[derive(Clone, Deserialize, Debug)]
pub(crate) struct Ready {
    pub(crate) workers: SocketAddr,
    pub(crate) clients: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) feed: PathBuf,
}

/// An engine's process and its folder. Dropped, it is killed.
pub(crate) struct Engine {
    folder: tempfile::TempDir,
    /// Whether workers may come in by a password.
    has_worker_password: bool,
    options: Vec<String>,
    ready: Option<Ready>,
    child: Option<Child>,
}

impl Engine {
    /// An engine with small segments and snapshots, so that a test sees many of them.
    pub(crate) fn start(options: &[&str]) -> Self {
        let mut engine = Self::prepare(options);
        engine.start_again();
        engine
    }

    /// The same, into which workers come by tokens and certificates alone.
    pub(crate) fn without_worker_password(options: &[&str]) -> Self {
        let mut engine = Self::prepare(options);
        engine.has_worker_password = false;
        engine.start_again();
        engine
    }

    /// The same, not started yet.
    pub(crate) fn prepare(options: &[&str]) -> Self {
        let small = ["--segment-mib", "2", "--snapshot-mib", "1"];
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            has_worker_password: true,
            options: small
                .iter()
                .chain(options)
                .map(|word| (*word).to_owned())
                .collect(),
            ready: None,
            child: None,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.folder().join("certs/ca.pem")
    }

    pub(crate) fn ready(&self) -> &Ready {
        self.ready.as_ref().expect("it was started")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// The program on this folder, at the same addresses as before if it ran before.
    pub(crate) fn command(&self) -> Command {
        let address = |choose: fn(&Ready) -> SocketAddr| {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            self.ready.as_ref().map_or(any, choose).to_string()
        };
        let mut command = bare_command();
        command
            .arg("--data")
            .arg(self.data())
            .arg("--certs")
            .arg(self.folder().join("certs"))
            .arg("--ready-file")
            .arg(self.ready_file())
            .args(["--listen-workers", &address(|ready| ready.workers)])
            .args(["--listen-clients", &address(|ready| ready.clients)])
            .args(["--listen-health", &address(|ready| ready.health)])
            .args(&self.options)
            .env("ADMINPASSWORD", ADMIN_PASSWORD);
        if self.has_worker_password {
            command.env("WORKERPASSWORD", WORKER_PASSWORD);
        }
        command
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn start_again(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        self.spawn();
        while !self.is_ready() {
            let ended = self
                .child
                .as_mut()
                .expect("it was spawned")
                .try_wait()
                .expect("our child");
            match ended.and_then(|status| status.code()) {
                // While it was away somebody else on this machine got its port for a moment.
                Some(4) if self.ready.is_some() => self.spawn(),
                Some(code) => panic!("the engine ended with {code}:\n{}", self.log()),
                None => {}
            }
            assert!(
                Instant::now() < deadline,
                "the engine does not get ready:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it and does not wait.
    pub(crate) fn spawn(&mut self) {
        drop(fs::remove_file(self.ready_file()));
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("a log file");
        let child = self
            .command()
            .stderr(log)
            .spawn()
            .expect("the engine can be started");
        self.child = Some(child);
    }

    fn is_ready(&mut self) -> bool {
        let Ok(text) = fs::read(self.ready_file()) else {
            return false;
        };
        self.ready = Some(serde_json::from_slice(&text).expect("the ready file is JSON"));
        true
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("our child");
        child.wait().expect("our child");
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }

    pub(crate) fn terminate(&self) {
        signal(self.pid(), rustix::process::Signal::TERM);
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        wait_for(&mut child).unwrap_or_else(|| panic!("the engine does not end:\n{}", self.log()))
    }

    /// All that it has logged in all its runs.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder().join("engine.log")
    }

    fn ready_file(&self) -> PathBuf {
        self.folder().join("ready.json")
    }

    pub(crate) fn connect_options(&self) -> ConnectOptions {
        ConnectOptions::new(
            self.ready().clients,
            Trust::Ca(self.ca()),
            "admin",
            ADMIN_PASSWORD,
        )
    }

    pub(crate) async fn client(&self) -> Client {
        let client = Client::connect(self.connect_options()).await;
        client.unwrap_or_else(|error| panic!("{error:?}\n{}", self.log()))
    }

    /// Resident memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("VmRSS");
        line.trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .expect("a number")
            * 1024
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- log of the engine\n{}", self.log());
        }
    }
}

/// The program with an environment of its own.
pub(crate) fn bare_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pool-engine"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// Waits for the end of a process; `None`: it takes too long.
pub(crate) fn wait_for(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().expect("our child") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .expect("a pid");
    rustix::process::kill_process(pid, signal).expect("a process of ours");
}

/// Asks again and again until it holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "it never came to pass that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Works that take no time and have no result.
pub(crate) fn null() -> WorkTemplate {
    WorkTemplate {
        app: "null".to_owned(),
        ..WorkTemplate::default()
    }
}

/// Works that run a command, with one column `x`; retried soon.
pub(crate) fn command(words: &[&str]) -> WorkTemplate {
    WorkTemplate {
        command: words.iter().map(|word| (*word).to_owned()).collect(),
        columns: vec!["x".to_owned()],
        retry: Retry {
            backoff_min: Millis(50),
            ..Retry::default()
        },
        ..WorkTemplate::default()
    }
}

/// An outcome as a client heard of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Outcome {
    pub(crate) work: WorkId,
    pub(crate) outcome: client::protocol::outcome::Outcome,
    pub(crate) attempt: u16,
    pub(crate) exit_code: i32,
    pub(crate) result: Vec<u8>,
}

impl Outcome {
    /// What the command wrote to standard output.
    pub(crate) fn stdout(&self) -> String {
        let output = client::protocol::outcome::Output::parse(&self.result).expect("a command's result");
        String::from_utf8(output.stdout.to_vec()).expect("text")
    }
}

/// Collects outcomes until there are no more, in order of their works.
pub(crate) async fn all_outcomes(mut follow: Follow) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let collecting = async {
        loop {
            let heard = follow.recv(|item| {
                outcomes.push(Outcome {
                    work: item.work,
                    outcome: item.outcome,
                    attempt: item.attempt.0,
                    exit_code: item.exit_code,
                    result: item.result.to_vec(),
                });
            });
            if heard.await.expect("outcomes come") == 0 {
                break;
            }
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, collecting).await;
    assert!(
        in_time.is_ok(),
        "{} of {} outcomes came",
        follow.done(),
        follow.total()
    );
    assert_eq!(follow.missing(), 0, "all results are in the journal");
    outcomes.sort_by_key(|outcome| outcome.work);
    outcomes
}
