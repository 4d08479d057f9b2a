//! The store: the shell around [`Index`].
//!
//! **Order.** An upload is made durable, becomes content, is named, and only then counted and told. Who names content holds
//! the lock of its hash from before it is placed until it is counted; who removes unused content holds the same lock and looks
//! again. So nothing is removed that somebody is about to name. Names have locks too, taken first, so that disk and
//! index agree on who was last.
//!
//! **Once begun, it ends.** What changes something runs in a task of its own: whoever asked may go away meanwhile.

mod put;
mod receive;
mod staged;
mod uploads;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use thiserror::Error;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};
use wire_protocol::file::{Digest, FileError};
use wire_protocol::units::Instant;

use crate::backend::{Backend, Contents, blocking, make_durable};
use crate::index::{Index, Page, Refusal};
use crate::limits::{Limits, OWNER_BYTES_MAX};
use crate::reference::Reference;
pub use uploads::{By, NewUpload, UploadStatus};

/// Files of a pool. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    backend: Backend,
    staging: PathBuf,
    limits: Limits,
    index: Mutex<Index>,
    uploads: Mutex<uploads::Uploads>,
    names: Locks,
    contents: Locks,
    counters: Counters,
    /// Held as long as the store is.
    _lock: File,
}

/// Why a store does not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It is none.
    #[error(transparent)]
    Name(#[from] FileError),
    /// Nobody can be called so.
    #[error("`{0}` is no owner: it has 1 to 256 bytes")]
    Owner(String),
    /// It is too much.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The file is longer than it was to be.
    #[error("more than {max} bytes came")]
    TooLong {
        /// What it was to have at most.
        max: u64,
    },
    /// The disk is full.
    #[error("the disk of the file store is full")]
    Full,
    /// Content is not what it was to be.
    #[error("the content has the hash {found} and should have {expected}")]
    Differs {
        /// What was announced.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The upload is somewhere else.
    #[error("the upload is at byte {at}, not {asked}")]
    Offset {
        /// Where it is.
        at: u64,
        /// Where somebody wanted to go on.
        asked: u64,
    },
    /// There is no such upload, or it is somebody else's.
    #[error("there is no such upload; it may have expired, or be somebody else's")]
    NoUpload,
    /// There is no such file.
    #[error("there is no such file")]
    NoFile,
    /// Another request goes on with the upload.
    #[error("another request goes on with this upload")]
    TakenOver,
    /// What was to come did not come.
    #[error("the upload was cut: {0}")]
    Cut(String),
    /// Nothing came for too long.
    #[error("nothing came for too long")]
    Stalled,
    /// Another process uses the folder.
    #[error("another process uses {}", .0.display())]
    InUse(PathBuf),
    /// Something is wrong with a disk or a bucket.
    #[error("cannot {step}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::FileBytes { max } => write!(f, "a file may have at most {max} bytes"),
            Self::OwnerBytes { used, max } => {
                write!(f, "this account's files and uploads have {used} of {max} bytes")
            }
            Self::OwnerUploads { max } => write!(
                f,
                "this account has {max} unfinished uploads, and may have no more"
            ),
            Self::Uploads { max } => write!(f, "there are {max} unfinished uploads, and may be no more"),
        }
    }
}

impl std::error::Error for Refusal {}

impl StoreError {
    fn io(step: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io { step, source },
        }
    }
}

/// A file that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// It.
    pub file: Reference,
    /// Whether it replaced another one.
    pub replaced: bool,
}

/// What the store has and has done.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Numbers {
    /// Files.
    pub files: u64,
    /// Contents that they have.
    pub contents: u64,
    /// Bytes of those, each counted once.
    pub bytes: u64,
    /// Unfinished uploads.
    pub uploads: u64,
    /// Files that were made since the start.
    pub stored: u64,
    /// Bytes that were uploaded since the start, in finished uploads and others.
    pub bytes_received: u64,
    /// Bytes that were read since the start.
    pub bytes_sent: u64,
    /// Files and uploads that have expired since the start.
    pub expired: u64,
    /// Contents that nobody used any more and that were removed since the start.
    pub collected: u64,
}

