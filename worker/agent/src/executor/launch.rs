//! How a command becomes a process: by a thread that has put on first what the command is to wear.
//!
//! ```text
//!  a thread that is filtered, as long as the worker lives
//!   └─ starts
//!  a thread for this one command                                     the command
//!   · lowers its priority          ─── posix_spawn: the child ───►   has all three from its first instruction
//!   · enters the sandbox               inherits from the thread
//!   · limits the length of files   ─── prlimit ──────────────────►   and this a moment later
//!   · ends
//! ```
//!
//! Priority, Landlock and seccomp are a thread's own in Linux, and what a child inherits is the thread's that made it. So
//! nothing has to run between `fork` and `exec`, where only `unsafe` code could, and no program but the command is loaded.
//! Limits are a process's, not a thread's. That of files guards against mistakes, which a command hardly makes in its first
//! moment; core dumps the worker forbids itself, and with it whatever it starts. Limits of memory and of processes have to
//! hold from the beginning: works that have some go through the [`super::shim`], which takes more than twice the processor
//! time (`perf/notes/worker.md`).

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use wire_protocol::outcome::Reason;

use super::leftovers::Group;
use super::sandbox::Sandbox;
use super::seccomp::Filtered;
use super::{FILE_BYTES_MAX, NotRun, WORK_NICE, world_reason};

/// It prepares one command.
const STACK_BYTES: usize = 128 << 10;

/// What a command wears.
pub(super) struct Dress {
    /// What it may touch; `None`: what the worker may.
    pub(super) sandbox: Option<Sandbox>,
    /// The file that is executed.
    pub(super) program: PathBuf,
    /// Its own.
    pub(super) folder: PathBuf,
    /// Where its process group is recorded.
    pub(super) record: PathBuf,
}

/// A command that runs.
pub(super) struct Launched {
    // Dropped before the child, so that the child is not reaped before its group is killed.
    pub(super) group: GroupGuard,
    pub(super) child: Child,
}

impl From<Child> for Launched {
    /// # Panics
    /// It was waited for.
    fn from(child: Child) -> Self {
        let leader = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        let group = GroupGuard {
            leader: leader.expect("a child that was not waited for has a pid"),
            lives: true,
        };
        Self { group, child }
    }
}

/// A process group that ends with its guard, also when whoever waits for it is dropped.
pub(super) struct GroupGuard {
    pub(super) leader: Pid,
    lives: bool,
}

impl GroupGuard {
    pub(super) fn kill(&self) {
        if self.lives {
            // No such group: everybody has left already.
            let _ = rustix::process::kill_process_group(self.leader, Signal::KILL);
        }
    }

    /// Kills it for the last time: once its leader is reaped, its number may be another's.
    pub(super) fn end(&mut self) {
        self.kill();
        self.lives = false;
    }
}

