//! Commands as child processes.
//!
//! Each attempt is its own process group in its own folder, with an environment of a few variables, its output
//! captured up to a bound. When the command exits, whatever else of its group still lives is killed; so a work
//! ends when its command does, also if something that it started holds on to its output.
//!
//! ```text
//!  spawn ─► the command runs ─┬─ exits ──────────────► output until its end, at most 200 ms ─┐
//!                             ├─ wall clock is over ─► kill the group                        ├─► kill the group, reap
//!                             └─ cancelled ──────────► kill the group                        ┘
//! ```
//!
//! The exit is seen through a pidfd, and the command is reaped last: until then its number, which is the
//! group's, cannot go to another process.
//!
//! A sandbox keeps a command from files that are none of its business, and a filter of system calls from what attacks a
//! machine and, unless the operator says otherwise, from the network, where the kernel can; see `sandbox` and `seccomp`.
//! Still it runs as the worker's user, reaches services of this machine by their unix sockets, and if it leaves its process
//! group it outlives its work. Containers are for code that is not trusted.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags};
use tokio::io::AsyncWriteExt;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, ChildStdin};
use wire_protocol::outcome::Reason;
use wire_protocol::template::{Input, Limits};

use super::allow::{Allow, Refused};
use super::capture::Capture;
use super::command::Words;
use super::folder::{Folder, Workspace};
use super::gpu::{Gpus, Taken};
use super::guardian::Guardian;
use super::launch::{Dress, GroupGuard, Launched, launch, launch_shim};
use super::sandbox::Sandbox;
use super::seccomp::{Filtered, Seccomp};
use super::shim::{self, Shim};
use super::{Attempt, Ended, Executor, Kill, NotRun, Running, world_reason};
use crate::files::{self, Files};

/// How long output may still come after the command itself has exited.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Variables of the worker that a command gets; a template may override them.
const INHERITED: [(&str, &str); 2] = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C.UTF-8")];

/// What the executor needs.
pub struct ProcessConfig {
    /// Where works get their folders.
    pub folder: Arc<Folder>,
    /// What may run.
    pub allow: Allow,
    /// The `pool-worker` program, which is also its own helper: see `shim` and `guardian`.
    pub shim: PathBuf,
    /// What a command may touch; `None`: what this account may.
    pub sandbox: Option<Sandbox>,
    /// What it may call, and whether it has a network; `None`: everything, and one.
    pub seccomp: Option<Seccomp>,
    /// GPUs that works may have, shared with the other executors.
    pub gpus: Arc<Gpus>,
    /// How works have files; `None`: they have none.
    pub files: Option<Arc<Files>>,
}

/// The executor `process`.
///
/// A command with limits of memory or of processes dies with the thread that started it (`PR_SET_PDEATHSIG`). Where calls are
/// not filtered that is the one that polls its attempt, so that has to live as long as the worker: one of a runtime, not of its
/// blocking pool.
pub struct Process {
    config: ProcessConfig,
    guardian: Guardian,
}

impl Process {
    /// With this configuration.
    #[must_use]
    pub fn new(config: ProcessConfig) -> Self {
        let (folder, works) = (config.folder.path(), config.folder.works());
        let guardian = Guardian::new(config.shim.clone(), folder, works);
        Self { config, guardian }
    }
}

impl Executor for Process {
    fn name(&self) -> &'static str {
        "process"
    }

    fn run(self: Arc<Self>, attempt: Attempt, mut kill: Kill) -> Running {
        Box::pin(async move {
            // It may have to wait for GPUs.
            let prepared = tokio::select! {
                prepared = self.prepare(&attempt) => prepared,
                () = kill.wished() => Err(NotRun(Reason::ExecutorFailed, "stopped before it began".to_owned())),
            };
            match prepared {
                Ok(prepared) => self.execute(&attempt, prepared, &mut kill).await,
                Err(not_run) => not_run.into(),
            }
        })
    }
}

/// What a command is made of, once everything was checked.
struct Prepared {
    program: PathBuf,
    filtered: Option<Filtered>,
    words: Words,
    gpus: Taken,
}

/// Where a command's standard input comes from.
enum Source {
    Nothing,
    File(File),
    /// The template's own bytes, or the row.
    Inline,
}