#[derive(Debug, Default)]
struct Counters {
    stored: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    expired: AtomicU64,
    collected: AtomicU64,
}

/// Locks of hashes or names: the same one always has the same lock, others may share it.
#[derive(Debug)]
struct Locks(Vec<AsyncMutex<()>>);

impl Default for Locks {
    fn default() -> Self {
        Self((0..LOCKS).map(|_| AsyncMutex::new(())).collect())
    }
}

/// Enough that two of the few things that happen at once seldom meet.
const LOCKS: usize = 256;

/// Expired files, and unused contents, that are removed in one go.
const BATCH_MAX: usize = 256;

impl Locks {
    async fn of(&self, what: &[u8]) -> AsyncMutexGuard<'_, ()> {
        let hash = ring::digest::digest(&ring::digest::SHA256, what);
        self.0[usize::from(hash.as_ref()[0])].lock().await
    }
}

impl Store {
    /// Opens the store of `backend`, whose uploads are gathered in `staging`, a folder of this machine (of a folder's
    /// store on the same file system). Removes what a crash has left, reads all references and lists all contents.
    ///
    /// # Errors
    /// Another process uses it; or a disk or bucket fails.
    pub async fn open(backend: Backend, staging: &Path, limits: Limits) -> Result<Self, StoreError> {
        let lock = lock(staging.to_owned()).await?;
        backend
            .prepare()
            .await
            .map_err(StoreError::io("make the folder of the files"))?;
        let inventory = backend
            .inventory()
            .await
            .map_err(StoreError::io("read what files there are"))?;
        for place in &inventory.strange {
            tracing::warn!(place, "this is no part of the file store; it is left alone");
        }
        let mut index = Index::new(limits);
        let mut missing = HashMap::new();
        for reference in &inventory.references {
            index.insert(reference);
            missing.insert(reference.digest, reference);
        }
        for (digest, bytes) in inventory.contents {
            index.found(digest, bytes);
            missing.remove(&digest);
        }
        for reference in missing.values() {
            tracing::error!(owner = reference.owner, name = reference.name, content = %reference.digest,
                "the content of a file is not there: restore it, or upload the file again");
        }
        let uploads = uploads::Uploads::recover(staging.to_owned(), &mut index)
            .await
            .map_err(StoreError::io("look at unfinished uploads"))?;
        let store = Self(Arc::new(Shared {
            backend,
            staging: staging.to_owned(),
            limits,
            index: Mutex::new(index),
            uploads: Mutex::new(uploads),
            names: Locks::default(),
            contents: Locks::default(),
            counters: Counters::default(),
            _lock: lock,
        }));
        store.upkeep(now()).await?;
        Ok(store)
    }

    /// What bounds it.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// A file of an owner.
    #[must_use]
    pub fn file(&self, owner: &str, name: &str) -> Option<Reference> {
        self.0.index().file(owner, name, now())
    }

    /// Bytes of content that a file of this owner has.
    #[must_use]
    pub fn content(&self, owner: &str, digest: Digest) -> Option<u64> {
        self.0.index().content(owner, digest)
    }

    /// Bytes of content that a file of anybody has.
    #[must_use]
    pub fn content_of_anybody(&self, digest: Digest) -> Option<u64> {
        self.0.index().content_of_anybody(digest)
    }

    /// Files of an owner whose names begin with `prefix`, from behind `after`, at most `limit`.
    #[must_use]
    pub fn list(&self, owner: &str, prefix: &str, after: Option<&str>, limit: usize) -> Page {
        self.0.index().list(owner, prefix, after, limit, now())
    }

    /// These bytes of content that is there. Also of content that is removed meanwhile, if it is in a folder.
    ///
    /// # Errors
    /// It is not there, or too short; or a disk or bucket fails.
    pub async fn read(&self, digest: Digest, range: Range<u64>) -> Result<Contents, StoreError> {
        use futures_util::{StreamExt, TryStreamExt};
        let pieces = self.0.backend.read(digest, range).await;
        let pieces = pieces.map_err(StoreError::io("read a file"))?;
        let shared = Arc::clone(&self.0);
        let count = move |piece: &bytes::Bytes| {
            shared
                .counters
                .sent
                .fetch_add(piece.len() as u64, Ordering::Relaxed);
        };
        Ok(pieces.inspect_ok(count).boxed())
    }

