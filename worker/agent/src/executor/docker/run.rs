//! A container from its making to its removal.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use bollard::Docker as Engine;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error as DockerError;
use bollard::models::{ContainerCreateBody, ContainerWaitResponse};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use wire_protocol::outcome::Reason;
use wire_protocol::template::{Input, Limits};

use crate::executor::capture::Capture;
use crate::executor::{Attempt, Ended, Kill, NotRun};

/// How long output may still come after the container has exited.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long a killed container may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks at how much a work's folder holds.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A container ends with its guard, also when the attempt's future is dropped.
pub(super) struct Guard {
    engine: Engine,
    id: Option<String>,
}

impl Guard {
    pub(super) async fn create(
        engine: Engine,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<Self, NotRun> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let created = match engine.create_container(Some(options.clone()), body.clone()).await {
            // One of before has its name: it is not this attempt's.
            Err(error) if status(&error) == Some(409) => {
                remove(&engine, name).await;
                engine.create_container(Some(options), body).await
            }
            created => created,
        };
        let id = created.map_err(|error| failed("made", &error))?.id;
        Ok(Self { engine, id: Some(id) })
    }

    fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    async fn remove(mut self) {
        if let Some(id) = self.id.take() {
            remove(&self.engine, &id).await;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let engine = self.engine.clone();
        runtime.spawn(async move { remove(&engine, &id).await });
    }
}

/// A container that has not begun.
pub(super) struct Created {
    pub(super) guard: Guard,
    /// The work's folder.
    pub(super) folder: PathBuf,
    /// Bytes that it may hold.
    pub(super) disk: u64,
}

/// Why waiting for a container ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Exited(i64),
    WallClock,
    Disk,
    Killed,
}

impl Created {
    /// Runs it to its end, and removes it.
    pub(super) async fn run(
        self,
        attempt: &Attempt,
        stdin: Option<File>,
        kill: &mut Kill,
    ) -> Result<Ended, NotRun> {
        let ended = self.run_to_its_end(attempt, stdin, kill).await;
        self.guard.remove().await;
        ended
    }

    async fn run_to_its_end(
        &self,
        attempt: &Attempt,
        file: Option<File>,
        kill: &mut Kill,
    ) -> Result<Ended, NotRun> {
        let (engine, id) = (&self.guard.engine, self.guard.id());
        let limits = &attempt.template.limits;
        let input: &[u8] = match &attempt.template.input {
            Input::Inline(bytes) => bytes,
            Input::Row => &attempt.row,
            Input::None | Input::File(_) => &[],
        };
        let options = AttachContainerOptionsBuilder::new()
            .stream(true)
            .stdout(true)
            .stderr(true)
            .stdin(!matches!(attempt.template.input, Input::None))
            .build();
        let attached = engine.attach_container(id, Some(options)).await;
        let AttachContainerResults {
            mut output,
            input: stdin,
        } = attached.map_err(|error| failed("attached to", &error))?;
        engine
            .start_container(id, None)
            .await
            .map_err(|error| failed("started", &error))?;
        let started = Instant::now();
        let bytes_max = usize::try_from(limits.output.min(Limits::OUTPUT_MAX).0);
        let mut capture = Capture::new(bytes_max.expect("bounded by the wire"));
        // It is there until it is removed here: to ask late is no race.
        let options = WaitContainerOptionsBuilder::new()
            .condition("not-running")
            .build();
        let mut waiting = pin!(engine.wait_container(id, Some(options)));
        let over = {
            let mut writing = pin!(write(stdin, input, file));
            let mut time = pin!(tokio::time::sleep(limits.wall_clock.to_duration()));
            let mut full = pin!(self.is_full());
            let (mut reads, mut writes) = (true, true);
            loop {
                tokio::select! {
                    exit = waiting.next() => break Over::Exited(exit_code(exit)?),
                    chunk = output.next(), if reads => reads = keep(&mut capture, chunk),
                    () = &mut writing, if writes => writes = false,
                    () = &mut full => break Over::Disk,
                    () = &mut time => break Over::WallClock,
                    () = kill.wished() => break Over::Killed,
                }
            }
        };
        let elapsed = started.elapsed();
        let code = match over {
            Over::Exited(code) => code,
            Over::WallClock | Over::Disk | Over::Killed => {
                // It may have exited by itself at this moment.
                drop(engine.kill_container(id, None).await);
                let gone = tokio::time::timeout(GONE_WITHIN, waiting.next()).await;
                gone.map_or(Ok(0), exit_code)?
            }
        };
        let rest = async { while keep(&mut capture, output.next().await) {} };
        drop(tokio::time::timeout(LAST_WORDS, rest).await);
        let state = engine.inspect_container(id, None).await;
        let state = state.map_err(|error| failed("looked at", &error))?.state;
        let out_of_memory = state.and_then(|state| state.oom_killed).unwrap_or(false);
        let reason = match over {
            Over::WallClock => Reason::WallClock,
            Over::Disk => Reason::DiskLimit,
            Over::Exited(0) => Reason::None,
            // The kernel may have killed a child of the command, which then ended as it likes.
            _ if out_of_memory => Reason::OutOfMemory,
            Over::Exited(_) | Over::Killed => Reason::ExitCode,
        };
        Ok(Ended {
            reason,
            exit_code: i32::try_from(code).unwrap_or(i32::MAX),
            elapsed,
            result: capture.encode(),
        })
    }

