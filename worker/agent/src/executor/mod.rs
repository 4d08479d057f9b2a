//! What runs works: one trait, an implementation per way of running.
//!
//! An executor takes one attempt and promises to say how it ended, whatever happens; the agent's core decides
//! what that means. Executors check what comes with a work as foreign data: a row, a template and a command
//! were written by somebody who may not own this machine.

mod allow;
pub(crate) mod capture;
mod command;
mod docker;
pub(crate) mod folder;
mod gpu;
pub(crate) mod guardian;
pub(crate) mod kept;
mod launch;
pub(crate) mod leftovers;
mod process;
mod sandbox;
mod seccomp;
pub(crate) mod shim;
mod sleep;

pub use allow::{Allow, AllowError};
pub use capture::Printed;
pub use docker::{Bounds, Docker, DockerConfig, ImageAllow, NoImage};
pub use folder::{Folder, FolderError};
pub use gpu::Gpus;
pub use process::{Process, ProcessConfig};
pub use sandbox::{Sandbox, SandboxMode};
pub use seccomp::{NoSeccomp, Seccomp};
pub use sleep::Sleep;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use wire_protocol::file::Digest;
use wire_protocol::ids::LeaseToken;
use wire_protocol::outcome::{Archive, Output, Reason};
use wire_protocol::template::{Limits, WorkTemplate};
use wire_protocol::worker_link::Report;

/// Longest file that a command may write. A mistake should not fill the disk of everybody.
const FILE_BYTES_MAX: u64 = 64 << 30;

/// How much nicer (`nice(7)`) commands are than their worker. Where works want more processors than there are, the
/// kernel gives a thread of the worker nine times what it gives one of theirs, so reports and signs of life go out; where
/// they do not, it costs them nothing.
pub const WORK_NICE: i32 = 10;

/// The same for containers: their share when processors are short, where the system's own processes, and containers
/// that say nothing, have 1024.
pub const WORK_CPU_SHARES: i64 = 128;

/// No core dumps of this process, nor of what it starts from now on.
pub(crate) fn forbid_core_dumps() -> Result<(), rustix::io::Errno> {
    launch::limit(None, rustix::process::Resource::Core, 0)
}

/// One try at one work.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The lease that it runs under.
    pub token: LeaseToken,
    /// What the works of its bag have in common.
    pub template: Arc<WorkTemplate>,
    /// Its own parameters.
    pub row: Box<[u8]>,
    /// Where it is written down what it prints.
    pub printed: Printed,
}

/// An attempt that an earlier worker started.
#[derive(Clone, Debug)]
pub struct Resumable {
    /// The attempt.
    pub attempt: Attempt,
    /// How long it has been running.
    pub age: Duration,
}

/// Why an attempt does not get as far as running.
pub(crate) struct NotRun(pub(crate) Reason, pub(crate) String);

impl From<NotRun> for Ended {
    fn from(NotRun(reason, text): NotRun) -> Self {
        Self::without_running(reason, &text)
    }
}

/// A failure of this machine: for want of room another worker may do better, otherwise the executor failed.
pub(crate) fn world_reason(error: &io::Error) -> Reason {
    use io::ErrorKind::{ArgumentListTooLong, OutOfMemory, QuotaExceeded, StorageFull, WouldBlock};
    match error.kind() {
        ArgumentListTooLong => Reason::CannotStart,
        OutOfMemory | QuotaExceeded | StorageFull | WouldBlock => Reason::NoRoom,
        _ => Reason::ExecutorFailed,
    }
}

/// Bytes of what an executor itself says in a result.
const TEXT_BYTES_MAX: usize = 4_096;

/// How an attempt ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// [`Reason::None`]: it succeeded.
    pub reason: Reason,
    /// Exit code, or minus the signal; 0 where there was neither.
    pub exit_code: i32,
    /// Time that it ran.
    pub elapsed: Duration,
    /// Its result, within the bound of the wire.
    pub result: Vec<u8>,
}

