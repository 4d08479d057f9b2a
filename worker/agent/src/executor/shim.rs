//! The step between the worker and a command: this program again, for a millisecond, to do in the new process
//! what must be done there before the command takes its place.
//!
//! ```text
//!  pool-worker ──spawn──► pool-worker exec-shim … ──exec──► the command      (one process, one pid)
//!                          · dies with the worker from here on
//!                          · records its process group, for a worker that starts after a crash
//!                          · sets its limits and its priority, enters its sandbox; its calls are filtered already
//! ```
//!
//! Between `fork` and `exec` only `unsafe` code could do this; here it is ordinary code, at the price of loading a program
//! twice. So this is the way only of works with limits of memory or of processes, which are a process's own, and of all where
//! no [`super::guardian`] can be had; others go by [`super::launch`].

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Resource, Signal};

use super::launch;
use super::leftovers::Group;
use super::sandbox::Sandbox;
use super::{FILE_BYTES_MAX, WORK_NICE};

/// First argument of a shim.
const NAME: &str = "exec-shim";

/// Exit code of a shim that could not become the command.
const FAILED: u8 = 126;

/// First word of the record of a shim that failed; the rest says why.
const FAILED_WORD: &str = "failed ";

/// What a shim is to do.
#[derive(Debug)]
pub(super) struct Shim<'a> {
    /// This program.
    pub(super) program: &'a Path,
    /// File for the record of the process group.
    pub(super) record: &'a Path,
    /// Bytes of address space; zero: no limit.
    pub(super) memory: u64,
    /// Processes of the user; zero: no limit.
    pub(super) processes: u32,
    /// What it may touch; `None`: what the worker may.
    pub(super) sandbox: Option<&'a Sandbox>,
    /// The file to execute.
    pub(super) command: &'a Path,
    pub(super) arguments: &'a [OsString],
}

impl Shim<'_> {
    /// The command line of the shim.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command
            .arg(NAME)
            .arg(std::process::id().to_string())
            .arg(self.record)
            .arg(self.memory.to_string())
            .arg(self.processes.to_string())
            .args(self.sandbox.map_or_else(|| vec!["-".into()], Sandbox::arguments))
            .arg(self.command)
            .args(self.arguments);
        command
    }
}

/// Why the shim that wrote this record did not become the command. `None`: it did.
pub(super) fn failure(exit_code: i32, record: &Path) -> Option<String> {
    if exit_code != i32::from(FAILED) {
        return None;
    }
    let record = fs::read_to_string(record).ok()?;
    record.strip_prefix(FAILED_WORD).map(str::to_owned)
}

/// Runs as a shim if the arguments of this process (without its name) say so. `None`: they do not.
pub(crate) fn run(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if arguments.next()? != NAME {
        return None;
    }
    let mut record = None;
    let Err(problem) = become_command(arguments, &mut record);
    if let Some(record) = record {
        // If even this fails, the exit code remains.
        let _ = fs::write(record, format!("{FAILED_WORD}{problem}"));
    }
    Some(ExitCode::from(FAILED))
}

fn become_command(
    mut arguments: impl Iterator<Item = OsString>,
    record_out: &mut Option<PathBuf>,
) -> Result<std::convert::Infallible, String> {
    let mut next = || {
        arguments
            .next()
            .ok_or_else(|| "the shim is for the worker's own use".to_owned())
    };
    let parent = number(&next()?)?;
    let record = record_out.insert(PathBuf::from(next()?));
    let memory = number(&next()?)?;
    let processes = number(&next()?)?;
    let sandbox = sandbox(&mut next)?;
    let command = next()?;

    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("the command cannot be tied to the worker: {error}"))?;
    // A worker that died before that line was heard of by nobody.
    let is_orphan = rustix::process::getppid()
        .map(Pid::as_raw_nonzero)
        .map(|pid| pid.get().into())
        != i64::try_from(parent).ok();
    if is_orphan {
        return Err("the worker is gone".to_owned());
    }
    let group = Group::own().map_err(|error| format!("this process cannot be looked up: {error}"))?;
    // A new file: to truncate one that holds something can cost ext4 a flush of 5 ms.
    File::create_new(&*record)
        .and_then(|mut file| file.write_all(group.to_string().as_bytes()))
        .map_err(|error| format!("{} cannot be written: {error}", record.display()))?;

    // Not its own to take back. Lowering one's own priority is never refused.
    rustix::process::nice(WORK_NICE).map_err(|error| format!("its priority cannot be lowered: {error}"))?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, FILE_BYTES_MAX)?;
    if processes > 0 {
        limit(Resource::Nproc, processes)?;
    }
    if memory > 0 {
        limit(Resource::As, memory)?;
    }
    if let Some(sandbox) = sandbox {
        let folder =
            std::env::current_dir().map_err(|error| format!("the work's folder is gone: {error}"))?;
        sandbox.enter(Path::new(&command), &folder)?;
    }
    let error = Command::new(&command).args(arguments).exec();
    Err(format!("{}: {error}", command.display()))
}

/// What [`Sandbox::arguments`] gave, or `-`.
fn sandbox(next: &mut impl FnMut() -> Result<OsString, String>) -> Result<Option<Sandbox>, String> {
    let first = next()?;
    if first == "-" {
        return Ok(None);
    }
    let mut paths = |count: u64| {
        (0..count)
            .map(|_| next().map(PathBuf::from))
            .collect::<Result<Vec<_>, _>>()
    };
    let read = paths(number(&first)?)?;
    let count = paths(1)?.remove(0);
    let write = paths(number(count.as_os_str())?)?;
    Ok(Some(Sandbox { read, write }))
}

fn number(text: &OsStr) -> Result<u64, String> {
    text.to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("`{}` is not a number", text.display()))
}

fn limit(resource: Resource, value: u64) -> Result<(), String> {
    launch::limit(None, resource, value)
        .map_err(|error| format!("{resource:?} cannot be limited to {value}: {error}"))
}
