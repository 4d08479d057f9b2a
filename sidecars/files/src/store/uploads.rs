//! What is not a file yet.
//!
//! ```text
//!  begin ─► Closed ─► Open ─► … all bytes are there ─► Placed ─► Over: a file, remembered for a while
//!             ▲         │      (the hash is right)       │
//!             └─ start ─┘                                └─► tried again, if the name could not be written
//!           terminate, expiry, a wrong hash: ─► Over: forgotten
//! ```
//!
//! On disk an upload is `ID.json`, what it will be, and `ID.part`, what has come of it. The end of each request makes that
//! durable, so what was acknowledged is there after a crash. One request at a time goes on with an upload: a newer one,
//! which knows that the connection of the older was cut, takes over from it.

mod disk;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::Stream;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard};
use wire_protocol::file::{Digest, check_name};
use wire_protocol::ids::LeaseToken;
use wire_protocol::units::Instant;

use self::disk::{make, recover};
use super::staged::Staged;
use super::{Shared, Store, StoreError, check_owner, detached, now};
use crate::backend::blocking;
use crate::index::{Index, Refusal};
use crate::limits::{FINISHED_KEPT, FINISHED_MAX};
use crate::reference::Reference;

/// Who uploads. Only the same may go on with it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum By {
    /// An account.
    User {
        /// Its login.
        owner: String,
    },
    /// An attempt at a work.
    Attempt {
        /// Whose work it is.
        owner: String,
        /// The lease.
        token: LeaseToken,
    },
}

impl By {
    /// Whose file it will be.
    #[must_use]
    pub fn owner(&self) -> &str {
        match self {
            Self::User { owner } | Self::Attempt { owner, .. } => owner,
        }
    }
}

/// What is to be uploaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewUpload {
    /// By whom.
    pub by: By,
    /// What it will be called.
    pub name: String,
    /// What its content must be, if that is known.
    pub digest: Option<Digest>,
    /// How many bytes whoever uploads may write; the store's own bound holds too.
    pub bytes_max: u64,
}

/// How far an upload is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UploadStatus {
    /// What names it.
    pub id: String,
    /// What the file will be called.
    pub name: String,
    /// What its content is to be, if that was said, or is.
    pub digest: Option<Digest>,
    /// Bytes that are here.
    pub offset: u64,
    /// Bytes that it will have.
    pub bytes: u64,
    /// When it is forgotten if nothing moves.
    pub expires: Instant,
    /// The file that it has become.
    pub file: Option<Reference>,
}

/// All that are known.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    open: HashMap<String, Arc<Upload>>,
    finished: HashMap<String, Finished>,
    /// Those, the oldest first.
    order: VecDeque<(Instant, String)>,
}

#[derive(Clone, Debug)]
struct Finished {
    by: By,
    file: Reference,
    at: Instant,
}

#[derive(Debug)]
struct Upload {
    id: String,
    info: Info,
    offset: AtomicU64,
    /// When something last moved, in nanoseconds.
    touched: AtomicU64,
    /// Tells the request that goes on with it that another one wants to.
    takeover: Notify,
    state: Arc<AsyncMutex<State>>,
}

#[derive(Debug)]
enum State {
    Closed,
    Open(Staged),
    Placed(Digest),
    Over,
}

/// An upload as it is on disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Info {
    by: By,
    name: String,
    bytes: u64,
    digest: Option<Digest>,
}

/// What there is to be done with an upload that somebody names.
enum Found {
    Open(Arc<Upload>),
    Finished(Box<UploadStatus>),
}

impl Store {
    /// Begins an upload of so many bytes. If this owner has a file of that content, there is nothing to upload, and the
    /// file is made at once.
    ///
    /// # Errors
    /// The name is none; it is too much; or a disk or bucket fails.
    pub async fn begin_upload(&self, new: NewUpload, bytes: u64) -> Result<UploadStatus, StoreError> {
        check_owner(new.by.owner())?;
        check_name(&new.name)?;
        self.0.check_length(bytes, new.bytes_max)?;
        let shared = Arc::clone(&self.0);
        detached(async move { shared.begin(new, bytes).await }).await
    }

