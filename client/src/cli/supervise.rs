//! Keeps a program running until it is told to stop.
//!
//! ```text
//!   Running ── exits ──► Waiting (backoff) ──► Running
//!      │                    │
//!      └─── told to stop ───┴──► SIGTERM ── deadline, or told again ──► SIGKILL ──► Stopped
//! ```
//!
//! A program that ends by itself with exit code 0 has done what somebody else asked of it (a worker that was
//! drained): it is not started again. Signals go to the processes that were started here and to no other.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Wait before the first restart; each further one waits twice as long.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// The longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A program that ran for this long starts with the shortest wait again.
const STEADY: Duration = Duration::from_secs(30);
/// Time for a stop in good order.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// Variables that would change what a program does beside what it is told here.
const FOREIGN_VARIABLES: [&str; 17] = [
    "POOL_",
    "ADMIN",
    "WORKER",
    "SCHEDULER_",
    "CERTIFICATE_",
    "DBHOST",
    "MYSQL_",
    "SHAREDAPPS",
    "MAXFILESIZE",
    "BLOCKCHAINETHENABLED",
    "ETHNODE",
    "IEXECHUBCONTRACT",
    "RLCCONTRACT",
    "WALLET",
    "CATEGORY",
    "PRICE",
    "TRUST",
];

/// A program with everything that it is started with.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(&'static str, String)>,
    /// Both of its output streams are appended to this file.
    pub(crate) log: PathBuf,
}

/// What became of a program.
#[derive(Debug)]
pub(crate) enum Event {
    /// It ended although nobody here told it to.
    Ended {
        name: String,
        how: String,
        again_in: Option<Duration>,
    },
    /// It cannot be started.
    CannotStart {
        name: String,
        error: io::Error,
        again_in: Duration,
    },
    /// It was started again.
    Restarted { name: String, pid: u32 },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Running,
    Stopped,
    StoppedNow,
}

/// A program that is kept running. Dropped, it is killed.
pub(crate) struct Service {
    program: Arc<Mutex<Program>>,
    wanted: watch::Sender<Wanted>,
    pid: watch::Receiver<Option<u32>>,
    task: JoinHandle<()>,
}

impl Service {
    /// Starts the program; what happens to it later is told to `events`.
    pub(crate) fn start(program: Program, events: mpsc::Sender<Event>) -> io::Result<Self> {
        let child = spawn(&program)?;
        let program = Arc::new(Mutex::new(program));
        let (wanted, told) = watch::channel(Wanted::Running);
        let (pid_is, pid) = watch::channel(child.id());
        let task = tokio::spawn(keep(Arc::clone(&program), child, told, pid_is, events));
        Ok(Self {
            program,
            wanted,
            pid,
            task,
        })
    }

    /// Its process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        *self.pid.borrow()
    }

    /// The next start has these arguments.
    pub(crate) fn set_args(&self, args: Vec<OsString>) {
        self.program.lock().unwrap_or_else(PoisonError::into_inner).args = args;
    }

    /// Asks it to stop in good order.
    pub(crate) fn stop(&self) {
        self.wanted.send_if_modified(|wanted| {
            let first = *wanted == Wanted::Running;
            if first {
                *wanted = Wanted::Stopped;
            }
            first
        });
    }

    /// Stops it at once.
    pub(crate) fn kill(&self) {
        self.wanted.send_replace(Wanted::StoppedNow);
    }

    /// Waits until it has stopped.
    pub(crate) async fn stopped(&mut self) {
        // A task that panicked has dropped its child, which kills it.
        let _ = (&mut self.task).await;
    }
}