impl Ended {
    pub(crate) fn report(&self, token: LeaseToken) -> Report<'_> {
        Report {
            token,
            reason: self.reason,
            exit_code: self.exit_code,
            elapsed_us: u32::try_from(self.elapsed.as_micros()).unwrap_or(u32::MAX),
            result: &self.result,
        }
    }

    /// It did not run; `text` stands where a command's standard error would.
    pub(crate) fn without_running(reason: Reason, text: &str) -> Self {
        let end = text.floor_char_boundary(text.len().min(TEXT_BYTES_MAX));
        let mut result = Vec::new();
        let output = Output {
            stderr: &text.as_bytes()[..end],
            stderr_cut: end < text.len(),
            ..Output::default()
        };
        output.encode(&mut result);
        Self {
            reason,
            exit_code: 0,
            elapsed: Duration::ZERO,
            result,
        }
    }

    /// It left these files.
    pub(crate) fn with_files(self, archive: Option<Archive>, consensus: Option<Digest>) -> Self {
        let output = Output {
            archive,
            consensus,
            ..Output::parse(&self.result).unwrap_or_default()
        };
        let mut result = Vec::new();
        output.encode(&mut result);
        Self { result, ..self }
    }

    /// It ran well and failed all the same; `text` stands behind what it wrote to standard error.
    pub(crate) fn failed(self, reason: Reason, text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(text.len().min(TEXT_BYTES_MAX))];
        let output = Output::parse(&self.result).unwrap_or_default();
        // The cause is worth more than the end of what was printed.
        let room = Limits::OUTPUT_MAX.0 as usize - text.len() - 1;
        let stdout = &output.stdout[..output.stdout.len().min(room)];
        let kept = &output.stderr[..output.stderr.len().min(room - stdout.len())];
        let mut stderr = kept.to_vec();
        if !kept.is_empty() && !kept.ends_with(b"\n") {
            stderr.push(b'\n');
        }
        stderr.extend_from_slice(text.as_bytes());
        let mut result = Vec::new();
        let told = Output {
            stdout,
            stderr: &stderr,
            stdout_cut: output.stdout_cut || stdout.len() < output.stdout.len(),
            stderr_cut: output.stderr_cut || kept.len() < output.stderr.len(),
            ..output
        };
        told.encode(&mut result);
        Self {
            reason,
            result,
            ..self
        }
    }
}

/// An attempt under way. Dropped, it stops at once and leaves nothing running.
pub type Running = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// A way of running works.
pub trait Executor: Send + Sync {
    /// What templates call it (the part of `app` before the colon).
    fn name(&self) -> &'static str;

    /// Called once, before the worker joins: time to remove what an earlier one left. It must not fail; what it cannot
    /// do now it says in the log. Gives the attempts that an earlier one started and that can be taken up; each gets one
    /// [`Self::resume`].
    fn begin(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Vec<Resumable>> + Send>> {
        Box::pin(async { Vec::new() })
    }

    /// Keys of what it has that works need, see [`wire_protocol::warm`]; what was used last first. Called once, after
    /// [`Self::begin`].
    fn warm(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Vec<u64>> + Send>> {
        Box::pin(async { Vec::new() })
    }

    /// Takes up an attempt that [`Self::begin`] gave, to its end as [`Self::run`] does.
    fn resume(self: Arc<Self>, token: LeaseToken, _kill: Kill) -> Running {
        Box::pin(async move {
            let text = format!("nothing is known of {token}");
            Ended::without_running(Reason::ExecutorFailed, &text)
        })
    }

    /// Runs one attempt until it ends, or until `kill` says so; then it ends soon, and how it ended is of no
    /// interest.
    fn run(self: Arc<Self>, attempt: Attempt, kill: Kill) -> Running;
}

/// The wish that an attempt stops.
#[derive(Debug)]
pub struct Kill(oneshot::Receiver<()>);

/// The other end of a [`Kill`]; dropped, it wishes so too.
#[derive(Debug)]
pub struct Killer(oneshot::Sender<()>);

impl Kill {
    /// Both ends.
    #[must_use]
    pub fn pair() -> (Killer, Self) {
        let (sender, receiver) = oneshot::channel();
        (Killer(sender), Self(receiver))
    }

    /// Waits for the wish.
    pub async fn wished(&mut self) {
        let _ = (&mut self.0).await;
    }
}

impl Killer {
    /// Wishes that the attempt stops.
    pub fn kill(self) {
        let _ = self.0.send(());
    }
}

#[cfg(test)]
mod tests {
    use wire_protocol::limits::RESULT_BYTES_MAX;

    use super::*;

    #[test]
    fn why_a_work_failed_is_told_however_much_it_has_printed() {
        let full = vec![b'x'; Limits::OUTPUT_MAX.0 as usize];
        for (stdout, stderr) in [
            (&full[..], &b""[..]),
            (b"", &full),
            (&full[..40_000], &full[40_000..]),
            (b"out", b"err"),
            (b"", b""),
        ] {
            let mut ended = Ended::without_running(Reason::None, "");
            let printed = Output {
                stdout,
                stderr,
                ..Output::default()
            };
            ended.result.clear();
            printed.encode(&mut ended.result);
            let failed = ended.failed(Reason::OutputMissing, "the output a is not there");
            assert!(failed.result.len() <= RESULT_BYTES_MAX, "{}", failed.result.len());
            let told = Output::parse(&failed.result).expect("an output");
            assert!(told.stderr.ends_with(b"the output a is not there"));
            assert!(stdout.starts_with(told.stdout));
            assert_eq!(told.stdout_cut, told.stdout.len() < stdout.len());
            let is_whole = stdout.len() + stderr.len() < 1_000;
            assert_eq!(
                (told.stdout_cut, told.stderr_cut),
                (!is_whole && stderr.is_empty(), !is_whole && !stderr.is_empty())
            );
        }
    }
}