    /// How far an upload is. Whoever goes on with it is stopped: it is asked by those whose connection was cut.
    ///
    /// # Errors
    /// There is none of theirs.
    pub async fn upload(&self, id: &str, by: &By) -> Result<UploadStatus, StoreError> {
        loop {
            let upload = match self.0.find(id, by)? {
                Found::Finished(status) => return Ok(*status),
                Found::Open(upload) => upload,
            };
            if let Some(_state) = upload.take_over().await {
                return Ok(self.0.status(&upload));
            }
        }
    }

    /// Appends what comes from `offset` on. With the last byte the upload becomes a file. Whatever came before an error is
    /// kept. An upload that is a file already answers as it did then.
    ///
    /// # Errors
    /// It is at another place; more comes than was announced, or something else; what comes was cut; there is none of
    /// theirs; or a disk or bucket fails.
    pub async fn append(
        &self,
        id: &str,
        by: &By,
        offset: u64,
        body: impl Stream<Item = Result<Bytes, StoreError>> + Send + Unpin + 'static,
    ) -> Result<UploadStatus, StoreError> {
        loop {
            let upload = match self.0.find(id, by)? {
                Found::Finished(status) if offset == status.bytes => return Ok(*status),
                Found::Finished(status) => {
                    return Err(StoreError::Offset {
                        at: status.bytes,
                        asked: offset,
                    });
                }
                Found::Open(upload) => upload,
            };
            if let Some(state) = upload.take_over().await {
                let shared = Arc::clone(&self.0);
                return detached(async move { shared.go_on(&upload, state, offset, body).await }).await;
            }
        }
    }

    /// Gives an upload up.
    ///
    /// # Errors
    /// There is none of theirs, or the disk fails.
    pub async fn terminate(&self, id: &str, by: &By) -> Result<(), StoreError> {
        let upload = match self.0.find(id, by)? {
            Found::Finished(_) => {
                self.0.uploads().finished.remove(id);
                return Ok(());
            }
            Found::Open(upload) => upload,
        };
        match upload.take_over().await {
            Some(mut state) => self.0.give_up(&upload, &mut state).await,
            None => Ok(()),
        }
    }
}

