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
//! Every container has the worker's identity as a label, and beside its folder a `note` with all that has to be known of
//! it. When a worker was killed, its containers run on, and the next worker of this identity takes them up: their output
//! from the beginning, which Docker's log has kept, their time from when they were started. A container without a note,
//! or whose input was cut off, or whose report is kept already, it removes; and the engine says later which leases go on.

mod container;
mod image;
mod note;
mod pull;
mod run;
mod store;

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bollard::errors::Error as DockerError;
use bollard::models::ContainerStateStatusEnum;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker as Engine};
use futures_util::StreamExt;
use walkdir::WalkDir;
use wire_protocol::ids::LeaseToken;
use wire_protocol::outcome::Reason;
use wire_protocol::template::Input;

use self::container::{Container, LABEL_WORKER, WORK, least};
use self::image::ImageRef;
use self::note::Note;
use self::pull::Progress;
use self::run::{Created, Guard, Keeping, failed, remove, status};
use self::store::{InUse, Uses};
use super::command::Words;
use super::folder::{Folder, Workspace};
use super::gpu::{Gpus, Taken};
use super::{Attempt, Ended, Executor, Kill, NotRun, Resumable, Running, world_reason};
use crate::disk;
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
    /// Images that are never removed to make room.
    pub keep: ImageAllow,
    /// GPUs that works may have, shared with the other executors.
    pub gpus: Arc<Gpus>,
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
    uses: Arc<Uses>,
    /// What an earlier worker left running, until it is taken up.
    left: Mutex<HashMap<LeaseToken, Left>>,
    /// Shared while an image is found and counted as in use, not shared while one is removed: none goes in between.
    images: tokio::sync::RwLock<()>,
}

impl Docker {
    /// With this configuration. Whether the engine answers shows when it is asked.
    ///
    /// # Errors
    /// There is no such socket, or this account may not use it.
    pub fn connect(config: DockerConfig) -> Result<Self, DockerError> {
        let socket = config.socket.to_string_lossy();
        let engine = Engine::connect_with_unix(&socket, ANSWER_WITHIN_S, API_DEFAULT_VERSION)?;
        let uses = Arc::new(Uses::read(config.folder.path().join("images")));
        Ok(Self {
            config,
            engine,
            pulls: tokio::sync::Mutex::default(),
            uses,
            left: Mutex::default(),
            images: tokio::sync::RwLock::default(),
        })
    }
}

