//! A container from its making to its removal.

use std::fs::File;
use std::future::Future;
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
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use wire_protocol::outcome::Reason;
use wire_protocol::template::{Input, Limits};

use super::note::Note;
use super::store::InUse;
use crate::executor::capture::Capture;
use crate::executor::folder::Workspace;
use crate::executor::gpu::Taken;
use crate::executor::kept::Kept;
use crate::executor::{Attempt, Ended, Kill, NotRun, world_reason};
use crate::files::{self, Files};

/// How long output may still come after the container has exited.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long it may take to read what Docker has kept of the output of one that was taken up.
const ALL_WORDS: Duration = Duration::from_secs(10);
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

    /// Of a container that is there.
    pub(super) fn of(engine: Engine, id: String) -> Self {
        Self { engine, id: Some(id) }
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

/// A container that is there.
pub(super) struct Created {
    pub(super) guard: Guard,
    pub(super) workspace: Workspace,
    /// Bytes that the work's folder may hold.
    pub(super) disk: u64,
    /// Its image, which stays there as long as this does.
    pub(super) _image: Option<InUse>,
    /// Its GPUs, likewise.
    pub(super) gpus: Taken,
}

/// What comes out of a container.
type Stdout = Pin<Box<dyn Stream<Item = Result<LogOutput, DockerError>> + Send>>;

/// Why waiting for a container ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Exited(i64),
    WallClock,
    Disk,
    Killed,
}

/// What a container that runs does, as far as it concerns its worker.
struct Running<'a> {
    attempt: &'a Attempt,
    output: Stdout,
    /// Writes what is left of its input.
    input: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
    /// How long it had been running when this began.
    age: Duration,
    /// How long output may still come after it has exited.
    last_words: Duration,
}

/// Where what a container leaves is kept.
pub(super) struct Keeping<'a> {
    pub(super) files: Option<&'a Files>,
    pub(super) kept: &'a Kept,
}

impl Created {
    /// Runs it to its end, keeps its outputs, and removes it. How it ended is kept before it is gone: a worker that is
    /// killed in between finds one or the other.
    pub(super) async fn run(
        self,
        attempt: &Attempt,
        stdin: Option<File>,
        kill: &mut Kill,
        keeping: &Keeping<'_>,
    ) -> Result<Ended, NotRun> {
        let ended = self.run_to_its_end(attempt, stdin, kill, keeping).await;
        self.guard.remove().await;
        ended
    }

    /// The same with one that an earlier worker has started so long ago.
    pub(super) async fn go_on(
        self,
        attempt: &Attempt,
        age: Duration,
        kill: &mut Kill,
        keeping: &Keeping<'_>,
    ) -> Result<Ended, NotRun> {
        let logs = LogsOptionsBuilder::new()
            .follow(true)
            .stdout(true)
            .stderr(true)
            .build();
        let engine = self.guard.engine.clone();
        let id = self.guard.id().to_owned();
        let running = Running {
            attempt,
            output: Box::pin(engine.logs(&id, Some(logs))),
            input: Box::pin(async {}),
            age,
            last_words: ALL_WORDS,
        };
        let ended = self.follow(running, kill, keeping).await;
        self.guard.remove().await;
        ended
    }

    async fn run_to_its_end(
        &self,
        attempt: &Attempt,
        file: Option<File>,
        kill: &mut Kill,
        keeping: &Keeping<'_>,
    ) -> Result<Ended, NotRun> {
        let (engine, id) = (&self.guard.engine, self.guard.id());
        let input: &[u8] = match &attempt.template.input {
            Input::Inline(bytes) => bytes,
            Input::Row => &attempt.row,
            Input::None | Input::File(_) => &[],
        };
        let has_none = matches!(attempt.template.input, Input::None);
        let options = AttachContainerOptionsBuilder::new()
            .stream(true)
            .stdout(true)
            .stderr(true)
            .stdin(!has_none)
            .build();
        let attached = engine.attach_container(id, Some(options)).await;
        let AttachContainerResults { output, input: stdin } =
            attached.map_err(|error| failed("attached to", &error))?;
        let mut note = Note::new(attempt, id, has_none, self.gpus.ids());
        let note_file = &self.workspace.note;
        note.write(note_file).map_err(|error| {
            NotRun(
                world_reason(&error),
                format!("the container's note cannot be written: {error}"),
            )
        })?;
        engine
            .start_container(id, None)
            .await
            .map_err(|error| not_started(&error))?;
        let feed = async move {
            write(stdin, input, file).await;
            note.has_input = true;
            if !has_none && let Err(error) = note.write(note_file) {
                tracing::warn!(%error, "a container's note cannot be written; a restart would not take it up");
            }
        };
        let running = Running {
            attempt,
            output,
            input: Box::pin(feed),
            age: Duration::ZERO,
            last_words: LAST_WORDS,
        };
        self.follow(running, kill, keeping).await
    }

