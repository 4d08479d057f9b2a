//! Commands in containers, by a Docker Engine.
//!
//! ```text
//!  image there? ─ no ─► pull ─┐
//!       └───────── yes ───────┴─► create ─► attach ─► start ─► it runs ─┬─ exits ─────────────┐
//!                                                                       ├─ wall clock is over ─┤
//!                                                                       ├─ folder too large ───┼─► kill ─► inspect ─► remove
//!                                                                       └─ cancelled ──────────┘
//! ```
//!
//! What a container may do is said in `container`, what image it may be of in `image`. Output comes over the attached
//! stream, kept up to a bound, and Docker logs none of it.
//!
//! Every container has the worker's identity as a label. What a worker that was killed left running is removed when the
//! next one with this identity begins: its works are given to others meanwhile, and its folder is emptied.

mod container;
mod image;
mod run;

use std::collections::HashMap;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::errors::Error as DockerError;
use bollard::query_parameters::{CreateImageOptionsBuilder, ListContainersOptionsBuilder};
use bollard::{API_DEFAULT_VERSION, Docker as Engine};
use futures_util::StreamExt;
use walkdir::WalkDir;
use wire_protocol::outcome::Reason;
use wire_protocol::template::Input;

use self::container::{Container, LABEL_WORKER, WORK};
use self::image::ImageRef;
use self::run::{Created, Guard, failed, remove, status};
use super::command::Words;
use super::folder::{Folder, Workspace};
use super::{Attempt, Ended, Executor, Kill, NotRun, Running, world_reason};
use crate::files::{self, Files};

pub use self::container::Bounds;
pub use self::image::{ImageAllow, NoImage};

/// How long the engine may take to answer. To wait for a container is answered at once, and goes on from there.
const ANSWER_WITHIN_S: u64 = 60;
/// The account inside if the worker runs as root: nobody.
const NOBODY: u32 = 65_534;

/// What the executor needs.
pub struct DockerConfig {
    /// Path of the engine's unix socket.
    pub socket: PathBuf,
    /// Where works get their folders; the engine has to see them at the same path.
    pub folder: Arc<Folder>,
    /// Identity of this worker.
    pub worker: String,
    /// Images that may run.
    pub allow: ImageAllow,
    /// Those of them whose containers have a network.
    pub network: ImageAllow,
    /// Only images that are named by their digest.
    pub pinned: bool,
    /// What each container gets.
    pub bounds: Bounds,
    /// How long a pull may take.
    pub pull_within: Duration,
    /// How works have files; `None`: they have none.
    pub files: Option<Arc<Files>>,
}

/// The executor `docker`: `docker:alpine:3.20` is that image.
pub struct Docker {
    config: DockerConfig,
    engine: Engine,
    /// One at a time, so that no image is pulled twice.
    pulls: tokio::sync::Mutex<()>,
}

impl Docker {
    /// With this configuration. Whether the engine answers shows when it is asked.
    ///
    /// # Errors
    /// There is no such socket, or this account may not use it.
    pub fn connect(config: DockerConfig) -> Result<Self, DockerError> {
        let socket = config.socket.to_string_lossy();
        let engine = Engine::connect_with_unix(&socket, ANSWER_WITHIN_S, API_DEFAULT_VERSION)?;
        Ok(Self {
            config,
            engine,
            pulls: tokio::sync::Mutex::default(),
        })
    }
}

