//! What runs works: one trait, an implementation per way of running.
//!
//! An executor takes one attempt and promises to say how it ended, whatever happens; the agent's core decides
//! what that means. Executors check what comes with a work as foreign data: a row, a template and a command
//! were written by somebody who may not own this machine.

mod allow;
mod capture;
mod command;
mod docker;
pub(crate) mod folder;
pub(crate) mod leftovers;
mod process;
mod sandbox;
pub(crate) mod shim;
mod sleep;

pub use allow::{Allow, AllowError};
pub use docker::{Bounds, Docker, DockerConfig, ImageAllow, NoImage};
pub use folder::{Folder, FolderError};
pub use process::{Process, ProcessConfig};
pub use sandbox::{Sandbox, SandboxMode};
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

/// One try at one work.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The lease that it runs under.
    pub token: LeaseToken,
    /// What the works of its bag have in common.
    pub template: Arc<WorkTemplate>,
    /// Its own parameters.
    pub row: Box<[u8]>,
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
        self.with_output(|output| Output {
            archive,
            consensus,
            ..output
        })
    }

    /// It ran well and failed all the same; `text` stands behind what it wrote to standard error.
    pub(crate) fn failed(self, reason: Reason, text: &str) -> Self {
        let output = Output::parse(&self.result).unwrap_or_default();
        let mut stderr = output.stderr.to_vec();
        if stderr.last().is_some_and(|byte| *byte != b'\n') {
            stderr.push(b'\n');
        }
        let room = Limits::OUTPUT_MAX.0 as usize;
        let end = text.floor_char_boundary(text.len().min(TEXT_BYTES_MAX));
        stderr.truncate(room.saturating_sub(output.stdout.len() + end));
        let cut = stderr.len() < output.stderr.len();
        stderr.extend_from_slice(&text.as_bytes()[..end]);
        stderr.truncate(room.saturating_sub(output.stdout.len()));
        Self { reason, ..self }.with_output(|output| Output {
            stderr: &stderr,
            stderr_cut: output.stderr_cut || cut,
            ..output
        })
    }

    fn with_output<'a>(&'a self, change: impl FnOnce(Output<'a>) -> Output<'a>) -> Self {
        let mut result = Vec::new();
        change(Output::parse(&self.result).unwrap_or_default()).encode(&mut result);
        Self {
            result,
            reason: self.reason,
            ..*self
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
    /// do now it says in the log.
    fn begin(self: Arc<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async {})
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
