//! A pool of real processes with a persist sidecar: an engine that can be killed and started again in the same place,
//! workers, a client, and the tables afterwards.

mod engine;
mod sidecar;
mod tables;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub(crate) use engine::Engine;
pub(crate) use sidecar::Sidecar;
use sidecars_tables::Target;
pub(crate) use tables::{dump, position, sqlite, texts, undisturbed};

/// How long anything may take before a test gives up; far more than it needs on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A program of another package, beside the one of ours. Cargo builds it for the tests of its own package, not for
/// ours; if it is not there, this builds it, once.
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    static BUILDS: OnceLock<()> = OnceLock::new();
    let path = PathBuf::from(env!("CARGO_BIN_EXE_pool-persist")).with_file_name(name);
    if !path.exists() {
        BUILDS.get_or_init(|| {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Command::new(cargo);
            build.args([
                "build",
                "--locked",
                "--package",
                "engine-server",
                "--package",
                "worker-agent",
                "--package",
                "client",
            ]);
            if !cfg!(debug_assertions) {
                build.arg("--release");
            }
            let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status();
            assert!(status.expect("cargo runs").success(), "the programs are built");
        });
    }
    assert!(path.exists(), "{package} has {}", path.display());
    path
}

/// The command line of a pool; its exit code, the object that it prints and what it says beside it.
pub(crate) fn pool(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, serde_json::Value, String) {
    let ended = Command::new(program("pool", "client"))
        .env_clear()
        .envs(variables.iter().copied())
        .args(["-o", "json"])
        .args(arguments)
        .output()
        .expect("it runs");
    let said = serde_json::from_slice(&ended.stdout).unwrap_or_default();
    let problem = String::from_utf8_lossy(&ended.stderr).into_owned();
    (ended.status.code().expect("it was not killed"), said, problem)
}

/// `pool db <verb>` on the journal in this folder and on this database.
pub(crate) fn pool_db(verb: &[&str], journal: &Path, target: &Target) -> (i32, serde_json::Value, String) {
    let variables = Sidecar::variables(target);
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let place = ["--journal", journal.to_str().expect("it is UTF-8")];
    pool(&[&["db"], verb, &place].concat(), &variables)
}

/// Waits for the end of a process; `None`: it takes too long.
pub(crate) fn wait_for(child: &mut Child) -> Option<ExitStatus> {
    let mut ended = None;
    until("a process ends", || {
        ended = child.try_wait().expect("our child");
        ended.is_some()
    });
    ended
}

pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .expect("a pid");
    rustix::process::kill_process(pid, signal).expect("a process of ours");
}

/// Asks again and again until it holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it never came to pass that {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