impl Process {
    async fn prepare(&self, attempt: &Attempt) -> Result<Prepared, NotRun> {
        let template = &attempt.template;
        let words =
            Words::expand(template, &attempt.row).map_err(|text| NotRun(Reason::BadParameters, text))?;
        let command = &words.command[0];
        let program = self
            .config
            .allow
            .resolve(command)
            .map_err(|refused| match refused {
                Refused::NotAllowed => {
                    let text = format!(
                        "the operator of this worker does not allow `{}`",
                        command.display()
                    );
                    NotRun(Reason::NotAllowed, text)
                }
                Refused::NotFound => {
                    let text = format!("this worker has no command `{}`", command.display());
                    NotRun(Reason::CannotStart, text)
                }
            })?;
        // The loader would run foreign code in an allowed command, and in the shim.
        if let Some((name, _)) = words
            .env
            .iter()
            .find(|(name, _)| name.as_encoded_bytes().starts_with(b"LD_"))
        {
            let text = format!("a work may not set `{}`", name.display());
            return Err(NotRun(Reason::NotAllowed, text));
        }
        let seccomp = self.config.seccomp.as_ref();
        Ok(Prepared {
            program,
            filtered: seccomp.map(|seccomp| seccomp.of(command).clone()),
            words,
            gpus: self.config.gpus.take(template.requirements.gpus).await?,
        })
    }

    async fn execute(&self, attempt: &Attempt, prepared: Prepared, kill: &mut Kill) -> Ended {
        let workspace = match self.config.folder.workspace(attempt.token) {
            Ok(workspace) => workspace,
            Err(error) => {
                let text = format!("the work's folder cannot be made: {error}");
                return Ended::without_running(world_reason(&error), &text);
            }
        };
        let ended = self.run_in(attempt, prepared, &workspace, kill).await;
        workspace.remove_apart().await;
        ended
    }

    async fn run_in(
        &self,
        attempt: &Attempt,
        prepared: Prepared,
        workspace: &Workspace,
        kill: &mut Kill,
    ) -> Ended {
        let files = self.config.files.as_deref();
        let stdin = match files::place(files, attempt, &workspace.folder, kill).await {
            Ok(file) => match (&attempt.template.input, file) {
                (_, Some(file)) => Source::File(file),
                (Input::Inline(_) | Input::Row, None) => Source::Inline,
                (Input::None | Input::File(_), None) => Source::Nothing,
            },
            Err(not_run) => return not_run.into(),
        };
        match self.spawn(attempt, prepared, stdin, workspace).await {
            Ok(spawned) => {
                let ended = spawned.run(attempt, workspace, kill).await;
                files::keep(files, attempt, &workspace.folder, ended, kill)
                    .await
                    .unwrap_or_else(Ended::from)
            }
            Err(not_run) => not_run.into(),
        }
    }