    /// Removes a file. What nobody else has of it is removed too.
    ///
    /// # Errors
    /// There is none, or a disk or bucket fails.
    pub async fn remove(&self, owner: &str, name: &str) -> Result<Reference, StoreError> {
        let file = self.file(owner, name).ok_or(StoreError::NoFile)?;
        let shared = Arc::clone(&self.0);
        detached(async move {
            let removed = shared.remove(&file.owner, &file.name, |_| true).await?;
            removed.ok_or(StoreError::NoFile)
        })
        .await
    }

    /// Removes files and uploads that are over at `now`, and content that nobody uses.
    ///
    /// # Errors
    /// A disk or bucket fails; the next time goes on.
    pub async fn upkeep(&self, now: Instant) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.0);
        detached(async move {
            loop {
                let over = shared.index().expired(now, BATCH_MAX);
                for (owner, name) in &over {
                    if shared
                        .remove(owner, name, |file| !file.lives(now))
                        .await?
                        .is_some()
                    {
                        shared.counters.expired.fetch_add(1, Ordering::Relaxed);
                    }
                }
                if over.len() < BATCH_MAX {
                    break;
                }
            }
            shared.drop_expired_uploads(now).await?;
            loop {
                let unused = shared.index().unused(BATCH_MAX);
                for digest in &unused {
                    shared.collect(*digest).await?;
                }
                if unused.len() < BATCH_MAX {
                    return Ok(());
                }
            }
        })
        .await
    }

    /// What it has and has done.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        let index = self.0.index();
        let (contents, bytes) = index.contents();
        let counters = &self.0.counters;
        let counted = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Numbers {
            files: index.files() as u64,
            contents: contents as u64,
            bytes,
            uploads: index.uploads() as u64,
            stored: counted(&counters.stored),
            bytes_received: counted(&counters.received),
            bytes_sent: counted(&counters.sent),
            expired: counted(&counters.expired),
            collected: counted(&counters.collected),
        }
    }
}

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an upload, which is durable, a file. `placed` is set once it is content, and is not an upload any more.
    async fn commit(
        &self,
        staged: &Path,
        (digest, bytes): (Digest, u64),
        placed: &mut bool,
        owner: &str,
        name: &str,
    ) -> Result<Stored, StoreError> {
        let _name = self.names.of(&name_key(owner, name)).await;
        let stored = {
            let _content = self.contents.of(&digest.0).await;
            if *placed {
                // Placed by an attempt that could not name it; it may have been removed since.
                let found = self.backend.has(digest).await;
                if found.map_err(StoreError::io("look for content"))? != Some(bytes) {
                    return Err(StoreError::NoUpload);
                }
            } else {
                let done = self.backend.place(staged, digest, bytes).await;
                done.map_err(StoreError::io("move an upload to its place"))?;
                *placed = true;
                // Whatever happens now, somebody looks after it.
                self.index().found(digest, bytes);
            }
            self.name(owner, name, digest, bytes).await?
        };
        self.after_naming(stored).await
    }

    /// Names content that this owner has a file of already. `None`: it has none (any more).
    async fn link(
        &self,
        owner: &str,
        name: &str,
        digest: Digest,
        bytes: u64,
    ) -> Result<Option<Stored>, StoreError> {
        let _name = self.names.of(&name_key(owner, name)).await;
        let stored = {
            let _content = self.contents.of(&digest.0).await;
            if self.index().content(owner, digest) != Some(bytes) {
                return Ok(None);
            }
            self.name(owner, name, digest, bytes).await?
        };
        self.after_naming(stored).await.map(Some)
    }

    /// Writes a reference and counts it. The caller holds both locks, and content is there.
    async fn name(
        &self,
        owner: &str,
        name: &str,
        digest: Digest,
        bytes: u64,
    ) -> Result<(Reference, Option<Reference>), StoreError> {
        let created = now();
        let file = Reference {
            owner: owner.to_owned(),
            name: name.to_owned(),
            digest,
            bytes,
            created,
            expires: self.index().expiry(name, created),
        };
        if let Err(error) = self.backend.put_reference(&file).await {
            // It may be there all the same, or come back after a crash: then its content has to be there too, and as long as
            // that is not certain, the content of the file that it would have replaced.
            if !matches!(self.backend.again(&file).await, Ok(found) if found.as_ref() != Some(&file)) {
                let mut index = self.index();
                index.doubt(digest);
                let old = index.file(owner, name, Instant(0));
                if let Some(old) = old {
                    index.doubt(old.digest);
                }
            }
            return Err(StoreError::io("write the name of a file")(error));
        }
        let replaced = self.index().insert(&file);
        self.counters.stored.fetch_add(1, Ordering::Relaxed);
        Ok((file, replaced))
    }

    /// What was replaced may be unused now. That it cannot be removed is no reason to deny the new file.
    async fn after_naming(
        &self,
        (file, replaced): (Reference, Option<Reference>),
    ) -> Result<Stored, StoreError> {
        if let Some(old) = &replaced
            && let Err(error) = self.collect(old.digest).await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, content = %old.digest, "is removed later");
        }
        Ok(Stored {
            file,
            replaced: replaced.is_some(),
        })
    }

    /// Removes a file if `may` says so of what it is now.
    async fn remove(
        &self,
        owner: &str,
        name: &str,
        may: impl Fn(&Reference) -> bool,
    ) -> Result<Option<Reference>, StoreError> {
        let _name = self.names.of(&name_key(owner, name)).await;
        let found = self.index().file(owner, name, Instant(0));
        let Some(file) = found.filter(may) else {
            return Ok(None);
        };
        let removed = self.backend.remove_reference(&file).await;
        removed.map_err(StoreError::io("remove a file"))?;
        self.index().remove(owner, name);
        self.collect(file.digest).await?;
        Ok(Some(file))
    }

    /// Removes content if nobody uses it.
    async fn collect(&self, digest: Digest) -> Result<(), StoreError> {
        let _content = self.contents.of(&digest.0).await;
        if !self.index().is_unused(digest) {
            return Ok(());
        }
        let removed = self.backend.remove_content(digest).await;
        removed.map_err(StoreError::io("remove content that nobody uses"))?;
        self.index().forget(digest);
        self.counters.collected.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the disk has room for so many bytes more.
    async fn check_room(&self, bytes: u64) -> Result<(), StoreError> {
        let staging = self.staging.clone();
        let free = blocking(move || {
            let disk = rustix::fs::statvfs(&staging)?;
            Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
        });
        let free = free
            .await
            .map_err(StoreError::io("ask how much room the disk has"))?;
        if bytes.saturating_add(crate::limits::DISK_BYTES_SPARED) > free {
            return Err(StoreError::Full);
        }
        Ok(())
    }
}