    /// Ready when the work's folder holds more than it may.
    async fn is_full(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let folder = self.folder.clone();
            let held = tokio::task::spawn_blocking(move || held(&folder)).await;
            if held.is_ok_and(|held| held > self.disk) {
                return;
            }
        }
    }
}

/// Bytes on disk below a folder. One that hides what it holds, behind its rights or deeper than paths are long, holds more
/// than anybody may; what is gone meanwhile does not count.
fn held(folder: &Path) -> u64 {
    let (mut bytes, mut folders) = (0_u64, vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        match look(&folder, &mut folders) {
            Ok(files) => bytes += files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return u64::MAX,
        }
    }
    bytes
}

/// Bytes on disk of what is in a folder; the folders in it are added to `folders`. Links are not followed.
fn look(folder: &Path, folders: &mut Vec<PathBuf>) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
            Ok(metadata) => bytes += metadata.blocks() * 512,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// Gives a container its input and closes it. One that does not want it may exit without reading.
async fn write(mut stdin: Pin<Box<dyn AsyncWrite + Send>>, input: &[u8], file: Option<File>) {
    let _ = stdin.write_all(input).await;
    if let Some(file) = file {
        let _ = tokio::io::copy(&mut tokio::fs::File::from_std(file), &mut stdin).await;
    }
    let _ = stdin.shutdown().await;
}

/// Keeps a chunk of output; `false`: there will be no more.
fn keep(capture: &mut Capture, chunk: Option<Result<LogOutput, DockerError>>) -> bool {
    match chunk {
        Some(Ok(LogOutput::StdErr { message })) => capture.take_stderr(&message),
        Some(Ok(chunk)) => capture.take_stdout(chunk.as_ref()),
        // A stream that cannot be read is a stream at its end.
        Some(Err(_)) | None => return false,
    }
    true
}

/// How a container that was waited for has exited.
fn exit_code(answer: Option<Result<ContainerWaitResponse, DockerError>>) -> Result<i64, NotRun> {
    match answer {
        Some(Ok(response)) => Ok(response.status_code),
        Some(Err(DockerError::DockerContainerWaitError { code, .. })) => Ok(code),
        Some(Err(error)) => Err(failed("waited for", &error)),
        None => {
            let text = "Docker went away while the container ran".to_owned();
            Err(NotRun(Reason::ExecutorFailed, text))
        }
    }
}

/// Kills it if it runs, and removes it with its volumes.
pub(super) async fn remove(engine: &Engine, id: &str) {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    match engine.remove_container(id, Some(options)).await {
        Ok(()) => {}
        // It is gone, or somebody else removes it.
        Err(error) if matches!(status(&error), Some(404 | 409)) => {}
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            container = id,
            "a container cannot be removed"
        ),
    }
}

/// The status with which the engine answered, if it did.
pub(super) fn status(error: &DockerError) -> Option<u16> {
    match error {
        DockerError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// A container cannot be `done` this to.
pub(super) fn failed(done: &str, error: &DockerError) -> NotRun {
    let reason = match status(error) {
        // What was asked for cannot be: another worker's engine would say the same.
        Some(400) => Reason::CannotStart,
        _ => Reason::ExecutorFailed,
    };
    NotRun(reason, format!("the container cannot be {done}: {error}"))
}
