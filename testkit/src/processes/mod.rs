//! Real processes of the pool, for tests that start, kill and restart them.

mod engine;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub use engine::{Engine, PASSWORD};
pub use rustix::process::Signal;

/// How long anything may take before a test gives up; far more than it needs on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Packages with programs that a pool is made of.
const PACKAGES: [&str; 6] = [
    "engine-server",
    "worker-agent",
    "client",
    "sidecars-persist",
    "sidecars-reconcile",
    "sidecars-gateway",
];

/// A program of the pool, beside the test that asks for it. Cargo builds for a test the programs of its own package; if
/// others are not there, this builds them, once.
///
/// # Panics
/// It cannot be built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    static BUILDS: OnceLock<()> = OnceLock::new();
    let test = std::env::current_exe().expect("a test has a program");
    let folder = test.parent().and_then(Path::parent).expect("target/debug/deps");
    let path = folder.join(name);
    if !path.exists() {
        BUILDS.get_or_init(|| {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Command::new(cargo);
            build.args(["build", "--locked", "--bins"]);
            build.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
            if !cfg!(debug_assertions) {
                build.arg("--release");
            }
            let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status();
            assert!(status.expect("cargo runs").success(), "the programs are built");
        });
    }
    assert!(path.exists(), "there is {}", path.display());
    path
}

/// Waits for the end of a process; `None`: it takes too long.
///
/// # Panics
/// It is not a process of ours.
pub fn wait_for(child: &mut Child) -> Option<ExitStatus> {
    let mut ended = None;
    until("a process ends", || {
        ended = child.try_wait().expect("our child");
        ended.is_some()
    });
    ended
}

/// Sends a signal to a process that a test has started.
///
/// # Panics
/// It is gone.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .expect("a pid");
    rustix::process::kill_process(pid, signal).expect("a process of ours");
}

/// Asks again and again until it holds.
///
/// # Panics
/// It does not for longer than [`PATIENCE`].
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it never came to pass that {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A file that a process appends its words to.
///
/// # Panics
/// It cannot be opened.
#[must_use]
pub fn appended(path: &Path) -> File {
    let file = File::options().create(true).append(true).open(path);
    file.expect("a log file")
}