impl Executor for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn begin(self: Arc<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            match self.remove_leftovers().await {
                Ok(0) => {}
                Ok(containers) => {
                    tracing::warn!(
                        containers,
                        "removed containers that an earlier worker left running"
                    );
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    socket = %self.config.socket.display(),
                    "Docker does not answer; its works fail until it does"
                ),
            }
        })
    }

    fn run(self: Arc<Self>, attempt: Attempt, mut kill: Kill) -> Running {
        Box::pin(async move {
            // To fetch an image takes longer than whoever cancels waits.
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

/// What a container is made of, once everything was checked.
struct Prepared {
    image: ImageRef,
    command: Vec<String>,
    env: Vec<String>,
    /// Folders that the image declares as volumes.
    volumes: Vec<String>,
}

impl Docker {
    /// Containers of this worker, from before it began.
    async fn remove_leftovers(&self) -> Result<usize, DockerError> {
        let label = format!("{LABEL_WORKER}={}", self.config.worker);
        let filters = HashMap::from([("label", vec![label.as_str()])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let found = self.engine.list_containers(Some(options)).await?;
        for container in &found {
            remove(&self.engine, container.id.as_deref().unwrap_or_default()).await;
        }
        Ok(found.len())
    }

    async fn prepare(&self, attempt: &Attempt) -> Result<Prepared, NotRun> {
        let template = &attempt.template;
        let detail = template.app.split_once(':').map_or("", |(_, detail)| detail);
        let image: ImageRef = detail
            .parse()
            .map_err(|error: NoImage| NotRun(Reason::BadParameters, error.to_string()))?;
        if !self.config.allow.allows(&image) {
            let text = format!("the operator of this worker does not allow the image {image}");
            return Err(NotRun(Reason::NotAllowed, text));
        }
        if self.config.pinned && !image.is_pinned() {
            let text = format!("this worker runs images by their digest only; {image} has none");
            return Err(NotRun(Reason::NotAllowed, text));
        }
        let words = Words::expand_optional(template, &attempt.row)
            .map_err(|text| NotRun(Reason::BadParameters, text))?;
        let text = |word: std::ffi::OsString| {
            String::from_utf8(word.into_vec()).map_err(|_| {
                let text = "a value is no UTF-8, which Docker's arguments have to be".to_owned();
                NotRun(Reason::BadParameters, text)
            })
        };
        let mut env = Vec::new();
        for (name, value) in words.env {
            env.push(format!("{}={}", text(name)?, text(value)?));
        }
        let own = [
            ("HOME", WORK.to_owned()),
            ("TMPDIR", "/tmp".to_owned()),
            ("POOL_WORK_ID", attempt.token.work.0.to_string()),
            ("POOL_ATTEMPT", attempt.token.attempt.0.to_string()),
        ];
        env.extend(own.map(|(name, value)| format!("{name}={value}")));
        let volumes = self.have(&image).await?;
        Ok(Prepared {
            command: words.command.into_iter().map(text).collect::<Result<_, _>>()?,
            image,
            env,
            volumes,
        })
    }

    /// Sees to it that the image is there; the volumes that it declares.
    async fn have(&self, image: &ImageRef) -> Result<Vec<String>, NotRun> {
        let name = image.to_string();
        if let Some(volumes) = self.look(&name).await? {
            return Ok(volumes);
        }
        let _one = self.pulls.lock().await;
        // Another attempt may have pulled it while this one waited.
        if let Some(volumes) = self.look(&name).await? {
            return Ok(volumes);
        }
        self.pull(&name).await?;
        let pulled = self.look(&name).await?;
        pulled.ok_or_else(|| NotRun(Reason::ExecutorFailed, format!("the image {name} is gone again")))
    }

    /// `None`: the engine does not have it.
    async fn look(&self, name: &str) -> Result<Option<Vec<String>>, NotRun> {
        match self.engine.inspect_image(name).await {
            Ok(image) => Ok(Some(
                image.config.and_then(|config| config.volumes).unwrap_or_default(),
            )),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(failed("looked at", &error)),
        }
    }

    async fn pull(&self, name: &str) -> Result<(), NotRun> {
        tracing::info!(image = name, "pulls");
        let began = Instant::now();
        let options = CreateImageOptionsBuilder::new().from_image(name).build();
        let pulled = tokio::time::timeout(self.config.pull_within, async {
            let mut progress = pin!(self.engine.create_image(Some(options), None, None));
            while let Some(step) = progress.next().await {
                let step = step?;
                tracing::debug!(image = name, id = step.id, status = step.status, "pulling");
            }
            Ok::<_, DockerError>(())
        })
        .await;
        match pulled {
            Ok(Ok(())) => {
                tracing::info!(image = name, seconds = began.elapsed().as_secs_f32(), "pulled");
                Ok(())
            }
            Ok(Err(error)) => {
                let text = format!("the image {name} cannot be pulled: {error}");
                Err(NotRun(Reason::InputMissing, text))
            }
            Err(_) => {
                let within = self.config.pull_within.as_secs();
                let text = format!("the image {name} was not pulled within {within} s");
                Err(NotRun(Reason::InputMissing, text))
            }
        }
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
        ended.unwrap_or_else(Ended::from)
    }

    async fn run_in(
        &self,
        attempt: &Attempt,
        prepared: Prepared,
        workspace: &Workspace,
        kill: &mut Kill,
    ) -> Result<Ended, NotRun> {
        let (files, user) = (self.config.files.as_deref(), user());
        let stdin = files::place(files, attempt, &workspace.folder, kill).await?;
        give(&workspace.folder, user).map_err(|error| {
            let text = format!("the work's folder cannot be given to it: {error}");
            NotRun(world_reason(&error), text)
        })?;
        let created = self.create(attempt, prepared, workspace, user).await?;
        let ended = created.run(attempt, stdin, kill).await?;
        Ok(files::keep(files, attempt, &workspace.folder, ended, kill).await)
    }

    async fn create(
        &self,
        attempt: &Attempt,
        prepared: Prepared,
        workspace: &Workspace,
        user: (u32, u32),
    ) -> Result<Created, NotRun> {
        let limits = &attempt.template.limits;
        let container = Container {
            network: self.config.network.allows(&prepared.image),
            image: prepared.image.to_string(),
            command: prepared.command,
            env: prepared.env,
            token: attempt.token,
            worker: &self.config.worker,
            folder: &workspace.folder,
            user,
            volumes: prepared.volumes,
            has_input: !matches!(attempt.template.input, Input::None),
            memory: limits.memory,
            processes: limits.processes,
        };
        let (engine, name) = (self.engine.clone(), container.name());
        let body = container.body(&self.config.bounds);
        // On its own: dropped halfway, nobody would know what the engine has made of it.
        let created = tokio::spawn(async move { Guard::create(engine, &name, body).await });
        let guard = created.await.expect("it does not panic")?;
        Ok(Created {
            guard,
            folder: workspace.folder.clone(),
            disk: self.config.bounds.disk.0,
        })
    }
}

/// Who the work is inside: not root, and who may write to its folder.
fn user() -> (u32, u32) {
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    if user.is_root() {
        (NOBODY, NOBODY)
    } else {
        (user.as_raw(), group.as_raw())
    }
}

/// Gives a work its folder, with the inputs in it.
fn give(folder: &Path, (user, group): (u32, u32)) -> io::Result<()> {
    if !rustix::process::getuid().is_root() {
        return Ok(());
    }
    for entry in WalkDir::new(folder).follow_links(false) {
        std::os::unix::fs::lchown(entry?.path(), Some(user), Some(group))?;
    }
    Ok(())
}