impl Executor for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn begin(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Vec<Resumable>> + Send>> {
        Box::pin(async move {
            let left = match self.sort_leftovers().await {
                Ok(left) => left,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        socket = %self.config.socket.display(),
                        "Docker does not answer; its works fail until it does"
                    );
                    Vec::new()
                }
            };
            let mut resumable: Vec<Resumable> = left
                .iter()
                .map(|left| Resumable {
                    attempt: left.attempt.clone(),
                    age: left.note.age(),
                })
                .collect();
            resumable.sort_unstable_by_key(|resumable| resumable.attempt.token);
            let left = left.into_iter().map(|left| (left.note.token, left));
            *self.left() = left.collect();
            resumable
        })
    }

    fn warm(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Vec<u64>> + Send>> {
        Box::pin(async move { self.image_keys().await.unwrap_or_default() })
    }

    fn resume(self: Arc<Self>, token: LeaseToken, kill: Kill) -> Running {
        Box::pin(async move {
            let left = self.left().remove(&token);
            match left {
                Some(left) => self.take_up(left, kill).await,
                None => {
                    let text = format!("no container of {token} is left");
                    Ended::without_running(Reason::ExecutorFailed, &text)
                }
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

/// A container that an earlier worker started.
struct Left {
    note: Note,
    /// As the note says; what it prints is written down in one place, whoever asks.
    attempt: Attempt,
    workspace: Workspace,
    gpus: Taken,
}

/// What a container is made of, once everything was checked.
struct Prepared {
    image: ImageRef,
    command: Vec<String>,
    env: Vec<String>,
    found: Found,
    gpus: Taken,
}

/// An image that the engine has.
struct Found {
    /// Folders that it declares as volumes.
    volumes: Vec<String>,
    in_use: InUse,
}

impl Docker {
    fn keeping(&self) -> Keeping<'_> {
        Keeping {
            files: self.config.files.as_deref(),
            kept: self.config.folder.kept(),
        }
    }

    fn left(&self) -> MutexGuard<'_, HashMap<LeaseToken, Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of what an earlier worker left, gives what can be taken up and removes the rest.
    async fn sort_leftovers(&self) -> Result<Vec<Left>, DockerError> {
        let label = format!("{LABEL_WORKER}={}", self.config.worker);
        let filters = HashMap::from([("label", vec![label.as_str()])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let found = self.engine.list_containers(Some(options)).await?;
        let mut containers: HashSet<String> = found.into_iter().filter_map(|found| found.id).collect();
        let mut left = Vec::new();
        let workspaces = self.config.folder.containers().unwrap_or_else(|error| {
            tracing::warn!(%error, "notes of containers cannot be read");
            Vec::new()
        });
        for workspace in workspaces {
            let note = Note::read(&workspace.note).ok();
            let note = note.filter(|note| note.has_input && !self.config.folder.kept().has(note.token));
            match note {
                Some(note) if containers.contains(&note.container) && self.has_begun(&note).await => {
                    containers.remove(&note.container);
                    let gpus = self.config.gpus.take_again(&note.gpus);
                    left.push(Left {
                        attempt: note.attempt(),
                        note,
                        workspace,
                        gpus,
                    });
                }
                _ => workspace.remove_apart().await,
            }
        }
        for container in &containers {
            remove(&self.engine, container).await;
        }
        if !containers.is_empty() {
            tracing::warn!(
                containers = containers.len(),
                "removed containers that an earlier worker left and that cannot be taken up"
            );
        }
        Ok(left)
    }

    /// The container runs or has run.
    async fn has_begun(&self, note: &Note) -> bool {
        let looked = self.engine.inspect_container(&note.container, None).await;
        let status = looked.ok().and_then(|found| found.state?.status);
        !matches!(status, None | Some(ContainerStateStatusEnum::CREATED))
    }

    /// Goes on with a container of an earlier worker.
    async fn take_up(&self, left: Left, mut kill: Kill) -> Ended {
        let Left {
            note,
            attempt,
            workspace,
            gpus,
        } = left;
        let age = note.age();
        let guard = Guard::of(self.engine.clone(), note.container.clone());
        let created = Created {
            guard,
            workspace: workspace.clone(),
            disk: least(attempt.template.limits.disk.0, self.config.bounds.disk.0),
            // A container is of it, which keeps it.
            _image: None,
            gpus,
        };
        tracing::info!(token = %attempt.token, age_s = age.as_secs(), "takes up a container that an earlier worker started");
        let ended = created.go_on(&attempt, age, &mut kill, &self.keeping()).await;
        workspace.remove_apart().await;
        ended.unwrap_or_else(Ended::from)
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
        let found = self.have(&image).await?;
        let gpus = self.config.gpus.take(template.requirements.gpus).await?;
        // Where NVIDIA's runtime is Docker's own, it is this that says which GPUs a container sees.
        let visible = match gpus.ids() {
            none if none.is_empty() => "void".to_owned(),
            ids => ids.join(","),
        };
        env.push(format!("NVIDIA_VISIBLE_DEVICES={visible}"));
        Ok(Prepared {
            command: words.command.into_iter().map(text).collect::<Result<_, _>>()?,
            image,
            env,
            found,
            gpus,
        })
    }

    /// Sees to it that the image is there, and stays there as long as it is in use.
    async fn have(&self, image: &ImageRef) -> Result<Found, NotRun> {
        let name = image.to_string();
        if let Some(found) = self.look(&name).await? {
            return Ok(found);
        }
        let _one = self.pulls.lock().await;
        // Another attempt may have pulled it while this one waited.
        if let Some(found) = self.look(&name).await? {
            return Ok(found);
        }
        self.pull(&name).await?;
        let pulled = self.look(&name).await?;
        pulled.ok_or_else(|| NotRun(Reason::ExecutorFailed, format!("the image {name} is gone again")))
    }

    /// `None`: the engine does not have it.
    async fn look(&self, name: &str) -> Result<Option<Found>, NotRun> {
        let _stays = self.images.read().await;
        match self.engine.inspect_image(name).await {
            Ok(image) => Ok(Some(Found {
                in_use: Arc::clone(&self.uses).begin(image.id.as_deref().unwrap_or_default()),
                volumes: image.config.and_then(|config| config.volumes).unwrap_or_default(),
            })),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(failed("looked at", &error)),
        }
    }

    async fn pull(&self, name: &str) -> Result<(), NotRun> {
        tracing::info!(image = name, "pulls");
        let began = Instant::now();
        let options = CreateImageOptionsBuilder::new().from_image(name).build();
        let pulled = tokio::time::timeout(self.config.pull_within, async {
            let mut steps = pin!(self.engine.create_image(Some(options), None, None));
            let mut progress = Progress::new(began);
            while let Some(step) = steps.next().await {
                let step = step?;
                if progress.take(Instant::now(), &step) {
                    let seconds = began.elapsed().as_secs();
                    tracing::info!(event = "pulling", image = name, seconds, "has {progress}");
                }
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
        created.run(attempt, stdin, kill, &self.keeping()).await
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
            volumes: prepared.found.volumes,
            gpus: prepared.gpus.ids(),
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
            workspace: workspace.clone(),
            disk: least(attempt.template.limits.disk.0, self.config.bounds.disk.0),
            _image: Some(prepared.found.in_use),
            gpus: prepared.gpus,
        })
    }
}

/// Images, for whoever watches the disk.
impl Docker {
    /// Where the engine keeps its images, if that is on this machine.
    pub(crate) async fn root(&self) -> Option<PathBuf> {
        let info = self.engine.info().await.ok()?;
        info.docker_root_dir
            .map(PathBuf::from)
            .filter(|root| root.is_dir())
    }

    /// How many images works have used.
    pub(crate) fn images_used(&self) -> usize {
        self.uses.len()
    }

    /// Writes down when images were used.
    pub(crate) fn keep_uses(&self) {
        self.uses.write();
    }

    /// Images that works of this worker have used.
    pub(crate) async fn images(&self) -> Result<Vec<disk::Image>, DockerError> {
        let listed = self
            .engine
            .list_images(Some(ListImagesOptionsBuilder::new().build()))
            .await?;
        let all = ListContainersOptionsBuilder::new().all(true).build();
        let containers = self.engine.list_containers(Some(all)).await?;
        self.uses.retain(|id| listed.iter().any(|image| image.id == id));
        let keeps = |name: &String| name.parse().is_ok_and(|name| self.config.keep.allows(&name));
        let known = listed.into_iter().filter_map(|image| {
            let has_container = containers
                .iter()
                .any(|container| container.image_id.as_deref() == Some(&image.id));
            Some(disk::Image {
                used_s: self.uses.last(&image.id)?,
                size: u64::try_from(image.size).unwrap_or(0),
                in_use: has_container || self.uses.is_in_use(&image.id),
                kept: image.repo_tags.iter().chain(&image.repo_digests).any(keeps),
                id: image.id,
            })
        });
        Ok(known.collect())
    }

    /// Keys of all images by each of their names; those that works used last come first, and those that none used last.
    async fn image_keys(&self) -> Option<Vec<u64>> {
        let options = ListImagesOptionsBuilder::new().build();
        let mut listed = self.engine.list_images(Some(options)).await.ok()?;
        listed.sort_by_key(|image| std::cmp::Reverse(self.uses.last(&image.id)));
        let names = listed
            .iter()
            .flat_map(|image| image.repo_tags.iter().chain(&image.repo_digests));
        Some(names.map(|name| wire_protocol::warm::image(name)).collect())
    }

    /// Bytes of all images; layers that they share count more than once.
    pub(crate) async fn images_bytes(&self) -> Option<u64> {
        let options = ListImagesOptionsBuilder::new().build();
        let listed = self.engine.list_images(Some(options)).await.ok()?;
        Some(
            listed
                .iter()
                .map(|image| u64::try_from(image.size).unwrap_or(0))
                .sum(),
        )
    }

    /// Removes an image with all its names. `false`: it stays, because it is in use meanwhile or the engine says no.
    pub(crate) async fn remove_image(&self, id: &str) -> bool {
        let _alone = self.images.write().await;
        if self.uses.is_in_use(id) {
            return false;
        }
        let Ok(image) = self.engine.inspect_image(id).await else {
            return false;
        };
        // By its id alone the engine removes none that has several names. Never with force: that would take it from
        // under a container.
        let names = image.repo_tags.into_iter().chain(image.repo_digests).flatten();
        for name in names.chain([id.to_owned()]) {
            match self
                .engine
                .remove_image(&name, None::<RemoveImageOptions>, None)
                .await
            {
                Ok(_) => {}
                Err(error) if status(&error) == Some(404) => {}
                Err(error) => {
                    tracing::warn!(
                        image = name,
                        error = &error as &dyn std::error::Error,
                        "an image cannot be removed"
                    );
                    return false;
                }
            }
        }
        true
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