impl Shared {
    pub(super) fn uploads(&self) -> MutexGuard<'_, Uploads> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn length_max(&self, bytes_max: u64) -> u64 {
        bytes_max.min(self.limits.file_bytes_max)
    }

    pub(super) fn check_length(&self, bytes: u64, bytes_max: u64) -> Result<(), StoreError> {
        let max = self.length_max(bytes_max);
        if bytes > max {
            return Err(Refusal::FileBytes { max }.into());
        }
        Ok(())
    }

    fn find(&self, id: &str, by: &By) -> Result<Found, StoreError> {
        let uploads = self.uploads();
        if let Some(upload) = uploads.open.get(id).filter(|upload| upload.info.by == *by) {
            return Ok(Found::Open(Arc::clone(upload)));
        }
        let finished = uploads.finished.get(id).filter(|finished| finished.by == *by);
        finished
            .map(|finished| Found::Finished(Box::new(finished.status(id))))
            .ok_or(StoreError::NoUpload)
    }

    fn status(&self, upload: &Upload) -> UploadStatus {
        UploadStatus {
            id: upload.id.clone(),
            name: upload.info.name.clone(),
            digest: upload.info.digest,
            offset: upload.offset.load(Ordering::Relaxed),
            bytes: upload.info.bytes,
            expires: Instant(upload.touched.load(Ordering::Relaxed)) + self.limits.uploads_kept,
            file: None,
        }
    }

    async fn begin(&self, new: NewUpload, bytes: u64) -> Result<UploadStatus, StoreError> {
        let id = new_id()?;
        let owner = new.by.owner().to_owned();
        self.index().admit(&owner, bytes)?;
        if let Some(digest) = new.digest {
            let linked = self.link(&owner, &new.name, digest, bytes).await;
            if !matches!(linked, Ok(None)) {
                self.index().release(&owner, bytes);
            }
            if let Some(stored) = linked? {
                return Ok(self.finished(&id, new.by, stored.file));
            }
        }
        let info = Info {
            by: new.by,
            name: new.name,
            bytes,
            digest: new.digest,
        };
        let upload = Arc::new(Upload::new(id, info, 0, now()));
        let made = async {
            self.check_room(bytes).await?;
            let [part, json] = self.files_of(&upload.id);
            let (text, steps) = (serde_json::to_vec(&upload.info), self.backend.steps());
            let made = blocking(move || make(&part, &json, &text?, &steps));
            made.await.map_err(StoreError::io("begin an upload"))
        };
        let staged = match made.await {
            Ok(staged) => staged,
            Err(error) => {
                self.index().release(&owner, bytes);
                drop(self.remove_files(&upload.id).await);
                return Err(error);
            }
        };
        let mut state = Arc::clone(&upload.state).lock_owned().await;
        *state = State::Open(staged);
        self.uploads().open.insert(upload.id.clone(), Arc::clone(&upload));
        if bytes == 0 {
            return self.finish(&upload, &mut state).await;
        }
        Ok(self.status(&upload))
    }

    async fn go_on(
        &self,
        upload: &Arc<Upload>,
        mut state: OwnedMutexGuard<State>,
        offset: u64,
        body: impl Stream<Item = Result<Bytes, StoreError>> + Unpin,
    ) -> Result<UploadStatus, StoreError> {
        let at = upload.offset.load(Ordering::Relaxed);
        if offset != at {
            return Err(StoreError::Offset { at, asked: offset });
        }
        if let State::Placed(_) = *state {
            return self.finish(upload, &mut state).await;
        }
        let takeover = upload.takeover.notified();
        let staged = match std::mem::replace(&mut *state, State::Closed) {
            State::Open(staged) => staged,
            _ => {
                let ([part, _], bytes_max) = (self.files_of(&upload.id), upload.info.bytes);
                let opened = blocking(move || Staged::reopen(&part, bytes_max));
                opened.await.map_err(StoreError::io("go on with an upload"))?
            }
        };
        let received = self.receive(staged, upload.info.bytes, body, takeover, |_, _| Ok(()));
        let (mut staged, received) = received.await;
        upload.offset.store(staged.bytes, Ordering::Relaxed);
        upload.touched.store(now().0, Ordering::Relaxed);
        if staged.bytes > offset || staged.bytes == upload.info.bytes {
            staged = match self.sync(staged).await {
                Ok(staged) => staged,
                // What a disk that has failed once holds is not known, also if it says later that all is well.
                Err(error) => {
                    self.give_up(upload, &mut state).await?;
                    return Err(error);
                }
            };
        }
        *state = State::Open(staged);
        received?;
        if upload.offset.load(Ordering::Relaxed) < upload.info.bytes {
            return Ok(self.status(upload));
        }
        self.finish(upload, &mut state).await
    }

    /// Makes an upload of which all bytes are there and durable a file.
    async fn finish(&self, upload: &Upload, state: &mut State) -> Result<UploadStatus, StoreError> {
        let (digest, mut placed) = match &*state {
            State::Open(staged) => (staged.digest(), false),
            State::Placed(digest) => (*digest, true),
            State::Closed | State::Over => return Err(StoreError::NoUpload),
        };
        if let Some(expected) = upload.info.digest.filter(|expected| *expected != digest) {
            self.give_up(upload, state).await?;
            return Err(StoreError::Differs {
                expected,
                found: digest,
            });
        }
        let Info { by, name, bytes, .. } = &upload.info;
        let [part, _] = self.files_of(&upload.id);
        let committed = self
            .commit(&part, (digest, *bytes), &mut placed, by.owner(), name)
            .await;
        if placed {
            *state = State::Placed(digest);
        }
        match committed {
            Ok(stored) => {
                let status = self.finished(&upload.id, by.clone(), stored.file);
                if let Err(error) = self.give_up(upload, state).await {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "what is left of an upload is removed at the next start");
                }
                Ok(status)
            }
            Err(StoreError::NoUpload) => {
                self.give_up(upload, state).await?;
                Err(StoreError::NoUpload)
            }
            Err(error) => Err(error),
        }
    }

    /// Remembers that an upload has become a file.
    fn finished(&self, id: &str, by: By, file: Reference) -> UploadStatus {
        let at = now();
        let finished = Finished { by, file, at };
        let status = finished.status(id);
        let mut uploads = self.uploads();
        uploads.finished.insert(id.to_owned(), finished);
        uploads.order.push_back((at, id.to_owned()));
        if uploads.order.len() > FINISHED_MAX
            && let Some((_, oldest)) = uploads.order.pop_front()
        {
            uploads.finished.remove(&oldest);
        }
        status
    }

    /// Forgets an upload and removes what is left of it.
    async fn give_up(&self, upload: &Upload, state: &mut State) -> Result<(), StoreError> {
        *state = State::Over;
        if self.uploads().open.remove(&upload.id).is_some() {
            self.index().release(upload.info.by.owner(), upload.info.bytes);
        }
        let removed = self.remove_files(&upload.id).await;
        removed.map_err(StoreError::io("remove an upload"))
    }

    pub(super) async fn drop_expired_uploads(&self, now: Instant) -> Result<(), StoreError> {
        let over: Vec<Arc<Upload>> = {
            let mut uploads = self.uploads();
            uploads.forget_finished(now);
            let over = |upload: &&Arc<Upload>| self.status(upload).expires <= now;
            uploads.open.values().filter(over).cloned().collect()
        };
        for upload in over {
            // Who holds it is going on with it.
            if let Ok(mut state) = Arc::clone(&upload.state).try_lock_owned()
                && !matches!(*state, State::Over)
            {
                self.give_up(&upload, &mut state).await?;
                self.counters.expired.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

impl Upload {
    fn new(id: String, info: Info, offset: u64, touched: Instant) -> Self {
        Self {
            id,
            info,
            offset: AtomicU64::new(offset),
            touched: AtomicU64::new(touched.0),
            takeover: Notify::new(),
            state: Arc::new(AsyncMutex::new(State::Closed)),
        }
    }

    /// Stops whoever goes on with it and waits for their end; `None`: it is over.
    async fn take_over(&self) -> Option<OwnedMutexGuard<State>> {
        self.takeover.notify_waiters();
        let state = Arc::clone(&self.state).lock_owned().await;
        (!matches!(*state, State::Over)).then_some(state)
    }
}

impl Finished {
    fn status(&self, id: &str) -> UploadStatus {
        UploadStatus {
            id: id.to_owned(),
            name: self.file.name.clone(),
            digest: Some(self.file.digest),
            offset: self.file.bytes,
            bytes: self.file.bytes,
            expires: self.at + FINISHED_KEPT,
            file: Some(self.file.clone()),
        }
    }
}

impl Uploads {
    /// Uploads of an earlier start. What is no upload any more is removed.
    pub(super) async fn recover(staging: PathBuf, index: &mut Index) -> io::Result<Self> {
        let found = blocking(move || recover(&staging)).await?;
        let mut uploads = Self::default();
        for upload in found {
            index.readmit(upload.info.by.owner(), upload.info.bytes);
            uploads.open.insert(upload.id.clone(), Arc::new(upload));
        }
        Ok(uploads)
    }

    fn forget_finished(&mut self, now: Instant) {
        while let Some((at, _)) = self.order.front()
            && *at + FINISHED_KEPT <= now
            && let Some((_, id)) = self.order.pop_front()
        {
            self.finished.remove(&id);
        }
    }
}

/// 128 bits that nobody guesses.
pub(super) fn new_id() -> Result<String, StoreError> {
    let mut id = [0; 16];
    SystemRandom::new().fill(&mut id).map_err(|_| StoreError::Io {
        step: "name an upload",
        source: io::Error::other("the system gives no randomness"),
    })?;
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}
