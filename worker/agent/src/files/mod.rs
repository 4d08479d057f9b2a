//! Files of works: inputs into their folders before they start, outputs out of them when they have succeeded.
//!
//! ```text
//!  source ─► in the cache? ─ no ─► file store (with a grant) or web ─► cache ─┐
//!                  └─────── yes ──────────────────────────────────────────────┴─► copied, or unpacked, into the folder
//!  folder ─► archive ─► file store (with a grant) ─► its hash and size stand in the result
//! ```
//!
//! A grant is asked of the engine when the first file needs one, through the desk. What fails for want of a connection is
//! tried again for minutes, in which the work holds its slot and its lease.

mod archive;
mod cache;
mod desk;

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use thiserror::Error;
use tokio::sync::OnceCell;
use wire_files::{Content, Credentials, FilesError, Hosts, Nobody, Place, Wanted};
use wire_link::Trust;
use wire_protocol::file::{Digest, Source};
use wire_protocol::ids::LeaseToken;
use wire_protocol::limits::WARM_KEYS_MAX;
use wire_protocol::outcome::Reason;
use wire_protocol::template::{Input, WorkTemplate};
use wire_protocol::units::Bytes;

use self::archive::{ArchiveError, Collected};
use self::cache::{Cache, Held};
use self::desk::Grant;
use crate::executor::{Attempt, Ended, Kill, NotRun, world_reason};
use crate::wire::chain;

pub use self::desk::{Clerk, Desk, desk};

/// How long nothing may move of a file of the pool before the work is given up.
const PATIENCE: Duration = Duration::from_secs(300);

/// The same of a file of the web, which may never come.
const PATIENCE_WEB: Duration = Duration::from_secs(30);

/// What the archive of a work's outputs is called in the file store.
const OUTPUT: &str = "output.tar";

/// Whether works may have files of the web.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fetch {
    /// None.
    Off,
    /// From hosts that anybody can reach.
    Public,
    /// Also from hosts of this machine's own network, and from itself.
    All,
}

/// How a worker has files.
#[derive(Debug)]
pub struct FilesConfig {
    /// Where they lie: the worker's folder.
    pub folder: PathBuf,
    /// Whom to believe to be the pool's file store.
    pub trust: Trust,
    /// What is kept of fetched files, and the longest that is fetched.
    pub cache: Bytes,
    /// Which hosts of the web files may come from.
    pub fetch: Fetch,
    /// Where grants are asked for.
    pub desk: Desk,
}