/// A file's name and its owner, told apart.
fn name_key(owner: &str, name: &str) -> Vec<u8> {
    [owner.as_bytes(), &[0], name.as_bytes()].concat()
}

pub(crate) fn check_owner(owner: &str) -> Result<(), StoreError> {
    if owner.is_empty() || owner.len() > OWNER_BYTES_MAX {
        return Err(StoreError::Owner(owner.chars().take(64).collect()));
    }
    Ok(())
}

/// Makes the folder of uploads and keeps it for this process.
async fn lock(staging: PathBuf) -> Result<File, StoreError> {
    let folder = staging.clone();
    let lock = blocking(move || {
        make_durable(&folder)?;
        let lock = File::create(folder.join(".lock"))?;
        Ok(lock.try_lock().is_ok().then_some(lock))
    });
    let lock = lock.await.map_err(StoreError::io("make the folder of uploads"))?;
    lock.ok_or(StoreError::InUse(staging))
}

/// Now, by the clock of this machine.
pub(crate) fn now() -> Instant {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Instant(since.map_or(0, |since| since.as_nanos() as u64))
}

/// Runs something to its end, whether or not anybody waits for it.
async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(panic) if panic.is_panic() => std::panic::resume_unwind(panic.into_panic()),
        Err(_) => Err(StoreError::Cut("the process is stopping".to_owned())),
    }
}

#[cfg(test)]
mod tests;