impl Drop for GroupGuard {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a command that is dressed like this and leads a process group; `filtered` has on what is to filter its calls.
pub(super) async fn launch(
    command: std::process::Command,
    dress: Dress,
    filtered: Option<&Filtered>,
) -> Result<Launched, NotRun> {
    let runtime = Handle::current();
    let (say, started) = mpsc::channel(1);
    let refuse = say.clone();
    let prepare = move || {
        // Whoever waited for it may have been dropped; it is killed then, with all that it has started.
        let _ = say.try_send(in_thread(&runtime, command, &dress));
    };
    let begin = move || {
        let thread = thread::Builder::new()
            .name("launch".to_owned())
            .stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn(prepare) {
            let _ = refuse.try_send(Err(not_ready(&error)));
        }
    };
    match filtered {
        Some(filtered) => filtered.run(begin),
        None => begin(),
    }
    told(started).await
}

/// Starts a shim, which dresses itself. It dies with the thread that started it, so that is one which lives on.
pub(super) async fn launch_shim(
    shim: std::process::Command,
    filtered: Option<&Filtered>,
) -> Result<Launched, NotRun> {
    let runtime = Handle::current();
    let (say, started) = mpsc::channel(1);
    let begin = move || {
        let _runtime = runtime.enter();
        let spawned = Command::from(shim).spawn();
        let launched = spawned.map(Launched::from).map_err(|error| not_ready(&error));
        let _ = say.try_send(launched);
    };
    match filtered {
        Some(filtered) => filtered.run(begin),
        None => begin(),
    }
    told(started).await
}

async fn told(mut started: mpsc::Receiver<Result<Launched, NotRun>>) -> Result<Launched, NotRun> {
    let gone = || Err(not_ready(&io::Error::other("its thread is gone")));
    started.recv().await.unwrap_or_else(gone)
}

fn in_thread(runtime: &Handle, command: std::process::Command, dress: &Dress) -> Result<Launched, NotRun> {
    // A new file: to truncate one that holds something can cost ext4 a flush of 5 ms. It is opened now, because the
    // sandbox has no room for it.
    let record = File::create_new(&dress.record).map_err(|error| not_ready(&error))?;
    rustix::process::nice(WORK_NICE).map_err(|error| not_ready(&error.into()))?;
    if let Some(sandbox) = &dress.sandbox {
        let entered = sandbox.enter(&dress.program, &dress.folder);
        entered.map_err(|text| NotRun(Reason::CannotStart, text))?;
    }
    let _runtime = runtime.enter();
    let spawned = Command::from(command).spawn();
    let launched = Launched::from(spawned.map_err(|error| cannot_start(&dress.program, &error))?);
    let pid = launched.group.leader;
    for (resource, value) in [(Resource::Core, 0), (Resource::Fsize, FILE_BYTES_MAX)] {
        // Who has ended already needs none.
        let _ = limit(Some(pid), resource, value);
    }
    record_group(pid, record).map_err(|error| not_ready(&error))?;
    Ok(launched)
}

/// A failure of this machine.
fn not_ready(error: &io::Error) -> NotRun {
    NotRun(
        world_reason(error),
        format!("the start of a command cannot be prepared: {error}"),
    )
}

/// One of the command, unless the machine has no room for it.
fn cannot_start(program: &Path, error: &io::Error) -> NotRun {
    let reason = match world_reason(error) {
        Reason::NoRoom => Reason::NoRoom,
        _ => Reason::CannotStart,
    };
    NotRun(reason, format!("{}: {error}", program.display()))
}

fn record_group(leader: Pid, mut record: File) -> io::Result<()> {
    let group = Group::of(leader.as_raw_nonzero().get())?;
    record.write_all(group.to_string().as_bytes())
}

/// Lowers a limit of a process, or of this one, for good; one of this process that is already lower stays.
pub(super) fn limit(pid: Option<Pid>, resource: Resource, value: u64) -> Result<(), Errno> {
    let value = rustix::process::getrlimit(resource)
        .maximum
        .map_or(value, |maximum| maximum.min(value));
    let limit = Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    rustix::process::prlimit(pid, resource, limit).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_killed_with_all_that_it_has_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let flag = folder.path().join("flag");
        let mut command = std::process::Command::new("sh");
        let script = "sleep 600 & echo $! >flag.new; mv flag.new flag; wait";
        command
            .args(["-c", script])
            .current_dir(folder.path())
            .process_group(0);
        let dress = Dress {
            sandbox: None,
            program: "sh".into(),
            folder: folder.path().to_owned(),
            record: folder.path().join("record"),
        };
        let launched = in_thread(&Handle::current(), command, &dress)
            .map_err(|NotRun(_, text)| text)
            .expect("every system has a shell");
        let deadline = Instant::now() + Duration::from_secs(20);
        let waits = |what: &str| {
            assert!(Instant::now() < deadline, "{what}");
            thread::sleep(Duration::from_millis(5));
        };
        while !flag.exists() {
            waits("the command does not begin");
        }
        let text = std::fs::read_to_string(&flag).expect("own folder");
        let started = text
            .trim()
            .parse()
            .ok()
            .and_then(Pid::from_raw)
            .expect("a number");
        drop(launched);
        let stat = format!("/proc/{}/stat", started.as_raw_nonzero());
        // Whoever adopts it may take a while to reap it.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            waits("what it has started still runs");
        }
    }
}