/// A worker cannot have files.
#[derive(Debug, Error)]
pub enum NoFiles {
    /// The file system says no.
    #[error("{path} cannot be used for files")]
    Io {
        /// What was tried on.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The connection cannot be set up.
    #[error(transparent)]
    Connection(#[from] FilesError),
}

/// See the module.
#[derive(Debug)]
pub struct Files {
    desk: Desk,
    trust: Trust,
    cache: Cache,
    cache_bytes: u64,
    outputs: PathBuf,
    web: Option<wire_files::Files>,
    /// The file store that was spoken to last, by its address.
    store: Mutex<Option<(String, wire_files::Files)>>,
}

/// Puts the inputs of an attempt into its folder; the file that is its standard input, if that is one.
pub(crate) async fn place(
    files: Option<&Files>,
    attempt: &Attempt,
    folder: &Path,
    kill: &mut Kill,
) -> Result<Option<File>, NotRun> {
    let template = &attempt.template;
    if template.files.is_empty() && !matches!(template.input, Input::File(_)) {
        return Ok(None);
    }
    let Some(files) = files else {
        let text = "this worker has no access to files".to_owned();
        return Err(NotRun(Reason::InputMissing, text));
    };
    tokio::select! {
        placed = files.place(attempt, folder) => placed,
        // How it ends is of no interest then.
        () = kill.wished() => Err(stopped()),
    }
}

fn stopped() -> NotRun {
    NotRun(Reason::ExecutorFailed, "it was told to stop".to_owned())
}

/// Keeps the outputs of an attempt that has succeeded. What cannot be kept is a failure of the work; an error: it was told
/// to stop meanwhile.
pub(crate) async fn keep(
    files: Option<&Files>,
    attempt: &Attempt,
    folder: &Path,
    ended: Ended,
    kill: &mut Kill,
) -> Result<Ended, NotRun> {
    if ended.reason != Reason::None || attempt.template.outputs.is_empty() {
        return Ok(ended);
    }
    let Some(files) = files else {
        return Ok(ended.failed(Reason::OutputMissing, "this worker has no access to files"));
    };
    let kept = tokio::select! {
        kept = files.collect(attempt, folder) => kept,
        () = kill.wished() => return Err(stopped()),
    };
    Ok(match kept {
        Ok(collected) => ended.with_files(collected.archive, collected.consensus),
        Err(NotRun(reason, text)) => ended.failed(reason, &text),
    })
}

/// Removes a file when it is let go.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The grant of an attempt, asked for when the first file needs one.
struct Access<'a> {
    desk: &'a Desk,
    token: LeaseToken,
    granted: OnceCell<(wire_files::Files, Grant<'a>)>,
}

impl Files {
    /// Makes the folders if need be, and removes what an earlier worker left half done.
    ///
    /// # Errors
    /// See [`NoFiles`].
    pub fn new(config: FilesConfig) -> Result<Arc<Self>, NoFiles> {
        let at = |path: &Path, source| NoFiles::Io {
            path: path.to_owned(),
            source,
        };
        let (cached, outputs) = (config.folder.join("cache"), config.folder.join("outputs"));
        match fs::remove_dir_all(&outputs) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&outputs, error)),
            _ => {}
        }
        fs::create_dir_all(&outputs).map_err(|error| at(&outputs, error))?;
        let cache = Cache::open(cached.clone(), config.cache.0).map_err(|error| at(&cached, error))?;
        let web = match config.fetch {
            Fetch::Off => None,
            Fetch::Public => Some(wire_files::Files::web(Hosts::Public)?),
            Fetch::All => Some(wire_files::Files::web(Hosts::All)?),
        };
        Ok(Arc::new(Self {
            desk: config.desk,
            trust: config.trust,
            cache,
            cache_bytes: config.cache.0,
            outputs,
            web: web.map(|web| web.patience(PATIENCE_WEB)),
            store: Mutex::default(),
        }))
    }

    /// Keys of the content that is kept, see [`wire_protocol::warm`]; what was used last first.
    #[must_use]
    pub fn warm(&self) -> Vec<u64> {
        let kept = self.cache.last_used(WARM_KEYS_MAX);
        kept.iter().map(wire_protocol::warm::content).collect()
    }

    fn access(&self, token: LeaseToken) -> Access<'_> {
        Access {
            desk: &self.desk,
            token,
            granted: OnceCell::new(),
        }
    }

    fn store(&self, url: &str) -> Result<wire_files::Files, FilesError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, store)) = &*store
            && known == url
        {
            return Ok(store.clone());
        }
        let new = wire_files::Files::new(url, &self.trust)?.patience(PATIENCE);
        *store = Some((url.to_owned(), new.clone()));
        Ok(new)
    }

    async fn place(&self, attempt: &Attempt, folder: &Path) -> Result<Option<File>, NotRun> {
        let template = &attempt.template;
        let sources = template
            .sources(&attempt.row)
            .map_err(|text| NotRun(Reason::BadParameters, text))?;
        let access = self.access(attempt.token);
        let mut left = self.input_bytes_max(template);
        let mut stdin = None;
        for (index, source) in sources.iter().enumerate() {
            let (held, bytes) = self
                .fetch(&access, source, left)
                .await
                .map_err(|error| missing(source, &error))?;
            let room = left;
            left = left.saturating_sub(bytes);
            match template.files.get(index) {
                Some(file) => {
                    let target = folder.join(&file.path);
                    let (from, unpack) = (held.path.clone(), file.unpack);
                    let placed = tokio::task::spawn_blocking(move || match unpack {
                        true => unpack_into(&from, &target, room),
                        false => copy(&from, &target),
                    });
                    let placed = placed.await.expect("it does not panic");
                    placed.map_err(|error| not_placed(source, &error))?;
                }
                None => {
                    let open = File::open(&held.path);
                    stdin = Some(open.map_err(|error| NotRun(world_reason(&error), error.to_string()))?);
                }
            }
        }
        Ok(stdin)
    }

    fn input_bytes_max(&self, template: &WorkTemplate) -> u64 {
        match template.limits.disk.0 {
            0 => self.cache_bytes,
            limit => limit.min(self.cache_bytes),
        }
    }

    /// The content of a source, in the cache, and its length.
    async fn fetch<'a>(
        &'a self,
        access: &Access<'_>,
        source: &Source,
        bytes_max: u64,
    ) -> Result<(Held<'a>, u64), FilesError> {
        let known = match source {
            Source::Content(digest) => Some(*digest),
            Source::Url { digest, .. } => *digest,
            Source::Name(name) => {
                let (store, grant) = access.granted(self).await?;
                Some(store.look(name, grant).await?.digest)
            }
        };
        let Some(digest) = known else {
            return self.download(access, source, None, bytes_max).await;
        };
        let lock = self.cache.fetching(digest);
        let _one = lock.lock().await;
        if let Some(held) = self.cache.get(&digest) {
            let bytes = fs::metadata(&held.path)?.len();
            if bytes > bytes_max {
                return Err(FilesError::TooLong {
                    bytes,
                    max: bytes_max,
                });
            }
            return Ok((held, bytes));
        }
        self.download(access, source, Some(digest), bytes_max).await
    }

    async fn download<'a>(
        &'a self,
        access: &Access<'_>,
        source: &Source,
        digest: Option<Digest>,
        bytes_max: u64,
    ) -> Result<(Held<'a>, u64), FilesError> {
        let partial = self.cache.partial();
        let text = source.to_string();
        let (place, files, credentials): (_, _, &dyn Credentials) = match source {
            Source::Url { url, .. } => {
                let off = || FilesError::Host("this worker fetches no files of the web".to_owned());
                (Place::Url(url), self.web.as_ref().ok_or_else(off)?, &Nobody)
            }
            Source::Content(_) | Source::Name(_) => {
                let (store, grant) = access.granted(self).await?;
                (Place::Store(&text), store, grant)
            }
        };
        let wanted = Wanted {
            place,
            digest,
            bytes_max,
            goes_on: false,
        };
        let mut has_room = false;
        let mut progress = |_, length: Option<u64>| {
            if let Some(length) = length.filter(|_| !has_room) {
                has_room = true;
                self.cache.make_room(length);
            }
        };
        let content = files
            .download(wanted, partial.path(), credentials, &mut progress)
            .await?;
        let held = self.cache.keep(&partial, content.digest, content.bytes)?;
        Ok((held, content.bytes))
    }

    async fn collect(&self, attempt: &Attempt, folder: &Path) -> Result<Collected, NotRun> {
        let template = Arc::clone(&attempt.template);
        let bytes_max = match template.limits.files.0 {
            0 => u64::MAX,
            limit => limit,
        };
        let to = self
            .outputs
            .join(attempt.token.to_string().replace('/', "-") + ".tar");
        let archive = Removed(to.clone());
        let folder = folder.to_owned();
        let collected =
            tokio::task::spawn_blocking(move || archive::collect(&folder, &template.outputs, &to, bytes_max));
        let collected = collected.await.expect("it does not panic");
        let collected = collected.map_err(|error| match error {
            ArchiveError::Content(text) => NotRun(Reason::OutputMissing, text),
            ArchiveError::NoRoom(text) => NotRun(Reason::NoRoom, text),
            ArchiveError::Io { path, source } => {
                let text = format!("the output {} cannot be collected: {source}", path.display());
                NotRun(world_reason(&source), text)
            }
        })?;
        if let Some(kept) = collected.archive {
            let content = Content {
                digest: kept.digest,
                bytes: kept.bytes,
            };
            let stored = self.upload(attempt.token, &archive.0, content).await;
            stored.map_err(|error| {
                let text = format!("the outputs cannot be stored: {}", chain(&error));
                NotRun(Reason::OutputMissing, text)
            })?;
        }
        Ok(collected)
    }

    async fn upload(&self, token: LeaseToken, archive: &Path, content: Content) -> Result<(), FilesError> {
        let access = self.access(token);
        let (store, grant) = access.granted(self).await?;
        store
            .upload(OUTPUT, archive, content, grant, &mut |bytes| {
                tracing::debug!(%token, bytes, of = content.bytes, "uploads outputs");
            })
            .await
    }
}