    async fn follow(
        &self,
        running: Running<'_>,
        kill: &mut Kill,
        keeping: &Keeping<'_>,
    ) -> Result<Ended, NotRun> {
        let (engine, id) = (&self.guard.engine, self.guard.id());
        let Running {
            attempt,
            mut output,
            mut input,
            age,
            last_words,
        } = running;
        let limits = &attempt.template.limits;
        let began = Instant::now();
        let bytes_max = usize::try_from(limits.output.min(Limits::OUTPUT_MAX).0);
        let mut capture = Capture::new(bytes_max.expect("bounded by the wire"), &attempt.printed);
        // It is there until it is removed here: to ask late is no race.
        let options = WaitContainerOptionsBuilder::new()
            .condition("not-running")
            .build();
        let mut waiting = pin!(engine.wait_container(id, Some(options)));
        // One that has exited while nobody looked has exited, however late it is found.
        let exited = if age > Duration::ZERO {
            self.exited().await?
        } else {
            None
        };
        let over = if let Some(code) = exited {
            Over::Exited(code)
        } else {
            let left = limits.wall_clock.to_duration().saturating_sub(age);
            let mut time = pin!(tokio::time::sleep(left));
            let mut full = pin!(self.is_full());
            let (mut reads, mut writes) = (true, true);
            loop {
                tokio::select! {
                    exit = waiting.next() => break Over::Exited(exit_code(exit)?),
                    chunk = output.next(), if reads => reads = keep(&mut capture, chunk),
                    () = &mut input, if writes => writes = false,
                    () = &mut full => break Over::Disk,
                    () = &mut time => break Over::WallClock,
                    () = kill.wished() => break Over::Killed,
                }
            }
        };
        drop(input);
        let elapsed = age + began.elapsed();
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
        drop(tokio::time::timeout(last_words, rest).await);
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
        let ended = Ended {
            reason,
            exit_code: i32::try_from(code).unwrap_or(i32::MAX),
            elapsed,
            result: capture.encode(),
        };
        if over == Over::Killed {
            return Ok(ended);
        }
        match files::keep(keeping.files, attempt, &self.workspace.folder, ended, kill).await {
            Ok(ended) => {
                keeping.kept.keep(attempt.token, &ended);
                Ok(ended)
            }
            Err(stopped) => Err(stopped),
        }
    }

    /// With which code it has exited, if it has.
    async fn exited(&self) -> Result<Option<i64>, NotRun> {
        let looked = self.guard.engine.inspect_container(self.guard.id(), None).await;
        let state = looked.map_err(|error| failed("looked at", &error))?.state;
        Ok(state
            .filter(|state| state.running != Some(true))
            .map(|state| state.exit_code.unwrap_or(0)))
    }

    /// Ready when the work's folder holds more than it may.
    async fn is_full(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let folder = self.workspace.folder.clone();
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

/// The engine does not start a container.
fn not_started(error: &DockerError) -> NotRun {
    let NotRun(reason, text) = failed("started", error);
    if text.contains("could not select device driver") {
        let cure = "this worker's Docker has no driver for GPUs: its operator installs the NVIDIA Container Toolkit, or \
                    starts the worker without --gpus";
        return NotRun(Reason::ExecutorFailed, format!("{cure} ({error})"));
    }
    NotRun(reason, text)
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