    async fn spawn(
        &self,
        attempt: &Attempt,
        prepared: Prepared,
        stdin: Source,
        workspace: &Workspace,
    ) -> Result<Spawned, NotRun> {
        let limits = &attempt.template.limits;
        let sandbox = self.config.sandbox.as_ref();
        let arguments = &prepared.words.command[1..];
        let by_shim = limits.memory.0 > 0 || limits.processes > 0 || !self.guardian.is_there();
        let mut command = if by_shim {
            let shim = Shim {
                program: &self.config.shim,
                record: &workspace.record,
                memory: limits.memory.0,
                processes: limits.processes,
                sandbox,
                command: &prepared.program,
                arguments,
            };
            shim.command()
        } else {
            let mut command = std::process::Command::new(&prepared.program);
            command.args(arguments);
            command
        };
        command.env_clear();
        for (name, default) in INHERITED {
            command.env(name, std::env::var_os(name).unwrap_or_else(|| default.into()));
        }
        command
            .envs(prepared.words.env)
            .env("HOME", &workspace.folder)
            .env("TMPDIR", &workspace.folder)
            .env("POOL_WORK_ID", attempt.token.work.0.to_string())
            .env("POOL_ATTEMPT", attempt.token.attempt.0.to_string())
            .envs(visible(&self.config.gpus, &prepared.gpus))
            .current_dir(&workspace.folder)
            .process_group(0)
            .stdin(match stdin {
                Source::Nothing => Stdio::null(),
                Source::File(file) => file.into(),
                Source::Inline => Stdio::piped(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let Launched { group, child } = if by_shim {
            launch_shim(command, prepared.filtered.as_ref()).await?
        } else {
            let dress = Dress {
                sandbox: sandbox.cloned(),
                program: prepared.program,
                folder: workspace.folder.clone(),
                record: workspace.record.clone(),
            };
            launch(command, dress, prepared.filtered.as_ref()).await?
        };
        let exit = watch_exit(group.leader).map_err(|error| not_started(&error))?;
        Ok(Spawned {
            _gpus: prepared.gpus,
            started: Instant::now(),
            exit,
            child,
            group,
        })
    }
}

/// A failure of this machine, not of the command.
fn not_started(error: &io::Error) -> NotRun {
    NotRun(
        world_reason(error),
        format!("the command cannot be started: {error}"),
    )
}

/// By what programs find their GPUs. Nothing keeps a command from others: these variables are a custom, no wall.
fn visible(all: &Gpus, taken: &Taken) -> Vec<(&'static str, String)> {
    if all.is_empty() {
        return Vec::new();
    }
    let ids = taken.ids().join(",");
    let nvidia = if ids.is_empty() {
        "void".to_owned()
    } else {
        ids.clone()
    };
    vec![("CUDA_VISIBLE_DEVICES", ids), ("NVIDIA_VISIBLE_DEVICES", nvidia)]
}

/// Something that becomes readable when the process exits, and leaves it to be reaped.
#[expect(
    deprecated,
    reason = "the replacement is unsafe for the sake of types that lie about their descriptor; an OwnedFd does not"
)]
fn watch_exit(pid: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// A command that runs.
struct Spawned {
    started: Instant,
    /// Readable once the command has exited.
    exit: AsyncFd<OwnedFd>,
    // Dropped before the child, so that the child is not reaped before its group is killed.
    group: GroupGuard,
    child: Child,
    /// Its own until it has ended.
    _gpus: Taken,
}

/// Why waiting for a command ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Exited,
    WallClock,
    Killed,
}

impl Spawned {
    async fn run(mut self, attempt: &Attempt, workspace: &Workspace, kill: &mut Kill) -> Ended {
        let template = &attempt.template;
        let input: &[u8] = match &template.input {
            Input::Inline(bytes) => bytes,
            Input::Row => &attempt.row,
            Input::None | Input::File(_) => &[],
        };
        let output_bytes = usize::try_from(template.limits.output.min(Limits::OUTPUT_MAX).0);
        let mut capture = Capture::new(output_bytes.expect("bounded by the wire"), &attempt.printed);
        let stdout = self.child.stdout.take().expect("it is piped");
        let stderr = self.child.stderr.take().expect("it is piped");
        let stdin = self.child.stdin.take();
        let over = {
            let mut reading = pin!(capture.read(stdout, stderr));
            let mut writing = pin!(write(stdin, input));
            let mut time = pin!(tokio::time::sleep(template.limits.wall_clock.to_duration()));
            let (mut reads, mut writes) = (true, true);
            let over = loop {
                tokio::select! {
                    _ = self.exit.readable() => break Over::Exited,
                    () = &mut reading, if reads => reads = false,
                    () = &mut writing, if writes => writes = false,
                    () = &mut time => break Over::WallClock,
                    () = kill.wished() => break Over::Killed,
                }
            };
            if over != Over::Exited {
                self.group.kill();
                // Nothing survives that signal, but a process may be slow to die of it.
                let _ = self.exit.readable().await;
            }
            if reads {
                let _ = tokio::time::timeout(LAST_WORDS, reading).await;
            }
            over
        };
        let elapsed = self.started.elapsed();
        self.group.end();
        match self.child.wait().await {
            Ok(status) => ended(over, status, elapsed, &capture, workspace),
            Err(error) => {
                let text = format!("the command cannot be waited for: {error}");
                Ended::without_running(Reason::ExecutorFailed, &text)
            }
        }
    }
}

/// Gives a command its input and closes the pipe. One that does not want it may exit without reading.
async fn write(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input).await;
    }
}

fn ended(
    over: Over,
    status: ExitStatus,
    elapsed: Duration,
    capture: &Capture,
    workspace: &Workspace,
) -> Ended {
    let exit_code = status
        .code()
        .or(status.signal().map(|signal| -signal))
        .unwrap_or(0);
    if let Some(problem) = shim::failure(exit_code, &workspace.record) {
        return Ended::without_running(Reason::CannotStart, &problem);
    }
    let reason = match over {
        Over::WallClock => Reason::WallClock,
        _ if status.success() => Reason::None,
        _ if status.signal().is_some() => Reason::Signal,
        _ => Reason::ExitCode,
    };
    Ended {
        reason,
        exit_code,
        elapsed,
        result: capture.encode(),
    }
}