impl<'a> Access<'a> {
    async fn granted(&self, files: &Files) -> Result<&(wire_files::Files, Grant<'a>), FilesError> {
        self.granted
            .get_or_try_init(|| async {
                let (url, grant) = self.desk.ask(self.token).await.map_err(FilesError::Credentials)?;
                let grant = Grant {
                    desk: self.desk,
                    token: self.token,
                    text: tokio::sync::Mutex::new(grant),
                };
                Ok((files.store(&url)?, grant))
            })
            .await
    }
}

fn missing(source: &Source, error: &FilesError) -> NotRun {
    let reason = match error {
        FilesError::Io(error) => match world_reason(error) {
            Reason::NoRoom => Reason::NoRoom,
            _ => Reason::ExecutorFailed,
        },
        _ => Reason::InputMissing,
    };
    NotRun(
        reason,
        format!("the input {source} cannot be had: {}", chain(error)),
    )
}

fn not_placed(source: &Source, error: &ArchiveError) -> NotRun {
    let reason = match error {
        ArchiveError::Content(_) => Reason::InputMissing,
        ArchiveError::NoRoom(_) => Reason::NoRoom,
        ArchiveError::Io { source, .. } => world_reason(source),
    };
    NotRun(
        reason,
        format!("the input {source} cannot be put into the work's folder: {error}"),
    )
}

/// A copy of its own, which the work may change.
fn copy(from: &Path, to: &Path) -> Result<(), ArchiveError> {
    let copied = to
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::copy(from, to))
        .and_then(|_| fs::set_permissions(to, Permissions::from_mode(0o644)));
    copied.map_err(|source| match world_reason(&source) {
        Reason::NoRoom => ArchiveError::NoRoom("the worker's disk is full".to_owned()),
        _ => ArchiveError::Io {
            path: to.to_owned(),
            source,
        },
    })
}

fn unpack_into(archive: &Path, folder: &Path, bytes_max: u64) -> Result<(), ArchiveError> {
    fs::create_dir_all(folder).map_err(|source| ArchiveError::Io {
        path: folder.to_owned(),
        source,
    })?;
    archive::unpack(archive, folder, bytes_max)
}