async fn keep(
    program: Arc<Mutex<Program>>,
    mut child: Child,
    mut told: watch::Receiver<Wanted>,
    pid_is: watch::Sender<Option<u32>>,
    events: mpsc::Sender<Event>,
) {
    let mut backoff = BACKOFF_MIN;
    loop {
        let started = Instant::now();
        let status = tokio::select! {
            status = child.wait() => Some(status),
            _ = told.wait_for(|wanted| *wanted != Wanted::Running) => None,
        };
        let Some(status) = status else {
            end(&mut child, &mut told).await;
            pid_is.send_replace(None);
            return;
        };
        pid_is.send_replace(None);
        if started.elapsed() > STEADY {
            backoff = BACKOFF_MIN;
        }
        let program = program.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let done = status.as_ref().is_ok_and(ExitStatus::success);
        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let again_in = (!done).then_some(backoff);
        // Nobody listens any more when everything is being stopped.
        let _ = events.try_send(Event::Ended {
            name: program.name.clone(),
            how,
            again_in,
        });
        if done {
            return;
        }
        child = loop {
            tokio::select! {
                () = sleep(backoff) => {}
                _ = told.wait_for(|wanted| *wanted != Wanted::Running) => return,
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
            let name = program.name.clone();
            match spawn(&program) {
                Ok(child) => {
                    pid_is.send_replace(child.id());
                    let _ = events.try_send(Event::Restarted {
                        name,
                        pid: child.id().unwrap_or_default(),
                    });
                    break child;
                }
                Err(error) => {
                    let _ = events.try_send(Event::CannotStart {
                        name,
                        error,
                        again_in: backoff,
                    });
                }
            }
        };
    }
}

/// SIGTERM, and SIGKILL if that is not enough.
async fn end(child: &mut Child, told: &mut watch::Receiver<Wanted>) {
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
    }
    tokio::select! {
        ended = timeout(STOP_DEADLINE, child.wait()) => {
            if ended.is_ok() {
                return;
            }
        }
        _ = told.wait_for(|wanted| *wanted == Wanted::StoppedNow) => {}
    }
    let _ = child.kill().await;
}

fn spawn(program: &Program) -> io::Result<Child> {
    if let Some(folder) = program.log.parent() {
        fs::create_dir_all(folder)?;
    }
    let log = OpenOptions::new().create(true).append(true).open(&program.log)?;
    let mut command = Command::new(&program.path);
    let foreign = |name: &str| FOREIGN_VARIABLES.iter().any(|prefix| name.starts_with(prefix));
    for (name, _) in std::env::vars_os().filter(|(name, _)| foreign(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
        .args(&program.args)
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // A Ctrl-C of the terminal is for us: we stop them in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(folder: &std::path::Path, script: &str) -> Program {
        Program {
            name: "sh".to_owned(),
            path: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: Vec::new(),
            log: folder.join("sh.log"),
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn a_crashed_program_is_started_again_and_one_that_is_done_is_not() {
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let marker = folder.path().join("second");
            // The first run crashes, the second is done.
            let script = format!("[ -e {0} ] && exit 0; touch {0}; exit 3", marker.display());
            let (events, mut told) = mpsc::channel(8);
            let mut service = Service::start(shell(folder.path(), &script), events).unwrap();
            match told.recv().await.unwrap() {
                Event::Ended {
                    how,
                    again_in: Some(_),
                    ..
                } => assert!(how.contains('3'), "{how}"),
                other => panic!("{other:?}"),
            }
            assert!(matches!(told.recv().await.unwrap(), Event::Restarted { .. }));
            assert!(matches!(
                told.recv().await.unwrap(),
                Event::Ended { again_in: None, .. }
            ));
            service.stopped().await;
            assert_eq!(service.pid(), None);
        });
    }

    #[test]
    fn a_program_that_is_told_to_stop_ends_in_good_order() {
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let ready = folder.path().join("ready");
            let script = format!(
                "trap 'echo bye; exit 0' TERM; touch {}; while :; do sleep 0.05; done",
                ready.display()
            );
            let (events, mut told) = mpsc::channel(8);
            let mut service = Service::start(shell(folder.path(), &script), events).unwrap();
            while !ready.exists() {
                sleep(Duration::from_millis(5)).await;
            }
            service.stop();
            service.stopped().await;
            assert!(told.try_recv().is_err(), "a stop that was asked for is no event");
            assert_eq!(fs::read_to_string(folder.path().join("sh.log")).unwrap(), "bye\n");
        });
    }

    #[test]
    fn a_program_that_does_not_listen_is_killed() {
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let ready = folder.path().join("ready");
            let script = format!(
                "trap '' TERM; touch {}; while :; do sleep 0.05; done",
                ready.display()
            );
            let (events, _told) = mpsc::channel(8);
            let mut service = Service::start(shell(folder.path(), &script), events).unwrap();
            while !ready.exists() {
                sleep(Duration::from_millis(5)).await;
            }
            service.stop();
            service.kill();
            service.stopped().await;
            assert_eq!(service.pid(), None);
        });
    }
}
